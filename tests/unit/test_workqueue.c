/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "workqueue/workqueue.h"

static void test_order(void **state)
{
    (void)state;
    struct workqueue *q = workqueue_new();
    assert_non_null(q);
    assert_null(workqueue_take(q, INT64_MAX));
    assert_true(workqueue_next_due_ms(q) == INT64_MAX);
    assert_int_equal(workqueue_add(q, "late", 300), 0);
    assert_int_equal(workqueue_add(q, "first", 100), 0);
    assert_int_equal(workqueue_add(q, "second", 100), 0);
    assert_int_equal(workqueue_depth(q), 3);
    assert_int_equal(workqueue_next_due_ms(q), 100);
    assert_null(workqueue_take(q, 99));
    assert_string_equal(workqueue_take(q, 100), "first");
    assert_string_equal(workqueue_take(q, 100), "second");
    assert_null(workqueue_take(q, 299));
    assert_int_equal(workqueue_next_due_ms(q), 300);
    assert_string_equal(workqueue_take(q, 1000), "late");
    assert_int_equal(workqueue_depth(q), 0);
    workqueue_free(q); /* taken keys are not lost */
}

static void test_each_key_once_at_the_earlier_time(void **state)
{
    (void)state;
    struct workqueue *q = workqueue_new();
    char key[] = "a";
    assert_int_equal(workqueue_add(q, key, 100), 0);
    key[0] = 'x'; /* copied */
    assert_int_equal(workqueue_add(q, "a", 500), 0);
    assert_int_equal(workqueue_next_due_ms(q), 100);
    assert_int_equal(workqueue_add(q, "a", 50), 0);
    assert_int_equal(workqueue_next_due_ms(q), 50);
    assert_int_equal(workqueue_depth(q), 1);
    const char *taken = workqueue_take(q, 50);
    assert_string_equal(taken, "a");
    workqueue_done(q, taken);
    assert_null(workqueue_take(q, INT64_MAX));
    workqueue_free(q);
}

static void test_added_while_taken_comes_back_once(void **state)
{
    (void)state;
    struct workqueue *q = workqueue_new();
    assert_int_equal(workqueue_add(q, "a", 0), 0);
    const char *taken = workqueue_take(q, 0);
    assert_int_equal(workqueue_add(q, "a", 70), 0);
    assert_int_equal(workqueue_add(q, "a", 40), 0);
    assert_int_equal(workqueue_add(q, "a", 90), 0);
    assert_null(workqueue_take(q, 100)); /* one worker a key */
    assert_int_equal(workqueue_depth(q), 0);
    assert_string_equal(taken, "a");
    workqueue_done(q, taken);
    assert_int_equal(workqueue_depth(q), 1);
    assert_int_equal(workqueue_next_due_ms(q), 40);
    taken = workqueue_take(q, 40);
    assert_string_equal(taken, "a");
    workqueue_done(q, taken);
    assert_int_equal(workqueue_depth(q), 0);
    workqueue_done(q, "a"); /* unknown and not taken: nothing happens */
    assert_int_equal(workqueue_add(q, "a", 1), 0);
    workqueue_done(q, "a");
    assert_int_equal(workqueue_depth(q), 1);
    workqueue_free(q);
}

static void test_drop(void **state)
{
    (void)state;
    struct workqueue *q = workqueue_new();
    assert_int_equal(workqueue_add(q, "a", 0), 0);
    assert_int_equal(workqueue_add(q, "b", 0), 0);
    workqueue_drop(q, "a");
    workqueue_drop(q, "unknown");
    const char *taken = workqueue_take(q, 0);
    assert_string_equal(taken, "b");
    assert_int_equal(workqueue_add(q, "b", 0), 0);
    workqueue_drop(q, "b");
    workqueue_done(q, taken);
    assert_null(workqueue_take(q, INT64_MAX));
    /* What is added after the drop counts. */
    assert_int_equal(workqueue_add(q, "c", 0), 0);
    taken = workqueue_take(q, 0);
    workqueue_drop(q, taken);
    assert_int_equal(workqueue_add(q, taken, 5), 0);
    workqueue_done(q, taken);
    assert_string_equal(workqueue_take(q, 5), "c");
    workqueue_free(q);
    workqueue_free(NULL);
}

#define MODEL_KEYS 40

struct model {
    bool waiting[MODEL_KEYS], taken[MODEL_KEYS], again[MODEL_KEYS];
    int64_t due_ms[MODEL_KEYS];
    uint64_t order[MODEL_KEYS], order_next;
};

