/* SPDX-License-Identifier: Apache-2.0
 * The pure decision: what a view makes of consumers, workloads, certificates and conditions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "base/str.h"
#include "rotation/decide.h"

#define NOW 1800000000
#define DAY 86400

/* A rotation with one consumer, one workload and one key, all as they should be. */
struct scene {
    struct restart_spec restart;
    struct consumer_spec consumer_spec;
    struct rotation_spec spec;
    struct view_key keys[2];
    struct view_consumer consumer;
    struct view_workload workload;
    size_t uses[1];
    struct rotation_view view;
    struct plan_consumer plan_consumers[1];
    bool restarts[1];
    struct plan_warning warnings[2];
    struct rotation_plan plan;
};

static struct scene *scene_new(void)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->restart = (struct restart_spec){WORKLOAD_DEPLOYMENT, "api"};
    s->consumer_spec = (struct consumer_spec){.name = "api",
                                              .object_kind = KIND_SECRET,
                                              .object_name = "api-keys",
                                              .formats = FORMAT_JWKS,
                                              .restarts = &s->restart,
                                              .restarts_count = 1};
    s->spec =
        (struct rotation_spec){.keycloak_url = "http://keycloak:8080",
                               .realm = "prod",
                               .warn_before = {{"30d", 30 * DAY}, {"7d", 7 * DAY}, {"1d", DAY}},
                               .warn_before_count = 3,
                               .consumers = &s->consumer_spec,
                               .consumers_count = 1};
    s->keys[0] = (struct view_key){.kid = "k1",
                                   .algorithm = "RS256",
                                   .state = KEY_ACTIVE,
                                   .signs = true,
                                   .not_after_s = NOW + 400 * DAY};
    s->consumer = (struct view_consumer){.spec = &s->consumer_spec,
                                         .object = OBJECT_CURRENT,
                                         .resync_at_s = INT64_MAX,
                                         .workloads = s->uses,
                                         .workloads_count = 1};
    s->workload = (struct view_workload){.kind = WORKLOAD_DEPLOYMENT,
                                         .name = "api",
                                         .exists = true,
                                         .annotated = true,
                                         .rolled = true,
                                         .pods_ready = 2,
                                         .pods_wanted = 2};
    s->view = (struct rotation_view){.now_s = NOW,
                                     .spec = &s->spec,
                                     .name = "prod",
                                     .namespace = "auth",
                                     .admin = {.used = true, .read = true, .polled = true},
                                     .jwks = {.used = true, .read = true, .polled = true},
                                     .fence_needed = true,
                                     .fence_proven = true,
                                     .issuer = ISSUER_MATCHES,
                                     .keys = s->keys,
                                     .keys_count = 1,
                                     .memory_loaded = true,
                                     .noted = true,
                                     .acknowledge = "v1-x",
                                     .consumers = &s->consumer,
                                     .consumers_count = 1,
                                     .workloads = &s->workload,
                                     .workloads_count = 1};
    s->plan = (struct rotation_plan){
        .consumers = s->plan_consumers, .restart = s->restarts, .warnings = s->warnings};
    return s;
}

static struct plan_condition *decide(struct scene *s, enum condition_type type)
{
    rotation_decide(&s->view, &s->plan);
    return &s->plan.conditions[type];
}

static void steady_writes_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    struct plan_condition *ready = decide(s, CONDITION_READY);
    assert_int_equal(ready->status, CONDITION_TRUE);
    assert_string_equal(ready->reason, "Steady");
    assert_int_equal(s->plan.phase, PHASE_STEADY);
    assert_false(s->plan_consumers[0].write);
    assert_false(s->restarts[0]);
    assert_int_equal(s->plan.warnings_count, 0);
    assert_string_equal(s->plan.active_kid, "k1");
    assert_int_equal(s->plan.conditions[CONDITION_STALLED].status, CONDITION_FALSE);
    free(s);
}

