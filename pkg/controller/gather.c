/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/internal.h"
#include "controller/issuer.h"

#define REVERT_BRAKE_MS \
    (10 * 60 * 1000LL) /* least time between restarts for one hash that somebody takes away */
#define HASHES_MAX 64  /* objects that one workload may read */

static int64_t to_wall_s(struct controller *c, int64_t mono_ms)
{
    if (mono_ms == INT64_MAX)
        return INT64_MAX;
    int64_t left_ms = mono_ms - controller_now_ms(c);
    return controller_now_s(c) + (left_ms > 0 ? (left_ms + 999) / 1000 : 0);
}

/* ---- objects ---- */

static enum object_finding find_config_map(const struct object_slot *o, const struct rendering *r)
{
    struct rotation_state *s = o->state;
    const struct config_map_object *map =
        world_config_map(controller_world(s->controller), s->namespace, o->name);
    bool behind = o->version[0] != '\0' &&
                  (map == NULL || world_version_older(map->meta.resource_version, o->version));
    if (behind) /* our own write has not come back yet */
        return text_eq(o->acked_digest, r->digest) ? OBJECT_CURRENT : OBJECT_STALE;
    if (map == NULL)
        return o->foreign ? OBJECT_FOREIGN : OBJECT_MISSING;
    bool current = text_eq(map->digest, r->digest) && text_eq(map->hash, r->hash) &&
                   text_eq(map->rotation, s->name) && text_eq(map->consumer, o->consumer);
    return current ? OBJECT_CURRENT : OBJECT_STALE;
}

static enum object_finding find_object(const struct object_slot *o, const struct rendering *r)
{
    if (r == NULL)
        return OBJECT_UNKNOWN;
    if (r->too_large)
        return OBJECT_TOO_LARGE;
    if (o->kind == KIND_CONFIG_MAP)
        return find_config_map(o, r);
    if (o->foreign)
        return OBJECT_FOREIGN;
    if (o->acked_digest[0] == '\0')
        return OBJECT_UNKNOWN;
    if (!text_eq(o->acked_digest, r->digest))
        return OBJECT_STALE;
    return OBJECT_CURRENT;
}

static void view_consumer(struct rotation_state *s, const struct rotation_object *object, size_t i,
                          const char *issuer, struct view_consumer *ret)
{
    struct object_slot *o = s->objects[i];
    const struct rendering *r = state_rendering(s, o->formats, issuer);
    *ret = (struct view_consumer){
        .spec = &object->spec.consumers[i],
        .object = find_object(o, r),
        .writing = o->call != NULL,
        .retry_at_s = o->retry_ms > 0 ? to_wall_s(s->controller, o->retry_ms) : 0,
        .failure = o->failure,
        .workloads = s->uses + s->uses_start[i],
        .workloads_count = s->uses_start[i + 1] - s->uses_start[i],
    };
    /* A ConfigMap seen as wanted, but never written by us, is old enough from the first look on. */
    if (ret->object == OBJECT_CURRENT && r != NULL && !text_eq(o->acked_digest, r->digest)) {
        (void)snprintf(o->acked_digest, sizeof(o->acked_digest), "%s", r->digest);
        o->acked_ms = controller_now_ms(s->controller);
    }
    if (o->kind == KIND_SECRET && ret->object == OBJECT_CURRENT &&
        o->resync_ms <= controller_now_ms(s->controller) && o->call == NULL &&
        o->retry_ms <= controller_now_ms(s->controller))
        ret->object = OBJECT_UNKNOWN; /* edited, for all we know */
}

/* ---- workloads ---- */

struct hash_list {
    const char *hashes[HASHES_MAX];
    size_t count;
    int64_t ready_ms;
};

