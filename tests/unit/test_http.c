/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP port against a server that misbehaves: plain HTTP. TLS and names have tests of their
 * own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../lib/http_client.h"
#include "../lib/tiny_server.h"
#include "base/attr.h"

struct rig {
    struct loop *loop;
    struct http_port *http;
    struct tiny_server *server;
    char url[128];
    int observed;
    int observed_status;
    char observed_host[64];
};

static void on_observed(void *ctx, const char *host, enum http_lane lane, int status,
                        int64_t elapsed_ms)
{
    struct rig *rig = ctx;
    (void)lane;
    assert_true(elapsed_ms >= 0);
    rig->observed++;
    rig->observed_status = status;
    snprintf(rig->observed_host, sizeof(rig->observed_host), "%s", host);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    signal(SIGPIPE, SIG_IGN);
    rig->loop = loop_new(NULL);
    const struct http_curl_options options = {.observer = on_observed, .observer_ctx = rig};
    rig->http = http_curl_new(rig->loop, &options, NULL);
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

static struct http_request request_of(struct rig *rig, const char *method, const char *path)
{
    snprintf(rig->url, sizeof(rig->url), "http://127.0.0.1:%d%s", tiny_server_port(rig->server),
             path);
    return (struct http_request){.method = method, .url = rig->url, .timeout_ms = 5000};
}

static void get(struct rig *rig, struct fetch *f, const char *path)
{
    struct http_request request = request_of(rig, "GET", path);
    fetch_start(f, rig->http, rig->loop, &request);
    fetch_wait(f);
}

static void test_ok(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    get(rig, &f, "/ok");
    assert_int_equal(f.status, 200);
    assert_int_equal(f.err.class, ERR_NONE);
    assert_string_equal(buf_text(&f.body), "hello");
    assert_string_equal(f.content_type, "text/plain");
    assert_int_equal(f.chunks, 0);
    assert_int_equal(f.retry_after_s, 0);
    assert_int_equal(rig->observed, 1);
    assert_int_equal(rig->observed_status, 200);
    char host[64];
    snprintf(host, sizeof(host), "127.0.0.1:%d", tiny_server_port(rig->server));
    assert_string_equal(rig->observed_host, host);
    fetch_release(&f);
}

static void send_with(struct rig *rig, struct fetch *f, const char *method, const char *body)
{
    static const struct http_header headers[] = {
        {"Authorization", "Bearer secret-token"},
        {"Content-Type", "application/merge-patch+json"},
        {"X-Empty", ""},
    };
    struct http_request request = request_of(rig, method, "/echo?x=1");
    request.headers = headers;
    request.headers_count = ARRAY_LEN(headers);
    request.body = str_from(body);
    request.secret = true;
    fetch_start(f, rig->http, rig->loop, &request);
    fetch_wait(f);
    assert_int_equal(f->status, 200);
}

static void test_methods_headers_bodies(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE", "POST"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct fetch f = {0};
        char start[32];
        send_with(*state, &f, methods[i], "{\"a\":1}");
        snprintf(start, sizeof(start), "%s /echo?x=1 HTTP/1.1\r\n", methods[i]);
        const char *seen = buf_text(&f.body);
        assert_memory_equal(seen, start, strlen(start));
        assert_non_null(strstr(seen, "\r\nAuthorization: Bearer secret-token\r\n"));
        assert_non_null(strstr(seen, "\r\nContent-Type: application/merge-patch+json\r\n"));
        assert_non_null(strstr(seen, "\r\nX-Empty:"));
        assert_non_null(strstr(seen, "\r\nContent-Length: 7\r\n"));
        assert_non_null(strstr(seen, "\r\n\r\n{\"a\":1}"));
        assert_null(strcasestr(seen, "Expect:"));
        assert_null(strcasestr(seen, "Accept-Encoding:"));
        assert_null(strcasestr(seen, "Cookie:"));
        fetch_release(&f);
    }
}

static void test_empty_bodies(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct rig *rig = *state;
        struct fetch f = {0};
        struct http_request request = request_of(rig, methods[i], "/echo");
        fetch_start(&f, rig->http, rig->loop, &request);
        fetch_wait(&f);
        const char *seen = buf_text(&f.body);
        assert_memory_equal(seen, methods[i], strlen(methods[i]));
        assert_null(strcasestr(seen, "Content-Type:"));
        assert_int_equal(strstr(seen, "Content-Length: 0\r\n") != NULL, i < 2);
        fetch_release(&f);
    }
}

