/* SPDX-License-Identifier: Apache-2.0
 *
 * model: every state that the engine can reach in a small world, by every order of passes, writes
 * that are lost, ticks, consumers that load, commands, edits by others in Keycloak, a status that
 * is lost and a clock that goes back. In each state the invariants are asked of what was just done,
 * and whether the engine comes to rest once nobody interferes.
 *
 * The world: three keys (one that the realm had, two of ours), one consumer, times in ticks. A
 * token lives as long as overlap.retire says. Ages are kept up to the longest time that decides, so
 * the states are finitely many. Outside edits, losses of status and steps back of the clock are
 * bounded on each path by the budget of a run. Each state is also looked at through views in which
 * nothing may be written (suspended, another's realm, unreadable, stale, ...).
 *
 *   model [--jobs N] [--run I] [--edits N] [--losses N] [--clock N]
 *
 * Plays all runs, or one with another budget. Exit status 1: an invariant broke, or a check of the
 * engine's table never applied. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/str.h"
#include "world.h"

#define REST_STEPS 200
#define STATES_MAX 40000000
#define JOBS_MAX 16

struct budget {
    unsigned long edits, losses, clocks;
};

static struct budget budget;

static const struct run {
    const char *name;
    bool standby, adopt, manual;
    int64_t every_s;
    struct budget budget;
} runs[] = {
    {"automatic", false, false, false, 0, {0, 1, 1}},
    {"standby automatic", true, false, false, 0, {0, 1, 1}},
    {"adopt automatic", false, true, false, 0, {0, 1, 1}},
    {"standby adopt automatic", true, true, false, 0, {0, 1, 1}},
    {"manual", false, false, true, 0, {0, 1, 1}},
    {"standby manual", true, false, true, 0, {0, 1, 1}},
    {"adopt manual", false, true, true, 0, {0, 1, 1}},
    {"standby adopt manual", true, true, true, 0, {0, 1, 1}},
    {"adopt automatic, by schedule", false, true, false, AGE_MAX - 1, {0, 0, 1}},
    {"adopt automatic, edited by others", false, true, false, 0, {1, 0, 0}},
    {"standby manual, edited by others", true, false, true, 0, {1, 0, 0}},
};

struct tally { /* of all runs, shared by the processes that play them */
    uint64_t states, passes, looks;
    uint64_t fired[32];
};

static struct tally *tally;

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

static struct tally mine; /* of this process */

static void count_pass(const struct engine_plan *p)
{
    mine.passes++;
    for (int i = 0; i < 32; i++)
        mine.fired[i] += (p->fired >> i) & 1;
}

