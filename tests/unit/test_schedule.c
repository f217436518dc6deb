/* SPDX-License-Identifier: Apache-2.0
 *
 * Maintenance windows: by example, and against an oracle that walks minute by minute through two
 * years of a zone with the C library's wall clock and notes when each window opens and closes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/attr.h"
#include "base/date.h"
#include "rotation/schedule.h"
#include "../lib/naive_cron.h"
#include "../lib/zone_file.h"

#define HOUR 3600
#define DAY 86400

/* The first second in a window, from from_s on. */
static int64_t window_from(const struct window_rule *rule, int64_t from_s)
{
    struct window window;
    window_at(rule, from_s, &window);
    return window.open ? from_s : window.next_opens_s;
}

static int64_t at(const char *text)
{
    int64_t s = 0;
    assert_true(date_parse(text, &s));
    return s;
}

static struct window_rule rule_of(const char *cron, int64_t duration_s, const struct zone *zone)
{
    struct window_rule rule;
    struct err err = {0};
    if (window_rule_init(&rule, cron, duration_s, zone, &err) != 0)
        fail_msg("%s: %s", cron, err.msg);
    return rule;
}

/* ---- by example ---- */

static struct zone zone;

static void zone_is(const char *name)
{
    zone_file_zone(name, at("2010-01-01T00:00:00Z"), &zone);
}

/* The window at a time, "open, close, next" as texts; "-" where it is closed. */
static void check(const char *cron, int64_t duration_s, const char *now, const char *want)
{
    struct window_rule rule = rule_of(cron, duration_s, &zone);
    struct window w;
    char got[128];
    char open[DATE_TEXT_MAX];
    char close[DATE_TEXT_MAX];
    char next[DATE_TEXT_MAX];
    window_at(&rule, at(now), &w);
    date_rfc3339(w.opened_s, open);
    date_rfc3339(w.closes_s, close);
    date_rfc3339(w.next_opens_s, next);
    if (!w.open)
        (void)snprintf(got, sizeof(got), "- %s", next);
    else
        (void)snprintf(got, sizeof(got), "%s %s %s", open, close, next);
    if (strcmp(got, want) != 0)
        fail_msg("%s at %s: %s instead of %s", cron, now, got, want);
    assert_int_equal(window_from(&rule, at(now)), w.open ? at(now) : w.next_opens_s);
}

static void a_night_a_week(void **state)
{
    (void)state;
    zone_is("Europe/Amsterdam");
    check("0 2 * * 6", 4 * HOUR, "2024-07-05T12:00:00Z", "- 2024-07-06T00:00:00Z");
    check("0 2 * * 6", 4 * HOUR, "2024-07-05T23:59:59Z", "- 2024-07-06T00:00:00Z");
    check("0 2 * * 6", 4 * HOUR, "2024-07-06T00:00:00Z",
          "2024-07-06T00:00:00Z 2024-07-06T04:00:00Z 2024-07-13T00:00:00Z");
    check("0 2 * * 6", 4 * HOUR, "2024-07-06T03:59:59Z",
          "2024-07-06T00:00:00Z 2024-07-06T04:00:00Z 2024-07-13T00:00:00Z");
    check("0 2 * * 6", 4 * HOUR, "2024-07-06T04:00:00Z", "- 2024-07-13T00:00:00Z");
}

static void over_midnight_and_the_year(void **state)
{
    (void)state;
    zone_is("America/New_York");
    check("30 22 31 12 *", 4 * HOUR, "2025-01-01T05:30:00Z",
          "2025-01-01T03:30:00Z 2025-01-01T07:30:00Z 2026-01-01T03:30:00Z");
    check("0 23 * * FRI", 7 * DAY, "2025-02-05T00:00:00Z",
          "1970-01-01T00:00:00Z 9999-12-31T23:59:59Z 9999-12-31T23:59:59Z");
}

