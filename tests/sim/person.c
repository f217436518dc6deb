/* SPDX-License-Identifier: Apache-2.0 */
#include "person.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api.h"
#include "check.h"
#include "realm.h"
#include "rotation/engine.h"

#define OUTSIDE_MS 20000

struct person {
    struct sim *sim;
    struct policy policy;
    bool rests, suspended;
    struct loop_timer act, outside;
};

/* ---- commands ---- */

static uint64_t number_of(const json_t *rotation)
{
    const json_t *record = json_object_get(json_object_get(rotation, "status"), "rotation");
    return (uint64_t)json_integer_value(json_object_get(record, "number"));
}

static void count_operation(struct sim *s, const char *operation)
{
    enum operation_kind kind;
    if (operation_kind_parse(operation, &kind))
        s->tally.operations[kind]++;
}

/* target: "NUMBER" or "NUMBER/KID". */
static void command(struct sim *s, const char *operation, const char *target, const char *by)
{
    json_t *value = api_copy(s, API_ROTATION, SIM_ROTATION);
    json_t *meta = json_object_get(value, "metadata"),
           *annotations = json_object_get(meta, "annotations");
    const char *kid = strchr(target, '/');
    if (annotations == NULL) {
        annotations = json_object();
        (void)json_object_set_new(meta, "annotations", annotations);
    }
    (void)json_object_set_new(annotations, "keyturn.dev/operation", json_string(operation));
    (void)json_object_set_new(annotations, "keyturn.dev/operation-for", json_string(target));
    (void)json_object_set_new(annotations, "keyturn.dev/operation-by", json_string(by));
    sim_say(s, "%s: %s %s", by, operation, target);
    count_operation(s, operation);
    if (kid != NULL && strcmp(operation, "retire") == 0)
        check_named(s, kid + 1);
    api_store(s, API_ROTATION, SIM_ROTATION, value);
}

static void command_number(struct sim *s, const char *operation, uint64_t number, const char *by)
{
    char target[24];
    (void)snprintf(target, sizeof(target), "%llu", (unsigned long long)number);
    command(s, operation, target, by);
}

static bool word_after(const char *text, const char *before, char *out, size_t size)
{
    const char *at = text != NULL ? strstr(text, before) : NULL;
    if (at == NULL)
        return false;
    at += strlen(before);
    (void)snprintf(out, size, "%.*s", (int)strcspn(at, " \"'"), at);
    return true;
}

static const char *condition_text(const json_t *rotation, const char *type, const char *member)
{
    size_t i;
    json_t *condition;
    json_array_foreach(json_object_get(json_object_get(rotation, "status"), "conditions"), i,
                       condition)
    {
        if (text_eq(api_text(condition, "type", NULL), type))
            return api_text(condition, member, NULL);
    }
    return NULL;
}

/* The line that status shows is typed in, where something waits for it. */
static bool follow(struct sim *s, const json_t *rotation, const char *by)
{
    if (text_eq(person_phase(s), "Steady") &&
        text_eq(condition_text(rotation, "KeysAsExpected", "status"), "True"))
        return false;
    const char *line = api_text(rotation, "status", "nextTransition", "command", NULL);
    char operation[24], target[128];
    if (!word_after(line, "keyturn.dev/operation=", operation, sizeof(operation)) ||
        !word_after(line, "keyturn.dev/operation-for=", target, sizeof(target)))
        return false;
    command(s, operation, target, by);
    return true;
}

static bool acknowledge(struct sim *s, const json_t *rotation)
{
    size_t i;
    json_t *condition;
    char word[128];
    json_array_foreach(json_object_get(json_object_get(rotation, "status"), "conditions"), i,
                       condition)
    {
        if (!word_after(api_text(condition, "message", NULL), "keyturn.dev/acknowledge=", word,
                        sizeof(word)))
            continue;
        json_t *value = api_copy(s, API_ROTATION, SIM_ROTATION);
        json_t *meta = json_object_get(value, "metadata");
        if (json_object_get(meta, "annotations") == NULL)
            (void)json_object_set_new(meta, "annotations", json_object());
        (void)json_object_set_new(json_object_get(meta, "annotations"), "keyturn.dev/acknowledge",
                                  json_string(word));
        sim_say(s, "acknowledged: %s", word);
        api_store(s, API_ROTATION, SIM_ROTATION, value);
        return true;
    }
    return false;
}

