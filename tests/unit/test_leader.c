/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "leader/leader.h"

/* The API server's side: one Lease with optimistic locking. */
struct server {
    bool exists;
    struct leader_record record;
    int64_t version;
    int64_t writes;
};

static bool server_write(struct server *s, const struct leader_step *step,
                         struct leader_record *ret)
{
    bool create = step->action == LEADER_CREATE;
    if (create == s->exists)
        return false;
    if (!create && strcmp(step->write.resource_version, s->record.resource_version) != 0)
        return false;
    s->exists = true;
    s->record = step->write;
    s->writes++;
    (void)snprintf(s->record.resource_version, sizeof(s->record.resource_version), "%d",
                   (int)++s->version);
    (void)snprintf(s->record.renew_time, sizeof(s->record.renew_time), "w%d", (int)s->writes);
    if (s->record.acquire_time[0] == '\0')
        (void)snprintf(s->record.acquire_time, sizeof(s->record.acquire_time), "a%d",
                       (int)s->writes);
    *ret = s->record;
    return true;
}

/* Does all that is to be done at now_ms, with answers that come at once. Returns when to come back.
 */
static int64_t turn(struct leader *l, struct server *s, int64_t now_ms)
{
    for (int n = 0; n < 10; n++) {
        struct leader_step step;
        leader_next(l, now_ms, &step);
        if (step.action == LEADER_WAIT) {
            assert_true(step.next_ms > now_ms);
            return step.next_ms;
        }
        assert_int_equal(step.next_ms, now_ms + LEADER_RETRY_MS);
        struct leader_record stored;
        if (step.action == LEADER_READ)
            leader_saw(l, s->exists ? &s->record : NULL, now_ms);
        else if (server_write(s, &step, &stored))
            leader_wrote(l, &stored, now_ms, now_ms);
        else
            leader_wrote(l, NULL, now_ms, now_ms);
    }
    fail_msg("no rest at %d", (int)now_ms);
    return 0;
}

static void run_until(struct leader *l, struct server *s, int64_t *now_ms, int64_t until_ms)
{
    while (*now_ms < until_ms) {
        int64_t next_ms = turn(l, s, *now_ms);
        *now_ms = next_ms < until_ms ? next_ms : until_ms;
    }
}

static enum leader_action action_at(const struct leader *l, int64_t now_ms)
{
    struct leader_step step;
    leader_next(l, now_ms, &step);
    return step.action;
}

static void test_creates_and_renews(void **state)
{
    (void)state;
    struct leader l;
    struct server s = {0};
    leader_init(&l, "me");
    assert_int_equal(action_at(&l, 1000), LEADER_READ);
    leader_saw(&l, NULL, 1000);
    struct leader_step step;
    leader_next(&l, 1000, &step);
    assert_int_equal(step.action, LEADER_CREATE);
    assert_string_equal(step.write.holder, "me");
    assert_string_equal(step.write.resource_version, "");
    assert_int_equal(step.write.duration_ms, LEADER_LEASE_MS);
    assert_int_equal(step.write.transitions, 0);
    int64_t now_ms = 1000;
    run_until(&l, &s, &now_ms, 1001);
    assert_true(l.leading);
    assert_true(leader_may_write(&l, now_ms, 5000));
    struct leader_record first = s.record;
    run_until(&l, &s, &now_ms, 61000);
    assert_true(l.leading);
    assert_in_range(s.writes, 28, 32); /* every two seconds */
    assert_string_equal(s.record.acquire_time, first.acquire_time);
    assert_int_equal(s.record.transitions, 0);
    assert_string_not_equal(s.record.renew_time, first.renew_time);
}

static void test_may_write_follows_the_start_of_the_renewal(void **state)
{
    (void)state;
    struct leader l;
    leader_init(&l, "me");
    assert_false(leader_may_write(&l, 0, 0));
    struct leader_record stored = {.holder = "me", .resource_version = "1"};
    leader_saw(&l, NULL, 1000);
    leader_wrote(&l, &stored, 1000, 4000); /* the answer took three seconds */
    assert_true(l.leading);
    assert_true(leader_may_write(&l, 10999, 0));
    assert_false(leader_may_write(&l, 11000, 0));
    assert_true(leader_may_write(&l, 5999, 5000));
    assert_false(leader_may_write(&l, 6000, 5000));
    assert_false(leader_may_write(&l, 4000, LEADER_RENEW_MS));
    /* An answer later than the deadline makes no leader. */
    leader_wrote(&l, &stored, 20000, 30000);
    assert_false(l.leading);
    assert_false(leader_may_write(&l, 30000, 0));
}

