/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "rotation/model.h"

/* The API's words (crds/keyrotation.yaml), one for each value, none twice. */
static void test_names_are_those_of_the_api(void **state)
{
    (void)state;
    assert_string_equal(object_kind_name(KIND_SECRET), "Secret");
    assert_string_equal(object_kind_name(KIND_CONFIG_MAP), "ConfigMap");
    assert_string_equal(workload_kind_name(WORKLOAD_DEPLOYMENT), "Deployment");
    assert_string_equal(workload_kind_name(WORKLOAD_STATEFUL_SET), "StatefulSet");
    assert_string_equal(workload_kind_name(WORKLOAD_DAEMON_SET), "DaemonSet");
    assert_string_equal(key_state_name(KEY_ACTIVE), "ACTIVE");
    assert_string_equal(key_state_name(KEY_PASSIVE), "PASSIVE");
    assert_string_equal(key_state_name(KEY_LEAVING), "LEAVING");
    assert_string_equal(key_state_name(KEY_HELD), "HELD");
    assert_string_equal(consumer_state_name(CONSUMER_APPLYING), "Applying");
    assert_string_equal(consumer_state_name(CONSUMER_ROLLING), "Rolling");
    assert_string_equal(consumer_state_name(CONSUMER_UP_TO_DATE), "UpToDate");
    assert_string_equal(consumer_state_name(CONSUMER_FAILED), "Failed");
    assert_string_equal(rotation_phase_name(PHASE_PENDING), "Pending");
    assert_string_equal(rotation_phase_name(PHASE_PUBLISHING), "Publishing");
    assert_string_equal(rotation_phase_name(PHASE_ROLLING), "Rolling");
    assert_string_equal(rotation_phase_name(PHASE_STEADY), "Steady");
    assert_string_equal(rotation_phase_name(PHASE_BLOCKED), "Blocked");
}

static void test_condition_types(void **state)
{
    (void)state;
    const char *const wanted[] = {"Ready",
                                  "Reconciling",
                                  "Stalled",
                                  "ConsumersUpToDate",
                                  "CertificatesValid",
                                  "IssuerConsistent",
                                  "KeysAsExpected"};
    assert_int_equal(sizeof(wanted) / sizeof(wanted[0]), CONDITION_COUNT);
    for (int n = 0; n < CONDITION_COUNT; n++)
        assert_string_equal(condition_type_name((enum condition_type)n), wanted[n]);
}

static void test_values_outside_have_a_name_too(void **state)
{
    (void)state;
    assert_string_equal(object_kind_name((enum object_kind)99), "Unknown");
    assert_string_equal(workload_kind_name(WORKLOAD_KIND_COUNT), "Unknown");
    assert_string_equal(condition_type_name(CONDITION_COUNT), "Unknown");
    assert_string_equal(key_state_name((enum key_state)99), "UNKNOWN");
    assert_string_equal(consumer_state_name((enum consumer_state)99), "Unknown");
    assert_string_equal(rotation_phase_name((enum rotation_phase)99), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_those_of_the_api),
        cmocka_unit_test(test_condition_types),
        cmocka_unit_test(test_values_outside_have_a_name_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
