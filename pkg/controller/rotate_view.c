/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine sees: readings, status, proofs and windows as one engine_view. */
#include "controller/rotate_view.h"

#include <inttypes.h>
#include <string.h>
#include "controller/internal.h"
#include "controller/report.h"
#include "controller/zones.h"
#include "keycloak/component.h"
#include "rotation/policy.h"
#include "rotation/schedule.h"

/* ---- the realm ---- */

static const struct realm_keys *admin_keys(const struct rotation_state *s)
{
    struct source *admin = s->issuer.sources[SOURCE_ADMIN];
    const struct reading *r = admin != NULL ? source_reading(admin) : NULL;
    return r != NULL ? &r->keys : NULL;
}

static bool is_served(const struct rotation_state *s, const struct realm_key *k)
{
    struct source *jwks = s->issuer.sources[SOURCE_JWKS];
    const struct reading *r = jwks != NULL ? source_reading(jwks) : NULL;
    for (size_t i = 0; r != NULL && i < r->keys.count; i++)
        if (text_eq(r->keys.keys[i].key->kid, k->key->kid) &&
            text_eq(r->keys.keys[i].key->spki_sha256, k->key->spki_sha256))
            return true;
    return false;
}

static bool is_trusted(const struct rotation_state *s, const struct realm_key *k)
{
    for (size_t i = 0; i < s->known.count; i++)
        if (text_eq(s->known.keys[i].key->kid, k->key->kid) &&
            text_eq(s->known.keys[i].key->spki_sha256, k->key->spki_sha256))
            return !s->known.keys[i].withheld;
    return false;
}

/* Of the rotation that made the component; 0: not one of ours. */
static uint64_t number_of(const struct rotation_state *s, const struct realm_claim *claim)
{
    bool mine;
    uint64_t number;
    return component_parse(claim->name, s->uid, &mine, &number) && mine ? number : 0;
}

static uint64_t made_by(const struct rotation_state *s, const struct realm_keys *keys,
                        const char *component)
{
    for (size_t i = 0; i < keys->claims_count; i++)
        if (text_eq(keys->claims[i].component, component) && number_of(s, &keys->claims[i]) != 0)
            return number_of(s, &keys->claims[i]);
    return 0;
}

/* The name is the claim that others read; whoever changes it does not change whose key it is. */
static bool is_made_for(const struct rotation_state *s, const char *component, uint64_t number)
{
    char id[COMPONENT_ID_TEXT];
    if (number == 0)
        return false;
    component_id(s->uid, number, id);
    return text_eq(component, id);
}

static enum key_standing standing_of(enum realm_key_status status)
{
    switch (status) {
    case REALM_KEY_ACTIVE: return STANDING_ACTIVE;
    case REALM_KEY_PASSIVE: return STANDING_PASSIVE;
    case REALM_KEY_DISABLED: break;
    }
    return STANDING_DISABLED;
}

static uint64_t number_of_key(const struct rotation_state *s, const struct rotation_object *object,
                              const struct realm_keys *keys, const char *component)
{
    uint64_t number = made_by(s, keys, component);
    if (number == 0 && is_made_for(s, component, object->status.rotation.number))
        return object->status.rotation.number;
    for (size_t i = 0; i < object->status.keys_count && number == 0; i++)
        if (text_eq(object->status.keys[i].component, component) &&
            is_made_for(s, component, object->status.keys[i].rotation))
            number = object->status.keys[i].rotation;
    return number;
}

static void view_key(const struct rotation_state *s, const struct rotation_object *object,
                     const struct realm_keys *keys, const struct realm_key *k,
                     struct engine_key *ret)
{
    const struct key_status *said = status_key(&object->status, k->key->kid);
    int64_t now_s = controller_now_s(s->controller);
    *ret = (struct engine_key){
        .kid = k->key->kid,
        .number = number_of_key(s, object, keys, k->component),
        .standing = standing_of(k->status),
        .signs = realm_keys_sign(keys, k->key),
        .served = is_served(s, k),
        .trusted = is_trusted(s, k),
        .wrapper_expired = k->key->cert != NULL && k->key->not_after_s <= now_s,
        .priority = k->priority,
    };
    if (said != NULL)
        ret->record = said->record;
}

