/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "keycloak_writes.h"

static void promotion_comes_between_two_tokens(void **state)
{
    (void)state;
    static const char *const wanted[] = {PUT_PATH, TOKEN_PATH, KEYS_PATH, COMPONENTS_PATH};
    struct source *s = begin();
    size_t before = fake_http_count(http);
    struct source_write w = a_write(CHANGE_PROMOTE);
    fake_http_on(http, PUT_PATH, -1, 204, "");
    assert_int_equal(source_write(s, &w), 0);
    assert_true(source_writing(s));
    fake_loop_freeze(1000);
    pass(100);
    assert_requests(before, wanted, ARRAY_LEN(wanted));
    const struct fake_request *put = fake_http_at(http, before);
    assert_int_equal(put->timeout_ms, SOURCE_WRITE_TIMEOUT_MS);
    assert_true(put->secret);
    assert_true(fake_header_is(put, "Content-Type", "application/json"));
    assert_true(fake_header_is(put, "Authorization", "Bearer " JWS_1));
    assert_written(s, 1, ERR_NONE, "");
    assert_int_equal(source_written(s)->kind, CHANGE_PROMOTE);
    assert_false(source_written(s)->unknown);
    assert_false(source_written(s)->held_back);
    assert_true(source_reading(s)->taken_ms >= source_written(s)->ended_ms);
    assert_true(source_minted(s)->asked_ms >= source_written(s)->ended_ms);
    assert_int_equal(asked, 1);
    assert_int_equal(source_polls(s), 2);
}

static void others_need_no_second_token(void **state)
{
    (void)state;
    static const char *const wanted[] = {PUT_PATH, KEYS_PATH, COMPONENTS_PATH};
    struct source *s = begin();
    size_t before = fake_http_count(http);
    struct source_write w = a_write(CHANGE_DEMOTE);
    fake_http_on(http, PUT_PATH, -1, 204, "");
    assert_int_equal(source_write(s, &w), 0);
    pass(0);
    assert_requests(before, wanted, ARRAY_LEN(wanted));
    /* Without a write nothing of it is asked. */
    source_poll_now(s);
    pass(0);
    assert_int_equal(fake_http_count(http), before + 4);
}

#define TYPE "\"providerType\":\"org.keycloak.keys.KeyProvider\""
#define HEAD(provider) \
    "{\"providerId\":\"" provider "\"," TYPE ",\"config\":{\"priority\":[\"101\"],"
#define HEAD_NEW(provider)                                                                  \
    "{\"id\":\"c-1\",\"name\":\"keyturn-00000000-1\",\"providerId\":\"" provider "\"," TYPE \
    ",\"config\":{\"priority\":[\"101\"],\"enabled\":[\"true\"],\"active\":[\"false\"]"

static void bodies_say_all_that_counts(void **state)
{
    (void)state;
    static const struct {
        enum change_kind kind;
        const char *provider, *algorithm;
        int64_t size;
        const char *line, *body;
    } cases[] = {
        {CHANGE_PROMOTE, "rsa", "RS256", 0, PUT_PATH,
         HEAD("rsa") "\"enabled\":[\"true\"],\"active\":[\"true\"],\"algorithm\":[\"RS256\"]}}"},
        {CHANGE_DEMOTE, "rsa-generated", "PS384", 0, PUT_PATH,
         HEAD("rsa-generated") "\"enabled\":[\"true\"],\"active\":[\"false\"],"
                               "\"algorithm\":[\"PS384\"]}}"},
        {CHANGE_DISABLE, "rsa-generated", "RS256", 4096, PUT_PATH,
         HEAD("rsa-generated") "\"enabled\":[\"false\"],\"active\":[\"false\"],"
                               "\"algorithm\":[\"RS256\"]}}"},
        {CHANGE_PROMOTE, "ecdsa-generated", "ES256", 0, PUT_PATH,
         HEAD("ecdsa-generated") "\"enabled\":[\"true\"],\"active\":[\"true\"]}}"},
        {CHANGE_DISABLE, "eddsa-generated", "EdDSA", 0, PUT_PATH,
         HEAD("eddsa-generated") "\"enabled\":[\"false\"],\"active\":[\"false\"]}}"},
        {CHANGE_PROMOTE, "x\"y", "RS256", 0, PUT_PATH,
         HEAD("x\\\"y") "\"enabled\":[\"true\"],\"active\":[\"true\"]}}"},
        {CHANGE_CREATE, "rsa-generated", "RS256", 3072, POST_PATH,
         HEAD_NEW("rsa-generated") ",\"algorithm\":[\"RS256\"],\"keySize\":[\"3072\"]}}"},
        {CHANGE_CREATE, "ecdsa-generated", "ES512", 0, POST_PATH,
         HEAD_NEW("ecdsa-generated") ",\"ecdsaEllipticCurveKey\":[\"P-521\"]}}"},
        {CHANGE_CREATE, "eddsa-generated", "EdDSA", 0, POST_PATH,
         HEAD_NEW("eddsa-generated") ",\"eddsaEllipticCurveKey\":[\"Ed25519\"]}}"},
        {CHANGE_DELETE, NULL, NULL, 0, DELETE_PATH, ""},
    };
    struct source *s = begin();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct source_write w = a_write(cases[i].kind);
        w.provider = cases[i].provider;
        w.algorithm = cases[i].algorithm;
        w.size = cases[i].size;
        size_t before = fake_http_count(http);
        assert_int_equal(source_write(s, &w), 0);
        pass(0);
        assert_requests(before, &cases[i].line, 1);
        assert_string_equal(fake_http_last(http)->body, cases[i].body);
        assert_int_equal(fake_header_is(fake_http_last(http), "Content-Type", "application/json"),
                         cases[i].kind != CHANGE_DELETE);
        fake_answer(fake_http_last(http), cases[i].kind == CHANGE_CREATE ? 201 : 204, "");
        pass(100);
        assert_written(s, i + 1, ERR_NONE, "");
        assert_int_equal(source_err(s)->class, ERR_NONE);
    }
}

