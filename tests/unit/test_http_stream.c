/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams (watches) and cancellation through the HTTP port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <signal.h>
#include "../lib/http_client.h"
#include "../lib/tiny_server.h"
#include "base/attr.h"

struct rig {
    struct loop *loop;
    struct http_port *http;
    struct tiny_server *server;
    char url[128];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    signal(SIGPIPE, SIG_IGN);
    rig->loop = loop_new(NULL);
    rig->http = http_curl_new(rig->loop, NULL, NULL);
    rig->server = tiny_server_start(NULL, NULL);
    assert_non_null(rig->http);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    http_curl_free(rig->http);
    loop_free(rig->loop);
    tiny_server_stop(rig->server);
    free(rig);
    return 0;
}

static struct http_request stream_of(struct rig *rig, const char *path, int idle_ms)
{
    snprintf(rig->url, sizeof(rig->url), "http://127.0.0.1:%d%s", tiny_server_port(rig->server),
             path);
    return (struct http_request){.method = "GET",
                                 .url = rig->url,
                                 .lane = HTTP_LANE_WATCH,
                                 .timeout_ms = 500,
                                 .idle_timeout_ms = idle_ms};
}

static void test_chunks_then_the_end(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/stream", 5000);
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 200);
    assert_int_equal(f.err.class, ERR_NONE);
    assert_int_equal(f.chunks, 3); /* each as it came, not at the end */
    assert_string_equal(buf_text(&f.streamed), "one\ntwo\nthree\n");
    assert_int_equal(f.body.len, 0);
    fetch_release(&f);
}

static void test_status_of_a_stream_is_a_plain_answer(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/status/410", 5000);
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 410);
    assert_int_equal(f.err.class, ERR_NONE);
    assert_int_equal(f.chunks, 0);
    assert_string_equal(buf_text(&f.body), "status");
    fetch_release(&f);
}

static void test_silence_ends_it(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/silent", 200);
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 200);
    assert_int_equal(f.err.class, ERR_TIMEOUT);
    assert_non_null(strstr(f.err.msg, "nothing came for 200 ms"));
    assert_string_equal(buf_text(&f.streamed), "one\n");
    assert_in_range(f.elapsed_ms, 200, 3000);
    fetch_release(&f);
}

/* A byte each 20 ms keeps it alive far beyond both time-outs. */
static void test_bytes_keep_it_alive(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/slow", 400);
    fetch_start(&f, rig->http, rig->loop, &request);
    run_for(rig->loop, 1200);
    assert_false(f.done);
    assert_true(f.chunks > 10);
    http_cancel(rig->http, f.call);
    fetch_release(&f);
}

static void test_no_headers_in_time(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/hang", 60000);
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 0);
    assert_int_equal(f.err.class, ERR_TIMEOUT);
    assert_in_range(f.elapsed_ms, 499, 3000);
    fetch_release(&f);
}

static void test_cut_stream_keeps_its_status(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/cut", 5000);
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 200);
    assert_int_equal(f.err.class, ERR_TRANSIENT);
    assert_int_equal(f.err.http_status, 200);
    assert_string_equal(buf_text(&f.streamed), "one\n");
    fetch_release(&f);
}

static void wait_until_open(struct rig *rig, int count)
{
    for (int i = 0; i < 300 && tiny_server_open(rig->server) != count; i++)
        run_for(rig->loop, 10);
    assert_int_equal(tiny_server_open(rig->server), count);
}

/* Nothing is called any more, and the connection is really closed. */
static void test_cancel_closes(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/silent", 60000);
    fetch_start(&f, rig->http, rig->loop, &request);
    while (f.chunks == 0)
        run_for(rig->loop, 10);
    assert_int_equal(tiny_server_open(rig->server), 1);
    http_cancel(rig->http, f.call);
    wait_until_open(rig, 0);
    assert_false(f.done);
    http_cancel(rig->http, NULL);
    fetch_release(&f);
}

static void test_cancel_before_it_began(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/ok", 60000);
    fetch_start(&f, rig->http, rig->loop, &request);
    http_cancel(rig->http, f.call);
    request.url = "http://"; /* fails at once, and waits to say so */
    struct fetch g = {0};
    fetch_start(&g, rig->http, rig->loop, &request);
    http_cancel(rig->http, g.call);
    run_for(rig->loop, 50);
    assert_false(f.done);
    assert_false(g.done);
    assert_int_equal(tiny_server_connections(rig->server), 0);
    fetch_release(&f);
    fetch_release(&g);
}

