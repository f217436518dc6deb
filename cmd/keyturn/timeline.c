/* SPDX-License-Identifier: Apache-2.0 */
#include "timeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/date.h"
#include "base/str.h"

#define PASSES_MAX 50 /* at one time: a pass writes one thing, a rotation some ten */
#define STEPS_MAX 500 /* times at which something comes; a rotation has some twenty */
#define ROLLBACK_AFTER_S 3600

/* ---- steps ---- */

static bool waits_for_person(const struct engine_plan *plan)
{
    return plan->command[0] != '\0' &&
           (plan->phase == ENGINE_AWAITING_PROMOTION || plan->phase == ENGINE_AWAITING_RETIREMENT);
}

static const char *waits_for(const struct rehearsal *r)
{
    const struct engine_plan *plan = &r->plan;
    if (waits_for_person(plan) || r->suspended)
        return "a person";
    if (plan->change.kind != CHANGE_NONE)
        return NULL;
    if (text_eq(plan->check, "AwaitingWindow"))
        return "the maintenance window";
    if (plan->next_at_s > r->now_s && plan->next_at_s != INT64_MAX)
        return "time";
    return plan->phase != ENGINE_STEADY && r->now_s < r->changed_s + r->load_s
               ? "proof from the consumers"
               : NULL;
}

static void emit_plan(struct timeline *t)
{
    const struct engine_plan *plan = &t->r.plan;
    bool is_new = plan->message[0] != '\0' && strcmp(plan->message, t->said) != 0;
    bool changes = plan->change.kind != CHANGE_NONE;
    /* What could be begun is no part of it. */
    bool is_steady = text_eq(plan->check, "Steady") && plan->finding == NULL;
    char made[32];
    if (!is_new && !changes)
        return;
    (void)snprintf(made, sizeof(made), "key-%" PRIu64, plan->change.number);
    (void)snprintf(t->said, sizeof(t->said), "%s", plan->message);
    t->on_step(t->ctx, &(struct timeline_step){
                           .at_s = t->r.now_s,
                           .after_s = t->r.now_s - t->start_s,
                           .phase = engine_phase_name(plan->phase),
                           .check = plan->check,
                           .message = plan->message,
                           .is_new = is_new,
                           .change = changes ? &plan->change : NULL,
                           .key = plan->change.kind == CHANGE_CREATE ? made : plan->change.kid,
                           .waits_for = waits_for(&t->r),
                           .next_step = plan->next_step,
                           .next_at_s = plan->next_at_s,
                           .command = is_steady || plan->command[0] == '\0' ? NULL : plan->command,
                       });
}

static void emit_person(struct timeline *t, const char *message, const char *command)
{
    t->on_step(t->ctx, &(struct timeline_step){.at_s = t->r.now_s,
                                               .after_s = t->r.now_s - t->start_s,
                                               .phase = engine_phase_name(t->r.plan.phase),
                                               .message = message,
                                               .is_new = true,
                                               .next_at_s = INT64_MAX,
                                               .command = command});
}

static void emit_refusal(struct timeline *t)
{
    char message[ENGINE_TEXT_MAX];
    const char *refused = t->r.taken.refused;
    if (refused != NULL && refused != t->refused) {
        (void)snprintf(message, sizeof(message), "is refused: %s", refused);
        emit_person(t, message, NULL);
    }
    t->refused = refused;
}

static void settle(struct timeline *t)
{
    for (unsigned i = 0; i < PASSES_MAX; i++) {
        bool wrote = rehearsal_pass(&t->r);
        if (t->r.plan.ended != NULL) {
            t->ended++;
            t->played = t->r.record.number;
        }
        emit_refusal(t);
        emit_plan(t);
        if (!wrote)
            return;
    }
}

static void advance(struct timeline *t, int64_t to_s)
{
    if (t->on_wait != NULL)
        t->on_wait(t->ctx, to_s - t->r.now_s);
    t->r.now_s = to_s;
    settle(t);
}

/* ---- what people say ---- */

static void say(struct timeline *t, enum operation_kind kind, uint64_t number, const char *kid,
                const char *by)
{
    char message[REHEARSAL_KID_MAX + 128], command[ENGINE_COMMAND_MAX];
    const struct operation said = {.kind = kind, .number = number, .kid = kid, .by = by};
    (void)snprintf(message, sizeof(message), "%s says: %s %" PRIu64 "%s%s", by,
                   operation_kind_name(kind), number, kid != NULL ? "/" : "",
                   kid != NULL ? kid : "");
    operation_line(t->r.namespace, t->r.name, &said, command);
    emit_person(t, message, command);
    t->r.operation = said;
    settle(t);
}

/* What the rotation waits for a person to say; false when it waits for nobody, or in vain. */
static bool answer(struct timeline *t)
{
    const struct operation wanted = t->r.plan.wanted;
    if (t->r.suspended) {
        t->r.suspended = false;
        emit_person(t, "somebody ends the suspension", t->r.plan.command);
        settle(t);
        return true;
    }
    if (!waits_for_person(&t->r.plan))
        return false;
    say(t, wanted.kind, wanted.number, wanted.kid, t->approves);
    return t->r.taken.refused == NULL;
}