static void the_same_view_gives_the_same_plan(void **state)
{
    (void)state;
    struct scene *s = scene_new(), *t = scene_new();
    rotation_decide(&s->view, &s->plan);
    rotation_decide(&t->view, &t->plan);
    assert_memory_equal(s->plan_consumers, t->plan_consumers, sizeof(s->plan_consumers));
    for (size_t i = 0; i < CONDITION_COUNT; i++)
        assert_string_equal(s->plan.conditions[i].message, t->plan.conditions[i].message);
    free(s);
    free(t);
}

static void missing_and_stale_objects_are_written(void **state)
{
    (void)state;
    static const enum object_finding written[] = {OBJECT_UNKNOWN, OBJECT_MISSING, OBJECT_STALE,
                                                  OBJECT_FOREIGN};
    for (size_t i = 0; i < ARRAY_LEN(written); i++) {
        struct scene *s = scene_new();
        s->consumer.object = written[i];
        (void)decide(s, CONDITION_READY);
        assert_true(s->plan_consumers[0].write);
        s->consumer.retry_at_s = NOW + 9;
        (void)decide(s, CONDITION_READY);
        assert_false(s->plan_consumers[0].write);
        assert_int_equal(s->plan.again_at_s, NOW + 9);
        s->consumer.retry_at_s = 0;
        s->consumer.writing = true;
        (void)decide(s, CONDITION_READY);
        assert_false(s->plan_consumers[0].write);
        free(s);
    }
}

static void no_secret_is_touched_without_the_fence(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->consumer.object = OBJECT_MISSING;
    s->view.fence_proven = false;
    s->view.fence_message = "it stands open";
    struct plan_condition *ready = decide(s, CONDITION_READY);
    assert_string_equal(ready->reason, "FenceUnproven");
    assert_false(s->plan_consumers[0].write);
    s->consumer_spec.object_kind = KIND_CONFIG_MAP; /* a ConfigMap needs none */
    (void)decide(s, CONDITION_READY);
    assert_true(s->plan_consumers[0].write);
    free(s);
}

static void nothing_is_written_from_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->consumer.object = OBJECT_MISSING;
    s->view.keys_count = 0;
    struct plan_condition *ready = decide(s, CONDITION_READY);
    assert_false(s->plan_consumers[0].write);
    assert_string_equal(ready->reason, "WaitingForKeys");
    s->view.keys_count = 1;
    s->view.memory_loaded = false;
    (void)decide(s, CONDITION_READY);
    assert_false(s->plan_consumers[0].write);
    s->view.memory_loaded = true;
    s->view.noted = false;
    ready = decide(s, CONDITION_READY);
    assert_false(s->plan_consumers[0].write);
    assert_string_equal(ready->reason, "Publishing");
    s->view.noted = true;
    (void)decide(s, CONDITION_READY);
    assert_true(s->plan_consumers[0].write);
    free(s);
}

static void a_workload_restarts_when_its_objects_have_settled(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->workload.annotated = s->workload.rolled = false;
    s->workload.ready_at_s = NOW + 5;
    (void)decide(s, CONDITION_READY);
    assert_false(s->restarts[0]);
    assert_int_equal(s->plan.again_at_s, NOW + 5);
    s->workload.ready_at_s = INT64_MAX;
    (void)decide(s, CONDITION_READY);
    assert_false(s->restarts[0]);
    s->workload.ready_at_s = NOW;
    (void)decide(s, CONDITION_READY);
    assert_true(s->restarts[0]);
    s->workload.annotating = true;
    (void)decide(s, CONDITION_READY);
    assert_false(s->restarts[0]);
    s->workload.annotating = false;
    s->workload.reverted_until_s = NOW + 600;
    struct plan_condition *ready = decide(s, CONDITION_READY);
    assert_false(s->restarts[0]);
    assert_string_equal(ready->reason, "ConsumerFailed");
    free(s);
}

static void a_rollout_is_waited_for(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->workload.rolled = false;
    s->workload.pods_ready = 1;
    struct plan_condition *ready = decide(s, CONDITION_READY);
    assert_string_equal(ready->reason, "RollingOut");
    assert_int_equal(s->plan_consumers[0].state, CONSUMER_ROLLING);
    assert_int_equal(s->plan_consumers[0].pods_ready, 1);
    assert_int_equal(s->plan.conditions[CONDITION_RECONCILING].status, CONDITION_TRUE);
    s->workload.stuck = "is paused";
    ready = decide(s, CONDITION_READY);
    assert_string_equal(ready->reason, "ConsumerFailed");
    free(s);
}

