/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/rotate_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/date.h"
#include "controller/events.h"
#include "controller/internal.h"

/* ---- phase and conditions ---- */

static enum rotation_phase phase_of(enum engine_phase phase)
{
    switch (phase) {
    case ENGINE_STEADY: return PHASE_STEADY;
    case ENGINE_PUBLISHING: return PHASE_PUBLISHING;
    case ENGINE_AWAITING_PROMOTION: return PHASE_AWAITING_PROMOTION;
    case ENGINE_PROMOTING: return PHASE_PROMOTING;
    case ENGINE_OVERLAP: return PHASE_OVERLAP;
    case ENGINE_AWAITING_RETIREMENT: return PHASE_AWAITING_RETIREMENT;
    case ENGINE_RETIRING: return PHASE_RETIRING;
    case ENGINE_BLOCKED: break;
    }
    return PHASE_BLOCKED;
}

static void set(struct plan_condition *c, enum condition_status status, const char *reason,
                const char *message)
{
    c->status = status;
    c->reason = reason;
    (void)snprintf(c->message, sizeof(c->message), "%s", message);
}

/* What stalls the rotation, or will stall the next one: better known before it has begun. NULL:
 * nothing. */
static const char *stall_reason(const struct rotating *r, const char **ret_message)
{
    const struct engine_plan *e = &r->plan;
    *ret_message = e->message;
    if (e->phase == ENGINE_BLOCKED)
        return e->finding != NULL ? e->finding : e->check;
    *ret_message = r->view.window_trouble;
    if (r->view.window_trouble != NULL)
        return "WindowUnusable";
    *ret_message = r->view.retire_why;
    return r->lifespan_failed ? "LifespansUnknown" : NULL;
}

/* A rotation that cannot go on stalls, unless the sources or consumers do so already. */
static void merge_blocked(const struct rotating *r, struct rotation_plan *p)
{
    const char *message;
    const char *reason = stall_reason(r, &message);
    if (reason == NULL || p->conditions[CONDITION_STALLED].status == CONDITION_TRUE ||
        p->conditions[CONDITION_RECONCILING].status == CONDITION_TRUE)
        return;
    set(&p->conditions[CONDITION_READY], CONDITION_FALSE, reason, message);
    set(&p->conditions[CONDITION_STALLED], CONDITION_TRUE, reason, message);
}

static void merge_certificates(const struct rotating *r, struct rotation_plan *p)
{
    struct plan_condition *c = &p->conditions[CONDITION_CERTIFICATES_VALID];
    char ends[DATE_TEXT_MAX], due[DATE_TEXT_MAX];
    if (r->last_kid == NULL || c->status != CONDITION_TRUE)
        return;
    date_rfc3339(r->last_expires_s, ends);
    date_rfc3339(r->rotates_at_s, due);
    c->status = CONDITION_FALSE;
    c->reason = "RotationTooLate";
    (void)snprintf(
        c->message, sizeof(c->message),
        "the certificate of key %s expires at %s, before the next planned rotation (%s); "
        "write a shorter spec.schedule.every, or rotate before",
        r->last_kid, ends, due);
}

void rotate_merge(const struct rotating *r, struct rotation_plan *p)
{
    const struct engine_plan *e = &r->plan;
    struct plan_condition *keys = &p->conditions[CONDITION_KEYS_AS_EXPECTED];
    for (size_t i = 0; i < r->view.keys_count; i++)
        if (r->view.keys[i].signs)
            p->active_kid = r->view.keys[i].kid;
    merge_certificates(r, p);
    if (e->finding != NULL && keys->status == CONDITION_TRUE)
        set(keys, CONDITION_FALSE, e->finding, e->finding_text);
    merge_blocked(r, p);
    if (p->phase != PHASE_BLOCKED && p->phase != PHASE_PENDING && e->phase != ENGINE_STEADY)
        p->phase = phase_of(e->phase);
}

/* ---- status ---- */

static void fill_record(const struct rotating *r, size_t i, struct key_status *ret)
{
    int64_t removable_s = engine_removable_s(&r->view.policy, &r->plan.keys[i]);
    bool waits = r->plan.keys[i].lifecycle == LIFECYCLE_RETIRED && removable_s != INT64_MAX;
    ret->record = r->plan.keys[i];
    ret->rotation = r->view.keys[i].number;
    ret->removable_s = waits ? removable_s : 0;
}

