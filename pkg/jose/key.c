/* SPDX-License-Identifier: Apache-2.0 */
#include "jose/key.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/limits.h"
#include "base/str.h"
#include "base/utf8.h"
#include "jose/alg.h"
#include "jose/encoding.h"
#include "jose/public.h"

#define SPKI_BYTES_MAX 4096 /* RSA of 16384 bits is 2,086 */
#define NUMBER_TEXT_MAX (PUBLIC_RSA_BITS_MAX / 8 * 4 / 3 + 4)

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "out of memory while reading a public key");
}

/* A kid goes into file names, JSON, logs and lines of the trust hash. C1 controls are U+0080..9F.
 */
static int check_kid(const char *kid, struct err *err)
{
    size_t len = kid == NULL ? 0 : strnlen(kid, LIMIT_KID + 1);
    if (len == 0) {
        return err_set(err, ERR_INVALID,
                       "member \"kid\" is missing: a token could not name this key");
    }
    if (len > LIMIT_KID) {
        return err_set(err, ERR_INVALID, "the kid has more than %d bytes", LIMIT_KID);
    }
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)kid[i];
        size_t step = utf8_char_len(kid + i, len - i);
        if (step == 0 || c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)kid[i + 1] < 0xa0)) {
            return err_set(err, ERR_INVALID,
                           "the kid holds a control character or bytes that are not UTF-8");
        }
        i += step;
    }
    return 0;
}

static int set_alg(struct jose_key *key, const struct public_key *public, const char *alg,
                   struct err *err)
{
    const char *name = alg;
    if (name == NULL || name[0] == '\0') {
        name = public->curve == NULL ? "RS256" : public->curve->alg;
    }
    const struct jose_alg *found = jose_alg_find(name);
    if (found == NULL) {
        return err_set(err, ERR_INVALID, "algorithm \"%.20s\" is none that signs tokens", name);
    }
    if (found->kty != public->kty ||
        (found->crv != NULL &&
         (public->curve == NULL || !text_eq(found->crv, public->curve->crv)))) {
        return err_set(err, ERR_INVALID, "algorithm %s does not fit a key of type %s", found->name,
                       public->curve == NULL ? "RSA" : public->curve->crv);
    }
    snprintf(key->alg, sizeof(key->alg), "%s", found->name);
    return 0;
}

static char *number_text(const unsigned char *bytes, size_t len)
{
    char text[NUMBER_TEXT_MAX];
    jose_base64url(bytes, len, text);
    return strdup(text);
}

static int set_numbers(struct jose_key *key, const struct public_key *public, struct err *err)
{
    char *first = number_text(public->first, public->first_len);
    char *second = public->second_len > 0 ? number_text(public->second, public->second_len) : NULL;
    key->kty = public->kty;
    if (public->curve == NULL) {
        key->n = first;
        key->e = second;
    } else {
        snprintf(key->crv, sizeof(key->crv), "%s", public->curve->crv);
        key->x = first;
        key->y = second;
    }
    if (first == NULL || (public->second_len > 0 && second == NULL)) {
        return out_of_memory(err);
    }
    return 0;
}

/* RFC 7638 section 3.2: required members alone, in the order of their names, no space. OKP: RFC
 * 8037. */
static int set_thumbprint(struct jose_key *key, struct err *err)
{
    char text[2 * NUMBER_TEXT_MAX + 64];
    int len = 0;
    switch (key->kty) {
    case JOSE_RSA:
        len = snprintf(text, sizeof(text), "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", key->e,
                       key->n);
        break;
    case JOSE_EC:
        len = snprintf(text, sizeof(text),
                       "{\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", key->crv,
                       key->x, key->y);
        break;
    case JOSE_OKP:
        len = snprintf(text, sizeof(text), "{\"crv\":\"%s\",\"kty\":\"OKP\",\"x\":\"%s\"}",
                       key->crv, key->x);
        break;
    }
    jose_sha256(text, (size_t)len, key->thumbprint);
    jose_sha256(key->spki, key->spki_len, key->spki_sha256);
    if (key->thumbprint[0] == '\0' || key->spki_sha256[0] == '\0') {
        return out_of_memory(err);
    }
    return 0;
}

/* The text between the armour lines of the first PEM block, or all of it when there is no armour.
 */
static struct str without_armour(struct str text)
{
    static const char dashes[] = "-----";
    const char *begin = memmem(text.data, text.len, "-----BEGIN ", 11);
    if (begin == NULL) {
        return text;
    }
    const char *end_of_all = text.data + text.len;
    const char *name = begin + 11;
    const char *body = memmem(name, (size_t)(end_of_all - name), dashes, 5);
    if (body == NULL) {
        return text; /* refused as base64 */
    }
    body += 5;
    const char *end = memmem(body, (size_t)(end_of_all - body), "-----END ", 9);
    if (end == NULL) {
        return text;
    }
    return (struct str){body, (size_t)(end - body)};
}