/* Adds the objects of one KeyRotation that the workload reads. */
static void add_hashes(struct rotation_state *s, enum workload_kind kind, const char *name,
                       struct hash_list *list)
{
    char key[LIMIT_NAME + 32];
    (void)snprintf(key, sizeof(key), "%s/%s", workload_kind_name(kind), name);
    const struct workload_slot *slot = map_get(&s->workload_index, key);
    if (slot == NULL)
        return;
    int64_t settle_ms = controller_options(s->controller)->settle_ms;
    for (size_t i = 0; i < s->objects_count && list->count < HASHES_MAX; i++) {
        bool uses = false;
        for (size_t k = s->uses_start[i]; k < s->uses_start[i + 1]; k++)
            uses = uses || s->workloads[s->uses[k]] == slot;
        if (!uses)
            continue;
        const struct object_slot *o = s->objects[i];
        const struct rendering *r = state_rendering(s, o->formats, s->renderings_issuer);
        if (r == NULL || r->too_large) {
            list->ready_ms = INT64_MAX;
            continue;
        }
        list->hashes[list->count++] = r->hash;
        if (!text_eq(o->acked_digest, r->digest))
            list->ready_ms = INT64_MAX;
        else if (list->ready_ms != INT64_MAX && o->acked_ms + settle_ms > list->ready_ms)
            list->ready_ms = o->acked_ms + settle_ms;
    }
}

void gather_workload_hash(struct rotation_state *s, enum workload_kind kind, const char *name,
                          char hash[TRUST_HASH_TEXT], int64_t *ret_ready_ms)
{
    struct hash_list list = {0};
    size_t it = 0;
    struct rotation_state *other;
    while ((other = controller_next_state(s->controller, &it)) != NULL)
        if (text_eq(other->namespace, s->namespace))
            add_hashes(other, kind, name, &list);
    hash[0] = '\0';
    if (list.count > 0)
        trust_hash_union(list.hashes, list.count, hash);
    *ret_ready_ms = list.count > 0 ? list.ready_ms : INT64_MAX;
}

static const char *why_stuck(const struct workload_object *w)
{
    if (w->paused)
        return "is paused and will not roll; kubectl rollout resume it";
    if (w->on_delete)
        return "has updateStrategy OnDelete: its pods have to be deleted by hand";
    if (w->partition > 0)
        return "has a rolling update partition: pods below it keep the old keys";
    if (w->deadline_exceeded)
        return "made no progress within its deadline; kubectl rollout status shows why";
    return NULL;
}

/* After kubectl's rollout status, for each kind. */
static bool counts_complete(const struct workload_object *w)
{
    if (w->meta.generation > w->observed_generation)
        return false;
    if (w->kind == WORKLOAD_DEPLOYMENT)
        return w->updated >= w->desired && w->total <= w->updated && w->available >= w->updated;
    if (w->kind == WORKLOAD_DAEMON_SET)
        return w->updated >= w->desired && w->available >= w->desired;
    return w->ready >= w->desired && w->updated >= w->desired - w->partition &&
           (w->partition > 0 || w->revisions_equal || w->desired == 0);
}