/* Keys that consumers know get what the engine remembers of them; those of other algorithms keep
 * what was said. */
static void fill_known(const struct rotating *r, const struct rotation_status *said,
                       struct key_status *keys, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        const struct key_status *before = status_key(said, keys[n].kid);
        if (before != NULL) {
            keys[n].record = before->record;
            keys[n].rotation = before->rotation;
            keys[n].removable_s = before->removable_s;
        }
        for (size_t i = 0; r != NULL && i < r->view.keys_count; i++)
            if (text_eq(r->view.keys[i].kid, keys[n].kid))
                fill_record(r, i, &keys[n]);
    }
}

static bool is_among(const struct key_status *keys, size_t count, const char *kid)
{
    for (size_t i = 0; i < count; i++)
        if (text_eq(keys[i].kid, kid))
            return true;
    return false;
}

/* Disabled keys that are still to be deleted, or were ours to disable. */
static size_t fill_disabled(const struct rotating *r, const struct rotation_status *said,
                            struct key_status *keys, size_t count)
{
    for (size_t i = 0; i < r->view.keys_count && count < LIMIT_KEYS; i++) {
        const struct engine_key *k = &r->view.keys[i];
        const struct key_status *before = status_key(said, k->kid);
        bool ours = k->number != 0 || k->record.lifecycle != LIFECYCLE_UNKNOWN;
        if (k->standing != STANDING_DISABLED || !ours || is_among(keys, count, k->kid))
            continue;
        keys[count] = (struct key_status){.kid = k->kid, .state = KEY_DISABLED};
        if (before != NULL) {
            keys[count].algorithm = before->algorithm;
            keys[count].component = before->component;
            keys[count].provider = before->provider;
            keys[count].spki_sha256 = before->spki_sha256;
        }
        fill_record(r, i, &keys[count++]);
    }
    return count;
}

static size_t keep_disabled(const struct rotation_status *said, struct key_status *keys,
                            size_t count)
{
    for (size_t i = 0; i < said->keys_count && count < LIMIT_KEYS; i++)
        if (said->keys[i].state == KEY_DISABLED && !is_among(keys, count, said->keys[i].kid))
            keys[count++] = said->keys[i];
    return count;
}

/* What is computed from another clock comes out a second earlier or later each time. */
static int64_t steady_time(const struct transition_status *said, const char *step, int64_t at_s)
{
    bool same = text_eq(said->step, step) && said->at_s != 0 && at_s - said->at_s <= 1 &&
                said->at_s - at_s <= 1;
    return same ? said->at_s : at_s;
}

static void fill_next(const struct rotating *r, const struct rotation_status *said,
                      struct rotation_status *ret)
{
    const struct engine_plan *e = &r->plan;
    const char *stalls;
    bool waits = e->phase != ENGINE_STEADY;
    /* Nobody is shown how to begin a rotation while something else is the matter. */
    bool offers = waits || e->finding != NULL ||
                  (ret->phase == PHASE_STEADY && stall_reason(r, &stalls) == NULL);
    ret->next = (struct transition_status){
        .step = e->next_step,
        .at_s =
            e->next_at_s != INT64_MAX ? steady_time(&said->next, e->next_step, e->next_at_s) : 0,
        .blocked_by = waits && e->message[0] != '\0' ? e->message : NULL,
        .command = offers && e->command[0] != '\0' ? e->command : NULL};
}

/* The rotation that ends with this pass comes first. */
static void fill_history(struct rotating *r, const struct rotation_status *said,
                         struct rotation_status *ret)
{
    size_t made = 0;
    struct past_rotation *all = r->history;
    const struct rotation_record *record = &r->plan.record;
    if (r->plan.ended != NULL)
        all[made++] = (struct past_rotation){.number = record->number,
                                             .reason = record->reason,
                                             .kid = record->kid,
                                             .requested_by = record->requested_by,
                                             .started_s = record->started_s,
                                             .ended_s = r->view.now_s,
                                             .outcome = r->plan.ended};
    for (size_t i = 0; i < said->history_count && made < LIMIT_HISTORY; i++)
        all[made++] = said->history[i];
    ret->history = all;
    ret->history_count = made;
}

