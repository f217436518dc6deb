/* SPDX-License-Identifier: Apache-2.0
 * A rotation from beginning to end, and what people may command at each point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/str.h"
#include "rotation/rehearsal.h"

#define NOW 1800000000LL
#define HOUR 3600LL
#define DAY (24 * HOUR)

static struct key_policy policy(void)
{
    return (struct key_policy){.publish_s = HOUR,
                               .retire_s = 10 * HOUR,
                               .delete_s = 7 * DAY,
                               .adopt = true,
                               .priority_max = 1000000};
}

static void say(struct rehearsal *r, enum operation_kind kind, uint64_t number, const char *kid,
                const char *by)
{
    r->operation = (struct operation){.kind = kind, .number = number, .kid = kid, .by = by};
    assert_true(rehearsal_settle(r, 50));
    assert_int_equal(r->operation.kind, OPERATION_NONE);
}

/* Lets time go on until nothing more comes by itself, or `until`. */
static void play(struct rehearsal *r, int64_t until_s)
{
    assert_true(rehearsal_settle(r, 50));
    for (int64_t due_s = rehearsal_due_s(r); due_s <= until_s; due_s = rehearsal_due_s(r)) {
        assert_true(due_s > r->now_s);
        r->now_s = due_s;
        assert_true(rehearsal_settle(r, 50));
        assert_null(r->plan.finding);
    }
    r->now_s = until_s;
    assert_true(rehearsal_settle(r, 50));
}

static void assert_signs(struct rehearsal *r, const char *kid)
{
    assert_non_null(rehearsal_signer(r));
    assert_string_equal(rehearsal_signer(r)->kid, kid);
}

static void a_rotation_goes_through(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 60);
    assert_int_equal(r.plan.phase, ENGINE_STEADY);
    assert_int_equal(r.writes, 0);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    assert_null(r.taken.refused);
    assert_int_equal(r.plan.phase, ENGINE_PUBLISHING);
    assert_signs(&r, "old");
    play(&r, NOW + 60 + HOUR - 1);
    assert_signs(&r, "old");
    play(&r, NOW + 60 + HOUR + 1);
    assert_signs(&r, "key-1");
    assert_int_equal(r.plan.phase, ENGINE_OVERLAP);
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_PASSIVE);
    play(&r, NOW + 11 * HOUR);
    assert_true(rehearsal_find(&r, "old")->loaded);
    play(&r, NOW + 12 * HOUR);
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_DISABLED);
    assert_int_equal(r.plan.phase, ENGINE_STEADY);
    play(&r, NOW + 30 * DAY);
    assert_non_null(rehearsal_find(&r, "old")); /* it was the realm's: never deleted */
    say(&r, OPERATION_ROTATE, 2, NULL, "ann");
    play(&r, NOW + 60 * DAY);
    assert_signs(&r, "key-2");
    assert_null(rehearsal_find(&r, "key-1")); /* it was ours */
    assert_int_equal(r.plan.phase, ENGINE_STEADY);
}

static void a_key_found_in_the_realm_stays_until_somebody_says_so(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    p.adopt = false;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 1);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    play(&r, NOW + 30 * DAY);
    assert_signs(&r, "key-1");
    assert_int_equal(r.plan.phase, ENGINE_AWAITING_RETIREMENT);
    assert_non_null(strstr(r.plan.message, "adopt"));
    assert_non_null(strstr(r.plan.command, "operation=retire"));
    assert_non_null(strstr(r.plan.command, "1/old"));
    say(&r, OPERATION_RETIRE, 1, NULL, "ann"); /* does not name it */
    assert_non_null(r.taken.refused);
    say(&r, OPERATION_ROTATE, 2, NULL, "ann"); /* is no obstacle to the next rotation */
    play(&r, NOW + 60 * DAY);
    assert_signs(&r, "key-2");
    assert_non_null(rehearsal_find(&r, "old"));
    say(&r, OPERATION_RETIRE, 1, "old", "ann");
    assert_null(r.taken.refused);
    play(&r, NOW + 90 * DAY);
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_DISABLED);
}

