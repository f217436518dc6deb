/* SPDX-License-Identifier: Apache-2.0
 *
 * sim: one simulated world, in which the whole controller runs: everything of pkg/controller and
 * below, down to http_port (net.h) and the loop (loop.c), which are the world's. All chance comes
 * from the seed, all time from the loop, so that a seed gives the same trace byte for byte.
 *
 * A world is one namespace of one cluster (api.h, cluster.h), one realm (realm.h), those who check
 * tokens (check.h), people (person.h) and the operator (operator.h). */
#ifndef KEYTURN_TESTS_SIM_SIM_H
#define KEYTURN_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"
#include "io/loop.h"

#define SIM_NAMESPACE "auth"
#define SIM_ROTATION "prod"
#define SIM_UID "5f0c1a2b-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
#define SIM_UID_SHOWN "5f0c1a2b"
#define SIM_KEYS_MAX 64 /* a set of keys is the bits of a number */

enum fault {
    FAULT_REQUEST_LOST, /* hit: of a write */
    FAULT_ANSWER_LOST,  /* hit: of a write that changed something */
    FAULT_SENT_TWICE, /* as libcurl does on a connection that turns out to be dead; hit: a write */
    FAULT_SLOW,
    FAULT_CONFLICT, /* somebody writes to the object just before; hit: answered 409 */
    FAULT_BUSY,     /* 429 */
    FAULT_BROKEN,   /* 500, 503 */
    FAULT_GONE,     /* old versions are dropped; hit: a watch was answered 410 */
    FAULT_WATCH_CUT,
    FAULT_WATCH_SILENT, /* nothing comes any more until the client gives up */
    FAULT_WATCH_LATE,
    FAULT_WATCH_STALE, /* events come once more; hit: an object went back to a former state */
    FAULT_KILLED,      /* at a write, and started again; hit: with requests under way */
    FAULT_REPLACED,    /* another leader; hit: a request of the former one arrived afterwards */
    FAULT_STEP_BACK,   /* Keycloak restarts and has lost writes; hit: there were some */
    FAULT_STATUS_WIPED,
    FAULT_POD_LOST, /* a pod is replaced while nobody asked for it */
    FAULT_COUNT,
};
extern const char *const fault_names[FAULT_COUNT];

struct tally { /* what a run is measured by; summed over seeds */
    uint64_t seeds, passes, requests, writes, mints, checks, rotations, restarts;
    uint64_t simulated_ms;
    uint64_t injected[FAULT_COUNT], hit[FAULT_COUNT];
    uint64_t engine_checks[32], operations[8];
};

struct sim {
    uint64_t seed, random;
    struct loop *loop;
    const char *break_name;      /* how the world is broken on purpose, "" not */
    bool calm;                   /* no more faults */
    unsigned rates[FAULT_COUNT]; /* of ten thousand */
    struct tally tally;
    struct net *net;
    struct api *api;
    struct realm *realm;
    struct cluster *cluster;
    struct check *check;
    struct person *person;
    struct operator* operator;
    struct trace *trace;
    bool failed;
};

/* ---- chance ---- */

uint64_t sim_random(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t limit); /* 0 to limit - 1 */
int64_t sim_between(struct sim *s, int64_t least, int64_t most);
bool sim_chance(struct sim *s, unsigned of_hundred);
/* Whether this fault happens now; counted as injected then. */
bool sim_fault(struct sim *s, enum fault fault);
void sim_hit(struct sim *s, enum fault fault);

/* ---- what happens ---- */

void sim_say(struct sim *s, const char *fmt, ...) ATTR_PRINTF(2, 3);
/* The run ends here; the first reason counts. */
void sim_fail(struct sim *s, const char *fmt, ...) ATTR_PRINTF(2, 3);

struct trace *trace_new(bool loud);
void trace_free(struct trace *t);
uint64_t trace_digest(const struct trace *t);
const char *trace_why(const struct trace *t); /* of the failure */
void trace_print(const struct trace *t);      /* the last events */

/* ---- time (loop.c) ---- */

void sim_clock_set(int64_t boot_ms, int64_t wall_s);
int64_t sim_now_ms(void); /* CLOCK_BOOTTIME */
int64_t sim_wall_s(void);
/* Calls what comes due until then, or until the world has failed. */
void sim_run_until(struct sim *s, int64_t until_ms);

void *sim_must(void *p); /* ends the process without memory */
char *sim_copy(const char *text);

#endif
