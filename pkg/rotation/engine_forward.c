/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "rotation/engine_pass.h"

/* ---- checks: may anything be done ---- */

enum verdict check_suspended(struct pass *s)
{
    if (!s->v->suspended)
        return NO;
    pass_describe(s, ENGINE_BLOCKED, "spec.suspend is true: nothing is written");
    (void)snprintf(s->p->command, sizeof(s->p->command),
                   "kubectl patch keyrotation %s -n %s --type=merge -p "
                   "'{\"spec\":{\"suspend\":false}}'",
                   s->v->name, s->v->namespace);
    return STOP;
}

enum verdict check_owned_by_other(struct pass *s)
{
    if (s->v->owner == NULL)
        return NO;
    pass_describe(
        s, ENGINE_BLOCKED,
        "KeyRotation %s is older and writes to this realm; this one only follows it. Take "
        "spec.key out of one of them",
        s->v->owner);
    pass_find(s, "RealmOwnedByOther", "%s", s->p->message);
    return STOP;
}

enum verdict check_claimed(struct pass *s)
{
    if (s->v->foreign_claim == NULL || s->v->policy.take_over)
        return NO;
    pass_describe(
        s, ENGINE_BLOCKED,
        "the realm has the component %s of another KeyRotation, perhaps of another cluster. "
        "When that one is gone for good, set spec.key.takeOver: true here",
        s->v->foreign_claim);
    pass_find(s, "RealmOwnedByOther", "%s", s->p->message);
    return STOP;
}

enum verdict check_unreadable(struct pass *s)
{
    if (s->v->readable)
        return NO;
    pass_describe(s, ENGINE_BLOCKED, "waiting for a good reading of the realm: %s",
                  s->v->unreadable_why != NULL ? s->v->unreadable_why : "none yet");
    return STOP;
}

/* Its key would be taken for deleted, and made again. */
enum verdict check_misplaced(struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    if (!s->v->misplaced || pass_is_idle(r) || s->target >= 0)
        return NO;
    s->p->intent = s->v->intent;
    pass_describe(s, ENGINE_BLOCKED,
                  "the key of rotation %" PRIu64 " is of another algorithm than spec.key.algorithm "
                  "says now: write the former one until the rotation has ended",
                  r->number);
    pass_find(s, "AlgorithmChanged", "%s", s->p->message);
    return STOP;
}

/* ---- checks: an abort ---- */

enum verdict check_aborting(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    if (!r->aborting || pass_is_idle(r))
        return NO;
    const struct engine_key *k = pass_key(s, s->target);
    pass_describe(s, ENGINE_RETIRING, "rotation %" PRIu64 " is aborted: its key is being removed",
                  r->number);
    if (k == NULL) {
        pass_end(s, "Aborted");
        return ACT;
    }
    struct key_record *kr = pass_record(s, s->target);
    if (k->standing == STANDING_DISABLED)
        return pass_change_key(s, CHANGE_DELETE, s->target);
    if (k->standing == STANDING_ACTIVE || kr->active_s != 0) { /* it leaves like any other then */
        pass_find(s, "KeyPromotedExternally",
                  "somebody let key %s sign while rotation %" PRIu64 " was called off", k->kid,
                  r->number);
        pass_end(s, "Aborted");
        return ACT;
    }
    if (kr->lifecycle != LIFECYCLE_RETIRING) {
        kr->lifecycle = LIFECYCLE_RETIRING;
        return ACT;
    }
    if (!s->v->proven) {
        pass_next(s, "Disable", INT64_MAX);
        return STOP;
    }
    return pass_change_key(s, CHANGE_DISABLE, s->target);
}

/* ---- checks: a rotation ---- */

enum verdict check_lost(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    if (pass_is_idle(r) || s->target >= 0 || r->kid == NULL)
        return NO;
    pass_find(s, "KeyDeletedExternally",
              "somebody deleted key %s of rotation %" PRIu64 " in Keycloak%s", r->kid, r->number,
              r->promoted_s != 0 ? "" : "; it is made anew");
    if (r->promoted_s == 0 && r->reason != REASON_ROLLBACK) {
        r->kid = NULL;
        r->standby_s = 0;
        pass_describe(s, ENGINE_PUBLISHING, "%s", s->p->finding_text);
        return ACT;
    }
    pass_describe(s, ENGINE_BLOCKED, "%s", s->p->finding_text);
    pass_end(s, "KeyLost");
    return ACT;
}

