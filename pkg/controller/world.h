/* SPDX-License-Identifier: Apache-2.0
 *
 * world: the cluster as the watches show it: KeyRotations, our ConfigMaps, workloads and pods, in
 * all namespaces or in those named. Read only; objects are the watchers' and live until their next
 * event. */
#ifndef KEYTURN_CONTROLLER_WORLD_H
#define KEYTURN_CONTROLLER_WORLD_H

#include "codec/kube_codec.h"
#include "kube/watcher.h"

struct world;

struct world_events { /* from the loop; objects valid during the call */
    void (*rotation)(void *ctx, const struct rotation_object *old,
                     const struct rotation_object *new);
    void (*config_map)(void *ctx, const struct config_map_object *object, bool gone);
    void (*workload)(void *ctx, const struct workload_object *object);
    void (*pod)(void *ctx, const struct pod_object *pod);
    void (*synced)(void *ctx); /* each time a watcher becomes synced */
    void *ctx;
};

struct world *world_new(struct kube *kube, struct loop *loop, const char *const *namespaces,
                        size_t namespaces_count, const struct world_events *events);
void world_start(struct world *w);
void world_free(struct world *w);
bool world_synced(const struct world *w);
/* Everything of this namespace is listed. Until then nothing may be decided about it: an object not
 * listed yet looks like one that does not exist. */
bool world_synced_in(const struct world *w, const char *namespace);
/* Some namespace can be worked on: one that is forbidden makes the others no less ready. */
bool world_some_synced(const struct world *w);
/* A watch that once worked has heard nothing since then: what it shows may be long past. */
bool world_silent_since(const struct world *w, int64_t clock_ms);
/* Names the first watch that is not synced, or silent since then, and why, for /readyz. */
void world_explain(const struct world *w, int64_t clock_ms, struct buf *why);

const struct rotation_object *world_rotation(const struct world *w, const char *namespace,
                                             const char *name);
/* Every KeyRotation: size_t it[3] = {0}. */
const struct rotation_object *world_next_rotation(const struct world *w, size_t it[3]);
const struct config_map_object *world_config_map(const struct world *w, const char *namespace,
                                                 const char *name);
const struct workload_object *world_workload(const struct world *w, enum workload_kind kind,
                                             const char *namespace, const char *name);
/* True when a pod that the workload selects, terminating ones included, lacks the hash. */
bool world_has_stale_pod(const struct world *w, const struct workload_object *workload,
                         const char *hash);

/* True when resourceVersion a is older than b (decimal numbers of any length; NULL is oldest). */
bool world_version_older(const char *a, const char *b);

#endif
