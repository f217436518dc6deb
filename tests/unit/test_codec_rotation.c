/* SPDX-License-Identifier: Apache-2.0 */
#include "codec_data.h"

#include <stdlib.h>
#include "codec/rotation_codec.h"

static void test_spec(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/whole.json");
    const struct rotation_spec *s = &r->spec;
    assert_null(r->spec_error);
    assert_string_equal(s->issuer_url, "https://auth.example.com/realms/prod");
    assert_string_equal(s->jwks_url,
                        "http://keycloak.auth.svc:8080/realms/prod/protocol/openid-connect/certs");
    assert_string_equal(s->ca_config_map, "corp-ca");
    assert_string_equal(s->ca_key, "ca.crt");
    assert_string_equal(s->keycloak_url, "http://keycloak.auth.svc:8080");
    assert_string_equal(s->realm, "prod");
    assert_string_equal(s->credentials_secret, "keyturn-keycloak");
    assert_int_equal(s->refresh_interval_s, 90);
    assert_int_equal(s->warn_before_count, 3);
    assert_string_equal(s->warn_before[0].text, "30d");
    assert_int_equal(s->warn_before[0].seconds, 30 * 86400);
    assert_string_equal(s->warn_before[1].text, "1d");
    assert_string_equal(s->warn_before[2].text, "12h");
    assert_int_equal(s->deletion_policy, DELETION_DELETE);
    assert_int_equal(s->consumers_count, 3);
    assert_string_equal(s->consumers[0].name, "nats");
    assert_int_equal(s->consumers[0].object_kind, KIND_SECRET);
    assert_string_equal(s->consumers[0].object_name, "nats-trusted-keys");
    assert_int_equal(s->consumers[0].formats, FORMAT_JWKS | FORMAT_X509 | FORMAT_X5C);
    assert_int_equal(s->consumers[0].restarts_count, 2);
    assert_int_equal(s->consumers[0].restarts[1].kind, WORKLOAD_DAEMON_SET);
    assert_string_equal(s->consumers[0].restarts[1].name, "edge");
    assert_int_equal(s->consumers[1].object_kind, KIND_CONFIG_MAP);
    assert_int_equal(s->consumers[1].formats, FORMAT_PEM); /* no jwks.json, no x5c in it */
    assert_int_equal(s->consumers[2].formats, FORMAT_JWKS | FORMAT_PEM | FORMAT_X509);
    assert_int_equal(s->consumers[2].restarts_count, 0);
    rotation_free(r);
}

static void test_meta_and_annotations(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/whole.json");
    assert_string_equal(r->meta.name, "prod");
    assert_string_equal(r->meta.resource_version, "4711");
    assert_int_equal(r->meta.generation, 7);
    assert_string_equal(r->refresh, "2026-07-02");
    assert_string_equal(r->acknowledge, "v1-AAAA");
    assert_true(r->finalizer);
    assert_int_equal(r->finalizer_index, 1);
    assert_int_equal(r->finalizers_count, 2);
    rotation_free(r);
    r = from_seed("rotation/least.json");
    assert_null(r->refresh);
    assert_null(r->acknowledge);
    assert_false(r->finalizer);
    assert_int_equal(r->finalizers_count, 0);
    rotation_free(r);
}

static void test_defaults(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/least.json");
    assert_null(r->spec_error);
    assert_null(r->spec.keycloak_url);
    assert_null(r->spec.ca_config_map);
    assert_int_equal(r->spec.refresh_interval_s, 30);
    assert_int_equal(r->spec.warn_before_count, 4);
    assert_string_equal(r->spec.warn_before[0].text, "30d");
    assert_string_equal(r->spec.warn_before[3].text, "1d");
    assert_int_equal(r->spec.deletion_policy, DELETION_RETAIN);
    assert_int_equal(r->spec.consumers_count, 0);
    assert_int_equal(r->status.phase, PHASE_PENDING);
    assert_int_equal(r->status.keys_count, 0);
    rotation_free(r);
}

