/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/world.h"

#include <stdlib.h>
#include <string.h>
#include "base/limits.h"
#include "base/str.h"
#include "codec/rotation_codec.h"

enum room {
    ROOM_ROTATIONS,
    ROOM_CONFIG_MAPS,
    ROOM_PODS,
    ROOM_WORKLOADS,
    ROOM_COUNT = ROOM_WORKLOADS + WORKLOAD_KIND_COUNT
};

struct scope {
    const char *namespace; /* NULL: all */
    struct watcher *rooms[ROOM_COUNT];
};

struct world {
    struct scope *scopes;
    size_t scopes_count;
    struct world_events events;
};

static void *decode_rotation(void *ctx, const json_t *object, struct err *err)
{
    (void)ctx;
    return rotation_new(object, err);
}

static void *decode_config_map(void *ctx, const json_t *object, struct err *err)
{
    (void)ctx;
    return config_map_new(object, err);
}

static void *decode_pod(void *ctx, const json_t *object, struct err *err)
{
    (void)ctx;
    return pod_new(object, err);
}

static void *decode_deployment(void *ctx, const json_t *object, struct err *err)
{
    (void)ctx;
    return workload_new(object, WORKLOAD_DEPLOYMENT, err);
}

static void *decode_stateful_set(void *ctx, const json_t *object, struct err *err)
{
    (void)ctx;
    return workload_new(object, WORKLOAD_STATEFUL_SET, err);
}

static void *decode_daemon_set(void *ctx, const json_t *object, struct err *err)
{
    (void)ctx;
    return workload_new(object, WORKLOAD_DAEMON_SET, err);
}

static void release_rotation(void *object)
{
    rotation_free(object);
}
static void release_config_map(void *object)
{
    config_map_free(object);
}
static void release_pod(void *object)
{
    pod_free(object);
}
static void release_workload(void *object)
{
    workload_free(object);
}

static void changed_rotation(void *ctx, const void *old, const void *new)
{
    struct world *w = ctx;
    w->events.rotation(w->events.ctx, old, new);
}

static void changed_config_map(void *ctx, const void *old, const void *new)
{
    struct world *w = ctx;
    w->events.config_map(w->events.ctx, new != NULL ? new : old, new == NULL);
}

static void changed_workload(void *ctx, const void *old, const void *new)
{
    struct world *w = ctx;
    w->events.workload(w->events.ctx, new != NULL ? new : old);
}

static void changed_pod(void *ctx, const void *old, const void *new)
{
    struct world *w = ctx;
    w->events.pod(w->events.ctx, new != NULL ? new : old);
}

static void on_synced(void *ctx)
{
    struct world *w = ctx;
    w->events.synced(w->events.ctx);
}

static const struct watcher_class classes[ROOM_COUNT] = {
    [ROOM_ROTATIONS] = {.name = "KeyRotation",
                        .prefix = "/apis/keyturn.dev/v1alpha1",
                        .plural = "keyrotations",
                        .objects_max = LIMIT_ROTATIONS,
                        .decode = decode_rotation,
                        .release = release_rotation,
                        .changed = changed_rotation},
    [ROOM_CONFIG_MAPS] = {.name = "ConfigMap",
                          .prefix = "/api/v1",
                          .plural = "configmaps",
                          .label_selector = LABEL_MANAGED_BY "=keyturn",
                          .objects_max = LIMIT_WORKLOADS,
                          .decode = decode_config_map,
                          .release = release_config_map,
                          .changed = changed_config_map},
    [ROOM_PODS] =
        {.name = "Pod",
         .prefix = "/api/v1",
         .plural = "pods",
         .metadata_only = true,
         /* A pod that has ended reads nothing; it may lie there for weeks (evicted, jobs). */
         .field_selector = "status.phase!=Failed,status.phase!=Succeeded",
         .objects_max = LIMIT_PODS,
         .decode = decode_pod,
         .release = release_pod,
         .changed = changed_pod},
    [ROOM_WORKLOADS + WORKLOAD_DEPLOYMENT] = {.name = "Deployment",
                                              .prefix = "/apis/apps/v1",
                                              .plural = "deployments",
                                              .objects_max = LIMIT_WORKLOADS,
                                              .decode = decode_deployment,
                                              .release = release_workload,
                                              .changed = changed_workload},
    [ROOM_WORKLOADS + WORKLOAD_STATEFUL_SET] = {.name = "StatefulSet",
                                                .prefix = "/apis/apps/v1",
                                                .plural = "statefulsets",
                                                .objects_max = LIMIT_WORKLOADS,
                                                .decode = decode_stateful_set,
                                                .release = release_workload,
                                                .changed = changed_workload},
    [ROOM_WORKLOADS + WORKLOAD_DAEMON_SET] = {.name = "DaemonSet",
                                              .prefix = "/apis/apps/v1",
                                              .plural = "daemonsets",
                                              .objects_max = LIMIT_WORKLOADS,
                                              .decode = decode_daemon_set,
                                              .release = release_workload,
                                              .changed = changed_workload},
};

