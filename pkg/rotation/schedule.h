/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule: maintenance windows. (When a rotation is due, engine_rotates_s() says.) A window opens
 * at the minutes of a zone's wall clock that a cron expression names and lasts its duration, in
 * real seconds: an opening that the wall clock jumps over happens when it has jumped, an opening
 * that the wall clock shows twice happens the first time only, windows that overlap or touch are
 * one. Times are seconds since 1970 UTC, 0 = none, INT64_MAX = never. Right as far as the zone is
 * (30 years). Pure and total, no allocation, no clock, bounded time. */
#ifndef KEYTURN_ROTATION_SCHEDULE_H
#define KEYTURN_ROTATION_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/zone.h"
#include "rotation/cron.h"

#define WINDOW_LEAST_S 60
#define WINDOW_MOST_S (7 * 86400)
/* How far joined windows are followed; open for longer than this counts as always open. */
#define WINDOW_FOLLOWED_S (35 * 86400)

struct window_rule {
    struct cron cron;
    int64_t duration_s;
    const struct zone *zone; /* the caller's */
};

/* Reads the expression and bounds the duration. A rule that never opens is good: see cron_never. */
int window_rule_init(struct window_rule *rule, const char *cron, int64_t duration_s,
                     const struct zone *zone, struct err *err);

struct window {
    bool open;
    int64_t opened_s; /* 0: not open, or open for longer than WINDOW_FOLLOWED_S */
    int64_t closes_s; /* the first second outside; INT64_MAX: not within WINDOW_FOLLOWED_S; 0: not
                         open */
    int64_t next_opens_s; /* after this one */
};

/* A rule of NULL is always open. */
void window_at(const struct window_rule *rule, int64_t now_s, struct window *ret);

#endif
