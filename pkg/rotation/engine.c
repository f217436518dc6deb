/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/engine_pass.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/attr.h"
#include "base/str.h"

/* ---- saying ---- */

void pass_describe(struct pass *s, enum engine_phase phase, const char *fmt, ...)
{
    va_list args;
    if (s->described)
        return;
    s->described = true;
    s->p->phase = phase;
    va_start(args, fmt);
    (void)vsnprintf(s->p->message, sizeof(s->p->message), fmt, args);
    va_end(args);
}

void pass_find(struct pass *s, const char *reason, const char *fmt, ...)
{
    va_list args;
    if (s->p->finding != NULL)
        return;
    s->p->finding = reason;
    va_start(args, fmt);
    (void)vsnprintf(s->p->finding_text, sizeof(s->p->finding_text), fmt, args);
    va_end(args);
}

/* The line that lets it go on; kid NULL where none has to be named. */
void pass_command(struct pass *s, enum operation_kind kind, uint64_t number, const char *kid)
{
    if (s->p->command[0] != '\0')
        return;
    (void)snprintf(s->p->command, sizeof(s->p->command),
                   "kubectl annotate keyrotation %s -n %s --overwrite keyturn.dev/operation=%s "
                   "keyturn.dev/operation-for=%" PRIu64 "%s%s keyturn.dev/operation-by=$(kubectl "
                   "auth whoami -o jsonpath='{.status.userInfo.username}')",
                   s->v->name, s->v->namespace, operation_kind_name(kind), number,
                   kid != NULL ? "/" : "", kid != NULL ? kid : "");
}

void pass_next(struct pass *s, const char *step, int64_t at_s)
{
    if (s->p->next_step == NULL) {
        s->p->next_step = step;
        s->p->next_at_s = at_s;
    }
    if (at_s > s->v->now_s && at_s < s->p->again_at_s)
        s->p->again_at_s = at_s;
}

/* ---- looking ---- */

const struct engine_key *pass_key(const struct pass *s, int i)
{
    return i >= 0 ? &s->v->keys[i] : NULL;
}

struct key_record *pass_record(struct pass *s, int i)
{
    return &s->p->keys[i];
}

int pass_find_number(const struct engine_view *v, uint64_t number)
{
    for (size_t i = 0; i < v->keys_count; i++)
        if (number != 0 && v->keys[i].number == number)
            return (int)i;
    return -1;
}

int pass_find_kid(const struct engine_view *v, const char *kid)
{
    for (size_t i = 0; i < v->keys_count; i++)
        if (kid != NULL && text_eq(v->keys[i].kid, kid))
            return (int)i;
    return -1;
}

bool pass_is_idle(const struct rotation_record *r)
{
    return r->number == 0 || r->done_s != 0;
}

/* A key is being prepared, or is ready, that nobody has asked for yet. */
bool pass_is_standby(const struct rotation_record *r)
{
    return !pass_is_idle(r) && r->requested_s == 0 && !r->aborting;
}

bool pass_is_forward(const struct rotation_record *r)
{
    return !pass_is_idle(r) && r->requested_s != 0 && !r->aborting;
}

/* ---- what has become of the keys ---- */

static void observe_active(const struct engine_view *v, struct key_record *r)
{
    if (r->lifecycle != LIFECYCLE_ACTIVE) {
        r->retired_s = r->removed_s = 0;
        r->retired_by = 0;
        r->retire_approved = false;
    }
    r->lifecycle = LIFECYCLE_ACTIVE;
    if (r->active_s == 0)
        r->active_s = v->now_s;
    if (r->published_s == 0)
        r->published_s = v->now_s;
}

static void retire_now(const struct engine_view *v, struct key_record *r, uint64_t by)
{
    r->lifecycle = LIFECYCLE_RETIRED;
    r->retired_s = v->now_s;
    r->removed_s = 0;
    r->retired_by = by;
    r->retire_approved = false;
    if (r->active_s == 0)
        r->active_s = v->now_s;
}

