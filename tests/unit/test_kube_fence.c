/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../lib/fake_kube.h"
#include "kube/fence.h"

#define ADMISSION "https://api.test:6443/apis/admissionregistration.k8s.io/v1/"
#define REQUESTS 9 /* of a whole round */
#define AGAIN_MS 60000
#define RETRY_MS 5000

static struct fake_kube k;
static struct fence *fence;
static int changes;
static bool proven;
static struct err err;

static const char *const parts[] = {"secrets", "configmaps", "workloads", "keyrotations"};

static void on_changed(void *ctx, bool now, const struct err *why)
{
    (void)ctx;
    changes++;
    proven = now;
    err = *why;
}

static int setup(void **state)
{
    (void)state;
    fake_kube_start(&k);
    changes = 0;
    proven = false;
    struct fence_options options = {
        .namespace = "own", .name = "keyturn-fence", .again_ms = AGAIN_MS, .changed = on_changed};
    fence = fence_new(k.kube, k.loop, &options, NULL);
    assert_non_null(fence);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fence_free(fence);
    fake_kube_stop(&k);
    return 0;
}

#define DENIED(policy)                                                                             \
    "{\"kind\":\"Status\",\"code\":422,\"reason\":\"Invalid\",\"message\":\"secrets \\\"p\\\" is " \
    "forbidden: ValidatingAdmissionPolicy '" policy "' with binding '" policy                      \
    "' denied request: the operator creates only Secrets of type keyturn.dev/public-keys\"}"
#define POLICY(spec, rules)                                                                       \
    "{\"metadata\":{\"annotations\":{\"keyturn.dev/fence-rules\":\"" rules "\"}},\"spec\":{" spec \
    "}}"
#define BINDING(name, spec) "{\"spec\":{\"policyName\":\"" name "\"" spec "}}"
#define DENY ",\"validationActions\":[\"Audit\",\"Deny\"]"

/* Answers of a cluster where the fence stands; rules made before these go first. */
static void whole(void)
{
    char url[128], body[256];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        snprintf(url, sizeof(url), "policies/keyturn-fence-%s", parts[i]);
        fake_http_on(k.http, url, -1, 200, POLICY("\"failurePolicy\":\"Fail\"", "2"));
        snprintf(url, sizeof(url), "policybindings/keyturn-fence-%s", parts[i]);
        snprintf(body, sizeof(body), BINDING("keyturn-fence-%s", DENY), parts[i]);
        fake_http_on(k.http, url, -1, 200, body);
    }
    fake_http_on(k.http, "POST", -1, 422, DENIED("keyturn-fence-secrets"));
}

static void round_after(int64_t ms)
{
    fake_loop_advance(k.loop, ms);
    fake_http_run(k.http);
}

/* From the next round on, this answer instead of what a whole fence says. */
static void instead(const char *part, int status, const char *body)
{
    fake_http_forget(k.http);
    if (part != NULL)
        fake_http_on(k.http, part, -1, status, body);
    whole();
}

static void asks_for_each_policy_and_then_by_a_dry_run(void **state)
{
    (void)state;
    const char *why = "";
    assert_false(fence_proven(fence, &why));
    assert_string_equal(why, "the fence is being proven");
    whole();
    round_after(0);
    assert_int_equal(fake_http_count(k.http), REQUESTS);
    assert_string_equal(fake_http_at(k.http, 2)->url,
                        ADMISSION "validatingadmissionpolicies/keyturn-fence-configmaps");
    assert_string_equal(fake_http_at(k.http, 7)->url,
                        ADMISSION "validatingadmissionpolicybindings/keyturn-fence-keyrotations");
    struct fake_request *r = fake_http_last(k.http);
    assert_string_equal(r->method, "POST");
    assert_string_equal(r->url, "https://api.test:6443/api/v1/namespaces/own/secrets?dryRun=All");
    assert_non_null(strstr(r->body, "\"type\":\"Opaque\""));
    assert_null(strstr(r->body, "\"data\""));
    assert_true(fake_header_is(r, "Accept",
                               "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"));
    assert_true(proven && fence_proven(fence, &why));
    assert_null(why);
    assert_int_equal(changes, 1);
}