static void test_status(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/whole.json");
    const struct rotation_status *s = &r->status;
    assert_int_equal(s->observed_generation, 7);
    assert_int_equal(s->phase, PHASE_ROLLING);
    assert_string_equal(s->realm, "prod");
    assert_string_equal(s->issuer_url, "https://auth.example.com/realms/prod");
    assert_int_equal(s->cert_expires_s, 2082855945);
    assert_string_equal(s->refreshed, "2026-07-01");
    assert_string_equal(s->consumers_up_to_date, "1/3");
    assert_int_equal(s->keys_count, 3);
    assert_string_equal(s->keys[0].kid, s->active_kid);
    assert_int_equal(s->keys[0].state, KEY_ACTIVE);
    assert_string_equal(s->keys[0].provider, "rsa-generated");
    assert_int_equal(s->keys[0].announced_count, 2);
    assert_string_equal(s->keys[0].announced[1], "Expired");
    assert_int_equal(s->keys[1].state, KEY_LEAVING);
    assert_int_equal(s->keys[1].not_after_s, 0);
    assert_null(s->keys[1].component);
    assert_int_equal(s->consumers_count, 2);
    assert_int_equal(s->consumers[0].state, CONSUMER_ROLLING);
    assert_string_equal(s->consumers[0].pods, "1/3");
    assert_int_equal(s->consumers[1].state, CONSUMER_UP_TO_DATE);
    assert_null(s->consumers[1].message);
    assert_int_equal(s->conditions[CONDITION_READY].status, CONDITION_FALSE);
    assert_string_equal(s->conditions[CONDITION_READY].reason, "Rolling");
    assert_int_equal(s->conditions[CONDITION_READY].last_transition_s, 1782900000);
    assert_int_equal(s->conditions[CONDITION_READY].observed_generation, 7);
    assert_int_equal(s->conditions[CONDITION_CERTIFICATES_VALID].status, CONDITION_TRUE);
    assert_null(s->conditions[CONDITION_STALLED].reason);
    rotation_free(r);
}

static void test_odd_status(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/odd-status.json");
    const struct rotation_status *s = &r->status;
    assert_null(r->spec_error);
    assert_int_equal(r->spec.warn_before_count, 0); /* an empty list is asked for */
    assert_int_equal(s->phase, PHASE_PENDING);
    assert_int_equal(s->keys_count, 1);
    assert_string_equal(s->keys[0].kid, "k");
    assert_int_equal(s->keys[0].state, KEY_PASSIVE);
    assert_int_equal(s->keys[0].announced_count, 1);
    assert_int_equal(s->consumers_count, 0);
    assert_string_equal(s->conditions[CONDITION_READY].reason, "A");
    assert_int_equal(s->conditions[CONDITION_READY].status, CONDITION_UNKNOWN);
    rotation_free(r);
}

/* With spec in place of %s. Returns the sentence, for the caller to free. */
static void check_spec_error(const char *spec, const char *word)
{
    char text[4096];
    struct err err = {0};
    assert_true(
        text_format(text, sizeof(text),
                    "{'metadata':{'name':'prod','namespace':'a','resourceVersion':'1'},'status':{"
                    "'activeKid':'k1'},'spec':%s}",
                    spec));
    json_t *cleanup_json tree = tree_of(text);
    struct rotation_object *r = rotation_new(tree, &err);
    static const struct rotation_spec zero;
    assert_non_null(r);
    if (r->spec_error == NULL || strstr(r->spec_error, word) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", spec, r->spec_error == NULL ? "" : r->spec_error,
                 word);
    }
    assert_memory_equal(&r->spec, &zero, sizeof(zero));
    assert_string_equal(r->status.active_kid, "k1"); /* what is remembered is not lost */
    rotation_free(r);
}

#define ISSUER "'issuer':{'url':'https://i.example'}"
#define SECRET "'publish':{'secret':{'name':'s'}}"

