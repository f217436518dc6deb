/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "web/web.h"

#define WAIT_MS 5000

/* The server runs on the test's thread, as in production; a client thread talks to it over real
 * sockets, collects what it saw, and the test judges that afterwards. */
struct scene {
    struct loop *loop;
    struct web *web;
    struct loop_timer ticker;
    int64_t last_tick_ms, longest_gap_ms;
    int ticks;
    bool healthy, ready;
    size_t page_bytes; /* 0: the page cannot be made */
    int port;
    int done_fd[2];
    void (*client)(struct scene *s);
    struct buf seen[80];
    int connected;
};

/* --- the client --- */

static int dial(int port, int receive_bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_bytes > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* One piece; false at the end of the stream, or after WAIT_MS of silence. */
static bool hear(int fd, struct buf *out)
{
    char piece[8192];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, WAIT_MS) <= 0)
        return false;
    ssize_t n = recv(fd, piece, sizeof(piece), 0);
    if (n <= 0)
        return false;
    buf_append(out, piece, (size_t)n);
    return true;
}

static size_t length_of(const char *head)
{
    const char *p = strstr(head, "content-length: ");
    return p != NULL ? strtoul(p + 16, NULL, 10) : 0;
}

/* Reads one answer (its body only when there is one), leaving the connection open. */
static void hear_answer(int fd, struct buf *out, bool body)
{
    const char *end = NULL;
    while ((end = strstr(buf_text(out), "\r\n\r\n")) == NULL && hear(fd, out))
        continue;
    if (end == NULL || !body)
        return;
    size_t all = (size_t)(end + 4 - out->data) + length_of(out->data);
    while (out->len < all && hear(fd, out))
        continue;
}

static void ask(struct scene *s, int n, const char *request)
{
    int fd = dial(s->port, 0);
    if (fd < 0)
        return;
    say(fd, request);
    while (hear(fd, &s->seen[n])) /* all requests asked so say "connection: close" */
        continue;
    close(fd);
}

/* --- the server --- */

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

static void tick(void *ctx)
{
    struct scene *s = ctx;
    int64_t now_ms = loop_now_ms(s->loop);
    int64_t gap_ms = now_ms - s->last_tick_ms;
    if (s->ticks > 0 && gap_ms > s->longest_gap_ms)
        s->longest_gap_ms = gap_ms;
    s->last_tick_ms = now_ms;
    s->ticks++;
    loop_timer_in(s->loop, &s->ticker, 5);
}

static void on_done(void *ctx, int fd, unsigned events)
{
    struct scene *s = ctx;
    (void)fd;
    (void)events;
    loop_stop(s->loop);
}

static void *run_client(void *ctx)
{
    struct scene *s = ctx;
    s->client(s);
    (void)!write(s->done_fd[1], "x", 1);
    return NULL;
}

