/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/controller.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/jitter.h"
#include "base/map.h"
#include "controller/credentials.h"
#include "controller/events.h"
#include "controller/internal.h"
#include "controller/lifecycle.h"
#include "controller/reconcile.h"
#include "controller/rotate.h"
#include "controller/telemetry.h"
#include "controller/zones.h"
#include "kube/lease.h"
#include "obs/log.h"
#include "workqueue/workqueue.h"

#define PASSES_A_TURN 32 /* then other work of the loop gets its turn */
#define TRIM_MS 30000    /* what nobody needs any more goes, freed memory back to the system */
#define POD_DELAY_MS 100 /* pods change in bunches */
#define DRAIN_MS 500     /* for what is under way at the end */
#define DRAIN_LOOK_MS 20
#define SILENCE_MS (5 * 60 * 1000LL) /* of a watch: it then shows an old world */

struct controller {
    struct loop *loop;
    struct http_port *port;
    struct kube *kube;
    struct controller_options options;
    struct controller_telemetry *telemetry;
    struct world *world;
    struct sources *sources;
    struct lease *lease;
    struct workqueue *queue;
    struct map states; /* key to rotation_state */
    struct event_line event_line;
    struct map places; /* who is about which object, workload or namespace */
    struct map zones;
    struct arena pass_arena;
    struct loop_timer work_timer, trim_timer, drain_timer;
    struct turns turns;
    int64_t drain_until_ms;
    int64_t term_ms; /* when we began to lead */
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    struct fences fences;
    bool leading, stopping;
    int64_t pass_wall_s;
    uint32_t random;
};

/* ---- what the rooms may ask (internal.h) ---- */

struct kube *controller_kube(struct controller *c)
{
    return c->kube;
}
struct sources *controller_sources(struct controller *c)
{
    return c->sources;
}
struct world *controller_world(struct controller *c)
{
    return c->world;
}
struct arena *controller_pass_arena(struct controller *c)
{
    return &c->pass_arena;
}
const struct controller_options *controller_options(const struct controller *c)
{
    return &c->options;
}
int64_t controller_now_ms(const struct controller *c)
{
    return loop_now_ms(c->loop);
}
int64_t controller_resync_ms(const struct controller *c)
{
    return c->options.resync_ms;
}
int64_t controller_now_s(const struct controller *c)
{
    return c->pass_wall_s;
}

uint32_t controller_random(struct controller *c)
{
    return jitter_next(&c->random);
}

static void arm_work(struct controller *c)
{
    int64_t due_ms = workqueue_next_due_ms(c->queue);
    if (due_ms == INT64_MAX || !c->leading || c->stopping)
        loop_timer_cancel(c->loop, &c->work_timer);
    else
        loop_timer_at(c->loop, &c->work_timer, due_ms);
}

void controller_due(struct controller *c, const char *key, int64_t delay_ms)
{
    if (!c->leading || c->stopping)
        return; /* a new leader looks at everything anyway */
    if (workqueue_add(c->queue, key, loop_now_ms(c->loop) + delay_ms) != 0)
        log_error("out of memory", LOG_TEXT("rotation", key));
    arm_work(c);
}

bool controller_may_write(const struct controller *c, int timeout_ms)
{
    if (!c->leading || c->stopping)
        return false;
    return c->lease == NULL || lease_may_write(c->lease, timeout_ms);
}

int64_t controller_alone_ms(const struct controller *c)
{
    return c->term_ms + WRITE_TIMEOUT_MS;
}

struct turns *controller_turns(struct controller *c)
{
    return &c->turns;
}

const struct fences *controller_fences(const struct controller *c)
{
    return &c->fences;
}

struct event_line *controller_event_line(struct controller *c)
{
    return &c->event_line;
}

struct map *controller_places(struct controller *c)
{
    return &c->places;
}

struct map *controller_zones(struct controller *c)
{
    return &c->zones;
}

struct rotation_state *controller_next_state(struct controller *c, size_t *it)
{
    void *state = NULL;
    return map_next(&c->states, it, NULL, &state) ? state : NULL;
}

/* ---- one pass ---- */

static struct rotation_state *find_state(struct controller *c, const char *key,
                                         const struct rotation_object *object)
{
    struct rotation_state *s = map_get(&c->states, key);
    if (s != NULL && object != NULL &&
        !text_eq(s->uid, object->meta.uid)) { /* deleted and made anew */
        (void)map_remove(&c->states, key);
        state_free(s);
        s = NULL;
    }
    if (s != NULL || object == NULL)
        return s;
    s = state_new(c, object);
    if (s != NULL && map_put(&c->states, key, s, NULL) != 0) {
        state_free(s);
        s = NULL;
    }
    return s;
}

