/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/buf.h"
#include "obs/log.h"
#include "obs/metrics.h"

/* --- log --- */

static struct buf lines;

static void keep(void *ctx, const char *line, unsigned long len)
{
    assert_ptr_equal(ctx, &lines);
    buf_append(&lines, line, len);
}

static int64_t noon_us(void)
{
    return 1700000000123456; /* 2023-11-14T22:13:20.123456Z */
}

static void setup_log(bool text, enum log_level level)
{
    buf_release(&lines);
    log_setup(&(struct log_sink){
        .write = keep, .ctx = &lines, .now_us = noon_us, .text = text, .level = level});
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&lines);
    log_setup(&(struct log_sink){.level = LOG_INFO});
    return 0;
}

static void test_json_line(void **state)
{
    (void)state;
    setup_log(false, LOG_INFO);
    const char *none = NULL;
    log_info("published", LOG_TEXT("consumer", "api \"x\"\\"), LOG_NUMBER("bytes", 12),
             LOG_TEXT("nothing", none), LOG_NUMBER("low", INT64_MIN));
    assert_string_equal(
        buf_text(&lines),
        "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"level\":\"info\",\"msg\":\"published\","
        "\"consumer\":\"api \\\"x\\\"\\\\\",\"bytes\":12,\"nothing\":\"\","
        "\"low\":-9223372036854775808}\n");
}

static void test_text_line(void **state)
{
    (void)state;
    setup_log(true, LOG_DEBUG);
    log_info("published", LOG_TEXT("consumer", "api"), LOG_NUMBER("bytes", 12));
    log_error("cannot read keys", LOG_TEXT("error", "HTTP 500 from a=b"), LOG_TEXT("empty", ""));
    log_debug("plain");
    assert_string_equal(buf_text(&lines),
                        "22:13:20 info  published  consumer=api bytes=12\n"
                        "22:13:20 error cannot read keys  error=\"HTTP 500 from a=b\" empty=\"\"\n"
                        "22:13:20 debug plain\n");
}

static void test_levels(void **state)
{
    (void)state;
    setup_log(true, LOG_WARN);
    log_info("unseen");
    log_debug("unseen");
    assert_int_equal(lines.len, 0);
    log_warn("seen");
    log_error("seen");
    assert_string_equal(buf_text(&lines), "22:13:20 warn  seen\n22:13:20 error seen\n");
    enum log_level level = LOG_ERROR;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_level_parse("error", &level));
    assert_int_equal(level, LOG_ERROR);
    assert_false(log_level_parse("INFO", &level));
    assert_false(log_level_parse("", &level));
    assert_false(log_level_parse(NULL, &level));
    assert_int_equal(level, LOG_ERROR);
}

static void test_foreign_text_cannot_forge_a_line(void **state)
{
    (void)state;
    const char *evil = "a\n{\"level\":\"info\"}\x1b[31m\xff\xc2\x9b";
    for (int text = 0; text < 2; text++) {
        setup_log(text == 1, LOG_INFO);
        log_info(evil, LOG_TEXT("value", evil));
        assert_ptr_equal(strchr(lines.data, '\n'), lines.data + lines.len - 1);
        assert_null(strchr(lines.data, '\x1b'));
        assert_null(strchr(lines.data, '\xff'));
    }
    static char lots[200000];
    memset(lots, 'x', sizeof(lots) - 1);
    for (int text = 0; text < 2; text++) {
        setup_log(text == 1, LOG_INFO);
        log_info("m", LOG_TEXT("value", lots));
        assert_in_range(lines.len, 1024, 1200);
    }
}

static void test_a_line_too_long_is_told(void **state)
{
    (void)state;
    setup_log(false, LOG_INFO);
    static char value[1100];
    static struct log_field fields[400];
    memset(value, 'y', sizeof(value) - 1);
    for (size_t n = 0; n < 400; n++)
        fields[n] = LOG_TEXT("k", value);
    log_fields(LOG_INFO, "huge", fields, 400);
    assert_string_equal(buf_text(&lines), "{\"level\":\"error\",\"msg\":\"a log line was lost: too "
                                          "long, or out of memory\"}\n");
}

static void test_standard_error_without_clock(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    log_setup(&(struct log_sink){.level = LOG_INFO});
    log_info("first", LOG_NUMBER("n", 1));
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(fds[1]);
    char got[200] = {0};
    assert_true(read(fds[0], got, sizeof(got) - 1) > 0);
    close(fds[0]);
    assert_string_equal(got, "{\"level\":\"info\",\"msg\":\"first\",\"n\":1}\n");
}

/* --- metrics --- */

static const char *const no_labels[] = {NULL};
static const char *const two_labels[] = {"namespace", "name", NULL};
static const char *const one_label[] = {"host", NULL};

#define VALUES(...) ((const char *const[]){__VA_ARGS__})

