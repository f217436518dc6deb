/* SPDX-License-Identifier: Apache-2.0
 * What the rehearsal adds to the engine: a maintenance window that opens and closes by itself, and
 * what a spec asks for; zones from the system's files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "io/tzdata.h"
#include "rotation/policy.h"
#include "rotation/rehearsal.h"

#define NOW 1798761600LL /* 2027-01-01T00:00:00Z, a Friday */
#define HOUR 3600LL
#define DAY (24 * HOUR)

static struct key_policy policy(void)
{
    return (struct key_policy){.every_s = 90 * DAY,
                               .publish_s = HOUR,
                               .retire_s = 10 * HOUR,
                               .delete_s = 7 * DAY,
                               .adopt = true,
                               .priority_max = 1000000};
}

/* Until the key of the rotation signs; the time of that, 0 never. */
static int64_t promoted_s(struct rehearsal *r)
{
    assert_true(rehearsal_settle(r, 50));
    for (int i = 0; i < 50 && rehearsal_due_s(r) != INT64_MAX; i++) {
        if (r->record.promoted_s != 0)
            return r->record.promoted_s;
        r->now_s = rehearsal_due_s(r);
        assert_true(rehearsal_settle(r, 50));
    }
    return r->record.promoted_s;
}

static void a_window_opens_by_itself(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    struct window_rule rule;
    struct zone utc;
    (void)state;
    zone_set_utc(&utc);
    assert_int_equal(window_rule_init(&rule, "0 2 * * 6", 4 * HOUR, &utc, NULL), 0);
    rehearsal_init(&r, &p, NOW);
    assert_int_equal(promoted_s(&r), NOW + 90 * DAY + HOUR); /* no window */
    rehearsal_init(&r, &p, NOW);
    r.window = &rule;
    /* Due on Thursday, 1 April 2027 at 00:00; the next Saturday is the third. */
    assert_int_equal(promoted_s(&r), NOW + 92 * DAY + 2 * HOUR);
    rehearsal_init(&r, &p, NOW + 2 * DAY + HOUR); /* ready at 02:00 of that Saturday, so at once */
    r.window = &rule;
    assert_int_equal(promoted_s(&r), NOW + 92 * DAY + 2 * HOUR);
    rehearsal_init(&r, &p, NOW + 2 * DAY + 5 * HOUR); /* and at 06:00 it has just closed */
    r.window = &rule;
    assert_int_equal(promoted_s(&r), NOW + 99 * DAY + 2 * HOUR);
}

static void a_window_that_cannot_be_computed_blocks(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    rehearsal_init(&r, &p, NOW);
    r.window_trouble = "no such zone";
    assert_int_equal(promoted_s(&r), 0);
    assert_int_equal(r.plan.phase, ENGINE_BLOCKED);
    assert_string_equal(r.plan.message, "no such zone");
}

static void a_realm_of_another_is_left_alone(void **state)
{
    struct key_policy p = policy();
    struct rehearsal r;
    (void)state;
    rehearsal_init(&r, &p, NOW);
    r.foreign_claim = "keyturn-0a1b2c3d-4";
    assert_true(rehearsal_settle(&r, 50));
    assert_string_equal(r.plan.check, "RealmClaimed");
    r.policy.take_over = true;
    assert_true(rehearsal_settle(&r, 50));
    assert_string_equal(r.plan.check, "Steady");
}

static void a_spec_asks_for_a_policy(void **state)
{
    struct rotation_spec spec = {
        .key = {.managed = true, .standby = true, .take_over = true},
        .schedule = {.every_s = 5},
        .overlap = {.publish_s = 6, .retire_s = -1, .delete_s = 7},
        .approval = {.promote_manual = true, .two_person = true},
    };
    (void)state;
    struct key_policy p = policy_of(&spec);
    assert_true(p.standby && p.take_over && p.promote_manual && p.two_person);
    assert_false(p.adopt || p.retire_manual);
    assert_int_equal(p.every_s, 5);
    assert_int_equal(p.publish_s, 6);
    assert_int_equal(p.retire_s, -1);
    assert_int_equal(p.delete_s, 7);
    assert_int_equal(p.priority_max, INT32_MAX - 1LL);
    spec.key.adopt = spec.approval.retire_manual = true;
    p = policy_of(&spec);
    assert_true(p.adopt && p.retire_manual);
}

static void zones_are_read_by_name(void **state)
{
    struct zone zone = {.count = 7};
    struct err err = {0};
    (void)state;
    assert_int_equal(tzdata_read("Europe/Atlantis", NOW, &zone, &err), -1);
    assert_int_equal(err.class, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "no time zone Europe/Atlantis"));
    assert_int_equal(tzdata_read("../etc/passwd", NOW, &zone, &err), -1);
    assert_int_equal(err.class, ERR_INVALID);
    assert_int_equal(tzdata_read("Europe", NOW, &zone, &err), -1); /* a folder */
    assert_int_equal(zone.count, 7);
    assert_int_equal(tzdata_read("UTC", NOW, &zone, &err), 0);
    assert_int_equal(zone_offset(&zone, NOW), 0);
    assert_int_equal(tzdata_read("Europe/Amsterdam", NOW, &zone, &err), 0);
    assert_int_equal(zone_offset(&zone, NOW), HOUR);
    assert_int_equal(zone_offset(&zone, NOW + 180 * DAY), 2 * HOUR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_opens_by_itself),
        cmocka_unit_test(a_window_that_cannot_be_computed_blocks),
        cmocka_unit_test(a_realm_of_another_is_left_alone),
        cmocka_unit_test(a_spec_asks_for_a_policy),
        cmocka_unit_test(zones_are_read_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