static void an_opening_in_a_gap(void **state)
{
    (void)state;
    zone_is("Europe/Amsterdam");
    check("30 2 * * 0", HOUR, "2024-03-31T00:59:59Z", "- 2024-03-31T01:00:00Z");
    check("30 2 * * 0", HOUR, "2024-03-31T01:00:00Z",
          "2024-03-31T01:00:00Z 2024-03-31T02:00:00Z 2024-04-07T00:30:00Z");
    zone_is("America/Sao_Paulo"); /* midnight itself is jumped over */
    check("0 0 * * 0", HOUR, "2018-11-04T03:00:00Z",
          "2018-11-04T03:00:00Z 2018-11-04T04:00:00Z 2018-11-11T02:00:00Z");
    zone_is("Australia/Lord_Howe");
    check("15 2 * * 0", 2 * HOUR, "2024-10-05T15:30:00Z",
          "2024-10-05T15:30:00Z 2024-10-05T17:30:00Z 2024-10-12T15:15:00Z");
    zone_is("Pacific/Apia"); /* there was no 30 December 2011 */
    check("0 12 30 12 *", HOUR, "2011-12-30T10:00:00Z",
          "2011-12-30T10:00:00Z 2011-12-30T11:00:00Z 2012-12-29T22:00:00Z");
}

static void an_opening_shown_twice(void **state)
{
    (void)state;
    zone_is("Europe/Amsterdam");
    check("30 2 * * 0", HOUR / 2, "2024-10-27T00:30:00Z",
          "2024-10-27T00:30:00Z 2024-10-27T01:00:00Z 2024-11-03T01:30:00Z");
    check("30 2 * * 0", HOUR / 2, "2024-10-27T01:30:00Z", "- 2024-11-03T01:30:00Z");
    /* Four hours of real time, though the clock shows three. */
    check("0 2 * * 0", 4 * HOUR, "2024-10-27T03:59:59Z",
          "2024-10-27T00:00:00Z 2024-10-27T04:00:00Z 2024-11-03T01:00:00Z");
}

static void windows_that_touch_are_one(void **state)
{
    (void)state;
    zone_set_utc(&zone);
    check("0 1-3 * * *", HOUR, "2024-05-05T02:30:00Z",
          "2024-05-05T01:00:00Z 2024-05-05T04:00:00Z 2024-05-06T01:00:00Z");
    check("0 1-3 * * *", HOUR - 1, "2024-05-05T02:30:00Z",
          "2024-05-05T02:00:00Z 2024-05-05T02:59:59Z 2024-05-05T03:00:00Z");
    check("0 1,3 * * *", 3 * HOUR, "2024-05-05T05:59:59Z",
          "2024-05-05T01:00:00Z 2024-05-05T06:00:00Z 2024-05-06T01:00:00Z");
    check("0 22,4 1 * *", DAY, "2024-05-02T12:00:00Z",
          "2024-05-01T04:00:00Z 2024-05-02T22:00:00Z 2024-06-01T04:00:00Z");
}

static void always_open(void **state)
{
    (void)state;
    static const char *const zones[] = {"UTC", "Europe/Amsterdam"};
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        zone_is(zones[i]);
        check("* * * * *", 60, "2024-07-01T00:00:00Z",
              "1970-01-01T00:00:00Z 9999-12-31T23:59:59Z 9999-12-31T23:59:59Z");
        check("0 0 * * *", DAY, "2024-07-01T00:00:00Z",
              "1970-01-01T00:00:00Z 9999-12-31T23:59:59Z 9999-12-31T23:59:59Z");
    }
    /* 25 hours of wall clock between two openings. */
    check("0 0 * * *", DAY, "2024-10-27T22:30:00Z", "- 2024-10-27T23:00:00Z");
    struct window w;
    window_at(NULL, 5, &w);
    assert_true(w.open && w.opened_s == 0 && w.closes_s == INT64_MAX &&
                w.next_opens_s == INT64_MAX);
    assert_int_equal(window_from(NULL, 5), 5);
}