static void asks_again_and_tells_only_news(void **state)
{
    (void)state;
    whole();
    round_after(0);
    round_after(AGAIN_MS - 1);
    assert_int_equal(fake_http_count(k.http), REQUESTS);
    round_after(1);
    assert_int_equal(fake_http_count(k.http), 2 * REQUESTS);
    assert_int_equal(changes, 1);
}

static void anything_else_is_no_proof(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        int status;
        const char *body;
        enum err_class class;
        const char *word;
    } cases[] = {
        {"POST", 201, "{}", ERR_FORBIDDEN, "stands open: policy keyturn-fence-secrets let"},
        {"POST", 403, "{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"message\":\"by RBAC\"}",
         ERR_FORBIDDEN, "restore the chart's Role"},
        /* A 403 that names the policy is not what a policy of ours answers. */
        {"POST", 403, DENIED("keyturn-fence-secrets"), ERR_FORBIDDEN, "restore the chart's Role"},
        {"POST", 422, "{\"kind\":\"Status\",\"message\":\"too long\"}", ERR_INVALID,
         "is not proven"},
        {"POST", 404, "{}", ERR_NOT_FOUND, "is not proven"},
        {"POST", 500, DENIED("keyturn-fence-secrets"), ERR_TRANSIENT, "is not proven"},
        {"policies/keyturn-fence-workloads", 404, "{}", ERR_FORBIDDEN,
         "there is no ValidatingAdmissionPolicy keyturn-fence-workloads"},
        {"policybindings/keyturn-fence-configmaps", 404, "{}", ERR_FORBIDDEN,
         "there is no ValidatingAdmissionPolicyBinding keyturn-fence-configmaps"},
        {"policies/keyturn-fence-secrets", 403, "{}", ERR_FORBIDDEN,
         "may not get ValidatingAdmissionPolicy keyturn-fence-secrets"},
        {"policies/keyturn-fence-secrets", 200, "{", ERR_INVALID, ""},
        {"policies/keyturn-fence-keyrotations", 200, POLICY("\"failurePolicy\":\"Ignore\"", "2"),
         ERR_FORBIDDEN, "failurePolicy"},
        {"policies/keyturn-fence-keyrotations", 200, POLICY("", "1"), ERR_FORBIDDEN,
         "has rules 1, this version needs 2; upgrade the chart"},
        {"policies/keyturn-fence-keyrotations", 200, "{}", ERR_FORBIDDEN, "has rules 0"},
        {"policybindings/keyturn-fence-secrets", 200, "[", ERR_INVALID, ""},
        {"policybindings/keyturn-fence-secrets", 200, BINDING("other", DENY), ERR_FORBIDDEN,
         "binds another policy"},
        {"policybindings/keyturn-fence-secrets", 200,
         BINDING("keyturn-fence-secrets", ",\"validationActions\":[\"Warn\",\"Audit\"]"),
         ERR_FORBIDDEN, "does not deny"},
        {"policybindings/keyturn-fence-secrets", 200,
         BINDING("keyturn-fence-secrets", DENY ",\"matchResources\":{}"), ERR_FORBIDDEN,
         "matchResources"},
        {"policybindings/keyturn-fence-secrets", 200,
         BINDING("keyturn-fence-secrets", DENY ",\"paramRef\":{\"name\":\"a\"}"), ERR_FORBIDDEN,
         "paramRef"},
        {"policybindings/keyturn-fence-workloads", 503, "{}", ERR_TRANSIENT,
         "the fence (keyturn-fence-workloads) is not proven"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        instead(cases[i].part, cases[i].status, cases[i].body);
        round_after(RETRY_MS);
        assert_int_equal(err.class, cases[i].class);
        assert_non_null(strstr(err.msg, cases[i].word));
        assert_false(proven);
        const char *why = "";
        assert_false(fence_proven(fence, &why));
        assert_string_equal(why, err.msg);
    }
    instead(NULL, 0, NULL); /* and without any of it, it is one */
    round_after(RETRY_MS);
    assert_true(proven);
}

