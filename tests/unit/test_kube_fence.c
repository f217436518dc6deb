/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../lib/fake_kube.h"
#include "kube/fence.h"

static struct fake_kube k;
static int answers;
static struct err err;

static void on_done(void *ctx, const struct err *answer)
{
    (void)ctx;
    answers++;
    err = *answer;
}

static int setup(void **state)
{
    (void)state;
    fake_kube_start(&k);
    answers = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_kube_stop(&k);
    return 0;
}

static struct fake_request *ask(void)
{
    assert_non_null(fence_prove(k.kube, "own", "keyturn-fence-secrets", on_done, NULL));
    return fake_http_last(k.http);
}

#define DENIED(policy)                                                                             \
    "{\"kind\":\"Status\",\"code\":422,\"reason\":\"Invalid\",\"message\":\"secrets \\\"p\\\" is " \
    "forbidden: ValidatingAdmissionPolicy '" policy "' with binding '" policy                      \
    "' denied request: the operator creates only Secrets of type keyturn.dev/public-keys\"}"

static void asks_by_a_dry_run_of_a_foreign_secret(void **state)
{
    (void)state;
    struct fake_request *r = ask();
    assert_string_equal(r->method, "POST");
    assert_string_equal(r->url, "https://api.test:6443/api/v1/namespaces/own/secrets?dryRun=All");
    assert_non_null(strstr(r->body, "\"type\":\"Opaque\""));
    assert_null(strstr(r->body, "\"data\""));
    assert_true(fake_header_is(r, "Accept",
                               "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"));
}

static void refusal_by_the_policy_is_proof(void **state)
{
    (void)state;
    fake_answer(ask(), 422, DENIED("keyturn-fence-secrets"));
    assert_int_equal(answers, 1);
    assert_int_equal(err.class, ERR_NONE);
}

static void anything_else_is_none(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum err_class class;
        const char *word;
    } cases[] = {
        {201, "{}", ERR_FORBIDDEN, "stands open"},
        {403, "{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"message\":\"by RBAC\"}",
         ERR_FORBIDDEN, "Role"},
        /* A 403 that names the policy is not what a policy answers. */
        {403, DENIED("keyturn-fence-secrets"), ERR_FORBIDDEN, "Role"},
        {422, DENIED("keyturn-fence-secrets-of-others"), ERR_INVALID, "is not proven"},
        {422, DENIED("other"), ERR_INVALID, "is not proven"},
        {422, "{\"kind\":\"Status\",\"message\":\"too long\"}", ERR_INVALID, "is not proven"},
        {404, "{}", ERR_NOT_FOUND, "is not proven"},
        {500, DENIED("keyturn-fence-secrets"), ERR_TRANSIENT, "is not proven"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake_answer(ask(), cases[i].status, cases[i].body);
        assert_int_equal(err.class, cases[i].class);
        assert_non_null(strstr(err.msg, cases[i].word));
        assert_non_null(strstr(err.msg, "keyturn-fence-secrets"));
    }
    fake_fail(ask(), ERR_TIMEOUT);
    assert_int_equal(err.class, ERR_TIMEOUT);
}

static void cancelled_proof_frees_what_it_holds(void **state)
{
    (void)state;
    kube_cancel(fence_prove(k.kube, "own", "p", on_done, NULL));
    fake_http_no_memory(k.http, 1);
    assert_null(fence_prove(k.kube, "own", "p", on_done, NULL));
    (void)ask(); /* ended by kube_free */
    assert_int_equal(answers, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(asks_by_a_dry_run_of_a_foreign_secret),
        CASE(refusal_by_the_policy_is_proof),
        CASE(anything_else_is_none),
        CASE(cancelled_proof_frees_what_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
