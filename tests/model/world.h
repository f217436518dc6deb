/* SPDX-License-Identifier: Apache-2.0
 *
 * world: the small world of the model as one state of plain bytes, what the engine sees of it, and
 * what can happen in it. Three keys, one that the realm had and two of ours; one consumer; ages in
 * ticks, kept up to the longest that decides. */
#ifndef KEYTURN_TESTS_MODEL_WORLD_H
#define KEYTURN_TESTS_MODEL_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include "rotation/engine.h"

#define KEYS 3
#define AGE_MAX 4 /* 0 never, then age + 1 in ticks */
#define PUBLISH 1
#define RETIRE 2
#define DELETE 1
#define LIFE RETIRE

struct model_key {
    uint8_t present, standing, rank; /* rank: order of priorities */
    uint8_t loaded;                  /* by the consumer */
    uint8_t quiet;                   /* ticks since it last signed, LIFE and more: no live token */
    uint8_t lifecycle, published, ready, active, retired, removed, retired_by, approved;
};

/* Everything that matters, and nothing else: equal states are equal bytes. */
struct state {
    struct model_key keys[KEYS];
    uint8_t number, reason, kid, from, started, requested, by, standby, approved, approver;
    uint8_t promoted, confirmed, done, aborting;
    uint8_t intent_kind, intent_number, intent_kid;
    uint8_t op, op_number, op_kid, op_by;
    uint8_t taken, taken_number, taken_kid, taken_by, cleared;
    uint8_t edits, losses, clocks; /* of the budget */
    uint8_t meddled;               /* somebody else has changed something on this path */
};

struct look { /* a view, with the arrays it points to */
    struct engine_view view;
    struct engine_key keys[KEYS];
    uint8_t places[KEYS];
};

extern struct key_policy world_policy;
extern const char *const world_kids[KEYS];

void world_look(const struct state *s, struct look *l);
void world_write_status(struct state *s, const struct look *l, const struct engine_plan *p);
void world_apply(struct state *s, const struct change *c);
/* After any change of keys: who stops or starts to sign is seen at once. */
void world_settle(struct state *s);
int world_signer(const struct state *s); /* -1 none */
/* The consumer takes the trust set as it is now; true when that changed anything. */
bool world_load(struct state *s);
bool world_same(const struct state *a, const struct state *b);
void world_tick(struct state *s);
void world_clock_back(struct state *s);
void world_lose_status(struct state *s);

#endif
