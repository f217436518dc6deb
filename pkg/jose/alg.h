/* SPDX-License-Identifier: Apache-2.0
 *
 * alg: the signature algorithms of RFC 7518 section 3.1 and RFC 8037 that Keyturn knows, and the
 * curves they need. Asymmetric ones alone: "none" and HS* are not in the table, so nothing can be
 * checked with them. Constant data. */
#ifndef KEYTURN_JOSE_ALG_H
#define KEYTURN_JOSE_ALG_H

#include <stddef.h>
#include "jose/key.h"

struct jose_alg {
    const char *name; /* JWS "alg" */
    enum jose_kty kty;
    const char *crv;    /* EC: the one curve that RFC 7518 3.4 allows; NULL: any of the kty */
    const char *digest; /* OpenSSL's name; NULL for EdDSA, which hashes by itself */
    int pss;            /* RSASSA-PSS, salt as long as the digest, MGF1 with the same digest */
};

struct jose_curve {
    const char *crv;   /* JWK "crv" */
    const char *group; /* OpenSSL's name of group or key type */
    enum jose_kty kty; /* JOSE_EC or JOSE_OKP */
    size_t bytes;      /* of a coordinate, or of an OKP public key */
    size_t signature_bytes;
    const char *alg; /* what a key without "alg" signs with */
};

/* NULL when not known. alg and crv NULL are not known. */
const struct jose_alg *jose_alg_find(const char *name);
const struct jose_curve *jose_curve_find(const char *crv);
/* By OpenSSL's name. */
const struct jose_curve *jose_curve_of_group(const char *group);

#endif
