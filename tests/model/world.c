/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <string.h>
#include "base/attr.h"
#include "base/str.h"

#define NOW 1000000

struct key_policy world_policy = {
    .publish_s = PUBLISH, .retire_s = RETIRE, .delete_s = DELETE, .priority_max = 1000};

const char *const world_kids[KEYS] = {"old", "one", "two"};
static const char *const people[] = {NULL, "ann", "bob"};

/* ---- between the model and the engine ---- */

static int64_t time_of(uint8_t age)
{
    return age == 0 ? 0 : NOW - (age - 1);
}

static uint8_t age_of(int64_t time_s)
{
    if (time_s == 0)
        return 0;
    int64_t age = NOW - time_s;
    return (uint8_t)(age < 0 ? 1 : age + 1 > AGE_MAX ? AGE_MAX : age + 1);
}

static const char *kid_of(uint8_t index)
{
    return index == 0 ? NULL : world_kids[index - 1];
}

static uint8_t index_of(const char *kid)
{
    for (uint8_t i = 0; kid != NULL && i < KEYS; i++)
        if (strcmp(world_kids[i], kid) == 0)
            return (uint8_t)(i + 1);
    return 0;
}

static uint8_t person_of(const char *name)
{
    for (uint8_t i = 1; name != NULL && i < ARRAY_LEN(people); i++)
        if (strcmp(people[i], name) == 0)
            return i;
    return 0;
}

static bool is_trusted(const struct model_key *k)
{
    return k->present && k->standing != STANDING_DISABLED &&
           (k->standing == STANDING_ACTIVE ||
            !key_lifecycle_untrusted((enum key_lifecycle)k->lifecycle));
}

int world_signer(const struct state *s)
{
    int best = -1;
    for (int i = 0; i < KEYS; i++)
        if (s->keys[i].present && s->keys[i].standing == STANDING_ACTIVE &&
            (best < 0 || s->keys[i].rank > s->keys[best].rank))
            best = i;
    return best;
}

static bool is_proven(const struct state *s)
{
    for (int i = 0; i < KEYS; i++)
        if (s->keys[i].loaded != is_trusted(&s->keys[i]))
            return false;
    return true;
}

static struct key_record record_of(const struct model_key *k)
{
    return (struct key_record){.lifecycle = (enum key_lifecycle)k->lifecycle,
                               .published_s = time_of(k->published),
                               .ready_s = time_of(k->ready),
                               .active_s = time_of(k->active),
                               .retired_s = time_of(k->retired),
                               .removed_s = time_of(k->removed),
                               .retired_by = k->retired_by,
                               .retire_approved = k->approved != 0};
}

static void look_at_keys(const struct state *s, struct look *l)
{
    int signer = world_signer(s);
    for (int i = 0; i < KEYS; i++) {
        const struct model_key *k = &s->keys[i];
        if (!k->present)
            continue;
        l->places[l->view.keys_count] = (uint8_t)i;
        l->keys[l->view.keys_count++] =
            (struct engine_key){.kid = world_kids[i],
                                .number = (uint64_t)i,
                                .standing = (enum key_standing)k->standing,
                                .signs = i == signer,
                                .served = k->standing != STANDING_DISABLED,
                                .trusted = is_trusted(k),
                                .priority = k->rank,
                                .record = record_of(k)};
        if ((uint64_t)i > l->view.highest_number)
            l->view.highest_number = (uint64_t)i;
    }
    l->view.keys = l->keys;
    l->view.minted_kid = signer >= 0 ? world_kids[signer] : NULL;
}

