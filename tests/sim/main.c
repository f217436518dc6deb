/* SPDX-License-Identifier: Apache-2.0
 *
 * sim: plays seeds, each a world of its own: hours of a realm whose key is rotated by the real
 * controller while things go wrong, then some in which nothing does, at whose end it must have come
 * to rest. README of what is checked: check.h.
 *
 *   sim [--seed N] [--seeds N] [--jobs N] [--break NAME] [--trace] [--data DIR]
 *   sim --self-check      breaks the world in each way it knows, and wants it to be seen
 *
 * Exit status 1: a seed failed; with --self-check: something broken was not seen. */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "api.h"
#include "base/map.h"
#include "check.h"
#include "cluster.h"
#include "net.h"
#include "operator.h"
#include "person.h"
#include "realm.h"
#include "rotation/engine.h"

#define MINUTE_MS 60000LL
#define FAILURES_SHOWN 3
#define CHAOS_LEAST 10 /* minutes in which things go wrong */
#define CHAOS_MOST 35
#define REST_MOST_MS (120 * MINUTE_MS)
#define REST_QUIET_MS (13 * MINUTE_MS) /* longer than any wait of a policy */
#define JOBS_MAX 16
#define SELF_CHECK_SEEDS 40

struct options {
    uint64_t first, seeds, jobs;
    const char *break_name, *data;
    char kubeconfig[512];
    bool trace, quiet;
};

struct outcome {
    struct tally tally;
    uint64_t digest, failed;
    char why[400]; /* of the last seed */
};

/* Ways in which the world can be broken, and what must be said of it then. */
static const struct {
    const char *name, *said;
} breaks[] = {
    {"promoted-by-hand", "rejects tokens"},
    {"unproven", "rejects tokens"},
    {"early", "rejects tokens"},
    {"not-ours", "I7"},
    {"taken-off", "is restarted for"},
    {"restless", "I8"},
};

/* ---- one seed ---- */

static void choose_faults(struct sim *s)
{
    static const unsigned rates[] = {20, 60, 200, 500};
    for (size_t i = 0; i < FAULT_COUNT; i++)
        s->rates[i] = sim_chance(s, 50) ? rates[sim_below(s, ARRAY_LEN(rates))] : 0;
    s->rates[FAULT_STEP_BACK] *= 8; /* the realm is not written to as often as is asked */
}

static void store_credentials(struct sim *s)
{
    /* http://keycloak.sim:8080, keyturn, simulated */
    api_store(s, API_SECRET, "keyturn-keycloak",
              json_pack("{sss{ssssss}}", "type", "Opaque", "data", "url",
                        "aHR0cDovL2tleWNsb2FrLnNpbTo4MDgw", "client-id",
                        "a2V5dHVybg==", "client-secret", "c2ltdWxhdGVk"));
}

static void make_world(struct sim *s, const struct options *o)
{
    struct policy policy;
    sim_clock_set(0, 1767571200 + sim_between(s, 0, 86400 * 300));
    s->loop = loop_new(NULL);
    choose_faults(s);
    policy_choose(s, &policy);
    s->net = net_new(s);
    s->api = api_new(s);
    s->realm = realm_new(s, policy.algorithm, policy.token_s, policy.session_s);
    s->cluster = cluster_new(s, &policy);
    s->check = check_new(s, &policy);
    s->person = person_new(s, &policy);
    s->operator= operator_new(s, o->kubeconfig);
    store_credentials(s);
    cluster_start(s);
    check_start(s);
    api_store(s, API_ROTATION, SIM_ROTATION, json_pack("{so}", "spec", policy_spec(&policy, true)));
    person_start(s);
    operator_start(s);
}

static void free_world(struct sim *s)
{
    operator_free(s->operator);
    person_free(s->person);
    check_free(s->check);
    cluster_free(s->cluster);
    net_free(s->net);
    realm_free(s->realm);
    api_free(s->api);
    loop_free(s->loop);
}