static void test_large_body_up_and_down(void **state)
{
    struct rig *rig = *state;
    size_t len = 200000;
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, 'b', len);
    text[len] = '\0';
    static const char *const methods[] = {"PUT", "POST"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct fetch f = {0};
        struct http_request request = request_of(rig, methods[i], "/echo");
        request.body = (struct str){.data = text, .len = len};
        fetch_start(&f, rig->http, rig->loop, &request);
        fetch_wait(&f);
        assert_int_equal(f.status, 200);
        const char *body = strstr(buf_text(&f.body), "\r\n\r\n");
        assert_non_null(body);
        assert_string_equal(body + 4, text);
        fetch_release(&f);
    }
    free(text);
}

static void test_status_and_retry_after(void **state)
{
    static const int statuses[] = {201, 204, 401, 404, 409, 410, 422, 429, 500, 503};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct fetch f = {0};
        char path[32];
        snprintf(path, sizeof(path), "/status/%d", statuses[i]);
        get(*state, &f, path);
        assert_int_equal(f.status, statuses[i]);
        assert_int_equal(f.err.class, ERR_NONE); /* it arrived whole */
        assert_int_equal(f.retry_after_s, 7);
        if (statuses[i] != 204)
            assert_string_equal(buf_text(&f.body), "status");
        fetch_release(&f);
    }
}

static void test_redirect_is_not_followed(void **state)
{
    struct rig *rig = *state;
    struct fetch f = {0};
    get(rig, &f, "/redirect");
    assert_int_equal(f.status, 302);
    assert_string_equal(buf_text(&f.body), "elsewhere");
    assert_int_equal(tiny_server_requests(rig->server), 1);
    fetch_release(&f);
}

static void expect_failure(void **state, const char *path, enum err_class class, const char *words)
{
    struct fetch f = {0};
    char full[128];
    snprintf(full, sizeof(full), "%s?token=geheim", path);
    get(*state, &f, full);
    assert_int_equal(f.status, 0);
    assert_int_equal(f.err.class, class);
    assert_non_null(strstr(f.err.msg, words));
    assert_non_null(strstr(f.err.msg, "GET to 127.0.0.1:"));
    assert_null(strstr(f.err.msg, "geheim")); /* never the query */
    assert_int_equal(f.body.len, 0);
    fetch_release(&f);
}

static void test_broken_answers(void **state)
{
    expect_failure(state, "/half", ERR_TRANSIENT, "connection lost");
    expect_failure(state, "/drop", ERR_TRANSIENT, "connection lost");
    expect_failure(state, "/garbage", ERR_INVALID, "no valid HTTP");
    expect_failure(state, "/headers", ERR_LIMIT, "headers");
    expect_failure(state, "/huge", ERR_LIMIT, "larger than we accept");
    expect_failure(state, "/announce", ERR_LIMIT, "larger than we accept");
}

static void test_body_ceiling_is_exact(void **state)
{
    struct rig *rig = *state;
    for (size_t max = 4; max <= 5; max++) {
        struct fetch f = {0};
        struct http_request request = request_of(rig, "GET", "/ok");
        request.body_max = max;
        fetch_start(&f, rig->http, rig->loop, &request);
        fetch_wait(&f);
        assert_int_equal(f.err.class, max == 4 ? ERR_LIMIT : ERR_NONE);
        fetch_release(&f);
    }
}

static void expect_timeout(struct rig *rig, const char *path, const char *words)
{
    struct fetch f = {0};
    struct http_request request = request_of(rig, "GET", path);
    request.timeout_ms = 500; /* a busy machine connects within that */
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 0);
    assert_int_equal(f.err.class, ERR_TIMEOUT);
    assert_non_null(strstr(f.err.msg, words));
    assert_in_range(f.elapsed_ms, 499, 5000);
    fetch_release(&f);
}

static void test_timeouts_say_how_far_it_came(void **state)
{
    struct rig *rig = *state;
    expect_timeout(rig, "/hang", "no answer within 500 ms");
    expect_timeout(rig, "/slow", "answer was not finished within 500 ms");
}