static void decide(uint32_t at, const struct state *s, struct look *l, struct engine_plan *p)
{
    world_look(s, l);
    engine_decide(&l->view, p);
    count_pass(p);
    if (text_eq(p->finding, "Unsafe")) {
        puts(p->finding_text);
        fail(at, s, "an unsafe change was wanted, and held back");
    }
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
        decide(here, &s, &l, &p);
        world_write_status(&s, &l, &p);
        world_apply(&s, &p.change);
        world_settle(&s);
        bool loaded = world_load(&s);
        /* The world has no room for a key of a third rotation. */
        bool in_vain = p.change.kind == CHANGE_CREATE && p.change.number >= KEYS;
        bool writes = loaded || (p.change.kind != CHANGE_NONE && !in_vain);
        bool still = world_same(&nodes[here].state, &s) && !writes;
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
    decide(at, s, &l, &p);
    decide(at, s, &l, &again);
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
    decide(at, &next, &l, &p);
    world_write_status(&next, &l, &p);
    world_settle(&next);
    struct state put_back = next;
    decide(at, &put_back, &l, &again);
    if (!again.clear_operation && p.taken.at_s != 0)
        fail(at, &next, "a command that was taken stays");
    next.op = next.op_number = next.op_kid = next.op_by = 0;
    decide(at, &next, &l, &without);
    if (!rotation_record_equal(&again.record, &without.record) || !same_keys(&l, &again, &without))
        fail(at, &next, "a command that is put back acts twice");
    next.taken = next.taken_number = next.taken_kid = next.taken_by = next.cleared = 0;
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

/* ---- views in which nothing may be written ---- */

#define HOLDS 8

static void hold(struct engine_view *v, int how)
{
    switch (how) {
    case 0: v->suspended = true; return;
    case 1: v->owner = "other"; return;
    case 2: v->foreign_claim = "keyturn-00000000-1"; return;
    case 3: v->readable = false; return;
    case 4: v->fresh = false; return;
    case 5: v->recorded = false; return;
    case 6: v->misplaced = true; return;
    default: v->change_trouble = "it was refused"; v->change_retry_s = v->now_s + 1;
    }
}

static void look_held(uint32_t at, const struct state *s)
{
    struct look l;
    struct engine_plan p;
    for (int i = 0; i < HOLDS; i++) {
        world_look(s, &l);
        hold(&l.view, i);
        engine_decide(&l.view, &p);
        count_pass(&p);
        mine.looks++;
        bool stopped = text_eq(p.check, "AlgorithmChanged") || i != 6;
        if (stopped && (p.change.kind != CHANGE_NONE || text_eq(p.finding, "Unsafe")))
            fail(at, s, "something is to be written on a view that forbids it");
    }
}

/* Outside of its window nothing that the schedule began lets a key sign; without a new look at the
 * consumers, or a JWKS that serves it, nothing does. */
static void look_shut(uint32_t at, const struct state *s)
{
    static const char *const broken[] = {
        "I1: a key is told to sign on an old look at the consumers",
        "I1: a key is told to sign that no JWKS serves",
        "a key is told to sign outside of the window"};
    struct look l;
    struct engine_plan p;
    for (int how = 0; how < 3; how++) {
        world_look(s, &l);
        for (size_t i = 0; how == 1 && i < l.view.keys_count; i++)
            l.keys[i].served = false;
        if (how == 0)
            l.view.verified = false;
        l.view.window_open = how != 2;
        l.view.window_opens_s = l.view.now_s + (how == 2);
        engine_decide(&l.view, &p);
        count_pass(&p);
        mine.looks++;
        bool scheduled = l.view.record.reason == REASON_SCHEDULE;
        bool signs = p.change.kind == CHANGE_PROMOTE || text_eq(p.finding, "Unsafe");
        if (signs && (how != 2 || scheduled))
            fail(at, s, broken[how]);
    }
}

static void expand(uint32_t at)
{
    const struct state here = nodes[at].state;
    look_held(at, &here);
    look_shut(at, &here);
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

static void explore(const struct run *run)
{
    struct state s = {0};
    world_policy.standby = run->standby;
    world_policy.adopt = run->adopt;
    world_policy.promote_manual = world_policy.retire_manual = world_policy.two_person =
        run->manual;
    world_policy.every_s = run->every_s;
    count = 0;
    memset(table, 0, table_size * sizeof(*table));
    for (int i = 0; i < KEYS; i++)
        s.keys[i].quiet = LIFE;
    s.keys[0] =
        (struct model_key){.present = 1, .standing = STANDING_ACTIVE, .loaded = 1, .quiet = 0};
    add(&s, 0, "start");
    for (size_t at = 0; at < count; at++) {
        expand((uint32_t)at);
        if (count > STATES_MAX) {
            printf("%s: more than %d states\n", run->name, STATES_MAX);
            exit(1);
        }
    }
    mine.states += count;
    printf("%-40s %10zu states\n", run->name, count);
    (void)fflush(stdout);
}

static void add_tally(void)
{
    (void)__atomic_fetch_add(&tally->states, mine.states, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&tally->passes, mine.passes, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&tally->looks, mine.looks, __ATOMIC_RELAXED);
    for (int i = 0; i < 32; i++)
        (void)__atomic_fetch_add(&tally->fired[i], mine.fired[i], __ATOMIC_RELAXED);
}

/* Every jobs-th run, beginning with `first`, in a process of its own. */
static pid_t play(size_t first, size_t jobs)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    grow_table();
    for (size_t i = first; i < ARRAY_LEN(runs); i += jobs) {
        budget = runs[i].budget;
        explore(&runs[i]);
    }
    add_tally();
    exit(0);
}

static int play_all(size_t jobs)
{
    pid_t players[JOBS_MAX];
    int result = 0, status;
    for (size_t i = 0; i < jobs; i++)
        if ((players[i] = play(i, jobs)) < 0)
            return 2;
    for (size_t i = 0; i < jobs; i++) {
        if (wait(&status) >= 0 && status == 0)
            continue;
        for (size_t k = 0; result == 0 && k < jobs; k++)
            (void)kill(players[k], SIGTERM);
        result = 1;
    }
    printf("%" PRIu64 " states, %" PRIu64 " passes, %" PRIu64 " views that forbid a write\n",
           tally->states, tally->passes, tally->looks);
    for (size_t i = 0; engine_check_name(i) != NULL; i++) {
        printf("  %-20s applied %12" PRIu64 "\n", engine_check_name(i), tally->fired[i]);
        if (tally->fired[i] == 0 && result == 0) {
            printf("BROKEN: this check never applied\n");
            result = 1;
        }
    }
    return result;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"edits", required_argument, NULL, 'e'}, {"losses", required_argument, NULL, 'l'},
        {"clock", required_argument, NULL, 'c'}, {"run", required_argument, NULL, 'r'},
        {"jobs", required_argument, NULL, 'j'},  {NULL, 0, NULL, 0}};
    size_t run = ARRAY_LEN(runs), jobs = 2;
    int got;
    budget = runs[0].budget;
    while ((got = getopt_long(argc, argv, "", options, NULL)) != -1) {
        unsigned long number = optarg != NULL ? strtoul(optarg, NULL, 10) : 0;
        switch (got) {
        case 'e': budget.edits = number; break;
        case 'l': budget.losses = number; break;
        case 'c': budget.clocks = number; break;
        case 'r': run = number; break;
        case 'j': jobs = number == 0 ? 1 : number < JOBS_MAX ? number : JOBS_MAX; break;
        default: return 2;
        }
    }
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED)
        return 2;
    if (run == ARRAY_LEN(runs))
        return play_all(jobs);
    if (run > ARRAY_LEN(runs))
        return 2;
    grow_table();
    explore(&runs[run]);
    return 0;
}