static void forget(struct controller *c, struct rotation_state *s)
{
    if (s->events_under_way > 0) { /* its last words are still on their way */
        events_follow(s);
        controller_due(c, s->key, 500);
        return;
    }
    log_info("rotation is gone", LOG_TEXT("rotation", s->key));
    (void)map_remove(&c->states, s->key);
    state_free(s);
}

static void split_key(const char *key, char namespace[LIMIT_NAME + 1], const char **ret_name)
{
    const char *slash = strchr(key, '/');
    (void)snprintf(namespace, LIMIT_NAME + 1, "%.*s", (int)(slash - key), key);
    *ret_name = slash + 1;
}

static void pass(struct controller *c, const char *key)
{
    char namespace[LIMIT_NAME + 1];
    const char *name;
    split_key(key, namespace, &name);
    if (!world_synced_in(c->world, namespace))
        return; /* begin() comes back to it */
    const struct rotation_object *object = world_rotation(c->world, namespace, name);
    int64_t started_us = loop_wall_us();
    c->pass_wall_s = started_us / 1000000;
    arena_reset(&c->pass_arena);
    struct rotation_state *s = find_state(c, key, object);
    if (s == NULL)
        return;
    if (object == NULL) {
        forget(c, s);
        return;
    }
    const char *result = reconcile_rotation(s, object);
    int64_t took_us = loop_wall_us() - started_us;
    telemetry_pass(c->telemetry, result, (double)took_us / 1e6);
    log_debug("pass", LOG_TEXT("rotation", key), LOG_TEXT("result", result),
              LOG_NUMBER("took_us", took_us));
}

static void work(void *ctx)
{
    struct controller *c = ctx;
    for (unsigned i = 0; i < PASSES_A_TURN && c->leading && !c->stopping; i++) {
        const char *key = workqueue_take(c->queue, loop_now_ms(c->loop));
        if (key == NULL)
            break;
        pass(c, key);
        workqueue_done(c->queue, key);
    }
    arm_work(c);
}

/* ---- the world changes ---- */

static void due_object(struct controller *c, const struct object_meta *meta, int64_t delay_ms)
{
    char key[LIMIT_NAME * 2 + 2];
    (void)snprintf(key, sizeof(key), "%s/%s", meta->namespace, meta->name);
    controller_due(c, key, delay_ms);
}

/* What a KeyRotation publishes is known before any pass: objects and workloads may be those of
 * others too. */
static void note_rotation(struct controller *c, const struct rotation_object *object)
{
    char key[LIMIT_NAME * 2 + 2];
    if (!c->leading || c->stopping || object->meta.deleting || object->spec_error != NULL)
        return;
    (void)snprintf(key, sizeof(key), "%s/%s", object->meta.namespace, object->meta.name);
    struct rotation_state *s = find_state(c, key, object);
    if (s == NULL || state_index(s, object) != 0)
        log_error("out of memory", LOG_TEXT("rotation", key));
}

/* Who publishes what may have changed for all of the namespace. */
static void due_namespace(struct controller *c, const char *namespace)
{
    const struct place at = state_place(namespace);
    for (struct neighbour *n = neighbours_at(&c->places, &at); n != NULL; n = n->next) {
        const struct rotation_state *s = n->slot;
        controller_due(c, s->key, 0);
    }
}

static void rotation_changed(void *ctx, const struct rotation_object *old,
                             const struct rotation_object *new)
{
    struct controller *c = ctx;
    char key[LIMIT_NAME * 2 + 2];
    if (new != NULL) {
        bool other_spec = old == NULL || old->meta.generation != new->meta.generation;
        if (other_spec) {
            note_rotation(c, new);
            due_namespace(c, new->meta.namespace);
        }
        due_object(c, &new->meta, other_spec ? 0 : 20);
        return;
    }
    (void)snprintf(key, sizeof(key), "%s/%s", old->meta.namespace, old->meta.name);
    struct rotation_state *s = map_get(&c->states, key);
    if (s != NULL)
        lifecycle_gone(s, old);
    controller_due(c, key, 0);
    due_namespace(c, old->meta.namespace);
}