static void test_spec_errors_addresses(void **state)
{
    (void)state;
    check_spec_error("{}", "nothing to follow");
    check_spec_error("7", "spec: write");
    check_spec_error("{'issuer':'https://x'}", "spec.issuer: write an object");
    check_spec_error("{'issuer':{'url':'auth.example'}}", "spec.issuer.url: write an absolute URL");
    check_spec_error("{'issuer':{'url':'https:///x'}}", "names a host");
    check_spec_error("{'issuer':{'url':''}}", "spec.issuer.url: write a text");
    check_spec_error("{'issuer':{'url':['https://x']}}", "spec.issuer.url: write a text");
    check_spec_error("{'issuer':{'url':'https://u:p@x/'}}", "leave user name and password out");
    check_spec_error("{'issuer':{'jwksURL':'https://x/?a'}}", "spec.issuer.jwksURL: write a URL");
    check_spec_error("{'issuer':{'jwksURL':'https://x/ y'}}", "without spaces");
    check_spec_error("{'issuer':{'url':'https://x','caBundle':{}}}",
                     "spec.issuer.caBundle.configMap.name");
    check_spec_error(
        "{'issuer':{'url':'https://x','caBundle':{'configMap':{'name':'a','key':'a/b'}}}}",
        "configMap.key");
#define KEYCLOAK(url, realm) \
    "{'keycloak':{'url':'" url "','realm':'" realm "','credentials':{'secret':{'name':'s'}}}}"
    check_spec_error("{'keycloak':{}}", "write url and realm");
    check_spec_error(KEYCLOAK("https://x/", "r"), "slash at the end");
    check_spec_error(KEYCLOAK("https://x", "a/b"), "spec.keycloak.realm");
    check_spec_error(KEYCLOAK("https://x", ".."), "spec.keycloak.realm");
    check_spec_error("{'keycloak':{'url':'https://x','realm':'r'}}", "credentials.secret.name");
    check_spec_error(
        "{'keycloak':{'url':'https://x','realm':'r','credentials':{'secret':{'name':'UP'}}}}",
        "credentials.secret.name");
}

static void test_spec_errors_values(void **state)
{
    (void)state;
    check_spec_error("{" ISSUER ",'refreshInterval':'4s'}", "5s to 1h");
    check_spec_error("{" ISSUER ",'refreshInterval':'61m'}", "5s to 1h");
    check_spec_error("{" ISSUER ",'refreshInterval':'soon'}", "5s to 1h");
    check_spec_error("{" ISSUER ",'refreshInterval':30}", "spec.refreshInterval");
    check_spec_error("{" ISSUER ",'wrapper':{'warnBefore':['0s']}}", "spec.wrapper.warnBefore");
    check_spec_error("{" ISSUER ",'wrapper':{'warnBefore':['1d','2d','24h']}}", "equally long");
    check_spec_error("{" ISSUER ",'wrapper':{'warnBefore':[1]}}", "spec.wrapper.warnBefore");
    check_spec_error("{" ISSUER
                     ",'wrapper':{'warnBefore':['1s','2s','3s','4s','5s','6s','7s','8s','9s']}}",
                     "at most 8");
    check_spec_error("{" ISSUER ",'deletionPolicy':'Keep'}", "Retain or Delete");
}

