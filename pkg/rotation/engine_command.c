/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "rotation/engine_pass.h"

/* ---- what people command ---- */

/* Back to a key that cannot sign, while the one that does goes on. */
static bool is_stuck_rollback(const struct pass *s)
{
    const struct engine_key *k = pass_key(s, s->target);
    return s->p->record.reason == REASON_ROLLBACK && !pass_is_idle(&s->p->record) && k != NULL &&
           !k->signs && (k->wrapper_expired || k->standing == STANDING_DISABLED);
}

static const char *rotate_refusal(const struct pass *s, const struct operation *o)
{
    const struct rotation_record *r = &s->p->record;
    if (!pass_is_idle(r) && !pass_is_standby(r) && !is_stuck_rollback(s))
        return "a rotation is under way; promote, roll back or abort it first";
    return o->number == pass_due_number(r)
               ? NULL
               : "it names another rotation than the next one; the next is one more than "
                 "status.rotation.number, or that number where its key is a standby";
}

static bool is_second_person(const struct pass *s, const struct operation *o)
{
    const struct rotation_record *r = &s->p->record;
    return !s->v->policy.two_person || r->requested_by == NULL ||
           (o->by != NULL && !text_eq(o->by, r->requested_by));
}

static const char *promote_refusal(const struct pass *s, const struct operation *o)
{
    const struct rotation_record *r = &s->p->record;
    if (!pass_is_forward(r) || o->number != r->number)
        return "no rotation of this number waits to be promoted";
    if (r->promoted_s != 0)
        return "it has been told to sign already";
    return is_second_person(s, o) ? NULL
                                  : "who asked for a rotation cannot approve it "
                                    "(spec.approval.twoPerson)";
}

/* The key that an operation means: the one named, else the one that its rotation retired. */
static int retired_key(const struct pass *s, const struct operation *o)
{
    for (size_t i = 0; i < s->v->keys_count; i++) {
        const struct key_record *r = &s->p->keys[i];
        bool named = o->kid != NULL ? text_eq(o->kid, s->v->keys[i].kid)
                                    : r->retired_by == o->number && pass_may_remove(s, i);
        if (named && r->lifecycle == LIFECYCLE_RETIRED &&
            s->v->keys[i].standing == STANDING_PASSIVE && (int)i != s->target)
            return (int)i;
    }
    return -1;
}

static const char *retire_refusal(const struct pass *s, const struct operation *o)
{
    const struct rotation_record *r = &s->p->record;
    int i = retired_key(s, o);
    if (o->number > r->number || (o->kid == NULL && o->number != r->number))
        return "it names another rotation than the last one";
    if (i < 0)
        return "no retired key is meant: name one as operation-for=NUMBER/KID that status shows "
               "as Retired";
    return is_second_person(s, o) ? NULL
                                  : "who asked for a rotation cannot approve it "
                                    "(spec.approval.twoPerson)";
}

static const char *rollback_refusal(const struct pass *s, const struct operation *o)
{
    const struct rotation_record *r = &s->p->record;
    int i = pass_find_kid(s->v, r->from);
    if (o->number != r->number || r->promoted_s == 0)
        return "no rotation of this number has been promoted; before that, abort it";
    if (r->reason == REASON_ROLLBACK)
        return "it has been rolled back already; rotate to go forward again";
    if (i < 0 || s->v->keys[i].standing == STANDING_DISABLED || !s->v->keys[i].trusted ||
        key_lifecycle_untrusted(s->p->keys[i].lifecycle))
        return "the key that signed before is not trusted any more, so its tokens would be "
               "rejected; rotate to go forward";
    if (s->v->keys[i].wrapper_expired)
        return "the certificate of the key that signed before has expired, and Keycloak lets no "
               "such key sign; give its component a new certificate before";
    return NULL;
}