static void test_takes_over_after_a_kill(void **state)
{
    (void)state;
    struct leader old, new;
    struct server s = {0};
    leader_init(&old, "old");
    leader_init(&new, "new");
    int64_t now_ms = 0;
    run_until(&old, &s, &now_ms, 1);
    for (int64_t t = 1; t < 60000; t += 700) { /* both alive */
        (void)turn(&old, &s, t);
        (void)turn(&new, &s, t);
        assert_true(old.leading);
        assert_false(new.leading);
    }
    now_ms = 60000;
    int64_t last_renewal_ms = old.renewed_ms;
    while (!new.leading && now_ms < 100000)
        now_ms = turn(&new, &s, now_ms);
    assert_true(new.leading);
    /* Never before the old one has stopped by itself, and within the promised time. */
    assert_true(new.renewed_ms >= last_renewal_ms + LEADER_LEASE_MS);
    assert_true(new.renewed_ms <= last_renewal_ms + LEADER_LEASE_MS + LEADER_RETRY_MS);
    assert_false(leader_may_write(&old, new.renewed_ms, 0));
    assert_int_equal(s.record.transitions, 1);
    assert_string_equal(s.record.holder, "new");
    /* The old one comes back and sees who leads. */
    (void)turn(&old, &s, new.renewed_ms + 1);
    assert_false(old.leading);
    assert_string_equal(s.record.holder, "new");
}

static void test_wall_clock_texts_do_not_matter(void **state)
{
    (void)state;
    struct leader l;
    leader_init(&l, "me");
    struct leader_record r = {.holder = "other",
                              .renew_time = "2099-01-01T00:00:00.000000Z",
                              .duration_ms = 15000,
                              .resource_version = "1"};
    leader_saw(&l, &r, 0);
    assert_int_equal(action_at(&l, 1), LEADER_WAIT);
    for (int64_t t = 2000; t < 15000; t += 1000)
        leader_saw(&l, &r, t);
    assert_int_equal(action_at(&l, 14999), LEADER_WAIT);
    assert_int_equal(action_at(&l, 15000), LEADER_WRITE);
    /* A clock that runs backwards in the record is a sign of life like any other change. */
    (void)snprintf(r.renew_time, sizeof(r.renew_time), "1970-01-01T00:00:00.000000Z");
    leader_saw(&l, &r, 15000);
    assert_int_equal(action_at(&l, 15001), LEADER_WAIT);
    leader_saw(&l, &r, 29000);
    assert_int_equal(action_at(&l, 29999), LEADER_WAIT);
    assert_int_equal(action_at(&l, 30000), LEADER_WRITE);
}

static void test_version_alone_is_no_sign_of_life(void **state)
{
    (void)state;
    struct leader l;
    leader_init(&l, "me");
    struct leader_record r = {.holder = "other", .renew_time = "x", .duration_ms = 15000};
    struct leader_step step;
    for (int64_t t = 0; t <= 15000; t += 1000) { /* somebody labels the Lease all the time */
        (void)snprintf(r.resource_version, sizeof(r.resource_version), "%d", (int)t + 1);
        leader_saw(&l, &r, t);
        leader_next(&l, t, &step);
        assert_int_equal(step.action, t < 15000 ? LEADER_WAIT : LEADER_WRITE);
    }
    assert_string_equal(step.write.resource_version,
                        "15001"); /* the newest, else it would conflict */
    assert_int_equal(step.write.transitions, 1);
    assert_string_equal(step.write.acquire_time, "");
    assert_string_equal(step.write.renew_time, "");
}

static int64_t takeover_ms(int64_t duration_ms)
{
    struct leader l;
    leader_init(&l, "me");
    struct leader_record r = {
        .holder = "other", .resource_version = "1", .duration_ms = duration_ms};
    for (int64_t t = 0; t < 1000000; t += 500) {
        leader_saw(&l, &r, t);
        if (action_at(&l, t) == LEADER_WRITE)
            return t;
    }
    return -1;
}

static void test_durations_of_others(void **state)
{
    (void)state;
    assert_int_equal(takeover_ms(60000), 60000);
    assert_int_equal(takeover_ms(1000), LEADER_LEASE_MS); /* its holder may be ours: ten seconds */
    assert_int_equal(takeover_ms(0), LEADER_LEASE_MS);
    assert_int_equal(takeover_ms(-5), LEADER_LEASE_MS);
    assert_int_equal(takeover_ms(INT64_MAX), LEADER_LEASE_MAX_MS);
}