static void component_is_one_part_of_the_path(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_DELETE);
    w.component = "a/../b?c";
    assert_int_equal(source_write(s, &w), 0);
    pass(0);
    assert_string_equal(fake_http_last(http)->url, ADMIN "/components/a%2F..%2Fb%3Fc");
    fake_answer(fake_http_last(http), 204, "");
}

static void refusals_are_told_and_the_poll_goes_on(void **state)
{
    (void)state;
    static const struct {
        enum change_kind kind;
        const char *provider;
        int status;
        const char *body;
        enum err_class class;
        const char *part;
        bool unknown;
    } cases[] = {
        {CHANGE_PROMOTE, "rsa", 400, "{\"errorMessage\":\"FOREIGN\"}", ERR_INVALID,
         "certificate of this key has expired: give it a new one: kcadm.sh update components/c-1 "
         "-r r -s 'config.certificate=[]'",
         false},
        {CHANGE_DEMOTE, "rsa", 400, "FOREIGN", ERR_INVALID,
         "-s 'config.certificate=[]' -s 'config.active=[\"false\"]'", false},
        {CHANGE_DISABLE, "rsa", 400, "FOREIGN", ERR_INVALID,
         "-s 'config.certificate=[]' -s 'config.active=[\"false\"]'", false},
        {CHANGE_DISABLE, "java-keystore", 400, "FOREIGN", ERR_INVALID,
         "renew it where it comes from", false},
        {CHANGE_PROMOTE, "rsa-enc", 400, "{\"errorMessage\":\"Certificate is not valid\"}",
         ERR_INVALID, "certificate of this key has expired", false},
        {CHANGE_PROMOTE, "rsa-generated", 400, "FOREIGN", ERR_INVALID, "refuses the change (400)",
         false},
        {CHANGE_CREATE, "rsa-generated", 400, "FOREIGN", ERR_INVALID,
         "may not know RS256, or not of that size; choose others in spec.key", false},
        {CHANGE_DEMOTE, "rsa", 403, "FOREIGN", ERR_FORBIDDEN,
         "kcadm.sh add-roles -r r --uusername service-account-keyturn --cclientid "
         "realm-management --rolename manage-realm",
         false},
        {CHANGE_PROMOTE, "rsa", 404, "FOREIGN", ERR_NOT_FOUND, "no such component", false},
        {CHANGE_CREATE, "rsa-generated", 404, "FOREIGN", ERR_NOT_FOUND, "spec.keycloak.realm",
         false},
        {CHANGE_DELETE, NULL, 409, "FOREIGN", ERR_CONFLICT, "let one program alone write", false},
        {CHANGE_PROMOTE, "rsa", 500, "FOREIGN", ERR_TRANSIENT, "answers 500", true},
        {CHANGE_DELETE, NULL, 503, "FOREIGN", ERR_TRANSIENT, "answers 503", true},
        {CHANGE_PROMOTE, "rsa", 302, "FOREIGN", ERR_INVALID, "redirect", false},
        {CHANGE_PROMOTE, "rsa", 429, "FOREIGN", ERR_TRANSIENT, "answers 429", false},
    };
    struct source *s = begin();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct source_write w = a_write(cases[i].kind);
        w.provider = cases[i].provider;
        assert_int_equal(source_write(s, &w), 0);
        pass(0);
        fake_answer(fake_http_last(http), cases[i].status, cases[i].body);
        pass(100);
        assert_written(s, i + 1, cases[i].class, cases[i].part);
        assert_int_equal(source_written(s)->unknown, cases[i].unknown);
        if (cases[i].kind == CHANGE_PROMOTE) /* no repair of such a key lets it sign no more */
            assert_null(strstr(source_written(s)->err.msg, "config.active"));
        assert_int_equal(source_written(s)->err.http_status, cases[i].status);
        assert_int_equal(source_err(s)->class, ERR_NONE);
        assert_int_equal(source_reading(s)->number, i + 2);
    }
    /* A refused promotion signs nothing; one that ended in a 500 may. A role comes with a new
     * token. */
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 3);
}