static void a_missing_workload_is_named(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->workload.exists = s->workload.annotated = false;
    struct plan_condition *ready = decide(s, CONDITION_READY);
    assert_string_equal(ready->reason, "ConsumerFailed");
    assert_non_null(strstr(ready->message, "Deployment api does not exist"));
    free(s);
}

static void a_resync_is_written_and_not_talked_about(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->consumer.resync_at_s = NOW + 60;
    assert_string_equal(decide(s, CONDITION_READY)->reason, "Steady");
    assert_false(s->plan_consumers[0].write);
    assert_int_equal(s->plan.again_at_s, NOW + 60);
    s->consumer.resync_at_s = NOW;
    assert_string_equal(decide(s, CONDITION_READY)->reason, "Steady");
    assert_true(s->plan_consumers[0].write);
    s->consumer.failure = "PUT timed out"; /* the keys are where they were */
    s->consumer.retry_at_s = NOW + 5;
    assert_string_equal(decide(s, CONDITION_READY)->reason, "Steady");
    assert_false(s->plan_consumers[0].write);
    free(s);
}

static void an_object_of_another_rotation_is_left_to_it(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->consumer.object = OBJECT_TAKEN;
    s->consumer.owner = "older";
    assert_non_null(strstr(decide(s, CONDITION_READY)->message, "KeyRotation older"));
    assert_string_equal(s->plan.conditions[CONDITION_READY].reason, "ConsumerFailed");
    assert_false(s->plan_consumers[0].write);
    free(s);
}

static void what_a_restart_waits_for_is_named(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->workload.annotated = s->workload.rolled = false;
    s->workload.ready_at_s = INT64_MAX;
    s->workload.waits_for = "Secret b of KeyRotation other";
    assert_non_null(strstr(decide(s, CONDITION_READY)->message, "Secret b of KeyRotation other"));
    free(s);
}

static void foreign_and_large_objects_say_what_to_do(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->consumer.object = OBJECT_FOREIGN;
    assert_non_null(strstr(decide(s, CONDITION_READY)->message, "keyturn.dev/adopt"));
    assert_int_equal(s->plan.conditions[CONDITION_STALLED].status, CONDITION_TRUE);
    s->consumer.object = OBJECT_TOO_LARGE;
    assert_non_null(strstr(decide(s, CONDITION_READY)->message, "1 MiB"));
    assert_false(s->plan_consumers[0].write);
    free(s);
}

static void each_threshold_warns_once(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    const char *said[] = {"30d", "7d", "1d"};
    s->keys[0].not_after_s = NOW + 8 * DAY;
    struct plan_condition *valid = decide(s, CONDITION_CERTIFICATES_VALID);
    assert_int_equal(s->plan.warnings_count, 1);
    assert_int_equal(s->plan.warnings[0].threshold, 0);
    assert_string_equal(valid->reason, "CertificateExpiring");
    assert_int_equal(s->plan.again_at_s, NOW + DAY); /* the next threshold */
    s->keys[0].announced = said;
    s->keys[0].announced_count = 1;
    (void)decide(s, CONDITION_READY);
    assert_int_equal(s->plan.warnings_count, 0);
    s->keys[0].not_after_s = NOW + 3600; /* two thresholds at once: the nearest is said */
    (void)decide(s, CONDITION_READY);
    assert_int_equal(s->plan.warnings[0].threshold, 2);
    s->keys[0].announced_count = 3;
    s->keys[0].not_after_s = NOW;
    valid = decide(s, CONDITION_CERTIFICATES_VALID);
    assert_int_equal(s->plan.warnings[0].threshold, WARN_EXPIRED);
    assert_string_equal(valid->reason, "CertificateExpired");
    assert_int_equal(decide(s, CONDITION_READY)->status, CONDITION_TRUE);
    free(s);
}