static void test_release(void **state)
{
    (void)state;
    struct leader old, new;
    struct server s = {0};
    struct leader_record write;
    leader_init(&old, "old");
    leader_init(&new, "new");
    assert_false(leader_release(&old, &write));
    (void)turn(&old, &s, 0);
    (void)turn(&new, &s, 0);
    assert_true(leader_release(&old, &write));
    assert_false(old.leading);
    assert_false(leader_may_write(&old, 1, 0));
    assert_false(leader_release(&old, &write));
    assert_string_equal(write.holder, "");
    assert_int_equal(write.duration_ms, 1000);
    assert_string_equal(write.resource_version, s.record.resource_version);
    assert_string_equal(write.acquire_time, s.record.acquire_time);
    struct leader_step step = {.action = LEADER_WRITE, .write = write};
    struct leader_record stored;
    assert_true(server_write(&s, &step, &stored));
    leader_wrote(&old, &stored, 100, 150);
    assert_false(old.leading);
    int64_t now_ms = 200;
    while (!new.leading)
        now_ms = turn(&new, &s, now_ms);
    assert_true(new.renewed_ms <= LEADER_RETRY_MS);
    assert_int_equal(s.record.transitions, 1);
}

static void test_conflict_is_read_again(void **state)
{
    (void)state;
    struct leader l;
    struct server s = {0};
    leader_init(&l, "me");
    (void)turn(&l, &s, 0);
    /* Somebody annotates the Lease: our next PUT conflicts, leadership does not suffer. */
    (void)snprintf(s.record.resource_version, sizeof(s.record.resource_version), "annotated");
    int64_t now_ms = turn(&l, &s, 2000);
    assert_true(l.leading);
    assert_false(l.record_known);
    assert_int_equal(now_ms, 4000); /* not at once: a PUT that always fails must not spin */
    (void)turn(&l, &s, now_ms);
    assert_true(l.leading);
    assert_int_equal(l.renewed_ms, 4000);
}

static void test_lost_answer_of_a_write_that_happened(void **state)
{
    (void)state;
    struct leader l;
    struct server s = {0};
    struct leader_step step;
    struct leader_record stored;
    leader_init(&l, "me");
    leader_saw(&l, NULL, 0);
    leader_next(&l, 0, &step);
    assert_true(server_write(&s, &step, &stored));
    leader_wrote(&l, NULL, 0, 5000); /* timed out */
    assert_false(l.leading);
    assert_int_equal(action_at(&l, 5000), LEADER_READ); /* two seconds are over already */
    leader_saw(&l, &s.record, 5000);
    assert_false(l.leading); /* a record is no proof of when it was written */
    leader_next(&l, 5000, &step);
    assert_int_equal(step.action, LEADER_WRITE);
    assert_int_equal(step.write.transitions, 0);
    (void)turn(&l, &s, 5000);
    assert_true(l.leading);
    assert_int_equal(l.renewed_ms, 5000);
    assert_int_equal(s.record.transitions, 0);
}

static void test_lost_answer_does_not_prolong_the_wait(void **state)
{
    (void)state;
    struct leader l;
    leader_init(&l, "me");
    struct leader_record r = {.holder = "dead", .resource_version = "1", .duration_ms = 15000};
    leader_saw(&l, &r, 0);
    leader_saw(&l, &r, 15000);
    assert_int_equal(action_at(&l, 15000), LEADER_WRITE);
    leader_wrote(&l, NULL, 15000, 17500);
    assert_int_equal(action_at(&l, 17500), LEADER_READ);
    leader_saw(&l, &r, 17600);
    assert_int_equal(action_at(&l, 17600), LEADER_WRITE);
}

static void test_leadership_lost_by_silence(void **state)
{
    (void)state;
    struct leader l;
    struct server s = {0};
    leader_init(&l, "me");
    (void)turn(&l, &s, 0);
    /* Every request fails from now on. */
    int64_t now_ms = 0;
    int requests = 0;
    while (now_ms < 20000) {
        struct leader_step step;
        leader_next(&l, now_ms, &step);
        assert_int_equal(leader_may_write(&l, now_ms, 0), now_ms < LEADER_RENEW_MS);
        if (step.action == LEADER_WRITE)
            leader_wrote(&l, NULL, now_ms, now_ms + 100);
        requests += step.action != LEADER_WAIT;
        now_ms = step.next_ms;
    }
    assert_in_range(requests, 5, 11);
    /* The server is back, nobody took the Lease: it is ours after a look and a write. */
    (void)turn(&l, &s, 20000);
    assert_true(l.leading);
    assert_int_equal(l.renewed_ms, 20000);
}

