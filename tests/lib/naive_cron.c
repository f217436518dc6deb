/* SPDX-License-Identifier: Apache-2.0 */
#include "naive_cron.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The number behind a mark; otherwise what is usual. */
static long behind(const char *item, char mark, long usual)
{
    const char *found = strchr(item, mark);
    return found != NULL ? strtol(found + 1, NULL, 10) : usual;
}

static bool item_names(const char *item, int value, int least)
{
    long step = behind(item, '/', 1);
    if (item[0] == '*')
        return (value - least) % step == 0;
    long first = strtol(item, NULL, 10);
    return value >= first && value <= behind(item, '-', first) && (value - first) % step == 0;
}

static bool field_names(const char *field, int value, int least)
{
    char text[512];
    char *rest = NULL;
    (void)snprintf(text, sizeof(text), "%s", field);
    for (char *item = strtok_r(text, ",", &rest); item != NULL; item = strtok_r(NULL, ",", &rest))
        if (item_names(item, value, least))
            return true;
    return false;
}

void naive_cron_read(const char *text, struct naive_cron *ret)
{
    char field[5][256];
    if (sscanf(text, "%255s %255s %255s %255s %255s", field[0], field[1], field[2], field[3],
               field[4]) != 5)
        abort();
    memset(ret, 0, sizeof(*ret));
    for (int i = 0; i < 60; i++)
        ret->minute[i] = field_names(field[0], i, 0);
    for (int i = 0; i < 24; i++)
        ret->hour[i] = field_names(field[1], i, 0);
    for (int i = 1; i < 32; i++)
        ret->day[i] = field_names(field[2], i, 1);
    for (int i = 1; i < 13; i++)
        ret->month[i] = field_names(field[3], i, 1);
    for (int i = 0; i < 8; i++)
        ret->weekday[i % 7] |= field_names(field[4], i, 0);
    ret->any_day = field[2][0] == '*';
    ret->any_weekday = field[4][0] == '*';
}

bool naive_cron_names(const struct naive_cron *cron, int64_t wall_minute)
{
    if (!cron->minute[(wall_minute % 60 + 60) % 60] ||
        !cron->hour[(wall_minute % 1440 + 1440) % 1440 / 60])
        return false;
    time_t wall_s = wall_minute * 60;
    struct tm tm;
    if (gmtime_r(&wall_s, &tm) == NULL)
        abort();
    bool day = cron->day[tm.tm_mday];
    bool weekday = cron->weekday[tm.tm_wday];
    bool both = cron->any_day || cron->any_weekday;
    return cron->month[tm.tm_mon + 1] && (both ? day && weekday : day || weekday);
}