static void approvals_are_waited_for_and_two_persons_are_two(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    p.promote_manual = p.retire_manual = p.two_person = true;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 1);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    play(&r, NOW + DAY);
    assert_signs(&r, "old");
    assert_int_equal(r.plan.phase, ENGINE_AWAITING_PROMOTION);
    assert_non_null(strstr(r.plan.command, "operation=promote keyturn.dev/operation-for=1"));
    say(&r, OPERATION_PROMOTE, 1, NULL, "ann");
    assert_non_null(r.taken.refused);
    assert_signs(&r, "old");
    say(&r, OPERATION_PROMOTE, 2, NULL, "bob");
    assert_non_null(r.taken.refused);
    say(&r, OPERATION_PROMOTE, 1, NULL, "bob");
    assert_null(r.taken.refused);
    assert_signs(&r, "key-1");
    play(&r, NOW + 3 * DAY);
    assert_int_equal(r.plan.phase, ENGINE_AWAITING_RETIREMENT);
    say(&r, OPERATION_RETIRE, 1, NULL, "ann");
    assert_non_null(r.taken.refused);
    say(&r, OPERATION_RETIRE, 1, NULL, "bob");
    play(&r, NOW + 4 * DAY);
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_DISABLED);
}

static void a_rollback_is_one_step_while_the_old_key_is_trusted(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 1);
    say(&r, OPERATION_ROLLBACK, 0, NULL, "ann");
    assert_non_null(r.taken.refused);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    play(&r, NOW + 2 * HOUR);
    assert_signs(&r, "key-1");
    say(&r, OPERATION_ROLLBACK, 1, NULL, "ann");
    assert_null(r.taken.refused);
    assert_signs(&r, "old");
    assert_int_equal(rehearsal_find(&r, "key-1")->standing, STANDING_PASSIVE);
    say(&r, OPERATION_ROLLBACK, 1, NULL, "bob");
    assert_non_null(r.taken.refused);
    play(&r, NOW + 3 * DAY);
    assert_int_equal(rehearsal_find(&r, "key-1")->standing, STANDING_DISABLED);
    assert_signs(&r, "old");
    play(&r, NOW + 30 * DAY);
    assert_null(rehearsal_find(&r, "key-1"));
    say(&r, OPERATION_ROTATE, 2, NULL, "ann");
    play(&r, NOW + 40 * DAY);
    assert_signs(&r, "key-2");
    say(&r, OPERATION_ROLLBACK, 2, NULL, "ann");
    assert_non_null(strstr(r.taken.refused, "not trusted any more"));
}

static void an_abort_leaves_the_realm_as_it_was(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 1);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    play(&r, NOW + HOUR / 2);
    assert_non_null(rehearsal_find(&r, "key-1"));
    say(&r, OPERATION_ABORT, 1, NULL, "ann");
    play(&r, NOW + HOUR);
    assert_null(rehearsal_find(&r, "key-1"));
    assert_int_equal(r.plan.phase, ENGINE_STEADY);
    assert_signs(&r, "old");
    say(&r, OPERATION_ABORT, 1, NULL, "bob");
    assert_non_null(r.taken.refused);
    say(&r, OPERATION_ROTATE, 2, NULL, "ann");
    play(&r, NOW + DAY / 2);
    assert_signs(&r, "key-2");
    say(&r, OPERATION_ABORT, 2, NULL, "ann");
    assert_non_null(r.taken.refused);
}

static void a_standby_is_promoted_at_once_and_the_next_is_made(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    p.standby = true;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 2 * HOUR);
    assert_non_null(rehearsal_find(&r, "key-1"));
    assert_int_equal(rehearsal_find(&r, "key-1")->record.lifecycle, LIFECYCLE_READY);
    assert_int_equal(r.plan.phase, ENGINE_STEADY);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    assert_signs(&r, "key-1");
    assert_non_null(rehearsal_find(&r, "key-2"));
    play(&r, NOW + DAY);
    assert_int_equal(rehearsal_find(&r, "key-2")->record.lifecycle, LIFECYCLE_READY);
    p.promote_manual = true;
    r.policy = p;
    say(&r, OPERATION_ROTATE, 2, NULL, "ann");
    assert_int_equal(r.plan.phase, ENGINE_AWAITING_PROMOTION);
    say(&r, OPERATION_ABORT, 2, NULL, "ann"); /* the standby was there before: it stays */
    assert_null(r.taken.refused);
    assert_int_equal(rehearsal_find(&r, "key-2")->record.lifecycle, LIFECYCLE_READY);
    assert_int_equal(r.plan.phase, ENGINE_STEADY);
}