static void test_refused(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    struct fetch f = {0};
    char url[64];
    /* Bound, but nobody listens. */
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
    struct http_request request = {.method = "GET", .url = url};
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.err.class, ERR_REFUSED);
    assert_non_null(strstr(f.err.msg, "Connection refused"));
    assert_int_equal(rig->observed_status, 0);
    close(fd);
    fetch_release(&f);
}

static void test_requests_that_cannot_be(void **state)
{
    struct rig *rig = *state;
    static const char *const urls[] = {"", "ftp://127.0.0.1/", "http://", "http://user@127.0.0.1/",
                                       "file:///etc/hostname"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct fetch f = {0};
        struct http_request request = {.method = "GET", .url = urls[i], .timeout_ms = 1000};
        fetch_start(&f, rig->http, rig->loop, &request);
        fetch_wait(&f);
        assert_int_equal(f.status, 0);
        assert_int_not_equal(f.err.class, ERR_NONE);
        assert_int_not_equal(f.err.class, ERR_TIMEOUT);
        fetch_release(&f);
    }
    static const struct http_header bad[] = {
        {"X", "a\r\nInjected: yes"}, {"X: y\r\nZ", "v"}, {"", "v"}, {"X Y", "v"}, {"X", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct fetch f = {0};
        struct http_request request = request_of(rig, "GET", "/ok");
        request.headers = &bad[i];
        request.headers_count = 1;
        fetch_start(&f, rig->http, rig->loop, &request);
        fetch_wait(&f);
        assert_int_equal(f.err.class, ERR_INVALID);
        fetch_release(&f);
    }
    struct fetch f = {0};
    struct http_request request = request_of(rig, "GET /x HTTP/1.1\r\n", "/ok");
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.err.class, ERR_BUG);
    assert_int_equal(tiny_server_connections(rig->server), 0);
    fetch_release(&f);
}

static void test_connections_are_kept(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 5; i++) {
        struct fetch f = {0};
        get(rig, &f, "/conn");
        assert_string_equal(buf_text(&f.body), "0");
        fetch_release(&f);
    }
    /* Another lane has connections of its own. */
    struct fetch f = {0};
    struct http_request request = request_of(rig, "GET", "/conn");
    request.lane = HTTP_LANE_LEASE;
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_string_equal(buf_text(&f.body), "1");
    fetch_release(&f);
}

static void test_a_stalled_lane_delays_no_other(void **state)
{
    struct rig *rig = *state;
    struct fetch stalled = {0};
    struct fetch waiting = {0};
    struct fetch lease = {0};
    struct http_request request = request_of(rig, "GET", "/hang");
    request.lane = HTTP_LANE_EVENT;
    request.timeout_ms = 2000;
    struct fetch stalled2 = {0};
    fetch_start(&stalled, rig->http, rig->loop, &request);
    fetch_start(&stalled2, rig->http, rig->loop, &request);
    request = request_of(rig, "GET", "/ok");
    request.lane = HTTP_LANE_EVENT;
    request.timeout_ms = 500; /* both connections of the lane are taken for longer */
    fetch_start(&waiting, rig->http, rig->loop, &request);
    request.lane = HTTP_LANE_LEASE;
    fetch_start(&lease, rig->http, rig->loop, &request);
    fetch_wait(&lease);
    assert_int_equal(lease.status, 200);
    assert_false(stalled.done);
    fetch_wait(&waiting);
    assert_int_equal(waiting.err.class, ERR_TIMEOUT);
    assert_non_null(strstr(waiting.err.msg, "all connections stayed busy"));
    fetch_wait(&stalled);
    fetch_wait(&stalled2);
    assert_int_equal(tiny_server_connections(rig->server), 3);
    struct fetch *all[] = {&stalled, &stalled2, &waiting, &lease};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        fetch_release(all[i]);
}

static void test_a_hundred_at_once(void **state)
{
    enum { COUNT = 100 };
    struct rig *rig = *state;
    static struct fetch f[COUNT];
    for (int i = 0; i < COUNT; i++) {
        struct http_request request = request_of(rig, "PUT", "/echo");
        request.body = str_from("{}");
        f[i].cancel_in_chunk = NULL;
        fetch_start(&f[i], rig->http, rig->loop, &request);
    }
    for (int i = 0; i < COUNT; i++) {
        fetch_wait(&f[i]);
        assert_int_equal(f[i].status, 200);
        assert_int_equal(f[i].done_count, 1);
        fetch_release(&f[i]);
    }
    assert_int_equal(tiny_server_requests(rig->server), COUNT);
    assert_true(tiny_server_connections(rig->server) <= 16);
}

