/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_loop: all of io/loop.h on a clock that only the test moves. To be included by exactly one
 * file of a test program: its definitions then stand in for pkg/io's, which the linker leaves out.
 */
#ifndef KEYTURN_TESTS_FAKE_LOOP_H
#define KEYTURN_TESTS_FAKE_LOOP_H

#include <stdio.h>
#include <stdlib.h>
#include "io/loop.h"

struct loop {
    struct loop_timer **timers;
    size_t count;
    size_t cap;
};

static int64_t fake_now_ms = 1000000;                   /* CLOCK_BOOTTIME */
static int64_t fake_wall_us = 1700000000LL * 1000000LL; /* at fake_now_ms 1000000 */

struct loop *loop_new(struct err *err)
{
    (void)err;
    return calloc(1, sizeof(struct loop));
}

void loop_free(struct loop *loop)
{
    if (loop->count > 0) {
        fprintf(stderr, "fake_loop: %zu timers are still set\n", loop->count);
        abort();
    }
    free(loop->timers);
    free(loop);
}

int loop_fd(const struct loop *loop)
{
    (void)loop;
    return -1;
}

int64_t loop_now_ms(const struct loop *loop)
{
    (void)loop;
    return fake_now_ms;
}

int64_t loop_clock_ms(void)
{
    return fake_now_ms;
}

int64_t loop_wall_us(void)
{
    return fake_wall_us + (fake_now_ms - 1000000) * 1000;
}

int loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *ctx,
               struct err *err)
{
    (void)loop, (void)fd, (void)events, (void)fn, (void)ctx;
    return err_set(err, ERR_BUG, "the fake loop has no files");
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    if (timer->heap_index == 0)
        return;
    size_t at = timer->heap_index - 1;
    loop->timers[at] = loop->timers[--loop->count];
    loop->timers[at]->heap_index = at + 1;
    timer->heap_index = 0;
}

void loop_timer_at(struct loop *loop, struct loop_timer *timer, int64_t due_ms)
{
    loop_timer_cancel(loop, timer);
    if (loop->count == loop->cap) {
        loop->cap = loop->cap * 2 + 16;
        struct loop_timer **timers = realloc(loop->timers, loop->cap * sizeof(*timers));
        if (timers == NULL)
            abort();
        loop->timers = timers;
    }
    timer->due_ms = due_ms;
    loop->timers[loop->count++] = timer;
    timer->heap_index = loop->count;
}

void loop_timer_in(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    loop_timer_at(loop, timer, fake_now_ms + delay_ms);
}

int loop_on_stop_signal(struct loop *loop, void (*fn)(void *ctx, int signal), void *ctx,
                        struct err *err)
{
    (void)loop, (void)fn, (void)ctx;
    return err_set(err, ERR_BUG, "the fake loop has no signals");
}

/* The first timer due by then, NULL when none is. */
static struct loop_timer *fake_loop_due(const struct loop *loop, int64_t until_ms)
{
    struct loop_timer *first = NULL;
    for (size_t i = 0; i < loop->count; i++) {
        struct loop_timer *t = loop->timers[i];
        if (t->due_ms <= until_ms && (first == NULL || t->due_ms < first->due_ms))
            first = t;
    }
    return first;
}

/* Moves the clock and calls what comes due on the way, in order. */
static void fake_loop_advance(struct loop *loop, int64_t ms)
{
    int64_t until_ms = fake_now_ms + ms;
    struct loop_timer *timer;
    while ((timer = fake_loop_due(loop, until_ms)) != NULL) {
        if (timer->due_ms > fake_now_ms)
            fake_now_ms = timer->due_ms;
        loop_timer_cancel(loop, timer);
        timer->fire(timer->ctx);
    }
    fake_now_ms = until_ms;
}

/* What a stopped process sees: time has passed and nothing was called. */
static inline void fake_loop_freeze(int64_t ms)
{
    fake_now_ms += ms;
}

void loop_run_ready(struct loop *loop)
{
    fake_loop_advance(loop, 0);
}

void loop_run(struct loop *loop)
{
    (void)loop;
    abort();
}

void loop_stop(struct loop *loop)
{
    (void)loop;
}

bool loop_stopped(const struct loop *loop)
{
    (void)loop;
    return false;
}

int64_t loop_lag_ms(struct loop *loop)
{
    (void)loop;
    return 0;
}

#endif