enum verdict check_uncreated(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    if (pass_is_idle(r) || r->reason == REASON_ROLLBACK)
        return NO;
    if (s->target >= 0) {
        r->kid = s->v->keys[s->target].kid;
        return NO;
    }
    pass_describe(s, ENGINE_PUBLISHING, "making key %" PRIu64 " in Keycloak, not signing yet",
                  r->number);
    int64_t priority = s->signer >= 0 ? s->v->keys[s->signer].priority : 100;
    return pass_intend(
        s, (struct change){.kind = CHANGE_CREATE, .number = r->number, .priority = priority}, true);
}

/* How a person leaves a rotation whose key cannot sign. */
static enum operation_kind way_out_kind(const struct rotation_record *r)
{
    if (r->reason == REASON_ROLLBACK)
        return OPERATION_ROTATE;
    return r->promoted_s != 0 ? OPERATION_ROLLBACK : OPERATION_ABORT;
}

static const char *way_out(const struct rotation_record *r)
{
    enum operation_kind kind = way_out_kind(r);
    return kind == OPERATION_ROTATE  ? "rotate to go forward"
           : kind == OPERATION_ABORT ? "abort"
                                     : "roll back";
}

static void offer_way_out(struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    enum operation_kind kind = way_out_kind(r);
    pass_command(s, kind, kind == OPERATION_ROTATE ? r->number + 1 : r->number, NULL);
}

enum verdict check_target_disabled(struct pass *s)
{
    const struct engine_key *k = pass_key(s, s->target);
    if (k == NULL || k->standing != STANDING_DISABLED)
        return NO;
    pass_describe(
        s, ENGINE_BLOCKED,
        "somebody disabled key %s, which is to sign; enable it again (admin console: Realm "
        "settings, Keys, Providers), or %s",
        k->kid, way_out(&s->p->record));
    pass_find(s, "KeyDisabledExternally", "%s", s->p->message);
    offer_way_out(s);
    return STOP;
}

/* Somebody else let it sign: what we would have waited for is over. */
static void note_outside_promotion(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    const struct engine_key *k = pass_key(s, s->target);
    if (k == NULL || k->standing != STANDING_ACTIVE || r->promoted_s != 0)
        return;
    r->promoted_s = s->v->now_s;
    if (r->requested_s == 0)
        r->requested_s = s->v->now_s;
    if (k->signs)
        pass_find(s, "KeyPromotedExternally",
                  "somebody let key %s sign before rotation %" PRIu64 " did%s", k->kid, r->number,
                  s->v->proven ? "" : "; not every consumer trusts it yet");
}

enum verdict check_unserved(struct pass *s)
{
    const struct engine_key *k = pass_key(s, s->target);
    if (k == NULL)
        return NO;
    struct key_record *kr = pass_record(s, s->target);
    note_outside_promotion(s);
    if (k->served && k->trusted) {
        if (kr->published_s == 0)
            kr->published_s = s->v->now_s;
        if (kr->lifecycle == LIFECYCLE_GENERATED)
            kr->lifecycle = LIFECYCLE_PUBLISHED;
        return NO;
    }
    pass_describe(s, ENGINE_PUBLISHING, "waiting until the realm's JWKS serves key %s", k->kid);
    pass_next(s, "Publish", INT64_MAX);
    return WAIT;
}

enum verdict check_unproven(struct pass *s)
{
    const struct engine_key *k = pass_key(s, s->target);
    if (k == NULL || k->signs || s->v->proven)
        return NO;
    pass_describe(s, ENGINE_PUBLISHING, "key %s is published; waiting for proof from %s", k->kid,
                  s->v->unproven != NULL ? s->v->unproven : "every consumer");
    pass_next(s, "Ready", s->v->proven_at_s);
    return WAIT;
}

