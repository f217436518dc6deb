/* SPDX-License-Identifier: Apache-2.0
 *
 * store: the objects of one watcher, by namespace and name, each with the generation (of lists)
 * that saw it last. Calls the class's decode, changed and release. What cannot be decoded keeps its
 * former state; what is above objects_max is counted and not held. */
#ifndef KEYTURN_KUBE_STORE_H
#define KEYTURN_KUBE_STORE_H

#include "base/map.h"
#include "kube/watcher.h"

struct store {
    const struct watcher_class *class;
    struct map spaces; /* namespace ("" for cluster-wide objects) -> struct map of struct held */
    size_t count;      /* objects that watcher_next gives */
    size_t entries;    /* those and the names of unreadable ones */
    size_t unreadable; /* entries whose newest state could not be decoded */
    size_t over;       /* objects not held for want of room, since the last whole list began */
    uint64_t generation;
};

void store_init(struct store *s, const struct watcher_class *class); /* class lives as long */
void store_release(struct store *s);                                 /* no callbacks but release */
void store_new_generation(struct store *s);
/* -1: not held, or held in its former state; err names it. */
int store_put(struct store *s, const json_t *object, struct err *err);
void store_remove(struct store *s, const json_t *object);
/* Drops what the present generation has not seen. */
void store_sweep(struct store *s);
/* True while every object seen is held in its newest state. */
bool store_is_whole(const struct store *s);
const void *store_get(const struct store *s, const char *namespace, const char *name);
const void *store_next(const struct store *s, const char *namespace, size_t it[2]);

#endif