/* Rest: the phase is Steady, and nothing is written for longer than anything waits. */
static void come_to_rest(struct sim *s)
{
    int64_t until_ms = sim_now_ms() + REST_MOST_MS, wrote_ms = sim_now_ms();
    uint64_t writes = s->tally.writes;
    s->calm = true;
    sim_say(s, "nothing goes wrong any more");
    person_rest(s);
    while (!s->failed && sim_now_ms() < until_ms && sim_now_ms() - wrote_ms < REST_QUIET_MS) {
        sim_run_until(s, sim_now_ms() + MINUTE_MS);
        if (s->tally.writes != writes || strcmp(person_phase(s), "Steady") != 0)
            wrote_ms = sim_now_ms();
        writes = s->tally.writes;
    }
    if (sim_now_ms() - wrote_ms < REST_QUIET_MS)
        sim_fail(s, "I8: no rest within %lld minutes in which nothing went wrong; %s: %s",
                 REST_MOST_MS / MINUTE_MS, person_phase(s), person_why(s));
}

static void print_failure(const struct sim *s, const struct options *o)
{
    printf("seed %" PRIu64 " FAILED: %s\n", s->seed, trace_why(s->trace));
    trace_print(s->trace);
    printf("  again: build/release/sim --seed %" PRIu64 "%s%s --trace\n", s->seed,
           o->break_name[0] != '\0' ? " --break " : "", o->break_name);
    (void)fflush(stdout);
}

static void play(uint64_t seed, const struct options *o, struct outcome *all)
{
    struct sim s = {.seed = seed,
                    .random = seed * 0x9e3779b97f4a7c15ULL + 1,
                    .break_name = o->break_name,
                    .trace = trace_new(o->trace)};
    make_world(&s, o);
    sim_run_until(&s, sim_between(&s, CHAOS_LEAST, CHAOS_MOST) * MINUTE_MS);
    if (!s.failed)
        come_to_rest(&s);
    s.tally.seeds = 1;
    s.tally.simulated_ms = (uint64_t)sim_now_ms();
    all->digest += trace_digest(s.trace) * (2 * seed + 1);
    if (s.failed && all->failed++ < FAILURES_SHOWN && !o->quiet)
        print_failure(&s, o);
    (void)snprintf(all->why, sizeof(all->why), "%s", trace_why(s.trace));
    for (size_t i = 0; i < sizeof(s.tally) / sizeof(uint64_t); i++)
        ((uint64_t *)&all->tally)[i] += ((uint64_t *)&s.tally)[i];
    free_world(&s);
    trace_free(s.trace);
}

/* ---- all seeds ---- */

static void add_outcome(struct outcome *all, const struct outcome *one)
{
    for (size_t i = 0; i < sizeof(all->tally) / sizeof(uint64_t); i++)
        ((uint64_t *)&all->tally)[i] += ((const uint64_t *)&one->tally)[i];
    all->digest += one->digest;
    all->failed += one->failed;
}

/* The share of one process: every jobs-th seed. */
static void play_share(const struct options *o, uint64_t share, struct outcome *ret)
{
    for (uint64_t i = share; i < o->seeds && ret->failed < FAILURES_SHOWN; i += o->jobs)
        play(o->first + i, o, ret);
}

static int play_all(const struct options *o, struct outcome *all)
{
    int ends[2], status, result = 0;
    struct outcome one = {0};
    if (pipe(ends) != 0)
        return 2;
    (void)fflush(stdout);
    for (uint64_t share = 0; share < o->jobs; share++) {
        pid_t pid = fork();
        if (pid < 0)
            return 2;
        if (pid == 0) {
            play_share(o, share, &one);
            (void)fflush(stdout);
            _exit(write(ends[1], &one, sizeof(one)) == (ssize_t)sizeof(one) ? 0 : 2);
        }
    }
    (void)close(ends[1]);
    while (read(ends[0], &one, sizeof(one)) == (ssize_t)sizeof(one))
        add_outcome(all, &one);
    while (wait(&status) > 0)
        result = status != 0 ? 2 : result;
    (void)close(ends[0]);
    return result;
}