/* Who writes to this realm: components are named after it. */
static void view_claims(const struct rotation_state *s, const struct realm_keys *keys,
                        struct engine_view *v)
{
    for (size_t i = 0; i < keys->claims_count; i++) {
        bool mine;
        uint64_t number;
        if (!component_parse(keys->claims[i].name, s->uid, &mine, &number))
            continue;
        if (!mine)
            v->foreign_claim = keys->claims[i].name;
        else if (number > v->highest_number)
            v->highest_number = number;
    }
}

/* The key of the last rotation is there, and of another algorithm. */
static bool is_misplaced(const struct rotation_state *s, const struct rotation_object *object,
                         const struct realm_keys *keys, const struct engine_view *v)
{
    char id[COMPONENT_ID_TEXT];
    if (v->record.number == 0)
        return false;
    component_id(s->uid, v->record.number, id);
    for (size_t i = 0; i < keys->count; i++)
        if (text_eq(keys->keys[i].component, id))
            return !text_eq(keys->keys[i].key->alg, object->spec.key.algorithm);
    return false;
}

/* A key that has signed, that consumers still trust, and that left the realm before it was to. */
static const char *gone_kid(const struct rotation_object *object, const struct realm_keys *keys)
{
    const struct rotation_status *said = &object->status;
    for (size_t i = 0; i < said->keys_count; i++) {
        const struct key_status *k = &said->keys[i];
        bool there = !text_eq(k->algorithm, object->spec.key.algorithm) ||
                     k->record.active_s == 0 || k->record.lifecycle == LIFECYCLE_UNKNOWN ||
                     key_lifecycle_untrusted(k->record.lifecycle);
        for (size_t n = 0; n < keys->count && !there; n++)
            there = text_eq(keys->keys[n].key->kid, k->kid);
        if (!there)
            return k->kid;
    }
    return NULL;
}

static int view_keys(struct rotation_state *s, const struct rotation_object *object,
                     struct engine_view *v)
{
    struct arena *arena = controller_pass_arena(s->controller);
    const struct realm_keys *keys = admin_keys(s);
    if (keys == NULL)
        return 0;
    struct engine_key *list = arena_array(arena, keys->count + 1, sizeof(*list));
    if (list == NULL)
        return -1;
    for (size_t i = 0; i < keys->count; i++)
        if (text_eq(keys->keys[i].key->alg, object->spec.key.algorithm))
            view_key(s, object, keys, &keys->keys[i], &list[v->keys_count++]);
    v->keys = list;
    view_claims(s, keys, v);
    v->misplaced = is_misplaced(s, object, keys, v);
    v->gone_kid = gone_kid(object, keys);
    return 0;
}

/* ---- may it be believed ---- */

static const char *source_trouble(const struct view_source *source)
{
    if (!source->used || !source->read)
        return source->err != ERR_NONE ? source->message : "it has not been read yet";
    return source->err != ERR_NONE ? source->message : NULL;
}

static const char *trouble(const struct rotation_state *s, const struct rotation_view *view,
                           const struct rotation_plan *plan)
{
    const struct realm_keys *keys = admin_keys(s);
    const struct plan_condition *expected = &plan->conditions[CONDITION_KEYS_AS_EXPECTED];
    const char *why = source_trouble(&view->admin);
    if (why == NULL)
        why = source_trouble(&view->jwks);
    if (why != NULL)
        return why;
    if (view->issuer == ISSUER_DIFFERS)
        return plan->conditions[CONDITION_ISSUER_CONSISTENT].message;
    /* A key that was lost with the record had left the realm: what is to be done there is known. */
    if (expected->status != CONDITION_TRUE && !text_eq(expected->reason, "RecordLost"))
        return expected->message;
    if (keys == NULL || !keys->claims_known)
        return source_components_err(s->issuer.sources[SOURCE_ADMIN])->msg;
    return view->memory_loaded ? NULL : "what was trusted before is not known yet";
}

/* ---- others ---- */

static bool is_older(const struct rotation_state *a, const struct rotation_state *b)
{
    return a->created_s != b->created_s ? a->created_s < b->created_s : strcmp(a->uid, b->uid) < 0;
}

