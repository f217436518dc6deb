/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/attr.h"
#include "io/loop.h"

struct tick {
    struct loop_timer timer;
    struct loop *loop;
    struct journal *journal;
    int name;
    int again;         /* sets itself this many times more, with no delay */
    bool stop;         /* stops the loop */
    struct tick *kill; /* cancels this one */
};

struct journal {
    int names[2000];
    size_t count;
};

static void on_tick(void *ctx)
{
    struct tick *t = ctx;
    t->journal->names[t->journal->count++] = t->name;
    if (t->kill != NULL)
        loop_timer_cancel(t->loop, &t->kill->timer);
    if (t->again > 0) {
        t->again--;
        loop_timer_in(t->loop, &t->timer, 0);
    }
    if (t->stop)
        loop_stop(t->loop);
}

static void init(struct tick *t, struct loop *loop, struct journal *journal, int name)
{
    *t = (struct tick){.loop = loop, .journal = journal, .name = name};
    t->timer = (struct loop_timer){.fire = on_tick, .ctx = t};
}

static struct loop *new_loop(void)
{
    struct err err = {0};
    struct loop *loop = loop_new(&err);
    assert_non_null(loop);
    return loop;
}

static void test_timers_fire_in_order(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct journal journal = {0};
    struct tick t[4];
    static const int delays[] = {20, 5, 5, -7};
    int64_t start_ms = loop_clock_ms();
    for (int i = 0; i < 4; i++) {
        init(&t[i], loop, &journal, i);
        loop_timer_in(loop, &t[i].timer, delays[i]);
    }
    t[0].stop = true;
    loop_run(loop);
    assert_true(loop_clock_ms() - start_ms >= 19);
    assert_int_equal(journal.count, 4);
    static const int want[] = {3, 1, 2, 0};
    assert_memory_equal(journal.names, want, sizeof(want));
    loop_free(loop);
}

static void test_many_timers_moved_and_canceled(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct loop *loop = new_loop();
    struct journal journal = {0};
    static struct tick t[COUNT];
    int64_t base_ms = loop_clock_ms();
    uint32_t random = 12345;
    for (int i = 0; i < COUNT; i++) {
        random = random * 1664525U + 1013904223U;
        init(&t[i], loop, &journal, (int)(random >> 28));
        loop_timer_at(loop, &t[i].timer, base_ms + 500 + i);
        /* Its name is the time that it moves to. */
        loop_timer_at(loop, &t[i].timer, base_ms + 200 + t[i].name);
    }
    size_t left = 0;
    for (int i = 0; i < COUNT; i++) {
        if (i % 3 == 0)
            loop_timer_cancel(loop, &t[i].timer);
        else
            left++;
        assert_int_equal(t[i].timer.heap_index == 0, i % 3 == 0);
    }
    loop_timer_cancel(loop, &t[0].timer); /* twice is fine */
    while (loop_clock_ms() < base_ms + 217)
        usleep(1000);
    loop_run_ready(loop);
    assert_int_equal(journal.count, left);
    for (size_t i = 1; i < journal.count; i++)
        assert_true(journal.names[i - 1] <= journal.names[i]);
    loop_free(loop);
}

static void test_no_delay_is_the_next_turn(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct journal journal = {0};
    struct tick a;
    struct tick b;
    init(&a, loop, &journal, 1);
    init(&b, loop, &journal, 2);
    a.again = 2;
    loop_timer_in(loop, &a.timer, 0);
    loop_timer_in(loop, &b.timer, 0);
    loop_run_ready(loop);
    static const int want[] = {1, 2, 1, 1}; /* never 1, 1, 1, 2 */
    assert_int_equal(journal.count, 4);
    assert_memory_equal(journal.names, want, sizeof(want));
    /* One that sets itself for ever lets loop_run_ready return. */
    a.again = 1000;
    loop_timer_in(loop, &a.timer, 0);
    loop_run_ready(loop);
    assert_true(a.again > 900);
    loop_free(loop);
}

static void test_cancel_a_sibling_that_is_due(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct journal journal = {0};
    struct tick a;
    struct tick b;
    init(&a, loop, &journal, 1);
    init(&b, loop, &journal, 2);
    a.kill = &b;
    loop_timer_in(loop, &a.timer, 0);
    loop_timer_in(loop, &b.timer, 0);
    loop_run_ready(loop);
    assert_int_equal(journal.count, 1);
    assert_int_equal(journal.names[0], 1);
    loop_free(loop);
}

static void on_free_self(void *ctx)
{
    free(ctx);
}

static void test_callback_may_free_its_timer(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct loop_timer *timer = calloc(1, sizeof(*timer));
    assert_non_null(timer);
    timer->fire = on_free_self;
    timer->ctx = timer;
    loop_timer_in(loop, timer, 0);
    loop_run_ready(loop);
    loop_free(loop);
}