static void config_map_changed(void *ctx, const struct config_map_object *object, bool gone)
{
    struct controller *c = ctx;
    const struct place at = {object->meta.namespace, object_kind_name(KIND_CONFIG_MAP),
                             object->meta.name};
    for (struct neighbour *n = neighbours_at(&c->places, &at); n != NULL; n = n->next) {
        struct object_slot *o = n->slot;
        if (gone)
            o->version[0] = '\0'; /* what is gone is not waited for any more */
        controller_due(c, o->state->key, 10);
    }
}

static void workload_changed(void *ctx, const struct workload_object *object)
{
    struct controller *c = ctx;
    const struct place at = {object->meta.namespace, workload_kind_name(object->kind),
                             object->meta.name};
    for (struct neighbour *n = neighbours_at(&c->places, &at); n != NULL; n = n->next) {
        struct workload_slot *w = n->slot;
        controller_due(c, w->state->key, 20);
    }
}

static void pod_changed(void *ctx, const struct pod_object *pod)
{
    struct controller *c = ctx;
    const struct place at = state_place(pod->meta.namespace);
    for (struct neighbour *n = neighbours_at(&c->places, &at); n != NULL; n = n->next) {
        const struct rotation_state *s = n->slot;
        if (s->rolling)
            controller_due(c, s->key, POD_DELAY_MS);
    }
}

static void polled(void *ctx, void *subscriber)
{
    struct rotation_state *s = subscriber;
    controller_due(ctx, s->key, 0);
}

/* ---- leadership ---- */

static void begin(struct controller *c)
{
    size_t it[3] = {0};
    const struct rotation_object *object;
    while ((object = world_next_rotation(c->world, it)) != NULL)
        note_rotation(c, object);
    memset(it, 0, sizeof(it));
    while ((object = world_next_rotation(c->world, it)) != NULL)
        due_object(c, &object->meta, 0);
}

static void drop_states(struct controller *c)
{
    size_t it = 0;
    const char *key;
    void *state;
    while (map_next(&c->states, &it, &key, &state)) {
        workqueue_drop(c->queue, key);
        state_free(state);
    }
    map_release(&c->states);
}

static void leadership(void *ctx, bool leading)
{
    struct controller *c = ctx;
    if (leading == c->leading)
        return;
    c->leading = leading;
    c->term_ms = loop_now_ms(c->loop);
    log_info(leading ? "leading" : "following", LOG_TEXT("identity", c->options.identity));
    if (leading)
        begin(c);
    else
        drop_states(c); /* nothing more is sent; the next term starts from the world */
    arm_work(c);
}

static void world_became_synced(void *ctx)
{
    struct controller *c = ctx;
    if (world_synced(c->world))
        log_info("in step with the cluster", LOG_NUMBER("at_ms", loop_now_ms(c->loop)));
    begin(c);
}

static void fences_changed(void *ctx)
{
    struct controller *c = ctx;
    if (c->leading)
        begin(c);
}

/* ---- life ---- */

static void trim(void *ctx)
{
    struct controller *c = ctx;
    telemetry_forget_hosts(c->telemetry, c->sources);
    (void)malloc_trim(64 << 10);
    loop_timer_in(c->loop, &c->trim_timer, TRIM_MS);
}

static bool is_busy(struct controller *c)
{
    size_t it = 0;
    struct rotation_state *s;
    while ((s = controller_next_state(c, &it)) != NULL)
        if (s->lifecycle_call != NULL || s->operation_call != NULL || events_sending(s) ||
            rotate_is_writing(s))
            return true;
    return c->turns.writes > 0;
}

/* Answers to what is under way are waited for, for a moment; then the Lease is given back. */
static void drain(void *ctx)
{
    struct controller *c = ctx;
    if (is_busy(c) && loop_clock_ms() < c->drain_until_ms) {
        loop_timer_in(c->loop, &c->drain_timer, DRAIN_LOOK_MS);
        return;
    }
    drop_states(c);
    if (c->lease != NULL)
        lease_release(c->lease, c->stopped, c->stopped_ctx);
    else
        c->stopped(c->stopped_ctx);
}

static bool make_parts(struct controller *c)
{
    struct world_events events = {rotation_changed, config_map_changed,  workload_changed,
                                  pod_changed,      world_became_synced, c};
    struct sources_options sources = {.port = c->port,
                                      .loop = c->loop,
                                      .polled = polled,
                                      .ctx = c,
                                      .credentials = credentials_port(c->kube),
                                      .seed = c->random};
    c->queue = workqueue_new();
    c->world = world_new(c->kube, c->loop, c->options.watch_namespaces,
                         c->options.watch_namespaces_count, &events);
    c->sources = sources_new(&sources);
    c->fences.changed = fences_changed;
    c->fences.ctx = c;
    return c->queue != NULL && c->world != NULL && c->sources != NULL &&
           fences_init(&c->fences, c->kube, c->loop, &c->options) == 0;
}

