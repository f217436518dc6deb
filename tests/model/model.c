/* SPDX-License-Identifier: Apache-2.0
 *
 * model: every state that the engine can reach in a small world, by every order of passes, writes
 * that are lost, ticks, consumers that load, commands, edits by others in Keycloak, a status that
 * is lost and a clock that goes back. In each state the invariants are asked of what was just done,
 * and whether the engine comes to rest once nobody interferes.
 *
 * The world: three keys (one that the realm had, two of ours), one consumer, times in ticks. A
 * token lives as long as overlap.retire says. Ages are kept up to the longest time that decides, so
 * the states are finitely many. Outside edits and losses are bounded on each path by BUDGET.
 *
 *   model [--edits N] [--losses N] [--clock N] [--max STATES]      exit status 1: an invariant
 * broke */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "world.h"

#define REST_STEPS 200

static struct {
    unsigned long edits, losses, clocks;
    size_t max;
} budget = {1, 1, 1, 40000000};

/* ---- the set of states ---- */

struct node {
    struct state state;
    uint32_t parent;
    char how[20];
    bool rests; /* it has been seen to come to rest */
};

static struct node *nodes;
static size_t count, room;
static uint32_t *table; /* index + 1 */
static size_t table_size;

static uint64_t hash_of(const struct state *s)
{
    const uint8_t *bytes = (const uint8_t *)s;
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < sizeof(*s); i++)
        h = (h ^ bytes[i]) * 0x100000001b3ULL;
    return h ^ (h >> 29);
}

static void *must(void *p)
{
    if (p == NULL) {
        fputs("model: out of memory\n", stderr);
        exit(2);
    }
    return p;
}

static void grow_table(void)
{
    free(table);
    table_size = table_size == 0 ? 1U << 20 : table_size * 2;
    table = must(calloc(table_size, sizeof(*table)));
    for (size_t i = 0; i < count; i++) {
        size_t at = hash_of(&nodes[i].state) & (table_size - 1);
        while (table[at] != 0)
            at = (at + 1) & (table_size - 1);
        table[at] = (uint32_t)i + 1;
    }
}

static uint32_t add(const struct state *s, uint32_t parent, const char *how)
{
    if (count * 2 >= table_size)
        grow_table();
    size_t at = hash_of(s) & (table_size - 1);
    while (table[at] != 0) {
        if (memcmp(&nodes[table[at] - 1].state, s, sizeof(*s)) == 0)
            return table[at] - 1;
        at = (at + 1) & (table_size - 1);
    }
    if (count == room) {
        room = room == 0 ? 1U << 16 : room * 2;
        nodes = must(realloc(nodes, room * sizeof(*nodes)));
    }
    struct node *n = &nodes[count++];
    n->state = *s;
    n->parent = parent;
    n->rests = false;
    (void)snprintf(n->how, sizeof(n->how), "%s", how);
    table[at] = (uint32_t)count;
    return (uint32_t)count - 1;
}

/* ---- what must hold ---- */

static void print_state(const struct state *s)
{
    printf("    rotation %d reason %s kid %d from %d%s%s%s%s%s%s intent %s/%d/%d op %s/%d\n",
           s->number, rotation_reason_name((enum rotation_reason)s->reason), s->kid, s->from,
           s->requested ? " requested" : "", s->approved ? " approved" : "",
           s->promoted ? " promoted" : "", s->confirmed ? " confirmed" : "", s->done ? " done" : "",
           s->aborting ? " aborting" : "", change_kind_name((enum change_kind)s->intent_kind),
           s->intent_number, s->intent_kid, operation_kind_name((enum operation_kind)s->op),
           s->op_number);
    for (int i = 0; i < KEYS; i++)
        if (s->keys[i].present || s->keys[i].loaded)
            printf("    %s: %s rank %d %s %s quiet %d published %d active %d retired %d by %d\n",
                   world_kids[i],
                   s->keys[i].present
                       ? (const char *[]){"ACTIVE", "PASSIVE", "DISABLED"}[s->keys[i].standing]
                       : "gone",
                   s->keys[i].rank, key_lifecycle_name((enum key_lifecycle)s->keys[i].lifecycle),
                   s->keys[i].loaded ? "loaded" : "", s->keys[i].quiet, s->keys[i].published,
                   s->keys[i].active, s->keys[i].retired, s->keys[i].retired_by);
}

static void fail(uint32_t at, const struct state *after, const char *what)
{
    uint32_t path[400];
    size_t length = 0;
    for (uint32_t i = at; length < 400; i = nodes[i].parent) {
        path[length++] = i;
        if (i == nodes[i].parent)
            break;
    }
    printf("BROKEN: %s\n", what);
    while (length > 0) {
        const struct node *n = &nodes[path[--length]];
        printf("  %s\n", n->how);
        print_state(&n->state);
    }
    printf("  and then\n");
    print_state(after);
    exit(1);
}

static bool is_live(const struct model_key *k)
{
    return k->quiet < LIFE;
}

/* A token of the key that has not expired is accepted, as far as the key itself goes. */
static bool is_accepted(const struct model_key *k)
{
    return k->loaded;
}

