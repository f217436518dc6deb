/* SPDX-License-Identifier: Apache-2.0 */
#include "codec_data.h"

#include <stdlib.h>
#include "codec/keycloak_codec.h"

typedef int decode_fn(struct str body, struct realm_keys *ret, struct err *err);

static void decode_seed(decode_fn *decode, const char *seed, struct realm_keys *ret)
{
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    *ret = (struct realm_keys){.count = 0};
    read_seed(seed, &text);
    if (decode(buf_view(&text), ret, &err) != 0) {
        fail_msg("%s: %s", seed, err.msg);
    }
}

static void test_realm_keys(void **state)
{
    (void)state;
    struct realm_keys k;
    decode_seed(realm_keys_decode, "keys/realm.json", &k);
    assert_int_equal(k.count, 4);
    assert_int_equal(k.skipped, 3); /* encryption, HMAC, AES */
    assert_int_equal(k.unreadable, 0);
    assert_string_equal(k.duplicate_kid, "");
    assert_int_equal(k.keys[0].status, REALM_KEY_ACTIVE);
    assert_string_equal(k.keys[0].key->alg, "RS256");
    assert_string_equal(k.keys[0].component, "6a1f7c1e-0000-4000-8000-000000000000");
    assert_string_equal(k.keys[0].provider, "");
    assert_string_equal(k.keys[0].key->kid,
                        k.keys[0].key->spki_sha256); /* as Keycloak makes kids */
    assert_int_equal(k.keys[0].key->not_after_s, 2082855945);
    assert_int_equal(k.keys[0].priority, 101);
    assert_int_equal(k.keys[1].status, REALM_KEY_PASSIVE);
    assert_string_equal(k.keys[2].key->alg, "ES256");
    assert_int_equal(k.keys[2].key->not_after_s, 0);
    assert_int_equal(k.keys[3].status, REALM_KEY_DISABLED);
    assert_string_equal(k.keys[3].key->alg, "EdDSA");
    /* Only what signs with a public key to check it by: not HS512, AES, RSA-OAEP. */
    assert_int_equal(k.active_count, 2);
    assert_string_equal(k.active[0].alg, "RS256");
    assert_string_equal(k.active[0].kid, k.keys[0].key->kid);
    assert_string_equal(k.active[1].alg, "ES256");
    realm_keys_release(&k);
    assert_null(k.keys);
    realm_keys_release(&k);
}

static void test_components(void **state)
{
    (void)state;
    struct realm_keys k;
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    decode_seed(realm_keys_decode, "keys/realm.json", &k);
    read_seed("keys/components.json", &text);
    assert_int_equal(components_decode(buf_view(&text), &k, &err), 0);
    assert_string_equal(k.keys[0].provider, "rsa-generated");
    assert_string_equal(k.keys[1].provider, "rsa");
    assert_string_equal(k.keys[3].provider, "eddsa-generated");
    assert_int_equal(components_decode(str_from("{}"), &k, &err), -1);
    assert_int_equal(components_decode(str_from("[1,{},{\"id\":7}]"), &k, &err), 0);
    assert_string_equal(k.keys[1].provider, "rsa");
    realm_keys_release(&k);
}

static void test_claims(void **state)
{
    (void)state;
    static const char some[] =
        "[{\"id\":\"c-1\",\"name\":\"keyturn-00000000-1\",\"providerId\":\"rsa\"},"
        "{\"id\":\"c-2\",\"name\":\"rsa\",\"providerId\":\"rsa\"},{\"id\":\"c-3\"},"
        "{\"name\":\"keyturn-00000000-2\"},"
        "{\"id\":\"c-4\",\"name\":\"keyturn-\\u001b[2J\"}]";
    struct realm_keys k = {.count = 0};
    struct err err = {0};
    assert_int_equal(components_decode(str_from(some), &k, &err), 0);
    assert_true(k.claims_known);
    assert_int_equal(k.claims_count, 2);
    assert_string_equal(k.claims[0].component, "c-1");
    assert_string_equal(k.claims[0].name, "keyturn-00000000-1");
    assert_string_equal(k.claims[0].provider, "rsa");
    assert_string_equal(k.claims[1].name, "keyturn-?[2J");
    assert_string_equal(k.claims[1].provider, "");
    assert_int_equal(components_decode(str_from("{}"), &k, &err), -1);
    assert_false(k.claims_known);
    assert_int_equal(k.claims_count, 2);
    assert_int_equal(components_decode(str_from("[]"), &k, &err), 0);
    assert_true(k.claims_known);
    assert_int_equal(k.claims_count, 0);
    realm_keys_release(&k);
    for (int count = LIMIT_CLAIMS; count <= LIMIT_CLAIMS + 1; count++) {
        struct buf cleanup_buf text = {0};
        for (int i = 0; i < count; i++) {
            buf_appendf(&text, "%c{\"id\":\"c-%d\",\"name\":\"keyturn-0-%d\"}", i == 0 ? '[' : ',',
                        i, i);
        }
        buf_append_char(&text, ']');
        bool fits = count == LIMIT_CLAIMS;
        assert_int_equal(components_decode(buf_view(&text), &k, &err), fits ? 0 : -1);
        assert_int_equal(k.claims_known, fits);
        assert_int_equal(k.claims_count, LIMIT_CLAIMS);
    }
    assert_int_equal(err.class, ERR_LIMIT);
    realm_keys_release(&k);
}

