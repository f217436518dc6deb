/* SPDX-License-Identifier: Apache-2.0
 *
 * zone: a time zone: what its wall clock shows at a second of UTC, and back. Made from the bytes of
 * a TZif file (RFC 9636, versions 1 to 4), which somebody else reads; the rule at the file's end is
 * expanded, so that a zone is a plain list. Pure and total after parsing; no allocation.
 *
 * A zone is right from from_s to until_s (30 years). Before and after, the nearest offset goes on.
 * Wall seconds: see base/civil.h. Offsets are seconds east of UTC. */
#ifndef KEYTURN_BASE_ZONE_H
#define KEYTURN_BASE_ZONE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/civil.h"
#include "base/err.h"
#include "base/str.h"
#include "base/tzrule.h"

#define ZONE_TRANSITIONS_MAX 256 /* Gaza has four a year to come */
#define ZONE_AHEAD_S (30LL * 366 * 86400)
#define ZONE_OFFSET_LEAST_S (-89999) /* RFC 9636 3.2: more than -25 h, less than 26 h */
#define ZONE_OFFSET_MOST_S 93599

struct zone {
    int64_t from_s, until_s;
    int32_t offset_s; /* at from_s */
    uint32_t count;
    struct zone_transition transitions[ZONE_TRANSITIONS_MAX]; /* ascending, all after from_s */
};

/* Whether a name may become a path below /usr/share/zoneinfo: words of letters, digits, _ + -,
 * each beginning with a letter, joined by /; at most LIMIT_ZONE_NAME characters. -1: the sentence
 * in err says what to write. */
int zone_name_check(const char *name, struct err *err);
/* UTC needs no file. */
bool zone_name_is_utc(const char *name);
void zone_set_utc(struct zone *ret);
/* ERR_INVALID: bytes that are no TZif file, or one that counts leap seconds ("right/...").
 * ERR_LIMIT: too large. *ret is untouched then. */
int zone_parse(struct str file, int64_t from_s, struct zone *ret, struct err *err);

int32_t zone_offset(const struct zone *zone, int64_t utc_s);
struct civil zone_local(const struct zone *zone, int64_t utc_s);

enum zone_fit {
    ZONE_ONCE,
    ZONE_GAP,   /* the wall clock never shows it: it jumps over it */
    ZONE_TWICE, /* or more often: the wall clock is set back and shows it again */
};

struct zone_moment {
    enum zone_fit fit;
    int64_t utc_s;   /* the first second; in a gap the first one after it */
    int64_t again_s; /* the last second that shows the same; utc_s where it is shown once */
};
struct zone_moment zone_utc(const struct zone *zone, const struct civil *local);

/* The first second of UTC at which the wall clock shows wall_s or later. Never falls when wall_s
 * grows: this is how times of a wall clock are put in order. */
int64_t zone_reaches(const struct zone *zone, int64_t wall_s);
/* The latest that the wall clock has shown up to utc_s. zone_reaches(w) <= u means the same as
 * w <= zone_reached(u). */
int64_t zone_reached(const struct zone *zone, int64_t utc_s);
/* No transition in (after_s, until_s]. */
bool zone_steady(const struct zone *zone, int64_t after_s, int64_t until_s);

#endif