/* No write of ours makes an invariant false. */
static void check_write(uint32_t at, const struct state *before, const struct state *after)
{
    int was = world_signer(before), is = world_signer(after);
    if (is >= 0 && is != was && !after->keys[is].loaded)
        fail(at, after, "I1: a write made a key sign that the consumer does not trust");
    if (was >= 0 && is < 0)
        fail(at, after, "I2: a write left no key that signs");
    for (int i = 0; i < KEYS; i++) {
        const struct model_key *b = &before->keys[i], *a = &after->keys[i];
        bool enabled_before = b->present && b->standing != STANDING_DISABLED;
        bool enabled_after = a->present && a->standing != STANDING_DISABLED;
        if (enabled_before && !enabled_after && is_live(b))
            fail(at, after, "I2: a write disabled a key whose tokens live");
        if (b->present && !a->present && i == 0)
            fail(at, after, "I7: a write deleted a key that is not ours");
        if (enabled_before && !enabled_after && i == 0 && !world_policy.adopt && !b->approved)
            fail(at, after, "I7: a write disabled a found key that nobody gave us");
    }
}

static void check_load(uint32_t at, const struct state *before, const struct state *after)
{
    bool any = false;
    for (int i = 0; i < KEYS; i++) {
        const struct model_key *b = &before->keys[i], *a = &after->keys[i];
        bool enabled = b->present && b->standing != STANDING_DISABLED;
        any = any || a->loaded;
        if (b->loaded && !a->loaded && enabled && is_live(b))
            fail(at, after, "I2: the consumer let a key go whose tokens live");
        if (b->loaded && !a->loaded && enabled && b->standing == STANDING_ACTIVE)
            fail(at, after, "I1: the consumer let a key go that may sign");
    }
    if (!any)
        fail(at, after, "I4: the trust set is empty");
}

static void check_state(uint32_t at, const struct state *s)
{
    int signer = world_signer(s);
    if (s->meddled)
        return;
    if (signer < 0 || !s->keys[signer].loaded)
        fail(at, s, "I1: the key that signs is not trusted");
    for (int i = 0; i < KEYS; i++)
        if (is_live(&s->keys[i]) && !is_accepted(&s->keys[i]))
            fail(at, s, "I2: a token that lives is rejected");
}

/* ---- what can happen ---- */

static uint64_t fired[32], transitions, passes;

static void decide(const struct state *s, struct look *l, struct engine_plan *p)
{
    world_look(s, l);
    engine_decide(&l->view, p);
    passes++;
    for (int i = 0; i < 32; i++)
        fired[i] += (p->fired >> i) & 1;
}

/* Once nobody interferes, it comes to rest, and then writes nothing more. What is met on the way is
 * part of the world too. */
static void check_rest(uint32_t at)
{
    static uint32_t walk[REST_STEPS];
    size_t length = 0;
    int quiet_ticks = 0;
    for (uint32_t here = at; !nodes[here].rests && quiet_ticks <= AGE_MAX + 2;) {
        struct state s = nodes[here].state;
        struct look l;
        struct engine_plan p;
        if (length == REST_STEPS)
            fail(at, &s, "I8: it does not come to rest");
        walk[length++] = here;
        decide(&s, &l, &p);
        world_write_status(&s, &l, &p);
        world_apply(&s, &p.change);
        world_settle(&s);
        bool loaded = world_load(&s);
        bool still = world_same(&nodes[here].state, &s) && !loaded;
        quiet_ticks = still ? quiet_ticks + 1 : 0;
        if (still)
            world_tick(&s);
        here = add(&s, here, still ? "tick" : "pass and load");
    }
    while (length > 0)
        nodes[walk[--length]].rests = true;
}

static void expand_pass(uint32_t at, const struct state *s)
{
    struct look l;
    struct engine_plan p, again;
    decide(s, &l, &p);
    decide(s, &l, &again);
    if (!rotation_record_equal(&p.record, &again.record) || p.change.kind != again.change.kind)
        fail(at, s, "I6: the same view gives another plan");
    struct state next = *s;
    world_write_status(&next, &l, &p); /* status written, the change lost (or a crash before it) */
    world_settle(&next);
    check_state(at, &next);
    add(&next, at, "pass, change lost");
    if (p.change.kind == CHANGE_NONE)
        return;
    struct state both = next;
    world_apply(&both, &p.change);
    check_write(at, &next, &both);
    check_state(at, &both);
    add(&both, at, change_kind_name(p.change.kind));
    struct state crash = *s; /* the change came through, and the status of this pass did not */
    world_apply(&crash, &p.change);
    check_write(at, s, &crash);
    add(&crash, at, "change, no status");
}

