/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../lib/fake_kube.h"
#include "kube/call.h"

static struct fake_kube k;

struct got {
    int answers;
    struct err err;
    char body[256];
    int cancels;
};

static void on_done(void *ctx, const struct kube_answer *answer)
{
    struct got *got = ctx;
    got->answers++;
    got->err = answer->err;
    snprintf(got->body, sizeof(got->body), "%.*s", (int)answer->body.len,
             answer->body.data != NULL ? answer->body.data : "");
}

static int setup(void **state)
{
    (void)state;
    fake_kube_start(&k);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_kube_stop(&k);
    return 0;
}

static struct kube_call *get(struct got *got)
{
    struct kube_request request = {.method = "GET", .path = "/api/v1/nodes/a?x=1"};
    return kube_submit(k.kube, &request, on_done, got);
}

static void request_carries_what_it_must(void **state)
{
    (void)state;
    struct got got = {0};
    struct kube_request request = {
        .method = "PUT",
        .path = "/api/v1/namespaces/a/secrets/b",
        .metadata_only = true,
        .secret = true,
        .body = str_from("{}"),
        .lane = HTTP_LANE_EVENT,
        .timeout_ms = 1234,
    };
    assert_string_equal(kube_namespace(k.kube), "own");
    assert_non_null(kube_submit(k.kube, &request, on_done, &got));
    struct fake_request *r = fake_http_last(k.http);
    assert_string_equal(r->url, "https://api.test:6443/api/v1/namespaces/a/secrets/b");
    assert_string_equal(r->method, "PUT");
    assert_string_equal(r->body, "{}");
    assert_string_equal(r->ca_pem, "CA-1");
    assert_true(fake_header_is(r, "Authorization", "Bearer first"));
    assert_true(fake_header_is(r, "User-Agent", "keyturn/test"));
    assert_true(fake_header_is(r, "Content-Type", "application/json"));
    assert_true(fake_header_is(r, "Accept",
                               "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"));
    assert_true(r->secret);
    assert_false(r->insecure);
    assert_int_equal(r->lane, HTTP_LANE_EVENT);
    assert_int_equal(r->timeout_ms, 1234);
    fake_answer(r, 201, "{\"made\":1}");
    assert_int_equal(got.answers, 1);
    assert_int_equal(got.err.class, ERR_NONE);
    assert_string_equal(got.body, "{\"made\":1}");
}

static void unauthorized_reads_token_again_and_repeats_once(void **state)
{
    (void)state;
    struct got got = {0};
    get(&got);
    write_file(k.dir, "token", "second");
    fake_answer(fake_http_last(k.http), 401, "{}");
    assert_int_equal(got.answers, 0);
    assert_int_equal(fake_http_count(k.http), 2);
    assert_true(fake_header_is(fake_http_last(k.http), "Authorization", "Bearer second"));
    fake_answer(fake_http_last(k.http), 401, "{\"kind\":\"Status\",\"message\":\"Unauthorized\"}");
    assert_int_equal(fake_http_count(k.http), 2);
    assert_int_equal(got.answers, 1);
    assert_int_equal(got.err.class, ERR_AUTH);
    assert_int_equal(got.err.http_status, 401);
    assert_non_null(strstr(got.err.msg, "GET /api/v1/nodes/a:"));
    assert_null(strstr(got.err.msg, "second"));
}

static void repetition_sends_the_body_again(void **state)
{
    (void)state;
    struct got got = {0};
    struct kube_request request = {.method = "POST", .path = "/p", .body = str_from("{\"a\":1}")};
    kube_submit(k.kube, &request, on_done, &got);
    fake_answer(fake_http_last(k.http), 401, "");
    assert_string_equal(fake_http_last(k.http)->body, "{\"a\":1}");
    fake_answer(fake_http_last(k.http), 200, "ok");
    assert_string_equal(got.body, "ok");
}

static void tls_failure_reads_ca_again(void **state)
{
    (void)state;
    struct got got = {0};
    get(&got);
    write_file(k.dir, "ca.crt", "CA-2");
    fake_fail(fake_http_last(k.http), ERR_TLS);
    assert_string_equal(fake_http_last(k.http)->ca_pem, "CA-2");
    fake_fail(fake_http_last(k.http), ERR_TLS);
    assert_int_equal(got.err.class, ERR_TLS);
    assert_int_equal(fake_http_count(k.http), 2);
}

static void other_failures_are_not_repeated(void **state)
{
    (void)state;
    struct got got = {0};
    static const enum err_class classes[] = {ERR_REFUSED, ERR_TIMEOUT, ERR_DNS, ERR_TRANSIENT};
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        get(&got);
        fake_fail(fake_http_last(k.http), classes[i]);
        assert_int_equal(got.err.class, classes[i]);
        assert_int_equal(fake_http_count(k.http), i + 1);
    }
}