/* Nothing is remembered of it: only a key whose making stands in the intent has never signed. */
static void observe_unknown_passive(const struct engine_view *v, const struct engine_key *k,
                                    struct key_record *r)
{
    bool newborn = k->number != 0 && v->intent.kind == CHANGE_CREATE &&
                   v->intent.number == k->number && v->record.number == k->number;
    if (newborn) {
        r->lifecycle = LIFECYCLE_GENERATED;
    } else if (k->number != 0 && k->number == v->highest_number) {
        r->lifecycle = LIFECYCLE_GENERATED;
        r->active_s = v->now_s;
    } else {
        retire_now(v, r, k->number);
    }
}

static void observe_passive(const struct engine_view *v, const struct engine_key *k,
                            struct key_record *r)
{
    bool ours_now = v->intent.kind == CHANGE_DEMOTE && text_eq(v->intent.kid, k->kid);
    switch (r->lifecycle) {
    case LIFECYCLE_UNKNOWN: observe_unknown_passive(v, k, r); return;
    case LIFECYCLE_ACTIVE: retire_now(v, r, ours_now ? v->record.number : 0); return;
    case LIFECYCLE_REMOVED: retire_now(v, r, r->retired_by); return; /* somebody enabled it again */
    case LIFECYCLE_GENERATED:
    case LIFECYCLE_PUBLISHED:
    case LIFECYCLE_READY:
    case LIFECYCLE_RETIRED:
    case LIFECYCLE_RETIRING: return;
    }
}

static void observe_disabled(const struct engine_view *v, struct key_record *r)
{
    bool candidate = r->lifecycle == LIFECYCLE_GENERATED || r->lifecycle == LIFECYCLE_PUBLISHED ||
                     r->lifecycle == LIFECYCLE_READY;
    if (candidate || r->lifecycle == LIFECYCLE_REMOVED)
        return;
    r->lifecycle = LIFECYCLE_REMOVED;
    r->removed_s = v->now_s;
}

static void observe(struct pass *s)
{
    const struct engine_view *v = s->v;
    for (size_t i = 0; i < v->keys_count; i++) {
        struct key_record *r = &s->p->keys[i];
        *r = v->keys[i].record;
        switch (v->keys[i].standing) {
        case STANDING_ACTIVE: observe_active(v, r); break;
        case STANDING_PASSIVE: observe_passive(v, &v->keys[i], r); break;
        case STANDING_DISABLED: observe_disabled(v, r); break;
        }
        if (v->keys[i].signs)
            s->signer = (int)i;
    }
}

/* A status that was lost, or is older than the realm, is made again from our components' names. */
static void recover(struct pass *s)
{
    const struct engine_view *v = s->v;
    struct rotation_record *r = &s->p->record;
    if (r->number >= v->highest_number)
        return;
    int i = pass_find_number(v, v->highest_number);
    const struct engine_key *k = pass_key(s, i);
    *r = (struct rotation_record){
        .number = v->highest_number, .reason = REASON_STANDBY, .started_s = v->now_s};
    if (k == NULL || k->standing == STANDING_DISABLED) {
        r->done_s = v->now_s;
        return;
    }
    r->kid = k->kid;
    if (k->standing == STANDING_ACTIVE)
        r->requested_s = r->promoted_s = v->now_s; /* what was begun is finished */
}

void pass_find_target(struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    if (!pass_is_idle(r))
        s->target = r->reason == REASON_ROLLBACK ? pass_find_kid(s->v, r->kid)
                                                 : pass_find_number(s->v, r->number);
}

/* ---- changes ---- */

bool pass_same_change(const struct change *a, const struct change *b)
{
    return a->kind == b->kind && a->number == b->number && text_eq(a->kid, b->kid);
}

/* Recorded first; sent once the record is acknowledged and the readings are newer than our last
 * write. */
