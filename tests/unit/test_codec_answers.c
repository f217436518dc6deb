/* SPDX-License-Identifier: Apache-2.0
 *
 * What the API server answers besides objects, and what is sent to it. */
#include "codec_data.h"

#include "codec/kube_codec.h"

static void check_error(int status, const char *body, enum err_class class, const char *reason)
{
    struct err err = {0};
    kube_error_decode(str_from(body), status, &err);
    if (err.class != class) {
        fail_msg("%d %s: class %d", status, body, err.class);
    }
    assert_string_equal(err.reason, reason);
    assert_int_equal(err.http_status, status);
}

static void test_error_classes(void **state)
{
    (void)state;
    check_error(401, "Unauthorized", ERR_AUTH, "");
    check_error(403, "{\"reason\":\"Forbidden\"}", ERR_FORBIDDEN, "Forbidden");
    check_error(404, "404 page not found", ERR_NOT_FOUND, "");
    check_error(409, "{\"reason\":\"AlreadyExists\"}", ERR_EXISTS, "AlreadyExists");
    check_error(409, "{\"reason\":\"Conflict\"}", ERR_CONFLICT, "Conflict");
    check_error(410, "", ERR_GONE, "");
    check_error(422, "{\"reason\":\"Invalid\"}", ERR_INVALID, "Invalid");
    check_error(400, "[]", ERR_INVALID, "");
    check_error(413, "", ERR_LIMIT, "");
    check_error(429, "{\"reason\":7,\"details\":3}", ERR_TRANSIENT, "");
    check_error(500, "<html>", ERR_TRANSIENT, "");
    check_error(504, "{\"reason\":\"Timeout\"}", ERR_TRANSIENT, "Timeout");
}

static void test_error_text(void **state)
{
    (void)state;
    struct err err = {0};
    const char *body =
        "{\"message\":\"secrets \\\"x\\\" is forbidden: ValidatingAdmissionPolicy "
        "'keyturn-fence-secrets' denied\\u0007\",\"reason\":\"Invalid\",\"code\":422,"
        "\"details\":{\"retryAfterSeconds\":99999}}";
    kube_error_decode(str_from(body), 422, &err);
    assert_non_null(strstr(err.msg, "422"));
    assert_non_null(strstr(err.msg, "'keyturn-fence-secrets' denied?"));
    assert_int_equal(err.retry_after_s, 3600);
    kube_error_decode(str_from("{\"details\":{\"retryAfterSeconds\":-5}}"), 429, &err);
    assert_int_equal(err.retry_after_s, 0);
}

static int decode_seed(const char *seed, json_t **tree, struct watch_frame *ret, struct err *err)
{
    struct buf cleanup_buf text = {0};
    read_seed(seed, &text);
    return watch_frame_decode(buf_view(&text), tree, ret, err);
}

static void test_watch_specials(void **state)
{
    (void)state;
    struct watch_frame f;
    struct err err = {0};
    json_t *tree = NULL;
    assert_int_equal(decode_seed("watch/bookmark.txt", &tree, &f, &err), 0);
    assert_int_equal(f.event, WATCH_BOOKMARK);
    assert_true(f.initial_end);
    assert_string_equal(f.resource_version, "12746");
    json_decref(tree);
    assert_int_equal(decode_seed("watch/expired.txt", &tree, &f, &err), 0);
    assert_int_equal(f.event, WATCH_ERROR);
    assert_int_equal(f.error.class, ERR_GONE);
    assert_int_equal(f.error.http_status, 410);
    assert_null(f.resource_version);
    json_decref(tree);
    assert_int_equal(decode_seed("watch/too-many.txt", &tree, &f, &err), 0);
    assert_int_equal(f.error.class, ERR_TRANSIENT);
    assert_int_equal(f.error.retry_after_s, 1);
    json_decref(tree);
    assert_int_equal(decode_seed("watch/cut.txt", &tree, &f, &err), -1);
    assert_null(tree);
}

static void test_watch_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"type\":\"ADDED\"}",
        "{\"type\":\"ADDED\",\"object\":[]}",
        "{\"type\":\"added\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}}}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}",
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":5}}}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct watch_frame f;
        struct err err = {0};
        json_t *tree = NULL;
        assert_int_equal(watch_frame_decode(str_from(bad[i]), &tree, &f, &err), -1);
        assert_int_equal(err.class, ERR_INVALID);
        assert_null(tree);
    }
}