/* Headers are base64url of the JSON beside them. */
static void test_token_header(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "t0ken",
        "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",       /* {"alg":"RS256"} */
        "eyJhbGciOjcsImtpZCI6ImEifQ.e30.c2ln", /* {"alg":7,"kid":"a"} */
        "W10.e30.c2ln",                        /* [] */
        "e30.e30",
        ".e30.c2ln",
    };
    char kid[LIMIT_KID + 1];
    char alg[16];
    struct err err = {0};
    /* {"alg":"RS256","typ":"JWT","kid":"k-1"} */
    assert_int_equal(token_header_decode(
                         str_from("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImstMSJ9.e30.c2ln"),
                         kid, alg, &err),
                     0);
    assert_string_equal(kid, "k-1");
    assert_string_equal(alg, "RS256");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(token_header_decode(str_from(bad[i]), kid, alg, &err), -1);
        assert_string_equal(kid, "");
        assert_string_equal(alg, "");
    }
    /* kid of 257 characters */
    struct buf cleanup_buf long_kid = {0};
    buf_append_text(&long_kid, "eyJhbGciOiJSUzI1NiIsImtpZCI6Im");
    for (int i = 0; i < 85; i++) {
        buf_append_text(&long_kid, "FhYW");
    }
    buf_append_text(&long_kid, "FhIn0.e30.c2ln");
    assert_int_equal(token_header_decode(buf_view(&long_kid), kid, alg, &err), -1);
    assert_string_equal(alg, "");
}

static void test_twin_component_is_one_key(void **state)
{
    (void)state;
    struct realm_keys k;
    decode_seed(realm_keys_decode, "keys/twins.json", &k);
    assert_int_equal(k.count, 1);
    assert_int_equal(k.keys[0].status, REALM_KEY_ACTIVE);
    assert_string_equal(k.keys[0].component, "6a1f7c1e-0000-4000-8000-000000000001");
    assert_string_equal(k.duplicate_kid, "");
    realm_keys_release(&k);
}

static void test_unreadable(void **state)
{
    (void)state;
    struct realm_keys k;
    decode_seed(realm_keys_decode, "keys/unreadable.json", &k);
    assert_int_equal(k.count, 1);
    assert_true(k.keys[0].certificate_unreadable); /* the wrapper of another key */
    assert_int_equal(k.keys[0].key->not_after_s, 0);
    assert_int_equal(k.unreadable, 1);
    assert_int_equal(strncmp(k.unreadable_why, "key ", 4), 0);
    realm_keys_release(&k);
}

/* One entry of /keys built from the first of the seed with some members changed. */
static json_t *entry(json_t *tree, const char *kid, const char *status)
{
    json_t *copy = json_deep_copy(json_array_get(json_object_get(tree, "keys"), 2));
    json_object_set_new(copy, "kid", json_string(kid));
    json_object_set_new(copy, "status", json_string(status));
    return copy;
}

static int decode_list(json_t *list, struct realm_keys *ret, struct err *err)
{
    json_t *tree = json_pack("{s:o}", "keys", list);
    char *text = json_dumps(tree, JSON_COMPACT);
    int result = realm_keys_decode(str_from(text), ret, err);
    free(text);
    json_decref(tree);
    return result;
}

