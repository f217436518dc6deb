/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/limits.h"
#include "jose/encoding.h"
#include "jose/key.h"
#include "jose_vectors.h"

static struct jose_key *read_jwk(struct jose_jwk jwk)
{
    struct err err = {0};
    struct jose_key *key = jose_key_from_jwk(&jwk, &err);
    assert_string_equal(err.msg, "");
    assert_non_null(key);
    return key;
}

/* No key, ERR_INVALID, and the sentence holds this. */
static void refused_jwk(struct jose_jwk jwk, const char *expected)
{
    struct err err = {0};
    assert_null(jose_key_from_jwk(&jwk, &err));
    assert_int_equal(err.class, ERR_INVALID);
    if (strstr(err.msg, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.msg, expected);
    }
    assert_null(jose_key_from_jwk(&jwk, NULL));
}

static void test_base64url(void **state)
{
    (void)state;
    unsigned char out[8];
    size_t len = 99;
    char text[16];
    /* RFC 4648 section 10, and the two characters of the URL alphabet. */
    jose_base64url((const unsigned char *)"foobar", 6, text);
    assert_string_equal(text, "Zm9vYmFy");
    jose_base64url((const unsigned char *)"fooba", 5, text);
    assert_string_equal(text, "Zm9vYmE");
    jose_base64url((const unsigned char *)"f", 1, text);
    assert_string_equal(text, "Zg");
    jose_base64url((const unsigned char *)"\xfb\xff", 2, text);
    assert_string_equal(text, "-_8");
    jose_base64url(NULL, 0, text);
    assert_string_equal(text, "");
    assert_true(jose_base64url_decode(str_from("-_8"), out, sizeof(out), &len));
    assert_int_equal(len, 2);
    assert_memory_equal(out, "\xfb\xff", 2);
    assert_true(jose_base64url_decode(str_from(""), out, sizeof(out), &len));
    assert_int_equal(len, 0);
    assert_true(jose_base64url_decode(str_from("Zm9vYmFy"), out, 6, &len));
    assert_false(jose_base64url_decode(str_from("Zm9vYmFy"), out, 5, &len));
    assert_false(jose_base64url_decode(str_from("Zg=="), out, sizeof(out), &len));
    assert_false(jose_base64url_decode(str_from("Z"), out, sizeof(out), &len));
    assert_false(jose_base64url_decode(str_from("Zm9vY"), out, sizeof(out), &len));
    assert_false(jose_base64url_decode(str_from("Zm9vA"), out, sizeof(out), &len));
    assert_false(jose_base64url_decode(str_from("Zh"), out, sizeof(out), &len)); /* unused bits */
    assert_false(jose_base64url_decode(str_from("+/8"), out, sizeof(out), &len));
    assert_false(jose_base64url_decode(str_from("Zm 9"), out, sizeof(out), &len));
    assert_false(jose_base64url_decode((struct str){"Zg\0", 3}, out, sizeof(out), &len));
}

static void test_base64(void **state)
{
    (void)state;
    unsigned char out[8];
    size_t len = 99;
    char text[8200];
    unsigned char many[6000] = {0xff};
    unsigned char back[6000];
    jose_base64((const unsigned char *)"foob", 4, text);
    assert_string_equal(text, "Zm9vYg==");
    jose_base64(many, 0, text);
    assert_string_equal(text, "");
    many[5999] = 7;
    jose_base64(many, sizeof(many), text);
    assert_int_equal(strlen(text), 8000);
    assert_true(jose_base64_decode(str_from(text), back, sizeof(back), &len));
    assert_int_equal(len, 6000);
    assert_memory_equal(back, many, 6000);
    assert_true(jose_base64_decode(str_from(" Zm9v\r\n\tYg==\n"), out, sizeof(out), &len));
    assert_int_equal(len, 4);
    assert_memory_equal(out, "foob", 4);
    assert_false(jose_base64_decode(str_from("Zm9vYg"), out, sizeof(out), &len));
    assert_false(jose_base64_decode(str_from("Zm9vYg="), out, sizeof(out), &len));
    assert_false(jose_base64_decode(str_from("Zm9vYg==="), out, sizeof(out), &len));
    assert_false(jose_base64_decode(str_from("Zm9v===="), out, sizeof(out), &len));
    assert_false(jose_base64_decode(str_from("Zg==Zg=="), out, sizeof(out), &len));
    assert_false(jose_base64_decode(str_from("-_8="), out, sizeof(out), &len));
}