void world_look(const struct state *s, struct look *l)
{
    memset(l, 0, sizeof(*l));
    l->view = (struct engine_view){.now_s = NOW,
                                   .name = "prod",
                                   .namespace = "auth",
                                   .policy = world_policy,
                                   .readable = true,
                                   .fresh = true,
                                   .recorded = true,
                                   .window_open = true,
                                   .proven = is_proven(s),
                                   .verified = true,
                                   .record = {.number = s->number,
                                              .reason = (enum rotation_reason)s->reason,
                                              .kid = kid_of(s->kid),
                                              .from = kid_of(s->from),
                                              .started_s = time_of(s->started),
                                              .requested_s = time_of(s->requested),
                                              .requested_by = people[s->by],
                                              .standby_s = time_of(s->standby),
                                              .approved_s = time_of(s->approved),
                                              .approved_by = people[s->approver],
                                              .promoted_s = time_of(s->promoted),
                                              .confirmed_s = time_of(s->confirmed),
                                              .done_s = time_of(s->done),
                                              .aborting = s->aborting != 0},
                                   .intent = {.kind = (enum change_kind)s->intent_kind,
                                              .number = s->intent_number,
                                              .kid = kid_of(s->intent_kid),
                                              .at_s = s->intent_kind != 0 ? NOW : 0},
                                   .operation = {.kind = (enum operation_kind)s->op,
                                                 .number = s->op_number,
                                                 .kid = kid_of(s->op_kid),
                                                 .by = people[s->op_by]},
                                   .taken = {.kind = (enum operation_kind)s->taken,
                                             .number = s->taken_number,
                                             .kid = kid_of(s->taken_kid),
                                             .by = people[s->taken_by],
                                             .cleared = s->cleared != 0}};
    look_at_keys(s, l);
}

/* Only whether these have happened decides, not when. */
static uint8_t happened(int64_t time_s)
{
    return time_s != 0;
}

/* What a schedule counts from. */
static uint8_t counted(int64_t time_s)
{
    return world_policy.every_s != 0 ? age_of(time_s) : happened(time_s);
}

void world_write_status(struct state *s, const struct look *l, const struct engine_plan *p)
{
    const struct rotation_record *r = &p->record;
    for (size_t i = 0; i < l->view.keys_count; i++) {
        struct model_key *k = &s->keys[l->places[i]];
        const struct key_record *kr = &p->keys[i];
        k->lifecycle = (uint8_t)kr->lifecycle;
        k->published = age_of(kr->published_s);
        k->ready = happened(kr->ready_s);
        k->active = counted(kr->active_s);
        k->retired = age_of(kr->retired_s);
        k->removed = age_of(kr->removed_s);
        k->retired_by = (uint8_t)kr->retired_by;
        k->approved = kr->retire_approved;
    }
    s->number = (uint8_t)r->number;
    s->reason = (uint8_t)r->reason;
    s->kid = index_of(r->kid);
    s->from = index_of(r->from);
    s->started = happened(r->started_s);
    s->requested = happened(r->requested_s);
    s->by = person_of(r->requested_by);
    s->standby = happened(r->standby_s);
    s->approved = happened(r->approved_s);
    s->approver = person_of(r->approved_by);
    s->promoted = counted(r->promoted_s);
    s->confirmed = happened(r->confirmed_s);
    s->done = happened(r->done_s);
    s->aborting = r->aborting;
    s->intent_kind = (uint8_t)p->intent.kind;
    s->intent_number = (uint8_t)p->intent.number;
    s->intent_kid = index_of(p->intent.kid);
    s->taken = (uint8_t)p->taken.kind;
    s->taken_number = (uint8_t)p->taken.number;
    s->taken_kid = index_of(p->taken.kid);
    s->taken_by = person_of(p->taken.by);
    s->cleared = p->taken.cleared;
}

/* Ranks without gaps, so that raising priorities for ever is one state. */
static void pack_ranks(struct state *s)
{
    uint8_t packed[KEYS];
    for (int i = 0; i < KEYS; i++) {
        packed[i] = 0;
        for (int k = 0; k < KEYS; k++) {
            bool first = true; /* of its rank */
            for (int j = 0; j < k; j++)
                first = first && !(s->keys[j].present && s->keys[j].rank == s->keys[k].rank);
            packed[i] = (uint8_t)(packed[i] + (s->keys[k].present && first &&
                                               s->keys[k].rank < s->keys[i].rank));
        }
    }
    for (int i = 0; i < KEYS; i++)
        s->keys[i].rank = s->keys[i].present ? packed[i] : 0;
}