static void lost_answer_says_nothing(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_PROMOTE);
    fake_http_on_err(http, PUT_PATH, 1, ERR_TIMEOUT);
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_written(s, 1, ERR_TIMEOUT,
                   "promote of a key: time-out, no whole answer from kc.test "
                   "within 5 s");
    assert_true(source_written(s)->unknown);
    assert_int_equal(source_written(s)->err.http_status, 0);
    assert_int_equal(source_err(s)->class, ERR_NONE);
    assert_int_equal(fake_http_seen(http, "PUT"), 1);
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 2); /* it may sign */
    assert_int_equal(fake_http_seen(http, COMPONENTS_PATH), 2);
}

static void refused_token_is_renewed_once(void **state)
{
    (void)state;
    static const char *const wanted[] = {PUT_PATH, TOKEN_PATH, PUT_PATH, KEYS_PATH,
                                         COMPONENTS_PATH};
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_DEMOTE);
    size_t before = fake_http_count(http);
    fake_http_on(http, PUT_PATH, 1, 401, "FOREIGN");
    fake_http_on(http, PUT_PATH, 1, 204, "");
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_requests(before, wanted, ARRAY_LEN(wanted));
    assert_int_equal(asked, 2);
    assert_written(s, 1, ERR_NONE, "");
    /* Refused although new. */
    before = fake_http_count(http);
    w = a_write(CHANGE_DEMOTE);
    fake_http_on(http, PUT_PATH, 2, 401, "FOREIGN");
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_requests(before, wanted, ARRAY_LEN(wanted));
    assert_written(s, 2, ERR_AUTH, "refuses a token it has just issued (401)");
    assert_false(source_written(s)->unknown);
    /* Not allowed any more when the token is there. */
    w = a_write(CHANGE_DEMOTE);
    assert_int_equal(source_write(s, &w), 0);
    pass(0);
    allowed = false;
    before = fake_http_count(http);
    fake_answer(fake_http_last(http), 401, "");
    pass(100);
    assert_requests(before, (const char *[]){TOKEN_PATH, KEYS_PATH}, 2);
    assert_int_equal(asked, 2);
    assert_written(s, 3, ERR_NONE, "");
    assert_true(source_written(s)->held_back);
}

static void what_is_not_allowed_is_not_sent(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_PROMOTE);
    allowed = false;
    size_t before = fake_http_count(http);
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_requests(before, (const char *[]){KEYS_PATH}, 1);
    assert_written(s, 1, ERR_NONE, "");
    assert_true(source_written(s)->held_back);
    assert_int_equal(source_err(s)->class, ERR_NONE);
}

static void done_before_is_done(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_DELETE);
    fake_http_on(http, DELETE_PATH, 1, 404, "{\"error\":\"Could not find component\"}");
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_written(s, 1, ERR_NONE, "");
    w = a_write(CHANGE_CREATE);
    fake_http_on(http, POST_PATH, -1, 409, "FOREIGN");
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_written(s, 2, ERR_NONE, "");
    /* The id may be that of another realm's component. */
    w = a_write(CHANGE_CREATE);
    w.component = "c-9";
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_written(s, 3, ERR_EXISTS, "c-9: the id is taken (409), but not in realm \"r\"");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        CASE(promotion_comes_between_two_tokens),
        CASE(others_need_no_second_token),
        CASE(bodies_say_all_that_counts),
        CASE(component_is_one_part_of_the_path),
        CASE(refusals_are_told_and_the_poll_goes_on),
        CASE(lost_answer_says_nothing),
        CASE(refused_token_is_renewed_once),
        CASE(what_is_not_allowed_is_not_sent),
        CASE(done_before_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
