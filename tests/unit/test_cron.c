/* SPDX-License-Identifier: Apache-2.0
 *
 * Cron expressions: what is taken and what is refused with which words, the minutes named against
 * an oracle that asks each one, and the pattern for schemas against the parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <regex.h>
#include <cmocka.h>
#include "base/attr.h"
#include "base/civil.h"
#include "base/date.h"
#include "base/limits.h"
#include "rotation/cron.h"
#include "../lib/naive_cron.h"

static int64_t at(const char *text)
{
    int64_t s = 0;
    assert_true(date_parse(text, &s));
    return s;
}

static struct cron parse(const char *text)
{
    struct cron cron;
    struct err err = {0};
    if (cron_parse(text, &cron, &err) != 0)
        fail_msg("%s: %s", text, err.msg);
    return cron;
}

static bool same(const struct cron *a, const struct cron *b)
{
    return a->minutes == b->minutes && a->hours == b->hours && a->days == b->days &&
           a->months == b->months && a->weekdays == b->weekdays && a->either == b->either;
}

static void fields_become_bits(void **state)
{
    (void)state;
    struct cron c = parse("0,30 2-4 1 JAN-mar,Dec 1-5/2");
    assert_true(c.minutes == (1ULL << 0 | 1ULL << 30));
    assert_int_equal(c.hours, 0x1C);
    assert_int_equal(c.days, 2);
    assert_int_equal(c.months, 1U << 1 | 1U << 2 | 1U << 3 | 1U << 12);
    assert_int_equal(c.weekdays, 1U << 1 | 1U << 3 | 1U << 5);
    assert_true(c.either);
    c = parse("*/20 */6 * * *");
    assert_true(c.minutes == (1ULL << 0 | 1ULL << 20 | 1ULL << 40));
    assert_int_equal(c.hours, 1U << 0 | 1U << 6 | 1U << 12 | 1U << 18);
    assert_true(c.days == 0xFFFFFFFEU && c.months == 0x1FFE && c.weekdays == 0x7F && !c.either);
    assert_false(parse("0 0 1 * *").either || parse("0 0 * * 1").either);
    assert_false(parse("0 0 */2 * 1").either || parse("0 0 1 * */2").either);
}

static void one_meaning_written_in_several_ways(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"0 0 * * 7", "0 0 * * 0"},
                                           {"0 0 * * SUN", "0 0 * * 0"},
                                           {"0 0 * * FRI-SUN", "0 0 * * 5-7"},
                                           {"0 0 * * sat-sun", "0 0 * * 0,6"},
                                           {"0 0 * * SUN-TUE", "0 0 * * 0-2"},
                                           {"0 0 * * SUN-SUN", "0 0 * * 0"},
                                           {"0 0 * * mOn,wED", "0 0 * * 1,3"},
                                           {"0 0 * * 0-7", "0 0 * * 0-6"},
                                           {"05 002 * * *", NULL},
                                           {"05 02 01 01 06", "5 2 1 1 6"},
                                           {"  5   2  * *  6 ", "5 2 * * 6"},
                                           {"0 0 * JUN-AUG/2 *", "0 0 * 6,8 *"},
                                           {"*/1 */1 */1 */1 */1", "* * * * *"},
                                           {"1-1 2-2/9 * * *", "1 2 * * *"},
                                           {"1,1,1 0 * * *", "1 0 * * *"},
                                           {"0-59/59 0 * * *", "0,59 0 * * *"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (pairs[i][1] == NULL) {
            assert_int_equal(cron_parse(pairs[i][0], &(struct cron){0}, NULL), -1);
            continue;
        }
        struct cron a = parse(pairs[i][0]);
        struct cron b = parse(pairs[i][1]);
        if (!same(&a, &b))
            fail_msg("%s is not %s", pairs[i][0], pairs[i][1]);
    }
}

