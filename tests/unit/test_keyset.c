/* SPDX-License-Identifier: Apache-2.0
 * How the trusted set follows readings: it grows at once and shrinks only on agreement. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/attr.h"
#include "rotation/keyset.h"

#define INTERVAL_MS 30000

static const struct keyset_seen A = {"a", "spki-a", true}, B = {"b", "spki-b", false},
                                C = {"c", "spki-c", true}, A2 = {"a", "spki-other", true};

/* A set that is followed over several readings, as known.c keeps it. */
struct followed {
    struct keyset_key known[LIMIT_KEYS];
    size_t count;
    struct keyset_result last;
};

static void follow(struct followed *f, const struct keyset_reading *r)
{
    struct keyset_key next[LIMIT_KEYS];
    keyset_follow(f->known, f->count, r, &f->last);
    for (size_t i = 0; i < f->last.count; i++) {
        const struct keyset_entry *e = &f->last.keys[i];
        next[i].kid = e->seen >= 0 ? r->keys[e->seen].kid : f->known[e->known].kid;
        next[i].identity = e->seen >= 0 ? r->keys[e->seen].identity : f->known[e->known].identity;
        next[i].state = e->state;
        next[i].misses = e->misses;
        next[i].missed_ms = e->missed_ms;
    }
    memcpy(f->known, next, f->last.count * sizeof(next[0]));
    f->count = f->last.count;
}

static const struct keyset_key *find(const struct followed *f, const char *kid)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->known[i].kid, kid) == 0)
            return &f->known[i];
    return NULL;
}

static struct keyset_reading admin(const struct keyset_seen *keys, size_t count, int64_t at_ms)
{
    return (struct keyset_reading){.keys = keys,
                                   .count = count,
                                   .served = keys,
                                   .served_count = count,
                                   .by_admin = true,
                                   .from_ms = at_ms,
                                   .until_ms = at_ms,
                                   .interval_ms = INTERVAL_MS};
}

static struct followed with_ab(void)
{
    struct followed f = {0};
    struct keyset_reading r = admin((const struct keyset_seen[]){A, B}, 2, 1000);
    follow(&f, &r);
    assert_int_equal(f.count, 2);
    return f;
}

static void grows_on_one_reading(void **state)
{
    (void)state;
    struct followed f = with_ab();
    struct keyset_reading r = admin((const struct keyset_seen[]){A, B, C}, 3, 2000);
    follow(&f, &r);
    assert_int_equal(f.count, 3);
    assert_true(f.last.grew);
    assert_int_equal(find(&f, "b")->state, KEY_PASSIVE);
    assert_int_equal(find(&f, "c")->state, KEY_ACTIVE);
}

static void shrinks_on_two_readings_apart(void **state)
{
    (void)state;
    struct followed f = with_ab();
    struct keyset_reading r = admin((const struct keyset_seen[]){A}, 1, 31000);
    follow(&f, &r);
    assert_int_equal(find(&f, "b")->state, KEY_LEAVING);
    r.from_ms = r.until_ms = 32000; /* the same moment, asked twice */
    follow(&f, &r);
    assert_non_null(find(&f, "b"));
    r.until_ms = 62000; /* one half of it is the same moment still */
    follow(&f, &r);
    assert_non_null(find(&f, "b"));
    r.from_ms = 61000;
    follow(&f, &r);
    assert_null(find(&f, "b"));
    assert_true(f.last.shrank);
}

static void shrinks_without_admin_on_three(void **state)
{
    (void)state;
    struct followed f = with_ab();
    struct keyset_reading r = admin((const struct keyset_seen[]){A}, 1, 31000);
    r.by_admin = false;
    r.served = NULL;
    follow(&f, &r);
    r.from_ms = r.until_ms = 61000;
    follow(&f, &r);
    assert_int_equal(find(&f, "b")->state, KEY_LEAVING);
    r.from_ms = r.until_ms = 91000;
    follow(&f, &r);
    assert_null(find(&f, "b"));
}

static void a_key_that_returns_starts_anew(void **state)
{
    (void)state;
    struct followed f = with_ab();
    const struct keyset_seen both[] = {A, B};
    struct keyset_reading r = admin(both, 1, 31000);
    follow(&f, &r);
    r = admin(both, 2, 61000);
    follow(&f, &r);
    assert_int_equal(find(&f, "b")->misses, 0);
    r = admin(both, 1, 91000);
    follow(&f, &r);
    assert_int_equal(find(&f, "b")->state, KEY_LEAVING);
}

static void nothing_leaves_without_the_jwks(void **state)
{
    (void)state;
    struct followed f = with_ab();
    for (int i = 1; i < 6; i++) {
        struct keyset_reading r = admin((const struct keyset_seen[]){A}, 1, 1000 + i * INTERVAL_MS);
        r.served = NULL;
        follow(&f, &r);
    }
    assert_non_null(find(&f, "b"));
    for (int i = 6; i < 12; i++) { /* and not while it still serves the key */
        struct keyset_reading r = admin((const struct keyset_seen[]){A}, 1, 1000 + i * INTERVAL_MS);
        r.served = (const struct keyset_seen[]){A, B};
        r.served_count = 2;
        follow(&f, &r);
        assert_true(f.last.disagrees);
    }
    assert_non_null(find(&f, "b"));
    assert_int_equal(find(&f, "b")->state, KEY_PASSIVE); /* nor is it called leaving */
}

