/* SPDX-License-Identifier: Apache-2.0
 * What others do in Keycloak while a rotation is under way, or after it: what is said, and that the
 * rotation goes on. */
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

/* Rotation 1 is being prepared; "third" is another ACTIVE key, of a lower priority than "old". */
static void begin(struct rehearsal *r)
{
    const struct key_policy policy = {
        .publish_s = HOUR, .retire_s = 10 * HOUR, .adopt = true, .priority_max = 1000000};
    rehearsal_init(r, &policy, NOW);
    r->keys[1] = r->keys[0];
    (void)snprintf(r->keys[1].kid, sizeof(r->keys[1].kid), "third");
    r->keys[1].priority = r->keys[0].priority - 1;
    assert_true(rehearsal_settle(r, 50));
    r->operation = (struct operation){.kind = OPERATION_ROTATE, .number = 1, .by = "ann"};
    assert_true(rehearsal_settle(r, 50));
    assert_int_equal(r->plan.phase, ENGINE_PUBLISHING);
    assert_null(r->plan.finding);
    assert_string_equal(r->record.from, "old");
}

static void wait_until(struct rehearsal *r, int64_t until_s)
{
    for (int64_t due_s = rehearsal_due_s(r); due_s <= until_s; due_s = rehearsal_due_s(r)) {
        r->now_s = due_s;
        assert_true(rehearsal_settle(r, 50));
    }
    r->now_s = until_s;
    assert_true(rehearsal_settle(r, 50));
}

static void assert_done(struct rehearsal *r)
{
    wait_until(r, NOW + 48 * HOUR);
    assert_null(r->plan.finding);
    assert_int_equal(r->plan.phase, ENGINE_STEADY);
    assert_string_equal(rehearsal_signer(r)->kid, "key-1");
}

static void a_key_put_above_is_said_and_overtaken_again(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    rehearsal_find(&r, "third")->priority = 5000;
    assert_true(rehearsal_settle(&r, 50));
    assert_string_equal(r.plan.finding, "SignerChanged");
    assert_non_null(strstr(r.plan.finding_text, "third"));
    assert_non_null(strstr(r.plan.finding_text, "abort it"));
    assert_done(&r);
    assert_int_equal(rehearsal_find(&r, "third")->standing, STANDING_DISABLED);
    assert_int_equal(rehearsal_find(&r, "key-1")->priority, 5001);
}

static void the_key_to_be_replaced_is_deleted(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    rehearsal_find(&r, "old")->present = false;
    assert_true(rehearsal_settle(&r, 50));
    assert_string_equal(r.plan.finding, "KeyDeletedExternally");
    assert_non_null(strstr(r.plan.finding_text, "goes on from there"));
    assert_done(&r);
}

static void a_key_that_was_replaced_is_made_active_again(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    wait_until(&r, NOW + 3 * HOUR);
    assert_int_equal(r.plan.phase, ENGINE_OVERLAP);
    rehearsal_find(&r, "old")->standing = STANDING_ACTIVE;
    wait_until(&r, NOW + 24 * HOUR);
    assert_string_equal(r.plan.finding, "KeyActivatedExternally");
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_ACTIVE);
    rehearsal_find(&r, "old")->standing = STANDING_PASSIVE; /* as it is told to do */
    assert_true(rehearsal_settle(&r, 50));
    assert_null(r.plan.finding);
    assert_int_equal(rehearsal_find(&r, "old")->record.retired_by, 1);
    assert_done(&r);
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_DISABLED);
}

/* Its certificate expired, say: it is replaced all the same. */
static void the_key_to_be_replaced_stops_signing_by_itself(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    rehearsal_find(&r, "old")->standing = STANDING_PASSIVE;
    assert_true(rehearsal_settle(&r, 50));
    assert_int_equal(rehearsal_find(&r, "old")->record.retired_by, 0);
    wait_until(&r, NOW + 3 * HOUR);
    assert_int_equal(rehearsal_find(&r, "old")->record.retired_by, 1);
    assert_string_equal(r.record.from, "third");
    assert_done(&r);
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_DISABLED);
    assert_int_equal(rehearsal_find(&r, "third")->standing, STANDING_DISABLED);
}

static void a_key_that_consumers_still_trust_is_gone(void **state)
{
    static struct engine_plan plan;
    const struct engine_key key = {
        .kid = "new", .standing = STANDING_ACTIVE, .signs = true, .served = true, .trusted = true};
    struct engine_view v = {.now_s = NOW,
                            .name = "prod",
                            .namespace = "auth",
                            .readable = true,
                            .recorded = true,
                            .gone_kid = "old",
                            .keys = &key,
                            .keys_count = 1};
    (void)state;
    engine_decide(&v, &plan);
    assert_string_equal(plan.finding, "KeyDeletedExternally");
    assert_non_null(strstr(plan.finding_text, "key old"));
    v.readable = false;
    engine_decide(&v, &plan);
    assert_null(plan.finding);
}

