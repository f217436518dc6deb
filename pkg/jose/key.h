/* SPDX-License-Identifier: Apache-2.0
 *
 * key: one public signing key with its certificate, read from a JWK (RFC 7517, 7518, 8037) or from
 * the base64 SPKI and certificate of Keycloak's /keys. Uses OpenSSL 3; no I/O, no JSON.
 *
 * Accepted: RSA 2048..16384 bits, EC P-256 P-384 P-521, OKP Ed25519 and Ed448. Private members are
 * refused by the caller before it gets here; nothing private is ever held. */
#ifndef KEYTURN_JOSE_KEY_H
#define KEYTURN_JOSE_KEY_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define JOSE_HASH_TEXT 44 /* base64url of SHA-256 with its NUL */

enum jose_kty { JOSE_RSA, JOSE_EC, JOSE_OKP };

/* Reference-counted and immutable: readings, trust sets and records share keys. */
struct jose_key {
    unsigned refs;
    enum jose_kty kty;
    char *kid;           /* <= LIMIT_KID bytes, no control characters */
    char alg[16];        /* "RS256", "ES384", "EdDSA", ... */
    char crv[12];        /* "P-256", "Ed25519"; "" for RSA */
    char *n, *e;         /* base64url as in RFC 7518 6.3; RSA only */
    char *x, *y;         /* base64url; EC both, OKP x */
    unsigned char *spki; /* DER SubjectPublicKeyInfo */
    size_t spki_len;
    unsigned char *cert; /* DER of the wrapper, NULL when there is none */
    size_t cert_len;
    char thumbprint[JOSE_HASH_TEXT];   /* RFC 7638 */
    char spki_sha256[JOSE_HASH_TEXT];  /* SHA-256 of spki */
    char x5t_s256[JOSE_HASH_TEXT];     /* SHA-256 of cert, "" when none */
    int64_t not_before_s, not_after_s; /* of cert; 0 when none */
};

/* Members of a JWK as texts; NULL when absent. x5c is the first (leaf) entry, standard base64. */
struct jose_jwk {
    const char *kid, *kty, *alg, *crv, *n, *e, *x, *y, *x5c;
};

/* Returns a new reference, or NULL with *err: ERR_INVALID says which member and why (a key that is
 * weak, of an unknown type, whose x5c holds another key). Without alg: RS256 for RSA, by curve
 * else. */
struct jose_key *jose_key_from_jwk(const struct jose_jwk *jwk, struct err *err);
/* spki64, cert64: standard base64 of DER (line breaks and PEM armour tolerated); cert64 may be
 * NULL. A certificate that cannot be read or holds another key leaves cert NULL and is reported by
 * *ret_cert_err (may be NULL). */
struct jose_key *jose_key_from_spki(const char *kid, const char *alg, const char *spki64,
                                    const char *cert64, struct err *ret_cert_err, struct err *err);
struct jose_key *jose_key_ref(struct jose_key *key); /* NULL gives NULL */
void jose_key_unref(struct jose_key *key);

/* base64url without padding (RFC 4648 5). out holds at least (len*4+2)/3+1 bytes. */
void jose_base64url(const unsigned char *data, size_t len, char *out);
/* SHA-256 as base64url; "" out of memory. */
void jose_sha256(const void *data, size_t len, char out[JOSE_HASH_TEXT]);

#endif