static void nothing_changes_on_a_bad_reading(void **state)
{
    (void)state;
    struct followed f = with_ab();
    for (int i = 1; i < 6; i++) {
        struct keyset_reading r = admin((const struct keyset_seen[]){C}, 1, 1000 + i * INTERVAL_MS);
        r.unusable = true;
        follow(&f, &r);
        r = admin(NULL, 0, 1000 + i * INTERVAL_MS);
        follow(&f, &r);
    }
    assert_int_equal(f.count, 2);
    assert_null(find(&f, "c"));
}

static void a_partial_reading_only_adds(void **state)
{
    (void)state;
    struct followed f = with_ab();
    for (int i = 1; i < 6; i++) {
        struct keyset_reading r = admin((const struct keyset_seen[]){C}, 1, 1000 + i * INTERVAL_MS);
        r.partial = true;
        follow(&f, &r);
    }
    assert_int_equal(f.count, 3);
    assert_int_equal(find(&f, "a")->state, KEY_ACTIVE);
    assert_int_equal(find(&f, "c")->state, KEY_ACTIVE);
    assert_false(f.last.replaced);
}

static void a_replaced_set_is_held_until_acknowledged(void **state)
{
    (void)state;
    struct followed f = with_ab();
    struct keyset_reading r = admin((const struct keyset_seen[]){C}, 1, 31000);
    for (int i = 0; i < 5; i++, r.from_ms = r.until_ms += INTERVAL_MS)
        follow(&f, &r);
    assert_int_equal(f.count, 3);
    assert_true(f.last.replaced);
    assert_int_equal(find(&f, "a")->state, KEY_HELD);
    r.acknowledged = true;
    follow(&f, &r);
    assert_int_equal(f.count, 1);
    assert_false(f.last.replaced);
}

static void a_held_key_that_returns_is_trusted_again(void **state)
{
    (void)state;
    struct followed f = with_ab();
    struct keyset_reading r = admin((const struct keyset_seen[]){C}, 1, 31000);
    follow(&f, &r);
    r = admin((const struct keyset_seen[]){A, B, C}, 3, 61000);
    follow(&f, &r);
    assert_int_equal(find(&f, "a")->state, KEY_ACTIVE);
    assert_false(f.last.replaced);
}

static void a_reused_kid_is_refused_until_acknowledged(void **state)
{
    (void)state;
    struct followed f = with_ab();
    struct keyset_reading r = admin((const struct keyset_seen[]){A2, B}, 2, 31000);
    follow(&f, &r);
    assert_int_equal(f.last.reused, 0);
    assert_string_equal(find(&f, "a")->identity, "spki-a");
    r.acknowledged = true;
    follow(&f, &r);
    assert_string_equal(find(&f, "a")->identity, "spki-other");
}

static void a_set_without_room_stays_whole(void **state)
{
    (void)state;
    static char names[LIMIT_KEYS + 1][8];
    struct keyset_seen many[LIMIT_KEYS + 1];
    struct followed f = with_ab();
    many[0] = A;
    for (size_t i = 1; i < LIMIT_KEYS; i++) {
        names[i][0] = 'k';
        names[i][1] = (char)('0' + i / 10);
        names[i][2] = (char)('0' + i % 10);
        many[i] = (struct keyset_seen){names[i], names[i], false};
    }
    struct keyset_reading r = admin(many, LIMIT_KEYS, 31000); /* and "b" is only missed once */
    follow(&f, &r);
    assert_int_equal(f.last.overflow, 1);
    assert_int_equal(f.count, 2);
    assert_non_null(find(&f, "b"));
    r.from_ms = r.until_ms = 61000;
    follow(&f, &r);
    assert_int_equal(f.count, LIMIT_KEYS); /* "b" is gone by agreement, which makes room */
    assert_int_equal(f.last.overflow, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_on_one_reading),
        cmocka_unit_test(shrinks_on_two_readings_apart),
        cmocka_unit_test(shrinks_without_admin_on_three),
        cmocka_unit_test(a_key_that_returns_starts_anew),
        cmocka_unit_test(nothing_leaves_without_the_jwks),
        cmocka_unit_test(nothing_changes_on_a_bad_reading),
        cmocka_unit_test(a_partial_reading_only_adds),
        cmocka_unit_test(a_replaced_set_is_held_until_acknowledged),
        cmocka_unit_test(a_held_key_that_returns_is_trusted_again),
        cmocka_unit_test(a_reused_kid_is_refused_until_acknowledged),
        cmocka_unit_test(a_set_without_room_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
