/* SPDX-License-Identifier: Apache-2.0
 *
 * tzrule: the TZ string at the end of a TZif file (POSIX, with RFC 9636's times of -167 to 167
 * hours): what a zone does after its last listed transition. "CET-1CEST,M3.5.0,M10.5.0/3". Offsets
 * are seconds east of UTC, as everywhere here and unlike in the string. Pure, no allocation. */
#ifndef KEYTURN_BASE_TZRULE_H
#define KEYTURN_BASE_TZRULE_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

/* A zone's wall clock shows UTC + offset_s from at_s on. */
struct zone_transition {
    int64_t at_s;
    int32_t offset_s;
};

enum tz_day_kind {
    TZ_DAY_WEEK,    /* Mm.w.d: the w-th weekday d of the month, 5 = the last */
    TZ_DAY_JULIAN,  /* Jn: 1 to 365, 29 February is never counted */
    TZ_DAY_ORDINAL, /* n: 0 to 365, 29 February is counted */
};

struct tz_day {
    enum tz_day_kind kind;
    int month, week, weekday;
    int number;
    int32_t time_s; /* of the wall clock before the change */
};

struct tz_rule {
    int32_t standard_s;
    bool changes; /* false: the rest means nothing */
    int32_t summer_s;
    struct tz_day start, end; /* of summer time */
};

int tz_rule_parse(struct str text, struct tz_rule *ret, struct err *err);
/* The two changes of a year, the earlier one first; only where the rule changes. Around its ends a
 * year may reach into its neighbours; of two years the changes of the later one win. */
void tz_rule_year(const struct tz_rule *rule, int year, struct zone_transition ret[2]);
int32_t tz_rule_offset(const struct tz_rule *rule, int64_t utc_s);

#endif
