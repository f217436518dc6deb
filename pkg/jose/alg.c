/* SPDX-License-Identifier: Apache-2.0 */
#include "jose/alg.h"

#include "base/attr.h"
#include "base/str.h"

static const struct jose_alg algs[] = {
    {"RS256", JOSE_RSA, NULL, "SHA256", 0},   {"RS384", JOSE_RSA, NULL, "SHA384", 0},
    {"RS512", JOSE_RSA, NULL, "SHA512", 0},   {"PS256", JOSE_RSA, NULL, "SHA256", 1},
    {"PS384", JOSE_RSA, NULL, "SHA384", 1},   {"PS512", JOSE_RSA, NULL, "SHA512", 1},
    {"ES256", JOSE_EC, "P-256", "SHA256", 0}, {"ES384", JOSE_EC, "P-384", "SHA384", 0},
    {"ES512", JOSE_EC, "P-521", "SHA512", 0}, {"EdDSA", JOSE_OKP, NULL, NULL, 0},
};

static const struct jose_curve curves[] = {
    {"P-256", "prime256v1", JOSE_EC, 32, 64, "ES256"},
    {"P-384", "secp384r1", JOSE_EC, 48, 96, "ES384"},
    {"P-521", "secp521r1", JOSE_EC, 66, 132, "ES512"},
    {"Ed25519", "ED25519", JOSE_OKP, 32, 64, "EdDSA"},
    {"Ed448", "ED448", JOSE_OKP, 57, 114, "EdDSA"},
};

const struct jose_alg *jose_alg_find(const char *name)
{
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(algs); i++) {
        if (text_eq(algs[i].name, name)) {
            return &algs[i];
        }
    }
    return NULL;
}

const struct jose_curve *jose_curve_find(const char *crv)
{
    for (size_t i = 0; crv != NULL && i < ARRAY_LEN(curves); i++) {
        if (text_eq(curves[i].crv, crv)) {
            return &curves[i];
        }
    }
    return NULL;
}

const struct jose_curve *jose_curve_of_group(const char *group)
{
    for (size_t i = 0; group != NULL && i < ARRAY_LEN(curves); i++) {
        if (text_eq(curves[i].group, group)) {
            return &curves[i];
        }
    }
    return NULL;
}
