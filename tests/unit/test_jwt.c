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
#include "jose/jwt.h"
#include "jose/key.h"
#include "jose_vectors.h"

static struct jose_key *rsa_key(const char *alg)
{
    struct err err = {0};
    struct jose_key *key =
        jose_key_from_jwk(&(struct jose_jwk){"k", "RSA", alg, .n = VEC_RSA_N, .e = "AQAB"}, &err);
    assert_string_equal(err.msg, "");
    assert_non_null(key);
    return key;
}

static struct jose_key *read_jwk(struct jose_jwk jwk)
{
    struct err err = {0};
    struct jose_key *key = jose_key_from_jwk(&jwk, &err);
    assert_string_equal(err.msg, "");
    assert_non_null(key);
    return key;
}

static int verify(const char *token, const struct jose_key *key, struct err *err)
{
    struct jose_jws jws = {0};
    *err = (struct err){0};
    if (jose_jws_read(str_from(token), &jws, err) != 0) {
        return -1;
    }
    int result = jose_jws_verify(&jws, key, err);
    jose_jws_release(&jws);
    return result;
}

/* Good as it is; refused with another bit in each of the three parts, or in its length. */
static void check_vector(const char *token, struct jose_key *key)
{
    struct err err = {0};
    assert_int_equal(verify(token, key, &err), 0);
    assert_string_equal(err.msg, "");
    char *copy = strdup(token);
    assert_non_null(copy);
    char *first = strchr(copy, '.');
    char *last = strrchr(copy, '.');
    char *places[] = {copy + 3, first + 2, last + 1, last + 30};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char was = *places[i];
        *places[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(verify(copy, key, &err), -1);
        assert_int_equal(err.class, ERR_AUTH);
        *places[i] = was;
    }
    assert_int_equal(verify(copy, key, &err), 0);
    last[1] = '\0';
    assert_int_equal(verify(copy, key, &err), -1);
    assert_int_equal(err.class, ERR_AUTH);
    free(copy);
    size_t len = strlen(token);
    char *longer = malloc(len + 5);
    assert_non_null(longer);
    /* Four characters in front of the signature: three bytes more, no other bit. */
    size_t head = (size_t)(strrchr(token, '.') + 1 - token);
    snprintf(longer, len + 5, "%.*sAAAA%s", (int)head, token, token + head);
    assert_int_equal(verify(longer, key, &err), -1);
    assert_int_equal(err.class, ERR_AUTH);
    free(longer);
    jose_key_unref(key);
}

static void test_rfc_signatures(void **state)
{
    (void)state;
    check_vector(RFC7515_A2_JWS,
                 read_jwk((struct jose_jwk){
                     .kid = "k", .kty = "RSA", .alg = "RS256", .n = RFC7515_A2_N, .e = "AQAB"}));
    check_vector(
        RFC7515_A3_JWS,
        read_jwk((struct jose_jwk){
            .kid = "k", .kty = "EC", .crv = "P-256", .x = RFC7515_A3_X, .y = RFC7515_A3_Y}));
    check_vector(
        RFC7515_A4_JWS,
        read_jwk((struct jose_jwk){
            .kid = "k", .kty = "EC", .crv = "P-521", .x = RFC7515_A4_X, .y = RFC7515_A4_Y}));
    check_vector(RFC8037_JWS, read_jwk((struct jose_jwk){
                                  .kid = "k", .kty = "OKP", .crv = "Ed25519", .x = RFC8037_X}));
}

static void test_other_signatures(void **state)
{
    (void)state;
    check_vector(VEC_RS384, rsa_key("RS384"));
    check_vector(VEC_RS512, rsa_key("RS512"));
    check_vector(VEC_PS256, rsa_key("PS256"));
    check_vector(VEC_PS384, rsa_key("PS384"));
    check_vector(VEC_PS512, rsa_key("PS512"));
    check_vector(VEC_ES384,
                 read_jwk((struct jose_jwk){
                     .kid = "k", .kty = "EC", .crv = "P-384", .x = VEC_P384_X, .y = VEC_P384_Y}));
    check_vector(VEC_ED448_JWS, read_jwk((struct jose_jwk){
                                    .kid = "k", .kty = "OKP", .crv = "Ed448", .x = VEC_ED448_X}));
}

/* R and S are as long as the curve's numbers: bytes behind them would be another spelling. */
static void test_bytes_behind_an_ecdsa_signature(void **state)
{
    (void)state;
    struct err err = {0};
    struct jose_key *key = read_jwk((struct jose_jwk){
        .kid = "k", .kty = "EC", .crv = "P-384", .x = VEC_P384_X, .y = VEC_P384_Y});
    assert_int_equal(verify(VEC_ES384, key, &err), 0);
    assert_int_equal(verify(VEC_ES384 "AAAA", key, &err), -1);
    assert_int_equal(err.class, ERR_AUTH);
    jose_key_unref(key);
}

static void test_signature_of_another_algorithm_or_key(void **state)
{
    (void)state;
    static const char *const tokens[] = {VEC_RS384, VEC_RS512, VEC_PS256, VEC_PS384, VEC_PS512};
    static const char *const algs[] = {"RS384", "RS512", "PS256", "PS384", "PS512", "RS256"};
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        struct jose_key *key = rsa_key(algs[i]);
        for (size_t j = 0; j < ARRAY_LEN(tokens); j++) {
            struct err err = {0};
            assert_int_equal(verify(tokens[j], key, &err), i == j ? 0 : -1);
            assert_int_equal(err.class, i == j ? ERR_NONE : ERR_AUTH);
        }
        struct err err = {0};
        assert_int_equal(verify(RFC7515_A2_JWS, key, &err), -1);
        assert_non_null(strstr(err.msg, "not one of key k"));
        jose_key_unref(key);
    }
}