static void never_open(void **state)
{
    (void)state;
    zone_is("Europe/Amsterdam");
    struct window_rule rule = rule_of("0 0 30 2 *", DAY, &zone);
    for (int64_t s = 0; s < 4000LL * DAY; s += DAY) {
        struct window w;
        window_at(&rule, s, &w);
        assert_true(!w.open && w.opened_s == 0 && w.closes_s == 0 && w.next_opens_s == INT64_MAX);
    }
    assert_int_equal(window_from(&rule, 0), INT64_MAX);
}

static void durations_are_bounded(void **state)
{
    (void)state;
    static const int64_t bad[] = {INT64_MIN, -1, 0, 59, 7 * DAY + 1, INT64_MAX};
    struct window_rule rule;
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(window_rule_init(&rule, "0 2 * * 6", bad[i], &zone, &err), -1);
        assert_non_null(strstr(err.msg, "write a duration of 1m to 7d"));
        assert_non_null(strstr(err.msg, i < 4 ? "short" : "long"));
    }
    assert_int_equal(window_rule_init(&rule, "0 2 * * 6", 60, &zone, &err), 0);
    assert_int_equal(window_rule_init(&rule, "0 2 * * 6", 7 * DAY, &zone, &err), 0);
    assert_int_equal(window_rule_init(&rule, "0 2 * *", DAY, &zone, &err), -1);
    assert_non_null(strstr(err.msg, "five fields"));
}

static void extreme_times_are_answered(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN, 0, CIVIL_LEAST_S, CIVIL_MOST_S, INT64_MAX};
    zone_is("Europe/Amsterdam");
    struct window_rule rule = rule_of("*/5 * * * *", DAY, &zone);
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct window w;
        window_at(&rule, times[i], &w);
    }
}

/* ---- what is due waits for the next window ---- */

static void check_next(const struct window_rule *rule, const char *now, const char *due,
                       const char *when)
{
    int64_t from_s = at(due) > at(now) ? at(due) : at(now);
    if (window_from(rule, from_s) != at(when))
        fail_msg("at %s: %lld instead of %s", now, (long long)window_from(rule, from_s), when);
}

static void due_in_the_next_window(void **state)
{
    (void)state;
    const char *due = "2024-03-31T12:00:00Z"; /* a Sunday */
    zone_set_utc(&zone);
    struct window_rule rule = rule_of("0 2 * * 6", 4 * HOUR, &zone);
    check_next(&rule, "2024-01-02T00:00:00Z", due, "2024-04-06T02:00:00Z");
    check_next(&rule, "2024-04-06T01:59:59Z", due, "2024-04-06T02:00:00Z");
    check_next(&rule, "2024-04-06T03:00:00Z", due, "2024-04-06T03:00:00Z");
    /* Back after the window: not now, but in the next one. */
    check_next(&rule, "2024-04-06T06:00:00Z", due, "2024-04-13T02:00:00Z");
    check_next(&rule, "2024-09-09T06:00:00Z", due, "2024-09-14T02:00:00Z");
    /* Due inside of a window: then. */
    rule = rule_of("0 10 * * 0", 4 * HOUR, &zone);
    check_next(&rule, "2024-01-02T00:00:00Z", due, due);
    /* Without a window: when it is due, or at once. */
    check_next(NULL, "2024-01-02T00:00:00Z", due, due);
    check_next(NULL, "2024-05-02T00:00:00Z", due, "2024-05-02T00:00:00Z");
}

/* ---- the oracle ---- */

#define MINUTES (2 * 366 * 1440)

static const struct {
    const char *zone, *start;
} places[] = {
    {"Europe/Amsterdam", "2023-01-01T00:00:00Z"},
    {"America/New_York", "2024-01-01T00:00:00Z"},
    {"Australia/Lord_Howe", "2023-01-01T00:00:00Z"},
    {"America/Sao_Paulo", "2017-01-01T00:00:00Z"},
    {"Africa/Casablanca", "2024-01-01T00:00:00Z"},
    {"Pacific/Apia", "2010-06-01T00:00:00Z"},
    {"UTC", "2023-01-01T00:00:00Z"},
};

