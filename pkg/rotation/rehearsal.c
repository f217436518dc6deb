/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/rehearsal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

void rehearsal_init(struct rehearsal *r, const struct key_policy *policy, int64_t now_s)
{
    memset(r, 0, sizeof(*r));
    r->now_s = now_s;
    r->policy = *policy;
    r->name = "prod";
    r->namespace = "auth";
    r->window_open = true;
    r->load_s = 60;
    r->keys[0] = (struct rehearsal_key){.kid = "old",
                                        .present = true,
                                        .standing = STANDING_ACTIVE,
                                        .priority = 100,
                                        .loaded = true};
    r->changed_s = now_s - r->load_s;
}

struct rehearsal_key *rehearsal_signer(struct rehearsal *r)
{
    struct rehearsal_key *best = NULL;
    for (size_t i = 0; i < REHEARSAL_KEYS; i++) {
        struct rehearsal_key *k = &r->keys[i];
        if (k->present && k->standing == STANDING_ACTIVE &&
            (best == NULL || k->priority > best->priority))
            best = k;
    }
    return best;
}

struct rehearsal_key *rehearsal_find(struct rehearsal *r, const char *kid)
{
    for (size_t i = 0; kid != NULL && i < REHEARSAL_KEYS; i++)
        if (r->keys[i].present && text_eq(r->keys[i].kid, kid))
            return &r->keys[i];
    return NULL;
}

/* In the trust set that consumers are given. */
static bool is_trusted(const struct rehearsal_key *k)
{
    return k->present && k->standing != STANDING_DISABLED &&
           (k->standing == STANDING_ACTIVE || !key_lifecycle_untrusted(k->record.lifecycle));
}

static bool is_proven(struct rehearsal *r)
{
    bool proven = r->now_s >= r->changed_s + r->load_s;
    for (size_t i = 0; proven && i < REHEARSAL_KEYS; i++)
        r->keys[i].loaded = is_trusted(&r->keys[i]);
    return proven;
}

static uint64_t trusted_bits(const struct rehearsal *r)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < REHEARSAL_KEYS; i++)
        bits |= (uint64_t)is_trusted(&r->keys[i]) << i;
    return bits;
}

static size_t view_keys(struct rehearsal *r, struct engine_key *keys, size_t *places)
{
    const struct rehearsal_key *signer = rehearsal_signer(r);
    size_t count = 0;
    for (size_t i = 0; i < REHEARSAL_KEYS; i++) {
        const struct rehearsal_key *k = &r->keys[i];
        if (!k->present)
            continue;
        places[count] = i;
        keys[count++] = (struct engine_key){.kid = k->kid,
                                            .number = k->number,
                                            .standing = k->standing,
                                            .signs = k == signer,
                                            .served = k->standing != STANDING_DISABLED,
                                            .trusted = is_trusted(k),
                                            .priority = k->priority,
                                            .record = k->record};
    }
    return count;
}

static uint64_t highest_number(const struct rehearsal *r)
{
    uint64_t most = 0;
    for (size_t i = 0; i < REHEARSAL_KEYS; i++)
        if (r->keys[i].present && r->keys[i].number > most)
            most = r->keys[i].number;
    return most;
}

static void create(struct rehearsal *r, const struct change *c)
{
    for (size_t i = 0; i < REHEARSAL_KEYS; i++) {
        struct rehearsal_key *k = &r->keys[i];
        if (k->present)
            continue;
        *k = (struct rehearsal_key){.present = true,
                                    .number = c->number,
                                    .standing = STANDING_PASSIVE,
                                    .priority = c->priority};
        (void)snprintf(k->kid, sizeof(k->kid), "key-%" PRIu64, c->number);
        return;
    }
}

static void apply(struct rehearsal *r, const struct change *c)
{
    struct rehearsal_key *k = rehearsal_find(r, c->kid);
    switch (c->kind) {
    case CHANGE_NONE: return;
    case CHANGE_CREATE: create(r, c); break;
    case CHANGE_PROMOTE:
        if (k != NULL) {
            k->standing = STANDING_ACTIVE;
            k->priority = c->priority;
        }
        break;
    case CHANGE_DEMOTE:
        if (k != NULL)
            k->standing = STANDING_PASSIVE;
        break;
    case CHANGE_DISABLE:
        if (k != NULL)
            k->standing = STANDING_DISABLED;
        break;
    case CHANGE_DELETE:
        if (k != NULL)
            k->present = false;
        break;
    }
    r->writes++;
}

static bool write_status(struct rehearsal *r, const struct engine_plan *p, const size_t *places,
                         size_t count)
{
    bool differs = !rotation_record_equal(&p->record, &r->record) ||
                   !change_equal(&p->intent, &r->intent) || !operation_equal(&p->taken, &r->taken);
    for (size_t i = 0; i < count; i++) {
        struct key_record *record = &r->keys[places[i]].record;
        differs = differs || !key_record_equal(record, &p->keys[i]);
        *record = p->keys[i];
    }
    r->record = p->record;
    r->intent = p->intent;
    r->taken = p->taken;
    r->status_writes += differs;
    return differs;
}

static void look_at_window(struct rehearsal *r)
{
    struct window window;
    if (r->window == NULL)
        return;
    window_at(r->window, r->now_s, &window);
    r->window_open = window.open;
    r->window_opens_s = window.open ? r->now_s : window.next_opens_s;
}

static void decide(struct rehearsal *r, struct engine_key *keys, size_t *places, size_t *ret_count)
{
    struct rehearsal_key *signer = rehearsal_signer(r);
    size_t count = view_keys(r, keys, places);
    look_at_window(r);
    struct engine_view view = {.now_s = r->now_s,
                               .name = r->name,
                               .namespace = r->namespace,
                               .policy = r->policy,
                               .suspended = r->suspended,
                               .foreign_claim = r->foreign_claim,
                               .readable = true,
                               .fresh = true,
                               .recorded = true,
                               .window_open = r->window_open,
                               .window_opens_s = r->window_opens_s,
                               .window_trouble = r->window_trouble,
                               .retire_why = r->retire_why,
                               .proven = is_proven(r),
                               .unproven = "consumers",
                               .verified = true,
                               .minted_kid = signer != NULL ? signer->kid : NULL,
                               .highest_number = highest_number(r),
                               .record = r->record,
                               .intent = r->intent,
                               .operation = r->operation,
                               .taken = r->taken,
                               .keys = keys,
                               .keys_count = count};
    engine_decide(&view, &r->plan);
    *ret_count = count;
}

bool rehearsal_pass(struct rehearsal *r)
{
    struct engine_key keys[REHEARSAL_KEYS];
    size_t places[REHEARSAL_KEYS], count;
    uint64_t before = trusted_bits(r);
    decide(r, keys, places, &count);
    bool wrote = write_status(r, &r->plan, places, count);
    if (r->plan.clear_operation) {
        r->operation = (struct operation){0};
        wrote = true;
    }
    if (r->plan.change.kind != CHANGE_NONE) {
        apply(r, &r->plan.change);
        wrote = true;
    }
    if (trusted_bits(r) != before)
        r->changed_s = r->now_s;
    return wrote;
}

bool rehearsal_settle(struct rehearsal *r, unsigned most)
{
    for (unsigned i = 0; i < most; i++)
        if (!rehearsal_pass(r))
            return true;
    return false;
}

int64_t rehearsal_due_s(const struct rehearsal *r)
{
    int64_t proof_s = r->changed_s + r->load_s;
    int64_t due_s = r->plan.again_at_s;
    if (proof_s > r->now_s && proof_s < due_s)
        due_s = proof_s;
    return due_s;
}