static const char *abort_refusal(const struct pass *s, const struct operation *o)
{
    const struct rotation_record *r = &s->p->record;
    if (pass_is_idle(r) || o->number != r->number)
        return "no rotation of this number is under way";
    if (r->promoted_s != 0 || r->reason == REASON_ROLLBACK)
        return "its key may have signed already; roll back instead";
    if (s->target >= 0 && s->p->keys[s->target].active_s != 0)
        return "its key may have signed already, as far as is known; let it be promoted, and "
               "rotate to leave it";
    return NULL;
}

static const char *refusal(const struct pass *s, const struct operation *o)
{
    if (s->v->unvouched != NULL)
        return s->v->unvouched;
    if (s->v->owner != NULL || (s->v->foreign_claim != NULL && !s->v->policy.take_over))
        return "another KeyRotation writes to this realm";
    switch (o->kind) {
    case OPERATION_ROTATE: return rotate_refusal(s, o);
    case OPERATION_PROMOTE: return promote_refusal(s, o);
    case OPERATION_RETIRE: return retire_refusal(s, o);
    case OPERATION_ROLLBACK: return rollback_refusal(s, o);
    case OPERATION_ABORT: return abort_refusal(s, o);
    case OPERATION_NONE:
    case OPERATION_UNKNOWN: break;
    }
    return "write rotate, promote, retire, rollback or abort into keyturn.dev/operation, and "
           "NUMBER or NUMBER/KID into keyturn.dev/operation-for";
}

static void roll_back(struct pass *s, const struct operation *o)
{
    struct rotation_record *r = &s->p->record;
    const char *back_to = r->from;
    *r = (struct rotation_record){.number = r->number,
                                  .aborted_s = r->aborted_s,
                                  .reason = REASON_ROLLBACK,
                                  .kid = back_to,
                                  .from = r->kid,
                                  .started_s = s->v->now_s,
                                  .requested_s = s->v->now_s,
                                  .requested_by = o->by,
                                  .note = o->note,
                                  .promoted_s = s->v->now_s};
}

/* What was ready before anybody asked stays ready; what was made for this rotation goes. */
static void call_off(struct pass *s)
{
    struct rotation_record *r = &s->p->record;
    r->aborted_s = s->v->now_s;
    if (r->standby_s == 0 || r->requested_s == 0) {
        r->aborting = true;
        return;
    }
    r->reason = REASON_STANDBY;
    r->requested_s = r->approved_s = 0;
    r->requested_by = r->approved_by = r->note = NULL;
    s->p->ended = "Aborted";
}

static void obey(struct pass *s, const struct operation *o)
{
    struct rotation_record *r = &s->p->record;
    switch (o->kind) {
    case OPERATION_ROTATE:
        pass_request(s, REASON_REQUEST);
        r->requested_by = o->by;
        r->note = o->note;
        return;
    case OPERATION_PROMOTE:
        r->approved_s = s->v->now_s;
        r->approved_by = o->by;
        return;
    case OPERATION_RETIRE: s->p->keys[retired_key(s, o)].retire_approved = true; return;
    case OPERATION_ROLLBACK: roll_back(s, o); return;
    case OPERATION_ABORT: call_off(s); return;
    case OPERATION_NONE:
    case OPERATION_UNKNOWN: return;
    }
}

/* Recorded with its effect in one write; taken off once that is acknowledged. Until it has been
 * seen taken off, the same is no new command; one that a tool puts back later is a new one, and
 * names a number that is not current any more. */
void pass_listen(struct pass *s)
{
    const struct engine_view *v = s->v;
    s->p->taken = v->taken;
    if (v->operation.kind == OPERATION_NONE) {
        s->p->taken.cleared = v->taken.kind != OPERATION_NONE;
        return;
    }
    if (!v->recorded)
        return;
    if (operation_is_same(&v->operation, &v->taken) && !v->taken.cleared) {
        s->p->clear_operation = !v->suspended;
        return;
    }
    if (v->vouch_unknown)
        return;
    s->p->taken = v->operation;
    s->p->taken.at_s = v->now_s;
    s->p->taken.refused = refusal(s, &v->operation);
    if (s->p->taken.refused == NULL) {
        obey(s, &v->operation);
        s->target = -1;
        pass_find_target(s);
    }
}
