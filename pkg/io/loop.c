/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 64
#define TURNS_PER_RUN 16 /* of loop_run_ready, so that the outer loop gets its share */
#define TIMERS_FIRST 256

struct watch {
    loop_fd_fn *fn; /* NULL = not watched */
    void *ctx;
    uint32_t generation; /* tells an event of a former owner of the same fd */
};

struct loop {
    int epoll_fd;
    int timer_fd;
    int signal_fd;
    struct watch *watches; /* by fd */
    size_t watches_count;
    struct loop_timer **heap; /* heap[0] is due first */
    size_t heap_len;
    size_t heap_cap;
    uint64_t order;
    int64_t now_ms;
    int64_t armed_ms; /* what timer_fd waits for; 0 = nothing */
    int64_t lag_ms;
    void (*on_signal)(void *ctx, int signal);
    void *signal_ctx;
    bool in_turn;
    bool stopped;
    bool stop_seen; /* a loop_run has returned because of this stop */
};

static int64_t clock_ms(clockid_t clock)
{
    struct timespec ts = {0};
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t loop_clock_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

int64_t loop_wall_us(void)
{
    struct timespec ts = {0};
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->in_turn ? loop->now_ms : loop_clock_ms();
}

int loop_fd(const struct loop *loop)
{
    return loop->epoll_fd;
}

/* --- watches --- */

static int watches_reserve(struct loop *loop, size_t fd)
{
    if (fd < loop->watches_count)
        return 0;
    size_t count = loop->watches_count == 0 ? 64 : loop->watches_count;
    while (count <= fd)
        count *= 2;
    struct watch *watches = realloc(loop->watches, count * sizeof(*watches));
    if (watches == NULL)
        return -1;
    memset(watches + loop->watches_count, 0, (count - loop->watches_count) * sizeof(*watches));
    loop->watches = watches;
    loop->watches_count = count;
    return 0;
}

static void unwatch(struct loop *loop, int fd)
{
    if (fd < 0 || (size_t)fd >= loop->watches_count || loop->watches[fd].fn == NULL)
        return;
    loop->watches[fd].fn = NULL;
    loop->watches[fd].generation++;
    /* Fails only for an fd that is closed already: then the kernel has dropped it. */
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *ctx,
               struct err *err)
{
    if (events == 0) {
        unwatch(loop, fd);
        return 0;
    }
    if (fd < 0 || fn == NULL)
        return err_set(err, ERR_BUG, "loop: watch of fd %d without a callback", fd);
    if (watches_reserve(loop, (size_t)fd) != 0)
        return err_set(err, ERR_NO_MEMORY, "loop: no memory to watch fd %d", fd);
    struct watch *w = &loop->watches[fd];
    struct epoll_event event = {
        .events = events,
        .data.u64 = ((uint64_t)w->generation << 32) | (uint32_t)fd,
    };
    /* Both ways, because an fd may have been closed and opened again behind our back. */
    int op = w->fn != NULL ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int rc = epoll_ctl(loop->epoll_fd, op, fd, &event);
    if (rc != 0 && (errno == ENOENT || errno == EEXIST)) {
        op = op == EPOLL_CTL_MOD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
        rc = epoll_ctl(loop->epoll_fd, op, fd, &event);
    }
    if (rc != 0)
        return err_set(err, ERR_BUG, "loop: cannot watch fd %d: %s", fd, strerror(errno));
    w->fn = fn;
    w->ctx = ctx;
    return 0;
}

/* --- timers: a binary heap by (due, order) --- */

static bool before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void heap_put(struct loop *loop, size_t i, struct loop_timer *timer)
{
    loop->heap[i] = timer;
    timer->heap_index = i + 1;
}

static void heap_up(struct loop *loop, size_t i)
{
    struct loop_timer *timer = loop->heap[i];
    while (i > 0 && before(timer, loop->heap[(i - 1) / 2])) {
        heap_put(loop, i, loop->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(loop, i, timer);
}

static void heap_down(struct loop *loop, size_t i)
{
    struct loop_timer *timer = loop->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= loop->heap_len)
            break;
        if (child + 1 < loop->heap_len && before(loop->heap[child + 1], loop->heap[child]))
            child++;
        if (!before(loop->heap[child], timer))
            break;
        heap_put(loop, i, loop->heap[child]);
        i = child;
    }
    heap_put(loop, i, timer);
}

static void heap_reserve(struct loop *loop)
{
    if (loop->heap_len < loop->heap_cap)
        return;
    size_t cap = loop->heap_cap == 0 ? TIMERS_FIRST : loop->heap_cap * 2;
    struct loop_timer **heap = realloc(loop->heap, cap * sizeof(struct loop_timer *));
    if (heap == NULL) {
        fputs("loop: no memory for another timer\n", stderr);
        abort();
    }
    loop->heap = heap;
    loop->heap_cap = cap;
}

/* Only ever moves the wake-up earlier: one that comes too early costs one turn, while timers that
 * are pushed back again and again (idle timers) cost no system call. */
static void arm(struct loop *loop)
{
    if (loop->heap_len == 0)
        return;
    int64_t due_ms = loop->heap[0]->due_ms;
    if (due_ms < 1)
        due_ms = 1; /* 0 would disarm it */
    if (loop->armed_ms != 0 && loop->armed_ms <= due_ms)
        return;
    struct itimerspec spec = {
        .it_value = {.tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000},
    };
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    loop->armed_ms = due_ms;
}

void loop_timer_at(struct loop *loop, struct loop_timer *timer, int64_t due_ms)
{
    int64_t now_ms = loop_now_ms(loop);
    /* Never in the past, so that (due, order) is the order of firing. */
    timer->due_ms = due_ms < now_ms ? now_ms : due_ms;
    timer->order = ++loop->order;
    if (timer->heap_index == 0) {
        heap_reserve(loop);
        heap_put(loop, loop->heap_len++, timer);
    }
    heap_up(loop, timer->heap_index - 1);
    heap_down(loop, timer->heap_index - 1);
    if (!loop->in_turn)
        arm(loop);
}

void loop_timer_in(struct loop *loop, struct loop_timer *timer, int64_t delay_ms)
{
    int64_t due_ms = 0;
    if (__builtin_add_overflow(loop_now_ms(loop), delay_ms < 0 ? 0 : delay_ms, &due_ms))
        due_ms = INT64_MAX;
    loop_timer_at(loop, timer, due_ms);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    if (timer->heap_index == 0)
        return;
    size_t i = timer->heap_index - 1;
    struct loop_timer *last = loop->heap[--loop->heap_len];
    timer->heap_index = 0;
    if (last == timer)
        return;
    heap_put(loop, i, last);
    heap_up(loop, i);
    heap_down(loop, last->heap_index - 1);
}

/* Fires what is due and was set before this turn's timers began. */
static bool run_timers(struct loop *loop)
{
    const uint64_t last_order = loop->order;
    bool fired = false;
    while (loop->heap_len > 0) {
        struct loop_timer *timer = loop->heap[0];
        if (timer->due_ms > loop->now_ms || timer->order > last_order)
            break;
        int64_t late_ms = loop_clock_ms() - timer->due_ms;
        if (late_ms > loop->lag_ms)
            loop->lag_ms = late_ms;
        loop_timer_cancel(loop, timer);
        timer->fire(timer->ctx); /* the timer may be gone after this */
        fired = true;
    }
    return fired;
}

/* --- signals --- */

static void on_signal_fd(void *ctx, int fd, unsigned events)
{
    struct loop *loop = ctx;
    struct signalfd_siginfo info;
    (void)events;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        if (loop->on_signal != NULL)
            loop->on_signal(loop->signal_ctx, (int)info.ssi_signo);
}

int loop_on_stop_signal(struct loop *loop, void (*fn)(void *ctx, int signal), void *ctx,
                        struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    loop->on_signal = fn;
    loop->signal_ctx = ctx;
    if (loop->signal_fd >= 0)
        return 0;
    int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc != 0)
        return err_set(err, ERR_BUG, "loop: cannot block signals: %s", strerror(rc));
    loop->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (loop->signal_fd < 0)
        return err_set(err, ERR_BUG, "loop: signalfd: %s", strerror(errno));
    return loop_watch(loop, loop->signal_fd, EPOLLIN, on_signal_fd, loop, err);
}

