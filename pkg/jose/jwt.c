/* SPDX-License-Identifier: Apache-2.0 */
#include "jose/jwt.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>
#include "base/limits.h"
#include "jose/alg.h"
#include "jose/encoding.h"

#define SIGNATURE_MAX 2048 /* RSA of 16384 bits */
#define ECDSA_DER_MAX 160  /* two numbers of 66 bytes with their tags */

/* One of the three parts into out. name: for the error. */
static int decode_part(const char *name, struct str part, struct buf *out, struct err *err)
{
    unsigned char bytes[3072];
    /* Whole groups of four, so that every piece but the last is complete. */
    size_t step = sizeof(bytes) / 3 * 4;
    for (size_t at = 0; at < part.len; at += step) {
        size_t len = 0;
        struct str piece = {part.data + at, part.len - at < step ? part.len - at : step};
        if (!jose_base64url_decode(piece, bytes, sizeof(bytes), &len)) {
            explicit_bzero(bytes, sizeof(bytes));
            return err_set(err, ERR_INVALID, "the token's %s is no base64url", name);
        }
        buf_append(out, bytes, len);
    }
    explicit_bzero(bytes, sizeof(bytes));
    if (out->failed) {
        return err_set(err, ERR_NO_MEMORY, "out of memory while reading a token");
    }
    return 0;
}

int jose_jws_read(struct str token, struct jose_jws *ret, struct err *err)
{
    *ret = (struct jose_jws){.payload = {.secret = true}};
    if (token.len == 0) {
        return err_set(err, ERR_INVALID,
                       "there is no token: three parts with two dots are expected");
    }
    if (token.len > JOSE_TOKEN_MAX) {
        return err_set(err, ERR_LIMIT, "the token has more than %lu characters", JOSE_TOKEN_MAX);
    }
    const char *first = memchr(token.data, '.', token.len);
    const char *end = token.data + token.len;
    const char *second = first == NULL ? NULL : memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL) {
        return err_set(
            err, ERR_INVALID,
            "this is no signed token: three parts with two dots between them are expected");
    }
    struct str header = {token.data, (size_t)(first - token.data)};
    struct str payload = {first + 1, (size_t)(second - first - 1)};
    struct str signature = {second + 1, (size_t)(end - second - 1)};
    ret->signed_bytes = (struct str){token.data, (size_t)(second - token.data)};
    if (decode_part("header", header, &ret->header, err) != 0 ||
        decode_part("payload", payload, &ret->payload, err) != 0 ||
        decode_part("signature", signature, &ret->signature, err) != 0) {
        jose_jws_release(ret);
        return -1;
    }
    return 0;
}

void jose_jws_release(struct jose_jws *jws)
{
    buf_release(&jws->header);
    buf_release(&jws->payload);
    buf_release(&jws->signature);
    jws->signed_bytes = (struct str){0};
}

const struct jose_key *jose_key_for_token(const struct jose_keys *keys, const char *kid,
                                          const char *alg, struct err *err)
{
    char shown[72]; /* of foreign text, cut at a character */
    char shown_alg[20];
    err_clean_text(shown, sizeof(shown), kid == NULL ? "" : kid);
    err_clean_text(shown_alg, sizeof(shown_alg), alg == NULL ? "" : alg);
    if (kid == NULL || kid[0] == '\0') {
        err_set(err, ERR_AUTH,
                "the token's header has no kid: it does not say which key signed it");
        return NULL;
    }
    for (size_t i = 0; i < keys->count; i++) {
        const struct jose_key *key = keys->keys[i];
        if (strcmp(key->kid, kid) != 0) {
            continue;
        }
        if (text_eq(key->alg, alg)) {
            return key;
        }
        err_set(err, ERR_AUTH, "the token says algorithm \"%s\", but key %s is for %s", shown_alg,
                shown, key->alg);
        return NULL;
    }
    err_set(err, ERR_AUTH, "the token is signed by key %s, which is not among the %zu trusted keys",
            shown, keys->count);
    return NULL;
}

/* R || S (RFC 7518 section 3.4) into DER. Its length, or 0. */
static size_t ecdsa_der(const struct buf *raw, size_t half, unsigned char out[ECDSA_DER_MAX])
{
    const unsigned char *bytes = (const unsigned char *)raw->data;
    unsigned char *at = out;
    int len = 0;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(bytes + half, (int)half, NULL);
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        len = i2d_ECDSA_SIG(sig, NULL);
        len = len > 0 && len <= ECDSA_DER_MAX ? i2d_ECDSA_SIG(sig, &at) : 0;
    }
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

/* 1 good, 0 bad, -1 cannot be checked. */
static int check_signature(const struct jose_jws *jws, const struct jose_alg *alg, EVP_PKEY *pkey,
                           struct str signature)
{
    EVP_PKEY_CTX *params = NULL; /* belongs to ctx */
    int result = -1;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL ||
        EVP_DigestVerifyInit_ex(ctx, &params, alg->digest, NULL, NULL, pkey, NULL) != 1) {
        goto out;
    }
    if (alg->pss && (EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) != 1 ||
                     EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST) != 1)) {
        goto out;
    }
    result =
        EVP_DigestVerify(ctx, (const unsigned char *)signature.data, signature.len,
                         (const unsigned char *)jws->signed_bytes.data, jws->signed_bytes.len) == 1;
out:
    EVP_MD_CTX_free(ctx);
    return result;
}

int jose_jws_verify(const struct jose_jws *jws, const struct jose_key *key, struct err *err)
{
    const struct jose_alg *alg = jose_alg_find(key->alg);
    const struct jose_curve *curve = jose_curve_find(key->crv);
    const unsigned char *at = key->spki;
    unsigned char der[ECDSA_DER_MAX];
    struct str signature = buf_view(&jws->signature);
    EVP_PKEY *pkey = NULL;
    int verdict = 0;

    if (alg == NULL || alg->kty != key->kty || (key->kty != JOSE_RSA && curve == NULL)) {
        return err_set(err, ERR_BUG, "key %s has an algorithm that it cannot have", key->kid);
    }
    /* Lengths are exact: one signature, one spelling. */
    if (signature.len == 0 || signature.len > SIGNATURE_MAX ||
        (curve != NULL && signature.len != curve->signature_bytes)) {
        goto out;
    }
    if (key->kty == JOSE_EC) {
        signature = (struct str){(const char *)der, ecdsa_der(&jws->signature, curve->bytes, der)};
    }
    pkey = d2i_PUBKEY(NULL, &at, (long)key->spki_len);
    verdict = pkey == NULL ? -1 : check_signature(jws, alg, pkey, signature);
out:
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    if (verdict < 0) {
        return err_set(err, ERR_BUG, "key %s: OpenSSL cannot check with it", key->kid);
    }
    if (verdict == 0) {
        return err_set(err, ERR_AUTH,
                       "the signature is not one of key %s: the token is forged or damaged",
                       key->kid);
    }
    return 0;
}