static void test_a_pause_of_a_minute(void **state)
{
    (void)state;
    struct leader l, other;
    struct server s = {0};
    leader_init(&l, "me");
    leader_init(&other, "other");
    (void)turn(&l, &s, 0);
    for (int64_t t = 0; t < 60000;)
        t = turn(&other, &s, t);
    assert_true(other.leading);
    /* Continued: nothing may be sent, and the first thing is a look, not a write. */
    assert_false(leader_may_write(&l, 60000, 0));
    assert_int_equal(action_at(&l, 60000), LEADER_READ);
    int64_t writes = s.writes;
    (void)turn(&l, &s, 60000);
    assert_false(l.leading);
    assert_int_equal(s.writes, writes);
    /* The same with nobody else there: leadership ends, then begins anew. */
    struct leader alone;
    struct server t = {0};
    leader_init(&alone, "me");
    (void)turn(&alone, &t, 0);
    assert_int_equal(action_at(&alone, 60000), LEADER_READ);
    leader_saw(&alone, &t.record, 60000);
    assert_false(alone.leading);
    (void)turn(&alone, &t, 60000);
    assert_true(alone.leading);
    assert_int_equal(t.record.transitions, 0);
}

static void test_a_follower_that_slept_looks_first(void **state)
{
    (void)state;
    struct leader l;
    leader_init(&l, "me");
    struct leader_record r = {.holder = "other", .resource_version = "1", .duration_ms = 15000};
    leader_saw(&l, &r, 0);
    assert_int_equal(action_at(&l, 60000), LEADER_READ);
    (void)snprintf(r.renew_time, sizeof(r.renew_time), "alive");
    leader_saw(&l, &r, 60000);
    assert_int_equal(action_at(&l, 60000), LEADER_WAIT);
}

static void test_foreign_changes_end_leadership(void **state)
{
    (void)state;
    struct leader l;
    struct server s = {0};
    leader_init(&l, "me");
    (void)turn(&l, &s, 0);
    struct leader_record r = s.record;
    (void)snprintf(r.holder, sizeof(r.holder), "thief");
    leader_saw(&l, &r, 1000);
    assert_false(l.leading);
    assert_false(leader_may_write(&l, 1000, 0));
    assert_int_equal(action_at(&l, 1000), LEADER_WAIT);
    /* Deleted: whoever creates it next leads, so we do not until we have. */
    (void)turn(&l, &s, 20000);
    assert_true(l.leading);
    s.exists = false;
    leader_saw(&l, NULL, 20500);
    assert_false(l.leading);
    (void)turn(&l, &s, 20500);
    assert_true(l.leading);
    /* Emptied by hand, and an answer that names somebody else. */
    (void)snprintf(r.holder, sizeof(r.holder), "%s", "");
    leader_saw(&l, &r, 21000);
    assert_false(l.leading);
    (void)snprintf(r.holder, sizeof(r.holder), "thief");
    leader_wrote(&l, &r, 21000, 21000);
    assert_false(l.leading);
}

static void test_create_race(void **state)
{
    (void)state;
    struct leader a, b;
    struct server s = {0};
    leader_init(&a, "a");
    leader_init(&b, "b");
    leader_saw(&a, NULL, 0);
    leader_saw(&b, NULL, 0);
    (void)turn(&a, &s, 0);
    (void)turn(&b, &s, 0);
    assert_true(a.leading);
    assert_false(b.leading);
    (void)turn(&b, &s, 2000);
    assert_string_equal(s.record.holder, "a");
    assert_string_equal(b.record.holder, "a");
}

static void test_transitions_of_anybodys_making(void **state)
{
    (void)state;
    const int64_t given[] = {INT32_MAX, INT64_MAX, -3, 7};
    const int64_t wanted[] = {INT32_MAX, INT32_MAX, 0, 8};
    for (int n = 0; n < 4; n++) {
        struct leader l;
        struct leader_step step;
        leader_init(&l, "me");
        struct leader_record r = {.resource_version = "1", .transitions = given[n]};
        leader_saw(&l, &r, 0);
        leader_next(&l, 0, &step);
        assert_int_equal(step.action, LEADER_WRITE);
        assert_true(step.write.transitions == wanted[n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_creates_and_renews),
        cmocka_unit_test(test_may_write_follows_the_start_of_the_renewal),
        cmocka_unit_test(test_takes_over_after_a_kill),
        cmocka_unit_test(test_wall_clock_texts_do_not_matter),
        cmocka_unit_test(test_version_alone_is_no_sign_of_life),
        cmocka_unit_test(test_durations_of_others),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_conflict_is_read_again),
        cmocka_unit_test(test_lost_answer_of_a_write_that_happened),
        cmocka_unit_test(test_lost_answer_does_not_prolong_the_wait),
        cmocka_unit_test(test_leadership_lost_by_silence),
        cmocka_unit_test(test_a_pause_of_a_minute),
        cmocka_unit_test(test_a_follower_that_slept_looks_first),
        cmocka_unit_test(test_foreign_changes_end_leadership),
        cmocka_unit_test(test_create_race),
        cmocka_unit_test(test_transitions_of_anybodys_making),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
