/* SPDX-License-Identifier: Apache-2.0
 *
 * api_store: what api.c and api_watch.c share: the objects, what has become of them, and who
 * watches. Internal to api. */
#ifndef KEYTURN_TESTS_SIM_API_STORE_H
#define KEYTURN_TESTS_SIM_API_STORE_H

#include "api.h"
#include "base/map.h"

#define OBJECTS_MAX 64
#define HISTORY_MAX 400 /* then the older half is gone, as after a compaction */

struct api_object {
    enum api_kind kind;
    char name[96];
    json_t *value;
};

struct api_event {
    uint64_t version;
    enum api_kind kind;
    const char *type; /* "ADDED", ... */
    json_t *object;
};

struct api {
    struct sim *sim;
    struct api_object objects[OBJECTS_MAX];
    size_t count;
    struct api_event history[HISTORY_MAX];
    size_t history_count;
    uint64_t version, gone; /* what is older than `gone` cannot be watched from */
    struct map events;      /* names of Events */
    bool watch_list;        /* sendInitialEvents is served */
    struct api_watch *watches;
    unsigned touched;
};

struct api_target { /* what a path names */
    enum api_kind kind;
    char name[96]; /* "" the collection */
    bool status;
};

bool api_parse(const char *path, struct api_target *ret);
json_t *api_shown(const struct json_t *object, bool metadata_only); /* new reference */
void api_status(struct net_answer *ret, int code, const char *reason, const char *message);
void api_forget_history(struct api *a, size_t keep);
void api_wake(struct api *a, enum api_kind kind);
/* An event is gone: streams that had it still before them are cut. */
void api_lose(struct api *a, enum api_kind kind, uint64_t version);
const char *api_version_of(enum api_kind kind);
const char *api_kind_name(enum api_kind kind);
bool api_selects(enum api_kind kind, const json_t *object);

#endif