/* Base64 or PEM into a malloc'ed *ret of at most `max` bytes. what: for the error. */
static int read_der(const char *text, size_t max, const char *what, struct err *err,
                    unsigned char **ret, size_t *ret_len)
{
    size_t text_max = 2 * max; /* base64 is 4/3, the rest is for line breaks and armour */
    struct str view = {text, strnlen(text, text_max + 1)};
    if (view.len > text_max) {
        return err_set(err, ERR_INVALID, "the %s is longer than %zu bytes", what, max);
    }
    unsigned char *bytes = malloc(max);
    size_t len = 0;
    if (bytes == NULL) {
        return out_of_memory(err);
    }
    if (!jose_base64_decode(without_armour(view), bytes, max, &len) || len == 0) {
        free(bytes);
        return err_set(err, ERR_INVALID, "the %s is no base64 of DER, or longer than %zu bytes",
                       what, max);
    }
    unsigned char *fitting = realloc(bytes, len);
    *ret = fitting == NULL ? bytes : fitting;
    *ret_len = len;
    return 0;
}

static int read_time(const ASN1_TIME *time, int64_t *ret_s)
{
    struct tm tm = {0};
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1) {
        return -1;
    }
    *ret_s = timegm(&tm);
    return 0;
}

/* On success key owns the certificate; else it is as before. Any X.509 version will do: Keycloak's
 * own wrappers are version 1. The signature on it means nothing here: trust comes from the issuer.
 */
static int set_cert(struct jose_key *key, const struct public_key *public, const char *cert64,
                    struct err *err)
{
    struct public_key inside;
    unsigned char *der = NULL;
    size_t len = 0;
    int64_t not_before_s = 0;
    int64_t not_after_s = 0;
    X509 *cert = NULL;
    int result = -1;

    if (read_der(cert64, LIMIT_CERT_BYTES, "certificate", err, &der, &len) != 0) {
        goto out;
    }
    const unsigned char *at = der;
    cert = d2i_X509(NULL, &at, (long)len);
    if (cert == NULL || at != der + len) {
        err_set(err, ERR_INVALID, "the certificate is no DER X.509 certificate");
        goto out;
    }
    EVP_PKEY *pkey = X509_get0_pubkey(cert);
    if (pkey == NULL || public_from_pkey(pkey, &inside, NULL) != 0 ||
        !public_equal(&inside, public)) {
        err_set(err, ERR_INVALID, "the certificate holds another key");
        goto out;
    }
    if (read_time(X509_get0_notBefore(cert), &not_before_s) != 0 ||
        read_time(X509_get0_notAfter(cert), &not_after_s) != 0) {
        err_set(err, ERR_INVALID, "the certificate's validity cannot be read");
        goto out;
    }
    jose_sha256(der, len, key->x5t_s256);
    if (key->x5t_s256[0] == '\0') {
        out_of_memory(err);
        goto out;
    }
    key->not_before_s = not_before_s;
    key->not_after_s = not_after_s;
    key->cert = der;
    key->cert_len = len;
    der = NULL;
    result = 0;
out:
    X509_free(cert);
    free(der);
    ERR_clear_error();
    return result;
}

/* Everything but the certificate. */
static struct jose_key *make(const char *kid, const char *alg, const struct public_key *public,
                             struct err *err)
{
    struct jose_key *key = calloc(1, sizeof(*key));
    if (key == NULL) {
        out_of_memory(err);
        return NULL;
    }
    key->refs = 1;
    key->kid = strdup(kid);
    if (key->kid == NULL) {
        out_of_memory(err);
        goto fail;
    }
    if (set_alg(key, public, alg, err) != 0 || set_numbers(key, public, err) != 0 ||
        public_to_spki(public, &key->spki, &key->spki_len, err) != 0 ||
        set_thumbprint(key, err) != 0) {
        goto fail;
    }
    return key;
fail:
    jose_key_unref(key);
    return NULL;
}

struct jose_key *jose_key_from_jwk(const struct jose_jwk *jwk, struct err *err)
{
    struct public_key public;
    struct jose_key *key = NULL;

    if (check_kid(jwk->kid, err) != 0) {
        return NULL;
    }
    if (public_from_jwk(jwk, &public, err) == 0) {
        key = make(jwk->kid, jwk->alg, &public, err);
    }
    if (key != NULL && jwk->x5c != NULL && set_cert(key, &public, jwk->x5c, err) != 0) {
        err_wrap(err, "member \"x5c\"");
        jose_key_unref(key);
        key = NULL;
    }
    return key;
}

struct jose_key *jose_key_from_spki(const char *kid, const char *alg, const char *spki64,
                                    const char *cert64, struct err *ret_cert_err, struct err *err)
{
    struct public_key public;
    struct jose_key *key = NULL;
    unsigned char *der = NULL;
    size_t len = 0;

    err_clear(ret_cert_err);
    if (check_kid(kid, err) != 0) {
        return NULL;
    }
    if (spki64 == NULL || spki64[0] == '\0') {
        err_set(err, ERR_INVALID, "the public key is missing");
    } else if (read_der(spki64, SPKI_BYTES_MAX, "public key", err, &der, &len) == 0 &&
               public_from_spki(der, len, &public, err) == 0) {
        key = make(kid, alg, &public, err);
    }
    if (key != NULL && cert64 != NULL) {
        (void)set_cert(key, &public, cert64, ret_cert_err);
    }
    free(der);
    return key;
}

struct jose_key *jose_key_ref(struct jose_key *key)
{
    if (key != NULL) {
        key->refs++;
    }
    return key;
}

void jose_key_unref(struct jose_key *key)
{
    if (key == NULL || --key->refs > 0) {
        return;
    }
    free(key->kid);
    free(key->n);
    free(key->e);
    free(key->x);
    free(key->y);
    free(key->spki);
    free(key->cert);
    free(key);
}
