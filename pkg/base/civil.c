/* SPDX-License-Identifier: Apache-2.0 */
#include "base/civil.h"

#include <stdbool.h>

#define EPOCH_WEEKDAY 4 /* 1970-01-01 was a Thursday */

int64_t civil_floor(int64_t value, int64_t size)
{
    return value / size - (value % size < 0 ? 1 : 0);
}

int64_t civil_clamp(int64_t wall_s)
{
    return wall_s < CIVIL_LEAST_S ? CIVIL_LEAST_S : wall_s > CIVIL_MOST_S ? CIVIL_MOST_S : wall_s;
}

int civil_month_days(int year, int month)
{
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    switch (month) {
    case 2: return leap ? 29 : 28;
    case 4:
    case 6:
    case 9:
    case 11: return 30;
    default: return 31;
    }
}

/* Years that begin in March, so that the leap day is their last; 400 of them have 146097 days. */
int64_t civil_days(int year, int month, int day)
{
    int64_t y = (int64_t)year - (month <= 2 ? 1 : 0);
    int64_t era = civil_floor(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int civil_weekday(int64_t days)
{
    return (int)(days + EPOCH_WEEKDAY - civil_floor(days + EPOCH_WEEKDAY, 7) * 7);
}

int64_t civil_to(const struct civil *civil)
{
    return civil_days(civil->year, civil->month, civil->day) * CIVIL_DAY_S +
           (int64_t)civil->hour * 3600 + (int64_t)civil->minute * 60 + civil->second;
}

struct civil civil_from(int64_t wall_s)
{
    wall_s = civil_clamp(wall_s);
    int64_t days = civil_floor(wall_s, CIVIL_DAY_S);
    int rest = (int)(wall_s - days * CIVIL_DAY_S);
    int64_t shifted = days + 719468;
    int64_t era = civil_floor(shifted, 146097);
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    return (struct civil){
        .year = (int)(year + era * 400 + (month >= 10 ? 1 : 0)),
        .month = (int)(month < 10 ? month + 3 : month - 9),
        .day = (int)(of_year - (153 * month + 2) / 5 + 1),
        .hour = rest / 3600,
        .minute = rest / 60 % 60,
        .second = rest % 60,
        .weekday = civil_weekday(days),
    };
}
