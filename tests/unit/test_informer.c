/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "informer/informer.h"

static enum informer_request next(struct informer *i)
{
    struct informer_step step;
    informer_next(i, &step);
    assert_int_equal(step.request, i->current);
    return step.request;
}

static int64_t delay(struct informer *i)
{
    struct informer_step step;
    informer_next(i, &step);
    return step.delay_ms;
}

/* An informer that has listed by WATCH_LIST and whose stream is still open, at version 100. */
static struct informer watching(void)
{
    struct informer i;
    informer_init(&i, 7);
    assert_int_equal(next(&i), INFORMER_WATCH_LIST);
    assert_true(informer_event(&i, "100", true));
    return i;
}

/* Before the request after a WATCH from version 100. */
static struct informer listed(void)
{
    struct informer i = watching();
    informer_ended(&i, INFORMER_END_OK, 300000, 1);
    assert_int_equal(next(&i), INFORMER_WATCH);
    return i;
}

static void test_watch_list_keeps_no_version_of_initial_objects(void **state)
{
    (void)state;
    struct informer i;
    informer_init(&i, 0);
    assert_false(i.synced);
    assert_int_equal(next(&i), INFORMER_WATCH_LIST);
    assert_true(i.listing);
    assert_false(informer_event(&i, "900", false));
    assert_false(informer_event(&i, "12", false));
    assert_string_equal(i.resource_version, "");
    assert_false(i.synced);
    assert_true(informer_event(&i, "950", true));
    assert_true(i.synced);
    assert_false(i.listing);
    assert_string_equal(i.resource_version, "950");
    /* The same stream goes on: changes and bookmarks move the version, and complete nothing again.
     */
    assert_false(informer_event(&i, "960", false));
    assert_string_equal(i.resource_version, "960");
    assert_false(informer_event(&i, "970", true));
    assert_string_equal(i.resource_version, "970");
    informer_ended(&i, INFORMER_END_OK, 300000, 5);
    struct informer_step step;
    informer_next(&i, &step);
    assert_int_equal(step.request, INFORMER_WATCH);
    assert_int_equal(step.delay_ms, 0);
}

static void test_bookmark_moves_the_version_only(void **state)
{
    (void)state;
    struct informer i = listed();
    assert_false(informer_event(&i, "205", false));
    assert_string_equal(i.resource_version, "205");
    assert_false(i.listing);
    assert_true(i.synced);
    /* A version that cannot be used leaves the place where it was. */
    assert_false(informer_event(&i, "", false));
    assert_false(informer_event(&i, NULL, false));
    assert_false(informer_event(&i, "0", false));
    assert_false(informer_event(&i, "1234567890123456789012345678901234567890", false));
    assert_string_equal(i.resource_version, "205");
}

static void test_unsupported_watch_list_falls_back_for_good(void **state)
{
    (void)state;
    struct informer i;
    informer_init(&i, 3);
    assert_int_equal(next(&i), INFORMER_WATCH_LIST);
    informer_ended(&i, INFORMER_END_UNSUPPORTED, 3, 0);
    struct informer_step step;
    informer_next(&i, &step);
    assert_int_equal(step.request, INFORMER_LIST);
    assert_int_equal(step.delay_ms, 0);
    assert_string_equal(i.continue_token, "");
    assert_true(i.listing);
    assert_true(informer_page(&i, "42", ""));
    informer_ended(&i, INFORMER_END_OK, 10, 0);
    assert_int_equal(next(&i), INFORMER_WATCH);
    assert_string_equal(i.resource_version, "42");
    informer_ended(&i, INFORMER_END_GONE, 10, 0);
    assert_int_equal(next(&i), INFORMER_LIST);
    assert_true(i.synced);
}

static void test_pages(void **state)
{
    (void)state;
    struct informer i;
    informer_init(&i, 3);
    i.watch_list_refused = true;
    assert_int_equal(next(&i), INFORMER_LIST);
    assert_false(informer_page(&i, "50", "token-2"));
    informer_ended(&i, INFORMER_END_OK, 10, 0);
    assert_int_equal(delay(&i), 0);
    assert_int_equal(i.current, INFORMER_LIST);
    assert_string_equal(i.continue_token, "token-2");
    assert_true(i.listing);
    /* A page that is lost is asked for again, with its token. */
    informer_ended(&i, INFORMER_END_RETRY, 10, 0);
    assert_true(delay(&i) > 0);
    assert_int_equal(i.current, INFORMER_LIST);
    assert_string_equal(i.continue_token, "token-2");
    assert_false(informer_page(&i, "50", "token-3"));
    informer_ended(&i, INFORMER_END_OK, 10, 0);
    assert_int_equal(next(&i), INFORMER_LIST);
    assert_string_equal(i.continue_token, "token-3");
    assert_true(informer_page(&i, "77", NULL));
    assert_string_equal(i.resource_version, "50"); /* of the first page */
    assert_true(i.synced);
    informer_ended(&i, INFORMER_END_OK, 10, 0);
    assert_int_equal(next(&i), INFORMER_WATCH);
}

