/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: cron_parse and window_at. Each input is an expression; its first byte chooses duration
 * and zone. What is taken must have a time in each field, and its windows must follow each other
 * and be the same when asked at their ends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "base/limits.h"
#include "rotation/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

/* UTC, Europe, Lord Howe (half an hour), Samoa (a day that never was). */
static const struct zone zones[] = {
    {.until_s = INT64_MAX},
    {.until_s = INT64_MAX,
     .offset_s = 3600,
     .count = 2,
     .transitions = {{1711846800, 7200}, {1729990800, 3600}}},
    {.until_s = INT64_MAX,
     .offset_s = 37800,
     .count = 2,
     .transitions = {{1711846800, 39600}, {1729990800, 37800}}},
    {.until_s = INT64_MAX,
     .offset_s = -36000,
     .count = 2,
     .transitions = {{1711846800, 50400}, {1729990800, -36000}}},
};
static const int64_t durations[] = {60, 3600, 4 * 3600, 86400, WINDOW_MOST_S};

static void check_times(const struct cron *cron, int64_t wall_s)
{
    int64_t next_s = 0;
    int64_t last_s = 0;
    int64_t same_s = 0;
    require(cron->minutes != 0 && cron->minutes >> 60 == 0);
    require(cron->hours != 0 && cron->hours >> 24 == 0);
    require(cron->days != 0 && (cron->days & 1) == 0);
    require(cron->months != 0 && (cron->months & 1) == 0 && cron->months >> 13 == 0);
    require(cron->weekdays != 0 && cron->weekdays >> 7 == 0);
    bool ever = cron_next(cron, wall_s, &next_s);
    require(ever == cron_previous(cron, wall_s, &last_s) && ever != cron_never(cron));
    if (!ever) {
        return;
    }
    require(last_s <= wall_s && wall_s <= next_s && next_s % 60 == 0 && last_s % 60 == 0);
    require(cron_next(cron, last_s, &same_s) && same_s == last_s);
    require(cron_previous(cron, next_s, &same_s) && same_s == next_s);
    require(cron_next(cron, last_s + 1, &same_s) && (same_s == next_s || last_s == wall_s));
}

static void check_window(const struct window_rule *rule, int64_t now_s)
{
    struct window w;
    struct window other;
    window_at(rule, now_s, &w);
    if (!w.open) {
        require(w.opened_s == 0 && w.closes_s == 0 && w.next_opens_s > now_s);
        require((w.next_opens_s == INT64_MAX) == cron_never(&rule->cron));
    } else {
        require(w.opened_s <= now_s && w.closes_s > now_s && w.next_opens_s >= w.closes_s);
        if (w.closes_s != INT64_MAX) {
            require(w.next_opens_s > w.closes_s);
            window_at(rule, w.closes_s, &other);
            require(!other.open && other.next_opens_s == w.next_opens_s);
        }
        if (w.opened_s != 0) {
            window_at(rule, w.opened_s - 1, &other);
            require(!other.open && other.next_opens_s == w.opened_s);
        }
    }
    if (w.next_opens_s != INT64_MAX) {
        window_at(rule, w.next_opens_s, &other);
        require(other.open && other.opened_s == w.next_opens_s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[LIMIT_CRON + 64];
    struct window_rule rule;
    struct err err = {0};
    if (size == 0 || size >= sizeof(text)) {
        return 0;
    }
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    const struct zone *zone = &zones[data[0] % ARRAY_LEN(zones)];
    int64_t duration_s = durations[data[0] / ARRAY_LEN(zones) % ARRAY_LEN(durations)];
    if (window_rule_init(&rule, text, duration_s, zone, &err) != 0) {
        require(err.class == ERR_INVALID || err.class == ERR_LIMIT);
        return 0;
    }
    check_times(&rule.cron, 1709164799);
    check_times(&rule.cron, 951782400); /* 29 February */
    for (size_t i = 0; i < ARRAY_LEN(zones[1].transitions) && zones[1].transitions[i].at_s; i++) {
        check_window(&rule, zones[1].transitions[i].at_s - 1800);
        check_window(&rule, zones[1].transitions[i].at_s);
        check_window(&rule, zones[1].transitions[i].at_s + 1800);
    }
    return 0;
}