static int self_check(struct options *o)
{
    int missed = 0;
    o->quiet = true;
    for (size_t i = 0; i < ARRAY_LEN(breaks); i++) {
        struct outcome one = {0};
        uint64_t seed = 1;
        o->break_name = breaks[i].name;
        do {
            play(seed++, o, &one);
        } while (strstr(one.why, breaks[i].said) == NULL && seed <= SELF_CHECK_SEEDS);
        bool seen = strstr(one.why, breaks[i].said) != NULL;
        printf("broken: %-18s %s\n", breaks[i].name, seen ? one.why : "NOT SEEN");
        missed += !seen;
    }
    return missed > 0;
}

static void print_tally(const struct outcome *all)
{
    const struct tally *t = &all->tally;
    printf("%" PRIu64 " seeds, %" PRIu64 " simulated hours, %" PRIu64 " passes, %" PRIu64
           " requests (%" PRIu64 " writes), %" PRIu64 " rotations ended, %" PRIu64
           " restarts, %" PRIu64 " checks of a key's tokens\n",
           t->seeds, t->simulated_ms / 3600000, t->passes, t->requests, t->writes, t->rotations,
           t->restarts, t->checks);
    for (size_t i = 0; i < FAULT_COUNT; i++)
        printf("  %-20s injected %10" PRIu64 "  hit %10" PRIu64 "\n", fault_names[i],
               t->injected[i], t->hit[i]);
    for (int i = OPERATION_ROTATE; i <= OPERATION_ABORT; i++)
        printf("  %-20s commanded %9" PRIu64 "\n", operation_kind_name((enum operation_kind)i),
               t->operations[i]);
    for (size_t i = 0; engine_check_name(i) != NULL; i++)
        printf("  %-20s fired %13" PRIu64 "\n", engine_check_name(i), t->engine_checks[i]);
    printf("digest %016" PRIx64 "\n", all->digest);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'n'},
        {"jobs", required_argument, NULL, 'j'}, {"break", required_argument, NULL, 'b'},
        {"data", required_argument, NULL, 'd'}, {"trace", no_argument, NULL, 't'},
        {"self-check", no_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
    struct options o = {
        .first = 1, .seeds = 1, .jobs = 1, .break_name = "", .data = "tests/sim/data"};
    struct outcome all = {0};
    char path[512];
    bool checks_itself = false;
    int got;
    while ((got = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (got) {
        case 's': o.first = strtoull(optarg, NULL, 10); break;
        case 'n': o.seeds = strtoull(optarg, NULL, 10); break;
        case 'j': o.jobs = strtoull(optarg, NULL, 10); break;
        case 'b': o.break_name = optarg; break;
        case 'd': o.data = optarg; break;
        case 't': o.trace = true; break;
        case 'c': checks_itself = true; break;
        default: return 2;
        }
    }
    map_seed(1);
    json_object_seed(1); /* without json_setup: nothing here is secret, and wiping takes time */
    (void)mallopt(M_MXFAST, 0);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void)snprintf(path, sizeof(path), "%s/keys.json", o.data);
    (void)snprintf(o.kubeconfig, sizeof(o.kubeconfig), "%s/kubeconfig", o.data);
    if (realm_load_keys(path) != 0 || o.jobs == 0 || o.jobs > JOBS_MAX) {
        (void)fprintf(stderr, "sim: no keys in %s, or not 1 to %d jobs\n", path, JOBS_MAX);
        return 2;
    }
    int status = 0;
    if (checks_itself)
        return self_check(&o);
    if (o.jobs == 1)
        play_share(&o, 0, &all);
    else
        status = play_all(&o, &all);
    print_tally(&all);
    printf("%" PRIu64 " failed\n", all.failed);
    return status != 0 ? status : all.failed > 0;
}