/* What nobody asked for: late, early, or for another rotation. */
static void blunder(struct sim *s, const json_t *rotation)
{
    static const char *const operations[] = {"rotate",   "promote", "retire",
                                             "rollback", "abort",   "dance"};
    uint64_t number = number_of(rotation) + sim_below(s, 3);
    command_number(s, operations[sim_below(s, ARRAY_LEN(operations))], number > 0 ? number - 1 : 0,
                   sim_chance(s, 50) ? "alice" : "bob");
}

static void set_suspended(struct person *p, bool suspended)
{
    struct sim *s = p->sim;
    json_t *value = api_copy(s, API_ROTATION, SIM_ROTATION);
    p->suspended = suspended;
    (void)json_object_set_new(json_object_get(value, "spec"), "suspend", json_boolean(suspended));
    sim_say(s, "spec.suspend: %s", suspended ? "true" : "false");
    check_suspend(s, suspended);
    api_store(s, API_ROTATION, SIM_ROTATION, value);
}

static bool is_phase(const char *phase, const char *name)
{
    return strcmp(phase, name) == 0;
}

static void act_freely(struct person *p, const json_t *rotation, const char *phase)
{
    struct sim *s = p->sim;
    uint64_t number = number_of(rotation);
    const char *reason = api_text(rotation, "status", "rotation", "reason", NULL);
    bool standby = text_eq(reason, "Standby") &&
                   api_text(rotation, "status", "rotation", "doneAt", NULL) == NULL;
    if (p->suspended && sim_chance(s, 40))
        set_suspended(p, false);
    else if (!p->suspended && sim_chance(s, 2))
        set_suspended(p, true);
    else if (sim_chance(s, 4))
        blunder(s, rotation);
    else if (is_phase(phase, "Steady") && sim_chance(s, 25))
        command_number(s, "rotate", standby ? number : number + 1, "alice");
    else if (is_phase(phase, "AwaitingPromotion") && sim_chance(s, 15))
        command_number(s, "abort", number, "bob");
    else if (is_phase(phase, "Publishing") && sim_chance(s, 6))
        command_number(s, "abort", number, "bob");
    else if ((is_phase(phase, "Overlap") || is_phase(phase, "Promoting")) && sim_chance(s, 8))
        command_number(s, "rollback", number, "bob");
    else if (sim_chance(s, 60))
        (void)follow(s, rotation, sim_chance(s, 80) ? "bob" : "alice");
}

static void on_act(void *ctx)
{
    struct person *p = ctx;
    struct sim *s = p->sim;
    const json_t *rotation = api_find(s, API_ROTATION, SIM_ROTATION);
    const char *waiting =
        api_text(rotation, "metadata", "annotations", "keyturn.dev/operation", NULL);
    bool is_asker = text_eq(api_text(rotation, "status", "rotation", "requestedBy", NULL), "carol");
    loop_timer_in(s->loop, &p->act, sim_between(s, 15000, 90000));
    if (!p->policy.managed || acknowledge(s, rotation) || (waiting != NULL && !sim_chance(s, 5)))
        return;
    if (!p->rests)
        act_freely(p, rotation, person_phase(s));
    else if (waiting == NULL)
        (void)follow(s, rotation, is_asker ? "dave" : "carol");
}

/* ---- from outside ---- */

static void wipe_status(struct sim *s)
{
    json_t *value = api_copy(s, API_ROTATION, SIM_ROTATION);
    if (json_object_get(value, "status") != NULL)
        sim_hit(s, FAULT_STATUS_WIPED);
    sim_say(s, "somebody wipes the status");
    (void)json_object_del(value, "status");
    api_store(s, API_ROTATION, SIM_ROTATION, value);
}

