/* SPDX-License-Identifier: Apache-2.0
 *
 * public: the numbers of a public key, taken from JWK members, from a SubjectPublicKeyInfo or out
 * of a certificate, checked, and written back as the one SubjectPublicKeyInfo that this key has
 * (RFC 3279, 5480 named curve and uncompressed point, 8410). Equal keys give equal bytes, however
 * they came. Internal to jose. */
#ifndef KEYTURN_JOSE_PUBLIC_H
#define KEYTURN_JOSE_PUBLIC_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "jose/alg.h"
#include "jose/key.h"

#define PUBLIC_RSA_BITS_MIN 2048  /* RFC 7518 section 3.3 */
#define PUBLIC_RSA_BITS_MAX 16384 /* OPENSSL_RSA_MAX_MODULUS_BITS: more cannot be verified with */
#define PUBLIC_E_BYTES_MAX 8      /* OPENSSL_RSA_MAX_PUBEXP_BITS */

struct public_key {
    enum jose_kty kty;
    const struct jose_curve *curve;               /* NULL for RSA */
    unsigned char first[PUBLIC_RSA_BITS_MAX / 8]; /* n without leading zeros, x, or the OKP key */
    size_t first_len;
    unsigned char second[66]; /* e without leading zeros, or y */
    size_t second_len;
};

/* All: 0, or -1 with ERR_INVALID that names what is wrong. */
int public_from_jwk(const struct jose_jwk *jwk, struct public_key *ret, struct err *err);
int public_from_spki(const unsigned char *der, size_t len, struct public_key *ret, struct err *err);
int public_from_pkey(EVP_PKEY *pkey, struct public_key *ret, struct err *err);
bool public_equal(const struct public_key *a, const struct public_key *b);
/* DER into *ret, to be given back by free(). Checks that an EC point lies on its curve. */
int public_to_spki(const struct public_key *key, unsigned char **ret, size_t *ret_len,
                   struct err *err);

#endif