static uint32_t chance(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

static void model_push(struct model *m, unsigned k, int64_t due_ms)
{
    m->waiting[k] = true;
    m->due_ms[k] = due_ms;
    m->order[k] = m->order_next++;
}

static void model_add(struct model *m, unsigned k, int64_t due_ms)
{
    if (m->taken[k]) {
        if (!m->again[k] || due_ms < m->due_ms[k])
            m->due_ms[k] = due_ms;
        m->again[k] = true;
    } else if (!m->waiting[k]) {
        model_push(m, k, due_ms);
    } else if (due_ms < m->due_ms[k]) {
        m->due_ms[k] = due_ms;
    }
}

static int model_first(const struct model *m)
{
    int best = -1;
    for (int k = 0; k < MODEL_KEYS; k++) {
        if (!m->waiting[k])
            continue;
        if (best < 0 || m->due_ms[k] < m->due_ms[best] ||
            (m->due_ms[k] == m->due_ms[best] && m->order[k] < m->order[best]))
            best = k;
    }
    return best;
}

static void model_done(struct model *m, unsigned k)
{
    m->taken[k] = false;
    if (m->again[k]) {
        m->again[k] = false;
        model_push(m, k, m->due_ms[k]);
    }
}

static void check_take(struct workqueue *q, struct model *m, int64_t now_ms)
{
    const char *got = workqueue_take(q, now_ms);
    int first = model_first(m);
    if (first < 0 || m->due_ms[first] > now_ms) {
        assert_null(got);
        return;
    }
    char name[16];
    (void)snprintf(name, sizeof(name), "key-%d", first);
    assert_non_null(got);
    assert_string_equal(got, name);
    m->waiting[first] = false;
    m->taken[first] = true;
}

static void check_state(const struct workqueue *q, const struct model *m)
{
    size_t depth = 0;
    for (int k = 0; k < MODEL_KEYS; k++)
        depth += m->waiting[k];
    assert_int_equal(workqueue_depth(q), depth);
    int first = model_first(m);
    assert_true(workqueue_next_due_ms(q) == (first < 0 ? INT64_MAX : m->due_ms[first]));
}

static void test_against_a_naive_model(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct workqueue *q = workqueue_new();
        struct model m = {0};
        uint32_t x = seed;
        int64_t now_ms = 0;
        for (int n = 0; n < 3000; n++) {
            unsigned k = chance(&x) % MODEL_KEYS;
            char name[16];
            (void)snprintf(name, sizeof(name), "key-%u", k);
            int64_t due_ms = now_ms + (int64_t)(chance(&x) % 60) - 10;
            switch (chance(&x) % 8) {
            case 0:
            case 1:
            case 2:
                assert_int_equal(workqueue_add(q, name, due_ms), 0);
                model_add(&m, k, due_ms);
                break;
            case 3:
            case 4: check_take(q, &m, now_ms); break;
            case 5:
                workqueue_done(q, name);
                if (m.taken[k])
                    model_done(&m, k);
                break;
            case 6:
                if (chance(&x) % 3 != 0)
                    break;
                workqueue_drop(q, name);
                m.again[k] = false;
                m.waiting[k] = false;
                break;
            default: now_ms += chance(&x) % 20; break;
            }
            check_state(q, &m);
        }
        workqueue_free(q);
    }
}

static void test_many_keys(void **state)
{
    (void)state;
    struct workqueue *q = workqueue_new();
    uint32_t x = 5;
    char name[32];
    for (int n = 0; n < 20000; n++) {
        (void)snprintf(name, sizeof(name), "namespace/key-%d", n);
        assert_int_equal(workqueue_add(q, name, (int64_t)(chance(&x) % 100000)), 0);
    }
    int64_t last = -1;
    for (int n = 0; n < 20000; n++) {
        int64_t due_ms = workqueue_next_due_ms(q);
        assert_true(due_ms >= last);
        last = due_ms;
        const char *key = workqueue_take(q, due_ms);
        assert_non_null(key);
        workqueue_done(q, key);
    }
    assert_int_equal(workqueue_depth(q), 0);
    workqueue_free(q);
}

static void test_backoff(void **state)
{
    (void)state;
    assert_int_equal(workqueue_backoff_ms(0, 60000, 0), 250);
    assert_int_equal(workqueue_backoff_ms(1, 60000, 0), 500);
    assert_int_equal(workqueue_backoff_ms(3, 60000, 0), 2000);
    assert_int_equal(workqueue_backoff_ms(3, 60000, UINT32_MAX), 2500);
    assert_int_equal(workqueue_backoff_ms(8, 60000, 0), 60000);
    assert_int_equal(workqueue_backoff_ms(UINT32_MAX, 60000, UINT32_MAX), 75000);
    assert_int_equal(workqueue_backoff_ms(5, 100, 0), 100);
    assert_int_equal(workqueue_backoff_ms(5, 0, UINT32_MAX), 0);
    assert_int_equal(workqueue_backoff_ms(5, -7, UINT32_MAX), 0);
    assert_true(workqueue_backoff_ms(UINT32_MAX, INT64_MAX, UINT32_MAX) > 0);
    int64_t middle = workqueue_backoff_ms(2, 60000, UINT32_MAX / 2);
    assert_in_range(middle, 1100, 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_each_key_once_at_the_earlier_time),
        cmocka_unit_test(test_added_while_taken_comes_back_once),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_against_a_naive_model),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
