/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/rotate.h"

#include <stdlib.h>
#include <string.h>
#include "controller/internal.h"
#include "controller/operation.h"
#include "controller/retry.h"
#include "controller/rotate_view.h"
#include "keycloak/component.h"
#include "obs/log.h"

#define MINT_APART_MS 1000
/* A server that is busy making a key makes it all the same after its caller has gone, and asked
 * again makes another before it finds the id taken. */
#define CREATE_APART_MS 60000
#define RETRY_MAX_MS (60 * 1000LL) /* a person who has mended it waits */

/* ---- what consumers are not given ---- */

static bool is_withheld(const struct rotation_object *object, const struct known_key *k)
{
    if (!object->spec.key.managed || k->state == KEY_ACTIVE)
        return false;
    const struct key_status *said = status_key(&object->status, k->key->kid);
    return said != NULL && key_lifecycle_untrusted(said->record.lifecycle);
}

void rotate_mark(struct rotation_state *s, const struct rotation_object *object)
{
    size_t given = 0;
    bool changed = false;
    for (size_t i = 0; i < s->known.count; i++)
        given += !is_withheld(object, &s->known.keys[i]);
    for (size_t i = 0; i < s->known.count; i++) {
        struct known_key *k = &s->known.keys[i];
        bool withheld = given > 0 && is_withheld(object, k); /* a trust set is never empty */
        changed = changed || withheld != k->withheld;
        k->withheld = withheld;
    }
    if (changed)
        s->known.version++;
}

/* ---- how new the readings must be ---- */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static struct source *source_of(const struct rotation_state *s, enum source_kind kind)
{
    return s->issuer.sources[kind];
}

static bool is_kept(const struct kept_change *kept, const struct change *change)
{
    struct change old = kept->change;
    old.kid = kept->kid;
    return change_equal(&old, change);
}

static void keep(struct kept_change *kept, const struct change *change)
{
    kept->change = *change;
    kept->change.kid = NULL;
    state_text(&kept->kid, change->kid);
}

/* The intent as status has it: when it was first seen there. */
static void follow_intent(struct rotation_state *s, const struct change *intent)
{
    struct rotate_links *links = &s->rotate;
    int64_t now_ms = controller_now_ms(s->controller);
    if (is_kept(&links->intent, intent))
        return;
    keep(&links->intent, intent);
    links->intent_ms = now_ms;
    links->verify_ms = intent->kind == CHANGE_PROMOTE ? now_ms : 0;
    links->tries = 0;
    state_text(&links->trouble, NULL);
}

static int64_t needed_ms(const struct rotation_state *s)
{
    const struct rotate_links *links = &s->rotate;
    const struct source_written *written = source_written(source_of(s, SOURCE_ADMIN));
    int64_t settled_ms = written->ended_ms + (written->unknown ? SOURCE_WRITE_TIMEOUT_MS : 0);
    int64_t oldest_ms = controller_now_ms(s->controller) - ROTATE_READING_MS;
    return larger(larger(links->intent_ms, controller_alone_ms(s->controller)),
                  larger(settled_ms, oldest_ms));
}

static bool is_read_since(const struct rotation_state *s, int64_t since_ms)
{
    struct source *admin = source_of(s, SOURCE_ADMIN), *jwks = source_of(s, SOURCE_JWKS);
    const struct reading *a = admin != NULL ? source_reading(admin) : NULL;
    const struct reading *j = jwks != NULL ? source_reading(jwks) : NULL;
    return a != NULL && j != NULL && a->taken_ms >= since_ms && j->taken_ms >= since_ms;
}

static bool is_fresh(const struct rotation_state *s)
{
    struct source *admin = source_of(s, SOURCE_ADMIN);
    return admin != NULL && !source_writing(admin) && is_read_since(s, needed_ms(s));
}

/* Readings are too old to act on when they come, time and again. */
static bool is_slow(struct rotation_state *s)
{
    struct rotate_links *links = &s->rotate;
    const struct reading *r = source_reading(source_of(s, SOURCE_ADMIN));
    if (r != NULL && r->taken_ms != links->seen_ms) {
        bool late = controller_now_ms(s->controller) - r->taken_ms > ROTATE_READING_MS;
        links->seen_ms = r->taken_ms;
        links->late = late ? links->late + 1 : 0;
    }
    return links->late >= ROTATE_LATE_MOST;
}

