/* SPDX-License-Identifier: Apache-2.0
 *
 * watcher: all objects of one resource (of one namespace or of all), kept current by list and
 * watch. Drives an informer and holds the decoded objects. An object that cannot be decoded keeps
 * its former state. A failure is logged when it begins, when it becomes another one, and when it is
 * over. */
#ifndef KEYTURN_KUBE_WATCHER_H
#define KEYTURN_KUBE_WATCHER_H

#include <jansson.h>
#include "base/err.h"
#include "kube/kube.h"
#include "rotation/model.h"

struct watcher;

struct watcher_class {
    const char *name;           /* "Deployment": for logs and metrics */
    const char *prefix;         /* "/apis/apps/v1" */
    const char *plural;         /* "deployments" */
    const char *namespace;      /* NULL: all */
    const char *label_selector; /* NULL: all; not escaped */
    const char *field_selector; /* likewise */
    bool metadata_only;
    size_t objects_max; /* above it objects are not held, and reported */
    /* One malloc'ed object whose first member is struct object_meta. */
    void *(*decode)(void *ctx, const json_t *object, struct err *err);
    void (*release)(void *object);
    /* After each change; old or new is NULL for an added or deleted one. old is released
     * afterwards. */
    void (*changed)(void *ctx, const void *old, const void *new);
    void (*synced)(void *ctx); /* the first whole list is in */
    void *ctx;
};

/* class is copied, its texts are kept by the caller. NULL out of memory. */
struct watcher *watcher_new(struct kube *kube, struct loop *loop,
                            const struct watcher_class *class);
void watcher_start(struct watcher *w);
void watcher_free(struct watcher *w); /* no callbacks */
bool watcher_synced(const struct watcher *w);
/* Last failure, ERR_NONE after a good answer; for /readyz and logs. */
const struct err *watcher_err(const struct watcher *w);
/* When the server last said anything (pages, events, bookmarks), on loop_clock_ms; 0 = never. A
 * watch that works says something every minute. */
int64_t watcher_heard_ms(const struct watcher *w);
const void *watcher_get(const struct watcher *w, const char *namespace, const char *name);
/* Objects of a namespace (NULL: all namespaces are walked):
 * size_t it[2] = {0}; while ((o = watcher_next(w, ns, it))) ... */
const void *watcher_next(const struct watcher *w, const char *namespace, size_t it[2]);

#endif