/* The fd that libwebsockets polls must say when a timer is due, also one set outside of a turn. */
static void test_loop_fd_is_pollable(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct journal journal = {0};
    struct tick t;
    struct tick far;
    init(&t, loop, &journal, 1);
    init(&far, loop, &journal, 2);
    loop_timer_in(loop, &far.timer, 60000);
    loop_run_ready(loop);
    loop_timer_in(loop, &t.timer, 10);
    struct pollfd p = {.fd = loop_fd(loop), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(poll(&p, 1, 2000), 1);
    loop_run_ready(loop);
    assert_int_equal(journal.count, 1);
    assert_int_equal(poll(&p, 1, 0), 0); /* and no busy spin after it */
    loop_timer_cancel(loop, &far.timer);
    loop_free(loop);
}

struct pipe_end {
    struct loop *loop;
    int calls;
    int other_fd; /* unwatched and closed at the first call */
    struct pipe_end *other;
};

static void on_readable(void *ctx, int fd, unsigned events)
{
    struct pipe_end *end = ctx;
    char c = 0;
    assert_true((events & EPOLLIN) != 0);
    assert_int_equal(read(fd, &c, 1), 1);
    end->calls++;
    if (end->other_fd >= 0) {
        loop_watch(end->loop, end->other_fd, 0, NULL, NULL, NULL);
        close(end->other_fd);
        /* The number is taken again at once, by somebody else whose data has not been asked for. */
        assert_int_equal(dup2(fd, end->other_fd), end->other_fd);
        end->other->other_fd = -1;
    }
}

static void test_watch_change_and_stop(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct pipe_end end = {.loop = loop, .other_fd = -1};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(loop_watch(loop, fds[0], EPOLLIN, on_readable, &end, NULL), 0);
    assert_int_equal(write(fds[1], "ab", 2), 2);
    loop_run_ready(loop);
    assert_int_equal(end.calls, 2);
    assert_int_equal(write(fds[1], "c", 1), 1);
    assert_int_equal(loop_watch(loop, fds[0], 0, NULL, NULL, NULL), 0);
    assert_int_equal(loop_watch(loop, fds[0], 0, NULL, NULL, NULL), 0);
    loop_run_ready(loop);
    assert_int_equal(end.calls, 2);
    assert_int_equal(loop_watch(loop, fds[0], EPOLLIN, on_readable, &end, NULL), 0);
    loop_run_ready(loop);
    assert_int_equal(end.calls, 3);
    /* Closed without a word and opened again: the watch must work for the new file. */
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(loop_watch(loop, fds[0], EPOLLIN, on_readable, &end, NULL), 0);
    assert_int_equal(write(fds[1], "d", 1), 1);
    loop_run_ready(loop);
    assert_int_equal(end.calls, 4);
    close(fds[0]);
    close(fds[1]);
    loop_free(loop);
}

static void test_stale_event_is_dropped(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    int a[2];
    int b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
    struct pipe_end ends[2] = {{.loop = loop, .other_fd = b[0], .other = &ends[1]},
                               {.loop = loop, .other_fd = a[0], .other = &ends[0]}};
    assert_int_equal(loop_watch(loop, a[0], EPOLLIN, on_readable, &ends[0], NULL), 0);
    assert_int_equal(loop_watch(loop, b[0], EPOLLIN, on_readable, &ends[1], NULL), 0);
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(write(b[1], "y", 1), 1);
    loop_run_ready(loop); /* both ready in one batch: the first closes the second */
    assert_int_equal(ends[0].calls + ends[1].calls, 1);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    loop_free(loop);
}

static void test_watch_errors(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct err err = {0};
    assert_int_equal(loop_watch(loop, -1, EPOLLIN, on_readable, NULL, &err), -1);
    assert_int_equal(err.class, ERR_BUG);
    assert_int_equal(loop_watch(loop, 900, EPOLLIN, on_readable, NULL, &err), -1); /* not open */
    assert_int_equal(loop_watch(loop, -1, 0, NULL, NULL, &err), 0);
    loop_free(loop);
    loop_free(NULL);
}

static void on_signal(void *ctx, int signal)
{
    int *seen = ctx;
    *seen = signal;
}

static void test_stop_signal(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    int seen = 0;
    assert_int_equal(loop_on_stop_signal(loop, on_signal, &seen, NULL), 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    loop_run_ready(loop);
    assert_int_equal(seen, SIGTERM);
    assert_int_equal(kill(getpid(), SIGINT), 0);
    loop_run_ready(loop);
    assert_int_equal(seen, SIGINT);
    loop_free(loop);
}

static void test_stop_and_run_again(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct journal journal = {0};
    struct tick t;
    init(&t, loop, &journal, 1);
    t.stop = true;
    assert_false(loop_stopped(loop));
    loop_stop(loop); /* before the start: it must not be lost */
    loop_run(loop);
    assert_true(loop_stopped(loop));
    loop_timer_in(loop, &t.timer, 1);
    loop_run(loop);
    assert_int_equal(journal.count, 1);
    loop_free(loop);
}

static void test_lag_is_measured(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct journal journal = {0};
    struct tick t;
    init(&t, loop, &journal, 1);
    loop_timer_in(loop, &t.timer, 0);
    usleep(30000);
    loop_run_ready(loop);
    int64_t lag_ms = loop_lag_ms(loop);
    assert_in_range(lag_ms, 29, 5000);
    assert_int_equal(loop_lag_ms(loop), 0);
    loop_free(loop);
}

static void test_clocks(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    int64_t a = loop_now_ms(loop);
    usleep(5000);
    assert_true(loop_now_ms(loop) >= a + 4); /* outside of a turn never stale */
    assert_true(loop_wall_us() > 1500000000000000);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_in_order),
        cmocka_unit_test(test_many_timers_moved_and_canceled),
        cmocka_unit_test(test_no_delay_is_the_next_turn),
        cmocka_unit_test(test_cancel_a_sibling_that_is_due),
        cmocka_unit_test(test_callback_may_free_its_timer),
        cmocka_unit_test(test_loop_fd_is_pollable),
        cmocka_unit_test(test_watch_change_and_stop),
        cmocka_unit_test(test_stale_event_is_dropped),
        cmocka_unit_test(test_watch_errors),
        cmocka_unit_test(test_stop_signal),
        cmocka_unit_test(test_stop_and_run_again),
        cmocka_unit_test(test_lag_is_measured),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
