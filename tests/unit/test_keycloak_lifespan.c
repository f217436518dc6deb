/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "keycloak_data.h"

#define REALM_PATH "GET https://kc.test/auth/admin/realms/r"
#define CLIENTS_PATH "GET https://kc.test/auth/admin/realms/r/clients?first="
#define REALM(more) \
    "{\"realm\":\"r\",\"accessTokenLifespan\":300,\"ssoSessionMaxLifespan\":36000" more "}"
#define CLIENT(id, seconds) \
    "{\"clientId\":\"" id   \
    "\",\"secret\":\"FOREIGN\",\"attributes\":{\"access.token.lifespan\":\"" seconds "\"}}"
#define PLAIN "[{\"clientId\":\"account\",\"attributes\":{}}]"

/* REALM_PATH begins all others' paths: theirs come first. */
static void serve_keys(void)
{
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, -1, 200, KEYS_A);
    fake_http_on(http, COMPONENTS_PATH, -1, 200, COMPONENTS);
}

static void serve(const char *realm, const char *clients)
{
    serve_keys();
    fake_http_on(http, CLIENTS_PATH "0&", -1, 200, clients);
    fake_http_on(http, CLIENTS_PATH, -1, 200, "[]");
    fake_http_on(http, REALM_PATH, -1, 200, realm);
}

static struct source *want(void)
{
    struct source *s = subscribe_admin("r");
    source_want_lifespan(s, true);
    return s;
}

static void assert_lifespan(const struct source *s, int64_t seconds, const char *why)
{
    const struct source_lifespan *l = source_lifespan(s);
    if (!l->known || l->seconds != seconds || strcmp(l->why, why) != 0)
        fail_msg("known %d, %lld s, \"%s\", wanted %lld s, \"%s\": %s", l->known,
                 (long long)l->seconds, l->why, (long long)seconds, why, l->err.msg);
    assert_int_equal(l->err.class, ERR_NONE);
}

static void assert_unknown(const struct source *s, enum err_class class, const char *part)
{
    const struct source_lifespan *l = source_lifespan(s);
    if (l->known || l->err.class != class || strstr(l->err.msg, part) == NULL)
        fail_msg("known %d, class %d, wanted %d with \"%s\": %s", l->known, l->err.class, class,
                 part, l->err.msg);
    assert_true(strlen(l->err.msg) < sizeof(l->err.msg) - 1);
    assert_null(strstr(l->err.msg, "FOREIGN"));
    assert_int_equal(source_err(s)->class, ERR_NONE);
    assert_non_null(source_reading(s));
}