static void assert_renders(const struct metrics *m, const char *wanted)
{
    struct buf cleanup_buf out = {0};
    metrics_render(m, &out);
    assert_string_equal(buf_text(&out), wanted);
}

static void test_counters_and_gauges(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    assert_renders(m, "");
    struct metrics_family *c = metrics_family(m, METRICS_COUNTER, "c_total", "Count.", no_labels);
    struct metrics_family *g = metrics_family(m, METRICS_GAUGE, "g", "Gauge.", NULL);
    struct metrics_family *l = metrics_family(m, METRICS_GAUGE, "l", "Labels.", two_labels);
    assert_renders(m, "# HELP c_total Count.\n# TYPE c_total counter\nc_total 0\n");
    metrics_add(c, NULL, 2);
    metrics_add(c, NULL, -1);
    metrics_add(c, NULL, (double)NAN);
    metrics_add(c, NULL, 0.5);
    metrics_set(g, NULL, 7);
    metrics_add(g, NULL, -9);
    metrics_set(l, VALUES("b", "x"), 1);
    metrics_set(l, VALUES("a", "y"), 2);
    metrics_set(l, VALUES("a", "x"), 3);
    metrics_set(l, VALUES("b", "x"), 4);
    metrics_observe(l, VALUES("z", "z"), 1); /* no histogram: nothing */
    assert_renders(m, "# HELP c_total Count.\n# TYPE c_total counter\nc_total 2.5\n"
                      "# HELP g Gauge.\n# TYPE g gauge\ng -2\n"
                      "# HELP l Labels.\n# TYPE l gauge\n"
                      "l{namespace=\"a\",name=\"x\"} 3\nl{namespace=\"a\",name=\"y\"} 2\n"
                      "l{namespace=\"b\",name=\"x\"} 4\n");
    metrics_free(m);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {1700000000, "1700000000"},
        {-12, "-12"},
        {0.1, "0.1"},
        {1.0 / 3, "0.33333333333333331"},
        {1e300, "1e+300"},
        {1e15, "1e+15"},
        {999999999999999, "999999999999999"},
        {(double)INFINITY, "+Inf"},
        {-(double)INFINITY, "-Inf"},
        {(double)NAN, "NaN"},
    };
    for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        struct metrics *m = metrics_new();
        metrics_set(metrics_family(m, METRICS_GAUGE, "g", "G", NULL), NULL, cases[n].value);
        char wanted[100];
        (void)snprintf(wanted, sizeof(wanted), "# HELP g G\n# TYPE g gauge\ng %s\n", cases[n].text);
        assert_renders(m, wanted);
        metrics_free(m);
    }
}

static void test_escapes(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct metrics_family *f =
        metrics_family(m, METRICS_GAUGE, "g", "a \"quoted\" \\ and\nnext", one_label);
    metrics_set(f, VALUES("a\"b\\c\nd\x1f\xff"), 1);
    metrics_set(f, VALUES(NULL), 2);
    metrics_set(f, VALUES("realm Zürich, {x=1}"), 3);
    assert_renders(m, "# HELP g a \"quoted\" \\\\ and\\nnext\n# TYPE g gauge\ng{host=\"\"} 2\n"
                      "g{host=\"a\\\"b\\\\c?d??\"} 1\ng{host=\"realm Zürich, {x=1}\"} 3\n");
    metrics_free(m);
}

static void test_values_are_cut(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    static const char *const six[] = {"a", "b", "c", "d", "e", "f", NULL};
    struct metrics_family *f = metrics_family(m, METRICS_GAUGE, "g", "G", six);
    assert_non_null(f);
    static char lots[5000];
    memset(lots, 'v', sizeof(lots) - 1);
    metrics_set(f, VALUES(lots, lots, lots, lots, lots, lots), 1);
    struct buf cleanup_buf out = {0};
    metrics_render(m, &out);
    assert_in_range(out.len, 6 * METRICS_VALUE_BYTES_MAX, 6 * METRICS_VALUE_BYTES_MAX + 100);
    static const char *const seven[] = {"a", "b", "c", "d", "e", "f", "g", NULL};
    assert_null(metrics_family(m, METRICS_GAUGE, "h", "H", seven));
    metrics_free(m);
}