/* --- turns --- */

static void on_timer_fd(void *ctx, int fd, unsigned events)
{
    struct loop *loop = ctx;
    uint64_t expirations = 0;
    (void)events;
    if (read(fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
        abort(); /* our own timerfd was closed by somebody: timers would never fire again */
    loop->armed_ms = 0;
}

static void dispatch(struct loop *loop, const struct epoll_event *event)
{
    uint32_t fd = (uint32_t)event->data.u64;
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);
    const struct watch *w = &loop->watches[fd];
    if (w->fn != NULL && w->generation == generation)
        w->fn(w->ctx, (int)fd, event->events);
}

/* One turn: events first, so that data which is there already moves an idle timer that is due.
 * Returns whether there was anything to do. */
static bool turn(struct loop *loop, int wait_ms)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, wait_ms);
    loop->in_turn = true;
    loop->now_ms = loop_clock_ms();
    for (int i = 0; i < count; i++)
        dispatch(loop, &events[i]);
    bool fired = run_timers(loop);
    loop->in_turn = false;
    arm(loop);
    return count > 0 || fired;
}

void loop_run_ready(struct loop *loop)
{
    if (loop->in_turn)
        return;
    for (int i = 0; i < TURNS_PER_RUN && turn(loop, 0); i++)
        continue;
}

void loop_run(struct loop *loop)
{
    if (loop->in_turn)
        return;
    if (loop->stop_seen)
        loop->stopped = loop->stop_seen = false;
    while (!loop->stopped)
        turn(loop, -1);
    loop->stop_seen = true;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
    loop->stop_seen = false;
}

bool loop_stopped(const struct loop *loop)
{
    return loop->stopped;
}

int64_t loop_lag_ms(struct loop *loop)
{
    int64_t lag_ms = loop->lag_ms;
    loop->lag_ms = 0;
    return lag_ms;
}

struct loop *loop_new(struct err *err)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        err_set(err, ERR_NO_MEMORY, "loop: out of memory");
        return NULL;
    }
    loop->signal_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->epoll_fd < 0 || loop->timer_fd < 0) {
        err_set(err, ERR_LIMIT, "loop: epoll or timerfd: %s; is the limit of open files too low?",
                strerror(errno));
        loop_free(loop);
        return NULL;
    }
    if (loop_watch(loop, loop->timer_fd, EPOLLIN, on_timer_fd, loop, err) != 0) {
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    const int fds[] = {loop->signal_fd, loop->timer_fd, loop->epoll_fd};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(loop->watches);
    free(loop->heap);
    free(loop);
}