static void refused_token(const char *token, enum err_class class, const char *expected)
{
    struct jose_jws jws = {0};
    struct err err = {0};
    assert_int_equal(jose_jws_read(str_from(token), &jws, &err), -1);
    assert_int_equal(err.class, class);
    if (strstr(err.msg, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.msg, expected);
    }
    assert_null(jws.header.data);
    assert_null(jws.payload.data);
}

static void test_tokens_that_cannot_be_read(void **state)
{
    (void)state;
    refused_token("", ERR_INVALID, "three parts");
    refused_token("abc", ERR_INVALID, "three parts");
    refused_token("YQ.YQ", ERR_INVALID, "three parts");
    refused_token("YQ.YQ.YQ.YQ.YQ", ERR_INVALID, "three parts"); /* an encrypted one */
    refused_token("Y!.YQ.YQ", ERR_INVALID, "header is no base64url");
    refused_token("YQ.YQ==.YQ", ERR_INVALID, "payload is no base64url");
    refused_token("YQ.YQ.Y", ERR_INVALID, "signature is no base64url");
    refused_token("YQ.YQ.YQ\n", ERR_INVALID, "signature is no base64url");
    char *large = malloc(JOSE_TOKEN_MAX + 2);
    assert_non_null(large);
    memset(large, 'A', JOSE_TOKEN_MAX + 1);
    large[JOSE_TOKEN_MAX + 1] = '\0';
    large[4] = '.';
    large[JOSE_TOKEN_MAX - 8] = '.';
    refused_token(large, ERR_LIMIT, "65536 characters");
    /* The most there may be: parts of 4, 65520 and 10 characters. */
    struct jose_jws jws = {0};
    struct err err = {0};
    large[JOSE_TOKEN_MAX - 8] = 'A';
    large[4 + 1 + 65520] = '.';
    assert_int_equal(jose_jws_read((struct str){large, JOSE_TOKEN_MAX}, &jws, &err), 0);
    assert_int_equal(jws.header.len, 3);
    assert_int_equal(jws.payload.len, 49140);
    assert_int_equal(jws.signature.len, 7);
    assert_true(jws.payload.secret);
    jose_jws_release(&jws);
    free(large);
    assert_int_equal(jose_jws_read((struct str){0}, &jws, &err), -1);
}

static void test_parts_of_a_token(void **state)
{
    (void)state;
    struct jose_jws jws = {0};
    struct err err = {0};
    assert_int_equal(jose_jws_read(str_from(RFC8037_JWS), &jws, &err), 0);
    assert_string_equal(buf_text(&jws.header), "{\"alg\":\"EdDSA\"}");
    assert_string_equal(buf_text(&jws.payload), "Example of Ed25519 signing");
    assert_int_equal(jws.signature.len, 64);
    jose_jws_release(&jws);
    assert_int_equal(jose_jws_read(str_from(".."), &jws, &err), 0);
    assert_int_equal(jws.header.len + jws.payload.len + jws.signature.len, 0);
    struct jose_key *key = rsa_key(NULL);
    assert_int_equal(jose_jws_verify(&jws, key, &err), -1);
    jose_key_unref(key);
    jose_jws_release(&jws);
}

static void test_key_for_token(void **state)
{
    (void)state;
    struct jose_key *rsa = rsa_key("RS256");
    struct jose_key *ed =
        read_jwk((struct jose_jwk){.kid = "ed", .kty = "OKP", .crv = "Ed25519", .x = RFC8037_X});
    const struct jose_key *list[] = {rsa, ed};
    struct jose_keys keys = {list, 2};
    struct err err = {0};
    assert_ptr_equal(jose_key_for_token(&keys, "k", "RS256", &err), rsa);
    assert_ptr_equal(jose_key_for_token(&keys, "ed", "EdDSA", &err), ed);
    assert_int_equal(err.class, ERR_NONE);
    static const char *const wrong[] = {"HS256", "none", "None", "PS256", "rs256", "", NULL};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_null(jose_key_for_token(&keys, "k", wrong[i], &err));
        assert_int_equal(err.class, ERR_AUTH);
        assert_non_null(strstr(err.msg, "key k is for RS256"));
    }
    assert_null(jose_key_for_token(&keys, "K", "RS256", &err));
    assert_non_null(strstr(err.msg, "not among the 2 trusted keys"));
    assert_null(jose_key_for_token(&keys, "", "RS256", &err));
    assert_non_null(strstr(err.msg, "no kid"));
    assert_null(jose_key_for_token(&keys, NULL, "RS256", &err));
    assert_null(jose_key_for_token(&(struct jose_keys){0}, "k", "RS256", &err));
    /* A foreign kid is shown cut and clean. */
    char kid[600];
    memset(kid, 'z', sizeof(kid) - 1);
    kid[0] = '\n';
    kid[sizeof(kid) - 1] = '\0';
    assert_null(jose_key_for_token(&keys, kid, "RS256", &err));
    assert_null(strchr(err.msg, '\n'));
    assert_true(strlen(err.msg) < 200);
    jose_key_unref(rsa);
    jose_key_unref(ed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_signatures),
        cmocka_unit_test(test_other_signatures),
        cmocka_unit_test(test_bytes_behind_an_ecdsa_signature),
        cmocka_unit_test(test_signature_of_another_algorithm_or_key),
        cmocka_unit_test(test_tokens_that_cannot_be_read),
        cmocka_unit_test(test_parts_of_a_token),
        cmocka_unit_test(test_key_for_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