static void test_gone_on_second_page_lists_from_the_start(void **state)
{
    (void)state;
    struct informer i;
    informer_init(&i, 3);
    i.watch_list_refused = true;
    assert_int_equal(next(&i), INFORMER_LIST);
    assert_false(informer_page(&i, "50", "token-2"));
    informer_ended(&i, INFORMER_END_OK, 10, 0);
    assert_int_equal(next(&i), INFORMER_LIST);
    informer_ended(&i, INFORMER_END_GONE, 10, 0);
    assert_int_equal(next(&i), INFORMER_LIST);
    assert_string_equal(i.continue_token, "");
    assert_string_equal(i.resource_version, "");
    assert_true(i.listing);
    assert_false(i.synced);
    assert_true(informer_page(&i, "60", ""));
    assert_string_equal(i.resource_version, "60");
}

static void test_spoilt_pages_fail_and_start_again(void **state)
{
    (void)state;
    static char token[sizeof(((struct informer *)0)->continue_token) + 1];
    memset(token, 't', sizeof(token) - 1);
    const char *const versions[] = {"", NULL, "0", "5", "1234567890123456789012345678901234567890"};
    for (size_t n = 0; n < sizeof(versions) / sizeof(versions[0]); n++) {
        struct informer i;
        informer_init(&i, 3);
        i.watch_list_refused = true;
        assert_int_equal(next(&i), INFORMER_LIST);
        assert_false(informer_page(&i, versions[n], n == 3 ? token : ""));
        informer_ended(&i, INFORMER_END_OK, 10, 0);
        assert_true(delay(&i) > 0);
        assert_int_equal(i.current, INFORMER_LIST);
        assert_string_equal(i.continue_token, "");
        assert_true(i.listing);
        assert_false(i.synced);
    }
    struct informer i = listed();
    assert_false(informer_page(&i, "5", "")); /* no LIST is under way */
    assert_string_equal(i.resource_version, "100");
}

static void test_gone_starts_a_new_list(void **state)
{
    (void)state;
    /* By status at once, and by an ERROR event after a while: both the same. */
    const int64_t lived[] = {5, 120000};
    for (size_t n = 0; n < 2; n++) {
        struct informer i = listed();
        informer_ended(&i, INFORMER_END_GONE, lived[n], (unsigned)n);
        struct informer_step step;
        informer_next(&i, &step);
        assert_int_equal(step.request, INFORMER_WATCH_LIST);
        assert_in_range(step.delay_ms, 100, 200);
        assert_string_equal(i.resource_version, "");
        assert_true(i.listing);
        assert_true(i.synced);
    }
}

static void test_lost_connection_keeps_the_place(void **state)
{
    (void)state;
    struct informer i = listed();
    assert_false(informer_event(&i, "130", false));
    informer_ended(&i, INFORMER_END_RETRY, 60000, 1);
    assert_in_range(delay(&i), 100, 200);
    assert_int_equal(i.current, INFORMER_WATCH);
    assert_string_equal(i.resource_version, "130");
    informer_ended(&i, INFORMER_END_REFUSED, 5, 0);
    assert_int_equal(next(&i), INFORMER_WATCH);
    assert_string_equal(i.resource_version, "130");
}

static void test_watch_list_cut_before_its_end(void **state)
{
    (void)state;
    struct informer i;
    informer_init(&i, 3);
    assert_int_equal(next(&i), INFORMER_WATCH_LIST);
    assert_false(informer_event(&i, "12", false));
    informer_ended(&i, INFORMER_END_OK, 5000, 400);
    assert_false(i.synced);
    assert_in_range(delay(&i), 100, 200);
    assert_int_equal(i.current, INFORMER_WATCH_LIST);
    assert_true(i.listing);
    informer_ended(&i, INFORMER_END_RETRY, 5000, 400);
    assert_int_equal(next(&i), INFORMER_WATCH_LIST);
    /* Three in a row: perhaps the server cannot, so a plain list is tried until the watch works. */
    informer_ended(&i, INFORMER_END_RETRY, 5000, 400);
    assert_int_equal(next(&i), INFORMER_LIST);
    assert_true(informer_page(&i, "20", ""));
    informer_ended(&i, INFORMER_END_OK, 10, 0);
    assert_int_equal(next(&i), INFORMER_WATCH);
    informer_ended(&i, INFORMER_END_OK, 300000, 2);
    assert_int_equal(i.failures, 0);
    assert_int_equal(next(&i), INFORMER_WATCH);
    informer_ended(&i, INFORMER_END_GONE, 5, 0);
    assert_int_equal(next(&i), INFORMER_WATCH_LIST);
}

