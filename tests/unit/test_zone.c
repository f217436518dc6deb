/* SPDX-License-Identifier: Apache-2.0
 *
 * Zones against the C library, which reads the same files with code of its own; the calendar
 * against timegm; made-up files for what no real one holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <ftw.h>
#include <cmocka.h>
#include "base/attr.h"
#include "base/date.h"
#include "base/limits.h"
#include "base/zone.h"
#include "../lib/zone_file.h"

#define Y2020 1577836800LL
#define HOUR 3600

static int64_t at(const char *text)
{
    int64_t s = 0;
    assert_true(date_parse(text, &s));
    return s;
}

static struct civil wall(const char *text)
{
    return civil_from(at(text)); /* with a Z that only fills the place */
}

static void the_calendar_is_that_of_timegm(void **state)
{
    (void)state;
    for (int64_t s = CIVIL_LEAST_S; s <= CIVIL_MOST_S; s += 86400LL * 17 + 3599) {
        time_t t = s;
        struct tm tm = {0};
        assert_non_null(gmtime_r(&t, &tm));
        struct civil c = civil_from(s);
        assert_true(c.year == tm.tm_year + 1900 && c.month == tm.tm_mon + 1 && c.day == tm.tm_mday);
        assert_true(c.hour == tm.tm_hour && c.minute == tm.tm_min && c.second == tm.tm_sec);
        assert_int_equal(c.weekday, tm.tm_wday);
        assert_int_equal(civil_to(&c), s);
    }
    assert_int_equal(civil_from(INT64_MAX).year, 9999);
    assert_int_equal(civil_from(INT64_MIN).year, 0);
    assert_int_equal(civil_month_days(2000, 2), 29);
    assert_int_equal(civil_month_days(2100, 2), 28);
    assert_int_equal(civil_month_days(2024, 9), 30);
    assert_int_equal(civil_floor(-1, 60), -1);
    assert_int_equal(civil_floor(-60, 60), -1);
}