static void refusals_say_what_to_write(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "write five fields"},
        {"   ", "write five fields"},
        {"0 2 * *", "write five fields"},
        {"0 0 2 * * 6", "write five fields"},
        {"@daily", "write five fields"},
        {"0 2 * * 6\n", "SUN to SAT"},
        {"0\t2 * * 6", "write five fields"},
        {"60 2 * * *", "\"60\" is no minute of a cron expression; write 0 to 59"},
        {"-1 2 * * *", "\"\" is no minute"},
        {"0 24 * * *", "\"24\" is no hour of a cron expression; write 0 to 23"},
        {"0 2 0 * *", "write 1 to 31"},
        {"0 2 32 * *", "write 1 to 31"},
        {"0 2 * 0 *", "write 1 to 12 or JAN to DEC"},
        {"0 2 * 13 *", "write 1 to 12 or JAN to DEC"},
        {"0 2 * JANUARY *", "write 1 to 12 or JAN to DEC"},
        {"0 2 * MON *", "write 1 to 12 or JAN to DEC"},
        {"0 2 * * 8", "write 0 to 7 or SUN to SAT"},
        {"0 2 * * JAN", "write 0 to 7 or SUN to SAT"},
        {"MON 2 * * *", "write 0 to 59"},
        {"0 2 ? * 6", "\"?\" is no day of the month"},
        {"0 2 L * *", "\"L\" is no day of the month"},
        {"0 2 15W * *", "\"15W\" is no day of the month"},
        {"0 2 * * 6#1", "\"6#1\" is no day of the week"},
        {"0 2 * * 6L", "\"6L\" is no day of the week"},
        {"5/15 2 * * *", "\"5/15\" of the minute has a step but no end; write 5-59/15"},
        {"*/0 2 * * *", "\"/0\" is no step of the minute; write /1 to /59"},
        {"*/60 2 * * *", "\"/60\" is no step of the minute; write /1 to /59"},
        {"*/ 2 * * *", "write /1 to /59"},
        {"*/5/5 2 * * *", "write /1 to /59"},
        {"0 */24 * * *", "write /1 to /23"},
        {"0 22-4 * * *", "\"22-4\" of the hour ends before it begins"},
        {"0 2 * * 6-0", "\"6-0\" of the day of the week ends before it begins"},
        {"0 2 * * SAT-MON", "ends before it begins"},
        {"0 1-2-3 * * *", "\"2-3\" is no hour"},
        {"0 1- * * *", "\"\" is no hour"},
        {"0 1, * * *", "\"\" is no hour"},
        {"0 ,1 * * *", "\"\" is no hour"},
        {"0 *-5 * * *", "\"*\" is no hour"},
        {"0 ** * * *", "\"**\" is no hour"},
        {"0 +2 * * *", "\"+2\" is no hour"},
        {"0 0x2 * * *", "\"0x2\" is no hour"},
        {"0 99999999999999999999 * * *", "is no hour"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cron cron = {.hours = 77};
        struct err err = {0};
        if (cron_parse(bad[i][0], &cron, &err) == 0)
            fail_msg("taken: %s", bad[i][0]);
        if (strstr(err.msg, bad[i][1]) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i][0], err.msg, bad[i][1]);
        assert_int_equal(err.class, ERR_INVALID);
        assert_int_equal(cron.hours, 77);
    }
}

static void length_is_bounded(void **state)
{
    (void)state;
    char text[LIMIT_CRON + 2];
    struct err err = {0};
    struct cron cron;
    memset(text, ' ', sizeof(text));
    memcpy(text, "0 2 * * 6", 9);
    text[LIMIT_CRON] = '\0';
    assert_int_equal(cron_parse(text, &cron, &err), 0);
    text[LIMIT_CRON] = ' ';
    text[LIMIT_CRON + 1] = '\0';
    assert_int_equal(cron_parse(text, &cron, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
    assert_int_equal(cron_parse(NULL, &cron, &err), -1);
}

/* ---- minutes ---- */

static const char *const samples[] = {
    "0 2 * * 6",     "*/7 * * * *",  "30 22 1,15 * *",
    "0 0 29 2 *",    "5 4 13 * 5",   "0 12 */10 * 1",
    "59 23 31 12 *", "0 0 1 1 0",    "10-50/20 3,21 * 3-5 0",
    "0 0 31 * *",    "15 6 * * 1-5", "0 1 8-14 */3 */2",
};

/* Each minute of four years: next and previous are what asking one by one finds. */
static void minutes_named_one_by_one(void **state)
{
    (void)state;
    int64_t start = at("2023-03-01T00:00:00Z") / 60;
    int64_t end = at("2027-03-01T00:00:00Z") / 60;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct cron cron = parse(samples[i]);
        struct naive_cron naive;
        int64_t last = INT64_MIN;
        naive_cron_read(samples[i], &naive);
        for (int64_t m = start; m < end; m++) {
            int64_t found = 0;
            bool named = naive_cron_names(&naive, m);
            if (named && last != INT64_MIN) {
                assert_true(cron_next(&cron, last * 60 + 1, &found) && found == m * 60);
                assert_true(cron_next(&cron, m * 60, &found) && found == m * 60);
                assert_true(cron_previous(&cron, m * 60 - 1, &found) && found == last * 60);
                assert_true(cron_previous(&cron, m * 60 + 59, &found) && found == m * 60);
            }
            last = named ? m : last;
        }
        assert_true(last != INT64_MIN);
    }
}

static void before_1970_too(void **state)
{
    (void)state;
    struct cron cron = parse("30 1 * * *");
    int64_t found = 0;
    assert_true(cron_previous(&cron, 0, &found));
    assert_int_equal(found, at("1969-12-31T01:30:00Z"));
    assert_true(cron_next(&cron, at("1931-05-05T01:30:01Z"), &found));
    assert_int_equal(found, at("1931-05-06T01:30:00Z"));
}

static void rare_days_are_found(void **state)
{
    (void)state;
    int64_t found = 0;
    struct cron cron = parse("0 0 29 2 *");
    assert_true(cron_next(&cron, at("2096-03-01T00:00:00Z"), &found));
    assert_int_equal(found, at("2104-02-29T00:00:00Z"));
    assert_true(cron_previous(&cron, at("2104-02-28T00:00:00Z"), &found));
    assert_int_equal(found, at("2096-02-29T00:00:00Z"));
    cron = parse("0 0 */31 2 1"); /* 1 February on a Monday */
    for (int64_t s = at("2080-01-01T00:00:00Z"); s < at("2120-01-01T00:00:00Z");) {
        int64_t before = s;
        assert_true(cron_next(&cron, s + 1, &s));
        assert_true(s > before && civil_from(s).weekday == 1 && civil_from(s).day == 1);
    }
}

static void days_that_no_month_has(void **state)
{
    (void)state;
    static const char *const never[] = {"0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 FEB *",
                                        "0 0 31 4 */2"};
    static const char *const sometimes[] = {"0 0 29 2 *", "0 0 30 2 1", "0 0 31 2,3 *"};
    int64_t found = 0;
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        struct cron cron = parse(never[i]);
        assert_true(cron_never(&cron));
        assert_false(cron_next(&cron, 0, &found) || cron_previous(&cron, 0, &found));
    }
    for (size_t i = 0; i < ARRAY_LEN(sometimes); i++) {
        struct cron cron = parse(sometimes[i]);
        assert_false(cron_never(&cron));
        assert_true(cron_next(&cron, 0, &found) && cron_previous(&cron, 0, &found));
    }
}