static void test_short_watches(void **state)
{
    (void)state;
    struct informer i = listed();
    informer_ended(&i, INFORMER_END_OK, 999, 0);
    assert_int_equal(i.failures, 1);
    assert_true(delay(&i) > 0);
    assert_int_equal(i.current, INFORMER_WATCH);
    informer_ended(&i, INFORMER_END_OK, 10, 0);
    assert_int_equal(i.failures, 2);
    (void)next(&i);
    informer_ended(&i, INFORMER_END_OK, 10, 1); /* an event came: no failure */
    assert_int_equal(i.failures, 0);
    assert_int_equal(delay(&i), 0);
    informer_ended(&i, INFORMER_END_OK, 1000, 0); /* cut every second: no failure */
    assert_int_equal(delay(&i), 0);
    /* A WATCH_LIST that dies right after its list has had events, yet nothing shows that it
     * watches. */
    struct informer j = watching();
    informer_ended(&j, INFORMER_END_OK, 20, 500);
    assert_int_equal(j.failures, 1);
    assert_int_equal(next(&j), INFORMER_WATCH);
}

static void test_backoff_bounds(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 50; seed++) {
        struct informer i;
        informer_init(&i, seed);
        int64_t full = 200;
        (void)next(&i);
        for (int n = 0; n < 40; n++) {
            informer_ended(&i, INFORMER_END_RETRY, 1, 0);
            assert_in_range(delay(&i), full / 2, full);
            full = full * 2 > 8000 ? 8000 : full * 2;
        }
        assert_true(full == 8000);
        informer_ended(&i, INFORMER_END_REFUSED, 1, 0);
        assert_in_range(delay(&i), 15000, 30000);
        informer_ended(&i, INFORMER_END_RETRY, 1, 0);
        assert_in_range(delay(&i), 4000, 8000);
    }
    struct informer i = listed();
    i.failures = UINT32_MAX;
    informer_ended(&i, INFORMER_END_RETRY, 1, 0);
    assert_int_equal(i.failures, UINT32_MAX);
    assert_in_range(delay(&i), 4000, 8000);
}

static void test_jitter_differs_between_seeds(void **state)
{
    (void)state;
    int64_t seen[8];
    unsigned different = 0;
    for (uint32_t seed = 0; seed < 8; seed++) {
        struct informer i;
        informer_init(&i, seed * 7919 + 5);
        (void)next(&i);
        i.failures = 10;
        informer_ended(&i, INFORMER_END_RETRY, 1, 0);
        seen[seed] = delay(&i);
        different += seed > 0 && seen[seed] != seen[seed - 1];
    }
    assert_true(different >= 4);
}

static void test_list_that_works_and_watch_that_never_does_backs_off(void **state)
{
    (void)state;
    struct informer i;
    informer_init(&i, 9);
    i.watch_list_refused = true;
    int64_t waited = 0;
    for (int n = 0; n < 12; n++) {
        struct informer_step step;
        informer_next(&i, &step);
        waited = step.delay_ms;
        assert_int_equal(step.request, INFORMER_LIST);
        assert_true(informer_page(&i, "5", ""));
        informer_ended(&i, INFORMER_END_OK, 5, 0);
        assert_int_equal(delay(&i), 0);
        assert_int_equal(i.current, INFORMER_WATCH);
        informer_ended(&i, INFORMER_END_GONE, 5, 0);
    }
    assert_in_range(waited, 4000, 8000);
}

static void test_refusal_of_something_else_than_watch_list(void **state)
{
    (void)state;
    struct informer i = listed();
    informer_ended(&i, INFORMER_END_UNSUPPORTED, 5,
                   0); /* 400 for a WATCH: its version is no good */
    assert_false(i.watch_list_refused);
    assert_true(delay(&i) > 0);
    assert_int_equal(i.current, INFORMER_WATCH_LIST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_list_keeps_no_version_of_initial_objects),
        cmocka_unit_test(test_bookmark_moves_the_version_only),
        cmocka_unit_test(test_unsupported_watch_list_falls_back_for_good),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_gone_on_second_page_lists_from_the_start),
        cmocka_unit_test(test_spoilt_pages_fail_and_start_again),
        cmocka_unit_test(test_gone_starts_a_new_list),
        cmocka_unit_test(test_lost_connection_keeps_the_place),
        cmocka_unit_test(test_watch_list_cut_before_its_end),
        cmocka_unit_test(test_short_watches),
        cmocka_unit_test(test_backoff_bounds),
        cmocka_unit_test(test_jitter_differs_between_seeds),
        cmocka_unit_test(test_list_that_works_and_watch_that_never_does_backs_off),
        cmocka_unit_test(test_refusal_of_something_else_than_watch_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