/* In place of the fence of setup(). */
static void make_commands(int status, const char *policy, const char *binding)
{
    struct fence_options options = {.kind = FENCE_COMMANDS,
                                    .name = "keyturn-operations",
                                    .again_ms = AGAIN_MS,
                                    .changed = on_changed};
    fence_free(fence);
    fence = fence_new(k.kube, k.loop, &options, NULL);
    assert_non_null(fence);
    fake_http_forget(k.http);
    fake_http_on(k.http, "policies/keyturn-operations", -1, status, policy);
    fake_http_on(k.http, "policybindings/keyturn-operations", -1, 200, binding);
}

#define FAIL_CLOSED "\"failurePolicy\":\"Fail\""

/* One policy, by its own name, and nothing is tried. */
static void of_commands_is_one_policy(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *policy, *binding;
        enum fence_state said;
        const char *words;
    } cases[] = {
        {200, POLICY(FAIL_CLOSED, "2"), BINDING("keyturn-operations", DENY), FENCE_PROVEN, NULL},
        {404, "{}", "{}", FENCE_OPEN, "no command is taken; install the chart with operations"},
        {403, "{}", "{}", FENCE_OPEN, "upgrade the chart"},
        {200, POLICY(FAIL_CLOSED, "1"), "{}", FENCE_OPEN, "has rules 1"},
        {200, POLICY(FAIL_CLOSED, "2"), BINDING("keyturn-operations", ""), FENCE_OPEN,
         "keyturn-operations does not deny"},
        {503, "{}", "{}", FENCE_UNKNOWN, "the fence for commands (keyturn-operations)"},
        {401, "{}", "{}", FENCE_UNKNOWN, "401"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *why = "";
        make_commands(cases[i].status, cases[i].policy, cases[i].binding);
        size_t before = fake_http_count(k.http);
        uint64_t asked = fence_ask(fence);
        assert_int_equal(fence_said(fence, asked, &why), FENCE_UNKNOWN);
        round_after(0);
        assert_true(fake_http_count(k.http) - before <= 2);
        assert_int_equal(fence_said(fence, asked, &why), cases[i].said);
        assert_true(cases[i].words == NULL ? why == NULL : strstr(why, cases[i].words) != NULL);
    }
}

static void a_former_proof_says_nothing_of_a_later_question(void **state)
{
    (void)state;
    const char *why = "";
    make_commands(200, POLICY(FAIL_CLOSED, "2"), BINDING("keyturn-operations", DENY));
    round_after(0);
    assert_true(fence_proven(fence, NULL));
    fake_http_forget(k.http);
    fake_http_on(k.http, "policies/keyturn-operations", -1, 503, "{}");
    uint64_t asked = fence_ask(fence);
    int before = changes;
    round_after(0);
    assert_true(fence_proven(fence, NULL) && changes == before + 1);
    assert_int_equal(fence_said(fence, asked, &why), FENCE_UNKNOWN);
    fake_http_forget(k.http);
    fake_http_on(k.http, "policies/keyturn-operations", -1, 404, "{}");
    round_after(RETRY_MS);
    assert_int_equal(fence_said(fence, asked, &why), FENCE_OPEN);
    make_commands(200, POLICY(FAIL_CLOSED, "2"), BINDING("keyturn-operations", DENY));
    asked = fence_ask(fence);
    fake_loop_advance(k.loop, 0); /* a round is under way, and is not that of the next question */
    assert_int_equal(fence_ask(fence), asked + 1);
    before = changes;
    fake_http_run(k.http);
    assert_int_equal(changes, before + 1); /* who asked first waits for no other */
    assert_int_equal(fence_said(fence, asked, &why), FENCE_PROVEN);
    assert_int_equal(fence_said(fence, asked + 1, &why), FENCE_UNKNOWN);
    round_after(0);
    assert_int_equal(fence_said(fence, asked + 1, &why), FENCE_PROVEN);
    before = changes;
    fence_ask(fence); /* the answer is told, though it is no news */
    round_after(0);
    assert_int_equal(changes, before + 1);
}

static void later_rules_will_do(void **state)
{
    (void)state;
    instead("policies/keyturn-fence-secrets", 200, POLICY("", "12"));
    round_after(0);
    assert_true(proven);
}