static void longest_setting_dominates(void **state)
{
    (void)state;
    static const struct {
        const char *realm, *clients;
        int64_t seconds;
        const char *why;
    } cases[] = {
        {REALM(""), PLAIN, 36000, "realm: ssoSessionMaxLifespan 10h"},
        {REALM(""), "[" CLIENT("a", "60") "," CLIENT("batch", "86400") "," CLIENT("c", "600") "]",
         86400, "client batch: access.token.lifespan 1d"},
        /* The session's, blank, and what Keycloak could not read either. */
        {REALM(""),
         "[" CLIENT("a", "-1") "," CLIENT("b", "") "," CLIENT("c", "1e9") "," CLIENT(
             "d", "99999999999") "," CLIENT("e", " 50000 ") "]",
         50000, "client e: access.token.lifespan 13h 53m"},
        {REALM(",\"accessTokenLifespanForImplicitFlow\":90000"), PLAIN, 36000,
         "realm: ssoSessionMaxLifespan 10h"},
        {REALM(",\"accessTokenLifespanForImplicitFlow\":90000"),
         "[{\"clientId\":\"a\",\"implicitFlowEnabled\":true}]", 90000,
         "realm: accessTokenLifespanForImplicitFlow 1d 1h"},
        {REALM(",\"rememberMe\":true,\"ssoSessionMaxLifespanRememberMe\":2592000"), PLAIN, 2592000,
         "realm: ssoSessionMaxLifespanRememberMe 30d"},
        {REALM(",\"rememberMe\":false,\"ssoSessionMaxLifespanRememberMe\":2592000"), PLAIN, 36000,
         "realm: ssoSessionMaxLifespan 10h"},
        {REALM(",\"rememberMe\":true,\"ssoSessionMaxLifespanRememberMe\":0"), PLAIN, 36000,
         "realm: ssoSessionMaxLifespan 10h"},
        {"{\"accessTokenLifespan\":300,\"ssoSessionMaxLifespan\":0}", PLAIN, 36000,
         "realm: ssoSessionMaxLifespan 10h"},
        {"{\"accessTokenLifespan\":40000,\"ssoSessionMaxLifespan\":600}", PLAIN, 40000,
         "realm: accessTokenLifespan 11h 6m"},
        {"{\"accessTokenLifespan\":-1,\"ssoSessionMaxLifespan\":600}", PLAIN, 600,
         "realm: ssoSessionMaxLifespan 10m"},
        {"{\"accessTokenLifespan\":99999999999,\"ssoSessionMaxLifespan\":600}", PLAIN, 2147483647,
         "realm: accessTokenLifespan 24855d 3h"},
        {REALM(""),
         "[{\"clientId\":\"sp\",\"attributes\":{\"saml.assertion.lifespan\":\"40000\"}}]", 40000,
         "client sp: saml.assertion.lifespan 11h 6m"},
        {REALM(""), "[1,null,{},{\"attributes\":7},{\"attributes\":{\"access.token.lifespan\":5}}]",
         36000, "realm: ssoSessionMaxLifespan 10h"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct source *s = want();
        serve(cases[i].realm, cases[i].clients);
        pass(0);
        assert_lifespan(s, cases[i].seconds, cases[i].why);
        assert_int_equal(source_lifespan(s)->read_ms, loop_clock_ms());
        source_unsubscribe(s);
        fake_http_forget(http);
    }
}

static void is_asked_when_one_wants_it(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    struct source *other = subscribe_admin("r");
    serve(REALM(""), PLAIN);
    pass(0);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 0);
    assert_false(source_lifespan(s)->known);
    source_want_lifespan(other, true);
    source_poll_now(s);
    pass(0);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 2);
    assert_int_equal(fake_http_at(http, fake_http_count(http) - 2)->secret, true);
    assert_lifespan(s, 36000, "realm: ssoSessionMaxLifespan 10h");
    /* Hourly, while wanted. */
    for (int i = 0; i < 100; i++)
        pass(35000);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 2);
    for (int i = 0; i < 10; i++)
        pass(35000);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 4);
    source_unsubscribe(other);
    for (int i = 0; i < 110; i++)
        pass(35000);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 4);
}

static void pages_end_with_an_empty_one(void **state)
{
    (void)state;
    struct source *s = want();
    serve_keys();
    fake_http_on(http, CLIENTS_PATH "0&max=250", 1, 200, PLAIN);
    fake_http_on(http, CLIENTS_PATH "250&max=250", 1, 200, "[" CLIENT("late", "90000") "]");
    fake_http_on(http, CLIENTS_PATH "500&max=250", 1, 200, "[]");
    fake_http_on(http, REALM_PATH, -1, 200, REALM(""));
    pass(0);
    assert_lifespan(s, 90000, "client late: access.token.lifespan 1d 1h");
    /* What a page says that is left since is forgotten. */
    fake_http_forget(http);
    serve(REALM(""), PLAIN);
    fake_loop_freeze(3600 * 1000);
    source_poll_now(s);
    pass(100);
    assert_lifespan(s, 36000, "realm: ssoSessionMaxLifespan 10h");
}

static void pages_that_are_too_large_are_halved(void **state)
{
    (void)state;
    struct source *s = want();
    serve_keys();
    fake_http_on_err(http, "&max=250", -1, ERR_LIMIT);
    fake_http_on_err(http, "&max=125", -1, ERR_LIMIT);
    fake_http_on(http, CLIENTS_PATH "0&max=62", 1, 200, PLAIN);
    fake_http_on(http, CLIENTS_PATH "62&max=62", 1, 200, "[]");
    fake_http_on(http, REALM_PATH, -1, 200, REALM(""));
    pass(0);
    assert_lifespan(s, 36000, "realm: ssoSessionMaxLifespan 10h");
    fake_http_forget(http);
    serve_keys();
    fake_http_on_err(http, CLIENTS_PATH, -1, ERR_LIMIT);
    fake_http_on(http, REALM_PATH, -1, 200, REALM(""));
    fake_loop_freeze(3600 * 1000);
    source_poll_now(s);
    pass(100);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 4 + 8); /* 250, 125, ... 3, 1 */
    assert_unknown(s, ERR_LIMIT,
                   "number 1 in the list): make them fewer, or set "
                   "spec.overlap.retire");
}