/* A rotation after the one that was played is under way: more than its standby. */
static bool has_begun_another(const struct timeline *t)
{
    const struct rotation_record *r = &t->r.record;
    return t->ended > 0 && r->number > t->played && r->requested_s != 0;
}

/* Without a schedule, or a key that signs, nothing begins until somebody asks; true when it did. */
static bool ask(struct timeline *t)
{
    const struct rotation_record *r = &t->r.record;
    bool is_idle = r->number == 0 || r->done_s != 0;
    bool standby = !is_idle && r->requested_s == 0 && !r->aborting;
    if (t->asked || t->ended > 0 || (!is_idle && !standby) || timeline_next_rotation_s(t) != 0 ||
        t->r.plan.phase != ENGINE_STEADY)
        return false;
    t->asked = true;
    say(t, OPERATION_ROTATE, t->r.record.number + (is_idle ? 1 : 0), NULL, t->asks);
    return true;
}

/* ---- playing ---- */

int64_t timeline_next_rotation_s(const struct timeline *t)
{
    const struct rotation_record *r = &t->r.record;
    if (has_begun_another(t))
        return r->requested_s;
    bool known = t->r.plan.next_at_s != INT64_MAX;
    return known && text_eq(t->r.plan.next_step, "Rotate") ? t->r.plan.next_at_s : 0;
}

/* Whether what comes next belongs to a rotation after the one that was played. */
static bool is_over(const struct timeline *t, int64_t due_s)
{
    int64_t next_s = timeline_next_rotation_s(t);
    return t->ended > 0 && next_s != 0 && due_s >= next_s;
}

static bool rolls_back_now(const struct timeline *t)
{
    return t->rolls_back && t->r.record.done_s != 0 && t->r.record.confirmed_s != 0;
}

bool timeline_play(struct timeline *t)
{
    t->start_s = t->r.now_s;
    t->refused = t->r.taken.refused;
    settle(t);
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        int64_t due_s = rehearsal_due_s(&t->r);
        if (rolls_back_now(t)) {
            t->rolls_back = false;
            advance(t, t->r.now_s + ROLLBACK_AFTER_S);
            say(t, OPERATION_ROLLBACK, t->r.record.number, NULL, t->asks);
        } else if (waits_for_person(&t->r.plan) || t->r.suspended) {
            if (!answer(t))
                return false;
        } else if (is_over(t, due_s)) {
            return true;
        } else if (due_s != INT64_MAX) {
            advance(t, due_s);
        } else if (!ask(t)) {
            return t->r.plan.phase == ENGINE_STEADY;
        }
    }
    return false;
}

/* ---- printing ---- */

void timeline_date(const struct zone *zone, int64_t at_s, struct buf *out)
{
    char text[DATE_TEXT_MAX];
    int32_t offset_s = zone_offset(zone, at_s);
    date_rfc3339(at_s + offset_s, text);
    if (offset_s != 0)
        text[strlen(text) - 1] = '\0'; /* the Z */
    buf_append_text(out, text);
    if (offset_s != 0)
        buf_appendf(out, "%c%02d:%02d", offset_s < 0 ? '-' : '+', abs(offset_s) / 3600,
                    abs(offset_s) / 60 % 60);
}

static void print_line(const struct timeline *t, const struct timeline_step *step, const char *what,
                       const char *text)
{
    char after[DATE_TEXT_MAX];
    struct buf cleanup_buf date = {0};
    date_duration_words(step->after_s, after);
    timeline_date(t->zone, step->at_s, &date);
    printf("%10s  %-25s  %-18s  %s\n", step->after_s == 0 ? "0s" : after, buf_text(&date), what,
           text);
}

void timeline_print_head(void)
{
    printf("%10s  %-25s  %-18s  %s\n", "after", "at the earliest", "phase", "what");
}

void timeline_print(const struct timeline *t, const struct timeline_step *step)
{
    struct buf cleanup_buf text = {0};
    if (step->change != NULL) {
        buf_appendf(&text, "%s %s", change_kind_name(step->change->kind), step->key);
        print_line(t, step, "  to Keycloak", buf_text(&text));
    }
    if (!step->is_new)
        return;
    buf_clear(&text);
    buf_append_text(&text, step->message);
    if (step->next_step != NULL && step->next_at_s > step->at_s && step->next_at_s != INT64_MAX) {
        buf_appendf(&text, " (%s: ", step->next_step);
        timeline_date(t->zone, step->next_at_s, &text);
        buf_append_char(&text, ')');
    }
    print_line(t, step, step->check != NULL ? step->phase : "  a person", buf_text(&text));
    bool said_next = text_eq(step->waits_for, "a person"); /* the line of who says it has it */
    if (t->commands && step->command != NULL && !said_next)
        printf("%39s%s\n", "", step->command);
}

void timeline_print_end(struct timeline *t)
{
    const struct rehearsal_key *signer = rehearsal_signer(&t->r);
    const struct timeline_step end = {.at_s = t->r.now_s, .after_s = t->r.now_s - t->start_s};
    struct buf cleanup_buf text = {0};
    buf_appendf(&text, "key %s signs; %" PRIu64 " writes to Keycloak",
                signer != NULL ? signer->kid : "(none)", t->r.writes);
    print_line(t, &end, "end", buf_text(&text));
}
