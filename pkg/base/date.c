/* SPDX-License-Identifier: Apache-2.0 */
#include "base/date.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/civil.h"

#define DAY_S 86400
#define YEAR_0_S (-62167219200)  /* 0000-01-01T00:00:00Z */
#define YEAR_9999_S 253402300799 /* 9999-12-31T23:59:59Z: RFC 3339 has four digits */
#define DURATION_TEXT_MAX 64

static struct tm split(int64_t time_s)
{
    time_t t = time_s < YEAR_0_S ? YEAR_0_S : time_s > YEAR_9999_S ? YEAR_9999_S : time_s;
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    return tm;
}

void date_rfc3339(int64_t time_s, char out[DATE_TEXT_MAX])
{
    struct tm tm = split(time_s);
    strftime(out, DATE_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
    /* glibc writes years below 1000 without leading zeros. */
    if (tm.tm_year + 1900 < 1000) {
        char rest[DATE_TEXT_MAX];
        strftime(rest, sizeof(rest), "-%m-%dT%H:%M:%SZ", &tm);
        snprintf(out, DATE_TEXT_MAX, "%04u%.20s", (unsigned)(tm.tm_year + 1900) % 10000U, rest);
    }
}

void date_micro(int64_t time_us, char out[DATE_TEXT_MAX])
{
    int64_t seconds = time_us / 1000000;
    int64_t micros = time_us % 1000000;
    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    date_rfc3339(seconds, out);
    size_t z = strlen(out) - 1;
    snprintf(out + z, DATE_TEXT_MAX - z, ".%06uZ", (unsigned)micros);
}

/* Exactly count digits at *p, as a number within [min, max]; moves *p behind them. */
static bool digits(const char **p, int count, int min, int max, int *ret)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        char c = (*p)[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *p += count;
    *ret = value;
    return value >= min && value <= max;
}

static bool skip(const char **p, char upper, char lower)
{
    if (**p != upper && **p != lower)
        return false;
    ++*p;
    return true;
}

/* "Z" or "+hh:mm", to the end of the text. */
static bool offset(const char *p, int64_t *ret_s)
{
    int hours = 0;
    int minutes = 0;
    *ret_s = 0;
    if (skip(&p, 'Z', 'z'))
        return *p == '\0';
    int sign = *p == '-' ? -1 : 1;
    if (!skip(&p, '+', '-') || !digits(&p, 2, 0, 23, &hours) || !skip(&p, ':', ':') ||
        !digits(&p, 2, 0, 59, &minutes))
        return false;
    *ret_s = sign * (hours * 3600 + minutes * 60);
    return *p == '\0';
}

bool date_parse(const char *text, int64_t *ret_s)
{
    struct tm tm = {0};
    int year = 0;
    int month = 0;
    int64_t offset_s = 0;
    const char *p = text;
    if (p == NULL || !digits(&p, 4, 0, 9999, &year) || !skip(&p, '-', '-') ||
        !digits(&p, 2, 1, 12, &month) || !skip(&p, '-', '-') ||
        !digits(&p, 2, 1, civil_month_days(year, month), &tm.tm_mday) || !skip(&p, 'T', 't') ||
        !digits(&p, 2, 0, 23, &tm.tm_hour) || !skip(&p, ':', ':') ||
        !digits(&p, 2, 0, 59, &tm.tm_min) || !skip(&p, ':', ':') ||
        !digits(&p, 2, 0, 60, &tm.tm_sec))
        return false;
    if (*p == '.') {
        p++;
        if (*p < '0' || *p > '9')
            return false;
        while (*p >= '0' && *p <= '9')
            p++;
    }
    if (!offset(p, &offset_s))
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    *ret_s = (int64_t)timegm(&tm) - offset_s;
    return true;
}

static int64_t unit_seconds(char unit)
{
    switch (unit) {
    case 'd': return DAY_S;
    case 'h': return 3600;
    case 'm': return 60;
    case 's': return 1;
    default: return 0;
    }
}

bool date_duration_parse(const char *text, int64_t *ret_s)
{
    int64_t total = 0;
    if (text == NULL || *text == '\0' || strnlen(text, DURATION_TEXT_MAX + 1) > DURATION_TEXT_MAX)
        return false;
    while (*text != '\0') {
        int64_t value = 0;
        const char *start = text;
        for (; *text >= '0' && *text <= '9'; text++)
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *text - '0', &value))
                return false;
        int64_t unit = text == start ? 0 : unit_seconds(*text);
        if (unit == 0 || __builtin_mul_overflow(value, unit, &value) ||
            __builtin_add_overflow(total, value, &total))
            return false;
        text++;
    }
    *ret_s = total;
    return true;
}

void date_duration_words(int64_t seconds, char out[DATE_TEXT_MAX])
{
    static const char units[] = "dhms";
    uint64_t left = seconds < 0 ? 0 - (uint64_t)seconds : (uint64_t)seconds;
    size_t i = 0;
    while (units[i] != 's' && left < (uint64_t)unit_seconds(units[i]))
        i++;
    uint64_t size = (uint64_t)unit_seconds(units[i]);
    uint64_t small = units[i] == 's' ? 0 : left % size / (uint64_t)unit_seconds(units[i + 1]);
    int len = snprintf(out, DATE_TEXT_MAX, "%llu%c", (unsigned long long)(left / size), units[i]);
    if (small > 0 && len > 0)
        snprintf(out + len, DATE_TEXT_MAX - (size_t)len, " %llu%c", (unsigned long long)small,
                 units[i + 1]);
}
