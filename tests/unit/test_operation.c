/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>
#include "../lib/fake_kube.h"
#include "codec/rotation_codec.h"
#include "controller/controller.h"
#include "controller/operation.h"

#define URL                                                                             \
    "https://api.test:6443/apis/keyturn.dev/v1alpha1/namespaces/auth/keyrotations/prod" \
    "?fieldManager=keyturn"
#define BODY                                                             \
    "{\"metadata\":{\"resourceVersion\":\"7\",\"annotations\":{"         \
    "\"keyturn.dev/operation\":null,\"keyturn.dev/operation-for\":null," \
    "\"keyturn.dev/operation-by\":null,\"keyturn.dev/reason\":null}}}"
#define CONFLICT \
    "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"code\":409,\"message\":\"changed\"}"
#define RETRY_MS 1000
#define SEEN_MS 500

/* A controller that leads, and the state of one KeyRotation, made by hand: no pass of its own
 * disturbs, because nothing is listed. */
static struct fake_kube k;
static struct controller_telemetry *telemetry;
static struct controller *c;
static struct rotation_object *object;
static struct rotation_state *s;

static int setup(void **state)
{
    (void)state;
    struct err err = {0};
    struct controller_options options = {
        .own_namespace = "own", .identity = "me", .lease_name = "keyturn", .resync_ms = 60000};
    fake_kube_start(&k);
    telemetry = controller_telemetry_new();
    c = controller_new(k.loop, fake_http_port(k.http), k.kube, &options, &err);
    assert_non_null(c);
    controller_use_telemetry(c, telemetry);
    controller_start(c);
    loop_run_ready(k.loop);
    json_t *json = json_pack("{s:{s:s,s:s,s:s,s:s},s:{s:{s:s}}}", "metadata", "name", "prod",
                             "namespace", "auth", "uid", "u", "resourceVersion", "7", "spec",
                             "issuer", "url", "https://auth.example.com");
    object = rotation_new(json, &err);
    json_decref(json);
    assert_non_null(object);
    s = state_new(c, object);
    assert_non_null(s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    state_free(s);
    rotation_free(object);
    controller_free(c);
    controller_telemetry_free(telemetry);
    fake_kube_stop(&k);
    return 0;
}

/* How many requests a call now makes. */
static size_t asked(void)
{
    size_t before = fake_http_seen(k.http, "PATCH ");
    operation_clear(s, object);
    return fake_http_seen(k.http, "PATCH ") - before;
}

static void takes_all_four_off_at_once(void **state)
{
    (void)state;
    assert_int_equal(asked(), 1);
    const struct fake_request *r = fake_http_last(k.http);
    assert_string_equal(r->method, "PATCH");
    assert_string_equal(r->url, URL);
    assert_string_equal(r->body, BODY);
    assert_true(fake_header_is(r, "Content-Type", "application/merge-patch+json"));
    assert_non_null(strstr(r->headers, "as=PartialObjectMetadata"));
    assert_int_equal(r->timeout_ms, 5000);
}

static void one_at_a_time(void **state)
{
    (void)state;
    assert_int_equal(asked(), 1);
    assert_int_equal(asked(), 0);
    fake_answer(fake_http_last(k.http), 200, "{}");
    assert_int_equal(asked(), 0); /* the watch has not shown it yet */
    fake_loop_advance(k.loop, SEEN_MS - 1);
    assert_int_equal(asked(), 0);
    fake_loop_advance(k.loop, 1);
    assert_int_equal(asked(), 1);
}

static void is_tried_again_after_a_second(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(asked(), 1);
        struct fake_request *r = fake_http_last(k.http);
        if (i == 0)
            fake_answer(r, 409, CONFLICT);
        else if (i == 1)
            fake_answer(r, 422, "{\"kind\":\"Status\",\"code\":422,\"message\":\"refused\"}");
        else if (i == 2)
            fake_answer(r, 503, "{}");
        else
            fake_fail(r, ERR_TIMEOUT);
        assert_int_equal(asked(), 0);
        fake_loop_advance(k.loop, RETRY_MS - 1);
        assert_int_equal(asked(), 0);
        fake_loop_advance(k.loop, 1);
    }
    assert_int_equal(asked(), 1);
}

static void what_is_gone_needs_nothing_taken_off(void **state)
{
    (void)state;
    assert_int_equal(asked(), 1);
    fake_answer(fake_http_last(k.http), 404, "{}");
    fake_loop_advance(k.loop, SEEN_MS);
    assert_int_equal(asked(), 1);
}

static void no_memory_is_tried_again(void **state)
{
    (void)state;
    fake_http_no_memory(k.http, 1);
    assert_int_equal(asked(), 0);
    fake_loop_advance(k.loop, RETRY_MS);
    assert_int_equal(asked(), 1);
}

static void goes_with_its_state(void **state)
{
    (void)state;
    assert_int_equal(asked(), 1);
    const struct fake_request *r = fake_http_last(k.http);
    state_free(s);
    s = NULL;
    assert_int_equal(r->state, FAKE_CANCELED);
}

static void stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static void only_who_leads_asks(void **state)
{
    (void)state;
    bool done = false;
    controller_stop(c, stopped, &done);
    assert_true(done);
    assert_int_equal(asked(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_all_four_off_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(is_tried_again_after_a_second, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_gone_needs_nothing_taken_off, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_with_its_state, setup, teardown),
        cmocka_unit_test_setup_teardown(only_who_leads_asks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