static void test_histogram(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct metrics_family *h = metrics_family(m, METRICS_HISTOGRAM, "s", "S.", one_label);
    metrics_observe(h, VALUES("a"), 0.005); /* le is inclusive */
    metrics_observe(h, VALUES("a"), 0.3);
    metrics_observe(h, VALUES("a"), 31);
    metrics_observe(h, VALUES("a"), (double)NAN);
    metrics_observe(h, VALUES("a"), (double)INFINITY);
    metrics_add(h, VALUES("a"), 5);
    metrics_set(h, VALUES("a"), 5);
    assert_renders(m, "# HELP s S.\n# TYPE s histogram\n"
                      "s_bucket{host=\"a\",le=\"0.005\"} 1\ns_bucket{host=\"a\",le=\"0.01\"} 1\n"
                      "s_bucket{host=\"a\",le=\"0.025\"} 1\ns_bucket{host=\"a\",le=\"0.05\"} 1\n"
                      "s_bucket{host=\"a\",le=\"0.1\"} 1\ns_bucket{host=\"a\",le=\"0.25\"} 1\n"
                      "s_bucket{host=\"a\",le=\"0.5\"} 2\ns_bucket{host=\"a\",le=\"1\"} 2\n"
                      "s_bucket{host=\"a\",le=\"2.5\"} 2\ns_bucket{host=\"a\",le=\"5\"} 2\n"
                      "s_bucket{host=\"a\",le=\"10\"} 2\ns_bucket{host=\"a\",le=\"30\"} 2\n"
                      "s_bucket{host=\"a\",le=\"+Inf\"} 3\n"
                      "s_sum{host=\"a\"} 31.305\ns_count{host=\"a\"} 3\n");
    metrics_free(m);
    m = metrics_new();
    assert_non_null(metrics_family(m, METRICS_HISTOGRAM, "s", "S.", NULL));
    struct buf cleanup_buf out = {0};
    metrics_render(m, &out);
    assert_non_null(strstr(buf_text(&out), "s_bucket{le=\"+Inf\"} 0\ns_sum 0\ns_count 0\n"));
    metrics_free(m);
}

static void test_families_by_name(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct metrics_family *f = metrics_family(m, METRICS_GAUGE, "g", "G", one_label);
    assert_ptr_equal(metrics_family(m, METRICS_GAUGE, "g", "G", one_label), f);
    assert_null(metrics_family(m, METRICS_COUNTER, "g", "G", one_label));
    assert_null(metrics_family(m, METRICS_GAUGE, "g", "G", two_labels));
    assert_null(metrics_family(NULL, METRICS_GAUGE, "g", "G", two_labels));
    metrics_add(NULL, NULL, 1);
    metrics_set(NULL, NULL, 1);
    metrics_observe(NULL, NULL, 1);
    metrics_forget(NULL, NULL, 0);
    metrics_free(m);
    metrics_free(NULL);
}

static void test_forget(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct metrics_family *f = metrics_family(m, METRICS_GAUGE, "g", "G", two_labels);
    metrics_set(f, VALUES("a", "x"), 1);
    metrics_set(f, VALUES("a", "y"), 2);
    metrics_set(f, VALUES("ab", "x"), 3);
    metrics_set(f, VALUES("b", "x"), 4);
    metrics_forget(f, VALUES("a"), 1); /* "ab" stays: labels are equal or not */
    metrics_forget(f, VALUES("b", "y"), 2);
    metrics_forget(f, VALUES("b", "x", "z"), 3);
    assert_renders(m, "# HELP g G\n# TYPE g gauge\ng{namespace=\"ab\",name=\"x\"} 3\n"
                      "g{namespace=\"b\",name=\"x\"} 4\n");
    metrics_set(f, VALUES("a", "x"), 5);
    assert_renders(m, "# HELP g G\n# TYPE g gauge\ng{namespace=\"a\",name=\"x\"} 5\n"
                      "g{namespace=\"ab\",name=\"x\"} 3\ng{namespace=\"b\",name=\"x\"} 4\n");
    metrics_forget(f, NULL, 0);
    assert_renders(m, "");
    metrics_free(m);
}

static void test_series_are_bounded(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct metrics_family *f = metrics_family(m, METRICS_COUNTER, "c", "C", one_label);
    char host[32];
    for (int n = 0; n < METRICS_SERIES_MAX + 500; n++) {
        (void)snprintf(host, sizeof(host), "host-%d", n);
        metrics_add(f, VALUES(host), 1);
    }
    metrics_add(f, VALUES("host-7"), 1); /* those that are there go on */
    struct buf cleanup_buf out = {0};
    metrics_render(m, &out);
    size_t count = 0;
    for (const char *p = out.data; (p = strchr(p, '\n')) != NULL; p++)
        count++;
    assert_int_equal(count, 2 + METRICS_SERIES_MAX + 1);
    assert_non_null(strstr(out.data, "\nc{host=\"overflow\"} 500\n"));
    assert_non_null(strstr(out.data, "\nc{host=\"host-7\"} 2\n"));
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_json_line, teardown),
        cmocka_unit_test_teardown(test_text_line, teardown),
        cmocka_unit_test_teardown(test_levels, teardown),
        cmocka_unit_test_teardown(test_foreign_text_cannot_forge_a_line, teardown),
        cmocka_unit_test_teardown(test_a_line_too_long_is_told, teardown),
        cmocka_unit_test_teardown(test_standard_error_without_clock, teardown),
        cmocka_unit_test(test_counters_and_gauges),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_values_are_cut),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_families_by_name),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_series_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