static void the_schedule_rotates_and_waits_for_its_window(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    p.every_s = 90 * DAY;
    rehearsal_init(&r, &p, NOW);
    r.window_open = false;
    r.window_opens_s = NOW + 93 * DAY;
    play(&r, NOW + 92 * DAY);
    assert_signs(&r, "old");
    assert_int_equal(r.plan.phase, ENGINE_AWAITING_PROMOTION);
    assert_int_equal(r.plan.next_at_s, NOW + 93 * DAY);
    r.now_s = NOW + 93 * DAY;
    r.window_open = true;
    assert_true(rehearsal_settle(&r, 50));
    assert_signs(&r, "key-1");
    play(&r, NOW + 182 * DAY);
    assert_signs(&r, "key-1");
    play(&r, NOW + 184 * DAY);
    assert_signs(&r, "key-2");
}

static void after_a_rollback_the_schedule_counts_anew(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    p.every_s = 90 * DAY;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 90 * DAY + 2 * HOUR);
    assert_signs(&r, "key-1");
    say(&r, OPERATION_ROLLBACK, 1, NULL, "ann");
    play(&r, NOW + 179 * DAY);
    assert_signs(&r, "old");
    assert_int_equal(r.record.number, 1);
    play(&r, NOW + 181 * DAY);
    assert_signs(&r, "key-2");
}

static void nothing_is_written_while_suspended(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 1);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    uint64_t writes = r.writes;
    r.suspended = true;
    play(&r, NOW + 30 * DAY);
    assert_int_equal(r.writes, writes);
    assert_string_equal(r.plan.check, "Suspended");
    r.suspended = false;
    play(&r, NOW + 31 * DAY);
    assert_signs(&r, "key-1");
}

static void a_lost_status_makes_nothing_unsafe(void **state)
{
    struct key_policy p = policy();
    (void)state;
    p.standby = true;
    for (int64_t at_s = 0; at_s < 20 * HOUR; at_s += HOUR / 4) {
        struct rehearsal r;
        rehearsal_init(&r, &p, NOW);
        play(&r, NOW + 1);
        r.operation = (struct operation){.kind = OPERATION_ROTATE, .number = 1, .by = "ann"};
        play(&r, NOW + at_s);
        r.record = (struct rotation_record){0};
        r.intent = r.intent.kind == CHANGE_CREATE ? r.intent : (struct change){0};
        r.taken = (struct operation){0};
        for (size_t i = 0; i < REHEARSAL_KEYS; i++)
            r.keys[i].record = (struct key_record){0};
        r.changed_s = r.now_s;
        play(&r, r.now_s + 60 * DAY);
        assert_true(r.plan.phase == ENGINE_STEADY || r.plan.phase == ENGINE_AWAITING_RETIREMENT);
        say(&r, OPERATION_ABORT, r.record.number, NULL, "ann");
        const struct rehearsal_key *signer = rehearsal_signer(&r);
        assert_non_null(signer);
        assert_true(signer->loaded);
    }
}

static void a_deleted_next_key_is_made_anew(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    rehearsal_init(&r, &p, NOW);
    play(&r, NOW + 1);
    say(&r, OPERATION_ROTATE, 1, NULL, "ann");
    rehearsal_find(&r, "key-1")->present = false;
    (void)rehearsal_pass(&r);
    assert_string_equal(r.plan.finding, "KeyDeletedExternally");
    play(&r, NOW + DAY);
    assert_signs(&r, "key-1");
}

static void a_command_to_who_does_not_write_is_refused(void **state)
{
    static struct engine_plan plan;
    struct engine_view v = {.now_s = NOW,
                            .name = "prod",
                            .namespace = "auth",
                            .owner = "other/prod",
                            .readable = true,
                            .recorded = true,
                            .operation = {.kind = OPERATION_ROTATE, .number = 1, .by = "ann"}};
    (void)state;
    engine_decide(&v, &plan);
    assert_string_equal(plan.check, "RealmOwnedByOther");
    assert_non_null(strstr(plan.taken.refused, "another KeyRotation"));
    assert_int_equal(plan.record.number, 0);
}

