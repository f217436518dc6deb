/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../lib/web_client.h"
#include "web/server.h"

struct scene {
    struct loop *loop;
    struct web_server *server;
    struct loop_timer ticker;
    unsigned held;
    atomic_uint held_seen;
    int port;
    struct buf seen[8];
    int dripped;
};

/* What is posted to /echo comes back. */
static unsigned handle(void *ctx, const struct web_request *request, struct web_answer *answer)
{
    static char filler[PAGE_IS_HUGE];
    struct scene *s = ctx;
    answer->type = "text/plain";
    if (strcmp(request->path, "/page") == 0) {
        answer->held = &s->held;
        s->held++;
        buf_append(&answer->body, filler, sizeof(filler));
        return 200;
    }
    if (request->method != WEB_POST || strcmp(request->path, "/echo") != 0) {
        web_error(answer, "there is POST /echo");
        return 404;
    }
    if (request->body == NULL)
        return 0;
    buf_append_str(&answer->body, *request->body);
    return 200;
}

static void tick(void *ctx)
{
    struct scene *s = ctx;
    s->held_seen = s->held;
    loop_timer_in(s->loop, &s->ticker, 5);
}

static void serve(void *ctx)
{
    struct scene *s = ctx;
    assert_int_equal(web_server_run(s->server), 0);
}

static void run(struct scene *s, void (*client)(void *ctx), unsigned arrive_s, unsigned take_s)
{
    struct err err = {0};
    struct web_options options = {
        .listen = "127.0.0.1:0",
        .connections_max = 9,
        .arrive_s = arrive_s,
        .take_s = take_s,
        .body_max = 10,
        .answer_max = PAGE_IS_HUGE,
        .body_secret = true,
        .handle = handle,
        .ctx = s,
    };
    s->loop = loop_new(&err);
    assert_non_null(s->loop);
    s->server = web_server_new(s->loop, &options, &err);
    assert_non_null(s->server);
    s->port = web_server_port(s->server);
    s->ticker = (struct loop_timer){.fire = tick, .ctx = s};
    loop_timer_in(s->loop, &s->ticker, 5);
    play(s->loop, serve, client, s);
    loop_timer_cancel(s->loop, &s->ticker);
    web_server_free(s->server);
    loop_free(s->loop);
    assert_int_equal(s->held, 0);
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct scene));
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    for (size_t n = 0; n < ARRAY_LEN(s->seen); n++)
        buf_release(&s->seen[n]);
    free(s);
    return 0;
}

#define ECHO "POST /echo HTTP/1.1\r\nhost: x\r\n"

static void client_with_bodies(void *ctx)
{
    struct scene *s = ctx;
    int fd = dial(s->port, 0);
    say(fd, ECHO "content-length: 10\r\n\r\nhello");
    say(fd, "hello");
    hear_answer(fd, &s->seen[0], true);
    say(fd, ECHO "content-length: 0\r\n\r\n");
    hear_answer(fd, &s->seen[1], true);
    say(fd, ECHO "content-length: 11\r\n\r\nhello hello");
    hear_answer(fd, &s->seen[2], true);
    say(fd, "POST /other HTTP/1.1\r\nhost: x\r\n\r\nhello");
    while (hear(fd, &s->seen[3]))
        continue;
    close(fd);
    ask(s->port, &s->seen[4], ECHO "content-length: 99999999999\r\n\r\nhello");
    ask(s->port, &s->seen[5], ECHO "transfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    ask(s->port, &s->seen[6], ECHO "content-length: 5x\r\n\r\nhello");
    ask(s->port, &s->seen[7], "GET /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhello");
}

static void test_bodies(void **state)
{
    struct scene *s = *state;
    run(s, client_with_bodies, 90, 90);
    assert_status(&s->seen[0], "200");
    assert_string_equal(body_of(&s->seen[0]), "hellohello");
    assert_status(&s->seen[1], "200");
    assert_has(&s->seen[1], "content-length: 0\r\n");
    assert_status(&s->seen[2], "413"); /* all of it came, so the connection stays */
    assert_string_equal(body_of(&s->seen[2]), "{\"error\":\"the body is too large\"}\n");
    assert_has(&s->seen[2], "content-type: application/json\r\n");
    const char *const others[] = {"404", "413", "411", "411", "404"};
    for (size_t n = 0; n < ARRAY_LEN(others); n++) {
        const struct buf *seen = &s->seen[n + 3];
        assert_status(seen, others[n]);
        assert_has(seen, "connection: close\r\n");
        assert_int_equal(strlen(body_of(seen)), length_of(seen)); /* and it was closed */
    }
}

static void client_that_takes_its_time(void *ctx)
{
    struct scene *s = ctx;
    int page = open_page(s->port, &s->seen[0], "GET /page HTTP/1.1\r\nhost: x\r\n\r\n");
    ask(s->port, &s->seen[1], "GET /pa"); /* and no more */
    int drip = dial(s->port, 0);
    struct pollfd p = {.fd = drip, .events = POLLIN};
    for (say(drip, ECHO "content-length: 500\r\n\r\n"); s->dripped < 500; s->dripped++) {
        if (poll(&p, 1, 100) != 0)
            break;
        say(drip, "x");
    }
    while (hear(drip, &s->seen[2]))
        continue;
    close(drip);
    s->seen[0].max = 2 * PAGE_IS_HUGE;
    hear_answer(page, &s->seen[0], true);
    close(page);
}

static void test_time_to_arrive(void **state)
{
    struct scene *s = *state;
    run(s, client_that_takes_its_time, 2, 90);
    assert_string_equal(buf_text(&s->seen[1]), "");
    assert_string_equal(buf_text(&s->seen[2]), "");
    assert_in_range(s->dripped, 1, 499);        /* each byte was in time, the body was not */
    assert_true(s->seen[0].len > PAGE_IS_HUGE); /* an answer has a time of its own */
}

static void client_that_waits_too_long(void *ctx)
{
    struct scene *s = ctx;
    int page = open_page(s->port, &s->seen[0], REQUEST("GET", "/page"));
    AWAIT(s->held_seen == 0);
    while (hear(page, &s->seen[0]))
        continue;
    close(page);
}

static void test_time_to_take(void **state)
{
    struct scene *s = *state;
    run(s, client_that_waits_too_long, 90, 1);
    assert_status(&s->seen[0], "200");
    assert_in_range(s->seen[0].len, 1, PAGE_IS_HUGE / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_to_arrive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_to_take, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
