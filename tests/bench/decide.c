/* SPDX-License-Identifier: Apache-2.0
 *
 * decide: how long one decision takes. Prints JSON: {"consumers", "keys", "rounds", "us": [..]},
 * the microseconds of each of a few runs, per decision. Every consumer has a workload of its own
 * and waits for its rollout, the longest way through. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "rotation/decide.h"

#define CONSUMERS 300
#define KEYS 4
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
    (void)printf("{\"consumers\":%d,\"keys\":%d,\"rounds\":%d,\"us\":[", CONSUMERS, KEYS, ROUNDS);
    for (int run = 0; run < RUNS; run++) {
        struct timespec a, b;
        (void)clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < ROUNDS; i++)
            rotation_decide(&view, &plan);
        (void)clock_gettime(CLOCK_MONOTONIC, &b);
        double ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
        (void)printf("%s%.2f", run > 0 ? "," : "", ns / 1e3 / ROUNDS);
    }
    (void)printf("]}\n");
    return plan.phase == PHASE_ROLLING ? 0 : 1; /* the way it was meant to go */
}