static void test_lease_round_trip(void **state)
{
    (void)state;
    struct buf cleanup_buf text = {0};
    struct buf cleanup_buf out = {0};
    struct leader_record r;
    struct leader_record again;
    struct err err = {0};
    read_seed("watch/lease.txt", &text);
    assert_int_equal(lease_decode(buf_view(&text), &r, &err), 0);
    assert_string_equal(r.holder, "keyturn-0_a1");
    assert_string_equal(r.renew_time, "2026-07-01T10:05:00.123456Z");
    assert_string_equal(r.acquire_time, "2026-07-01T10:00:00.000000Z");
    assert_int_equal(r.duration_ms, 15000);
    assert_int_equal(r.transitions, 4);
    assert_string_equal(r.resource_version, "55");
    lease_encode("keyturn", "keyturn", &r, &out);
    assert_int_equal(lease_decode(buf_view(&out), &again, &err), 0);
    assert_memory_equal(&r, &again, sizeof(r));
}

static void test_lease_release_and_bounds(void **state)
{
    (void)state;
    struct buf cleanup_buf out = {0};
    struct leader_record r = {.duration_ms = 0, .transitions = 3};
    struct err err = {0};
    lease_encode("n", "l", &r, &out);
    assert_string_equal(
        buf_text(&out),
        "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":"
        "{\"name\":\"l\",\"namespace\":\"n\"},\"spec\":"
        "{\"leaseDurationSeconds\":1,\"leaseTransitions\":3}}");
    assert_int_equal(lease_decode(str_from("{\"spec\":{}}"), &r, &err), -1);
    char text[600];
    char holder[301];
    memset(holder, 'h', sizeof(holder) - 1);
    holder[300] = '\0';
    assert_true(text_format(
        text, sizeof(text),
        "{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":{\"holderIdentity\":\"%s\"}}", holder));
    assert_int_equal(lease_decode(str_from(text), &r, &err), -1);
    assert_int_equal(lease_decode(str_from("{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":"
                                           "{\"leaseDurationSeconds\":999999999999}}"),
                                  &r, &err),
                     0);
    assert_int_equal(r.duration_ms, 86400000);
}

static void test_published_secret(void **state)
{
    (void)state;
    struct buf cleanup_buf out = {0};
    struct trust_file list[] = {{"a.pem", {"hello", 5}}, {"empty", {"", 0}}};
    struct trust_files files = {.files = list, .count = 2};
    struct published_object o = {.kind = KIND_SECRET,
                                 .namespace = "auth",
                                 .name = "k",
                                 .rotation = "prod",
                                 .consumer = "nats",
                                 .hash = "v1-x",
                                 .files = &files};
    published_encode(&o, &out);
    assert_string_equal(
        buf_text(&out),
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\","
        "\"type\":\"keyturn.dev/public-keys\",\"metadata\":{"
        "\"name\":\"k\",\"namespace\":\"auth\","
        "\"labels\":{\"app.kubernetes.io/managed-by\":\"keyturn\","
        "\"keyturn.dev/rotation\":\"prod\"},\"annotations\":{\"keyturn.dev/trust-hash\":\"v1-x\","
        "\"keyturn.dev/consumer\":\"nats\"}},\"data\":{\"a.pem\":\"aGVsbG8=\",\"empty\":\"\"}}");
}

static void test_published_config_map(void **state)
{
    (void)state;
    struct buf cleanup_buf out = {0};
    struct trust_file list[] = {{"record.json", {"{\"a\":\"b\n\"}", 10}}};
    struct trust_files files = {.files = list, .count = 1};
    struct published_object o = {.kind = KIND_CONFIG_MAP,
                                 .namespace = "auth",
                                 .name = "k",
                                 .rotation = "prod",
                                 .uid = "u-1",
                                 .resource_version = "9",
                                 .adopt = true,
                                 .record = true,
                                 .secret_type = "ignored",
                                 .files = &files};
    published_encode(&o, &out);
    assert_string_equal(
        buf_text(&out),
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"k\","
        "\"namespace\":\"auth\","
        "\"uid\":\"u-1\",\"resourceVersion\":\"9\","
        "\"labels\":{\"app.kubernetes.io/managed-by\":\"keyturn\","
        "\"keyturn.dev/rotation\":\"prod\",\"keyturn.dev/record\":\"true\"},"
        "\"annotations\":{\"keyturn.dev/adopt\":\"true\"}},"
        "\"data\":{\"record.json\":\"{\\\"a\\\":\\\"b\\n\\\"}\"}}");
}

/* What is written is what the watch shows: the same digest. */
static void test_published_reads_back(void **state)
{
    (void)state;
    struct buf cleanup_buf out = {0};
    struct err err = {0};
    struct trust_file list[] = {{"bundle.pem", {"-----\n\xc3\xa9\t\"\\", 11}},
                                {"jwks.json", {"{}", 2}}};
    struct trust_files files = {.files = list, .count = 2};
    struct published_object o = {.kind = KIND_CONFIG_MAP,
                                 .namespace = "auth",
                                 .name = "k",
                                 .rotation = "prod",
                                 .consumer = "c",
                                 .hash = "v1-x",
                                 .resource_version = "9",
                                 .files = &files};
    char digest[JOSE_HASH_TEXT];
    published_encode(&o, &out);
    json_t *cleanup_json tree = json_load(buf_view(&out), true, "x", &err);
    struct config_map_object *c = config_map_new(tree, &err);
    assert_non_null(c);
    trust_files_digest(&files, digest);
    assert_string_equal(c->digest, digest);
    assert_string_equal(c->rotation, "prod");
    assert_string_equal(c->consumer, "c");
    assert_string_equal(c->hash, "v1-x");
    config_map_free(c);
}

static void test_event(void **state)
{
    (void)state;
    struct buf cleanup_buf out = {0};
    char note[2001];
    memset(note, 'n', 1023);
    memcpy(note + 1023, "\xc3\xa9 tail",
           sizeof("\xc3\xa9 tail")); /* the cut is inside this letter */
    struct event_object e = {.namespace = "auth",
                             .name = "prod.1",
                             .warning = true,
                             .reason = "CertificateExpiring",
                             .action = "Check",
                             .note = note,
                             .regarding_name = "prod",
                             .regarding_uid = "u",
                             .regarding_resource_version = "7",
                             .instance = "keyturn-0",
                             .time_us = 1782896400000001};
    event_encode(&e, &out);
    struct err err = {0};
    json_t *cleanup_json tree = json_load(buf_view(&out), false, "event", &err);
    assert_non_null(tree);
    assert_string_equal(json_text(tree, "eventTime"), "2026-07-01T09:00:00.000001Z");
    assert_string_equal(json_text(tree, "type"), "Warning");
    assert_string_equal(json_text(tree, "reportingController"), "keyturn.dev/keyturn");
    assert_string_equal(json_text(tree, "reportingInstance"), "keyturn-0");
    assert_string_equal(json_text(tree, "action"), "Check");
    assert_string_equal(json_text(tree, "reason"), "CertificateExpiring");
    assert_int_equal(strlen(json_text(tree, "note")), 1023);
    const json_t *regarding = json_object_get(tree, "regarding");
    assert_string_equal(json_text(regarding, "kind"), "KeyRotation");
    assert_string_equal(json_text(regarding, "namespace"), "auth");
    assert_string_equal(json_text(regarding, "name"), "prod");
}

static void test_restart_patch(void **state)
{
    (void)state;
    struct buf cleanup_buf out = {0};
    struct object_meta meta = {.uid = "u", .resource_version = "3"};
    restart_patch_encode(&meta, "v1-x", &out);
    assert_string_equal(
        buf_text(&out),
        "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"3\"},\"spec\":{\"template\":{"
        "\"metadata\":{\"annotations\":{\"keyturn.dev/trust-hash\":\"v1-x\"}}}}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_classes),
        cmocka_unit_test(test_error_text),
        cmocka_unit_test(test_watch_specials),
        cmocka_unit_test(test_watch_refuses),
        cmocka_unit_test(test_lease_round_trip),
        cmocka_unit_test(test_lease_release_and_bounds),
        cmocka_unit_test(test_published_secret),
        cmocka_unit_test(test_published_config_map),
        cmocka_unit_test(test_published_reads_back),
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_restart_patch),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
