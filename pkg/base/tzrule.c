/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tzrule.h"

#include "base/attr.h"
#include "base/civil.h"

#define OFFSET_HOURS_MAX 24
#define TIME_HOURS_MAX 167
#define DEFAULT_TIME_S 7200
#define NUMBER_DIGITS_MAX 3
#define NAME_MIN 3

/* ---- text ---- */

static bool take(struct str *s, char c)
{
    if (s->len == 0 || s->data[0] != c)
        return false;
    s->data++;
    s->len--;
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool number(struct str *s, int least, int most, int *ret)
{
    int value = 0;
    int digits = 0;
    while (s->len > 0 && digits < NUMBER_DIGITS_MAX && is_digit(s->data[0])) {
        value = value * 10 + (s->data[0] - '0');
        (void)take(s, s->data[0]);
        digits++;
    }
    *ret = value;
    return digits > 0 && value >= least && value <= most;
}

/* "CET", or anything of letters, digits, + and - between < and >. What it is called matters to
 * nobody here. */
static bool name(struct str *s)
{
    size_t len = 0;
    bool quoted = take(s, '<');
    while (s->len > 0 &&
           (is_letter(s->data[0]) ||
            (quoted && (is_digit(s->data[0]) || s->data[0] == '+' || s->data[0] == '-')))) {
        (void)take(s, s->data[0]);
        len++;
    }
    return (!quoted || take(s, '>')) && len >= NAME_MIN;
}

/* [+-]h[h[h]][:mm[:ss]] */
static bool clock_time(struct str *s, int hours_max, int32_t *ret_s)
{
    int hours = 0;
    int minutes = 0;
    int seconds = 0;
    bool negative = take(s, '-');
    if (!negative)
        (void)take(s, '+');
    if (!number(s, 0, hours_max, &hours))
        return false;
    if (take(s, ':') &&
        (!number(s, 0, 59, &minutes) || (take(s, ':') && !number(s, 0, 59, &seconds))))
        return false;
    *ret_s = (hours * 3600 + minutes * 60 + seconds) * (negative ? -1 : 1);
    return true;
}

/* The string counts west of UTC. */
static bool offset(struct str *s, int32_t *ret_s)
{
    int32_t west_s = 0;
    if (!clock_time(s, OFFSET_HOURS_MAX, &west_s))
        return false;
    *ret_s = -west_s;
    return true;
}

static bool day(struct str *s, struct tz_day *ret)
{
    *ret = (struct tz_day){.kind = TZ_DAY_ORDINAL, .time_s = DEFAULT_TIME_S};
    bool good = false;
    if (take(s, 'M')) {
        ret->kind = TZ_DAY_WEEK;
        good = number(s, 1, 12, &ret->month) && take(s, '.') && number(s, 1, 5, &ret->week) &&
               take(s, '.') && number(s, 0, 6, &ret->weekday);
    } else if (take(s, 'J')) {
        ret->kind = TZ_DAY_JULIAN;
        good = number(s, 1, 365, &ret->number);
    } else {
        good = number(s, 0, 365, &ret->number);
    }
    return good && (!take(s, '/') || clock_time(s, TIME_HOURS_MAX, &ret->time_s));
}

static bool parse(struct str s, struct tz_rule *ret)
{
    *ret = (struct tz_rule){0};
    if (!name(&s) || !offset(&s, &ret->standard_s))
        return false;
    if (s.len == 0)
        return true;
    ret->changes = true;
    ret->summer_s = ret->standard_s + 3600;
    if (!name(&s) || (s.len > 0 && s.data[0] != ',' && !offset(&s, &ret->summer_s)))
        return false;
    return take(&s, ',') && day(&s, &ret->start) && take(&s, ',') && day(&s, &ret->end) &&
           s.len == 0;
}

int tz_rule_parse(struct str text, struct tz_rule *ret, struct err *err)
{
    if (parse(text, ret))
        return 0;
    return err_set(err, ERR_INVALID, "the rule at its end, \"%.*s\", is no POSIX TZ string",
                   (int)(text.len < 80 ? text.len : 80), text.len > 0 ? text.data : "");
}

/* ---- calendar ---- */

/* Wall seconds at which the change happens. */
static int64_t day_wall(const struct tz_day *d, int year)
{
    int64_t days = 0;
    if (d->kind == TZ_DAY_WEEK) {
        int64_t first = civil_days(year, d->month, 1);
        int of_month = 1 + (d->weekday - civil_weekday(first) + 7) % 7 + (d->week - 1) * 7;
        if (of_month > civil_month_days(year, d->month))
            of_month -= 7;
        days = first + of_month - 1;
    } else {
        bool leap = civil_month_days(year, 2) == 29;
        days = civil_days(year, 1, 1) + d->number;
        if (d->kind == TZ_DAY_JULIAN)
            days -= leap && d->number >= 60 ? 0 : 1;
    }
    return days * CIVIL_DAY_S + d->time_s;
}

void tz_rule_year(const struct tz_rule *rule, int year, struct zone_transition ret[2])
{
    struct zone_transition start = {day_wall(&rule->start, year) - rule->standard_s,
                                    rule->summer_s};
    struct zone_transition end = {day_wall(&rule->end, year) - rule->summer_s, rule->standard_s};
    bool northern = start.at_s <= end.at_s;
    ret[0] = northern ? start : end;
    ret[1] = northern ? end : start;
}

int32_t tz_rule_offset(const struct tz_rule *rule, int64_t utc_s)
{
    int32_t offset_s = rule->standard_s;
    if (!rule->changes)
        return offset_s;
    int year = civil_from(utc_s).year;
    for (int y = year - 2; y <= year + 1; y++) {
        struct zone_transition both[2];
        tz_rule_year(rule, y, both);
        for (size_t i = 0; i < ARRAY_LEN(both); i++)
            if (both[i].at_s <= utc_s)
                offset_s = both[i].offset_s;
    }
    return offset_s;
}