static void keep_history(const struct rotation_status *said, struct rotation_status *ret)
{
    ret->history = said->history;
    ret->history_count = said->history_count;
    ret->rotation = said->rotation;
    ret->operation = said->operation;
}

static const char *next_kid(const struct rotation_record *r, const char *active_kid)
{
    bool open = r->number != 0 && r->done_s == 0 && !r->aborting;
    return open && !text_eq(r->kid, active_kid) ? r->kid : NULL;
}

void rotate_fill(struct rotating *r, const struct rotation_object *object, struct key_status *keys,
                 struct rotation_status *ret)
{
    const struct rotation_status *said = &object->status;
    if (!object->spec.key.managed) {
        keep_history(said, ret);
        return;
    }
    fill_known(r, said, keys, ret->keys_count);
    if (r == NULL) {
        ret->keys_count = keep_disabled(said, keys, ret->keys_count);
        keep_history(said, ret);
        ret->change = said->change;
        ret->next = said->next;
        ret->next_kid = said->next_kid;
        return;
    }
    ret->keys_count = fill_disabled(r, said, keys, ret->keys_count);
    ret->rotation = r->plan.record;
    ret->change = r->plan.intent;
    ret->operation = r->plan.taken;
    ret->next_kid = next_kid(&r->plan.record, ret->active_kid);
    fill_next(r, said, ret);
    fill_history(r, said, ret);
}

bool rotate_is_news(const struct rotating *r, const struct rotation_status *said)
{
    if (!rotation_record_equal(&r->plan.record, &said->rotation) ||
        !change_equal(&r->plan.intent, &said->change) ||
        !operation_equal(&r->plan.taken, &said->operation))
        return true;
    for (size_t i = 0; i < r->view.keys_count; i++)
        if (!key_record_equal(&r->plan.keys[i], &r->view.keys[i].record))
            return true;
    return false;
}

/* ---- Events ---- */

static void say(struct rotation_state *s, const struct rotation_object *object, bool warning,
                const char *reason, const char *about, const char *note)
{
    (void)event_say(
        s, object,
        &(struct event_text){.warning = warning, .reason = reason, .about = about, .note = note});
}

static const char *lifecycle_event(enum key_lifecycle lifecycle)
{
    switch (lifecycle) {
    case LIFECYCLE_GENERATED: return "KeyCreated";
    case LIFECYCLE_READY: return "KeyReady";
    case LIFECYCLE_ACTIVE: return "KeyPromoted";
    case LIFECYCLE_RETIRED: return "KeyRetired";
    case LIFECYCLE_RETIRING: return "KeyLeaving";
    case LIFECYCLE_REMOVED: return "KeyRemoved";
    case LIFECYCLE_UNKNOWN:
    case LIFECYCLE_PUBLISHED: break;
    }
    return NULL;
}

static const char *lifecycle_words(enum key_lifecycle lifecycle)
{
    switch (lifecycle) {
    case LIFECYCLE_GENERATED: return "was made in Keycloak and does not sign yet";
    case LIFECYCLE_READY: return "is trusted by every consumer and may sign";
    case LIFECYCLE_ACTIVE: return "signs";
    case LIFECYCLE_RETIRED: return "no longer signs; its tokens are accepted until they expire";
    case LIFECYCLE_RETIRING: return "leaves the consumers";
    case LIFECYCLE_REMOVED: return "is disabled in Keycloak";
    case LIFECYCLE_UNKNOWN:
    case LIFECYCLE_PUBLISHED: break;
    }
    return "";
}

/* A realm's keys that are seen for the first time are no transition. */
static void say_lifecycle(struct rotation_state *s, const struct rotation_object *object,
                          const struct key_status *now)
{
    const struct key_status *before = status_key(&object->status, now->kid);
    enum key_lifecycle was = before != NULL ? before->record.lifecycle : LIFECYCLE_UNKNOWN,
                       is = now->record.lifecycle;
    if (was == LIFECYCLE_UNKNOWN && is == LIFECYCLE_PUBLISHED && now->rotation != 0)
        is = LIFECYCLE_GENERATED; /* served and trusted by the pass that saw it first */
    const char *reason = lifecycle_event(is);
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {0};
    if (was == is || reason == NULL || (was == LIFECYCLE_UNKNOWN && is != LIFECYCLE_GENERATED))
        return;
    buf_appendf(&about, "%s/%s@%s", now->kid, key_lifecycle_name(is),
                object->meta.resource_version);
    buf_appendf(&note, "key %s %s (rotation %" PRIu64 ")", now->kid, lifecycle_words(is),
                is == LIFECYCLE_RETIRED && now->record.retired_by != 0
                    ? now->record.retired_by
                    : object->status.rotation.number);
    say(s, object, false, reason, buf_text(&about), buf_text(&note));
}