static void a_server_that_is_too_slow_to_act_on_is_said(void **state)
{
    static struct engine_plan plan;
    struct engine_view v = {.now_s = NOW,
                            .name = "prod",
                            .namespace = "auth",
                            .readable = true,
                            .recorded = true,
                            .record = {.number = 1, .requested_s = NOW},
                            .intent = {.kind = CHANGE_CREATE, .number = 1, .at_s = NOW}};
    (void)state;
    engine_decide(&v, &plan);
    assert_int_equal(plan.phase, ENGINE_PUBLISHING);
    v.slow = true;
    engine_decide(&v, &plan);
    assert_int_equal(plan.phase, ENGINE_BLOCKED);
    assert_string_equal(plan.check, "Creating");
    assert_non_null(strstr(plan.message, "Keycloak takes longer than that to answer"));
    assert_int_equal(plan.change.kind, CHANGE_NONE);
    v.fresh = true;
    v.slow = false;
    engine_decide(&v, &plan);
    assert_int_equal(plan.change.kind, CHANGE_CREATE);
}

/* It may be a mistake: nothing of it is lost before its time. */
static void a_retired_key_is_disabled_by_somebody(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    wait_until(&r, NOW + 3 * HOUR);
    rehearsal_find(&r, "old")->standing = STANDING_DISABLED;
    assert_true(rehearsal_settle(&r, 50));
    assert_string_equal(r.plan.finding, "KeyDisabledExternally");
    assert_int_equal(rehearsal_find(&r, "old")->record.lifecycle, LIFECYCLE_RETIRED);
    rehearsal_find(&r, "old")->standing = STANDING_PASSIVE;
    assert_true(rehearsal_settle(&r, 50));
    assert_null(r.plan.finding);
    rehearsal_find(&r, "old")->standing = STANDING_DISABLED;
    wait_until(&r, NOW + 10 * HOUR);
    assert_string_equal(r.plan.finding, "KeyDisabledExternally");
    wait_until(&r, NOW + 12 * HOUR);
    assert_null(r.plan.finding);
    assert_int_equal(rehearsal_find(&r, "old")->record.lifecycle, LIFECYCLE_REMOVED);
    assert_done(&r);
}

/* Settings of the realm are shortened after tokens were issued under the longer ones. */
static void tokens_live_as_long_as_they_were_issued_for(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    r.policy.retire_auto = true;
    r.policy.retire_s = 20 * HOUR;
    wait_until(&r, NOW + 3 * HOUR);
    assert_int_equal(r.plan.phase, ENGINE_OVERLAP);
    r.policy.retire_s = 2 * HOUR;
    wait_until(&r, NOW + 20 * HOUR);
    assert_int_equal(r.plan.phase, ENGINE_OVERLAP);
    assert_non_null(strstr(r.plan.message, "settings were longer"));
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_PASSIVE);
    wait_until(&r, NOW + 24 * HOUR);
    assert_int_equal(rehearsal_find(&r, "old")->standing, STANDING_DISABLED);
}

static void who_calls_a_planned_rotation_off_has_a_period_of_peace(void **state)
{
    (void)state;
    for (int standby = 0; standby < 2; standby++) {
        struct rehearsal r;
        const struct key_policy policy = {.publish_s = HOUR,
                                          .retire_s = 10 * HOUR,
                                          .adopt = true,
                                          .standby = standby,
                                          .promote_manual = true,
                                          .every_s = 100 * HOUR,
                                          .priority_max = 1000000};
        rehearsal_init(&r, &policy, NOW);
        wait_until(&r, NOW + 110 * HOUR);
        assert_int_equal(r.plan.phase, ENGINE_AWAITING_PROMOTION);
        r.operation = (struct operation){.kind = OPERATION_ABORT, .number = 1, .by = "ann"};
        assert_true(rehearsal_settle(&r, 50));
        assert_null(r.taken.refused);
        wait_until(&r, NOW + 200 * HOUR);
        assert_int_equal(r.plan.phase, ENGINE_STEADY);
        assert_string_equal(r.plan.next_step, "Rotate");
        assert_int_equal(r.plan.next_at_s, NOW + 210 * HOUR);
        wait_until(&r, NOW + 215 * HOUR);
        assert_int_equal(r.plan.phase, ENGINE_AWAITING_PROMOTION);
    }
}