/* Readings that are too old for the change that is intended are taken anew. */
static void ask_again(struct rotation_state *s)
{
    struct rotate_links *links = &s->rotate;
    int64_t now_ms = controller_now_ms(s->controller), needed = needed_ms(s);
    if (source_writing(source_of(s, SOURCE_ADMIN)))
        return;
    if (now_ms < needed) {
        controller_due(s->controller, s->key, needed - now_ms);
        return;
    }
    if (links->asked_ms >= needed)
        return;
    links->asked_ms = now_ms;
    (void)source_poll_now(source_of(s, SOURCE_ADMIN));
    (void)source_poll_now(source_of(s, SOURCE_JWKS));
}

/* ---- proof that what is published still stands ---- */

bool rotate_verifies(const struct rotation_state *s, const struct object_slot *o)
{
    return s->rotate.verify_ms != 0 && o->checked_ms < s->rotate.verify_ms;
}

/* Every object has been written again since the promotion was seen to be intended, on our own
 * clock. */
static bool is_verified(struct rotation_state *s)
{
    struct rotate_links *links = &s->rotate;
    int64_t now_ms = controller_now_ms(s->controller);
    if (links->verify_ms == 0)
        return false;
    if (now_ms - links->verify_ms > ROTATE_VERIFIED_MS)
        links->verify_ms = now_ms;
    for (size_t i = 0; i < s->objects_count; i++)
        if (rotate_verifies(s, s->objects[i])) {
            controller_due(s->controller, s->key, 1000); /* the next pass writes it */
            return false;
        }
    return true;
}

/* ---- what became of a write ---- */

static void note_written(struct rotation_state *s)
{
    struct rotate_links *links = &s->rotate;
    const struct source_written *w = source_written(source_of(s, SOURCE_ADMIN));
    if (w->number == links->written)
        return;
    links->written = w->number;
    (void)source_poll_now(source_of(s, SOURCE_JWKS)); /* it serves what was written */
    if (w->held_back)
        return;
    bool good = w->err.class == ERR_NONE;
    log_at(good ? LOG_INFO : LOG_WARN, good ? "realm changed" : "realm not changed",
           LOG_TEXT("rotation", s->key), LOG_TEXT("change", change_kind_name(w->kind)),
           LOG_TEXT("error", good ? "" : w->err.msg));
    state_text(&links->trouble, good ? NULL : w->err.msg);
    links->hopeless = w->err.class == ERR_AUTH || w->err.class == ERR_FORBIDDEN ||
                      w->err.class == ERR_INVALID || w->err.class == ERR_EXISTS;
    links->tries = good ? 0 : links->tries + 1;
    if (good)
        return;
    int64_t delay_ms = retry_delay_ms(s->controller, links->tries - 1, RETRY_MAX_MS, &w->err);
    if (w->unknown && w->kind == CHANGE_CREATE && delay_ms < CREATE_APART_MS)
        delay_ms = CREATE_APART_MS;
    links->retry_ms = controller_now_ms(s->controller) + delay_ms;
}

/* ---- deciding ---- */

/* What the schedule wants next, and whether the signer's wrapper lasts until then. */
static void foresee(const struct rotation_view *view, struct rotating *r)
{
    r->rotates_at_s = INT64_MAX;
    const struct engine_view *v = &r->view;
    if (v->policy.every_s <= 0)
        return;
    for (size_t i = 0; i < v->keys_count; i++) {
        if (!v->keys[i].signs || r->plan.keys[i].active_s == 0)
            continue;
        r->rotates_at_s = engine_rotates_s(v, &r->plan.record, &r->plan.keys[i], (int)i);
        for (size_t k = 0; k < view->keys_count; k++) {
            int64_t ends_s = view->keys[k].not_after_s;
            if (text_eq(view->keys[k].kid, v->keys[i].kid) && ends_s != 0 &&
                ends_s < r->rotates_at_s) {
                r->last_kid = v->keys[i].kid;
                r->last_expires_s = ends_s;
            }
        }
    }
}

struct rotating *rotate_decide(struct rotation_state *s, const struct rotation_object *object,
                               const struct rotation_view *view, const struct rotation_plan *plan)
{
    struct source *admin = source_of(s, SOURCE_ADMIN);
    struct rotating *r = NULL;
    if (!object->spec.key.managed || admin == NULL || source_of(s, SOURCE_JWKS) == NULL ||
        (r = arena_array(controller_pass_arena(s->controller), 1, sizeof(*r))) == NULL)
        return NULL;
    int64_t again_s = INT64_MAX;
    source_want_lifespan(admin, object->spec.overlap.retire_s < 0);
    follow_intent(s, &object->status.change);
    note_written(s);
    if (rotate_view(s, object, view, plan, &r->view, &again_s) != 0)
        return NULL;
    r->view.fresh = is_fresh(s);
    r->view.slow = is_slow(s);
    r->view.verified = is_verified(s);
    r->lifespan_failed = object->spec.overlap.retire_s < 0 && !source_lifespan(admin)->known &&
                         source_lifespan(admin)->err.class != ERR_NONE;
    engine_decide(&r->view, &r->plan);
    if (again_s < r->plan.again_at_s)
        r->plan.again_at_s = again_s;
    foresee(view, r);
    return r;
}