enum verdict check_overlapping_before(struct pass *s)
{
    const struct engine_key *k = pass_key(s, s->target);
    if (k == NULL || s->p->record.promoted_s != 0 || s->p->record.reason == REASON_ROLLBACK)
        return NO;
    struct key_record *kr = pass_record(s, s->target);
    if (kr->published_s == 0 || !s->v->proven)
        return NO; /* said already */
    int64_t due_s = kr->published_s + s->v->policy.publish_s;
    if (s->v->now_s < due_s) {
        pass_describe(
            s, ENGINE_PUBLISHING,
            "every consumer trusts key %s; overlap.publish runs for verifiers we do not know",
            k->kid);
        pass_next(s, "Ready", due_s);
        return WAIT;
    }
    if (kr->lifecycle != LIFECYCLE_READY) {
        kr->lifecycle = LIFECYCLE_READY;
        kr->ready_s = s->v->now_s;
    }
    if (pass_is_standby(&s->p->record) && s->p->record.standby_s == 0)
        s->p->record.standby_s = s->v->now_s;
    return NO;
}

static bool is_ready(struct pass *s)
{
    return s->target >= 0 && s->v->proven && s->v->keys[s->target].trusted &&
           s->v->keys[s->target].served &&
           (pass_record(s, s->target)->lifecycle == LIFECYCLE_READY ||
            s->p->record.promoted_s != 0 || s->p->record.reason == REASON_ROLLBACK);
}

enum verdict check_unapproved(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    if (!pass_is_forward(r) || !is_ready(s) || r->promoted_s != 0 || r->approved_s != 0 ||
        !s->v->policy.promote_manual)
        return NO;
    pass_describe(s, ENGINE_AWAITING_PROMOTION,
                  "every consumer trusts key %s; it signs when somebody approves it", r->kid);
    pass_command(s, OPERATION_PROMOTE, r->number, NULL);
    pass_next(s, "Promote", INT64_MAX);
    return WAIT;
}

static bool may_promote(const struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    return r->promoted_s != 0 || r->approved_s != 0 || !s->v->policy.promote_manual;
}

/* Whoever asks for a rotation by name has chosen the hour. */
static bool is_window_open(const struct pass *s)
{
    return s->p->record.reason != REASON_SCHEDULE ||
           (s->v->window_open && s->v->window_trouble == NULL);
}

enum verdict check_window_shut(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    bool waits =
        pass_is_forward(r) && is_ready(s) && may_promote(s) && !s->v->keys[s->target].signs;
    if (!waits || is_window_open(s))
        return NO;
    if (s->v->window_trouble != NULL) {
        pass_describe(s, ENGINE_BLOCKED, "%s", s->v->window_trouble);
        return WAIT;
    }
    pass_describe(s, ENGINE_AWAITING_PROMOTION, "key %s signs when the maintenance window opens",
                  r->kid);
    pass_next(s, "Promote", s->v->window_opens_s);
    return WAIT;
}

static const char *signing_kid(const struct pass *s)
{
    return s->signer >= 0 ? s->v->keys[s->signer].kid : NULL;
}

static int64_t highest_priority(const struct engine_view *v)
{
    int64_t most = 0;
    for (size_t i = 0; i < v->keys_count; i++)
        if (v->keys[i].standing != STANDING_DISABLED && v->keys[i].priority > most)
            most = v->keys[i].priority;
    return most;
}

/* The key that this rotation replaces may have stopped signing before it came to that: its
 * certificate expired, or somebody made it passive. */
static void claim_replaced(struct pass *s)
{
    int i = pass_find_kid(s->v, s->p->record.from);
    if (i >= 0 && i != s->target && s->p->keys[i].lifecycle == LIFECYCLE_RETIRED &&
        s->p->keys[i].retired_by == 0)
        s->p->keys[i].retired_by = s->p->record.number;
}