static void passive_keys_warn_too(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->keys[1] = (struct view_key){
        .kid = "old", .algorithm = "RS256", .state = KEY_PASSIVE, .not_after_s = NOW + DAY / 2};
    s->view.keys_count = 2;
    struct plan_condition *valid = decide(s, CONDITION_CERTIFICATES_VALID);
    assert_int_equal(s->plan.warnings_count, 1);
    assert_int_equal(s->plan.warnings[0].key, 1);
    assert_non_null(strstr(valid->message, "PASSIVE key old"));
    assert_int_equal(s->plan.cert_expires_s, NOW + DAY / 2);
    free(s);
}

static void each_failure_has_its_reason(void **state)
{
    (void)state;
    static const struct {
        enum err_class class;
        const char *reason;
        bool stalled;
    } cases[] = {
        {ERR_DNS, "NameNotResolved", true},     {ERR_REFUSED, "ConnectionRefused", false},
        {ERR_TLS, "TLSFailed", true},           {ERR_TIMEOUT, "TimedOut", false},
        {ERR_AUTH, "CredentialsRefused", true}, {ERR_FORBIDDEN, "RoleMissing", true},
        {ERR_NOT_FOUND, "RealmMissing", true},  {ERR_INVALID, "AnswerUnusable", true},
        {ERR_TRANSIENT, "ServerFailed", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scene *s = scene_new();
        s->view.admin.err = cases[i].class;
        s->view.admin.message = "what happened";
        struct plan_condition *ready = decide(s, CONDITION_READY);
        assert_string_equal(ready->reason, cases[i].reason);
        assert_int_equal(s->plan.conditions[CONDITION_STALLED].status == CONDITION_TRUE,
                         cases[i].stalled);
        assert_string_equal(s->plan.conditions[CONDITION_KEYS_AS_EXPECTED].message,
                            "what happened");
        assert_int_equal(s->plan_consumers[0].state,
                         CONSUMER_UP_TO_DATE); /* nothing is withdrawn */
        free(s);
    }
}

/* A new process knows the keys by its record, and nothing of the server: it takes nothing back. */
static void a_source_that_is_unread_says_nothing(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    (void)decide(s, CONDITION_READY);
    assert_false(s->plan.premature);
    struct view_source *sources[] = {&s->view.admin, &s->view.jwks, &s->view.discovery};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        struct view_source whole = *sources[i];
        *sources[i] = (struct view_source){.used = true};
        (void)decide(s, CONDITION_READY);
        assert_true(s->plan.premature);
        *sources[i] = whole;
    }
    s->view.admin.polled = false;
    s->view.keys_count = 0; /* new, or without a record: then it is said that it waits */
    (void)decide(s, CONDITION_READY);
    assert_false(s->plan.premature);
    free(s);
}

static void wrong_keys_are_said(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->view.replaced = true;
    assert_non_null(strstr(decide(s, CONDITION_READY)->message, "keyturn.dev/acknowledge=v1-x"));
    s->view.replaced = false;
    s->view.reused_kid = "k1";
    assert_string_equal(decide(s, CONDITION_READY)->reason, "KidReused");
    s->view.reused_kid = NULL;
    s->view.duplicate_kid = "k1";
    assert_string_equal(decide(s, CONDITION_READY)->reason, "KidDuplicate");
    s->view.duplicate_kid = NULL;
    s->view.overflow = 1;
    assert_string_equal(decide(s, CONDITION_READY)->reason, "TooManyKeys");
    s->view.overflow = 0;
    s->view.incomplete = true;
    assert_string_equal(decide(s, CONDITION_READY)->reason, "KeyUnusable");
    s->view.incomplete = false;
    s->view.disagrees = true;
    assert_string_equal(decide(s, CONDITION_READY)->reason, "JwksDisagrees");
    free(s);
}