static void test_many_keys(void **state)
{
    (void)state;
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    char kid[32];
    read_seed("keys/realm.json", &text);
    json_t *cleanup_json tree = json_load(buf_view(&text), false, "x", &err);
    json_t *list = json_array();
    /* Disabled ones first: they make room for those that count, up to the last of them. */
    for (int i = 0; i < 2 * LIMIT_KEYS; i++) {
        (void)text_format(kid, sizeof(kid), "k%d", i);
        json_array_append_new(list, entry(tree, kid, i < LIMIT_KEYS ? "DISABLED" : "ACTIVE"));
    }
    json_t *more = json_deep_copy(list);
    struct realm_keys k = {.count = 0};
    assert_int_equal(decode_list(list, &k, &err), 0);
    assert_int_equal(k.count, LIMIT_KEYS);
    assert_int_equal(k.skipped, LIMIT_KEYS);
    for (size_t i = 0; i < k.count; i++) {
        assert_int_equal(k.keys[i].status, REALM_KEY_ACTIVE);
    }
    realm_keys_release(&k);
    json_array_append_new(more, entry(tree, "one-more", "DISABLED"));
    json_array_append_new(more, entry(tree, "too-many", "PASSIVE"));
    assert_int_equal(decode_list(more, &k, &err), 0);
    assert_int_equal(k.count, LIMIT_KEYS);
    assert_int_equal(k.overflow, 1);
    assert_int_equal(k.skipped, LIMIT_KEYS + 1);
    realm_keys_release(&k);
}

static void test_statuses(void **state)
{
    (void)state;
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    read_seed("keys/realm.json", &text);
    json_t *cleanup_json tree = json_load(buf_view(&text), false, "x", &err);
    json_t *list = json_array();
    json_t *broken = entry(tree, "gone", "DISABLED");
    json_object_set_new(broken, "publicKey", json_string("AAAA"));
    json_array_append_new(list, broken); /* nobody trusts it: nothing is missing */
    json_array_append_new(list, entry(tree, "odd", "RETIRED"));
    json_t *bare = entry(tree, "bare", "ACTIVE");
    json_object_del(bare, "publicKey");
    json_array_append_new(list, bare);
    json_t *typo = entry(tree, "typo", "ACTIVE");
    json_object_set_new(typo, "algorithm", json_string("nope"));
    json_array_append_new(list, typo);
    json_array_append_new(list, json_integer(7));
    struct realm_keys k = {.count = 0};
    assert_int_equal(decode_list(list, &k, &err), 0);
    assert_int_equal(k.count, 0);
    assert_int_equal(k.unreadable, 2);
    assert_int_equal(k.skipped, 3);
    assert_non_null(strstr(k.unreadable_why, "odd"));
    realm_keys_release(&k);
}