static void test_rfc7638_thumbprint(void **state)
{
    (void)state;
    struct jose_key *key = read_jwk((struct jose_jwk){
        .kid = "2011-04-29", .kty = "RSA", .alg = "RS256", .n = RFC7638_N, .e = "AQAB"});
    assert_string_equal(key->thumbprint, RFC7638_THUMBPRINT);
    assert_int_equal(key->kty, JOSE_RSA);
    assert_string_equal(key->kid, "2011-04-29");
    assert_string_equal(key->alg, "RS256");
    assert_string_equal(key->n, RFC7638_N);
    assert_string_equal(key->e, "AQAB");
    assert_string_equal(key->crv, "");
    assert_null(key->x);
    assert_null(key->y);
    assert_null(key->cert);
    assert_string_equal(key->x5t_s256, "");
    jose_key_unref(key);
    key = read_jwk((struct jose_jwk){.kid = "ed", .kty = "OKP", .crv = "Ed25519", .x = RFC8037_X});
    assert_string_equal(key->thumbprint, RFC8037_THUMBPRINT);
    assert_string_equal(key->crv, "Ed25519");
    assert_string_equal(key->alg, "EdDSA"); /* by curve, where none is said */
    assert_string_equal(key->x, RFC8037_X);
    assert_null(key->n);
    jose_key_unref(key);
}

/* As Keycloak's /keys gives it: one line of base64 each, an X.509 v1 wrapper, a kid of any text. */
static void test_spki_and_wrapper(void **state)
{
    (void)state;
    struct err err = {0};
    struct err cert_err = {.class = ERR_BUG};
    struct jose_key *key = jose_key_from_spki(VEC_RSA_SPKI_SHA256, "RS256", VEC_RSA_SPKI,
                                              VEC_RSA_CERT_V1, &cert_err, &err);
    assert_non_null(key);
    assert_int_equal(cert_err.class, ERR_NONE);
    assert_string_equal(key->spki_sha256, VEC_RSA_SPKI_SHA256); /* = Keycloak's default kid */
    assert_string_equal(key->thumbprint, VEC_RSA_THUMBPRINT);
    assert_string_equal(key->n, VEC_RSA_N);
    assert_string_equal(key->x5t_s256, VEC_RSA_CERT_V1_SHA256);
    assert_int_equal(key->not_before_s, VEC_RSA_CERT_V1_FROM);
    assert_int_equal(key->not_after_s, VEC_RSA_CERT_V1_TO);
    /* The same key out of the JWKS is the same in every byte. */
    struct jose_key *other = read_jwk((struct jose_jwk){
        .kid = "gen kid/1", .kty = "RSA", .n = VEC_RSA_N, .e = "AQAB", .x5c = VEC_RSA_CERT_V1});
    assert_int_equal(other->spki_len, key->spki_len);
    assert_memory_equal(other->spki, key->spki, key->spki_len);
    assert_int_equal(other->cert_len, key->cert_len);
    assert_memory_equal(other->cert, key->cert, key->cert_len);
    assert_string_equal(other->alg, "RS256");
    jose_key_unref(other);
    jose_key_unref(key);
}

static void test_ec_and_okp_from_spki(void **state)
{
    (void)state;
    struct err err = {0};
    struct err cert_err = {0};
    struct jose_key *key =
        jose_key_from_spki("e", NULL, VEC_P384_SPKI, VEC_P384_CERT, &cert_err, &err);
    assert_non_null(key);
    assert_int_equal(cert_err.class, ERR_NONE);
    assert_string_equal(key->alg, "ES384");
    assert_string_equal(key->x, VEC_P384_X);
    assert_string_equal(key->y, VEC_P384_Y);
    assert_int_equal(key->not_before_s, 1704164645);
    assert_int_equal(key->not_after_s, 2556241445); /* GeneralizedTime, past 2049 */
    struct jose_key *jwk = read_jwk((struct jose_jwk){
        .kid = "e", .kty = "EC", .crv = "P-384", .x = VEC_P384_X, .y = VEC_P384_Y});
    assert_string_equal(jwk->spki_sha256, key->spki_sha256);
    /* A compressed point is the same key. */
    struct jose_key *compressed =
        jose_key_from_spki("e", NULL, VEC_P384_SPKI_COMPRESSED, NULL, NULL, &err);
    assert_non_null(compressed);
    assert_string_equal(compressed->spki_sha256, key->spki_sha256);
    jose_key_unref(compressed);
    jose_key_unref(jwk);
    jose_key_unref(key);
    key = jose_key_from_spki("e", "EdDSA", VEC_ED448_SPKI, NULL, NULL, &err);
    assert_non_null(key);
    assert_string_equal(key->crv, "Ed448");
    assert_string_equal(key->x, VEC_ED448_X);
    jose_key_unref(key);
}