static void test_spec_errors_consumers(void **state)
{
    (void)state;
#define CONSUMERS(list) "{" ISSUER ",'consumers':[" list "]}"
    check_spec_error("{" ISSUER ",'consumers':{}}", "spec.consumers: write a list");
    check_spec_error(CONSUMERS("{" SECRET "}"), "DNS label");
    check_spec_error(CONSUMERS("{'name':'a.b'," SECRET "}"), "DNS label");
    check_spec_error(CONSUMERS("{'name':'-a'," SECRET "}"), "DNS label");
    check_spec_error(CONSUMERS("{'name':'c'}"), "spec.consumers[c].publish: write exactly one");
    check_spec_error(
        CONSUMERS("{'name':'c','publish':{'secret':{'name':'a'},'configMap':{'name':'a'}}}"),
        "exactly one");
    check_spec_error(CONSUMERS("{'name':'c','publish':{'secret':{'name':'a-'}}}"),
                     "publish.secret.name");
    check_spec_error(CONSUMERS("{'name':'c','publish':{'secret':{'name':'a'},'formats':[]}}"),
                     "formats");
    check_spec_error(
        CONSUMERS("{'name':'c','publish':{'secret':{'name':'a'},'formats':['PEM','PEM']}}"),
        "each once");
    check_spec_error(CONSUMERS("{'name':'c','publish':{'secret':{'name':'a'},'formats':['DER']}}"),
                     "formats");
    check_spec_error(
        CONSUMERS("{'name':'c'," SECRET ",'reload':{'restart':[{'kind':'Pod','name':'a'}]}}"),
        "reload.restart");
    check_spec_error(
        CONSUMERS("{'name':'c'," SECRET ",'reload':{'restart':[{'kind':'Deployment'}]}}"),
        "reload");
    check_spec_error(CONSUMERS("{'name':'c'," SECRET
                               ",'reload':{'restart':[{'kind':'Deployment','name':'a'},"
                               "{'kind':'Deployment','name':'a'}]}}"),
                     "Deployment a is listed twice");
    check_spec_error(
        CONSUMERS("{'name':'c'," SECRET "},{'name':'c','publish':{'secret':{'name':'t'}}}"),
        "called c");
    check_spec_error(CONSUMERS("{'name':'d'," SECRET "},{'name':'c'," SECRET "}"),
                     "publish into one Secret s");
    check_spec_error(
        CONSUMERS("{'name':'c','publish':{'configMap':{'name':'prod-keyturn-record'}}}"),
        "last known good keys");
    check_spec_error(
        "{'keycloak':{'url':'https://x','realm':'r','credentials':{'secret':{'name':'s'}}},"
        "'consumers':[{'name':'c'," SECRET "}]}",
        "credentials of spec.keycloak");
    check_spec_error("{'issuer':{'url':'https://x','caBundle':{'configMap':{'name':'ca'}}},"
                     "'consumers':[{'name':'c','publish':{'configMap':{'name':'ca'}}}]}",
                     "certificates of spec.issuer.caBundle");
}

static void test_long_name(void **state)
{
    (void)state;
    struct err err = {0};
    json_t *cleanup_json tree = tree_of("{'metadata':{'resourceVersion':'1'},'spec':{" ISSUER "}}");
    char name[65];
    memset(name, 'a', 64);
    name[64] = '\0';
    assert_null(rotation_new(tree, &err)); /* no name */
    assert_int_equal(err.class, ERR_INVALID);
    json_object_set_new(json_object_get(tree, "metadata"), "name", json_string(name));
    struct rotation_object *r = rotation_new(tree, &err);
    assert_non_null(r);
    assert_non_null(strstr(r->spec_error, "63 characters"));
    rotation_free(r);
    rotation_free(NULL);
}

static void test_encode_is_canonical(void **state)
{
    (void)state;
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    read_seed("rotation/whole.json", &text);
    json_t *cleanup_json tree = json_load(buf_view(&text), true, "x", &err);
    struct rotation_object *r = rotation_new(tree, &err);
    assert_non_null(r);
    struct buf cleanup_buf out = {0};
    rotation_status_encode(&r->status, &out);
    json_t *cleanup_json written = json_load(buf_view(&out), false, "status", &err);
    /* The seed is written in the order of the schema: nothing lost, nothing added. */
    if (!json_equal(written, json_object_get(tree, "status"))) {
        fail_msg("%s", buf_text(&out));
    }
    assert_int_equal(
        strncmp(buf_text(&out), "{\"observedGeneration\":7,\"phase\":\"Rolling\",\"realm\":", 50),
        0);
    rotation_free(r);
}

static void test_patch_takes_fields_away(void **state)
{
    (void)state;
    struct rotation_status status = {.phase = PHASE_BLOCKED};
    struct object_meta meta = {.resource_version = "12"};
    struct buf cleanup_buf out = {0};
    rotation_status_patch(&meta, &status, &out);
    assert_string_equal(
        buf_text(&out),
        "{\"metadata\":{\"resourceVersion\":\"12\"},\"status\":{\"observedGeneration\":null,"
        "\"phase\":\"Blocked\",\"realm\":null,\"activeKid\":null,\"issuer\":null,"
        "\"certExpires\":null,\"refreshed\":null,\"consumersUpToDate\":null,\"keys\":null,"
        "\"consumers\":null,\"nextKid\":null,\"rotation\":null,\"change\":null,"
        "\"operation\":null,\"nextTransition\":null,\"history\":null,\"conditions\":[]}}");
    struct buf cleanup_buf part = {0};
    status.jwks_url = "https://x";
    rotation_status_patch(&meta, &status, &part);
    assert_non_null(strstr(buf_text(&part), "\"issuer\":{\"url\":null,\"jwksURL\":\"https://x\"}"));
    struct buf cleanup_buf bare = {0};
    rotation_status_encode(&status, &bare);
    assert_string_equal(
        buf_text(&bare),
        "{\"phase\":\"Blocked\",\"issuer\":{\"jwksURL\":\"https://x\"},\"conditions\":[]}");
}

