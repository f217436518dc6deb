/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/jitter.h"
#include "base/shell.h"
#include "base/str.h"
#include "base/utf8.h"

static void test_err_set_and_wrap(void **state)
{
    (void)state;
    struct err err = {.http_status = 500, .reason = "Old"};
    assert_int_equal(err_set(&err, ERR_TIMEOUT, "no answer in %d s\n", 3), -1);
    assert_int_equal(err.class, ERR_TIMEOUT);
    assert_int_equal(err.http_status, 0);
    assert_string_equal(err.reason, "");
    assert_string_equal(err.msg, "no answer in 3 s?");
    assert_int_equal(err_wrap(&err, "realm %s", "prod"), -1);
    assert_string_equal(err.msg, "realm prod: no answer in 3 s?");
    assert_int_equal(err.class, ERR_TIMEOUT);
    assert_int_equal(err_set(&err, ERR_BUG, "again: %s", err.msg), -1); /* its own text is fine */
    assert_string_equal(err.msg, "again: realm prod: no answer in 3 s?");
    err_clear(&err);
    assert_int_equal(err.class, ERR_NONE);
    assert_string_equal(err.msg, "");
    assert_int_equal(err_set(NULL, ERR_BUG, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
    err_clear(NULL);
}

static void test_err_cuts_at_a_character(void **state)
{
    (void)state;
    struct err err = {0};
    char text[1000];
    /* 446 bytes, then a two-byte character: it would need bytes 447 and 448, and the NUL. */
    memset(text, 'a', 446);
    memcpy(text + 446, "\xC3\xA9zzz", 6);
    err_set(&err, ERR_INVALID, "%s", text);
    assert_int_equal(strlen(err.msg), 446 + 1);
    assert_int_equal(err.msg[446], '?'); /* the half that snprintf left */
    err_set(&err, ERR_INVALID, "x");
    err_wrap(&err, "%s", text);
    assert_true(strlen(err.msg) < sizeof(err.msg));
    assert_int_equal(utf8_cut(err.msg, strlen(err.msg)), strlen(err.msg));
}

static void test_err_transience(void **state)
{
    (void)state;
    assert_true(err_is_transient(ERR_TRANSIENT));
    assert_true(err_is_transient(ERR_REFUSED));
    assert_false(err_is_transient(ERR_NONE));
    assert_false(err_is_transient(ERR_TLS));
    assert_false(err_is_transient(ERR_CONFLICT));
}

static void test_clean_text(void **state)
{
    (void)state;
    char out[8];
    err_clean_text(out, sizeof(out), "a\n\x1b\x7f\xC2\x85z");
    assert_string_equal(out, "a????z");
    err_clean_text(out, sizeof(out), "\xFF\xC3\xA9");
    assert_string_equal(out, "?\xC3\xA9");
    err_clean_text(out, sizeof(out), "123456\xC3\xA9"); /* no room for both bytes */
    assert_string_equal(out, "123456");
    err_clean_text(out, 1, "abc");
    assert_string_equal(out, "");
    err_clean_text(out, sizeof(out), NULL);
    assert_string_equal(out, "");
    out[0] = 'k';
    err_clean_text(out, 0, "abc");
    assert_int_equal(out[0], 'k');
}

static void test_utf8(void **state)
{
    (void)state;
    assert_int_equal(utf8_char_len("a", 1), 1);
    assert_int_equal(utf8_char_len("\xC2\x80", 2), 2);
    assert_int_equal(utf8_char_len("\xE0\xA0\x80", 3), 3);
    assert_int_equal(utf8_char_len("\xF4\x8F\xBF\xBF", 4), 4);
    assert_int_equal(utf8_char_len("\xF4\x90\x80\x80", 4), 0);
    assert_int_equal(utf8_char_len("\xF5\x80\x80\x80", 4), 0);
    assert_int_equal(utf8_char_len("\xE0\x9F\x80", 3), 0);
    assert_int_equal(utf8_char_len("\xED\xA0\x80", 3), 0);
    assert_int_equal(utf8_char_len("\xF0\x8F\x80\x80", 4), 0);
    assert_int_equal(utf8_char_len("\xC1\x80", 2), 0);
    assert_int_equal(utf8_char_len("\x80", 1), 0);
    assert_int_equal(utf8_char_len("\xE2\x82", 2), 0);
    assert_int_equal(utf8_char_len("\xE2\x82z", 3), 0);
    assert_int_equal(utf8_cut("ab\xE2\x82\xAC", 5), 5);
    assert_int_equal(utf8_cut("ab\xE2\x82\xAC", 4), 2);
    assert_int_equal(utf8_cut("ab\xE2\x82\xAC", 3), 2);
    assert_int_equal(utf8_cut("ab", 2), 2);
    assert_int_equal(utf8_cut("", 0), 0);
}

static void test_str(void **state)
{
    (void)state;
    assert_int_equal(str_from(NULL).len, 0);
    assert_true(str_eq(str_from(NULL), str_from("")));
    assert_true(str_is(str_from("abc"), "abc"));
    assert_false(str_is(str_from("abc"), "abcd"));
    assert_false(str_is(str_from("abd"), "abc"));
    assert_true(str_is_visible(str_from("")));
    assert_true(str_is_visible(str_from("!aZ~")));
    static const char *const hidden[] = {" ", "a b", "a\tb", "a\n", "\x7F", "\xC3\xA9", "\x01"};
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        assert_false(str_is_visible(str_from(hidden[i])));
    assert_false(str_is_visible((struct str){"a\0b", 3}));
    assert_true(str_is(str_trim(str_from(" \t\r\n a b \n")), "a b"));
    assert_int_equal(str_trim(str_from(" \n ")).len, 0);
    assert_true(text_eq(NULL, NULL));
    assert_false(text_eq(NULL, ""));
    assert_false(text_eq("", NULL));
    assert_true(text_eq("a", "a"));
    assert_false(text_eq("a", "b"));
    assert_true(text_starts_with("keyturn.dev/x", "keyturn.dev/"));
    assert_false(text_starts_with("key", "keyturn"));
    assert_false(text_starts_with(NULL, "a"));
}

static void test_str_to_u64(void **state)
{
    (void)state;
    uint64_t value = 7;
    assert_true(str_to_u64(str_from("0"), &value));
    assert_int_equal(value, 0);
    assert_true(str_to_u64(str_from("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    value = 7;
    static const char *const bad[] = {"", "18446744073709551616", "-1", "+1", " 1", "1 ", "1x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_to_u64(str_from(bad[i]), &value));
    assert_int_equal(value, 7);
}

static void test_text_format(void **state)
{
    (void)state;
    char out[4];
    assert_true(text_format(out, sizeof(out), "%d", 123));
    assert_string_equal(out, "123");
    assert_false(text_format(out, sizeof(out), "%d", 1234));
    assert_string_equal(out, "123");
}

static void test_shell_word(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {{"prod", "prod"},
                 {"service-account-a.b_c@d", "service-account-a.b_c@d"},
                 {"", "''"},
                 {"two words", "'two words'"},
                 {"$(reboot)", "'$(reboot)'"},
                 {"it's", "'it'\\''s'"},
                 {"''", "''\\'''\\'''"}};
    char out[SHELL_WORD_SIZE(23)];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(shell_word(cases[i].text, out, sizeof(out)));
        assert_string_equal(out, cases[i].word);
    }
    assert_false(shell_word("123456789012345678901234", out, sizeof(out)));
    assert_string_equal(out, "");
    assert_false(shell_word("two\nlines", out, sizeof(out)));
    assert_false(shell_word("caf\xc3\xa9", out, sizeof(out)));
    assert_false(shell_word("\x7f", out, sizeof(out)));
}

static void test_arena_pieces(void **state)
{
    (void)state;
    struct arena cleanup_arena a = {0};
    char *first = arena_strdup(&a, "first");
    for (size_t i = 1; i < 400; i++) {
        unsigned char *piece = arena_alloc(&a, i);
        assert_non_null(piece);
        assert_int_equal((uintptr_t)piece % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < i; j++)
            assert_int_equal(piece[j], 0);
        memset(piece, 0xAB, i);
    }
    unsigned char *big = arena_alloc(&a, 1UL << 20);
    assert_non_null(big);
    memset(big, 0xCD, 1UL << 20);
    assert_non_null(arena_alloc(&a, 0));
    assert_string_equal(first, "first");
    assert_null(arena_strdup(&a, NULL));
    assert_string_equal(arena_str(&a, (struct str){.data = "abcdef", .len = 3}), "abc");
    assert_string_equal(arena_printf(&a, "%s-%d", "n", 5), "n-5");
    assert_false(a.failed);
}

static void test_arena_ceiling(void **state)
{
    (void)state;
    struct arena cleanup_arena a = {.max = 100};
    assert_null(arena_alloc(&a, 101));
    assert_true(a.failed);
    arena_reset(&a);
    assert_false(a.failed);
    assert_non_null(arena_alloc(&a, 64));
    assert_false(a.failed);
    assert_null(arena_alloc(&a, 64));
    assert_true(a.failed);
    arena_reset(&a);
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_true(a.failed);
    arena_reset(&a);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_str(&a, (struct str){.data = "", .len = SIZE_MAX}));
    assert_true(a.failed);
}

static void test_arena_reset_zeroes_again(void **state)
{
    (void)state;
    struct arena cleanup_arena a = {.block_bytes = 256};
    memset(arena_alloc(&a, 200), 0xEE, 200);
    assert_non_null(arena_alloc(&a, 1000));
    arena_reset(&a);
    assert_int_equal(a.used_bytes, 0);
    const unsigned char *again = arena_alloc(&a, 200);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(again[i], 0);
}

static void test_jitter_spreads(void **state)
{
    (void)state;
    uint32_t random = 1;
    unsigned high = 0;
    for (int i = 0; i < 10000; i++) {
        assert_int_not_equal(jitter_next(&random), 0);
        assert_int_not_equal(random, 1); /* it does not come round */
        high += random >> 31;
    }
    assert_in_range(high, 4700, 5300);
    uint32_t seed = jitter_seed(1700000000000000, "pods", "a");
    assert_int_equal(seed, jitter_seed(1700000000000000, "pods", "a"));
    assert_int_not_equal(seed, jitter_seed(1700000000000000, "pods", "b"));
    assert_int_not_equal(seed, jitter_seed(1700000000000000, "pod", "sa"));
    assert_int_not_equal(seed, jitter_seed(1700000000000001, "pods", "a"));
    assert_int_not_equal(jitter_seed(0, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_set_and_wrap),
        cmocka_unit_test(test_err_cuts_at_a_character),
        cmocka_unit_test(test_err_transience),
        cmocka_unit_test(test_clean_text),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_str),
        cmocka_unit_test(test_str_to_u64),
        cmocka_unit_test(test_text_format),
        cmocka_unit_test(test_shell_word),
        cmocka_unit_test(test_jitter_spreads),
        cmocka_unit_test(test_arena_pieces),
        cmocka_unit_test(test_arena_ceiling),
        cmocka_unit_test(test_arena_reset_zeroes_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