/* The oldest KeyRotation that rotates this realm, anywhere that we look; NULL: we are it. */
static const char *owner_of(const struct rotation_state *s)
{
    struct controller *c = s->controller;
    const struct place at = state_realm_place(s->realm);
    const struct rotation_state *oldest = s;
    for (struct neighbour *n = neighbours_at(controller_places(c), &at); n != NULL; n = n->next) {
        const struct rotation_state *other = n->slot;
        const struct rotation_object *o =
            world_rotation(controller_world(c), other->namespace, other->name);
        if (o != NULL && !o->meta.deleting && o->spec.key.managed && is_older(other, oldest))
            oldest = other;
    }
    return oldest != s ? arena_strdup(controller_pass_arena(c), oldest->key) : NULL;
}

/* ---- proofs ---- */

/* How long until a consumer has read its object for sure. What was not written by this process has
 * an unknown age, which counts as zero. */
static int64_t unproven_ms(const struct consumer_spec *spec, const struct object_slot *o)
{
    int64_t now_ms = controller_now_ms(o->state->controller);
    if (spec->proof != PROOF_DELAY)
        return 0;
    return (o->acked_ms != 0 ? o->acked_ms - now_ms : 0) + spec->proof_delay_s * 1000;
}

static void view_proof(struct rotation_state *s, const struct rotation_view *view,
                       const struct rotation_plan *plan, struct engine_view *v, int64_t *again_s)
{
    struct arena *arena = controller_pass_arena(s->controller);
    char says[PLAN_MESSAGE_MAX];
    v->proven = view->keys_count > 0 && view->noted && !plan->premature;
    v->proven_at_s = v->proven ? v->now_s : INT64_MAX;
    for (size_t i = 0; i < view->consumers_count; i++) {
        const struct plan_consumer *pc = &plan->consumers[i];
        const struct consumer_spec *spec = view->consumers[i].spec;
        int64_t left_ms = unproven_ms(spec, s->objects[i]);
        if (pc->state == CONSUMER_UP_TO_DATE && left_ms <= 0)
            continue;
        int64_t due_s =
            pc->state == CONSUMER_UP_TO_DATE ? v->now_s + left_ms / 1000 + 1 : INT64_MAX;
        if (due_s < *again_s)
            *again_s = due_s;
        if (v->proven || due_s > v->proven_at_s)
            v->proven_at_s = s->objects[i]->acked_ms != 0 ? due_s : INT64_MAX;
        if (v->unproven == NULL && pc->state == CONSUMER_UP_TO_DATE)
            v->unproven = arena_printf(arena, "consumer %s (proof by delay)", spec->name);
        else if (v->unproven == NULL)
            v->unproven = arena_printf(arena, "consumer %s%s%s", spec->name,
                                       plan_consumer_says(view, plan, i, says) ? ": " : "", says);
        v->proven = false;
    }
    if (!v->proven && v->unproven == NULL)
        v->unproven = "the note of what is trusted";
}

/* ---- times ---- */

static void view_policy(struct rotation_state *s, const struct rotation_object *object,
                        struct engine_view *v)
{
    const struct rotation_spec *spec = &object->spec;
    struct arena *arena = controller_pass_arena(s->controller);
    v->policy = policy_of(spec);
    /* Times are whole seconds, rounded down: of each length one is lost. */
    v->policy.publish_s += v->policy.publish_s > 0;
    v->policy.retire_s += v->policy.retire_s > 0;
    v->retire_why = "spec.overlap.retire";
    struct source *admin = s->issuer.sources[SOURCE_ADMIN];
    if (spec->overlap.retire_s >= 0 || admin == NULL)
        return;
    const struct source_lifespan *life = source_lifespan(admin);
    v->policy.retire_auto = true;
    v->policy.retire_s = life->known ? life->seconds + POLICY_SKEW_S : -1;
    v->retire_why = arena_strdup(arena, life->known ? life->why
                                        : life->err.class != ERR_NONE
                                            ? life->err.msg
                                            : "the realm's lifespans have not been read yet");
}