static void test_encode_keeps_the_bounds(void **state)
{
    (void)state;
    char text[4001];
    memset(text, 'x', 4000);
    text[4000] = '\0';
    struct key_status keys[] = {
        {.kid = text}, {.kid = NULL}, {.kid = "ok", .algorithm = text, .component = text}};
    struct consumer_status consumers[] = {{.name = NULL},
                                          {.name = "c", .message = text, .pods = text}};
    struct rotation_status status = {.realm = text,
                                     .keys = keys,
                                     .keys_count = 3,
                                     .consumers = consumers,
                                     .consumers_count = 2,
                                     .cert_expires_s = INT64_MAX};
    status.conditions[CONDITION_READY] = (struct condition){.reason = text, .message = text};
    struct buf cleanup_buf out = {0};
    struct err err = {0};
    rotation_status_encode(&status, &out);
    json_t *cleanup_json t = json_load(buf_view(&out), false, "status", &err);
    assert_int_equal(strlen(json_text(t, "realm")), 1024);
    assert_string_equal(json_text(t, "certExpires"), "9999-12-31T23:59:59Z");
    assert_int_equal(json_array_size(json_object_get(t, "keys")), 1);
    const json_t *key = json_array_get(json_object_get(t, "keys"), 0);
    assert_int_equal(strlen(json_text(key, "algorithm")), 32);
    assert_int_equal(strlen(json_text(key, "component")), 255);
    const json_t *consumer = json_array_get(json_object_get(t, "consumers"), 0);
    assert_int_equal(strlen(json_text(consumer, "message")), 1024);
    assert_int_equal(strlen(json_text(consumer, "pods")), 32);
    const json_t *condition = json_array_get(json_object_get(t, "conditions"), 0);
    assert_int_equal(strlen(json_text(condition, "reason")), 128);
    assert_int_equal(strlen(json_text(condition, "message")), 1024);
    assert_string_equal(json_text(condition, "lastTransitionTime"), "1970-01-01T00:00:00Z");
}

/* A refresh value longer than status.refreshed may be is compared as it will be stored. */
static void test_long_refresh_can_be_served(void **state)
{
    (void)state;
    struct err err = {0};
    char text[2001];
    memset(text, 'r', 2000);
    text[2000] = '\0';
    json_t *cleanup_json tree =
        tree_of("{'metadata':{'name':'a','resourceVersion':'1','annotations':{}}}");
    json_object_set_new(json_path(tree, "metadata", "annotations", NULL), "keyturn.dev/refresh",
                        json_string(text));
    struct rotation_object *r = rotation_new(tree, &err);
    assert_non_null(r);
    struct rotation_status status = {.refreshed = r->refresh};
    struct buf cleanup_buf out = {0};
    rotation_status_encode(&status, &out);
    json_t *cleanup_json written = json_load(buf_view(&out), false, "status", &err);
    assert_string_equal(json_text(written, "refreshed"), r->refresh);
    rotation_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec),
        cmocka_unit_test(test_meta_and_annotations),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_odd_status),
        cmocka_unit_test(test_spec_errors_addresses),
        cmocka_unit_test(test_spec_errors_values),
        cmocka_unit_test(test_spec_errors_consumers),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_encode_is_canonical),
        cmocka_unit_test(test_patch_takes_fields_away),
        cmocka_unit_test(test_encode_keeps_the_bounds),
        cmocka_unit_test(test_long_refresh_can_be_served),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
