/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../lib/web_client.h"
#include "web/web.h"

struct scene {
    struct loop *loop;
    struct web *web;
    struct loop_timer ticker;
    atomic_int ticks;
    bool healthy, ready;
    size_t page_bytes; /* 0: the page cannot be made */
    int port;
    struct buf seen[80];
    int connected;
};

static bool say_healthy(void *ctx, struct buf *why)
{
    struct scene *s = ctx;
    if (!s->healthy)
        buf_append_text(why, "the Lease was not renewed for 20 s");
    return s->healthy;
}

static bool say_ready(void *ctx, struct buf *why)
{
    struct scene *s = ctx;
    buf_append_text(why, "secrets are not listed yet");
    return s->ready;
}

static void say_metrics(void *ctx, struct buf *out)
{
    struct scene *s = ctx;
    if (s->page_bytes == 0)
        out->failed = true;
    while (out->len < s->page_bytes && !out->failed)
        buf_appendf(out, "metric_%08zu\n", out->len);
}

static void say_filler(void *ctx, struct buf *out)
{
    static const char filler[1 << 20];
    struct scene *s = ctx;
    while (out->len < s->page_bytes && !out->failed)
        buf_append(out, filler, sizeof(filler));
}

static void tick(void *ctx)
{
    struct scene *s = ctx;
    s->ticks++;
    loop_timer_in(s->loop, &s->ticker, 5);
}

static void serve(void *ctx)
{
    struct scene *s = ctx;
    web_run(s->web);
}

static void run(struct scene *s, void (*client)(void *ctx))
{
    struct err err = {0};
    struct web_source source = {
        .healthy = say_healthy,
        .ready = say_ready,
        .metrics = s->page_bytes < PAGE_IS_HUGE ? say_metrics : say_filler,
        .ctx = s,
    };
    s->loop = loop_new(&err);
    assert_non_null(s->loop);
    s->web = web_new(s->loop, "127.0.0.1:0", &source, &err);
    assert_non_null(s->web);
    s->port = web_port(s->web);
    assert_in_range(s->port, 1, 65535);
    s->ticker = (struct loop_timer){.fire = tick, .ctx = s};
    loop_timer_in(s->loop, &s->ticker, 5);
    play(s->loop, serve, client, s);
    loop_timer_cancel(s->loop, &s->ticker);
    web_free(s->web);
    loop_free(s->loop);
}

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -1;
    s->healthy = true;
    s->ready = true;
    s->page_bytes = 100;
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    for (size_t n = 0; n < ARRAY_LEN(s->seen); n++)
        buf_release(&s->seen[n]);
    free(s);
    return 0;
}