static void clients_without_end_are_given_up(void **state)
{
    (void)state;
    struct source *s = want();
    serve_keys();
    fake_http_on(http, CLIENTS_PATH, -1, 200, PLAIN);
    fake_http_on(http, REALM_PATH, -1, 200, REALM(""));
    pass(0);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 40);
    assert_unknown(s, ERR_LIMIT, "more than 10000");
}

static void slow_server_does_not_hold_the_keys_back(void **state)
{
    (void)state;
    struct source *s = want();
    serve_keys();
    pass(0);
    fake_answer(fake_http_last(http), 200, REALM(""));
    for (int i = 0; i < 7; i++) {
        fake_loop_freeze(9000);
        if (strstr(fake_http_last(http)->url, "/clients") != NULL)
            fake_answer(fake_http_last(http), 200, PLAIN);
    }
    pass(100);
    assert_unknown(s, ERR_TIMEOUT, "within 60 s");
}

static void failures_say_what_is_missing(void **state)
{
    (void)state;
    static const struct {
        int realm_status;
        const char *realm;
        int clients_status;
        const char *clients;
        enum err_class class;
        const char *part;
    } cases[] = {
        {403, "FOREIGN", 200, PLAIN, ERR_FORBIDDEN,
         "realm: 403, the client of Secret ns/creds lacks the role view-realm of client "
         "realm-management in its realm: kcadm.sh add-roles -r r --uusername "
         "service-account-keyturn --cclientid realm-management --rolename view-realm"},
        {200, "{\"realm\":\"FOREIGN\"}", 200, PLAIN, ERR_FORBIDDEN, "--rolename view-realm"},
        {200, "[]", 200, PLAIN, ERR_INVALID, "no object"},
        {200, "<html>FOREIGN", 200, PLAIN, ERR_INVALID, "JSON"},
        {500, "FOREIGN", 200, PLAIN, ERR_TRANSIENT, "realm: https://kc.test/auth answers 500"},
        {404, "FOREIGN", 200, PLAIN, ERR_NOT_FOUND, "spec.keycloak.realm"},
        {200, REALM(""), 403, "FOREIGN", ERR_FORBIDDEN, "--rolename view-clients"},
        {200, REALM(""), 200, "[]", ERR_FORBIDDEN, "--rolename view-clients"},
        {200, REALM(""), 200, "{\"FOREIGN\":1}", ERR_INVALID, "no list"},
        {200, REALM(""), 200, "FOREIGN", ERR_INVALID, "JSON"},
        {200, REALM(""), 502, "FOREIGN", ERR_TRANSIENT,
         "clients: https://kc.test/auth answers 502"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct source *s = want();
        serve_keys();
        fake_http_on(http, CLIENTS_PATH, -1, cases[i].clients_status, cases[i].clients);
        fake_http_on(http, REALM_PATH, -1, cases[i].realm_status, cases[i].realm);
        size_t before = fake_http_seen(http, TOKEN_PATH);
        pass(0);
        assert_unknown(s, cases[i].class, cases[i].part);
        /* Each minute; a role comes with a new token. */
        size_t asked = fake_http_seen(http, REALM_PATH) - fake_http_seen(http, KEYS_PATH) -
                       fake_http_seen(http, COMPONENTS_PATH) - fake_http_seen(http, CLIENTS_PATH);
        source_poll_now(s);
        pass(100);
        assert_int_equal(fake_http_seen(http, REALM_PATH) - fake_http_seen(http, KEYS_PATH) -
                             fake_http_seen(http, COMPONENTS_PATH) -
                             fake_http_seen(http, CLIENTS_PATH),
                         asked);
        assert_int_equal(fake_http_seen(http, TOKEN_PATH) - before,
                         cases[i].class == ERR_FORBIDDEN ? 2 : 1);
        fake_http_forget(http);
        serve(REALM(""), PLAIN);
        fake_loop_freeze(60 * 1000);
        source_poll_now(s);
        pass(100);
        assert_lifespan(s, 36000, "realm: ssoSessionMaxLifespan 10h");
        source_unsubscribe(s);
        fake_http_forget(http);
    }
}

static void what_passes_leaves_what_was_known(void **state)
{
    (void)state;
    struct source *s = want();
    serve(REALM(""), PLAIN);
    pass(0);
    int64_t read_ms = source_lifespan(s)->read_ms;
    fake_http_forget(http);
    serve_keys();
    fake_http_on_err(http, REALM_PATH, 1, ERR_TIMEOUT);
    fake_loop_freeze(3600 * 1000);
    source_poll_now(s);
    pass(100);
    assert_true(source_lifespan(s)->known);
    assert_int_equal(source_lifespan(s)->seconds, 36000);
    assert_int_equal(source_lifespan(s)->read_ms, read_ms);
    assert_int_equal(source_lifespan(s)->err.class, ERR_TIMEOUT);
    fake_http_on(http, REALM_PATH, 1, 403, "");
    fake_loop_freeze(60 * 1000);
    source_poll_now(s);
    pass(100);
    assert_unknown(s, ERR_FORBIDDEN, "view-realm");
}

static void refused_token_starts_it_anew(void **state)
{
    (void)state;
    struct source *s = want();
    serve_keys();
    pass(0);
    fake_answer(fake_http_last(http), 200, REALM(""));
    assert_non_null(strstr(fake_http_last(http)->url, "/clients"));
    /* In its first poll the token is new. */
    fake_answer(fake_http_last(http), 401, "");
    pass(100);
    assert_unknown(s, ERR_AUTH, "clients: https://kc.test/auth refuses a token");
    fake_loop_freeze(60 * 1000);
    source_poll_now(s);
    pass(0);
    fake_answer(fake_http_last(http), 200, REALM(""));
    serve(REALM(",\"rememberMe\":true,\"ssoSessionMaxLifespanRememberMe\":40000"), PLAIN);
    fake_answer(fake_http_last(http), 401, "");
    pass(100);
    assert_lifespan(s, 40000, "realm: ssoSessionMaxLifespanRememberMe 11h 6m");
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 2);
}