static void view_window(struct rotation_state *s, const struct rotation_object *object,
                        struct engine_view *v)
{
    const struct schedule_spec *spec = &object->spec.schedule;
    struct arena *arena = controller_pass_arena(s->controller);
    struct window_rule rule;
    struct window window;
    struct err err = {0};
    v->window_open = true;
    v->window_opens_s = v->now_s;
    if (spec->cron == NULL)
        return;
    v->window_open = false;
    v->window_opens_s = INT64_MAX;
    const struct zone *zone =
        zones_find(controller_zones(s->controller), spec->zone, v->now_s, &err);
    if (zone == NULL || window_rule_init(&rule, spec->cron, spec->window_s, zone, &err) != 0) {
        v->window_trouble = arena_printf(arena, "spec.schedule.window: %s", err.msg);
        return;
    }
    if (cron_never(&rule.cron)) {
        v->window_trouble = POLICY_WINDOW_NEVER;
        return;
    }
    window_at(&rule, v->now_s, &window);
    v->window_open = window.open;
    v->window_opens_s = window.open ? v->now_s : window.next_opens_s;
}

/* ---- what became of writes ---- */

static void view_writes(struct rotation_state *s, const struct rotation_object *object,
                        struct engine_view *v)
{
    struct source *admin = s->issuer.sources[SOURCE_ADMIN];
    const struct rotate_links *links = &s->rotate;
    v->recorded = report_is_recorded(s, object);
    if (links->trouble != NULL) {
        v->change_trouble = links->trouble;
        v->change_hopeless = links->hopeless;
        int64_t left_ms = links->retry_ms - controller_now_ms(s->controller);
        v->change_retry_s = v->now_s + (left_ms > 0 ? left_ms / 1000 + 1 : 0);
    }
    const struct source_minted *minted = admin != NULL ? source_minted(admin) : NULL;
    if (minted != NULL && links->minting_ms != 0 && minted->asked_ms >= links->minting_ms) {
        v->minted_kid = arena_strdup(controller_pass_arena(s->controller), minted->kid);
        v->minted_other_algorithm = !text_eq(minted->alg, object->spec.key.algorithm);
    }
}

/* Asks whether this command may be believed, unless that has been done. */
static void ask_for_vouch(struct rotation_state *s, const struct operation *o)
{
    struct rotate_links *links = &s->rotate;
    const char *text = arena_printf(controller_pass_arena(s->controller), "%d %" PRIu64 " %s %s %s",
                                    (int)o->kind, o->number, o->kid != NULL ? o->kid : "",
                                    o->by != NULL ? o->by : "", o->note != NULL ? o->note : "");
    if (text != NULL && text_eq(text, links->vouch_for))
        return;
    state_text(&links->vouch_for, text);
    links->vouch = fences_ask(controller_fences(s->controller));
}

/* A command is believed by what is found out after it was seen, never by a former proof. */
static void view_command(struct rotation_state *s, const struct rotation_object *object,
                         struct engine_view *v)
{
    const char *why;
    v->operation = object->operation;
    v->taken = object->status.operation;
    if (v->operation.kind == OPERATION_NONE) {
        state_text(&s->rotate.vouch_for, NULL);
        return;
    }
    ask_for_vouch(s, &v->operation);
    enum fence_state state = fences_said(controller_fences(s->controller), s->rotate.vouch, &why);
    if (state == FENCE_OPEN)
        v->unvouched = arena_printf(controller_pass_arena(s->controller),
                                    "%s; then give the command again", why);
    v->vouch_unknown = state != FENCE_PROVEN && v->unvouched == NULL;
}

int rotate_view(struct rotation_state *s, const struct rotation_object *object,
                const struct rotation_view *view, const struct rotation_plan *plan,
                struct engine_view *ret, int64_t *again_s)
{
    *ret = (struct engine_view){.now_s = view->now_s,
                                .name = s->name,
                                .namespace = s->namespace,
                                .suspended = object->spec.suspend,
                                .owner = owner_of(s),
                                .record = object->status.rotation,
                                .intent = object->status.change};
    view_command(s, object, ret);
    ret->unreadable_why = trouble(s, view, plan);
    ret->readable = ret->unreadable_why == NULL;
    view_policy(s, object, ret);
    view_window(s, object, ret);
    view_proof(s, view, plan, ret, again_s);
    view_writes(s, object, ret);
    return view_keys(s, object, ret);
}