static void names_are_paths_below_one_folder(void **state)
{
    (void)state;
    static const char *const good[] = {
        "UTC",       "Europe/Amsterdam", "America/Argentina/Buenos_Aires",
        "Etc/GMT+5", "Etc/GMT-14",       "America/Port-au-Prince"};
    static const char *const bad[] = {
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        "Europe/Amsterdam ",
        "a.b",
        "+VERSION",
        "a\nb",
        "Europe\\x",
        "\xc3\xa9",
        "1",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(zone_name_check(good[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(zone_name_check(bad[i], &err), -1);
        assert_int_equal(err.class, ERR_INVALID);
        assert_non_null(strstr(err.msg, "Europe/Amsterdam"));
    }
    assert_int_equal(zone_name_check(NULL, &err), -1);
    assert_int_equal(strlen(bad[ARRAY_LEN(bad) - 1]), LIMIT_ZONE_NAME + 1);
    assert_int_equal(zone_name_check(bad[ARRAY_LEN(bad) - 1] + 1, &err), 0);
    assert_true(zone_name_is_utc("UTC") && zone_name_is_utc("Etc/UTC"));
    assert_false(zone_name_is_utc("utc") || zone_name_is_utc(NULL) || zone_name_is_utc("GMT"));
}

static void utc_needs_no_file(void **state)
{
    (void)state;
    struct zone z;
    zone_set_utc(&z);
    assert_int_equal(zone_offset(&z, Y2020), 0);
    assert_int_equal(zone_reaches(&z, Y2020), Y2020);
    assert_int_equal(zone_reached(&z, Y2020), Y2020);
    struct civil c = zone_local(&z, Y2020);
    assert_true(c.year == 2020 && c.month == 1 && c.day == 1 && c.weekday == 3);
}

/* ---- rules ---- */

static void rule(const char *text, struct tz_rule *ret)
{
    struct err err = {0};
    if (tz_rule_parse(str_from(text), ret, &err) != 0)
        fail_msg("%s: %s", text, err.msg);
}

static void check_year(const char *text, int year, const char *first, const char *second)
{
    struct tz_rule r;
    struct zone_transition both[2];
    rule(text, &r);
    assert_true(r.changes);
    tz_rule_year(&r, year, both);
    assert_int_equal(both[0].at_s, at(first));
    assert_int_equal(both[1].at_s, at(second));
    assert_int_equal(tz_rule_offset(&r, both[0].at_s - 1), both[1].offset_s);
    assert_int_equal(tz_rule_offset(&r, both[0].at_s), both[0].offset_s);
    assert_int_equal(tz_rule_offset(&r, both[1].at_s - 1), both[0].offset_s);
    assert_int_equal(tz_rule_offset(&r, both[1].at_s), both[1].offset_s);
}

static void rules_of_every_form(void **state)
{
    (void)state;
    check_year("CET-1CEST,M3.5.0,M10.5.0/3", 2024, "2024-03-31T01:00:00Z", "2024-10-27T01:00:00Z");
    check_year("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2024, "2024-04-06T15:00:00Z",
               "2024-10-05T15:30:00Z");
    check_year("IST-1GMT0,M10.5.0,M3.5.0/1", 2024, "2024-03-31T01:00:00Z", "2024-10-27T01:00:00Z");
    check_year("EET-2EEST,M3.4.4/50,M10.4.4/50", 2024, "2024-03-30T00:00:00Z",
               "2024-10-25T23:00:00Z");
    check_year("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2024, "2024-03-31T01:00:00Z",
               "2024-10-27T01:00:00Z");
    /* 29 February: Jn never counts it, n does. */
    check_year("AAA0BBB,J59/0,J60/0", 2024, "2024-02-28T00:00:00Z", "2024-02-29T23:00:00Z");
    check_year("AAA0BBB,59/0,60/0", 2024, "2024-02-29T00:00:00Z", "2024-02-29T23:00:00Z");
    check_year("AAA0BBB,59/0,60/0", 2023, "2023-03-01T00:00:00Z", "2023-03-01T23:00:00Z");
    check_year("AAA+1:02:03BBB-1:02:03,J1/0:00:01,J365/-167:59:59", 2023, "2023-01-01T01:02:04Z",
               "2023-12-23T22:57:58Z");
    struct tz_rule r;
    rule("<-00>0", &r);
    assert_false(r.changes);
    rule("XXX3EDT4,0/0,J365/23", &r); /* summer time all year */
    for (int64_t s = Y2020; s < Y2020 + 86400LL * 800; s += HOUR)
        assert_int_equal(tz_rule_offset(&r, s), -4 * HOUR);
}

static void rules_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"CE-1",
                                      "CET",
                                      "CET-25",
                                      "CET-1CEST",
                                      "CET-1CEST,M3.5.0",
                                      "CET-1CEST,M3.5.0,M10.5.0/3x",
                                      "CET-1CEST,M0.5.0,M10.5.0",
                                      "CET-1CEST,M13.5.0,M10.5.0",
                                      "CET-1CEST,M3.0.0,M10.5.0",
                                      "CET-1CEST,M3.6.0,M10.5.0",
                                      "CET-1CEST,M3.5.7,M10.5.0",
                                      "CET-1CEST,J0,J10",
                                      "CET-1CEST,J366,J10",
                                      "CET-1CEST,366,10",
                                      "CET-1CEST,M3.5.0/168,M10.5.0",
                                      "CET-1CEST,M3.5.0/-168,M10.5.0",
                                      "CET-1CEST,M3.5.0/1:60,M10.5.0",
                                      "<+01-1",
                                      "<+0>-1",
                                      "+01-1",
                                      "CET-1:",
                                      "CET--1",
                                      "-1",
                                      "CET-1CEST,M3.5.0/,M10.5.0",
                                      "CET-1CEST,M3.5,M10.5.0",
                                      "CET-9999999999999999999999",
                                      "CET-1 ",
                                      " CET-1",
                                      "CET-1CEST,M3.5.0;M10.5.0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tz_rule r;
        struct err err = {0};
        if (tz_rule_parse(str_from(bad[i]), &r, &err) == 0)
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(err.class, ERR_INVALID);
    }
    assert_int_equal(tz_rule_parse((struct str){NULL, 0}, &(struct tz_rule){0}, NULL), -1);
}

/* ---- files ---- */

static const int64_t two_times[] = {Y2020, Y2020 + 100 * HOUR};
static const uint8_t two_index[] = {1, 0};
static const int32_t two_offsets[] = {0, HOUR};

static struct zone_file_parts two(char version)
{
    return (struct zone_file_parts){.version = version,
                                    .times = two_times,
                                    .index = two_index,
                                    .times_count = 2,
                                    .offsets = two_offsets,
                                    .offsets_count = 2,
                                    .footer = "AAA0"};
}

static int read_parts(const struct zone_file_parts *parts, int64_t from_s, struct zone *z,
                      struct err *err)
{
    struct str file = zone_file_make(parts);
    int result = zone_parse(file, from_s, z, err);
    free((void *)file.data);
    return result;
}

static void all_versions_are_read(void **state)
{
    (void)state;
    static const char versions[] = {0, '2', '3', '4'};
    for (size_t i = 0; i < sizeof(versions); i++) {
        struct zone z;
        struct zone_file_parts parts = two(versions[i]);
        assert_int_equal(read_parts(&parts, Y2020 - 1, &z, NULL), 0);
        assert_int_equal(z.count, 2);
        assert_int_equal(zone_offset(&z, Y2020 - 1), 0);
        assert_int_equal(zone_offset(&z, Y2020), HOUR);
        assert_int_equal(zone_offset(&z, Y2020 + 100 * HOUR), 0);
        assert_int_equal(read_parts(&parts, Y2020 + 1, &z, NULL), 0);
        assert_int_equal(z.count, 1);
        assert_int_equal(z.offset_s, HOUR);
    }
}

static void a_rule_alone_is_enough(void **state)
{
    (void)state;
    struct zone z;
    struct zone_file_parts parts = two('3');
    parts.times_count = 0;
    parts.footer = "CET-1CEST,M3.5.0,M10.5.0/3";
    assert_int_equal(read_parts(&parts, at("2024-07-01T00:00:00Z"), &z, NULL), 0);
    assert_int_equal(z.offset_s, 2 * HOUR);
    assert_int_equal(z.count, 60);
    parts.footer = "";
    assert_int_equal(read_parts(&parts, Y2020, &z, NULL), 0);
    assert_int_equal(z.count, 0);
    parts.footer = "EST5EDT,0/0,J365/25"; /* always summer: nothing ever changes */
    assert_int_equal(read_parts(&parts, Y2020, &z, NULL), 0);
    assert_int_equal(z.offset_s, -4 * HOUR);
    assert_int_equal(z.count, 0);
}

static void refuse(const struct zone_file_parts *parts, enum err_class class, const char *word)
{
    struct zone z = {.count = 77};
    struct err err = {0};
    assert_int_equal(read_parts(parts, Y2020 - 1, &z, &err), -1);
    assert_int_equal(err.class, class);
    if (strstr(err.msg, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.msg, word);
    assert_int_equal(z.count, 77);
}

static void contradictions_are_named(void **state)
{
    (void)state;
    static const int64_t same[] = {Y2020, Y2020};
    static const uint8_t far[] = {1, 2};
    static const int32_t huge[] = {0, ZONE_OFFSET_MOST_S + 1};
    static const int32_t deep[] = {ZONE_OFFSET_LEAST_S - 1, 0};
    struct zone_file_parts p = two('2');
    p.times = same;
    refuse(&p, ERR_INVALID, "out of order");
    p = two('2');
    p.index = far;
    refuse(&p, ERR_INVALID, "out of order");
    p = two('2');
    p.offsets = huge;
    refuse(&p, ERR_INVALID, "offset");
    p.offsets = deep;
    refuse(&p, ERR_INVALID, "offset");
    p = two('2');
    p.leaps = 1;
    refuse(&p, ERR_INVALID, "right/");
    p = two('\0');
    p.leaps = 1;
    refuse(&p, ERR_INVALID, "right/");
    p = two('2');
    p.standards = 1;
    refuse(&p, ERR_INVALID, "contradict");
    p = two('2');
    p.times_count = 0;
    p.offsets_count = 0;
    refuse(&p, ERR_INVALID, "contradict");
    p = two('5');
    refuse(&p, ERR_INVALID, "version");
    p = two('2');
    p.footer = "AAA1";
    refuse(&p, ERR_INVALID, "contradicts its last");
    p.footer = "nonsense";
    refuse(&p, ERR_INVALID, "POSIX TZ");
}

static void bounds_are_kept(void **state)
{
    (void)state;
    enum { MANY = ZONE_TRANSITIONS_MAX + 1 };
    int64_t times[MANY];
    uint8_t index[MANY];
    struct zone z;
    for (size_t i = 0; i < MANY; i++) {
        times[i] = Y2020 + (int64_t)i * HOUR;
        index[i] = (i + 1) % 2;
    }
    struct zone_file_parts p = two('2');
    p.times = times;
    p.index = index;
    p.times_count = MANY;
    p.footer = "";
    refuse(&p, ERR_LIMIT, "more than 256 times");
    assert_int_equal(read_parts(&p, Y2020, &z, NULL), 0);
    assert_int_equal(z.count, ZONE_TRANSITIONS_MAX);
    struct err err = {0};
    struct str large = {calloc(1, LIMIT_ZONE_FILE + 1), LIMIT_ZONE_FILE + 1};
    assert_int_equal(zone_parse(large, 0, &z, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
    free((void *)large.data);
}

/* Every beginning of a file is refused; whatever a changed byte does, it ends in a zone or a
 * sentence. */
static void cut_and_changed_files(void **state)
{
    (void)state;
    struct str file = zone_file_read(ZONE_FILE_ROOT "Europe/Amsterdam");
    struct zone z;
    for (size_t len = 0; len < file.len; len++) {
        struct err err = {0};
        char *piece = malloc(len > 0 ? len : 1);
        assert_non_null(piece);
        memcpy(piece, file.data, len);
        assert_int_equal(zone_parse((struct str){piece, len}, 0, &z, &err), -1);
        assert_true(err.class == ERR_INVALID && err.msg[0] != '\0');
        free(piece);
    }
    char *bytes = (char *)file.data;
    unsigned refused = 0;
    for (size_t i = 0; i < file.len; i++) {
        struct err err = {0};
        bytes[i] ^= (char)0x81;
        bool bad = zone_parse(file, 0, &z, &err) != 0;
        assert_true(bad == (err.class != ERR_NONE));
        refused += bad ? 1 : 0;
        bytes[i] ^= (char)0x81;
    }
    assert_in_range(refused, 100, file.len);
    assert_int_equal(zone_parse(file, 0, &z, NULL), 0);
    free(bytes);
}

/* ---- the zones of this machine ---- */

static unsigned zones_seen;

static void compare_at(const struct zone *z, const char *name, int64_t utc_s)
{
    int64_t want = zone_file_wall(utc_s);
    if (utc_s + zone_offset(z, utc_s) != want)
        fail_msg("%s at %lld: offset %d, the C library has %lld", name, (long long)utc_s,
                 zone_offset(z, utc_s), (long long)(want - utc_s));
}

static int compare_zone(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    static struct zone z;
    struct err err = {0};
    const char *name = path + strlen(ZONE_FILE_ROOT);
    (void)info;
    (void)ftw;
    if (type != FTW_F || strncmp(name, "right/", 6) == 0 || strncmp(name, "posix/", 6) == 0 ||
        strchr(name, '.') != NULL)
        return 0;
    struct str file = zone_file_read(path);
    bool tzif = file.len > 4 && memcmp(file.data, "TZif", 4) == 0;
    if (tzif && (zone_name_check(name, &err) != 0 || zone_parse(file, Y2020, &z, &err) != 0))
        fail_msg("%s: %s", name, err.msg);
    free((void *)file.data);
    if (!tzif)
        return 0;
    zone_file_use(name);
    for (int64_t s = z.from_s; s < z.until_s; s += 86400LL * 9 + 12345)
        compare_at(&z, name, s);
    for (uint32_t i = 0; i < z.count; i++) {
        compare_at(&z, name, z.transitions[i].at_s - 1);
        compare_at(&z, name, z.transitions[i].at_s);
    }
    zones_seen++;
    return 0;
}

static void every_zone_is_that_of_the_c_library(void **state)
{
    (void)state;
    assert_int_equal(nftw(ZONE_FILE_ROOT, compare_zone, 8, FTW_PHYS), 0);
    assert_in_range(zones_seen, 300, 2000);
}

static const char *const some[] = {"Europe/Amsterdam",    "America/New_York",
                                   "Australia/Lord_Howe", "America/Sao_Paulo",
                                   "Africa/Casablanca",   "Pacific/Apia",
                                   "Europe/Dublin",       "Antarctica/Troll",
                                   "Asia/Gaza",           "UTC"};

/* Every quarter of an hour of 2008 to 2020: what the wall clock shows leads back. */
static void there_and_back(void **state)
{
    (void)state;
    static struct zone z;
    for (size_t i = 0; i < ARRAY_LEN(some); i++) {
        int64_t start = at("2008-01-01T00:00:00Z");
        int64_t shown = INT64_MIN;
        unsigned twice = 0;
        zone_file_zone(some[i], start, &z);
        zone_file_use(some[i]);
        for (int64_t s = start; s < Y2020; s += 900) {
            struct civil c = zone_local(&z, s);
            int64_t wall_s = zone_file_wall(s);
            assert_int_equal(civil_to(&c), wall_s);
            struct zone_moment m = zone_utc(&z, &c);
            assert_true(m.fit != ZONE_GAP && (m.utc_s == s || m.again_s == s));
            assert_true((m.fit == ZONE_TWICE) == (m.utc_s < m.again_s));
            twice += m.fit == ZONE_TWICE ? 1 : 0;
            shown = wall_s > shown ? wall_s : shown;
            int64_t reached_s = zone_reached(&z, s);
            assert_true(reached_s >= shown && reached_s < shown + 900);
            assert_true(zone_reaches(&z, reached_s) <= s);
            assert_true(zone_reaches(&z, reached_s + 1) > s);
        }
        assert_int_equal(twice > 0, strcmp(some[i], "UTC") != 0);
    }
}

static void check_utc(const struct zone *z, const char *local, enum zone_fit fit, const char *first,
                      const char *again)
{
    struct civil c = wall(local);
    struct zone_moment m = zone_utc(z, &c);
    assert_int_equal(m.fit, fit);
    assert_int_equal(m.utc_s, at(first));
    assert_int_equal(m.again_s, at(again));
}

static void gaps_and_repeated_hours(void **state)
{
    (void)state;
    static struct zone z;
    zone_file_zone("Europe/Amsterdam", Y2020, &z);
    check_utc(&z, "2024-07-01T02:00:00Z", ZONE_ONCE, "2024-07-01T00:00:00Z",
              "2024-07-01T00:00:00Z");
    check_utc(&z, "2024-03-31T01:59:59Z", ZONE_ONCE, "2024-03-31T00:59:59Z",
              "2024-03-31T00:59:59Z");
    check_utc(&z, "2024-03-31T02:00:00Z", ZONE_GAP, "2024-03-31T01:00:00Z", "2024-03-31T01:00:00Z");
    check_utc(&z, "2024-03-31T02:59:59Z", ZONE_GAP, "2024-03-31T01:00:00Z", "2024-03-31T01:00:00Z");
    check_utc(&z, "2024-03-31T03:00:00Z", ZONE_ONCE, "2024-03-31T01:00:00Z",
              "2024-03-31T01:00:00Z");
    check_utc(&z, "2024-10-27T02:00:00Z", ZONE_TWICE, "2024-10-27T00:00:00Z",
              "2024-10-27T01:00:00Z");
    check_utc(&z, "2024-10-27T02:59:59Z", ZONE_TWICE, "2024-10-27T00:59:59Z",
              "2024-10-27T01:59:59Z");
    check_utc(&z, "2024-10-27T03:00:00Z", ZONE_ONCE, "2024-10-27T02:00:00Z",
              "2024-10-27T02:00:00Z");
    zone_file_zone("Australia/Lord_Howe", Y2020, &z);
    check_utc(&z, "2024-10-06T02:15:00Z", ZONE_GAP, "2024-10-05T15:30:00Z", "2024-10-05T15:30:00Z");
    check_utc(&z, "2024-04-07T01:45:00Z", ZONE_TWICE, "2024-04-06T14:45:00Z",
              "2024-04-06T15:15:00Z");
    zone_file_zone("Pacific/Apia", at("2011-01-01T00:00:00Z"), &z);
    check_utc(&z, "2011-12-30T12:00:00Z", ZONE_GAP, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z");
    zone_file_zone("America/Sao_Paulo", at("2017-01-01T00:00:00Z"), &z);
    check_utc(&z, "2018-11-04T00:30:00Z", ZONE_GAP, "2018-11-04T03:00:00Z", "2018-11-04T03:00:00Z");
    check_utc(&z, "2019-02-16T23:30:00Z", ZONE_TWICE, "2019-02-17T01:30:00Z",
              "2019-02-17T02:30:00Z");
}

static void extreme_times_are_answered(void **state)
{
    (void)state;
    static struct zone z;
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, CIVIL_LEAST_S,
                                    0,         CIVIL_MOST_S,  INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        zone_file_zone("Europe/Amsterdam", times[i], &z);
        for (size_t k = 0; k < ARRAY_LEN(times); k++) {
            (void)zone_offset(&z, times[k]);
            (void)zone_reached(&z, times[k]);
            (void)zone_reaches(&z, times[k]);
            struct civil c = zone_local(&z, times[k]);
            (void)zone_utc(&z, &c);
            c.year = times[k] > 0 ? INT32_MAX : INT32_MIN;
            (void)zone_utc(&z, &c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_calendar_is_that_of_timegm),
        cmocka_unit_test(names_are_paths_below_one_folder),
        cmocka_unit_test(utc_needs_no_file),
        cmocka_unit_test(rules_of_every_form),
        cmocka_unit_test(rules_that_are_none),
        cmocka_unit_test(all_versions_are_read),
        cmocka_unit_test(a_rule_alone_is_enough),
        cmocka_unit_test(contradictions_are_named),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(cut_and_changed_files),
        cmocka_unit_test(every_zone_is_that_of_the_c_library),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(gaps_and_repeated_hours),
        cmocka_unit_test(extreme_times_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
