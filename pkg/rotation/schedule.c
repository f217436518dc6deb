/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/schedule.h"

int window_rule_init(struct window_rule *rule, const char *cron, int64_t duration_s,
                     const struct zone *zone, struct err *err)
{
    struct cron parsed;
    if (cron_parse(cron, &parsed, err) != 0)
        return -1;
    if (duration_s < WINDOW_LEAST_S || duration_s > WINDOW_MOST_S)
        return err_set(err, ERR_INVALID,
                       "a window of %lld seconds is too %s; write a duration of 1m to 7d",
                       (long long)duration_s, duration_s < WINDOW_LEAST_S ? "short" : "long");
    *rule = (struct window_rule){parsed, duration_s, zone};
    return 0;
}

/* ---- openings ---- */

/* The last one at utc_s or earlier; false: none. */
static bool opening_until(const struct window_rule *rule, int64_t utc_s, int64_t *ret_s)
{
    int64_t wall_s = 0;
    if (!cron_previous(&rule->cron, zone_reached(rule->zone, utc_s), &wall_s))
        return false;
    *ret_s = zone_reaches(rule->zone, wall_s);
    return true;
}

/* The first one after utc_s. */
static int64_t opening_after(const struct window_rule *rule, int64_t utc_s)
{
    int64_t wall_s = 0;
    if (!cron_next(&rule->cron, zone_reached(rule->zone, utc_s) + 1, &wall_s))
        return INT64_MAX;
    return zone_reaches(rule->zone, wall_s);
}

/* The last, or first, opening of the same day of the wall clock, where all between join; else the
 * same one. So a window that opens every minute is followed in steps of a day. */
static int64_t day_joined(const struct window_rule *rule, int64_t opening_s, bool last)
{
    int minute = last ? cron_last_minute(&rule->cron) : cron_first_minute(&rule->cron);
    int64_t wall_s = opening_s + zone_offset(rule->zone, opening_s);
    int64_t day = civil_floor(wall_s, CIVIL_DAY_S);
    int64_t other_s = zone_reaches(rule->zone, day * CIVIL_DAY_S + (int64_t)minute * 60);
    int64_t from_s = last ? opening_s : other_s;
    int64_t until_s = last ? other_s : opening_s;
    bool joined = from_s <= until_s && zone_steady(rule->zone, from_s - 1, until_s);
    return joined ? other_s : opening_s;
}

/* ---- windows ---- */

static int64_t close_of(const struct window_rule *rule, int64_t opening_s, int64_t limit_s)
{
    bool dense = (int64_t)cron_longest_pause(&rule->cron) * 60 <= rule->duration_s;
    int64_t end_s = opening_s + rule->duration_s;
    while (end_s < limit_s) {
        int64_t next_s = opening_s;
        (void)opening_until(rule, end_s, &next_s);
        if (next_s <= opening_s)
            return end_s;
        opening_s = dense ? day_joined(rule, next_s, true) : next_s;
        end_s = opening_s + rule->duration_s;
    }
    return INT64_MAX;
}

static int64_t open_of(const struct window_rule *rule, int64_t opening_s, int64_t limit_s)
{
    bool dense = (int64_t)cron_longest_pause(&rule->cron) * 60 <= rule->duration_s;
    while (opening_s > limit_s) {
        int64_t earlier_s = opening_after(rule, opening_s - rule->duration_s - 1);
        if (earlier_s >= opening_s)
            return opening_s;
        opening_s = dense ? day_joined(rule, earlier_s, false) : earlier_s;
    }
    return 0;
}

void window_at(const struct window_rule *rule, int64_t now_s, struct window *ret)
{
    int64_t opening_s = 0;
    if (rule == NULL) {
        *ret = (struct window){.open = true, .closes_s = INT64_MAX, .next_opens_s = INT64_MAX};
        return;
    }
    now_s = civil_clamp(now_s);
    *ret = (struct window){.open = opening_until(rule, now_s, &opening_s) &&
                                   opening_s + rule->duration_s > now_s};
    if (!ret->open) {
        ret->next_opens_s = opening_after(rule, now_s);
        return;
    }
    ret->opened_s = open_of(rule, opening_s, now_s - WINDOW_FOLLOWED_S);
    ret->closes_s = close_of(rule, opening_s, now_s + WINDOW_FOLLOWED_S);
    ret->next_opens_s = ret->closes_s == INT64_MAX ? INT64_MAX : opening_after(rule, ret->closes_s);
}