static void test_keys_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "<html>", "[]", "{}", "{\"keys\":{}}", "{\"keys\":null}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct realm_keys k = {.count = 0};
        struct err err = {0};
        assert_int_equal(realm_keys_decode(str_from(bad[i]), &k, &err), -1);
        assert_int_equal(err.class, ERR_INVALID);
        assert_int_equal(jwks_decode(str_from(bad[i]), &k, &err), -1);
        assert_int_equal(err.class, ERR_INVALID);
    }
    struct buf cleanup_buf many = {0};
    buf_append_text(&many, "{\"keys\":[1");
    for (int i = 0; i < 1000; i++) {
        buf_append_text(&many, ",1");
    }
    buf_append_text(&many, "]}");
    struct realm_keys k = {.count = 0};
    struct err err = {0};
    assert_int_equal(jwks_decode(buf_view(&many), &k, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
}

static void test_jwks(void **state)
{
    (void)state;
    struct realm_keys k;
    struct realm_keys from_admin;
    decode_seed(jwks_decode, "jwks/keycloak.json", &k);
    decode_seed(realm_keys_decode, "keys/realm.json", &from_admin);
    assert_int_equal(k.count, 4);
    assert_int_equal(k.skipped, 1); /* use enc */
    for (size_t i = 0; i < k.count; i++) {
        /* Both ways to the same key. */
        assert_string_equal(k.keys[i].key->kid, from_admin.keys[i].key->kid);
        assert_string_equal(k.keys[i].key->spki_sha256, from_admin.keys[i].key->spki_sha256);
        assert_string_equal(k.keys[i].key->x5t_s256, from_admin.keys[i].key->x5t_s256);
        assert_int_equal(k.keys[i].status, REALM_KEY_ACTIVE);
        assert_string_equal(k.keys[i].component, "");
        assert_false(k.keys[i].certificate_unreadable);
    }
    assert_int_equal(k.active_count, 0);
    realm_keys_release(&k);
    realm_keys_release(&from_admin);
}

static void test_jwks_variants(void **state)
{
    (void)state;
    struct realm_keys k;
    decode_seed(jwks_decode, "jwks/no-use.json", &k);
    assert_int_equal(k.count, 2); /* by alg, and by key_ops */
    realm_keys_release(&k);
    decode_seed(jwks_decode, "jwks/foreign-wrapper.json", &k);
    assert_int_equal(k.count, 1);
    assert_true(k.keys[0].certificate_unreadable);
    assert_string_equal(k.keys[0].key->x5t_s256, "");
    realm_keys_release(&k);
    decode_seed(jwks_decode, "jwks/unknown.json", &k);
    assert_int_equal(k.count, 0);
    assert_int_equal(k.skipped, 2);
    assert_int_equal(k.unreadable, 0);
    realm_keys_release(&k);
    decode_seed(jwks_decode, "jwks/twin-kid.json", &k);
    assert_int_equal(k.count, 1);
    assert_string_equal(k.duplicate_kid, k.keys[0].key->kid);
    realm_keys_release(&k);
    decode_seed(jwks_decode, "jwks/weak.json", &k);
    assert_int_equal(k.count, 1);
    assert_int_equal(k.unreadable, 1);
    realm_keys_release(&k);
    decode_seed(jwks_decode, "jwks/empty.json", &k);
    assert_int_equal(k.count, 0);
    assert_null(k.keys);
    realm_keys_release(&k);
}

static void test_private_member_refuses_all(void **state)
{
    (void)state;
    static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        char text[200];
        struct realm_keys k = {.count = 0};
        struct err err = {0};
        (void)text_format(text, sizeof(text),
                          "{\"keys\":[{\"kty\":\"oct\",\"use\":\"enc\",\"%s\":\"S3CRET\"}]}",
                          members[i]);
        assert_int_equal(jwks_decode(str_from(text), &k, &err), -1);
        assert_int_equal(err.class, ERR_INVALID);
        assert_non_null(strstr(err.msg, "publishes a private key"));
        assert_null(strstr(err.msg, "S3CRET"));
    }
    struct buf cleanup_buf text = {0};
    struct realm_keys k = {.count = 0};
    struct err err = {0};
    read_seed("jwks/private.json", &text);
    assert_int_equal(jwks_decode(buf_view(&text), &k, &err), -1);
}

static void test_discovery(void **state)
{
    (void)state;
    struct discovery d;
    struct err err = {0};
    struct buf cleanup_buf text = {0};
    read_seed("jwks/discovery.json", &text);
    assert_int_equal(discovery_decode(buf_view(&text), &d, &err), 0);
    assert_string_equal(d.issuer, "https://auth.example.com/realms/prod");
    assert_string_equal(d.jwks_uri,
                        "http://keycloak.auth.svc:8080/realms/prod/protocol/openid-connect/certs");
    static const char *const bad[] = {
        "{}",
        "{\"issuer\":\"https://x\"}",
        "{\"issuer\":\"x\",\"jwks_uri\":\"https://x\"}",
        "{\"issuer\":\"https://x\",\"jwks_uri\":\"file:///etc/passwd\"}",
        "{\"issuer\":\"https://x\\n\",\"jwks_uri\":\"https://x\"}",
        "{\"issuer\":7,\"jwks_uri\":\"https://x\"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(discovery_decode(str_from(bad[i]), &d, &err), -1);
        assert_int_equal(err.class, ERR_INVALID);
        assert_string_equal(d.issuer, "");
    }
    char url[600];
    memset(url, 'a', sizeof(url));
    struct buf cleanup_buf longer = {0};
    buf_appendf(&longer, "{\"issuer\":\"https://%.505s\",\"jwks_uri\":\"https://x\"}", url);
    assert_int_equal(discovery_decode(buf_view(&longer), &d, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_realm_keys),
        cmocka_unit_test(test_components),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_token_header),
        cmocka_unit_test(test_twin_component_is_one_key),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_keys_refused),
        cmocka_unit_test(test_jwks),
        cmocka_unit_test(test_jwks_variants),
        cmocka_unit_test(test_private_member_refuses_all),
        cmocka_unit_test(test_discovery),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