static void test_cancel_itself_in_its_chunk(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/stream", 60000);
    f.cancel_in_chunk = &f.call;
    fetch_start(&f, rig->http, rig->loop, &request);
    f.cancel_in_chunk = &f.call;
    run_for(rig->loop, 200);
    assert_int_equal(f.chunks, 1);
    assert_false(f.done);
    wait_until_open(rig, 0);
    fetch_release(&f);
}

static void test_cancel_another_in_a_chunk(void **state)
{
    struct rig *rig = *state;
    struct fetch victims[2] = {{0}, {0}};
    struct fetch f = {0};
    struct http_request request = stream_of(rig, "/silent", 60000);
    fetch_start(&victims[0], rig->http, rig->loop, &request);
    while (victims[0].chunks == 0)
        run_for(rig->loop, 10);
    /* Of the same lane: libcurl is on the stack then. */
    f.cancel_in_chunk = &victims[0].call;
    request = stream_of(rig, "/stream", 60000);
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_string_equal(buf_text(&f.streamed), "one\ntwo\nthree\n");
    assert_false(victims[0].done);
    wait_until_open(rig, 1); /* f's, kept for the next */
    fetch_release(&f);
    fetch_release(&victims[0]);
}

struct chain {
    struct rig *rig;
    struct http_call *victim;
    struct http_request request;
    int done;
    int left;
};

static void on_chain_done(void *ctx, const struct http_response *response)
{
    struct chain *chain = ctx;
    const struct http_sink sink = {.on_done = on_chain_done, .ctx = chain};
    assert_int_equal(response->status, 200);
    chain->done++;
    http_cancel(chain->rig->http, chain->victim);
    chain->victim = NULL;
    if (--chain->left > 0)
        assert_non_null(http_submit(chain->rig->http, &chain->request, &sink));
    else
        loop_stop(chain->rig->loop);
}

static void test_submit_and_cancel_in_on_done(void **state)
{
    struct rig *rig = *state;
    struct fetch victim = {0};
    struct http_request request = stream_of(rig, "/hang", 60000);
    request.timeout_ms = 20000;
    fetch_start(&victim, rig->http, rig->loop, &request);
    struct chain chain = {.rig = rig, .victim = victim.call, .left = 5};
    chain.request = stream_of(rig, "/ok", 0);
    const struct http_sink sink = {.on_done = on_chain_done, .ctx = &chain};
    assert_non_null(http_submit(rig->http, &chain.request, &sink));
    loop_run(rig->loop);
    assert_int_equal(chain.done, 5);
    assert_false(victim.done);
    fetch_release(&victim);
}

/* The port may go while all kinds of calls are under way. */
static void test_free_cancels_all(void **state)
{
    struct rig *rig = *state;
    struct fetch f[3] = {{0}, {0}, {0}};
    struct http_request request = stream_of(rig, "/silent", 60000);
    fetch_start(&f[0], rig->http, rig->loop, &request);
    while (f[0].chunks == 0)
        run_for(rig->loop, 10);
    fetch_start(&f[1], rig->http, rig->loop, &request);
    request.url = "http://a-name-to-look-up.test/";
    fetch_start(&f[2], rig->http, rig->loop, &request);
    http_curl_free(rig->http);
    rig->http = NULL;
    run_for(rig->loop, 50);
    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        assert_false(f[i].done);
        fetch_release(&f[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_chunks_then_the_end),
        TEST(test_status_of_a_stream_is_a_plain_answer),
        TEST(test_silence_ends_it),
        TEST(test_bytes_keep_it_alive),
        TEST(test_no_headers_in_time),
        TEST(test_cut_stream_keeps_its_status),
        TEST(test_cancel_closes),
        TEST(test_cancel_before_it_began),
        TEST(test_cancel_itself_in_its_chunk),
        TEST(test_cancel_another_in_a_chunk),
        TEST(test_submit_and_cancel_in_on_done),
        TEST(test_free_cancels_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
