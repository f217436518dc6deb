/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/internal.h"
#include "controller/issuer.h"
#include "controller/known.h"
#include "controller/publish.h"
#include "controller/rotate.h"

/* Least time between restarts for one hash that somebody takes away, doubled each time. */
#define REVERT_BRAKE_MS (10 * 60 * 1000LL)
#define REVERT_BRAKE_MAX_MS (24 * 3600 * 1000LL)

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

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

static const struct consumer_status *said_of(const struct rotation_object *object,
                                             const struct object_slot *o)
{
    const struct consumer_status *said = status_consumer(&object->status, o);
    const char *name = said != NULL ? strchr(said->object, '/') : NULL;
    bool is = name != NULL && text_eq(name + 1, o->name) &&
              text_starts_with(said->object, object_kind_name(o->kind));
    return is ? said : NULL;
}

/* Whether status says that an earlier process wrote it, with whatever content. */
static bool was_published(const struct object_slot *o)
{
    struct rotation_state *s = o->state;
    if (o->acked_digest[0] != '\0')
        return true;
    const struct rotation_object *object =
        world_rotation(controller_world(s->controller), s->namespace, s->name);
    const struct consumer_status *said = object != NULL ? said_of(object, o) : NULL;
    return said != NULL && said->trust_hash != NULL;
}

/* A Secret is never seen: what a leader before us had sent may have come after our own write, and
 * taken its place. So it is written once more when that can no longer be. */
static bool is_contested(const struct object_slot *o)
{
    return o->kind == KIND_SECRET && o->state->inherited &&
           o->checked_ms < controller_alone_ms(o->state->controller);
}

static void view_secret(const struct rotation_object *object, struct object_slot *o,
                        const struct rendering *r, struct view_consumer *ret)
{
    const struct consumer_status *said = said_of(object, o);
    if (ret->object == OBJECT_CURRENT) {
        int64_t alone_ms = controller_alone_ms(o->state->controller);
        ret->resync_at_s =
            to_wall_s(o->state->controller, is_contested(o) ? alone_ms : o->resync_ms);
    } else if (ret->object == OBJECT_UNKNOWN && r != NULL && said != NULL &&
               text_eq(said->trust_hash, r->hash)) {
        /* An earlier process wrote it: it is as good as one of ours that is due to be repaired. */
        ret->object = OBJECT_CURRENT;
        ret->resync_at_s = controller_now_s(o->state->controller);
    }
}

static void view_consumer(struct rotation_state *s, const struct rotation_object *object, size_t i,
                          const char *issuer, struct view_consumer *ret)
{
    struct object_slot *o = s->objects[i];
    const struct rendering *r = state_rendering(s, o->formats, issuer);
    const struct rotation_state *owner = state_owner_of(o);
    *ret = (struct view_consumer){
        .spec = &object->spec.consumers[i],
        .object = owner != NULL ? OBJECT_TAKEN : find_object(o, r),
        .owner = owner != NULL ? owner->name : NULL,
        .writing = o->call != NULL,
        .resync_at_s = INT64_MAX,
        .retry_at_s = o->retry_ms > 0 ? to_wall_s(s->controller, o->retry_ms) : 0,
        .workloads = s->uses + s->uses_start[i],
        .workloads_count = s->uses_start[i + 1] - s->uses_start[i],
    };
    if (o->kind == KIND_SECRET)
        view_secret(object, o, r, ret);
    /* A ConfigMap seen as wanted, but never written by us, is old enough from the first look on. */
    if (o->kind == KIND_CONFIG_MAP && ret->object == OBJECT_CURRENT && r != NULL) {
        if (!text_eq(o->acked_digest, r->digest)) {
            (void)snprintf(o->acked_digest, sizeof(o->acked_digest), "%s", r->digest);
            o->acked_ms = controller_now_ms(s->controller);
        }
        if (o->call == NULL)
            state_text(&o->failure, NULL); /* the write of a lost answer came through */
    }
    o->checking = ret->object == OBJECT_CURRENT && rotate_verifies(s, o);
    if (o->checking)
        ret->resync_at_s = 0;
    ret->failure = o->failure;
}

/* ---- workloads ---- */

/* What one workload reads: the objects of every KeyRotation of its namespace. */
struct hash_list {
    const char **hashes;
    size_t count, room;
    int64_t ready_ms;
    const struct object_slot *waits_for;
};

static void wait_for(struct hash_list *list, const struct object_slot *o)
{
    list->ready_ms = INT64_MAX;
    if (list->waits_for == NULL)
        list->waits_for = o;
}

/* An object that was never published and cannot be now: its keys cannot be read, or it is refused.
 * Its readers are given the others' hashes, and do not wait for it. */