struct world *world_new(struct kube *kube, struct loop *loop, const char *const *namespaces,
                        size_t namespaces_count, const struct world_events *events)
{
    struct world *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return NULL;
    w->events = *events;
    w->scopes_count = namespaces_count > 0 ? namespaces_count : 1;
    w->scopes = calloc(w->scopes_count, sizeof(*w->scopes));
    if (w->scopes == NULL)
        goto fail;
    for (size_t s = 0; s < w->scopes_count; s++) {
        w->scopes[s].namespace = namespaces_count > 0 ? namespaces[s] : NULL;
        for (size_t r = 0; r < ROOM_COUNT; r++) {
            struct watcher_class class = classes[r];
            class.namespace = w->scopes[s].namespace;
            class.synced = on_synced;
            class.ctx = w;
            w->scopes[s].rooms[r] = watcher_new(kube, loop, &class);
            if (w->scopes[s].rooms[r] == NULL)
                goto fail;
        }
    }
    return w;
fail:
    world_free(w);
    return NULL;
}

void world_start(struct world *w)
{
    for (size_t s = 0; s < w->scopes_count; s++)
        for (size_t r = 0; r < ROOM_COUNT; r++)
            watcher_start(w->scopes[s].rooms[r]);
}

void world_free(struct world *w)
{
    if (w == NULL)
        return;
    for (size_t s = 0; w->scopes != NULL && s < w->scopes_count; s++)
        for (size_t r = 0; r < ROOM_COUNT; r++)
            watcher_free(w->scopes[s].rooms[r]);
    free(w->scopes);
    free(w);
}

static bool scope_synced(const struct scope *scope)
{
    for (size_t r = 0; r < ROOM_COUNT; r++)
        if (!watcher_synced(scope->rooms[r]))
            return false;
    return true;
}

bool world_synced(const struct world *w)
{
    for (size_t s = 0; s < w->scopes_count; s++)
        if (!scope_synced(&w->scopes[s]))
            return false;
    return true;
}

bool world_synced_in(const struct world *w, const char *namespace)
{
    for (size_t s = 0; s < w->scopes_count; s++)
        if (w->scopes[s].namespace == NULL || text_eq(w->scopes[s].namespace, namespace))
            return scope_synced(&w->scopes[s]);
    return false;
}

bool world_some_synced(const struct world *w)
{
    for (size_t s = 0; s < w->scopes_count; s++)
        if (scope_synced(&w->scopes[s]))
            return true;
    return false;
}

static bool is_silent(const struct watcher *watcher, int64_t clock_ms)
{
    return watcher_synced(watcher) && watcher_heard_ms(watcher) < clock_ms;
}

bool world_silent_since(const struct world *w, int64_t clock_ms)
{
    for (size_t s = 0; s < w->scopes_count; s++)
        for (size_t r = 0; r < ROOM_COUNT; r++)
            if (is_silent(w->scopes[s].rooms[r], clock_ms))
                return true;
    return false;
}

void world_explain(const struct world *w, int64_t clock_ms, struct buf *why)
{
    for (size_t s = 0; s < w->scopes_count; s++) {
        for (size_t r = 0; r < ROOM_COUNT; r++) {
            const struct watcher *watcher = w->scopes[s].rooms[r];
            const struct err *err = watcher_err(watcher);
            if (watcher_synced(watcher) && !is_silent(watcher, clock_ms))
                continue;
            buf_appendf(why, "%ss%s%s%s%s%s\n", classes[r].name,
                        w->scopes[s].namespace != NULL ? " of namespace " : "",
                        w->scopes[s].namespace != NULL ? w->scopes[s].namespace : "",
                        watcher_synced(watcher) ? " have not been heard of for minutes"
                                                : " are not listed yet",
                        err->class != ERR_NONE ? ": " : "", err->class != ERR_NONE ? err->msg : "");
            return;
        }
    }
}

static const void *find(const struct world *w, size_t room, const char *namespace, const char *name)
{
    for (size_t s = 0; s < w->scopes_count; s++) {
        const void *object = watcher_get(w->scopes[s].rooms[room], namespace, name);
        if (object != NULL)
            return object;
    }
    return NULL;
}

const struct rotation_object *world_rotation(const struct world *w, const char *namespace,
                                             const char *name)
{
    return find(w, ROOM_ROTATIONS, namespace, name);
}

const struct rotation_object *world_next_rotation(const struct world *w, size_t it[3])
{
    for (; it[2] < w->scopes_count; it[2]++, it[0] = it[1] = 0) {
        const struct rotation_object *r =
            watcher_next(w->scopes[it[2]].rooms[ROOM_ROTATIONS], NULL, it);
        if (r != NULL)
            return r;
    }
    return NULL;
}

const struct config_map_object *world_config_map(const struct world *w, const char *namespace,
                                                 const char *name)
{
    return find(w, ROOM_CONFIG_MAPS, namespace, name);
}

const struct workload_object *world_workload(const struct world *w, enum workload_kind kind,
                                             const char *namespace, const char *name)
{
    return find(w, ROOM_WORKLOADS + (size_t)kind, namespace, name);
}

bool world_has_stale_pod(const struct world *w, const struct workload_object *workload,
                         const char *hash)
{
    for (size_t s = 0; s < w->scopes_count; s++) {
        size_t it[2] = {0};
        const struct pod_object *pod;
        while ((pod = watcher_next(w->scopes[s].rooms[ROOM_PODS], workload->meta.namespace, it)) !=
               NULL)
            if (!text_eq(pod->hash, hash) && selector_matches(workload, pod))
                return true;
    }
    return false;
}

bool world_version_older(const char *a, const char *b)
{
    size_t a_len = a != NULL ? strlen(a) : 0, b_len = b != NULL ? strlen(b) : 0;
    if (a_len != b_len)
        return a_len < b_len;
    return a_len > 0 && strcmp(a, b) < 0;
}
