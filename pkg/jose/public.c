/* SPDX-License-Identifier: Apache-2.0 */
#include "jose/public.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include "jose/encoding.h"

/* Leading zeros a writer may put before a number; more is no mistake but an attack on patience. */
#define ZEROS_MAX 8

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "out of memory while reading a public key");
}

static void drop_zeros(unsigned char *bytes, size_t *len)
{
    size_t zeros = 0;
    while (zeros < *len && bytes[zeros] == 0) {
        zeros++;
    }
    *len -= zeros;
    memmove(bytes, bytes + zeros, *len);
}

static size_t bits_of(const unsigned char *bytes, size_t len)
{
    size_t bits = len * 8;
    for (unsigned mask = 0x80; len > 0 && mask > 0 && (bytes[0] & mask) == 0; mask >>= 1) {
        bits--;
    }
    return bits;
}

/* Only what can be said without arithmetic: a primality test of a large modulus takes minutes
 * (CVE-2023-6237), and a modulus that is prime harms nobody but its owner. */
static int check_rsa(const struct public_key *key, struct err *err)
{
    size_t bits = bits_of(key->first, key->first_len);
    if (bits < PUBLIC_RSA_BITS_MIN) {
        return err_set(err, ERR_INVALID,
                       "an RSA key of %zu bits is too weak: at least %d are needed", bits,
                       PUBLIC_RSA_BITS_MIN);
    }
    if ((key->first[key->first_len - 1] & 1) == 0) {
        return err_set(err, ERR_INVALID, "the RSA modulus is even: this is no RSA key");
    }
    if (key->second_len == 0 || (key->second[key->second_len - 1] & 1) == 0 ||
        bits_of(key->second, key->second_len) < 2) {
        return err_set(err, ERR_INVALID, "the RSA exponent is even or below 3: this is no RSA key");
    }
    return 0;
}

/* One JWK member into out; its name is for the error. */
static int read_member(const char *name, const char *text, unsigned char *out, size_t size,
                       size_t *ret_len, struct err *err)
{
    if (text == NULL || text[0] == '\0') {
        return err_set(err, ERR_INVALID, "member \"%s\" is missing", name);
    }
    size_t max = (size * 4 + 2) / 3;
    struct str view = {text, strnlen(text, max + 1)};
    if (view.len > max) {
        return err_set(err, ERR_INVALID, "member \"%s\" is longer than any key's", name);
    }
    if (!jose_base64url_decode(view, out, size, ret_len)) {
        return err_set(err, ERR_INVALID,
                       "member \"%s\" is no base64url without padding, or longer than any key's",
                       name);
    }
    return 0;
}

static int rsa_from_jwk(const struct jose_jwk *jwk, struct public_key *ret, struct err *err)
{
    unsigned char n[sizeof(ret->first) + ZEROS_MAX];
    unsigned char e[PUBLIC_E_BYTES_MAX + ZEROS_MAX];
    size_t n_len = 0;
    size_t e_len = 0;
    if (read_member("n", jwk->n, n, sizeof(n), &n_len, err) != 0 ||
        read_member("e", jwk->e, e, sizeof(e), &e_len, err) != 0) {
        return -1;
    }
    drop_zeros(n, &n_len);
    drop_zeros(e, &e_len);
    if (n_len > sizeof(ret->first) || e_len > PUBLIC_E_BYTES_MAX) {
        return err_set(err, ERR_INVALID,
                       "the RSA key has more than %d bits, or an exponent of more than %d",
                       PUBLIC_RSA_BITS_MAX, PUBLIC_E_BYTES_MAX * 8);
    }
    memcpy(ret->first, n, n_len);
    memcpy(ret->second, e, e_len);
    ret->first_len = n_len;
    ret->second_len = e_len;
    return check_rsa(ret, err);
}

