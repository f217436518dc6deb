/* SPDX-License-Identifier: Apache-2.0
 *
 * All of io/loop.h on a clock that jumps to the next timer; the linker takes these instead of
 * pkg/io's. */
#include "io/loop.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include "sim.h"

#define SAME_MOMENT_MAX 100000 /* calls without time passing: something spins */

struct loop {
    struct loop_timer **heap;
    size_t len, cap;
    uint64_t order;
};

static int64_t now_ms, wall_offset_us;

void sim_clock_set(int64_t boot_ms, int64_t wall_s)
{
    now_ms = boot_ms;
    wall_offset_us = wall_s * 1000000 - boot_ms * 1000;
}

int64_t sim_now_ms(void)
{
    return now_ms;
}

int64_t sim_wall_s(void)
{
    return loop_wall_us() / 1000000;
}

struct loop *loop_new(struct err *err)
{
    (void)err;
    return sim_must(calloc(1, sizeof(struct loop)));
}

void loop_free(struct loop *loop)
{
    if (loop->len > 0) {
        (void)fprintf(stderr, "sim: %zu timers are still set\n", loop->len);
        abort();
    }
    free(loop->heap);
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
    return now_ms;
}

int64_t loop_clock_ms(void)
{
    return now_ms;
}

int64_t loop_wall_us(void)
{
    return now_ms * 1000 + wall_offset_us;
}

int loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *ctx,
               struct err *err)
{
    (void)loop, (void)fd, (void)events, (void)fn, (void)ctx;
    return err_set(err, ERR_BUG, "the simulated loop has no files");
}

/* ---- timers: a binary heap by (due, order) ---- */

static bool before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void place(struct loop *loop, size_t i, struct loop_timer *timer)
{
    loop->heap[i] = timer;
    timer->heap_index = i + 1;
}

static void sift(struct loop *loop, size_t i)
{
    struct loop_timer *timer = loop->heap[i];
    while (i > 0 && before(timer, loop->heap[(i - 1) / 2])) {
        place(loop, i, loop->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (size_t child; (child = 2 * i + 1) < loop->len; i = child) {
        if (child + 1 < loop->len && before(loop->heap[child + 1], loop->heap[child]))
            child++;
        if (!before(loop->heap[child], timer))
            break;
        place(loop, i, loop->heap[child]);
    }
    place(loop, i, timer);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    if (timer->heap_index == 0)
        return;
    size_t i = timer->heap_index - 1;
    struct loop_timer *last = loop->heap[--loop->len];
    timer->heap_index = 0;
    if (last == timer)
        return;
    place(loop, i, last);
    sift(loop, i);
}

void loop_timer_at(struct loop *loop, struct loop_timer *timer, int64_t due_ms)
{
    loop_timer_cancel(loop, timer);
    if (loop->len == loop->cap) {
        loop->cap = loop->cap * 2 + 64;
        loop->heap = sim_must(realloc(loop->heap, loop->cap * sizeof(struct loop_timer *)));
    }
    timer->due_ms = due_ms < now_ms ? now_ms : due_ms;
    timer->order = ++loop->order;
    place(loop, loop->len++, timer);
    sift(loop, loop->len - 1);
}

void loop_timer_in(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    loop_timer_at(loop, timer, now_ms + (delay_ms < 0 ? 0 : delay_ms));
}

void sim_run_until(struct sim *s, int64_t until_ms)
{
    struct loop *loop = s->loop;
    unsigned calls = 0;
    while (!s->failed && loop->len > 0 && loop->heap[0]->due_ms <= until_ms) {
        struct loop_timer *timer = loop->heap[0];
        calls = timer->due_ms > now_ms ? 0 : calls + 1;
        if (calls > SAME_MOMENT_MAX)
            sim_fail(s, "the operator spins");
        now_ms = timer->due_ms;
        loop_timer_cancel(loop, timer);
        timer->fire(timer->ctx);
    }
    if (!s->failed && until_ms > now_ms)
        now_ms = until_ms;
}

/* The memory of many worlds is one process's: giving it back between them only costs time. */
int malloc_trim(size_t pad)
{
    (void)pad;
    return 0;
}

/* ---- what nobody calls here ---- */

int loop_on_stop_signal(struct loop *loop, void (*fn)(void *ctx, int signal), void *ctx,
                        struct err *err)
{
    (void)loop, (void)fn, (void)ctx;
    return err_set(err, ERR_BUG, "the simulated loop has no signals");
}

void loop_run_ready(struct loop *loop)
{
    (void)loop;
    abort();
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
