/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/cron.h"

#include <string.h>
#include "base/attr.h"
#include "base/civil.h"
#include "base/limits.h"
#include "base/str.h"

#define FIELDS 5
#define NAME_LEN 3
#define DIGITS_MAX 2
#define HOUR_MINUTES 60
#define HOURS 24
/* The same date is the same weekday again within 12 years, 29 February is there within 8. */
#define SEARCH_MONTHS (13 * 12)

/* ---- text ---- */

enum field_index { MINUTE, HOUR, DAY, MONTH, WEEKDAY };

static const struct field {
    const char *name;
    int least, most;
    const char *names; /* of three letters each, for least and up */
    const char *also;  /* what else may be written, for messages */
} fields[FIELDS] = {
    [MINUTE] = {"minute", 0, 59, "", ""},
    [HOUR] = {"hour", 0, 23, "", ""},
    [DAY] = {"day of the month", 1, 31, "", ""},
    [MONTH] = {"month", 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", " or JAN to DEC"},
    [WEEKDAY] = {"day of the week", 0, 7, "SUNMONTUEWEDTHUFRISAT", " or SUN to SAT"},
};

struct range {
    int first, last, step;
};

/* The next part up to a separator, which is taken too. */
static struct str part(struct str *s, char separator)
{
    struct str head = *s;
    const char *end = s->len > 0 ? memchr(s->data, separator, s->len) : NULL;
    if (end != NULL)
        head.len = (size_t)(end - s->data);
    size_t taken = head.len + (end != NULL ? 1 : 0);
    *s = (struct str){taken > 0 ? s->data + taken : s->data, s->len - taken};
    return head;
}

static bool holds(struct str s, char c)
{
    return s.len > 0 && memchr(s.data, c, s.len) != NULL;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool name_value(const struct field *field, struct str text, int *ret)
{
    if (text.len != NAME_LEN)
        return false;
    const char *name = field->names;
    for (int value = field->least; *name != '\0'; value++, name += NAME_LEN)
        if (upper(text.data[0]) == name[0] && upper(text.data[1]) == name[1] &&
            upper(text.data[2]) == name[2]) {
            *ret = value;
            return true;
        }
    return false;
}

static bool digits_value(struct str text, int least, int most, int *ret)
{
    uint64_t value = 0;
    if (text.len > DIGITS_MAX || !str_to_u64(text, &value))
        return false;
    *ret = (int)value;
    return *ret >= least && *ret <= most;
}

static int say_value(const struct field *field, struct str text, struct err *err)
{
    return err_set(err, ERR_INVALID, "\"%.*s\" is no %s of a cron expression; write %d to %d%s",
                   (int)(text.len < 40 ? text.len : 40), text.len > 0 ? text.data : "", field->name,
                   field->least, field->most, field->also);
}

static int value(const struct field *field, struct str text, int *ret, struct err *err)
{
    if (name_value(field, text, ret) || digits_value(text, field->least, field->most, ret))
        return 0;
    return say_value(field, text, err);
}

/* SUN as the end of a range is the Sunday that follows. */
static int range_ends(const struct field *field, struct str text, struct range *r, struct err *err)
{
    struct str rest = text;
    struct str first = part(&rest, '-');
    if (value(field, first, &r->first, err) != 0)
        return -1;
    r->last = r->first;
    if (!holds(text, '-'))
        return 0;
    int named = 0;
    if (value(field, rest, &r->last, err) != 0)
        return -1;
    if (field == &fields[WEEKDAY] && name_value(field, rest, &named) && named == 0 && r->first > 0)
        r->last = 7;
    if (r->last >= r->first)
        return 0;
    return err_set(
        err, ERR_INVALID,
        "the range \"%.*s\" of the %s ends before it begins; write the smaller end first, "
        "or two ranges with a comma",
        (int)text.len, text.data, field->name);
}

static int range_step(const struct field *field, struct str text, struct range *r, struct err *err)
{
    if (digits_value(text, 1, field->most, &r->step))
        return 0;
    return err_set(err, ERR_INVALID, "\"/%.*s\" is no step of the %s; write /1 to /%d",
                   (int)(text.len < 40 ? text.len : 40), text.len > 0 ? text.data : "", field->name,
                   field->most);
}

/* One of a list: *, a, a-b, and a step behind all but a. */
static int item_parse(const struct field *field, struct str text, uint64_t *bits, struct err *err)
{
    struct range r = {field->least, field->most, 1};
    struct str rest = text;
    struct str ends = part(&rest, '/');
    bool all = str_is(ends, "*");
    if (!all && range_ends(field, ends, &r, err) != 0)
        return -1;
    if (holds(text, '/')) {
        if (!all && !holds(ends, '-'))
            return err_set(err, ERR_INVALID,
                           "\"%.*s\" of the %s has a step but no end; write %.*s-%d/%.*s",
                           (int)(text.len < 40 ? text.len : 40), text.data, field->name,
                           (int)ends.len, ends.data, field->most,
                           (int)(rest.len < 40 ? rest.len : 40), rest.len > 0 ? rest.data : "");
        if (range_step(field, rest, &r, err) != 0)
            return -1;
    }
    for (int i = r.first; i <= r.last; i += r.step)
        *bits |= (uint64_t)1 << i;
    return 0;
}

static int field_parse(const struct field *field, struct str text, uint64_t *bits, struct err *err)
{
    *bits = 0;
    for (struct str rest = text;;) {
        bool more = holds(rest, ',');
        if (item_parse(field, part(&rest, ','), bits, err) != 0)
            return -1;
        if (!more)
            return 0;
    }
}

/* Cuts the text at blanks; the number of fields, FIELDS + 1 where there are more. */
static size_t split(struct str text, struct str ret[FIELDS])
{
    size_t count = 0;
    while (text.len > 0) {
        struct str field = part(&text, ' ');
        if (field.len == 0)
            continue;
        if (count == FIELDS)
            return FIELDS + 1;
        ret[count++] = field;
    }
    return count;
}

int cron_parse(const char *text, struct cron *ret, struct err *err)
{
    struct str found[FIELDS] = {{NULL, 0}};
    uint64_t bits[FIELDS] = {0};
    if (text == NULL || strnlen(text, LIMIT_CRON + 1) > LIMIT_CRON)
        return err_set(err, ERR_LIMIT, "a cron expression has at most %d characters", LIMIT_CRON);
    if (split(str_from(text), found) != FIELDS)
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" is no cron expression; write five fields with blanks between: "
                       "minute, hour, day of the month, month, day of the week (0 2 * * 6 is "
                       "Saturday at two)",
                       text);
    for (size_t i = 0; i < FIELDS; i++)
        if (field_parse(&fields[i], found[i], &bits[i], err) != 0)
            return -1;
    *ret = (struct cron){
        .minutes = bits[MINUTE],
        .hours = (uint32_t)bits[HOUR],
        .days = (uint32_t)bits[DAY],
        .months = (uint32_t)bits[MONTH],
        .weekdays = (uint32_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7F),
        .either = found[DAY].data[0] != '*' && found[WEEKDAY].data[0] != '*',
    };
    return 0;
}

/* ---- minutes of a day ---- */

static int lowest(uint64_t bits)
{
    return __builtin_ctzll(bits);
}

static int highest(uint64_t bits)
{
    return 63 - __builtin_clzll(bits);
}

/* Bits 0 to last; last < 63. */
static uint64_t up_to(int last)
{
    return ((uint64_t)2 << last) - 1;
}

int cron_first_minute(const struct cron *cron)
{
    return lowest(cron->hours) * HOUR_MINUTES + lowest(cron->minutes);
}

int cron_last_minute(const struct cron *cron)
{
    return highest(cron->hours) * HOUR_MINUTES + highest(cron->minutes);
}

static int widest(uint64_t bits)
{
    int most = 0;
    for (int at = lowest(bits); (bits & ~up_to(at)) != 0;) {
        int next = lowest(bits & ~up_to(at));
        if (next - at > most)
            most = next - at;
        at = next;
    }
    return most;
}

int cron_longest_pause(const struct cron *cron)
{
    int within = widest(cron->minutes);
    int hours = widest(cron->hours);
    int across = hours * HOUR_MINUTES - highest(cron->minutes) + lowest(cron->minutes);
    return hours > 0 && across > within ? across : within;
}

/* -1: none at or after, at or before this minute of the day. */
static int minute_from(const struct cron *cron, int minute)
{
    int hour = minute / HOUR_MINUTES;
    uint64_t left = cron->minutes & ~(up_to(minute % HOUR_MINUTES) >> 1);
    if ((cron->hours >> hour & 1) != 0 && left != 0)
        return hour * HOUR_MINUTES + lowest(left);
    uint64_t later = cron->hours & ~up_to(hour);
    return later == 0 ? -1 : lowest(later) * HOUR_MINUTES + lowest(cron->minutes);
}

static int minute_until(const struct cron *cron, int minute)
{
    int hour = minute / HOUR_MINUTES;
    uint64_t left = cron->minutes & up_to(minute % HOUR_MINUTES);
    if ((cron->hours >> hour & 1) != 0 && left != 0)
        return hour * HOUR_MINUTES + highest(left);
    uint64_t earlier = cron->hours & (up_to(hour) >> 1);
    return earlier == 0 ? -1 : highest(earlier) * HOUR_MINUTES + highest(cron->minutes);
}

/* ---- days ---- */

bool cron_never(const struct cron *cron)
{
    for (int month = 1; month <= 12; month++) {
        uint64_t all = up_to(civil_month_days(2000, month)) & ~(uint64_t)1;
        if ((cron->months >> month & 1) != 0 && (cron->either || (cron->days & all) != 0))
            return false;
    }
    return true;
}

/* Its named days, bits 1 to 31. */
static uint64_t month_mask(const struct cron *cron, int year, int month)
{
    if ((cron->months >> month & 1) == 0)
        return 0;
    uint64_t all = up_to(civil_month_days(year, month)) & ~(uint64_t)1;
    int first = civil_weekday(civil_days(year, month, 1));
    uint64_t weeks = 0;
    for (int week = 0; week < 6; week++)
        weeks |= (uint64_t)cron->weekdays << (week * 7);
    weeks = weeks >> first << 1;
    return all & (cron->either ? cron->days | weeks : cron->days & weeks);
}

static bool day_from(const struct cron *cron, int64_t days, int64_t *ret)
{
    struct civil at = civil_from(days * CIVIL_DAY_S);
    uint64_t asked = ~(up_to(at.day) >> 1);
    for (int i = 0; i < SEARCH_MONTHS; i++, asked = ~(uint64_t)0) {
        uint64_t found = month_mask(cron, at.year, at.month) & asked;
        if (found != 0) {
            *ret = civil_days(at.year, at.month, lowest(found));
            return true;
        }
        at.year += at.month / 12;
        at.month = at.month % 12 + 1;
    }
    return false;
}

static bool day_until(const struct cron *cron, int64_t days, int64_t *ret)
{
    struct civil at = civil_from(days * CIVIL_DAY_S);
    uint64_t asked = up_to(at.day);
    for (int i = 0; i < SEARCH_MONTHS; i++, asked = ~(uint64_t)0) {
        uint64_t found = month_mask(cron, at.year, at.month) & asked;
        if (found != 0) {
            *ret = civil_days(at.year, at.month, highest(found));
            return true;
        }
        at.year -= at.month == 1 ? 1 : 0;
        at.month = at.month == 1 ? 12 : at.month - 1;
    }
    return false;
}

/* ---- both ---- */

bool cron_next(const struct cron *cron, int64_t wall_s, int64_t *ret_s)
{
    int64_t minutes = civil_floor(civil_clamp(wall_s) + 59, 60);
    int64_t start = civil_floor(minutes, HOURS * HOUR_MINUTES);
    int64_t days = 0;
    if (cron_never(cron) || !day_from(cron, start, &days))
        return false;
    int minute = cron_first_minute(cron);
    if (days == start) {
        minute = minute_from(cron, (int)(minutes - start * HOURS * HOUR_MINUTES));
        if (minute < 0) {
            if (!day_from(cron, start + 1, &days))
                return false;
            minute = cron_first_minute(cron);
        }
    }
    *ret_s = days * CIVIL_DAY_S + (int64_t)minute * 60;
    return true;
}

bool cron_previous(const struct cron *cron, int64_t wall_s, int64_t *ret_s)
{
    int64_t minutes = civil_floor(civil_clamp(wall_s), 60);
    int64_t start = civil_floor(minutes, HOURS * HOUR_MINUTES);
    int64_t days = 0;
    if (cron_never(cron) || !day_until(cron, start, &days))
        return false;
    int minute = cron_last_minute(cron);
    if (days == start) {
        minute = minute_until(cron, (int)(minutes - start * HOURS * HOUR_MINUTES));
        if (minute < 0) {
            if (!day_until(cron, start - 1, &days))
                return false;
            minute = cron_last_minute(cron);
        }
    }
    *ret_s = days * CIVIL_DAY_S + (int64_t)minute * 60;
    return true;
}
