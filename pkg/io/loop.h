/* SPDX-License-Identifier: Apache-2.0
 *
 * loop: one epoll set, timers, signals and deferred calls, on one thread. The only place (with
 * cmd) that reads clocks. Callbacks never nest: a timer set inside a callback, even with no delay
 * (which is how a call is deferred), fires in the next turn. A callback may cancel, unwatch and
 * free anything, itself included, but the loop.
 *
 * loop_fd() is pollable: libwebsockets adopts it (its own loop is the outer one) and calls
 * loop_run_ready() when it is readable; tests use loop_run() alone. */
#ifndef KEYTURN_IO_LOOP_H
#define KEYTURN_IO_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct loop;

/* Embedded in its owner, {0} is an idle timer; fire and ctx are the owner's to set. Fires once. The
 * owner must cancel it before it goes away. */
struct loop_timer {
    void (*fire)(void *ctx);
    void *ctx;
    int64_t due_ms;
    uint64_t order;    /* timers due at the same time fire in the order they were set */
    size_t heap_index; /* 1-based; 0 = not set */
};

typedef void loop_fd_fn(void *ctx, int fd, unsigned events); /* events: EPOLLIN, EPOLLOUT, ... */

struct loop *loop_new(struct err *err);
void loop_free(struct loop *loop);
int loop_fd(const struct loop *loop);

int64_t loop_now_ms(const struct loop *loop); /* CLOCK_BOOTTIME, read once per turn; outside: now */
int64_t loop_clock_ms(void);                  /* CLOCK_BOOTTIME, read now */
int64_t loop_wall_us(void);                   /* CLOCK_REALTIME, read now */

/* Watches fd (level-triggered); a second call changes events or callback. events 0 stops watching
 * and never fails; do so before the fd is closed. EPOLLERR and EPOLLHUP come unasked. */
int loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *ctx,
               struct err *err);
/* Sets or moves a timer. due_ms is on the clock of loop_now_ms; the past means now. The process
 * ends (abort) when there is no memory for the list of timers: a lost timer is a silent hang. */
void loop_timer_at(struct loop *loop, struct loop_timer *timer, int64_t due_ms);
void loop_timer_in(struct loop *loop, struct loop_timer *timer, int64_t delay_ms);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);
/* Calls fn at each SIGTERM and SIGINT (blocked for the process from then on). */
int loop_on_stop_signal(struct loop *loop, void (*fn)(void *ctx, int signal), void *ctx,
                        struct err *err);

void loop_run_ready(struct loop *loop); /* everything that is due now, then returns */
/* Until loop_stop, also one that came before; after it returned it may be called again. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
bool loop_stopped(const struct loop *loop);
/* Largest delay between a timer's due time and its call since the last question. */
int64_t loop_lag_ms(struct loop *loop);

#endif