static bool may(void *ctx)
{
    (void)ctx;
    return true;
}

static void writes_do_not_wait_for_it(void **state)
{
    (void)state;
    struct source *s = want();
    struct source_write w = {.kind = CHANGE_DELETE, .component = "c-1", .allowed = may};
    assert_int_equal(source_write(s, &w), 0);
    fake_http_on(http, "DELETE ", -1, 204, "");
    serve(REALM(""), PLAIN);
    pass(0);
    assert_int_equal(source_written(s)->number, 1);
    assert_false(source_lifespan(s)->known);
    assert_int_equal(fake_http_seen(http, CLIENTS_PATH), 0);
    source_poll_now(s);
    pass(0);
    assert_true(source_lifespan(s)->known);
}

static void without_memory_it_is_tried_again(void **state)
{
    (void)state;
    struct source *s = want();
    fake_loop_advance(loop, 0);
    fake_http_no_memory(http, 1); /* for the realm */
    serve_keys();
    pass(0);
    assert_unknown(s, ERR_NO_MEMORY, "lifespans");
    fake_loop_freeze(60 * 1000);
    source_poll_now(s);
    pass(0);
    fake_http_no_memory(http, 1); /* for clients */
    fake_answer(fake_http_last(http), 200, REALM(""));
    pass(100);
    assert_unknown(s, ERR_NO_MEMORY, "lifespans");
}

static void unsubscribe_ends_it(void **state)
{
    (void)state;
    struct source *s = want();
    serve_keys();
    pass(0);
    fake_answer(fake_http_last(http), 200, REALM(""));
    assert_int_equal(fake_http_open(http), 1);
    source_unsubscribe(s);
    assert_int_equal(fake_http_open(http), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        CASE(longest_setting_dominates),        CASE(is_asked_when_one_wants_it),
        CASE(pages_end_with_an_empty_one),      CASE(pages_that_are_too_large_are_halved),
        CASE(clients_without_end_are_given_up), CASE(slow_server_does_not_hold_the_keys_back),
        CASE(failures_say_what_is_missing),     CASE(what_passes_leaves_what_was_known),
        CASE(refused_token_starts_it_anew),     CASE(writes_do_not_wait_for_it),
        CASE(without_memory_it_is_tried_again), CASE(unsubscribe_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