enum verdict check_promotable(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    const struct engine_key *k = pass_key(s, s->target);
    if (!pass_is_forward(r) || !is_ready(s) || k->signs || !may_promote(s) || !is_window_open(s))
        return NO;
    if (k->wrapper_expired) {
        pass_describe(
            s, ENGINE_BLOCKED,
            "the certificate of key %s has expired, and Keycloak lets no such key sign; give "
            "its component a new certificate, or %s",
            k->kid, way_out(r));
        offer_way_out(s);
        return WAIT;
    }
    int64_t most = highest_priority(s->v);
    if (most >= s->v->policy.priority_max) {
        pass_describe(s, ENGINE_BLOCKED,
                      "a key of the realm has priority %" PRId64
                      ", and nothing may be put above it; "
                      "lower it (admin console: Realm settings, Keys, Providers)",
                      most);
        pass_find(s, "PriorityTooHigh", "%s", s->p->message);
        return WAIT;
    }
    pass_describe(s, ENGINE_PROMOTING, "key %s is told to sign", k->kid);
    enum verdict done =
        pass_intend(s, (struct change){.kind = CHANGE_PROMOTE, .kid = k->kid, .priority = most + 1},
                    s->v->verified);
    if (r->promoted_s == 0) {
        claim_replaced(s); /* another may sign by now */
        r->promoted_s = s->v->now_s;
        r->from = signing_kid(s);
    }
    struct key_record *kr = pass_record(s, s->target);
    if (kr->active_s == 0)
        kr->active_s = s->v->now_s;
    return done;
}

enum verdict check_unconfirmed(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    const struct engine_key *k = pass_key(s, s->target);
    if (pass_is_idle(r) || k == NULL || !k->signs || r->promoted_s == 0 || r->confirmed_s != 0)
        return NO;
    pass_describe(s, ENGINE_PROMOTING,
                  "Keycloak says that key %s signs; waiting for a token that shows "
                  "it",
                  k->kid);
    if (s->v->minted_kid != NULL &&
        (s->v->minted_other_algorithm || text_eq(s->v->minted_kid, k->kid))) {
        r->confirmed_s = s->v->now_s;
        return ACT;
    }
    s->p->mint = true;
    pass_next(s, "Demote", INT64_MAX);
    return STOP;
}

static int other_active(const struct pass *s)
{
    for (size_t i = 0; i < s->v->keys_count; i++)
        if ((int)i != s->target && s->v->keys[i].standing == STANDING_ACTIVE)
            return (int)i;
    return -1;
}

enum verdict check_unfinished(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    const struct engine_key *k = pass_key(s, s->target);
    if (pass_is_idle(r) || k == NULL || !k->signs || r->confirmed_s == 0)
        return NO;
    int other = other_active(s);
    if (other < 0) {
        claim_replaced(s);
        pass_next(s, "Retire", INT64_MAX);
        pass_end(s, r->reason == REASON_ROLLBACK ? "RolledBack" : "Promoted");
        pass_describe(s, ENGINE_OVERLAP, "rotation %" PRIu64 ": key %s signs", r->number, k->kid);
        return ACT;
    }
    pass_describe(s, ENGINE_PROMOTING, "key %s signs; key %s is made passive", k->kid,
                  s->v->keys[other].kid);
    return pass_change_key(s, CHANGE_DEMOTE, other);
}
/* ---- checks: something to begin ---- */

static void begin(struct pass *s, enum rotation_reason reason)
{
    struct rotation_record *r = &s->p->record;
    uint64_t number = r->number > s->v->highest_number ? r->number : s->v->highest_number;
    bool asked = reason != REASON_STANDBY;
    *r = (struct rotation_record){.aborted_s = r->aborted_s,
                                  .number = number + 1,
                                  .reason = reason,
                                  .from = signing_kid(s),
                                  .started_s = s->v->now_s,
                                  .requested_s = asked ? s->v->now_s : 0};
}

void pass_request(struct pass *s, enum rotation_reason reason)
{
    struct rotation_record *r = &s->p->record;
    if (pass_is_idle(r) || r->reason == REASON_ROLLBACK)
        begin(s, reason);
    r->reason = reason;
    r->from = signing_kid(s);
    r->requested_s = s->v->now_s;
}

/* Counted from when the key began to sign: the last time, where it was rolled back to; and from an
 * abort. */
int64_t engine_rotates_s(const struct engine_view *v, const struct rotation_record *r,
                         const struct key_record *record, int signer)
{
    int64_t since_s = record->active_s;
    if (text_eq(r->kid, v->keys[signer].kid) && r->promoted_s > since_s)
        since_s = r->promoted_s;
    if (r->aborted_s > since_s) /* who calls a rotation off does not want the next one at once */
        since_s = r->aborted_s;
    return since_s + v->policy.every_s;
}