static void both_attempts_share_one_deadline(void **state)
{
    (void)state;
    struct got got = {0};
    get(&got);
    fake_loop_advance(k.loop, 6000);
    fake_answer(fake_http_last(k.http), 401, "");
    assert_int_equal(fake_http_last(k.http)->timeout_ms, 9000);
    fake_answer(fake_http_last(k.http), 200, "");
    get(&got);
    fake_loop_advance(k.loop, 15000);
    fake_answer(fake_http_last(k.http), 401, "");
    assert_int_equal(fake_http_count(k.http), 3);
    assert_int_equal(got.err.class, ERR_AUTH);
}

static void files_are_read_again_after_50_s(void **state)
{
    (void)state;
    struct got got = {0};
    write_file(k.dir, "token", "second");
    fake_loop_advance(k.loop, 49000);
    get(&got);
    assert_true(fake_header_is(fake_http_last(k.http), "Authorization", "Bearer first"));
    fake_loop_advance(k.loop, 1000);
    get(&got);
    assert_true(fake_header_is(fake_http_last(k.http), "Authorization", "Bearer second"));
    /* Away for a moment: what was read before stays. */
    remove_file(k.dir, "token");
    fake_loop_advance(k.loop, 50000);
    get(&got);
    assert_true(fake_header_is(fake_http_last(k.http), "Authorization", "Bearer second"));
    write_file(k.dir, "token", "x\r\nEvil: 1");
    fake_loop_advance(k.loop, 50000);
    get(&got);
    assert_true(fake_header_is(fake_http_last(k.http), "Authorization", "Bearer second"));
}

static void error_answers_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum err_class class;
    } cases[] = {
        {403, "{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"message\":\"no\"}", ERR_FORBIDDEN},
        {404, "<html>", ERR_NOT_FOUND},
        {409, "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}", ERR_EXISTS},
        {409, "{\"kind\":\"Status\",\"reason\":\"Conflict\"}", ERR_CONFLICT},
        {410, "", ERR_GONE},
        {422, "{}", ERR_INVALID},
        {429, "", ERR_TRANSIENT},
        {500, "", ERR_TRANSIENT},
        {302, "", ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct got got = {0};
        get(&got);
        fake_answer(fake_http_last(k.http), cases[i].status, cases[i].body);
        assert_int_equal(got.err.class, cases[i].class);
        assert_int_equal(got.err.http_status, cases[i].status);
        assert_int_equal(got.body[0], 0);
    }
}

static void retry_after_of_the_header_is_kept(void **state)
{
    (void)state;
    struct got got = {0};
    get(&got);
    struct http_response response = {.status = 429, .content_type = "", .retry_after_s = 7};
    fake_answer_with(fake_http_last(k.http), &response);
    assert_int_equal(got.err.retry_after_s, 7);
}

static void count_cancel(void *ctx)
{
    ((struct got *)ctx)->cancels++;
}

static void cancelled_calls_are_silent(void **state)
{
    (void)state;
    struct got got = {0};
    kube_cancel(NULL);
    kube_cancel(get(&got));
    assert_int_equal(fake_http_last(k.http)->state, FAKE_CANCELED);
    struct kube_request request = {.method = "GET", .path = "/p"};
    struct kube_extra extra = {.on_cancel = count_cancel};
    struct kube_call *call = kube_start(k.kube, &request, &extra, on_done, &got);
    get(&got);
    kube_cancel(call);
    assert_int_equal(got.cancels, 1);
    kube_start(k.kube, &request, &extra, on_done, &got);
    fake_kube_stop(&k);
    assert_int_equal(got.cancels, 2);
    assert_int_equal(got.answers, 0);
    fake_kube_start(&k);
}

static void without_memory_there_is_no_call(void **state)
{
    (void)state;
    struct got got = {0};
    fake_http_no_memory(k.http, 1);
    assert_null(get(&got));
    assert_int_equal(got.answers, 0);
    /* A repetition that cannot be sent ends as what it was to repeat. */
    get(&got);
    fake_http_no_memory(k.http, 1);
    fake_answer(fake_http_last(k.http), 401, "");
    assert_int_equal(got.answers, 1);
    assert_int_equal(got.err.class, ERR_AUTH);
}

static void paths_are_escaped(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {0};
    kube_path(&b, "/apis/apps/v1", "a b", "deployments", "x/../y");
    assert_string_equal(buf_text(&b), "/apis/apps/v1/namespaces/a%20b/deployments/x%2F..%2Fy");
    buf_clear(&b);
    kube_path(&b, "/api/v1", NULL, "pods", NULL);
    assert_string_equal(buf_text(&b), "/api/v1/pods");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(request_carries_what_it_must, setup, teardown),
        cmocka_unit_test_setup_teardown(unauthorized_reads_token_again_and_repeats_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(repetition_sends_the_body_again, setup, teardown),
        cmocka_unit_test_setup_teardown(tls_failure_reads_ca_again, setup, teardown),
        cmocka_unit_test_setup_teardown(other_failures_are_not_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(both_attempts_share_one_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_read_again_after_50_s, setup, teardown),
        cmocka_unit_test_setup_teardown(error_answers_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(retry_after_of_the_header_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled_calls_are_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_call, setup, teardown),
        cmocka_unit_test(paths_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