static void test_armour_and_line_breaks(void **state)
{
    (void)state;
    struct err err = {0};
    struct err cert_err = {0};
    char broken[sizeof(VEC_RSA_SPKI) + 16];
    snprintf(broken, sizeof(broken), " %.64s\r\n%s\n", VEC_RSA_SPKI, &VEC_RSA_SPKI[64]);
    struct jose_key *key = jose_key_from_spki(
        "k", "PS256", "-----BEGIN PUBLIC KEY-----\n" VEC_RSA_SPKI "\n-----END PUBLIC KEY-----\n",
        "-----BEGIN CERTIFICATE-----\n" VEC_RSA_CERT_V1 "\n-----END CERTIFICATE-----\n"
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /* a chain: the leaf */
        &cert_err, &err);
    assert_non_null(key);
    assert_int_equal(cert_err.class, ERR_NONE);
    assert_string_equal(key->x5t_s256, VEC_RSA_CERT_V1_SHA256);
    assert_string_equal(key->alg, "PS256");
    jose_key_unref(key);
    key = jose_key_from_spki("k", "", broken, NULL, NULL, &err);
    assert_non_null(key);
    assert_string_equal(key->spki_sha256, VEC_RSA_SPKI_SHA256);
    jose_key_unref(key);
}

static void cert_refused(const char *cert64, const char *expected)
{
    struct err err = {0};
    struct err cert_err = {0};
    struct jose_key *key = jose_key_from_spki("k", NULL, VEC_RSA_SPKI, cert64, &cert_err, &err);
    assert_non_null(key);
    assert_int_equal(err.class, ERR_NONE);
    assert_int_equal(cert_err.class, ERR_INVALID);
    if (strstr(cert_err.msg, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", cert_err.msg, expected);
    }
    assert_null(key->cert);
    assert_int_equal(key->cert_len, 0);
    assert_string_equal(key->x5t_s256, "");
    assert_int_equal(key->not_after_s, 0);
    jose_key_unref(key);
    /* Nobody asks why: the key is read all the same. */
    key = jose_key_from_spki("k", NULL, VEC_RSA_SPKI, cert64, NULL, &err);
    assert_non_null(key);
    jose_key_unref(key);
}

static void test_certificates_that_do_not_fit(void **state)
{
    (void)state;
    cert_refused(VEC_P384_CERT, "another key");
    cert_refused("", "no base64");
    cert_refused("not base64!", "no base64");
    cert_refused("AAAA", "no DER X.509");
    cert_refused(VEC_RSA_SPKI, "no DER X.509");
    cert_refused("-----BEGIN CERTIFICATE-----\nAAAA", "no base64");
    /* One byte behind the certificate. */
    unsigned char der[4096];
    char text[8192];
    size_t len = 0;
    assert_true(jose_base64_decode(str_from(VEC_RSA_CERT_V1), der, sizeof(der) - 1, &len));
    der[len] = 0;
    jose_base64(der, len + 1, text);
    cert_refused(text, "no DER X.509");
    jose_base64(der, len - 1, text);
    cert_refused(text, "no DER X.509");
    char *large = malloc(3 * LIMIT_CERT_BYTES);
    assert_non_null(large);
    memset(large, 'A', 3 * LIMIT_CERT_BYTES);
    large[3 * LIMIT_CERT_BYTES - 1] = '\0';
    cert_refused(large, "longer than 16384 bytes");
    large[LIMIT_CERT_BYTES / 3 * 4 + 4] = '\0';
    cert_refused(large, "longer than 16384 bytes");
    free(large);
    refused_jwk(
        (struct jose_jwk){
            .kid = "k", .kty = "RSA", .n = VEC_RSA_N, .e = "AQAB", .x5c = VEC_P384_CERT},
        "\"x5c\": the certificate holds another key");
    /* Another key of the same kind and size. */
    refused_jwk(
        (struct jose_jwk){
            .kid = "k", .kty = "RSA", .n = RFC7638_N, .e = "AQAB", .x5c = VEC_RSA_CERT_V1},
        "\"x5c\": the certificate holds another key");
}

static void test_keys_that_are_refused(void **state)
{
    (void)state;
    struct jose_jwk rsa = {.kid = "k", .kty = "RSA", .n = VEC_RSA_N, .e = "AQAB"};
    struct jose_jwk jwk = rsa;
    refused_jwk((struct jose_jwk){0}, "\"kid\" is missing");
    jwk.kid = "";
    refused_jwk(jwk, "\"kid\" is missing");
    jwk.kid = "a\nb";
    refused_jwk(jwk, "control character");
    jwk.kid = "a\xc2\x85";
    refused_jwk(jwk, "control character");
    jwk.kid = "a\x7f";
    refused_jwk(jwk, "control character");
    jwk.kid = "\xff";
    refused_jwk(jwk, "not UTF-8");
    jwk = rsa;
    jwk.kty = NULL;
    refused_jwk(jwk, "\"kty\"");
    jwk.kty = "oct";
    refused_jwk(jwk, "not \"oct\"");
    jwk = rsa;
    jwk.n = NULL;
    refused_jwk(jwk, "\"n\" is missing");
    jwk.n = VEC_RSA1024_N;
    refused_jwk(jwk, "1024 bits is too weak");
    jwk.n = "a+b/";
    refused_jwk(jwk, "\"n\" is no base64url");
    jwk.n = "AAAA";
    refused_jwk(jwk, "0 bits is too weak");
    jwk = rsa;
    jwk.e = "";
    refused_jwk(jwk, "\"e\" is missing");
    jwk.e = "AQ";
    refused_jwk(jwk, "exponent");
    jwk.e = "AA";
    refused_jwk(jwk, "exponent");
    jwk.e = "AQAA";
    refused_jwk(jwk, "exponent");
    jwk.e = "AQAAAAAAAAAB"; /* 9 bytes */
    refused_jwk(jwk, "exponent");
    jwk = rsa;
    jwk.alg = "HS256";
    refused_jwk(jwk, "\"HS256\" is none that signs");
    jwk.alg = "none";
    refused_jwk(jwk, "\"none\"");
    jwk.alg = "RSA-OAEP";
    refused_jwk(jwk, "\"RSA-OAEP\"");
    jwk.alg = "ES256";
    refused_jwk(jwk, "does not fit a key of type RSA");
    jwk.alg = "EdDSA";
    refused_jwk(jwk, "EdDSA does not fit a key of type RSA");
    unsigned char n[256];
    char even[400];
    size_t len = 0;
    assert_true(jose_base64url_decode(str_from(VEC_RSA_N), n, sizeof(n), &len));
    n[255] &= 0xfe;
    jose_base64url(n, len, even);
    jwk = rsa;
    jwk.n = even;
    refused_jwk(jwk, "modulus is even");
}

static void test_curves_that_are_refused(void **state)
{
    (void)state;
    struct jose_jwk ec = {
        .kid = "k", .kty = "EC", .crv = "P-384", .x = VEC_P384_X, .y = VEC_P384_Y};
    struct jose_jwk jwk = ec;
    jwk.alg = "ES256";
    refused_jwk(jwk, "ES256 does not fit a key of type P-384");
    jwk.alg = "PS384";
    refused_jwk(jwk, "PS384 does not fit a key of type P-384");
    jwk = ec;
    jwk.crv = "secp256k1";
    refused_jwk(jwk, "\"crv\" must be P-256");
    jwk.crv = NULL;
    refused_jwk(jwk, "\"crv\"");
    jwk.crv = "Ed25519";
    refused_jwk(jwk, "\"crv\"");
    jwk.crv = "P-256";
    refused_jwk(jwk, "32 bytes");
    jwk = ec;
    jwk.y = VEC_P384_X; /* no point of the curve */
    refused_jwk(jwk, "not on its curve");
    jwk.y = NULL;
    refused_jwk(jwk, "\"y\" is missing");
    refused_jwk((struct jose_jwk){.kid = "k", .kty = "OKP", .crv = "Ed448", .x = RFC8037_X},
                "57 bytes");
    refused_jwk((struct jose_jwk){.kid = "k", .kty = "OKP", .crv = "X25519", .x = RFC8037_X},
                "\"crv\" must be Ed25519");
}

static void test_bounds(void **state)
{
    (void)state;
    char kid[LIMIT_KID + 2];
    memset(kid, 'k', sizeof(kid));
    kid[LIMIT_KID] = '\0';
    jose_key_unref(
        read_jwk((struct jose_jwk){.kid = kid, .kty = "RSA", .n = VEC_RSA_N, .e = "AQAB"}));
    kid[LIMIT_KID] = 'k';
    kid[LIMIT_KID + 1] = '\0';
    refused_jwk((struct jose_jwk){.kid = kid, .kty = "RSA", .n = VEC_RSA_N, .e = "AQAB"},
                "more than 256 bytes");
    /* 16384 bits are the most. */
    unsigned char n[2050];
    char text[2 * sizeof(n)];
    memset(n, 0xff, sizeof(n));
    jose_base64url(n, 2048, text);
    struct jose_key *key =
        read_jwk((struct jose_jwk){.kid = "k", .kty = "RSA", .n = text, .e = "AQAB"});
    struct err err = {0};
    char spki[8192];
    jose_base64(key->spki, key->spki_len, spki);
    struct jose_key *again = jose_key_from_spki("k", NULL, spki, NULL, NULL, &err);
    assert_non_null(again);
    assert_string_equal(again->thumbprint, key->thumbprint);
    jose_key_unref(again);
    jose_key_unref(key);
    jose_base64url(n, 2049, text);
    refused_jwk((struct jose_jwk){.kid = "k", .kty = "RSA", .n = text, .e = "AQAB"}, "16384 bits");
    char *large = malloc(100001);
    assert_non_null(large);
    memset(large, 'A', 100000);
    large[100000] = '\0';
    refused_jwk((struct jose_jwk){.kid = "k", .kty = "RSA", .n = large, .e = "AQAB"},
                "longer than any key's");
    assert_null(jose_key_from_spki("k", NULL, large, NULL, NULL, &err));
    assert_non_null(strstr(err.msg, "longer than 4096 bytes"));
    free(large);
}

static void refused_spki(const char *spki64, const char *expected)
{
    struct err err = {0};
    assert_null(jose_key_from_spki("k", NULL, spki64, NULL, NULL, &err));
    assert_int_equal(err.class, ERR_INVALID);
    if (strstr(err.msg, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.msg, expected);
    }
}

static void test_spki_that_is_refused(void **state)
{
    (void)state;
    refused_spki(NULL, "public key is missing");
    refused_spki("", "public key is missing");
    refused_spki("!", "no base64");
    refused_spki("AAAA", "no DER SubjectPublicKeyInfo");
    refused_spki(VEC_RSA_CERT_V1, "no DER SubjectPublicKeyInfo");
    refused_spki(VEC_RSA1024_SPKI, "too weak");
    refused_spki(VEC_SECP256K1_SPKI, "secp256k1");
    refused_spki(VEC_DSA_SPKI, "unknown type");
    refused_spki(VEC_P384_SPKI_EXPLICIT, "does not name its curve");
    /* One byte behind it. */
    unsigned char der[512];
    char text[1024];
    size_t len = 0;
    assert_true(jose_base64_decode(str_from(VEC_RSA_SPKI), der, sizeof(der) - 1, &len));
    der[len] = 0;
    jose_base64(der, len + 1, text);
    refused_spki(text, "no DER SubjectPublicKeyInfo");
    struct err err = {0};
    assert_null(jose_key_from_spki(NULL, NULL, VEC_RSA_SPKI, NULL, NULL, &err));
    assert_non_null(strstr(err.msg, "kid"));
}

static void test_leading_zeros_are_no_other_key(void **state)
{
    (void)state;
    unsigned char n[300] = {0};
    char text[500];
    size_t len = 0;
    assert_true(jose_base64url_decode(str_from(VEC_RSA_N), n + 1, sizeof(n) - 1, &len));
    jose_base64url(n, len + 1, text);
    struct jose_key *key =
        read_jwk((struct jose_jwk){.kid = "k", .kty = "RSA", .n = text, .e = "AAEAAQ"});
    assert_string_equal(key->n, VEC_RSA_N);
    assert_string_equal(key->e, "AQAB");
    assert_string_equal(key->thumbprint, VEC_RSA_THUMBPRINT);
    jose_key_unref(key);
}

static void test_references(void **state)
{
    (void)state;
    struct jose_key *key =
        read_jwk((struct jose_jwk){.kid = "k", .kty = "RSA", .n = VEC_RSA_N, .e = "AQAB"});
    assert_ptr_equal(jose_key_ref(key), key);
    jose_key_unref(key);
    assert_string_equal(key->kid, "k");
    jose_key_unref(key);
    assert_null(jose_key_ref(NULL));
    jose_key_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_rfc7638_thumbprint),
        cmocka_unit_test(test_spki_and_wrapper),
        cmocka_unit_test(test_ec_and_okp_from_spki),
        cmocka_unit_test(test_armour_and_line_breaks),
        cmocka_unit_test(test_certificates_that_do_not_fit),
        cmocka_unit_test(test_keys_that_are_refused),
        cmocka_unit_test(test_curves_that_are_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_spki_that_is_refused),
        cmocka_unit_test(test_leading_zeros_are_no_other_key),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