static void proof_is_taken_back(void **state)
{
    (void)state;
    whole();
    round_after(0);
    instead("policybindings/keyturn-fence-workloads", 404, "{}");
    round_after(AGAIN_MS);
    assert_false(proven || fence_proven(fence, NULL));
    assert_int_equal(changes, 2);
    instead(NULL, 0, NULL);
    round_after(RETRY_MS);
    assert_true(proven);
    assert_int_equal(changes, 3);
}

static void proof_outlives_a_lost_question(void **state)
{
    (void)state;
    const char *why = "";
    whole();
    round_after(0);
    instead("POST", 503, "{}");
    round_after(AGAIN_MS);
    assert_true(proven && fence_proven(fence, &why));
    assert_null(why);
    assert_int_equal(changes, 2);
    assert_int_equal(err.class, ERR_TRANSIENT);
    round_after(RETRY_MS); /* the same sentence is no news */
    assert_int_equal(changes, 2);
    fake_http_forget(k.http);
    fake_http_on_err(k.http, "GET", -1, ERR_TIMEOUT);
    round_after(RETRY_MS);
    assert_true(proven);
    assert_int_equal(err.class, ERR_TIMEOUT);
}

/* "Every object needs an owner", say: the API server names only the first policy that refused. */
static void another_policy_neither_proves_nor_disproves(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *name, *body;
    } others[] = {
        {422, "needs-owner", DENIED("needs-owner")},
        {403, "needs-owner", DENIED("needs-owner")},
        {422, "keyturn-fence-secrets-of-others", DENIED("keyturn-fence-secrets-of-others")},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        instead("POST", others[i].status, others[i].body);
        round_after(AGAIN_MS);
        assert_false(proven);
        assert_non_null(strstr(err.msg, others[i].name));
        assert_non_null(strstr(err.msg, "exempt Secrets named keyturn-fence-probe from it"));
        instead(NULL, 0, NULL);
        round_after(RETRY_MS);
        assert_true(proven);
        instead("POST", others[i].status, others[i].body);
        round_after(AGAIN_MS);
        assert_true(proven && fence_proven(fence, NULL));
        assert_non_null(strstr(err.msg, others[i].name));
        instead("POST", 201, "{}");
        round_after(RETRY_MS);
        assert_false(proven);
    }
}

static void a_refusal_is_told_by_its_policy(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *sentence;
        bool ours;
    } cases[] = {
        {422, "ValidatingAdmissionPolicy 'keyturn-fence-secrets' with binding 'b' denied", true},
        {422, "ValidatingAdmissionPolicy 'keyturn-fence-secrets2' with binding 'b' denied", false},
        {422, "ValidatingAdmissionPolicy 'keyturn-fence-configmaps' with binding 'b' denied",
         false},
        {422, "ValidatingAdmissionPolicy 'keyturn-fence-secrets", false},
        {422, "label keyturn-fence-secrets is too long", false},
        {500, "ValidatingAdmissionPolicy 'keyturn-fence-secrets' with binding 'b' denied", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err answer = {0};
        err_set(&answer, ERR_INVALID, "%s", cases[i].sentence);
        answer.http_status = cases[i].status;
        assert_int_equal(fence_refused(fence, &answer), cases[i].ours);
    }
}

static void no_memory_is_no_proof(void **state)
{
    (void)state;
    whole();
    fake_http_no_memory(k.http, 1);
    round_after(0);
    assert_false(proven);
    assert_int_equal(err.class, ERR_NO_MEMORY);
    round_after(RETRY_MS);
    assert_true(proven);
}

static void ends_with_a_question_under_way(void **state)
{
    (void)state;
    fake_loop_advance(k.loop, 0);
    assert_int_equal(fake_http_open(k.http), 1); /* teardown frees it */
    assert_int_equal(changes, 0);
    fence_free(NULL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(asks_for_each_policy_and_then_by_a_dry_run),
        CASE(asks_again_and_tells_only_news),
        CASE(anything_else_is_no_proof),
        CASE(of_commands_is_one_policy),
        CASE(a_former_proof_says_nothing_of_a_later_question),
        CASE(later_rules_will_do),
        CASE(proof_is_taken_back),
        CASE(proof_outlives_a_lost_question),
        CASE(another_policy_neither_proves_nor_disproves),
        CASE(a_refusal_is_told_by_its_policy),
        CASE(no_memory_is_no_proof),
        CASE(ends_with_a_question_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