static void a_command_that_nobody_vouches_for_is_refused(void **state)
{
    static struct engine_plan plan;
    struct engine_view v = {.now_s = NOW,
                            .name = "prod",
                            .namespace = "auth",
                            .readable = true,
                            .recorded = true,
                            .operation = {.kind = OPERATION_ROTATE, .number = 1, .by = "ann"},
                            .taken = {.kind = OPERATION_ABORT, .number = 1},
                            .vouch_unknown = true};
    (void)state;
    engine_decide(&v, &plan); /* it waits */
    assert_int_equal(plan.taken.kind, OPERATION_ABORT);
    assert_false(plan.clear_operation || plan.taken.cleared);
    v.vouch_unknown = false;
    v.unvouched = "the policy is gone";
    for (int suspended = 0; suspended < 2; suspended++) {
        v.suspended = suspended;
        engine_decide(&v, &plan);
        assert_int_equal(plan.taken.kind, OPERATION_ROTATE);
        assert_string_equal(plan.taken.refused, "the policy is gone");
        assert_int_equal(plan.record.requested_s, 0);
    }
    v.taken = plan.taken; /* it was refused while suspended: the policy's return changes nothing */
    v.unvouched = NULL;
    engine_decide(&v, &plan);
    assert_false(plan.clear_operation);
    v.suspended = false;
    v.vouch_unknown = true; /* what was taken is taken off all the same */
    engine_decide(&v, &plan);
    assert_true(plan.clear_operation);
    assert_string_equal(plan.taken.refused, "the policy is gone");
    v.vouch_unknown = false;
    v.taken = (struct operation){0};
    engine_decide(&v, &plan);
    assert_null(plan.taken.refused);
    assert_int_equal(plan.record.requested_s, NOW);
}

static void another_algorithm_in_the_middle_makes_no_second_key(void **state)
{
    static struct engine_plan plan;
    struct engine_view v = {.now_s = NOW,
                            .name = "prod",
                            .namespace = "auth",
                            .readable = true,
                            .fresh = true,
                            .recorded = true,
                            .misplaced = true,
                            .highest_number = 1,
                            .intent = {.kind = CHANGE_CREATE, .number = 1, .at_s = NOW - 5},
                            .record = {.number = 1, .requested_s = NOW - 9, .kid = "key-1"}};
    (void)state;
    engine_decide(&v, &plan);
    assert_string_equal(plan.check, "AlgorithmChanged");
    assert_int_equal(plan.change.kind, CHANGE_NONE);
    assert_true(change_equal(&plan.intent, &v.intent));
    assert_non_null(strstr(plan.message, "spec.key.algorithm"));
    v.misplaced = false;
    engine_decide(&v, &plan);
    assert_string_equal(plan.finding, "KeyDeletedExternally");
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int i = LIFECYCLE_UNKNOWN; i <= LIFECYCLE_REMOVED; i++) {
        enum key_lifecycle back;
        assert_true(key_lifecycle_parse(key_lifecycle_name((enum key_lifecycle)i), &back));
        assert_int_equal(back, i);
    }
    enum operation_kind kind;
    assert_true(operation_kind_parse("rollback", &kind));
    assert_int_equal(kind, OPERATION_ROLLBACK);
    assert_false(operation_kind_parse("", &kind));
    assert_false(operation_kind_parse("explode", &kind));
    assert_non_null(engine_check_name(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rotation_goes_through),
        cmocka_unit_test(a_key_found_in_the_realm_stays_until_somebody_says_so),
        cmocka_unit_test(approvals_are_waited_for_and_two_persons_are_two),
        cmocka_unit_test(a_rollback_is_one_step_while_the_old_key_is_trusted),
        cmocka_unit_test(an_abort_leaves_the_realm_as_it_was),
        cmocka_unit_test(a_standby_is_promoted_at_once_and_the_next_is_made),
        cmocka_unit_test(the_schedule_rotates_and_waits_for_its_window),
        cmocka_unit_test(after_a_rollback_the_schedule_counts_anew),
        cmocka_unit_test(nothing_is_written_while_suspended),
        cmocka_unit_test(a_lost_status_makes_nothing_unsafe),
        cmocka_unit_test(a_deleted_next_key_is_made_anew),
        cmocka_unit_test(a_command_to_who_does_not_write_is_refused),
        cmocka_unit_test(a_command_that_nobody_vouches_for_is_refused),
        cmocka_unit_test(another_algorithm_in_the_middle_makes_no_second_key),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