static const struct {
    const char *cron;
    int64_t duration_s;
    unsigned stride; /* look at each so manieth window that is far from a change of the clock */
} windows[] = {
    {"0 2 * * 6", 4 * HOUR, 1},      {"30 2 * * *", 90 * 60, 7},
    {"*/20 1-3 * * *", 60, 401},     {"15 23,0 * * *", 2 * HOUR, 7},
    {"0 0 * * *", DAY, 1},           {"* * * * *", 60, 1},
    {"0 */6 * * 1-5", 7 * HOUR, 5},  {"45 1 1-7 * 0", 2 * HOUR + 7, 1},
    {"0 12 30 12 *", 7 * DAY, 1},    {"10,40 * */3 * *", 30 * 60, 1},
    {"0 9-17 * * *", 10 * HOUR, 1},  {"0,1,3,5 2 * * *", 60, 97},
    {"59 23 28-31 * *", 3 * DAY, 1},
};

struct interval {
    int64_t open_s, close_s;
};

struct oracle {
    int64_t start_s;
    int32_t wall[MINUTES]; /* the wall clock at each minute, in minutes since 1970 */
    int64_t changes[16];   /* when it was set forward or back */
    size_t changes_count;
    struct interval *found;
    size_t count, cap;
};

static void oracle_use(struct oracle *o, const char *name, int64_t start_s)
{
    o->start_s = start_s;
    zone_file_use(name);
    o->changes_count = 0;
    for (int64_t i = 0; i < MINUTES; i++) {
        o->wall[i] = (int32_t)(zone_file_wall(start_s + i * 60) / 60);
        if (i > 0 && o->wall[i] - o->wall[i - 1] != 1) {
            assert_true(o->changes_count < ARRAY_LEN(o->changes));
            o->changes[o->changes_count++] = start_s + i * 60;
        }
    }
}

static void oracle_opens(struct oracle *o, int64_t open_s, int64_t duration_s)
{
    if (o->count > 0 && o->found[o->count - 1].close_s >= open_s) {
        o->found[o->count - 1].close_s = open_s + duration_s;
        return;
    }
    if (o->count == o->cap) {
        o->cap = o->cap * 2 + 64;
        struct interval *larger = realloc(o->found, o->cap * sizeof(*larger));
        assert_non_null(larger);
        o->found = larger;
    }
    o->found[o->count++] = (struct interval){open_s, open_s + duration_s};
}

/* A named minute opens a window the first time that the clock shows it or has jumped over it. */
static void oracle_walk(struct oracle *o, const char *cron, int64_t duration_s)
{
    struct naive_cron naive;
    int64_t shown = o->wall[0];
    naive_cron_read(cron, &naive);
    o->count = 0;
    for (int64_t i = 1; i < MINUTES; i++) {
        bool opens = false;
        for (; shown < o->wall[i]; shown++)
            opens = opens || naive_cron_names(&naive, shown + 1);
        if (opens)
            oracle_opens(o, o->start_s + i * 60, duration_s);
    }
}