/* ---- acting ---- */

/* Right before a change is sent: everything that may have become otherwise since it was decided. */
static bool is_still_allowed(void *ctx)
{
    struct rotation_state *s = ctx;
    struct controller *c = s->controller;
    const struct rotation_object *object =
        world_rotation(controller_world(c), s->namespace, s->name);
    return object != NULL && text_eq(object->meta.uid, s->uid) && !object->meta.deleting &&
           object->spec_error == NULL && object->spec.key.managed && !object->spec.suspend &&
           is_kept(&s->rotate.sent, &object->status.change) &&
           is_read_since(s, controller_now_ms(c) - ROTATE_READING_MS) &&
           controller_may_write(c, WRITE_TIMEOUT_MS);
}

static const struct realm_key *find_key(const struct rotation_state *s, const char *kid)
{
    const struct reading *r = source_reading(source_of(s, SOURCE_ADMIN));
    for (size_t i = 0; r != NULL && i < r->keys.count; i++)
        if (text_eq(r->keys.keys[i].key->kid, kid))
            return &r->keys.keys[i];
    return NULL;
}

static void send(struct rotation_state *s, const struct rotation_object *object,
                 const struct change *change)
{
    char id[COMPONENT_ID_TEXT], name[64];
    const struct key_spec *spec = &object->spec.key;
    const struct realm_key *k = find_key(s, change->kid);
    struct source_write write = {.kind = change->kind,
                                 .algorithm = spec->algorithm,
                                 .priority = change->priority,
                                 .allowed = is_still_allowed,
                                 .ctx = s};
    if (change->kind == CHANGE_CREATE) {
        component_id(s->uid, change->number, id);
        component_name(s->uid, change->number, name, sizeof(name));
        write.component = id;
        write.name = name;
        write.provider = component_provider(spec->algorithm);
        write.size = spec->size;
    } else if (k != NULL && k->provider[0] != '\0') {
        write.component = k->component;
        write.provider = k->provider;
        write.priority = change->kind == CHANGE_PROMOTE ? change->priority : k->priority;
    } else {
        return; /* its provider comes with the next reading */
    }
    keep(&s->rotate.sent, change);
    if (source_write(source_of(s, SOURCE_ADMIN), &write) == 0)
        log_info("changing the realm", LOG_TEXT("rotation", s->key),
                 LOG_TEXT("change", change_kind_name(change->kind)),
                 LOG_TEXT("kid", change->kid != NULL ? change->kid : name),
                 LOG_NUMBER("priority", write.priority));
}

void rotate_act(struct rotation_state *s, const struct rotation_object *object,
                const struct rotating *r)
{
    struct source *admin = source_of(s, SOURCE_ADMIN);
    if (r->plan.clear_operation)
        operation_clear(s, object);
    if (r->plan.change.kind != CHANGE_NONE)
        send(s, object, &r->plan.change);
    else if (r->plan.intent.kind != CHANGE_NONE && r->view.recorded && !r->view.fresh)
        ask_again(s);
    if (!r->plan.mint)
        s->rotate.minting_ms = 0;
    else if (s->rotate.minting_ms == 0)
        s->rotate.minting_ms = controller_now_ms(s->controller);
    if (r->plan.mint && s->rotate.mint_ms + MINT_APART_MS <= controller_now_ms(s->controller)) {
        s->rotate.mint_ms = controller_now_ms(s->controller);
        source_mint(admin);
        controller_due(s->controller, s->key, MINT_APART_MS);
    }
}

bool rotate_is_writing(const struct rotation_state *s)
{
    const struct source *admin = source_of(s, SOURCE_ADMIN);
    return admin != NULL && source_writing(admin);
}

void rotate_release(struct rotation_state *s)
{
    struct rotate_links *links = &s->rotate;
    free(links->intent.kid);
    free(links->sent.kid);
    free(links->trouble);
    free(links->vouch_for);
    *links = (struct rotate_links){0};
}
