/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/engine_pass.h"

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
    s->p->wanted = (struct operation){.kind = kind, .number = number, .kid = kid};
    operation_line(s->v->namespace, s->v->name, &s->p->wanted, s->p->command);
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

uint64_t pass_due_number(const struct rotation_record *r)
{
    return pass_is_standby(r) ? r->number : r->number + 1;
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

/* The last rotation was there to replace it, whoever made it passive. */
static bool is_replaced(const struct engine_view *v, const struct engine_key *k)
{
    return v->record.promoted_s != 0 && text_eq(v->record.from, k->kid) &&
           !text_eq(v->record.kid, k->kid);
}

static void observe_passive(const struct engine_view *v, const struct engine_key *k,
                            struct key_record *r)
{
    bool ours_now = v->intent.kind == CHANGE_DEMOTE && text_eq(v->intent.kid, k->kid);
    switch (r->lifecycle) {
    case LIFECYCLE_UNKNOWN: observe_unknown_passive(v, k, r); return;
    case LIFECYCLE_ACTIVE:
        retire_now(v, r, ours_now || is_replaced(v, k) ? v->record.number : 0);
        return;
    case LIFECYCLE_REMOVED: retire_now(v, r, r->retired_by); return; /* somebody enabled it again */
    case LIFECYCLE_GENERATED:
    case LIFECYCLE_PUBLISHED:
    case LIFECYCLE_READY:
    case LIFECYCLE_RETIRED:
    case LIFECYCLE_RETIRING: return;
    }
}

/* Its overlap is over, and nobody has to be asked any more. */
static bool is_removable(const struct engine_view *v, const struct key_record *r)
{
    return v->now_s >= engine_removable_s(&v->policy, r) &&
           (!v->policy.retire_manual || r->retire_approved);
}

/* Somebody else may have disabled it. Then it stays in its overlap: enabled again, it is where it
 * was, and nothing of it is deleted before its time. */
static void observe_disabled(const struct engine_view *v, const struct engine_key *k,
                             struct key_record *r)
{
    bool ours_now = v->intent.kind == CHANGE_DISABLE && text_eq(v->intent.kid, k->kid);
    switch (r->lifecycle) {
    case LIFECYCLE_UNKNOWN:
        if (k->number == 0)
            return; /* it was so before us */
        break;
    case LIFECYCLE_ACTIVE: retire_now(v, r, is_replaced(v, k) ? v->record.number : 0); return;
    case LIFECYCLE_RETIRED:
        if (!ours_now && !is_removable(v, r))
            return;
        break;
    case LIFECYCLE_RETIRING: break;
    case LIFECYCLE_GENERATED:
    case LIFECYCLE_PUBLISHED:
    case LIFECYCLE_READY:
    case LIFECYCLE_REMOVED: return;
    }
    r->lifecycle = LIFECYCLE_REMOVED;
    r->removed_s = v->now_s;
}

/* Tokens that were issued under longer settings than today's live on. */
static void observe_tokens(const struct engine_view *v, struct key_record *r)
{
    if (v->policy.retire_auto && v->policy.retire_s > r->tokens_live_s &&
        (r->lifecycle == LIFECYCLE_ACTIVE || r->lifecycle == LIFECYCLE_RETIRED))
        r->tokens_live_s = v->policy.retire_s;
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
        case STANDING_DISABLED: observe_disabled(v, &v->keys[i], r); break;
        }
        observe_tokens(v, r);
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

/* A key that was made for a rotation which is over (an answer that was lost, and an abort
 * meanwhile) leaves like one that has signed. */
static void retire_orphans(struct pass *s)
{
    const struct engine_view *v = s->v;
    for (size_t i = 0; i < v->keys_count; i++) {
        struct key_record *r = &s->p->keys[i];
        bool candidate = r->lifecycle == LIFECYCLE_GENERATED ||
                         r->lifecycle == LIFECYCLE_PUBLISHED || r->lifecycle == LIFECYCLE_READY;
        if (candidate && (int)i != s->target && v->keys[i].number != 0 &&
            v->keys[i].standing == STANDING_PASSIVE)
            retire_now(v, r, v->keys[i].number);
    }
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

/* It was tried in vain: that is what a person has to know. */
static void describe_trouble(struct pass *s)
{
    enum engine_phase phase = s->v->change_hopeless ? ENGINE_BLOCKED : s->p->phase;
    s->described = false;
    pass_describe(s, phase, "%s", s->v->change_trouble);
}

static void describe_slow(struct pass *s)
{
    s->described = false;
    pass_describe(s, ENGINE_BLOCKED,
                  "nothing is changed on readings of the realm that are older than a few seconds, "
                  "and Keycloak takes longer than that to answer: look at its load and its log");
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
    if (known && v->change_trouble != NULL)
        describe_trouble(s);
    else if (known && v->slow)
        describe_slow(s);
    bool later = known && v->change_retry_s > v->now_s;
    pass_next(s, change_kind_name(want.kind), later ? v->change_retry_s : want.at_s);
    if (!known || !v->recorded || !v->fresh || !allowed || later)
        return ACT;
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
    const char *means; /* when it applies */
};

static const struct check checks[] = {
    {"Suspended", check_suspended, "spec.suspend is true"},
    {"RealmOwnedByOther", check_owned_by_other, "an older KeyRotation writes to this realm"},
    {"RealmClaimed", check_claimed, "the realm has a component of another KeyRotation"},
    {"Unreadable", check_unreadable, "no good and complete reading of the realm"},
    {"AlgorithmChanged", check_misplaced,
     "the next key is of another algorithm than spec.key says"},
    {"Aborting", check_aborting, "a rotation is called off"},
    {"KeyLost", check_lost, "somebody deleted the next key"},
    {"Creating", check_uncreated, "the next key is not there yet"},
    {"NextKeyDisabled", check_target_disabled, "somebody disabled the next key"},
    {"Publishing", check_unserved, "the next key is not served and given out yet"},
    {"Proving", check_unproven, "not every consumer has loaded the next key"},
    {"PublishOverlap", check_overlapping_before, "overlap.publish runs"},
    {"AwaitingApproval", check_unapproved, "nobody has approved the promotion yet"},
    {"AwaitingWindow", check_window_shut, "the maintenance window is shut"},
    {"Confirming", check_unconfirmed, "no fresh token has shown the new signer yet"},
    {"Finishing", check_unfinished, "the new key signs; others are made passive"},
    {"Promoting", check_promotable, "the next key may sign"},
    {"Disabling", check_retiring, "a retiring key leaves consumers and realm"},
    {"Deleting", check_deletable, "a disabled key of ours has had its grace"},
    {"Overlap", check_retired, "tokens of an old key may matter, or it waits for a person"},
    {"SignerChanged", check_signer_changed, "another key signs than the one promoted last"},
    {"ScheduleDue", check_due, "the schedule wants a rotation"},
    {"StandbyMissing", check_standby_missing, "a standby is wanted"},
    {"Steady", check_steady, "nothing else applied"},
};

const char *engine_check_name(size_t i)
{
    return i < ARRAY_LEN(checks) ? checks[i].name : NULL;
}

const char *engine_check_means(size_t i)
{
    return i < ARRAY_LEN(checks) ? checks[i].means : NULL;
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

/* Keys whose tokens may still be valid, and that Keycloak gives no more. */
static void find_missed(struct pass *s)
{
    if (s->v->gone_kid != NULL)
        pass_find(s, "KeyDeletedExternally",
                  "somebody deleted key %s in Keycloak while its tokens may still be valid: "
                  "Keycloak refuses them now, and consumers do when the key has left them. It "
                  "cannot be brought back; who holds such a token has to log in again",
                  s->v->gone_kid);
    for (size_t i = 0; i < s->v->keys_count; i++)
        if (s->v->keys[i].standing == STANDING_DISABLED &&
            s->p->keys[i].lifecycle == LIFECYCLE_RETIRED)
            pass_find(s, "KeyDisabledExternally",
                      "somebody disabled key %s in Keycloak while its tokens may still be valid: "
                      "Keycloak refuses them now, and consumers do when the key has left them. "
                      "Enable it again (admin console: Realm settings, Keys, Providers), or let "
                      "it go",
                      s->v->keys[i].kid);
}

/* What comes next where no check has named it. */
static const char *awaited_step(const struct rotation_record *r)
{
    if (pass_is_idle(r))
        return "Rotate";
    if (r->aborting)
        return "Disable";
    if (r->promoted_s != 0)
        return "Demote";
    return r->kid != NULL ? "Promote" : "Create";
}

void engine_decide(const struct engine_view *view, struct engine_plan *plan)
{
    struct pass s = {.v = view, .p = plan, .target = -1, .signer = -1};
    start(&s);
    size_t i = 0;
    bool may_look = !view->suspended && view->owner == NULL && view->readable;
    if (!may_look && (view->unvouched != NULL || (!view->suspended && view->owner != NULL)))
        pass_listen(&s); /* it refuses */
    if (may_look) {
        plan->intent = (struct change){0};
        observe(&s);
        recover(&s);
        pass_find_target(&s);
        pass_listen(&s);
        retire_orphans(&s);
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
    if (may_look)
        find_missed(&s);
    pass_next(&s, plan->phase == ENGINE_STEADY ? "Rotate" : awaited_step(&plan->record), INT64_MAX);
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
