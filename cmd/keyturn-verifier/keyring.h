/* SPDX-License-Identifier: Apache-2.0
 *
 * keyring: the keys of a mounted Secret or ConfigMap. The kubelet renews such a mount by swapping
 * the symbolic link ..data: everything is read through one open directory, so that files of two
 * versions are never mixed. Files are at most LIMIT_OBJECT_BYTES, keys at most LIMIT_KEYS. */
#ifndef KEYTURN_VERIFIER_KEYRING_H
#define KEYTURN_VERIFIER_KEYRING_H

#include "base/err.h"
#include "base/limits.h"
#include "jose/jwt.h"
#include "jose/key.h"
#include "trust/trust.h"

struct keyring {
    struct jose_key *keys[LIMIT_KEYS]; /* references; kids distinct */
    size_t count;                      /* at least 1 once loaded */
    const char *source;                /* "jwks.json", "bundle.pem" or "certs.pem" */
    char trust_hash[TRUST_HASH_TEXT];  /* as manifest.json says; "" without it */
};

/* {0} before. -1: *ret is {0}, and err says which file and why. */
int keyring_load(const char *dir, struct keyring *ret, struct err *err);
void keyring_release(struct keyring *ring);
bool keyring_equal(const struct keyring *a, const struct keyring *b);
struct jose_keys keyring_view(const struct keyring *ring);
/* "a, b, c" of the kids, cut, for a log line. */
void keyring_kids(const struct keyring *ring, char *out, size_t size);

#endif
