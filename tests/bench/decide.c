/* SPDX-License-Identifier: Apache-2.0
 *
 * decide: how long one decision takes: about what is published (rotation_decide), and about the
 * rotation of the realm's key (engine_decide). Prints JSON: {"consumers", "keys", "rounds", "us":
 * [..], "engine_us": [..]}, microseconds of processor time of each of a few runs, per decision.
 * Every consumer has a workload of its own and waits for its rollout; of the keys one signs, and
 * the others have been retired. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "rotation/decide.h"
#include "rotation/engine.h"

#define CONSUMERS 1000
#define KEYS 16
#define ROUNDS 2000
#define RUNS 7
#define NOW 1800000000

static struct restart_spec restart = {WORKLOAD_DEPLOYMENT, "api"};
static struct consumer_spec specs[CONSUMERS];
static struct view_consumer consumers[CONSUMERS];
static struct view_workload workloads[CONSUMERS];
static size_t uses[CONSUMERS];
static struct view_key keys[KEYS];
static struct plan_consumer plan_consumers[CONSUMERS];
static bool restarts[CONSUMERS];
static struct plan_warning warnings[KEYS];

static void fill(struct rotation_spec *spec)
{
    *spec = (struct rotation_spec){.keycloak_url = "http://keycloak:8080",
                                   .realm = "prod",
                                   .warn_before = {{"30d", 2592000}, {"7d", 604800}},
                                   .warn_before_count = 2,
                                   .consumers = specs,
                                   .consumers_count = CONSUMERS};
    for (size_t i = 0; i < CONSUMERS; i++) {
        uses[i] = i;
        specs[i] = (struct consumer_spec){.name = "api",
                                          .object_kind = KIND_SECRET,
                                          .object_name = "api-keys",
                                          .formats = FORMAT_JWKS,
                                          .restarts = &restart,
                                          .restarts_count = 1};
        consumers[i] = (struct view_consumer){.spec = &specs[i],
                                              .object = OBJECT_CURRENT,
                                              .workloads = &uses[i],
                                              .workloads_count = 1};
        workloads[i] = (struct view_workload){
            .name = "api", .exists = true, .annotated = true, .pods_ready = 1, .pods_wanted = 2};
    }
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = (struct view_key){.kid = "k1",
                                    .algorithm = "RS256",
                                    .state = KEY_ACTIVE,
                                    .signs = i == 0,
                                    .not_after_s = NOW + 86400L * 400};
}

static struct engine_key engine_keys[KEYS];

static void fill_engine(struct engine_view *view)
{
    *view = (struct engine_view){
        .now_s = NOW,
        .name = "prod",
        .namespace = "auth",
        .policy = {.every_s = 7776000, .publish_s = 3600, .retire_s = 36000, .delete_s = 604800},
        .readable = true,
        .fresh = true,
        .recorded = true,
        .window_open = true,
        .proven = true,
        .highest_number = KEYS - 1,
        .record = {.number = KEYS - 1, .kid = "k", .promoted_s = 1, .confirmed_s = 1, .done_s = 1},
        .keys = engine_keys,
        .keys_count = KEYS};
    for (size_t i = 0; i < KEYS; i++)
        engine_keys[i] = (struct engine_key){
            .kid = i == 0 ? "k" : "old",
            .number = i,
            .standing = i == 0 ? STANDING_ACTIVE : STANDING_PASSIVE,
            .signs = i == 0,
            .served = true,
            .trusted = true,
            .record = {.lifecycle = i == 0 ? LIFECYCLE_ACTIVE : LIFECYCLE_RETIRED,
                       .published_s = NOW - 7200,
                       .active_s = NOW - 3600,
                       .retired_s = i == 0 ? 0 : NOW - 60}};
}

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(void)
{
    struct rotation_spec spec;
    fill(&spec);
    const struct rotation_view view = {.now_s = NOW,
                                       .spec = &spec,
                                       .name = "prod",
                                       .namespace = "auth",
                                       .admin = {.used = true, .read = true, .polled = true},
                                       .jwks = {.used = true, .read = true, .polled = true},
                                       .fence_needed = true,
                                       .fence_proven = true,
                                       .issuer = ISSUER_MATCHES,
                                       .keys = keys,
                                       .keys_count = KEYS,
                                       .memory_loaded = true,
                                       .acknowledge = "v1-x",
                                       .consumers = consumers,
                                       .consumers_count = CONSUMERS,
                                       .workloads = workloads,
                                       .workloads_count = CONSUMERS};
    struct rotation_plan plan = {
        .consumers = plan_consumers, .restart = restarts, .warnings = warnings};
    struct engine_view engine_view;
    static struct engine_plan engine_plan;
    fill_engine(&engine_view);
    (void)printf("{\"consumers\":%d,\"keys\":%d,\"rounds\":%d,\"us\":[", CONSUMERS, KEYS, ROUNDS);
    for (int run = 0; run < RUNS; run++) {
        double begin = cpu_us();
        for (int i = 0; i < ROUNDS; i++)
            rotation_decide(&view, &plan);
        (void)printf("%s%.2f", run > 0 ? "," : "", (cpu_us() - begin) / ROUNDS);
    }
    (void)printf("],\"engine_us\":[");
    for (int run = 0; run < RUNS; run++) {
        double begin = cpu_us();
        for (int i = 0; i < ROUNDS; i++)
            engine_decide(&engine_view, &engine_plan);
        (void)printf("%s%.2f", run > 0 ? "," : "", (cpu_us() - begin) / ROUNDS);
    }
    (void)printf("]}\n");
    /* the ways they were meant to go */
    return plan.phase == PHASE_ROLLING && engine_plan.phase == ENGINE_OVERLAP ? 0 : 1;
}