static int curve_from_jwk(const struct jose_jwk *jwk, struct public_key *ret, struct err *err)
{
    ret->curve = jose_curve_find(jwk->crv);
    if (ret->curve == NULL || ret->curve->kty != ret->kty) {
        return err_set(err, ERR_INVALID, "member \"crv\" must be %s, not \"%.20s\"",
                       ret->kty == JOSE_EC ? "P-256, P-384 or P-521" : "Ed25519 or Ed448",
                       jwk->crv == NULL ? "" : jwk->crv);
    }
    if (read_member("x", jwk->x, ret->first, sizeof(ret->first), &ret->first_len, err) != 0) {
        return -1;
    }
    if (ret->kty == JOSE_EC &&
        read_member("y", jwk->y, ret->second, sizeof(ret->second), &ret->second_len, err) != 0) {
        return -1;
    }
    size_t bytes = ret->curve->bytes;
    if (ret->first_len != bytes || (ret->kty == JOSE_EC && ret->second_len != bytes)) {
        return err_set(err, ERR_INVALID, "members \"x\" and \"y\" of %s are %zu bytes each",
                       ret->curve->crv, bytes);
    }
    return 0;
}

int public_from_jwk(const struct jose_jwk *jwk, struct public_key *ret, struct err *err)
{
    const char *kty = jwk->kty == NULL ? "" : jwk->kty;
    *ret = (struct public_key){0};
    if (strcmp(kty, "RSA") == 0) {
        ret->kty = JOSE_RSA;
        return rsa_from_jwk(jwk, ret, err);
    }
    if (strcmp(kty, "EC") == 0 || strcmp(kty, "OKP") == 0) {
        ret->kty = kty[0] == 'E' ? JOSE_EC : JOSE_OKP;
        return curve_from_jwk(jwk, ret, err);
    }
    return err_set(err, ERR_INVALID, "member \"kty\" must be RSA, EC or OKP, not \"%.20s\"", kty);
}

/* A number of an OpenSSL key, big-endian; pad 0: without leading zeros. */
static int read_number(EVP_PKEY *pkey, const char *param, size_t pad, unsigned char *out,
                       size_t size, size_t *ret_len)
{
    BIGNUM *number = NULL;
    int result = -1;
    if (EVP_PKEY_get_bn_param(pkey, param, &number) != 1) {
        return -1;
    }
    size_t len = pad > 0 ? pad : (size_t)BN_num_bytes(number);
    if (len <= size && BN_bn2binpad(number, out, (int)len) >= 0) {
        *ret_len = len;
        result = 0;
    }
    BN_free(number);
    return result;
}

static int rsa_from_pkey(EVP_PKEY *pkey, struct public_key *ret, struct err *err)
{
    ret->kty = JOSE_RSA;
    if (read_number(pkey, OSSL_PKEY_PARAM_RSA_N, 0, ret->first, sizeof(ret->first),
                    &ret->first_len) != 0 ||
        read_number(pkey, OSSL_PKEY_PARAM_RSA_E, 0, ret->second, PUBLIC_E_BYTES_MAX,
                    &ret->second_len) != 0) {
        return err_set(err, ERR_INVALID,
                       "the RSA key has more than %d bits, or an exponent of more than %d",
                       PUBLIC_RSA_BITS_MAX, PUBLIC_E_BYTES_MAX * 8);
    }
    return check_rsa(ret, err);
}

static int ec_from_pkey(EVP_PKEY *pkey, struct public_key *ret, struct err *err)
{
    char group[64] = "";
    int explicit_curve = 0;
    ret->kty = JOSE_EC;
    EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_curve);
    if (explicit_curve != 0 || EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME,
                                                              group, sizeof(group), NULL) != 1) {
        return err_set(err, ERR_INVALID,
                       "the EC key does not name its curve: P-256, P-384 or P-521");
    }
    ret->curve = jose_curve_of_group(group);
    if (ret->curve == NULL || ret->curve->kty != JOSE_EC) {
        return err_set(err, ERR_INVALID,
                       "an EC key of curve %s: only P-256, P-384 and P-521 are known", group);
    }
    size_t bytes = ret->curve->bytes;
    if (read_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, bytes, ret->first, sizeof(ret->first),
                    &ret->first_len) != 0 ||
        read_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, bytes, ret->second, sizeof(ret->second),
                    &ret->second_len) != 0) {
        return err_set(err, ERR_INVALID, "the EC key has no usable point");
    }
    return 0;
}

