/* SPDX-License-Identifier: Apache-2.0
 *
 * civil: the proleptic Gregorian calendar without a time zone. A wall clock reading is counted in
 * seconds since 1970-01-01 00:00 of that same clock ("wall seconds"); read in UTC these are the
 * seconds since 1970 UTC. No leap seconds. Pure and total: times outside of years 0 to 9999 count
 * as the nearest second within. */
#ifndef KEYTURN_BASE_CIVIL_H
#define KEYTURN_BASE_CIVIL_H

#include <stdint.h>

#define CIVIL_LEAST_S (-62167219200LL) /* 0000-01-01T00:00:00 */
#define CIVIL_MOST_S 253402300799LL    /* 9999-12-31T23:59:59 */
#define CIVIL_DAY_S 86400

struct civil {
    int year;
    int month;   /* 1 to 12 */
    int day;     /* 1 to 31 */
    int hour;    /* 0 to 23 */
    int minute;  /* 0 to 59 */
    int second;  /* 0 to 59 */
    int weekday; /* 0 is Sunday */
};

int64_t civil_clamp(int64_t wall_s);
struct civil civil_from(int64_t wall_s);
int64_t civil_to(const struct civil *civil); /* weekday is not asked */
/* Days since 1970-01-01; day may be outside of its month. */
int64_t civil_days(int year, int month, int day);
int civil_weekday(int64_t days);
int civil_month_days(int year, int month);
/* Division that rounds down, so that times before 1970 are like those after; size > 0. */
int64_t civil_floor(int64_t value, int64_t size);

#endif