static bool is_out_of_reach(const struct object_slot *o, const struct rendering *r)
{
    const struct issuer_links *links = &o->state->issuer;
    if (was_published(o))
        return false;
    bool unread = r == NULL && links->ca_err.class != ERR_NONE;
    for (size_t k = 0; r == NULL && k < SOURCE_KIND_COUNT; k++)
        unread = unread || (links->sources[k] != NULL && source_polls(links->sources[k]) > 0 &&
                            source_err(links->sources[k])->class != ERR_NONE);
    bool refused = o->foreign || o->failure != NULL || (r != NULL && r->too_large) ||
                   state_owner_of(o) != NULL;
    return unread || refused;
}

static void add_hash(struct hash_list *list, const char *hash)
{
    for (size_t i = 0; i < list->count; i++)
        if (text_eq(list->hashes[i], hash))
            return;
    if (list->count < list->room)
        list->hashes[list->count++] = hash;
}

/* Adds the objects of one KeyRotation that the workload reads. */
static void add_hashes(struct rotation_state *s, const struct workload_slot *slot,
                       struct hash_list *list)
{
    int64_t settle_ms = controller_options(s->controller)->settle_ms;
    for (size_t i = 0; i < slot->objects_count; i++) {
        const struct object_slot *o = s->objects[slot->objects[i]];
        const struct rendering *r = state_rendering(s, o->formats, s->renderings_issuer);
        if (is_out_of_reach(o, r))
            continue;
        if (r == NULL || r->too_large) {
            wait_for(list, o);
            continue;
        }
        add_hash(list, r->hash);
        if (!text_eq(o->acked_digest, r->digest) || is_contested(o))
            wait_for(list, o);
        else if (list->ready_ms != INT64_MAX && o->acked_ms + settle_ms > list->ready_ms)
            list->ready_ms = o->acked_ms + settle_ms;
    }
}

void gather_workload_hash(const struct workload_slot *slot, struct workload_hash *ret)
{
    struct rotation_state *s = slot->state;
    const struct place at = {s->namespace, workload_kind_name(slot->kind), slot->name};
    const struct neighbour *first = neighbours_at(controller_places(s->controller), &at);
    struct hash_list list = {0};
    *ret = (struct workload_hash){.ready_ms = INT64_MAX};
    for (const struct neighbour *n = first; n != NULL; n = n->next)
        list.room += ARRAY_LEN(s->renderings); /* each has at most so many hashes */
    list.hashes = calloc(list.room + 1, sizeof(*list.hashes));
    if (list.hashes == NULL)
        return;
    for (const struct neighbour *n = first; n != NULL; n = n->next) {
        const struct workload_slot *there = n->slot;
        add_hashes(there->state, there, &list);
    }
    if (list.count > 0) {
        trust_hash_union(list.hashes, list.count, ret->hash);
        ret->ready_ms = list.ready_ms;
    }
    ret->waits_for = list.waits_for;
    free(list.hashes);
}

/* Lines to copy, where there is one. */
static const char *why_stuck(struct workload_slot *slot, const struct workload_object *w)
{
    struct arena *arena = controller_pass_arena(slot->state->controller);
    const char *namespace = w->meta.namespace, *name = w->meta.name;
    if (w->paused)
        return arena_printf(arena,
                            "is paused and will not roll: kubectl rollout resume %s/%s -n %s",
                            workload_kind_name(w->kind), name, namespace);
    if (w->on_delete)
        return "has updateStrategy OnDelete: its pods have to be deleted by hand";
    if (w->partition > 0)
        return arena_printf(
            arena,
            "has a rolling update partition, and pods below it keep the old keys: kubectl patch %s %s "
            "-n %s -p '{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":0}}}}'",
            workload_kind_name(w->kind), name, namespace);
    if (w->deadline_exceeded)
        return arena_printf(arena,
                            "made no progress within its deadline: kubectl rollout status %s/%s "
                            "-n %s",
                            workload_kind_name(w->kind), name, namespace);
    return NULL;
}

/* After kubectl's rollout status, for each kind. Where pods are deleted by hand, or by partition,
 * a StatefulSet's current revision never becomes the new one. */