/* Who stops or starts to sign is seen at once; a gone key leaves nothing behind but its tokens. */
void world_settle(struct state *s)
{
    int signer = world_signer(s);
    for (int i = 0; i < KEYS; i++) {
        struct model_key *k = &s->keys[i];
        if (i == signer)
            k->quiet = 0;
        if (!k->present)
            *k = (struct model_key){.loaded = k->loaded, .quiet = k->quiet};
    }
    pack_ranks(s);
}

void world_apply(struct state *s, const struct change *c)
{
    int i = c->kind == CHANGE_CREATE ? (int)c->number : index_of(c->kid) - 1;
    if (i < 0 || i >= KEYS)
        return;
    struct model_key *k = &s->keys[i];
    switch (c->kind) {
    case CHANGE_NONE: return;
    case CHANGE_CREATE:
        if (!k->present)
            *k = (struct model_key){.present = 1,
                                    .standing = STANDING_PASSIVE,
                                    .loaded = 0,
                                    .quiet = LIFE,
                                    .rank = (uint8_t)c->priority};
        break;
    case CHANGE_PROMOTE:
        k->standing = STANDING_ACTIVE;
        k->rank = (uint8_t)c->priority;
        break;
    case CHANGE_DEMOTE: k->standing = STANDING_PASSIVE; break;
    case CHANGE_DISABLE: k->standing = STANDING_DISABLED; break;
    case CHANGE_DELETE: k->present = 0; break;
    }
    world_settle(s);
}

bool world_load(struct state *s)
{
    bool changed = false, any = false;
    for (int i = 0; i < KEYS; i++)
        any = any || is_trusted(&s->keys[i]);
    if (!any)
        return false; /* the keyset's rule (I4): never empty */
    for (int i = 0; i < KEYS; i++) {
        uint8_t wants = is_trusted(&s->keys[i]);
        changed = changed || s->keys[i].loaded != wants;
        s->keys[i].loaded = wants;
    }
    return changed;
}

static void older(uint8_t *age)
{
    if (*age != 0 && *age < AGE_MAX)
        (*age)++;
}

void world_tick(struct state *s)
{
    int signer = world_signer(s);
    for (int i = 0; i < KEYS; i++) {
        struct model_key *k = &s->keys[i];
        older(&k->published);
        older(&k->retired);
        older(&k->removed);
        if (world_policy.every_s != 0)
            older(&k->active);
        if (i != signer && k->quiet < LIFE)
            k->quiet++;
    }
    if (world_policy.every_s != 0)
        older(&s->promoted);
}

static void younger(uint8_t *age)
{
    if (*age > 1)
        (*age)--;
}

/* The wall clock goes back by a tick; what verifiers know of time does not. */
void world_clock_back(struct state *s)
{
    for (int i = 0; i < KEYS; i++) {
        younger(&s->keys[i].published);
        younger(&s->keys[i].retired);
        younger(&s->keys[i].removed);
    }
}

void world_lose_status(struct state *s)
{
    struct state left = {0};
    for (int i = 0; i < KEYS; i++)
        left.keys[i] = (struct model_key){.present = s->keys[i].present,
                                          .standing = s->keys[i].standing,
                                          .rank = s->keys[i].rank,
                                          .loaded = s->keys[i].loaded,
                                          .quiet = s->keys[i].quiet};
    left.edits = s->edits;
    left.losses = (uint8_t)(s->losses + 1);
    left.clocks = s->clocks;
    left.meddled = s->meddled;
    *s = left;
}

bool world_same(const struct state *a, const struct state *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