/* A kept connection that dies under a request: harmless ones are sent once more, a POST never. */
static void test_post_is_never_sent_twice(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *method;
        const char *body;
        int requests;
    } cases[] = {{"POST", "{}", 1}, {"POST", "", 1}, {"GET", "", 2}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch f = {0};
        get(rig, &f, "/ok");
        fetch_release(&f);
        int before = tiny_server_requests(rig->server);
        struct http_request request = request_of(rig, cases[i].method, "/drop");
        request.body = str_from(cases[i].body);
        fetch_start(&f, rig->http, rig->loop, &request);
        fetch_wait(&f);
        assert_int_equal(f.status, 0);
        assert_int_equal(f.err.class, ERR_TRANSIENT);
        assert_int_equal(tiny_server_requests(rig->server) - before, cases[i].requests);
        fetch_release(&f);
    }
}

/* As when the process is stopped, and goes on a moment later. */
static void sleep_in_chunk(void *ctx, struct str chunk)
{
    (void)ctx;
    (void)chunk;
    usleep(100000);
}

static void test_what_is_late_is_never_sent(void **state)
{
    struct rig *rig = *state;
    const struct http_curl_options one = {.max_connections = {[HTTP_LANE_API] = 1}};
    struct http_port *http = http_curl_new(rig->loop, &one, NULL);
    struct fetch late = {0};
    struct http_request request = request_of(rig, "GET", "/stream");
    struct http_sink sink = {.on_chunk = sleep_in_chunk};
    request.idle_timeout_ms = 5000;
    assert_non_null(http->submit(http, &request, &sink));
    request = request_of(rig, "PUT", "/ok");
    request.body = str_from("late");
    request.timeout_ms = 60;
    fetch_start(&late, http, rig->loop, &request);
    fetch_wait(&late);
    assert_int_equal(late.err.class, ERR_TIMEOUT);
    run_for(rig->loop, 50);
    assert_int_equal(tiny_server_requests(rig->server), 1); /* the stream's */
    fetch_release(&late);
    http_curl_free(http);
}

static void test_pure_parts(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {0};
    http_append_escaped(&b, "aZ09-._~ /=,!%\xC3\xA9");
    http_append_escaped(&b, NULL);
    assert_string_equal(buf_text(&b), "aZ09-._~%20%2F%3D%2C%21%25%C3%A9");
    static const char *const good[] = {"https://auth.example.com/realms/prod",
                                       "http://keycloak.auth.svc:8080", "https://10.0.0.1:6443/",
                                       "https://[fd00::1]:6443/x", "http://h/a@b/%2F"};
    static const char *const bad[] = {"",
                                      "https://",
                                      "https:///x",
                                      "ftp://h/",
                                      "HTTPS//h",
                                      "//h/x",
                                      "https://u:p@h/",
                                      "https://h/?q=1",
                                      "https://h/#f",
                                      "https://h/ x",
                                      "https://h/\n",
                                      "https://:80/",
                                      "https://h:99999/",
                                      "https://h:x/",
                                      "https://h\\@evil/",
                                      "https://%41/",
                                      "http:/h/",
                                      "https://h/\xC3\xA9",
                                      "javascript://h/"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(http_url_is_plain(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(http_url_is_plain(bad[i]));
    assert_false(http_url_is_plain(NULL));
    char long_url[700];
    memset(long_url, 'a', sizeof(long_url));
    memcpy(long_url, "https://", 8);
    long_url[sizeof(long_url) - 1] = '\0';
    assert_false(http_url_is_plain(long_url));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ok),
        TEST(test_methods_headers_bodies),
        TEST(test_empty_bodies),
        TEST(test_large_body_up_and_down),
        TEST(test_status_and_retry_after),
        TEST(test_redirect_is_not_followed),
        TEST(test_broken_answers),
        TEST(test_body_ceiling_is_exact),
        TEST(test_timeouts_say_how_far_it_came),
        TEST(test_refused),
        TEST(test_requests_that_cannot_be),
        TEST(test_connections_are_kept),
        TEST(test_a_stalled_lane_delays_no_other),
        TEST(test_a_hundred_at_once),
        TEST(test_post_is_never_sent_twice),
        TEST(test_what_is_late_is_never_sent),
        cmocka_unit_test(test_pure_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
