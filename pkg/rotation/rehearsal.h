/* SPDX-License-Identifier: Apache-2.0
 *
 * rehearsal: a rotation played without a cluster: a realm, consumers that load a trust set after a
 * while, a status that is written, and a clock that jumps from one thing to do to the next. Decided
 * by the operator's own engine; behind `keyturn plan` and `keyturn simulate`, and the tests of the
 * engine. Pure; no allocation. Texts of the policy, of operations and of what is set from outside
 * are the caller's. */
#ifndef KEYTURN_ROTATION_REHEARSAL_H
#define KEYTURN_ROTATION_REHEARSAL_H

#include "rotation/engine.h"
#include "rotation/schedule.h"

#define REHEARSAL_KEYS 16
#define REHEARSAL_KID_MAX (LIMIT_KID + 1)

struct rehearsal_key {
    char kid[REHEARSAL_KID_MAX];
    bool present;
    uint64_t number; /* 0: found in the realm */
    enum key_standing standing;
    int64_t priority;
    bool loaded; /* by every consumer */
    struct key_record record;
};

struct rehearsal {
    int64_t now_s;
    const char *name, *namespace;
    struct key_policy policy;
    bool suspended;
    int64_t load_s; /* how long consumers take from a changed trust set to the proof */
    const char *retire_why;
    const char *foreign_claim; /* see engine_view */
    const struct window_rule
        *window; /* says at each pass whether it is open; NULL: the two below */
    bool window_open;
    int64_t window_opens_s;
    const char *window_trouble; /* see engine_view */
    struct rehearsal_key keys[REHEARSAL_KEYS];
    struct rotation_record record;
    struct change intent;
    struct operation operation, taken;
    int64_t changed_s; /* when the trust set last changed */
    uint64_t writes;   /* changes to Keycloak so far */
    uint64_t status_writes;
    struct engine_plan plan; /* of the last pass */
};

/* A realm with one ACTIVE key that it had before. */
void rehearsal_init(struct rehearsal *r, const struct key_policy *policy, int64_t now_s);
/* One pass: decide, write status, send the change. True when anything was written. */
bool rehearsal_pass(struct rehearsal *r);
/* Passes until nothing is written at this time, at most `most`; false when it did not settle. */
bool rehearsal_settle(struct rehearsal *r, unsigned most);
/* When the next thing becomes due by itself; INT64_MAX: nothing, or a person has to act. */
int64_t rehearsal_due_s(const struct rehearsal *r);
/* The key that signs; NULL none. */
struct rehearsal_key *rehearsal_signer(struct rehearsal *r);
struct rehearsal_key *rehearsal_find(struct rehearsal *r, const char *kid);

#endif
