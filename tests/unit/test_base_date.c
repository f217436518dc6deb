/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/attr.h"
#include "base/date.h"

static void check_time(int64_t time_s, const char *want)
{
    char out[DATE_TEXT_MAX];
    date_rfc3339(time_s, out);
    assert_string_equal(out, want);
}

static void test_write(void **state)
{
    (void)state;
    check_time(0, "1970-01-01T00:00:00Z");
    check_time(1709164800, "2024-02-29T00:00:00Z");
    check_time(-1, "1969-12-31T23:59:59Z");
    check_time(-62135596800, "0001-01-01T00:00:00Z");
    check_time(253402300799, "9999-12-31T23:59:59Z");
    check_time(INT64_MAX, "9999-12-31T23:59:59Z");
    check_time(INT64_MIN, "0000-01-01T00:00:00Z");
}

static void test_write_micro(void **state)
{
    (void)state;
    char out[DATE_TEXT_MAX];
    date_micro(1136214245000001, out);
    assert_string_equal(out, "2006-01-02T15:04:05.000001Z");
    date_micro(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999999Z");
    date_micro(INT64_MIN, out);
    assert_int_equal(out[19], '.');
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2006-01-02T15:04:05Z", 1136214245},
        {"2006-01-02t15:04:05z", 1136214245},
        {"2006-01-02T15:04:05.000000Z", 1136214245},
        {"2006-01-02T15:04:05.999999999Z", 1136214245},
        {"2006-01-02T16:04:05+01:00", 1136214245},
        {"2006-01-02T10:34:05-04:30", 1136214245},
        {"2006-01-02T15:04:05-00:00", 1136214245},
        {"2000-02-29T00:00:00Z", 951782400},
        {"2016-12-31T23:59:60Z", 1483228800}, /* leap second: the next one */
        {"9999-12-31T23:59:59Z", 253402300799},
        {"0000-01-01T00:00:00Z", -62167219200},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t value = -5;
        assert_true(date_parse(good[i].text, &value));
        assert_true(value == good[i].want);
    }
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2006",
        "2006-01-02",
        "2006-01-02T15:04:05",
        "2006-01-02 15:04:05Z",
        "2006-13-02T15:04:05Z",
        "2006-00-02T15:04:05Z",
        "2006-02-29T15:04:05Z",
        "1900-02-29T00:00:00Z",
        "2006-01-32T15:04:05Z",
        "2006-01-00T15:04:05Z",
        "2006-01-02T24:04:05Z",
        "2006-01-02T15:60:05Z",
        "2006-01-02T15:04:61Z",
        "2006-01-02T15:04:05.Z",
        "2006-01-02T15:04:05+1:00",
        "2006-01-02T15:04:05+24:00",
        "2006-01-02T15:04:05+01:60",
        "2006-01-02T15:04:05Zx",
        "2006-01-02T15:04:05+01:00Z",
        " 2006-01-02T15:04:05Z",
        "+006-01-02T15:04:05Z",
        "02006-01-02T15:04:05Z",
    };
    int64_t value = 77;
    assert_false(date_parse(NULL, &value));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(date_parse(bad[i], &value));
    assert_true(value == 77);
}

static void test_duration_parse(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_true(date_duration_parse("30d", &value) && value == 2592000);
    assert_true(date_duration_parse("1h30m", &value) && value == 5400);
    assert_true(date_duration_parse("0s", &value) && value == 0);
    assert_true(date_duration_parse("5s1d", &value) && value == 86405);
    value = 9;
    static const char *const bad[] = {
        "",
        "d",
        "30",
        "1h30",
        "-1h",
        "1.5h",
        "1w",
        "1 h",
        "h1",
        "1H",
        "9223372036854775807m",
        "99999999999999999999s",
        "9223372036854775807s1s",
        "1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s",
    };
    assert_false(date_duration_parse(NULL, &value));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(date_duration_parse(bad[i], &value));
    assert_true(value == 9);
}

static void check_words(int64_t seconds, const char *want)
{
    char out[DATE_TEXT_MAX];
    date_duration_words(seconds, out);
    assert_string_equal(out, want);
}

static void test_duration_words(void **state)
{
    (void)state;
    check_words(0, "0s");
    check_words(59, "59s");
    check_words(60, "1m");
    check_words(1500, "25m");
    check_words(1501, "25m 1s");
    check_words(3 * 86400 + 4 * 3600 + 59, "3d 4h");
    check_words(3 * 86400 + 59, "3d");
    check_words(-90, "1m 30s");
    check_words(INT64_MIN, "106751991167300d 15h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),          cmocka_unit_test(test_write_micro),
        cmocka_unit_test(test_parse),          cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_duration_parse), cmocka_unit_test(test_duration_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