static void play(struct scene *s, void (*client)(struct scene *s))
{
    struct err err = {0};
    struct web_source source = {
        .healthy = say_healthy, .ready = say_ready, .metrics = say_metrics, .ctx = s};
    pthread_t thread;
    s->client = client;
    s->loop = loop_new(&err);
    assert_non_null(s->loop);
    s->web = web_new(s->loop, "127.0.0.1:0", &source, &err);
    assert_non_null(s->web);
    s->port = web_port(s->web);
    assert_in_range(s->port, 1, 65535);
    assert_int_equal(pipe(s->done_fd), 0);
    assert_int_equal(loop_watch(s->loop, s->done_fd[0], EPOLLIN, on_done, s, &err), 0);
    s->ticker = (struct loop_timer){.fire = tick, .ctx = s};
    loop_timer_in(s->loop, &s->ticker, 5);
    assert_int_equal(pthread_create(&thread, NULL, run_client, s), 0);
    web_run(s->web);
    assert_int_equal(pthread_join(thread, NULL), 0);
    loop_timer_cancel(s->loop, &s->ticker);
    web_free(s->web);
    loop_free(s->loop);
    close(s->done_fd[0]);
    close(s->done_fd[1]);
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

/* --- judging --- */

static void assert_status(const struct buf *seen, const char *status)
{
    char start[32];
    (void)snprintf(start, sizeof(start), "HTTP/1.1 %s ", status);
    if (strncmp(buf_text(seen), start, strlen(start)) != 0)
        fail_msg("wanted %s, got: %.200s", status, buf_text(seen));
}

static const char *body_of(const struct buf *seen)
{
    const char *end = strstr(buf_text(seen), "\r\n\r\n");
    return end != NULL ? end + 4 : "(no answer)";
}

static void assert_has(const struct buf *seen, const char *line)
{
    if (strstr(buf_text(seen), line) == NULL)
        fail_msg("no %s in: %.500s", line, buf_text(seen));
}

#define REQUEST(method, path) method " " path " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

static void client_of_pages(struct scene *s)
{
    ask(s, 0, REQUEST("GET", "/healthz"));
    ask(s, 1, REQUEST("GET", "/readyz?verbose"));
    ask(s, 2, REQUEST("GET", "/metrics"));
    ask(s, 3, REQUEST("GET", "/"));
    ask(s, 4, REQUEST("GET", "/metrics/../secret"));
    ask(s, 5, REQUEST("DELETE", "/healthz"));
    ask(s, 6, "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
    ask(s, 7, REQUEST("HEAD", "/metrics"));
    ask(s, 8, REQUEST("HEAD", "/nothing"));
    ask(s, 9, "GET /healthz HTTP/1.0\r\n\r\n");
}

static void test_pages(void **state)
{
    struct scene *s = *state;
    play(s, client_of_pages);
    assert_status(&s->seen[0], "200");
    assert_string_equal(body_of(&s->seen[0]), "ok\n");
    assert_has(&s->seen[0], "content-type: text/plain; charset=utf-8\r\n");
    assert_has(&s->seen[0], "cache-control: no-store\r\n");
    assert_has(&s->seen[0], "x-content-type-options: nosniff\r\n");
    assert_null(strstr(buf_text(&s->seen[0]), "server:"));
    assert_status(&s->seen[1], "200");
    assert_string_equal(body_of(&s->seen[1]), "ok\n"); /* a sentence of the ready is not shown */
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
    assert_int_equal(length_of(buf_text(&s->seen[7])), 112);
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
    play(s, client_of_pages);
    assert_status(&s->seen[0], "503");
    assert_string_equal(body_of(&s->seen[0]), "the Lease was not renewed for 20 s\n");
    assert_status(&s->seen[1], "503");
    assert_string_equal(body_of(&s->seen[1]), "secrets are not listed yet\n");
    assert_status(&s->seen[2], "500");
    assert_has(&s->seen[2], "content-type: text/plain; charset=utf-8\r\n");
}

static void client_that_keeps_its_connection(struct scene *s)
{
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
    play(s, client_that_keeps_its_connection);
    assert_status(&s->seen[0], "200");
    assert_string_equal(body_of(&s->seen[0]), "ok\n");
    assert_status(&s->seen[1], "200");
    assert_int_equal(strlen(body_of(&s->seen[1])), 112);
    assert_status(&s->seen[2], "404");
    assert_status(&s->seen[3], "200");
    assert_string_equal(body_of(&s->seen[3]), "ok\n");
}

static void client_that_reads_slowly(struct scene *s)
{
    int slow = dial(s->port, 4096);
    say(slow, REQUEST("GET", "/metrics"));
    usleep(100000); /* the socket's buffers are full by now, the page is not out */
    for (int n = 1; n < 20; n++)
        ask(s, n, REQUEST("GET", "/healthz"));
    int gone = dial(s->port, 4096);
    say(gone, REQUEST("GET", "/metrics"));
    usleep(20000);
    close(gone); /* in the middle of its page */
    while (hear(slow, &s->seen[0]))
        continue;
    close(slow);
}

static void test_large_page_and_slow_reader(void **state)
{
    struct scene *s = *state;
    s->page_bytes = 6 << 20;
    play(s, client_that_reads_slowly);
    assert_status(&s->seen[0], "200");
    size_t len = length_of(buf_text(&s->seen[0]));
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
    assert_true(s->ticks > 10);
    assert_true(s->longest_gap_ms < 1500); /* sanitizers and a busy machine; blocked would be 5 s */
}

static void client_with_many_connections(struct scene *s)
{
    int fds[70];
    for (int n = 0; n < 70; n++) {
        fds[n] = dial(s->port, 0);
        say(fds[n], "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        hear_answer(fds[n], &s->seen[n], true);
        s->connected += s->seen[n].len > 0;
    }
    for (int n = 0; n < 70; n++)
        close(fds[n]);
    for (int n = 0; n < 50 && s->seen[75].len == 0; n++) {
        ask(s, 75, REQUEST("GET", "/healthz"));
        usleep(20000);
    }
}

static void test_connections_are_bounded(void **state)
{
    struct scene *s = *state;
    play(s, client_with_many_connections);
    assert_int_equal(s->connected, 64);
    assert_status(&s->seen[63], "200");
    assert_status(&s->seen[75], "200"); /* those that went made room */
}

static void client_with_nonsense(struct scene *s)
{
    struct buf cleanup_buf head = {0};
    buf_append_text(&head, "GET /healthz HTTP/1.1\r\nhost: x\r\nx-filler: ");
    while (head.len < 9000)
        buf_append_char(&head, 'f');
    buf_append_text(&head, "\r\nconnection: close\r\n\r\n");
    ask(s, 0, buf_text(&head));
    ask(s, 1, "\x16\x03\x01\x02 hello TLS\r\n\r\n");
    ask(s, 2, "BREW /pot HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    ask(s, 3,
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    ask(s, 4, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    ask(s, 5, REQUEST("GET", "/%00metrics"));
    ask(s, 9, REQUEST("GET", "/healthz"));
}

static void test_nonsense(void **state)
{
    struct scene *s = *state;
    play(s, client_with_nonsense);
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
        cmocka_unit_test_setup_teardown(test_connections_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
        cmocka_unit_test(test_listen_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