static void client_of_pages(void *ctx)
{
    struct scene *s = ctx;
    ask(s->port, &s->seen[0], REQUEST("GET", "/healthz"));
    ask(s->port, &s->seen[1], REQUEST("GET", "/readyz?verbose"));
    ask(s->port, &s->seen[2], REQUEST("GET", "/metrics"));
    ask(s->port, &s->seen[3], REQUEST("GET", "/"));
    ask(s->port, &s->seen[4], REQUEST("GET", "/metrics/../secret"));
    ask(s->port, &s->seen[5], REQUEST("DELETE", "/healthz"));
    ask(s->port, &s->seen[6],
        "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
    ask(s->port, &s->seen[7], REQUEST("HEAD", "/metrics"));
    ask(s->port, &s->seen[8], REQUEST("HEAD", "/nothing"));
    ask(s->port, &s->seen[9], "GET /healthz HTTP/1.0\r\n\r\n");
}

static void test_pages(void **state)
{
    struct scene *s = *state;
    run(s, client_of_pages);
    assert_status(&s->seen[0], "200");
    assert_string_equal(body_of(&s->seen[0]), "ok\n");
    assert_has(&s->seen[0], "content-type: text/plain; charset=utf-8\r\n");
    assert_has(&s->seen[0], "cache-control: no-store\r\n");
    assert_has(&s->seen[0], "x-content-type-options: nosniff\r\n");
    assert_null(strstr(buf_text(&s->seen[0]), "server:"));
    assert_status(&s->seen[1], "200");
    assert_string_equal(body_of(&s->seen[1]), "ok\nsecrets are not listed yet");
    assert_status(&s->seen[2], "200");
    assert_has(&s->seen[2], "content-type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_has(&s->seen[2], "cache-control: no-store\r\n");
    assert_has(&s->seen[2], "\r\n\r\nmetric_00000000\nmetric_00000016\n");
    assert_status(&s->seen[3], "404");
    assert_has(&s->seen[3], "/healthz, /readyz and /metrics\n");
    assert_status(&s->seen[4], "404");
    assert_status(&s->seen[5], "405");
    assert_has(&s->seen[5], "allow: GET, HEAD\r\n");
    assert_status(&s->seen[6], "405");
    assert_status(&s->seen[7], "200");
    assert_int_equal(length_of(&s->seen[7]), 112);
    assert_string_equal(body_of(&s->seen[7]), "");
    assert_status(&s->seen[8], "404");
    assert_string_equal(body_of(&s->seen[8]), "");
    assert_has(&s->seen[9], " 200 ");
    assert_string_equal(body_of(&s->seen[9]), "ok\n");
}

static void test_why_not(void **state)
{
    struct scene *s = *state;
    s->healthy = false;
    s->ready = false;
    s->page_bytes = 0;
    run(s, client_of_pages);
    assert_status(&s->seen[0], "503");
    assert_string_equal(body_of(&s->seen[0]), "the Lease was not renewed for 20 s\n");
    assert_status(&s->seen[1], "503");
    assert_string_equal(body_of(&s->seen[1]), "secrets are not listed yet\n");
    assert_status(&s->seen[2], "500");
    assert_has(&s->seen[2], "content-type: text/plain; charset=utf-8\r\n");
}

static void client_that_keeps_its_connection(void *ctx)
{
    struct scene *s = ctx;
    int fd = dial(s->port, 0);
    const char *const paths[] = {"/healthz", "/metrics", "/nothing", "/readyz"};
    for (int n = 0; n < 4; n++) {
        char request[100];
        (void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nhost: x\r\n\r\n",
                       n == 2 ? "HEAD" : "GET", paths[n]);
        say(fd, request);
        hear_answer(fd, &s->seen[n], n != 2);
    }
    close(fd);
}

static void test_keep_alive(void **state)
{
    struct scene *s = *state;
    run(s, client_that_keeps_its_connection);
    assert_status(&s->seen[0], "200");
    assert_string_equal(body_of(&s->seen[0]), "ok\n");
    assert_status(&s->seen[1], "200");
    assert_int_equal(strlen(body_of(&s->seen[1])), 112);
    assert_status(&s->seen[2], "404");
    assert_status(&s->seen[3], "200");
    assert_string_equal(body_of(&s->seen[3]), "ok\nsecrets are not listed yet");
}

static void client_that_reads_slowly(void *ctx)
{
    struct scene *s = ctx;
    int slow = open_page(s->port, &s->seen[0], REQUEST("GET", "/metrics"));
    for (int n = 1; n < 20; n++)
        ask(s->port, &s->seen[n], REQUEST("GET", "/healthz"));
    int ticks = s->ticks;
    AWAIT(s->ticks > ticks + 10);
    s->connected = s->ticks > ticks + 10;
    close(open_page(s->port, &s->seen[20],
                    REQUEST("GET", "/metrics"))); /* gone in the middle of its page */
    while (hear(slow, &s->seen[0]))
        continue;
    close(slow);
}

static void test_large_page_and_slow_reader(void **state)
{
    struct scene *s = *state;
    s->page_bytes = 6 << 20;
    run(s, client_that_reads_slowly);
    assert_status(&s->seen[0], "200");
    size_t len = length_of(&s->seen[0]);
    assert_true(len >= s->page_bytes);
    const char *body = body_of(&s->seen[0]);
    assert_int_equal(strlen(body), len);
    for (size_t at = 0; at < len; at += 16) {
        char line[32];
        (void)snprintf(line, sizeof(line), "metric_%08zu\n", at);
        assert_memory_equal(body + at, line, 16);
    }
    for (int n = 1; n < 20; n++)
        assert_status(&s->seen[n], "200");
    assert_true(s->connected); /* the loop went on while nobody read */
    assert_status(&s->seen[20], "200");
}

static void client_that_brings_readers(void *ctx)
{
    struct scene *s = ctx;
    int fds[10];
    for (int n = 0; n < 9; n++)
        fds[n] = open_page(s->port, &s->seen[n], REQUEST("GET", "/metrics"));
    ask(s->port, &s->seen[10], REQUEST("GET", "/healthz"));
    AWAIT((close(fds[0]), fds[0] = open_page(s->port, &s->seen[11], REQUEST("GET", "/metrics")),
           has_status(&s->seen[11], "200")));
    fds[9] = open_page(s->port, &s->seen[12], REQUEST("GET", "/metrics"));
    for (int n = 0; n < 10; n++)
        close(fds[n]);
}

/* No socket's buffers take a page of this size, so each reader holds its own. */
static void test_few_pages_at_a_time(void **state)
{
    struct scene *s = *state;
    s->page_bytes = PAGE_IS_HUGE;
    run(s, client_that_brings_readers);
    for (int n = 0; n < 8; n++)
        assert_status(&s->seen[n], "200");
    assert_status(&s->seen[8], "503");
    assert_status(&s->seen[10], "200");
    assert_status(&s->seen[11], "200"); /* the one that went made room, for one */
    assert_status(&s->seen[12], "503");
}

static void client_with_many_connections(void *ctx)
{
    struct scene *s = ctx;
    int fds[70];
    for (int n = 0; n < 70; n++) {
        fds[n] = dial(s->port, 0);
        say(fds[n], "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        hear_answer(fds[n], &s->seen[n], true);
        s->connected += s->seen[n].len > 0;
    }
    for (int n = 0; n < 70; n++)
        close(fds[n]);
    AWAIT((ask(s->port, &s->seen[75], REQUEST("GET", "/healthz")), s->seen[75].len > 0));
}

static void test_connections_are_bounded(void **state)
{
    struct scene *s = *state;
    run(s, client_with_many_connections);
    assert_int_equal(s->connected, 64);
    assert_status(&s->seen[63], "200");
    assert_status(&s->seen[75], "200"); /* those that went made room */
}

static void client_with_nonsense(void *ctx)
{
    struct scene *s = ctx;
    struct buf cleanup_buf head = {0};
    buf_append_text(&head, "GET /healthz HTTP/1.1\r\nhost: x\r\nx-filler: ");
    while (head.len < 9000)
        buf_append_char(&head, 'f');
    buf_append_text(&head, "\r\nconnection: close\r\n\r\n");
    ask(s->port, &s->seen[0], buf_text(&head));
    ask(s->port, &s->seen[1], "\x16\x03\x01\x02 hello TLS\r\n\r\n");
    ask(s->port, &s->seen[2], "BREW /pot HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    ask(s->port, &s->seen[3],
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    ask(s->port, &s->seen[4], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    ask(s->port, &s->seen[5], REQUEST("GET", "/%00metrics"));
    ask(s->port, &s->seen[9], REQUEST("GET", "/healthz"));
}

static void test_nonsense(void **state)
{
    struct scene *s = *state;
    run(s, client_with_nonsense);
    for (int n = 0; n < 6; n++) {
        assert_null(strstr(buf_text(&s->seen[n]), " 200 "));
        assert_null(strstr(buf_text(&s->seen[n]), " 101 "));
    }
    assert_status(&s->seen[9], "200");
}

static void test_listen_addresses(void **state)
{
    (void)state;
    struct err err = {0};
    struct web_source source = {0};
    struct loop *loop = loop_new(&err);
    const char *const bad[] = {"",
                               "8080",
                               "localhost:8080",
                               "127.0.0.1",
                               "127.0.0.1:",
                               "127.0.0.1:65536",
                               "127.0.0.1:-1",
                               "::1:80",
                               "[]:80",
                               "[127.0.0.1]:80",
                               "lo:80",
                               "1.2.3.4.5:80",
                               "[::1:80",
                               "000000000000000000000000000000000000000000000000000000000000:80"};
    for (size_t n = 0; n < ARRAY_LEN(bad); n++) {
        assert_null(web_new(loop, bad[n], &source, &err));
        assert_int_equal(err.class, ERR_INVALID);
        assert_non_null(strstr(err.msg, "write address:port"));
    }
    struct web *web = web_new(loop, ":0", &source, &err);
    assert_non_null(web);
    char taken[32];
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%d", web_port(web));
    struct web *one = web_new(loop, "127.0.0.1:0", &source, &err);
    assert_non_null(one);
    assert_int_not_equal(web_port(one), web_port(web));
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%d", web_port(one));
    assert_null(web_new(loop, taken, &source, &err));
    assert_int_equal(err.class, ERR_REFUSED);
    assert_non_null(strstr(err.msg, taken));
    assert_null(web_new(loop, "192.0.2.1:0", &source, &err)); /* nobody's address (RFC 5737) */
    assert_int_equal(err.class, ERR_REFUSED);
    loop_stop(loop);
    web_run(one); /* stopped already: returns */
    web_free(one);
    web_free(web);
    web_free(NULL);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_why_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_page_and_slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_few_pages_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
        cmocka_unit_test(test_listen_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
