/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "obs/log.h"

#define SETTLE_MS 50 /* several files written one by one are one change */
#define POLL_MS 5000
/* The kubelet swaps ..data by rename; people copy files. */
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB)

struct watch {
    struct loop *loop;
    const char *dir;
    void (*changed)(void *ctx);
    void *ctx;
    int fd; /* -1: poll alone */
    struct loop_timer timer;
};

static void look(void *ctx)
{
    struct watch *w = ctx;
    loop_timer_in(w->loop, &w->timer, POLL_MS);
    if (w->fd >= 0) {
        /* The same directory keeps its watch; one put in its place gets a new one. */
        (void)inotify_add_watch(w->fd, w->dir, EVENTS | IN_ONLYDIR);
    }
    w->changed(w->ctx);
}

/* What the events say does not matter: they only end the wait. */
static void on_events(void *ctx, int fd, unsigned events)
{
    struct watch *w = ctx;
    char drained[4096];
    (void)events;
    ssize_t got = 1;
    while (got > 0) {
        got = read(fd, drained, sizeof(drained));
    }
    loop_timer_in(w->loop, &w->timer, SETTLE_MS);
}

struct watch *watch_new(struct loop *loop, const char *dir, void (*changed)(void *ctx), void *ctx)
{
    struct err err = {0};
    struct watch *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return NULL;
    }
    *w = (struct watch){
        loop, dir, changed, ctx, inotify_init1(IN_NONBLOCK | IN_CLOEXEC), {.fire = look, .ctx = w}};
    if (w->fd < 0 || inotify_add_watch(w->fd, dir, EVENTS | IN_ONLYDIR) < 0 ||
        loop_watch(loop, w->fd, EPOLLIN, on_events, w, &err) != 0) {
        log_warn("no inotify: keys are looked at every 5 s instead",
                 LOG_TEXT("why", err.class != ERR_NONE ? err.msg : strerror(errno)));
        if (w->fd >= 0) {
            close(w->fd);
        }
        w->fd = -1;
    }
    /* Soon, once: what changed between the first reading and this watch. */
    loop_timer_in(loop, &w->timer, SETTLE_MS);
    return w;
}

void watch_free(struct watch *watch)
{
    if (watch == NULL) {
        return;
    }
    loop_timer_cancel(watch->loop, &watch->timer);
    if (watch->fd >= 0) {
        (void)loop_watch(watch->loop, watch->fd, 0, NULL, NULL, NULL);
        close(watch->fd);
    }
    free(watch);
}