static void expand_edits(uint32_t at, const struct state *s)
{
    if (s->edits >= budget.edits)
        return;
    for (int i = 0; i < KEYS; i++) {
        if (!s->keys[i].present)
            continue;
        for (int to = STANDING_ACTIVE; to <= STANDING_DISABLED + 2; to++) {
            struct state next = *s;
            next.edits++;
            next.meddled = 1;
            if (to <= STANDING_DISABLED)
                next.keys[i].standing = (uint8_t)to;
            else if (to == STANDING_DISABLED + 1)
                next.keys[i].present = 0;
            else
                next.keys[i].rank = KEYS + 1;
            world_settle(&next);
            add(&next, at, "edit by others");
        }
    }
}

static bool same_keys(const struct look *l, const struct engine_plan *a,
                      const struct engine_plan *b)
{
    for (size_t i = 0; i < l->view.keys_count; i++)
        if (!key_record_equal(&a->keys[i], &b->keys[i]))
            return false;
    return true;
}

/* A command is met by the pass that takes it; put back once more it changes nothing. */
static void expand_command(uint32_t at, const struct state *s, const struct state *with)
{
    struct look l;
    struct engine_plan p, again, without;
    struct state next = *with;
    decide(&next, &l, &p);
    world_write_status(&next, &l, &p);
    world_settle(&next);
    struct state put_back = next;
    decide(&put_back, &l, &again);
    if (!again.clear_operation && p.taken.at_s != 0)
        fail(at, &next, "a command that was taken stays");
    next.op = next.op_number = next.op_kid = next.op_by = 0;
    decide(&next, &l, &without);
    if (!rotation_record_equal(&again.record, &without.record) || !same_keys(&l, &again, &without))
        fail(at, &next, "a command that is put back acts twice");
    next.taken = next.taken_number = next.taken_kid = next.taken_by = 0;
    if (!world_same(&next, s))
        add(&next, at, operation_kind_name((enum operation_kind)with->op));
}

static void expand_commands(uint32_t at, const struct state *s)
{
    for (int kind = OPERATION_ROTATE; kind <= OPERATION_ABORT; kind++) {
        for (int number = 1; number < KEYS; number++) {
            int names = kind == OPERATION_RETIRE ? KEYS + 1 : 1;
            for (int kid = 0; kid < names; kid++) {
                struct state with = *s;
                with.op = (uint8_t)kind;
                with.op_number = (uint8_t)number;
                with.op_kid = (uint8_t)kid;
                with.op_by = kind == OPERATION_ROTATE ? 1 : 2;
                expand_command(at, s, &with);
            }
        }
    }
}

static void expand(uint32_t at)
{
    check_rest(at);
    const struct state s = nodes[at].state;
    expand_pass(at, &s);
    struct state next = s;
    if (world_load(&next)) {
        check_load(at, &s, &next);
        check_state(at, &next);
        add(&next, at, "consumer loads");
    }
    next = s;
    world_tick(&next);
    add(&next, at, "tick");
    expand_commands(at, &s);
    expand_edits(at, &s);
    if (s.losses < budget.losses) {
        next = s;
        world_lose_status(&next);
        add(&next, at, "status lost");
    }
    if (s.clocks < budget.clocks) {
        next = s;
        next.clocks++;
        world_clock_back(&next);
        add(&next, at, "clock goes back");
    }
}

static void explore(const char *name)
{
    struct state s = {0};
    count = 0;
    memset(table, 0, table_size * sizeof(*table));
    for (int i = 0; i < KEYS; i++)
        s.keys[i].quiet = LIFE;
    s.keys[0] =
        (struct model_key){.present = 1, .standing = STANDING_ACTIVE, .loaded = 1, .quiet = 0};
    add(&s, 0, "start");
    for (size_t at = 0; at < count; at++) {
        expand((uint32_t)at);
        transitions++;
        if (count > budget.max) {
            printf("%s: more than %zu states\n", name, budget.max);
            exit(1);
        }
    }
    printf("%-40s %10zu states\n", name, count);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"edits", required_argument, NULL, 'e'},
                                            {"losses", required_argument, NULL, 'l'},
                                            {"clock", required_argument, NULL, 'c'},
                                            {"max", required_argument, NULL, 'm'},
                                            {NULL, 0, NULL, 0}};
    int got;
    while ((got = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (got) {
        case 'e': budget.edits = strtoul(optarg, NULL, 10); break;
        case 'l': budget.losses = strtoul(optarg, NULL, 10); break;
        case 'c': budget.clocks = strtoul(optarg, NULL, 10); break;
        case 'm': budget.max = strtoul(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    grow_table();
    for (int variant = 0; variant < 8; variant++) {
        char name[64];
        world_policy.standby = variant & 1;
        world_policy.adopt = variant & 2;
        world_policy.promote_manual = world_policy.retire_manual = world_policy.two_person =
            variant & 4;
        (void)snprintf(name, sizeof(name), "%s%s%s", world_policy.standby ? "standby " : "",
                       world_policy.adopt ? "adopt " : "",
                       world_policy.promote_manual ? "manual" : "automatic");
        explore(name);
    }
    printf("%" PRIu64 " states expanded, %" PRIu64 " passes\n", transitions, passes);
    for (size_t i = 0; engine_check_name(i) != NULL; i++)
        printf("  %-20s fired %12" PRIu64 "\n", engine_check_name(i), fired[i]);
    return 0;
}