/* The world is broken on purpose: a key is told to sign as soon as it is there. */
static void promote_by_hand(struct sim *s)
{
    struct realm_key_view k;
    size_t it = 0;
    while (realm_next(s->realm, &it, &k))
        if (strncmp(k.name, "keyturn-", 8) == 0 && k.enabled && !k.active)
            realm_edit(s, k.component, true, 100000);
}

/* Somebody takes the trust hash off the Deployments again and again. */
static void take_off(struct sim *s, const struct policy *p)
{
    for (size_t i = 0; i < p->consumers_count; i++) {
        json_t *value = api_copy(s, API_DEPLOYMENT, p->consumers[i].name);
        json_t *template = json_object_get(json_object_get(value, "spec"), "template");
        if (value == NULL)
            continue;
        (void)json_object_del(json_object_get(template, "metadata"), "annotations");
        api_store(s, API_DEPLOYMENT, p->consumers[i].name, value);
    }
}

/* Somebody asks for a reading again and again, also when all should rest. */
static void ask_on(struct sim *s)
{
    json_t *value = api_copy(s, API_ROTATION, SIM_ROTATION);
    json_t *meta = json_object_get(value, "metadata");
    if (json_object_get(meta, "annotations") == NULL)
        (void)json_object_set_new(meta, "annotations", json_object());
    (void)json_object_set_new(json_object_get(meta, "annotations"), "keyturn.dev/refresh",
                              json_sprintf("%lld", (long long)sim_now_ms()));
    api_store(s, API_ROTATION, SIM_ROTATION, value);
}

static void on_outside(void *ctx)
{
    struct person *p = ctx;
    struct sim *s = p->sim;
    loop_timer_in(s->loop, &p->outside, OUTSIDE_MS);
    if (sim_fault(s, FAULT_STATUS_WIPED))
        wipe_status(s);
    if (strcmp(s->break_name, "promoted-by-hand") == 0)
        promote_by_hand(s);
    if (strcmp(s->break_name, "taken-off") == 0 && sim_chance(s, 10))
        take_off(s, &p->policy);
    if (strcmp(s->break_name, "restless") == 0)
        ask_on(s);
}

/* ---- life ---- */

struct person *person_new(struct sim *s, const struct policy *p)
{
    struct person *new = sim_must(calloc(1, sizeof(*new)));
    *new = (struct person){.sim = s,
                           .policy = *p,
                           .act = {.fire = on_act, .ctx = new},
                           .outside = {.fire = on_outside, .ctx = new}};
    return new;
}

void person_start(struct sim *s)
{
    struct person *p = s->person;
    loop_timer_in(s->loop, &p->act, sim_between(s, 15000, 90000));
    loop_timer_in(s->loop, &p->outside, OUTSIDE_MS);
}

void person_rest(struct sim *s)
{
    struct person *p = s->person;
    json_t *value = api_copy(s, API_ROTATION, SIM_ROTATION);
    p->rests = true;
    p->suspended = false;
    check_suspend(s, false);
    (void)json_object_set_new(value, "spec", policy_spec(&p->policy, false));
    api_store(s, API_ROTATION, SIM_ROTATION, value);
}

void person_free(struct person *p)
{
    loop_timer_cancel(p->sim->loop, &p->act);
    loop_timer_cancel(p->sim->loop, &p->outside);
    free(p);
}

const char *person_phase(const struct sim *s)
{
    const char *phase = api_text(api_find(s, API_ROTATION, SIM_ROTATION), "status", "phase", NULL);
    return phase != NULL ? phase : "";
}

const char *person_why(const struct sim *s)
{
    const json_t *rotation = api_find(s, API_ROTATION, SIM_ROTATION);
    const char *why = api_text(rotation, "status", "nextTransition", "blockedBy", NULL);
    if (why == NULL)
        why = condition_text(rotation, "Ready", "message");
    return why != NULL ? why : "";
}