/* The first window that closes after now; count where there is none. */
static size_t oracle_find(const struct oracle *o, int64_t now_s)
{
    size_t low = 0;
    size_t high = o->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (o->found[middle].close_s <= now_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What the walk did not see, before its start and after its end, is not compared. */
static unsigned compare(const struct oracle *o, const struct window_rule *rule, int64_t now_s)
{
    int64_t end_s = o->start_s + (int64_t)MINUTES * 60;
    if (now_s < o->start_s + WINDOW_FOLLOWED_S + WINDOW_MOST_S ||
        now_s > end_s - WINDOW_FOLLOWED_S - WINDOW_MOST_S)
        return 0;
    size_t i = oracle_find(o, now_s);
    bool open = i < o->count && o->found[i].open_s <= now_s;
    struct window want = {.open = open, .next_opens_s = INT64_MAX};
    struct window got;
    window_at(rule, now_s, &got);
    if (open) {
        want.opened_s = now_s - o->found[i].open_s >= WINDOW_FOLLOWED_S ? 0 : o->found[i].open_s;
        want.closes_s =
            o->found[i].close_s - now_s >= WINDOW_FOLLOWED_S ? INT64_MAX : o->found[i].close_s;
        i++;
    }
    if (want.closes_s != INT64_MAX)
        want.next_opens_s = i < o->count ? o->found[i].open_s : 0;
    bool unseen = want.next_opens_s == 0 && got.next_opens_s >= end_s;
    if (got.open != want.open || got.opened_s != want.opened_s || got.closes_s != want.closes_s ||
        (got.next_opens_s != want.next_opens_s && !unseen))
        fail_msg("at %lld: %d %lld %lld %lld instead of %d %lld %lld %lld", (long long)now_s,
                 got.open, (long long)got.opened_s, (long long)got.closes_s,
                 (long long)got.next_opens_s, want.open, (long long)want.opened_s,
                 (long long)want.closes_s, (long long)want.next_opens_s);
    return 1;
}

static unsigned compare_window(const struct oracle *o, const struct window_rule *rule, size_t i)
{
    unsigned compared = 0;
    const struct interval *w = &o->found[i];
    const int64_t times[] = {w->open_s - 1, w->open_s, (w->open_s + w->close_s) / 2, w->close_s - 1,
                             w->close_s};
    for (size_t k = 0; k < ARRAY_LEN(times); k++)
        compared += compare(o, rule, times[k]);
    return compared;
}

/* Around a change of the clock. */
static unsigned compare_change(const struct oracle *o, const struct window_rule *rule, int64_t at_s)
{
    unsigned compared = 0;
    size_t first = oracle_find(o, at_s - 3 * HOUR);
    for (size_t i = first; i < first + 20 && i < o->count; i++)
        compared += compare_window(o, rule, i);
    for (int64_t s = at_s - DAY; s < at_s + DAY; s += 13 * 60 + 1)
        compared += compare(o, rule, s);
    return compared;
}

static unsigned compare_all(const struct oracle *o, const struct window_rule *rule, unsigned stride)
{
    unsigned compared = 0;
    for (size_t i = 0; i < o->count; i += stride)
        compared += compare_window(o, rule, i);
    for (size_t i = 0; i < o->changes_count; i++)
        compared += compare_change(o, rule, o->changes[i]);
    return compared;
}

static void windows_are_those_of_the_oracle(void **state)
{
    (void)state;
    static struct oracle o;
    unsigned compared = 0;
    for (size_t p = 0; p < ARRAY_LEN(places); p++) {
        int64_t start_s = at(places[p].start);
        oracle_use(&o, places[p].zone, start_s);
        assert_true((o.changes_count > 0) == (strcmp(places[p].zone, "UTC") != 0));
        zone_file_zone(places[p].zone, start_s, &zone);
        for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
            struct window_rule rule = rule_of(windows[i].cron, windows[i].duration_s, &zone);
            oracle_walk(&o, windows[i].cron, windows[i].duration_s);
            assert_true(o.count > 0);
            compared += compare_all(&o, &rule, windows[i].stride);
        }
    }
    free(o.found);
    assert_true(compared > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_night_a_week),
        cmocka_unit_test(over_midnight_and_the_year),
        cmocka_unit_test(an_opening_in_a_gap),
        cmocka_unit_test(an_opening_shown_twice),
        cmocka_unit_test(windows_that_touch_are_one),
        cmocka_unit_test(always_open),
        cmocka_unit_test(never_open),
        cmocka_unit_test(durations_are_bounded),
        cmocka_unit_test(extreme_times_are_answered),
        cmocka_unit_test(due_in_the_next_window),
        cmocka_unit_test(windows_are_those_of_the_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