static bool counts_complete(const struct workload_object *w)
{
    if (w->meta.generation > w->observed_generation)
        return false;
    if (w->kind == WORKLOAD_DEPLOYMENT)
        return w->updated >= w->desired && w->total <= w->updated && w->available >= w->updated;
    if (w->kind == WORKLOAD_DAEMON_SET)
        return w->updated >= w->desired && w->available >= w->desired;
    return w->ready >= w->desired && w->updated >= w->desired - w->partition &&
           (w->partition > 0 || w->on_delete || w->revisions_equal || w->desired == 0);
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

/* Pods of the new template that serve, at least: what the API server counts as serving may be old
 * ones. Until it has seen the template all its numbers are about the old one. */
static int64_t count_ready(const struct workload_object *w)
{
    int64_t serving = w->kind == WORKLOAD_STATEFUL_SET ? w->ready : w->available;
    int64_t old = w->total > w->updated ? w->total - w->updated : 0;
    if (w->meta.generation > w->observed_generation || serving <= old)
        return 0;
    return smaller(serving - old, smaller(w->updated, w->desired));
}

/* Everything that is known of a workload is of one object: another of its name starts anew. */
static void follow_uid(struct workload_slot *slot, const struct workload_object *w)
{
    if (text_eq(slot->uid, w->meta.uid))
        return;
    (void)snprintf(slot->uid, sizeof(slot->uid), "%s", w->meta.uid != NULL ? w->meta.uid : "");
    slot->acked_hash[0] = slot->version[0] = slot->rolled_version[0] = '\0';
    slot->reverts = 0;
}

static int64_t brake_ms(const struct workload_slot *slot)
{
    int64_t brake = REVERT_BRAKE_MS << (slot->reverts < 8 ? slot->reverts : 8);
    return brake < REVERT_BRAKE_MAX_MS ? brake : REVERT_BRAKE_MAX_MS;
}

static const char *waits_for(struct workload_slot *slot, const struct object_slot *o)
{
    struct arena *arena = controller_pass_arena(slot->state->controller);
    if (o == NULL)
        return NULL;
    if (o->state == slot->state)
        return arena_printf(arena, "%s %s", object_kind_name(o->kind), o->name);
    return arena_printf(arena, "%s %s of KeyRotation %s", object_kind_name(o->kind), o->name,
                        o->state->name);
}

static void view_template(struct workload_slot *slot, const struct workload_object *w,
                          const char *hash, struct view_workload *ret)
{
    bool behind =
        slot->version[0] != '\0' && world_version_older(w->meta.resource_version, slot->version);
    ret->annotated = behind ? text_eq(slot->acked_hash, hash) : text_eq(w->template_hash, hash);
    ret->pods_wanted = w->desired;
    if (ret->annotated) {
        ret->stuck = why_stuck(slot, w);
        ret->pods_ready = behind ? 0 : count_ready(w);
        ret->rolled = !behind && is_rolled(slot, w, hash);
        if (slot->call == NULL)
            state_text(&slot->failure, NULL); /* the patch of a lost answer came through */
    } else if (text_eq(slot->acked_hash, hash)) {
        ret->reverted_until_s = to_wall_s(slot->state->controller, slot->acked_ms + brake_ms(slot));
    }
}

static void view_workload(struct workload_slot *slot, struct view_workload *ret)
{
    struct rotation_state *s = slot->state;
    struct controller *c = s->controller;
    const struct workload_object *w =
        world_workload(controller_world(c), slot->kind, s->namespace, slot->name);
    struct workload_hash hash;
    gather_workload_hash(slot, &hash);
    *ret =
        (struct view_workload){.kind = slot->kind,
                               .name = slot->name,
                               .exists = w != NULL,
                               .annotating = slot->call != NULL,
                               .ready_at_s = to_wall_s(c, hash.ready_ms),
                               .waits_for = waits_for(slot, hash.waits_for),
                               .retry_at_s = slot->retry_ms > 0 ? to_wall_s(c, slot->retry_ms) : 0};
    if (w != NULL)
        follow_uid(slot, w);
    if (w != NULL && hash.hash[0] != '\0')
        view_template(slot, w, hash.hash, ret);
    ret->failure = slot->failure;
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
                             .withheld = k->withheld,
                             .not_after_s = k->key->cert != NULL ? k->key->not_after_s : 0};
    for (size_t i = 0; i < status->keys_count; i++) {
        const struct key_status *said = &status->keys[i];
        if (!text_eq(said->kid, ret->kid) || said->not_after_s != ret->not_after_s)
            continue; /* a renewed certificate is announced anew */
        ret->announced = said->announced;
        ret->announced_count = said->announced_count;
    }
}

/* Status names the keys and the record holds them before anybody is given them: a process that
 * comes after this one and cannot read the realm must not take away what it does not know. The
 * first set takes nothing away, and keys are not held back for notes that cannot be taken. */
static bool is_noted(struct rotation_state *s, const struct rotation_status *status)
{
    bool named = known_is_named(&s->known, status) || s->status_tries > 0;
    return status->keys_count == 0 || (named && publish_recorded(s));
}

static void view_known(struct rotation_state *s, const struct rotation_status *status,
                       struct rotation_view *view)
{
    const struct known *known = &s->known;
    view->memory_loaded = known->loaded;
    view->noted = is_noted(s, status);
    view->replaced = known->replaced;
    view->disagrees = known->disagrees;
    view->incomplete = known->incomplete;
    view->incomplete_why = known->incomplete_why;
    view->overflow = known->overflow;
    view->reused_kid = known->reused_kid;
    view->duplicate_kid = known->duplicate_kid;
    view->lost_kid = known->lost_kid;
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
    view_known(s, &object->status, view);
    issuer_view(s, object, view);
    view->fence_needed = publishes_secret(&object->spec);
    view->fence_proven = fences_stand(controller_fences(s->controller), &view->fence_message);
    view->keys = vk;
    view->keys_count = keys_count;
    view->consumers = vc;
    view->consumers_count = consumers;
    view->workloads = vw;
    view->workloads_count = workloads;
    return 0;
}