enum verdict check_due(struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    if (s->v->policy.every_s == 0 || s->signer < 0 || (!pass_is_idle(r) && !pass_is_standby(r)))
        return NO;
    int64_t due_s = engine_rotates_s(s->v, r, &s->p->keys[s->signer], s->signer);
    if (s->v->now_s < due_s) {
        pass_next(s, "Rotate", due_s);
        return NO;
    }
    pass_request(s, REASON_SCHEDULE);
    pass_describe(s, ENGINE_PUBLISHING, "rotation %" PRIu64 " begins: the schedule says so",
                  r->number);
    return ACT;
}

enum verdict check_standby_missing(struct pass *s)
{
    if (!s->v->policy.standby || !pass_is_idle(&s->p->record))
        return NO;
    begin(s, REASON_STANDBY);
    pass_describe(s, ENGINE_PUBLISHING, "a standby key is made");
    return ACT;
}

/* Somebody else changed the signer while a key was being prepared. */
static bool is_overtaken(const struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    return !pass_is_idle(r) && r->promoted_s == 0 && r->from != NULL && s->signer >= 0 &&
           s->signer != s->target && !text_eq(signing_kid(s), r->from);
}

static void note_reactivated(struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    int i = pass_find_kid(s->v, r->from);
    if (i >= 0 && i != s->signer && s->v->keys[i].standing == STANDING_ACTIVE)
        pass_find(s, "KeyActivatedExternally",
                  "somebody made key %s active again, which rotation %" PRIu64 " replaced; it "
                  "would sign if key %s fell away. Make it passive (admin console: Realm "
                  "settings, Keys, Providers), or rotate",
                  r->from, r->number, r->kid);
}

/* The key we promoted last should sign, as long as nobody decides otherwise. */
enum verdict check_signer_changed(struct pass *s)
{
    const struct rotation_record *r = &s->p->record;
    if (s->signer < 0 && (pass_is_idle(r) || pass_is_standby(r))) {
        pass_find(s, "NoSigningKey",
                  "no key of spec.key.algorithm signs in this realm: a rotation makes one, or the "
                  "algorithm is to be another");
        pass_describe(s, ENGINE_STEADY, "%s", s->p->finding_text);
        pass_command(s, OPERATION_ROTATE, pass_due_number(r), NULL);
        return WAIT;
    }
    if (is_overtaken(s)) {
        bool gone = pass_find_kid(s->v, r->from) < 0;
        pass_find(s, gone ? "KeyDeletedExternally" : "SignerChanged",
                  "key %s signed when rotation %" PRIu64 " began, but now key %s does: somebody "
                  "%s in Keycloak, or the server lost writes. The rotation goes on from there; "
                  "abort it if that key is to stay",
                  r->from, r->number, signing_kid(s), gone ? "deleted it" : "changed it");
        return NO;
    }
    if (r->done_s == 0 || r->confirmed_s == 0 || r->kid == NULL || s->signer < 0 || s->v->misplaced)
        return NO;
    if (text_eq(signing_kid(s), r->kid)) {
        note_reactivated(s);
        return NO;
    }
    pass_find(s, "SignerChanged",
              "rotation %" PRIu64 " made key %s sign, but now key %s does: somebody changed it in "
              "Keycloak, or the server lost writes. Rotate to go on from there",
              r->number, r->kid, s->v->keys[s->signer].kid);
    pass_command(s, OPERATION_ROTATE, r->number + 1, NULL);
    return WAIT;
}

enum verdict check_steady(struct pass *s)
{
    if (s->p->record.standby_s != 0 && pass_is_standby(&s->p->record))
        pass_describe(s, ENGINE_STEADY, "key %s is ready as standby", s->p->record.kid);
    else if (pass_is_standby(&s->p->record))
        pass_describe(s, ENGINE_PUBLISHING, "a standby key is being prepared");
    else
        pass_describe(s, ENGINE_STEADY, "nothing to do");
    if (s->p->phase == ENGINE_STEADY) /* for whom the schedule is too late, or who has none */
        pass_command(s, OPERATION_ROTATE, pass_due_number(&s->p->record), NULL);
    return STOP;
}