static void say_deleted(struct rotation_state *s, const struct rotation_object *object,
                        const struct rotation_status *next)
{
    for (size_t i = 0; i < object->status.keys_count; i++) {
        const struct key_status *k = &object->status.keys[i];
        struct buf cleanup_buf note = {0};
        if (k->rotation == 0 || k->record.lifecycle != LIFECYCLE_REMOVED ||
            status_key(next, k->kid) != NULL)
            continue;
        buf_appendf(&note, "key %s of rotation %" PRIu64 " is gone from Keycloak", k->kid,
                    k->rotation);
        say(s, object, false, "KeyDeleted", k->kid, buf_text(&note));
    }
}

static void say_operation(struct rotation_state *s, const struct rotation_object *object,
                          const struct operation *now)
{
    const struct operation *before = &object->status.operation;
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {0};
    /* Two commands may be taken within one second: the same again, once the first was taken off. */
    bool said = now->at_s == before->at_s && operation_is_same(now, before) &&
                (now->cleared || !before->cleared);
    if (now->kind == OPERATION_NONE || said)
        return;
    buf_appendf(&about, "%s/%" PRIu64 "@%s", operation_kind_name(now->kind), now->number,
                object->meta.resource_version);
    buf_appendf(&note, "%s %" PRIu64 "%s%s by %s %s%s%s%s", operation_kind_name(now->kind),
                now->number, now->kid != NULL ? "/" : "", now->kid != NULL ? now->kid : "",
                now->by != NULL ? now->by : "nobody named",
                now->refused != NULL ? "is refused: " : "is taken",
                now->refused != NULL ? now->refused : "",
                now->refused == NULL && now->note != NULL ? ": " : "",
                now->refused == NULL && now->note != NULL ? now->note : "");
    say(s, object, now->refused != NULL,
        now->refused != NULL ? "OperationRefused" : "OperationTaken", buf_text(&about),
        buf_text(&note));
}

static void say_waiting(struct rotation_state *s, const struct rotation_object *object,
                        const struct rotation_status *next)
{
    bool waits =
        next->phase == PHASE_AWAITING_PROMOTION || next->phase == PHASE_AWAITING_RETIREMENT;
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {.max = 1000};
    if (!waits || next->phase == object->status.phase || next->next.command == NULL)
        return;
    buf_appendf(&about, "%s@%s", rotation_phase_name(next->phase), object->meta.resource_version);
    buf_appendf(&note, "%s: %s", next->next.blocked_by, next->next.command);
    say(s, object, false, "AwaitingApproval", buf_text(&about), buf_text(&note));
}

static void say_ended(struct rotation_state *s, const struct rotation_object *object,
                      const struct rotating *r)
{
    const struct rotation_record *record = &r->plan.record;
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {0};
    if (r->plan.ended == NULL)
        return;
    bool lost = text_eq(r->plan.ended, "KeyLost");
    buf_appendf(&about, "%" PRIu64 "@%s", record->number, object->meta.resource_version);
    buf_appendf(&note, "rotation %" PRIu64 ": %s", record->number,
                lost ? "its key was deleted in Keycloak"
                : text_eq(r->plan.ended, "Promoted")
                    ? "its key signs; the one before leaves when its "
                      "tokens have expired"
                : text_eq(r->plan.ended, "RolledBack") ? "the key before signs again"
                                                       : "called off");
    say(s, object, lost, text_eq(r->plan.ended, "Promoted") ? "RotationFinished" : r->plan.ended,
        buf_text(&about), buf_text(&note));
}

void rotate_say(struct rotation_state *s, const struct rotation_object *object,
                const struct rotating *r, const struct rotation_status *next)
{
    for (size_t i = 0; i < next->keys_count; i++)
        say_lifecycle(s, object, &next->keys[i]);
    say_deleted(s, object, next);
    say_operation(s, object, &next->operation);
    say_waiting(s, object, next);
    say_ended(s, object, r);
}