static void check_pauses(const char *text, int first, int last, int pause)
{
    struct cron cron = parse(text);
    assert_int_equal(cron_first_minute(&cron), first);
    assert_int_equal(cron_last_minute(&cron), last);
    assert_int_equal(cron_longest_pause(&cron), pause);
}

static void pauses_of_a_day(void **state)
{
    (void)state;
    check_pauses("0 2 * * *", 120, 120, 0);
    check_pauses("0,10,50 2 * * *", 120, 170, 40);
    check_pauses("* * * * *", 0, 1439, 1);
    check_pauses("5,55 1,2,8 * * *", 65, 535, 310);
    check_pauses("*/15 * * * *", 0, 1425, 15);
}

static void extreme_times_are_answered(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, CIVIL_LEAST_S, CIVIL_MOST_S,
                                    INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(samples); i++)
        for (size_t k = 0; k < ARRAY_LEN(times); k++) {
            struct cron cron = parse(samples[i]);
            int64_t found = 0;
            (void)cron_next(&cron, times[k], &found);
            (void)cron_previous(&cron, times[k], &found);
        }
}

/* ---- the pattern ---- */

static uint32_t dice = 12345;

static uint32_t roll(uint32_t sides)
{
    dice = dice * 1664525U + 1013904223U;
    return (dice >> 8) % sides;
}

/* Fields of pieces that are mostly good. */
static void random_text(char *text, size_t size)
{
    static const char *const pieces[] = {
        "*", "0",   "1",   "7",   "12",  "23",  "31", "59", "60",  "8",     "05", "-", ",",
        "/", "*/2", "1-5", "MON", "jan", "Sun", "?",  "/5", "3-1", "2-4/2", "x",  ""};
    text[0] = '\0';
    for (int field = 0; field < 5; field++) {
        uint32_t count = 1 + (roll(3) == 0 ? roll(4) : 0);
        for (uint32_t i = 0; i < count; i++) {
            size_t len = strlen(text);
            (void)snprintf(text + len, size - len, "%s",
                           roll(2) == 0 ? "*" : pieces[roll(ARRAY_LEN(pieces))]);
        }
        size_t len = strlen(text);
        (void)snprintf(text + len, size - len, "%s", field < 4 ? " " : "");
    }
}

/* What is taken matches; what matches and is not taken is a range from its end. */
static void the_pattern_takes_what_the_parser_takes(void **state)
{
    (void)state;
    regex_t pattern;
    unsigned taken = 0;
    unsigned refused = 0;
    unsigned reversed = 0;
    assert_int_equal(regcomp(&pattern, CRON_PATTERN, REG_EXTENDED | REG_NOSUB), 0);
    for (int i = 0; i < 60000; i++) {
        char text[LIMIT_CRON];
        struct cron cron;
        struct err err = {0};
        random_text(text, sizeof(text));
        bool good = cron_parse(text, &cron, &err) == 0;
        bool backward = strstr(err.msg, "ends before it begins") != NULL;
        bool matches = regexec(&pattern, text, 0, NULL, 0) == 0;
        if (matches != (good || backward) && !(backward && !matches))
            fail_msg("\"%s\": pattern %d, parser %d: %s", text, matches, good, err.msg);
        taken += good ? 1 : 0;
        refused += good || backward ? 0 : 1;
        reversed += backward ? 1 : 0;
    }
    regfree(&pattern);
    assert_true(taken > 500 && refused > 500 && reversed > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_become_bits),
        cmocka_unit_test(one_meaning_written_in_several_ways),
        cmocka_unit_test(refusals_say_what_to_write),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(minutes_named_one_by_one),
        cmocka_unit_test(before_1970_too),
        cmocka_unit_test(rare_days_are_found),
        cmocka_unit_test(days_that_no_month_has),
        cmocka_unit_test(pauses_of_a_day),
        cmocka_unit_test(extreme_times_are_answered),
        cmocka_unit_test(the_pattern_takes_what_the_parser_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