static void there_is_a_way_out_of_a_rollback_that_cannot_be(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    wait_until(&r, NOW + 3 * HOUR);
    rehearsal_find(&r, "third")->standing = STANDING_DISABLED;
    r.operation = (struct operation){.kind = OPERATION_ROLLBACK, .number = 1, .by = "ann"};
    (void)rehearsal_pass(&r);
    assert_int_equal(r.record.reason, REASON_ROLLBACK);
    rehearsal_find(&r, "old")->standing = STANDING_DISABLED;
    (void)rehearsal_settle(&r, 50);
    assert_string_equal(r.plan.check, "NextKeyDisabled");
    assert_non_null(strstr(r.plan.command, "operation=rotate keyturn.dev/operation-for=2"));
    r.operation = (struct operation){.kind = OPERATION_ROTATE, .number = 2, .by = "ann"};
    assert_true(rehearsal_settle(&r, 50));
    assert_null(r.taken.refused);
    wait_until(&r, NOW + 48 * HOUR);
    assert_string_equal(rehearsal_signer(&r)->kid, "key-2");
}

/* Whoever may make keys chooses their kids. */
static void a_line_is_safe_to_paste(void **state)
{
    char line[ENGINE_COMMAND_MAX];
    struct operation o = {.kind = OPERATION_RETIRE, .number = 3, .kid = "x;$(id)'y"};
    (void)state;
    operation_line("auth", "prod", &o, line);
    assert_non_null(strstr(line, "operation-for=3/'x;$(id)'\\''y' "));
    o.kid = "plain-Kid_1";
    operation_line("auth", "prod", &o, line);
    assert_non_null(strstr(line, "operation-for=3/plain-Kid_1 "));
    char longest[LIMIT_KID + 1];
    memset(longest, '\'', LIMIT_KID);
    longest[LIMIT_KID] = '\0';
    o.kid = longest;
    operation_line("auth", "prod", &o, line);
    assert_string_equal(line, ""); /* never half of it */
}

/* A person reads what comes next, whatever holds it up. */
static void what_comes_next_has_a_name(void **state)
{
    struct rehearsal r;
    (void)state;
    begin(&r);
    r.suspended = true;
    (void)rehearsal_pass(&r);
    assert_string_equal(r.plan.next_step, "Promote");
    wait_until(&r, NOW + 3 * HOUR);
    r.suspended = false;
    assert_true(rehearsal_settle(&r, 50));
    assert_int_equal(r.plan.phase, ENGINE_OVERLAP);
    assert_string_equal(r.plan.next_step, "Retire");
    r.suspended = true;
    (void)rehearsal_pass(&r);
    assert_string_equal(r.plan.next_step, "Rotate");
}

/* Nobody has to find out which number a rotation must be asked for by. */
static void steady_shows_how_to_begin(void **state)
{
    (void)state;
    for (int standby = 0; standby < 2; standby++) {
        struct rehearsal r;
        struct key_policy policy = {
            .standby = standby, .adopt = true, .retire_s = HOUR, .priority_max = 1000000};
        rehearsal_init(&r, &policy, NOW);
        for (uint64_t number = 1; number < 4; number++) {
            wait_until(&r, r.now_s + 3 * HOUR);
            assert_int_equal(r.plan.phase, ENGINE_STEADY);
            assert_string_equal(r.plan.next_step, "Rotate");
            assert_int_equal(r.plan.wanted.kind, OPERATION_ROTATE);
            assert_int_equal(r.plan.wanted.number, number);
            assert_non_null(strstr(r.plan.command, "keyturn.dev/operation=rotate "));
            r.operation = r.plan.wanted;
            assert_true(rehearsal_settle(&r, 50));
            assert_null(r.taken.refused);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_put_above_is_said_and_overtaken_again),
        cmocka_unit_test(the_key_to_be_replaced_is_deleted),
        cmocka_unit_test(a_key_that_was_replaced_is_made_active_again),
        cmocka_unit_test(the_key_to_be_replaced_stops_signing_by_itself),
        cmocka_unit_test(a_key_that_consumers_still_trust_is_gone),
        cmocka_unit_test(a_server_that_is_too_slow_to_act_on_is_said),
        cmocka_unit_test(a_retired_key_is_disabled_by_somebody),
        cmocka_unit_test(tokens_live_as_long_as_they_were_issued_for),
        cmocka_unit_test(who_calls_a_planned_rotation_off_has_a_period_of_peace),
        cmocka_unit_test(there_is_a_way_out_of_a_rollback_that_cannot_be),
        cmocka_unit_test(a_line_is_safe_to_paste),
        cmocka_unit_test(what_comes_next_has_a_name),
        cmocka_unit_test(steady_shows_how_to_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
