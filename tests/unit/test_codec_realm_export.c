/* SPDX-License-Identifier: Apache-2.0
 *
 * What a file that Keycloak exported says of keys and lifespans. */
#include "codec_data.h"

#include "base/attr.h"
#include "codec/realm_export.h"

#define COMPONENTS "'components':{'org.keycloak.keys.KeyProvider':["
#define LIFESPANS "'accessTokenLifespan':300,'ssoSessionMaxLifespan':36000"

static struct realm_export e;

static int decode(const char *json, struct err *err)
{
    struct buf cleanup_buf text = {0};
    for (const char *c = json; *c != '\0'; c++)
        buf_append_char(&text, *c == '\'' ? '"' : *c);
    return realm_export_decode(buf_view(&text), "prod", &e, err);
}

static void decoded(const char *json)
{
    struct err err = {0};
    if (decode(json, &err) != 0)
        fail_msg("%s: %s", json, err.msg);
}

static void test_keys(void **state)
{
    (void)state;
    decoded(
        "{'realm':'prod'," COMPONENTS
        "{'id':'c','name':'rsa-generated','providerId':'rsa-generated','config':{'priority':['100']}},"
        "{'id':'b','providerId':'rsa','config':{'priority':['-7'],'enabled':['false'],"
        "'algorithm':['PS256'],'privateKey':['secret'],'kid':['mine']}},"
        "{'id':'a','name':'ec','providerId':'ecdsa-generated','config':{'active':['false'],"
        "'ecdsaEllipticCurveKey':['P-384']}},"
        "{'id':'d','name':'ed','providerId':'eddsa-generated','config':{}},"
        "{'id':'e','name':'enc','providerId':'rsa-enc-generated','config':{}},"
        "{'id':'f','name':'js','providerId':'java-keystore','config':{'keyUse':['enc']}},"
        "{'id':'g','name':'hmac','providerId':'hmac-generated','config':{}}]}}");
    assert_true(e.has_keys);
    assert_false(e.has_lifespans);
    assert_int_equal(e.count, 4);
    assert_int_equal(e.skipped, 3);
    assert_string_equal(e.keys[0].name, "ec"); /* by id */
    assert_string_equal(e.keys[0].algorithm, "ES384");
    assert_true(e.keys[0].enabled);
    assert_false(e.keys[0].active);
    assert_string_equal(e.keys[1].name, "b"); /* it has no name */
    assert_string_equal(e.keys[1].kid, "mine");
    assert_string_equal(e.keys[1].algorithm, "PS256");
    assert_int_equal(e.keys[1].priority, -7);
    assert_false(e.keys[1].enabled);
    assert_string_equal(e.keys[2].algorithm, "RS256");
    assert_int_equal(e.keys[2].priority, 100);
    assert_true(e.keys[2].active && e.keys[2].enabled);
    assert_string_equal(e.keys[2].kid, "");
    assert_string_equal(e.keys[3].algorithm, "EdDSA");
}

static void test_lifespans(void **state)
{
    (void)state;
    decoded("{'realm':'prod'," LIFESPANS ",'clients':[{'clientId':'batch','attributes':{"
            "'access.token.lifespan':'86400'}}]}");
    assert_false(e.has_keys);
    assert_true(e.has_lifespans);
    assert_int_equal(e.lifespans.session_s, 36000);
    assert_int_equal(e.lifespans.client_s, 86400);
    assert_string_equal(e.lifespans.client, "batch");
    decoded("{'realm':'prod'," LIFESPANS "}");
    assert_true(e.has_lifespans);
    assert_int_equal(e.lifespans.client_s, 0);
}

static void test_one_of_many(void **state)
{
    (void)state;
    decoded("[{'realm':'master'},{'realm':'prod'," LIFESPANS "}]");
    assert_true(e.has_lifespans);
}

/* As Keycloak 26.7.2 wrote it, but for clients that were left out and one lifespan. */
static void test_a_real_one(void **state)
{
    (void)state;
    size_t rs256 = 0, active = 0;
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    read_seed("realm_export/partial.json", &text);
    assert_int_equal(realm_export_decode(buf_view(&text), "prod", &e, &err), 0);
    assert_true(e.has_keys && e.has_lifespans);
    assert_int_equal(e.count, 5);
    assert_int_equal(e.skipped, 3);
    for (size_t i = 0; i < e.count; i++) {
        rs256 += text_eq(e.keys[i].algorithm, "RS256");
        active += e.keys[i].active;
    }
    assert_int_equal(rs256, 3);
    assert_int_equal(active, 3);
    assert_int_equal(e.lifespans.access_s, 60);
    assert_int_equal(e.lifespans.client_s, 86400);
    assert_string_equal(e.lifespans.client, "mint");
}

static void refused(const char *json, enum err_class class, const char *words)
{
    struct err err = {0};
    if (decode(json, &err) == 0 || err.class != class || strstr(err.msg, words) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", json, err.msg, words);
}

static void test_refused(void **state)
{
    (void)state;
    refused("{'realm':'other'}", ERR_INVALID, "of realm other");
    refused("[{'realm':'other'}]", ERR_INVALID, "of realm other");
    refused("[]", ERR_INVALID, "of realm (none)");
    refused("{}", ERR_INVALID, "of realm (none)");
    refused("7", ERR_INVALID, "");
    refused("realm: prod", ERR_INVALID, "");
    refused("{'realm':'prod'," LIFESPANS ",'clients':[[[[[", ERR_INVALID, "");
    struct buf cleanup_buf many = {0};
    buf_append_text(&many, "{'realm':'prod'," COMPONENTS);
    for (int i = 0; i <= LIMIT_KEYS; i++)
        buf_appendf(&many, "%s{'id':'%d','providerId':'rsa'}", i > 0 ? "," : "", i);
    buf_append_text(&many, "]}}");
    refused(buf_text(&many), ERR_LIMIT, "more than 64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_lifespans),
        cmocka_unit_test(test_one_of_many), cmocka_unit_test(test_a_real_one),
        cmocka_unit_test(test_refused),
    };
    json_setup(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
