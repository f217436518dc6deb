/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/limits.h"

static void test_append_and_view(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {0};
    assert_string_equal(buf_text(&b), "");
    assert_int_equal(buf_view(&b).len, 0);
    buf_append_text(&b, "ab");
    buf_append_text(&b, NULL);
    buf_append_char(&b, 'c');
    buf_append_str(&b, str_from("de"));
    buf_append(&b, NULL, 0);
    buf_appendf(&b, "-%d-%s", 42, "x");
    assert_string_equal(buf_text(&b), "abcde-42-x");
    assert_int_equal(b.len, 10);
    assert_false(b.failed);
}

static void test_appendf_grows_past_its_room(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {0};
    char long_text[300];
    memset(long_text, 'y', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    buf_append_text(&b, "start:");
    buf_appendf(&b, "%s!", long_text);
    assert_int_equal(b.len, 6 + 299 + 1);
    assert_memory_equal(b.data, "start:yyy", 9);
    assert_int_equal(b.data[b.len - 1], '!');
    assert_int_equal(b.data[b.len], '\0');
}

static void test_ceiling_keeps_what_is_there(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {.max = 5};
    buf_append_text(&b, "12345");
    assert_false(b.failed);
    buf_append_char(&b, '6');
    assert_true(b.failed);
    assert_string_equal(buf_text(&b), "12345");
    buf_clear(&b);
    assert_false(b.failed);
    buf_append_text(&b, "abc");
    buf_appendf(&b, "%s", "def");
    assert_true(b.failed);
    assert_string_equal(buf_text(&b), "abc");
    buf_append_char(&b, 'd'); /* would fit: but the chain is broken */
    assert_string_equal(buf_text(&b), "abc");
}

static void test_default_ceiling(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {0};
    char *block = calloc(1, 1UL << 20);
    assert_non_null(block);
    for (size_t i = 0; i < (LIMIT_BUF >> 20); i++)
        buf_append(&b, block, 1UL << 20);
    assert_false(b.failed);
    buf_append_char(&b, 'x');
    assert_true(b.failed);
    assert_int_equal(b.len, LIMIT_BUF);
    free(block);
}

static void check_json(const char *in, size_t len, const char *want)
{
    struct buf cleanup_buf b = {0};
    buf_append_json_str(&b, (struct str){.data = in, .len = len});
    assert_string_equal(buf_text(&b), want);
}

static void test_json_escapes(void **state)
{
    (void)state;
    check_json("", 0, "\"\"");
    check_json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    check_json("\b\f\n\r\t\x01\x1f", 7, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\"");
    check_json("a\0b", 3, "\"a\\u0000b\"");
    check_json("h\xC3\xA9\xF0\x9F\x98\x80z", 8, "\"h\xC3\xA9\xF0\x9F\x98\x80z\"");
    struct buf cleanup_buf b = {0};
    buf_append_json(&b, NULL);
    buf_append_json(&b, "x");
    assert_string_equal(buf_text(&b), "null\"x\"");
}

static void test_json_invalid_utf8(void **state)
{
    (void)state;
    check_json("a\xFFz", 3, "\"a\xEF\xBF\xBDz\"");
    check_json("\xC0\xAF", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");                 /* overlong */
    check_json("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""); /* surrogate */
    check_json("\xF4\x90\x80\x80", 1, "\"\xEF\xBF\xBD\"");
    check_json("ok\xE2\x82", 4, "\"ok\xEF\xBF\xBD\xEF\xBF\xBD\""); /* cut in a character */
}

static void test_secret_is_wiped(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {.secret = true};
    buf_append_text(&b, "password");
    char *data = b.data;
    buf_clear(&b);
    for (size_t i = 0; i < b.cap; i++)
        assert_int_equal(data[i], 0);
    for (int i = 0; i < 100; i++)
        buf_append_text(&b, "0123456789");
    assert_int_equal(b.len, 1000);
    assert_memory_equal(b.data, "01234567890123", 14);
}

static void test_take(void **state)
{
    (void)state;
    struct buf cleanup_buf b = {.max = 8};
    char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    free(empty);
    buf_append_text(&b, "eight888");
    char *text = buf_take(&b);
    assert_string_equal(text, "eight888");
    free(text);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.max, 8);
    buf_append_text(&b, "nine99999");
    assert_null(buf_take(&b));
    assert_false(b.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_view),
        cmocka_unit_test(test_appendf_grows_past_its_room),
        cmocka_unit_test(test_ceiling_keeps_what_is_there),
        cmocka_unit_test(test_default_ceiling),
        cmocka_unit_test(test_json_escapes),
        cmocka_unit_test(test_json_invalid_utf8),
        cmocka_unit_test(test_secret_is_wiped),
        cmocka_unit_test(test_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