static int okp_from_pkey(EVP_PKEY *pkey, const char *group, struct public_key *ret, struct err *err)
{
    ret->kty = JOSE_OKP;
    ret->curve = jose_curve_of_group(group);
    ret->first_len = sizeof(ret->first);
    if (ret->curve == NULL || EVP_PKEY_get_raw_public_key(pkey, ret->first, &ret->first_len) != 1 ||
        ret->first_len != ret->curve->bytes) {
        return err_set(err, ERR_INVALID, "the %s key cannot be read", group);
    }
    return 0;
}

int public_from_pkey(EVP_PKEY *pkey, struct public_key *ret, struct err *err)
{
    int result = -1;
    *ret = (struct public_key){0};
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA: result = rsa_from_pkey(pkey, ret, err); break;
    case EVP_PKEY_EC: result = ec_from_pkey(pkey, ret, err); break;
    case EVP_PKEY_ED25519: result = okp_from_pkey(pkey, "ED25519", ret, err); break;
    case EVP_PKEY_ED448: result = okp_from_pkey(pkey, "ED448", ret, err); break;
    default:
        err_set(err, ERR_INVALID, "a key of an unknown type: RSA, EC, Ed25519 or Ed448 are known");
        break;
    }
    ERR_clear_error();
    return result;
}

int public_from_spki(const unsigned char *der, size_t len, struct public_key *ret, struct err *err)
{
    const unsigned char *at = der;
    int result = -1;
    EVP_PKEY *pkey = len > 65536 ? NULL : d2i_PUBKEY(NULL, &at, (long)len);
    if (pkey == NULL || at != der + len) {
        err_set(err, ERR_INVALID, "this is no DER SubjectPublicKeyInfo of a known key type");
    } else {
        result = public_from_pkey(pkey, ret, err);
    }
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return result;
}

bool public_equal(const struct public_key *a, const struct public_key *b)
{
    return a->kty == b->kty && a->curve == b->curve && a->first_len == b->first_len &&
           a->second_len == b->second_len && memcmp(a->first, b->first, a->first_len) == 0 &&
           memcmp(a->second, b->second, a->second_len) == 0;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *rsa_pkey(const struct public_key *key)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(key->first, (int)key->first_len, NULL);
    BIGNUM *e = BN_bin2bn(key->second, (int)key->second_len, NULL);
    if (build != NULL && n != NULL && e != NULL &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        params = OSSL_PARAM_BLD_to_param(build);
        pkey = from_params("RSA", params);
    }
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return pkey;
}

/* OpenSSL refuses a point that does not lie on the curve when it reads one. */
static EVP_PKEY *ec_pkey(const struct public_key *key)
{
    unsigned char point[1 + 2 * 66] = {4}; /* uncompressed: SEC 1 section 2.3.3 */
    char group[16];
    memcpy(point + 1, key->first, key->first_len);
    memcpy(point + 1 + key->first_len, key->second, key->second_len);
    text_format(group, sizeof(group), "%s", key->curve->group);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point,
                                          1 + key->first_len + key->second_len),
        OSSL_PARAM_construct_end(),
    };
    return from_params("EC", params);
}

int public_to_spki(const struct public_key *key, unsigned char **ret, size_t *ret_len,
                   struct err *err)
{
    EVP_PKEY *pkey = NULL;
    unsigned char *der = NULL;
    int result = -1;

    switch (key->kty) {
    case JOSE_RSA: pkey = rsa_pkey(key); break;
    case JOSE_EC: pkey = ec_pkey(key); break;
    case JOSE_OKP:
        pkey = EVP_PKEY_new_raw_public_key_ex(NULL, key->curve->group, NULL, key->first,
                                              key->first_len);
        break;
    }
    if (pkey == NULL) {
        err_set(err, ERR_INVALID, "this is no %s public key (a point that is not on its curve?)",
                key->curve == NULL ? "RSA" : key->curve->crv);
        goto out;
    }
    int len = i2d_PUBKEY(pkey, &der);
    unsigned char *copy = len > 0 ? malloc((size_t)len) : NULL;
    if (copy == NULL) {
        out_of_memory(err);
        goto out;
    }
    memcpy(copy, der, (size_t)len);
    *ret = copy;
    *ret_len = (size_t)len;
    result = 0;
out:
    OPENSSL_free(der);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return result;
}