enum verdict pass_intend(struct pass *s, struct change want, bool allowed)
{
    const struct engine_view *v = s->v;
    struct engine_plan *p = s->p;
    bool known = pass_same_change(&v->intent, &want);
    want.at_s = known ? v->intent.at_s : v->now_s;
    p->intent = want;
    if (!known || !v->recorded || !v->fresh || !allowed)
        return ACT;
    if (v->change_retry_s > v->now_s) {
        pass_next(s, change_kind_name(want.kind), v->change_retry_s);
        return ACT;
    }
    p->change = want;
    return ACT;
}

enum verdict pass_change_key(struct pass *s, enum change_kind kind, int i)
{
    return pass_intend(s, (struct change){.kind = kind, .kid = s->v->keys[i].kid}, true);
}

void pass_end(struct pass *s, const char *how)
{
    s->p->record.done_s = s->v->now_s;
    s->p->record.aborting = false;
    s->p->ended = how;
}

/* ---- the checks, in their order ---- */

struct check {
    const char *name;
    enum verdict (*applies)(struct pass *s);
};

static const struct check checks[] = {
    {"Suspended", check_suspended},
    {"RealmOwnedByOther", check_owned_by_other},
    {"RealmClaimed", check_claimed},
    {"Unreadable", check_unreadable},
    {"ChangeRefused", check_refused},
    {"Aborting", check_aborting},
    {"KeyLost", check_lost},
    {"Creating", check_uncreated},
    {"NextKeyDisabled", check_target_disabled},
    {"Publishing", check_unserved},
    {"Proving", check_unproven},
    {"PublishOverlap", check_overlapping_before},
    {"AwaitingApproval", check_unapproved},
    {"AwaitingWindow", check_window_shut},
    {"Confirming", check_unconfirmed},
    {"Finishing", check_unfinished},
    {"Promoting", check_promotable},
    {"Disabling", check_retiring},
    {"Deleting", check_deletable},
    {"Overlap", check_retired},
    {"SignerChanged", check_signer_changed},
    {"ScheduleDue", check_due},
    {"StandbyMissing", check_standby_missing},
    {"Steady", check_steady},
};

const char *engine_check_name(size_t i)
{
    return i < ARRAY_LEN(checks) ? checks[i].name : NULL;
}

/* ---- the decision ---- */

static void start(struct pass *s)
{
    const struct engine_view *v = s->v;
    struct engine_plan *p = s->p;
    memset(p, 0, sizeof(*p));
    p->record = v->record;
    p->taken = v->taken;
    p->intent = v->intent;
    p->next_at_s = p->again_at_s = INT64_MAX;
    for (size_t i = 0; i < v->keys_count; i++)
        p->keys[i] = v->keys[i].record;
}

void engine_decide(const struct engine_view *view, struct engine_plan *plan)
{
    struct pass s = {.v = view, .p = plan, .target = -1, .signer = -1};
    start(&s);
    size_t i = 0;
    bool may_look = !view->suspended && view->owner == NULL && view->readable;
    if (may_look) {
        plan->intent = (struct change){0};
        observe(&s);
        recover(&s);
        pass_find_target(&s);
        pass_listen(&s);
    }
    for (; i < ARRAY_LEN(checks); i++) {
        bool said = s.described;
        enum verdict verdict = checks[i].applies(&s);
        plan->fired |= verdict != NO ? 1U << i : 0;
        if (s.described && !said)
            plan->check = checks[i].name;
        if (verdict == ACT || verdict == STOP)
            break;
    }
    if (plan->check == NULL)
        plan->check = checks[i < ARRAY_LEN(checks) ? i : ARRAY_LEN(checks) - 1].name;
    const char *broken = engine_unsafe(view, plan);
    if (broken != NULL) {
        plan->change = (struct change){0};
        plan->phase = ENGINE_BLOCKED;
        plan->finding = "Unsafe";
        (void)snprintf(plan->finding_text, sizeof(plan->finding_text),
                       "a change was held back, since it would break: %s. Please report this",
                       broken);
    }
}
