/* SPDX-License-Identifier: Apache-2.0
 *
 * trust: what a consumer must accept, rendered into the files of its object, and its trust hash.
 * Pure: the same set gives the same bytes, whatever order the keys come in (sorted by kid).
 *
 * The hash is made of what the formats contain and nothing else: version, formats, kid, algorithm,
 * SPKI and, only with FORMAT_X509 or FORMAT_X5C, the certificate. Lifecycle, issuer, order are not
 * in it. Its canonical form has a version ("v1") and a golden test: an upgrade of Keyturn restarts
 * nothing. */
#ifndef KEYTURN_TRUST_TRUST_H
#define KEYTURN_TRUST_TRUST_H

#include <stddef.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "jose/key.h"

#define TRUST_HASH_TEXT \
    64 /* "v1-" and 43 characters of base64url, NUL included; fits a label value */

/* The same bits as enum publish_format of rotation/model.h (checked at compile time in trust.c). */
struct trust_key {
    const struct jose_key *key;
    const char *lifecycle; /* "Active", "Retired", "Leaving", "Held": manifest only */
};

struct trust_set {
    const struct trust_key *keys;
    size_t count;       /* 1..LIMIT_KEYS, kids distinct */
    const char *issuer; /* may be NULL; manifest only */
};

struct trust_file {
    const char *name; /* valid key of a Secret or ConfigMap */
    struct str data;
};

struct trust_files {
    const struct trust_file *files;
    size_t count;
    size_t bytes; /* of all data and names */
};

/* Here and below: "" when the set is empty or too large, or there is no memory. */
void trust_hash(const struct trust_set *set, unsigned formats, char out[TRUST_HASH_TEXT]);
/* jwks.json (FORMAT_JWKS: kty, kid, use=sig, alg, n e or crv x y; x5c and x5t#S256 with
 * FORMAT_X5C), <kid>.pem and bundle.pem (FORMAT_PEM, SPKI), <kid>.crt and certs.pem (FORMAT_X509;
 * keys without certificate are left out there, and null in the manifest), manifest.json always:
 * {trustHash, issuer, keys: kid, alg, lifecycle, spkiSHA256, and with X509 or X5C x5tS256,
 * notBefore, notAfter}. A kid that is no valid file name is replaced in file names by its RFC 7638
 * thumbprint. Files are sorted by name. ERR_INVALID: no key, or a kid twice. ERR_LIMIT above
 * LIMIT_OBJECT_BYTES. Everything lives in arena. */
int trust_render(const struct trust_set *set, unsigned formats, struct arena *arena,
                 struct trust_files *ret, struct err *err);
/* One hash for a workload that reads several objects: order and repetition of hashes do not matter;
 * one alone is itself. */
void trust_hash_union(const char *const *hashes, size_t count, char out[TRUST_HASH_TEXT]);
/* Digest over names and bytes of files, to tell an edited object; out is base64url SHA-256. The
 * order of files counts: sorted by name, as trust_render gives them. */
void trust_files_digest(const struct trust_files *files, char out[JOSE_HASH_TEXT]);

#endif