struct controller *controller_new(struct loop *loop, struct http_port *port, struct kube *kube,
                                  const struct controller_options *options, struct err *err)
{
    struct controller *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        (void)err_set(err, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    c->loop = loop;
    c->port = port;
    c->kube = kube;
    c->options = *options;
    c->random = options->seed != 0 ? options->seed : 1;
    c->work_timer = (struct loop_timer){.fire = work, .ctx = c};
    c->trim_timer = (struct loop_timer){.fire = trim, .ctx = c};
    turns_init(&c->turns, c, loop);
    c->drain_timer = (struct loop_timer){.fire = drain, .ctx = c};
    if (!make_parts(c)) {
        controller_free(c);
        (void)err_set(err, ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    if (options->leader_elect) {
        struct lease_options lease = {.namespace = options->own_namespace,
                                      .name = options->lease_name,
                                      .identity = options->identity,
                                      .changed = leadership,
                                      .ctx = c};
        c->lease = lease_new(kube, loop, &lease, err);
        if (c->lease == NULL) {
            controller_free(c);
            return NULL;
        }
    }
    return c;
}

void controller_use_telemetry(struct controller *c, struct controller_telemetry *t)
{
    c->telemetry = t;
}

void controller_start(struct controller *c)
{
    world_start(c->world);
    trim(c);
    if (c->lease == NULL)
        leadership(c, true);
}

void controller_stop(struct controller *c, void (*done)(void *ctx), void *ctx)
{
    c->stopping = true; /* nothing new is sent */
    c->stopped = done;
    c->stopped_ctx = ctx;
    c->drain_until_ms = loop_clock_ms() + DRAIN_MS;
    loop_timer_cancel(c->loop, &c->work_timer);
    turns_stop(&c->turns);
    drain(c);
}

void controller_free(struct controller *c)
{
    if (c == NULL)
        return;
    loop_timer_cancel(c->loop, &c->work_timer);
    loop_timer_cancel(c->loop, &c->trim_timer);
    turns_stop(&c->turns);
    loop_timer_cancel(c->loop, &c->drain_timer);
    if (c->queue != NULL)
        drop_states(c);
    fences_free(&c->fences);
    lease_free(c->lease);
    sources_free(c->sources);
    world_free(c->world);
    workqueue_free(c->queue);
    map_release(&c->places);
    zones_release(&c->zones);
    arena_release(&c->pass_arena);
    free(c);
}

bool controller_healthy(void *controller, struct buf *why)
{
    struct controller *c = controller;
    if (c->leading && c->lease != NULL && !lease_leading(c->lease)) {
        buf_append_text(why, "believes to lead without holding the Lease\n");
        return false;
    }
    return true;
}

bool controller_ready(void *controller, struct buf *why)
{
    struct controller *c = controller;
    const char *sentence;
    if (!world_some_synced(c->world) ||
        world_silent_since(c->world, loop_clock_ms() - SILENCE_MS)) {
        world_explain(c->world, loop_clock_ms() - SILENCE_MS, why);
        return false;
    }
    if (!fences_stand(&c->fences, &sentence)) {
        buf_appendf(why, "%s\n", sentence);
        return false;
    }
    if (!world_synced(c->world)) /* a namespace that is forbidden is named, and stops no other */
        world_explain(c->world, loop_clock_ms() - SILENCE_MS, why);
    if (!fences_vouch(&c->fences, &sentence)) /* all but commands goes on */
        buf_appendf(why, "%s\n", sentence);
    return !c->stopping;
}

void controller_metrics(void *controller, struct buf *out)
{
    struct controller *c = controller;
    struct telemetry_process process = {.leading = c->leading,
                                        .queue_depth = workqueue_depth(c->queue),
                                        .rotations = c->states.count,
                                        .loop_lag_ms = loop_lag_ms(c->loop)};
    size_t it = 0;
    struct rotation_state *s;
    for (size_t k = 0; k < SOURCE_KIND_COUNT; k++)
        process.sources += sources_count(c->sources, (enum source_kind)k);
    telemetry_process(c->telemetry, &process);
    telemetry_forget_rotations(c->telemetry);
    while ((s = controller_next_state(c, &it)) != NULL)
        telemetry_rotation(c->telemetry, s, world_rotation(c->world, s->namespace, s->name),
                           loop_now_ms(c->loop));
    telemetry_render(c->telemetry, out);
}