static bool is_rolled(struct workload_slot *slot, const struct workload_object *w, const char *hash)
{
    struct rotation_state *s = slot->state;
    if (!counts_complete(w) || !text_eq(w->template_hash, hash))
        return false;
    if (text_eq(slot->rolled_version, w->meta.resource_version) && text_eq(slot->rolled_hash, hash))
        return true;
    if (world_has_stale_pod(controller_world(s->controller), w, hash))
        return false;
    (void)snprintf(slot->rolled_version, sizeof(slot->rolled_version), "%s",
                   w->meta.resource_version);
    (void)snprintf(slot->rolled_hash, sizeof(slot->rolled_hash), "%s", hash);
    return true;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void view_workload(struct workload_slot *slot, struct view_workload *ret)
{
    struct rotation_state *s = slot->state;
    struct controller *c = s->controller;
    const struct workload_object *w =
        world_workload(controller_world(c), slot->kind, s->namespace, slot->name);
    char hash[TRUST_HASH_TEXT];
    int64_t ready_ms;
    gather_workload_hash(s, slot->kind, slot->name, hash, &ready_ms);
    *ret =
        (struct view_workload){.kind = slot->kind,
                               .name = slot->name,
                               .exists = w != NULL,
                               .listed = world_workloads_synced(controller_world(c), slot->kind),
                               .annotating = slot->call != NULL,
                               .ready_at_s = to_wall_s(c, ready_ms),
                               .failure = slot->failure,
                               .retry_at_s = slot->retry_ms > 0 ? to_wall_s(c, slot->retry_ms) : 0};
    if (w == NULL || hash[0] == '\0')
        return;
    bool behind =
        slot->version[0] != '\0' && world_version_older(w->meta.resource_version, slot->version);
    ret->annotated = behind ? text_eq(slot->acked_hash, hash) : text_eq(w->template_hash, hash);
    ret->pods_wanted = w->desired;
    if (ret->annotated) {
        ret->stuck = why_stuck(w);
        ret->pods_ready = behind ? 0 : smaller(w->updated, smaller(w->available, w->desired));
        if (slot->kind == WORKLOAD_STATEFUL_SET && !behind)
            ret->pods_ready = smaller(w->updated, smaller(w->ready, w->desired));
        ret->rolled = !behind && is_rolled(slot, w, hash);
    } else if (text_eq(slot->acked_hash, hash)) {
        ret->reverted_until_s = to_wall_s(c, slot->acked_ms + REVERT_BRAKE_MS);
    }
}

/* ---- keys ---- */

static void view_key(const struct known_key *k, const struct rotation_status *status,
                     struct view_key *ret)
{
    *ret = (struct view_key){.kid = k->key->kid,
                             .algorithm = k->key->alg,
                             .state = k->state,
                             .signs = k->signs,
                             .certificate_unreadable = k->certificate_unreadable,
                             .not_after_s = k->key->cert != NULL ? k->key->not_after_s : 0};
    for (size_t i = 0; i < status->keys_count; i++) {
        const struct key_status *said = &status->keys[i];
        if (!text_eq(said->kid, ret->kid) || said->not_after_s != ret->not_after_s)
            continue; /* a renewed certificate is announced anew */
        ret->announced = said->announced;
        ret->announced_count = said->announced_count;
    }
}

static void view_known(struct rotation_state *s, struct rotation_view *view)
{
    const struct known *known = &s->known;
    view->memory_loaded = known->loaded;
    view->replaced = known->replaced;
    view->disagrees = known->disagrees;
    view->incomplete = known->incomplete;
    view->incomplete_why = known->incomplete_why;
    view->overflow = known->overflow;
    view->reused_kid = known->reused_kid;
    view->duplicate_kid = known->duplicate_kid;
    view->acknowledge = known->acknowledge;
}

static bool publishes_secret(const struct rotation_spec *spec)
{
    for (size_t i = 0; i < spec->consumers_count; i++)
        if (spec->consumers[i].object_kind == KIND_SECRET)
            return true;
    return false;
}

int gather(struct rotation_state *s, const struct rotation_object *object,
           struct rotation_view *view, struct rotation_plan *plan)
{
    struct arena *arena = controller_pass_arena(s->controller);
    size_t consumers = s->objects_count, workloads = s->workloads_count,
           keys_count = s->known.count;
    struct view_consumer *vc = arena_array(arena, consumers + 1, sizeof(*vc));
    struct view_workload *vw = arena_array(arena, workloads + 1, sizeof(*vw));
    struct view_key *vk = arena_array(arena, keys_count + 1, sizeof(*vk));
    *view = (struct rotation_view){.now_s = controller_now_s(s->controller),
                                   .spec = &object->spec,
                                   .name = s->name,
                                   .namespace = s->namespace,
                                   .spec_error = object->spec_error};
    *plan = (struct rotation_plan){0};
    plan->consumers = arena_array(arena, consumers + 1, sizeof(*plan->consumers));
    plan->restart = arena_array(arena, workloads + 1, sizeof(*plan->restart));
    plan->warnings = arena_array(arena, keys_count + 1, sizeof(*plan->warnings));
    if (arena->failed)
        return -1;
    const char *issuer = issuer_url(s, object);
    (void)state_rendering(s, FORMAT_JWKS, issuer); /* the cache is of this issuer from here on */
    for (size_t i = 0; i < keys_count; i++)
        view_key(&s->known.keys[i], &object->status, &vk[i]);
    for (size_t i = 0; i < consumers; i++)
        view_consumer(s, object, i, issuer, &vc[i]);
    for (size_t i = 0; i < workloads; i++)
        view_workload(s->workloads[i], &vw[i]);
    view_known(s, view);
    issuer_view(s, object, view);
    view->fence_needed = publishes_secret(&object->spec);
    view->fence_proven = controller_fenced(s->controller, &view->fence_message);
    view->keys = vk;
    view->keys_count = keys_count;
    view->consumers = vc;
    view->consumers_count = consumers;
    view->workloads = vw;
    view->workloads_count = workloads;
    return 0;
}
