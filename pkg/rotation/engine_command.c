/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "rotation/engine_pass.h"

/* ---- what people command ---- */

static const char *rotate_refusal(const struct pass *s, const struct operation *o)
{
    const struct rotation_record *r = &s->p->record;
    uint64_t due = pass_is_standby(r) ? r->number : r->number + 1;
    if (!pass_is_idle(r) && !pass_is_standby(r))
        return "a rotation is under way; promote, roll back or abort it first";
    return o->number == due ? NULL : "it names another rotation than the next one";
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
        return "its key signs already";
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
        return "its key may have signed already; it can only be retired";
    return NULL;
}

static const char *refusal(const struct pass *s, const struct operation *o)
{
    switch (o->kind) {
    case OPERATION_ROTATE: return rotate_refusal(s, o);
    case OPERATION_PROMOTE: return promote_refusal(s, o);
    case OPERATION_RETIRE: return retire_refusal(s, o);
    case OPERATION_ROLLBACK: return rollback_refusal(s, o);
    case OPERATION_ABORT: return abort_refusal(s, o);
    case OPERATION_NONE: break;
    }
    return "there is no such operation: write rotate, promote, retire, rollback or abort";
}

static void roll_back(struct pass *s, const struct operation *o)
{
    struct rotation_record *r = &s->p->record;
    const char *back_to = r->from;
    *r = (struct rotation_record){.number = r->number,
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
    case OPERATION_NONE: return;
    }
}

static bool same_operation(const struct operation *a, const struct operation *b)
{
    return a->kind == b->kind && a->number == b->number && text_eq(a->kid, b->kid) &&
           text_eq(a->by, b->by);
}

/* Recorded with its effect in one write; taken off once that is acknowledged. One that a tool puts
 * back later meets its own record, or a number that is not current. */
void pass_listen(struct pass *s)
{
    const struct engine_view *v = s->v;
    s->p->taken = v->taken;
    if (v->operation.kind == OPERATION_NONE && v->operation.number == 0)
        return;
    if (!v->recorded)
        return;
    if (same_operation(&v->operation, &v->taken)) {
        s->p->clear_operation = true;
        return;
    }
    s->p->taken = v->operation;
    s->p->taken.at_s = v->now_s;
    s->p->taken.refused = refusal(s, &v->operation);
    if (s->p->taken.refused == NULL) {
        obey(s, &v->operation);
        s->target = -1;
        pass_find_target(s);
    }
}
