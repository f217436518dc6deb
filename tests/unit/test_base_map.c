/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/map.h"

static int numbers[1000];

static void fill(struct map *m, int count)
{
    for (int i = 0; i < count; i++) {
        char key[24];
        snprintf(key, sizeof(key), "key-%d", i);
        assert_int_equal(map_put(m, key, &numbers[i], NULL), 0);
    }
}

static void test_put_get_replace(void **state)
{
    (void)state;
    struct map m = {0};
    void *old = &m;
    assert_null(map_get(&m, "a"));
    assert_null(map_remove(&m, "a"));
    assert_int_equal(map_put(&m, "a", &numbers[1], &old), 0);
    assert_null(old);
    assert_int_equal(map_put(&m, "a", &numbers[2], &old), 0);
    assert_ptr_equal(old, &numbers[1]);
    assert_ptr_equal(map_get(&m, "a"), &numbers[2]);
    assert_int_equal(m.count, 1);
    assert_int_equal(map_put(&m, "", &numbers[3], NULL), 0);
    assert_ptr_equal(map_get(&m, ""), &numbers[3]);
    map_release(&m);
    assert_int_equal(m.count, 0);
    map_release(NULL);
}

static void test_key_is_copied(void **state)
{
    (void)state;
    struct map m = {0};
    char key[] = "first";
    assert_int_equal(map_put(&m, key, &numbers[0], NULL), 0);
    key[0] = 'w';
    assert_ptr_equal(map_get(&m, "first"), &numbers[0]);
    assert_null(map_get(&m, "wirst"));
    map_release(&m);
}

static void test_many(void **state)
{
    (void)state;
    struct map m = {0};
    fill(&m, 1000);
    assert_int_equal(m.count, 1000);
    for (int i = 0; i < 1000; i++) {
        char key[24];
        snprintf(key, sizeof(key), "key-%d", i);
        assert_ptr_equal(map_get(&m, key), &numbers[i]);
        if (i % 2 == 0)
            assert_ptr_equal(map_remove(&m, key), &numbers[i]);
    }
    assert_int_equal(m.count, 500);
    for (int i = 0; i < 1000; i++) {
        char key[24];
        snprintf(key, sizeof(key), "key-%d", i);
        assert_ptr_equal(map_get(&m, key), i % 2 == 0 ? NULL : &numbers[i]);
    }
    map_release(&m);
}

/* Marks of removed entries must neither fill the table nor make it grow without end. */
static void test_churn_stays_small(void **state)
{
    (void)state;
    struct map m = {0};
    for (int i = 0; i < 100000; i++) {
        char key[24];
        snprintf(key, sizeof(key), "churn-%d", i);
        assert_int_equal(map_put(&m, key, &numbers[0], NULL), 0);
        assert_ptr_equal(map_remove(&m, key), &numbers[0]);
    }
    assert_int_equal(m.count, 0);
    assert_true(m.cap <= 32);
    assert_null(map_get(&m, "churn-0"));
    map_release(&m);
}

static void test_iterate_and_remove_current(void **state)
{
    (void)state;
    struct map m = {0};
    fill(&m, 1000);
    bool seen[1000] = {false};
    size_t it = 0;
    const char *key = NULL;
    void *value = NULL;
    while (map_next(&m, &it, &key, &value)) {
        ptrdiff_t n = (int *)value - numbers;
        assert_false(seen[n]);
        seen[n] = true;
        if (n % 3 == 0)
            assert_ptr_equal(map_remove(&m, key), value);
    }
    for (int i = 0; i < 1000; i++)
        assert_true(seen[i]);
    assert_int_equal(m.count, 666);
    it = 0;
    size_t left = 0;
    while (map_next(&m, &it, NULL, NULL))
        left++;
    assert_int_equal(left, 666);
    map_release(&m);
}

/* Order of iteration follows the hash: another seed must give another order. */
static void test_seed_changes_the_hash(void **state)
{
    (void)state;
    struct map one = {0};
    struct map two = {0};
    map_seed(1);
    fill(&one, 100);
    map_seed(2);
    fill(&two, 100);
    size_t i = 0;
    size_t j = 0;
    int same = 0;
    const char *a = NULL;
    const char *b = NULL;
    while (map_next(&one, &i, &a, NULL) && map_next(&two, &j, &b, NULL))
        same += strcmp(a, b) == 0;
    assert_true(same < 50);
    assert_ptr_equal(map_get(&one, "key-5"), &numbers[5]); /* the seed of before still holds */
    map_release(&one);
    map_release(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_replace),
        cmocka_unit_test(test_key_is_copied),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_churn_stays_small),
        cmocka_unit_test(test_iterate_and_remove_current),
        cmocka_unit_test(test_seed_changes_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