static void issuers_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        enum issuer_finding finding;
        enum condition_status status;
        const char *reason;
        bool ready;
    } cases[] = {
        {ISSUER_MATCHES, CONDITION_TRUE, "IssuerMatches", true},
        {ISSUER_DISCOVERED, CONDITION_TRUE, "IssuerDiscovered", true},
        {ISSUER_FOLLOWS_HOST, CONDITION_UNKNOWN, "IssuerFollowsHost", true},
        {ISSUER_IN_CLUSTER, CONDITION_FALSE, "InClusterIssuer", true},
        {ISSUER_DIFFERS, CONDITION_FALSE, "IssuerMismatch", false},
        {ISSUER_UNCHECKED, CONDITION_UNKNOWN, "NotChecked", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scene *s = scene_new();
        s->view.issuer = cases[i].finding;
        s->view.issuer_wanted = "https://a";
        s->view.issuer_found = "https://b";
        struct plan_condition *c = decide(s, CONDITION_ISSUER_CONSISTENT);
        assert_int_equal(c->status, cases[i].status);
        assert_string_equal(c->reason, cases[i].reason);
        assert_int_equal(s->plan.conditions[CONDITION_READY].status == CONDITION_TRUE,
                         cases[i].ready);
        free(s);
    }
}

static void nothing_is_written_while_suspended(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->consumer.object = OBJECT_STALE;
    s->workload.annotated = s->workload.rolled = false;
    s->workload.ready_at_s = NOW;
    (void)decide(s, CONDITION_READY);
    assert_true(s->plan_consumers[0].write && s->restarts[0]);
    s->spec.suspend = true;
    struct plan_condition *ready = decide(s, CONDITION_READY);
    assert_string_equal(ready->reason, "Suspended");
    assert_non_null(strstr(ready->message, "{\"suspend\":false}"));
    assert_int_equal(s->plan.conditions[CONDITION_STALLED].status, CONDITION_TRUE);
    assert_false(s->plan_consumers[0].write || s->restarts[0]);
    free(s);
}

static void a_withheld_key_is_not_counted(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->keys[1] = s->keys[0];
    s->keys[1].kid = "k2";
    s->keys[1].withheld = true;
    s->view.keys_count = 2;
    assert_non_null(strstr(decide(s, CONDITION_READY)->message, "1 key published"));
    assert_non_null(
        strstr(s->plan.conditions[CONDITION_KEYS_AS_EXPECTED].message, "1 signing key"));
    free(s);
}

static void every_check_has_a_name(void **state)
{
    (void)state;
    size_t count = 0;
    while (rotation_check_name(count) != NULL)
        count++;
    assert_int_equal(count, 12);
    assert_string_equal(rotation_check_name(0), "SpecInvalid");
    struct scene *s = scene_new();
    s->view.spec_error = "spec.refreshInterval: write 30s";
    assert_string_equal(decide(s, CONDITION_READY)->reason, "SpecInvalid");
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady_writes_nothing),
        cmocka_unit_test(the_same_view_gives_the_same_plan),
        cmocka_unit_test(missing_and_stale_objects_are_written),
        cmocka_unit_test(no_secret_is_touched_without_the_fence),
        cmocka_unit_test(nothing_is_written_from_nothing),
        cmocka_unit_test(a_workload_restarts_when_its_objects_have_settled),
        cmocka_unit_test(a_rollout_is_waited_for),
        cmocka_unit_test(a_missing_workload_is_named),
        cmocka_unit_test(a_resync_is_written_and_not_talked_about),
        cmocka_unit_test(an_object_of_another_rotation_is_left_to_it),
        cmocka_unit_test(what_a_restart_waits_for_is_named),
        cmocka_unit_test(foreign_and_large_objects_say_what_to_do),
        cmocka_unit_test(each_threshold_warns_once),
        cmocka_unit_test(passive_keys_warn_too),
        cmocka_unit_test(each_failure_has_its_reason),
        cmocka_unit_test(a_source_that_is_unread_says_nothing),
        cmocka_unit_test(wrong_keys_are_said),
        cmocka_unit_test(issuers_are_told_apart),
        cmocka_unit_test(nothing_is_written_while_suspended),
        cmocka_unit_test(a_withheld_key_is_not_counted),
        cmocka_unit_test(every_check_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
