/* SPDX-License-Identifier: Apache-2.0
 *
 * cron: an expression of five fields as bitmaps, and the minutes of a wall clock that it names.
 * Minute (0-59), hour (0-23), day of the month (1-31), month (1-12, JAN-DEC), day of the week (0-7,
 * SUN-SAT; 0 and 7 are Sunday). A field is a list by commas of numbers, names, ranges a-b and *; a
 * range or * may have a step (/n). Names in any case. FRI-SUN is a range that ends with day 7.
 *
 * Days, as Vixie's cron has them: where both day fields are restricted, a day that either of them
 * names counts; where one of them begins with *, both must name it.
 *
 * What other programs read in different ways is refused with a sentence that says what to write:
 * 5/15 without an end, ?, @daily, L, W, #, a sixth field, steps larger than their field.
 *
 * Wall seconds: see base/civil.h. Pure and total, no allocation, bounded time. */
#ifndef KEYTURN_ROTATION_CRON_H
#define KEYTURN_ROTATION_CRON_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct cron {
    uint64_t minutes;  /* bit n: the minute n */
    uint32_t hours;    /* bit n: the hour n */
    uint32_t days;     /* bits 1 to 31 */
    uint32_t months;   /* bits 1 to 12 */
    uint32_t weekdays; /* bits 0 to 6, 0 is Sunday */
    bool either;       /* a day of either day field counts */
};

int cron_parse(const char *text, struct cron *ret, struct err *err);
/* No year has such a day: 30 February. */
bool cron_never(const struct cron *cron);
/* The first named minute that begins at wall_s or later; the last one that begins at wall_s or
 * earlier. False: none. */
bool cron_next(const struct cron *cron, int64_t wall_s, int64_t *ret_s);
bool cron_previous(const struct cron *cron, int64_t wall_s, int64_t *ret_s);
/* First and last named minute of a day, and the longest pause between two named minutes that follow
 * each other in it; minutes. */
int cron_first_minute(const struct cron *cron);
int cron_last_minute(const struct cron *cron);
int cron_longest_pause(const struct cron *cron);

/* What cron_parse accepts, as an extended regular expression, for schemas. Only the order of a
 * range's ends and LIMIT_CRON cannot be said in it. */
#define CRON_ITEM(value, step) "([*](/(" step "))?|(" value ")(-(" value ")(/(" step "))?)?)"
#define CRON_FIELD(value, step) CRON_ITEM(value, step) "(," CRON_ITEM(value, step) ")*"
#define CRON_MONTH_NAMES                                                             \
    "[Jj][Aa][Nn]|[Ff][Ee][Bb]|[Mm][Aa][Rr]|[Aa][Pp][Rr]|[Mm][Aa][Yy]|[Jj][Uu][Nn]|" \
    "[Jj][Uu][Ll]|[Aa][Uu][Gg]|[Ss][Ee][Pp]|[Oo][Cc][Tt]|[Nn][Oo][Vv]|[Dd][Ee][Cc]"
#define CRON_DAY_NAMES \
    "[Ss][Uu][Nn]|[Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]"
#define CRON_MINUTES CRON_FIELD("[0-5]?[0-9]", "0?[1-9]|[1-5][0-9]")
#define CRON_HOURS CRON_FIELD("[01]?[0-9]|2[0-3]", "0?[1-9]|1[0-9]|2[0-3]")
#define CRON_DAYS CRON_FIELD("0?[1-9]|[12][0-9]|3[01]", "0?[1-9]|[12][0-9]|3[01]")
#define CRON_MONTHS CRON_FIELD("0?[1-9]|1[0-2]|" CRON_MONTH_NAMES, "0?[1-9]|1[0-2]")
#define CRON_WEEKDAYS CRON_FIELD("0?[0-7]|" CRON_DAY_NAMES, "0?[1-7]")
#define CRON_PATTERN \
    "^ *" CRON_MINUTES " +" CRON_HOURS " +" CRON_DAYS " +" CRON_MONTHS " +" CRON_WEEKDAYS " *$"

#endif
