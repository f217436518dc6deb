/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "keycloak_data.h"

static void serve(void)
{
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, -1, 200, KEYS_A);
    fake_http_on(http, COMPONENTS_PATH, -1, 200, COMPONENTS);
}

static void mints_a_token_then_reads_keys_and_components(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    serve();
    pass(0);
    assert_int_equal(fake_http_count(http), 3);
    const struct fake_request *token = fake_http_at(http, 0);
    assert_string_equal(token->url, "https://kc.test/auth/realms/r/protocol/openid-connect/token");
    assert_string_equal(token->body,
                        "grant_type=client_credentials&client_id=keyturn&client_secret=s3cret%26");
    assert_true(fake_header_is(token, "Content-Type", "application/x-www-form-urlencoded"));
    assert_true(token->secret);
    assert_true(fake_header_is(fake_http_at(http, 1), "Authorization", "Bearer t0ken"));
    assert_true(fake_header_is(fake_http_at(http, 2), "Authorization", "Bearer t0ken"));
    assert_int_equal(source_err(s)->class, ERR_NONE);
    const struct realm_keys *keys = &source_reading(s)->keys;
    assert_int_equal(keys->count, 1);
    assert_string_equal(keys->keys[0].component, "c-1");
    assert_string_equal(keys->keys[0].provider, "ecdsa-generated");
    assert_string_equal(keys->active[0].kid, "a");
}

static void steady_state_is_one_request_an_interval(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    serve();
    pass(0);
    for (int i = 0; i < 6; i++)
        pass(33000);
    assert_int_equal(fake_http_seen(http, COMPONENTS_PATH), 1);
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 1);
    assert_in_range(fake_http_seen(http, KEYS_PATH), 6, 8);
    assert_string_equal(source_reading(s)->keys.keys[0].provider, "ecdsa-generated");
    /* The token is left at nine tenths of its life, its credentials are read anew. */
    pass(100000);
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 2);
    assert_int_equal(vault.gets, 2);
    assert_int_equal(source_err(s)->class, ERR_NONE);
}

static void components_are_asked_when_keys_change(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, 1, 200, KEYS_A);
    fake_http_on(http, KEYS_PATH, -1, 200, KEYS_AB);
    fake_http_on(http, COMPONENTS_PATH, -1, 200, COMPONENTS);
    pass(0);
    char digest[JOSE_HASH_TEXT];
    memcpy(digest, source_reading(s)->digest, sizeof(digest));
    source_poll_now(s);
    pass(0);
    assert_int_equal(fake_http_seen(http, COMPONENTS_PATH), 2);
    assert_string_not_equal(digest, source_reading(s)->digest);
    assert_int_equal(source_reading(s)->keys.count, 2);
    source_poll_now(s);
    pass(0);
    assert_int_equal(fake_http_seen(http, COMPONENTS_PATH), 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_not_equal(source_reading(s)->keys.keys[i].provider, "");
}

static void keys_are_not_held_back_by_components(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, -1, 200, KEYS_A);
    fake_http_on(http, COMPONENTS_PATH, 1, 500, "");
    fake_http_on(http, COMPONENTS_PATH, 1, 200, "<html>");
    fake_http_on(http, COMPONENTS_PATH, -1, 200, COMPONENTS);
    for (int i = 0; i < 3; i++) {
        source_poll_now(s);
        pass(0);
        assert_int_equal(source_err(s)->class, ERR_NONE);
        assert_int_equal(source_reading(s)->keys.count, 1);
        assert_string_equal(source_reading(s)->keys.keys[0].provider,
                            i < 2 ? "" : "ecdsa-generated");
    }
    assert_int_equal(fake_http_seen(http, COMPONENTS_PATH), 3);
}

static void refused_token_is_minted_anew_once(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    serve();
    pass(0);
    fake_http_forget(http);
    fake_http_on(http, TOKEN_PATH, -1, 200, "{\"access_token\":\"n3w\",\"expires_in\":300}");
    fake_http_on(http, KEYS_PATH, 1, 401, "{}");
    fake_http_on(http, KEYS_PATH, 1, 200, KEYS_A);
    source_poll_now(s);
    pass(0);
    assert_int_equal(source_err(s)->class, ERR_NONE);
    assert_int_equal(vault.gets, 2);
    assert_true(fake_header_is(fake_http_last(http), "Authorization", "Bearer n3w"));
    /* Refused although new: told, and not asked in a circle. */
    fake_http_on(http, KEYS_PATH, -1, 401, "{}");
    source_poll_now(s);
    size_t before = fake_http_count(http);
    pass(0);
    assert_int_equal(fake_http_count(http) - before, 3);
    assert_sentence(s, ERR_AUTH, "refuses a token it has just issued");
    assert_non_null(source_reading(s));
}

static void wrong_credentials_name_the_secret(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum err_class class;
        const char *part;
    } cases[] = {
        {401, "{\"error\":\"unauthorized_client\",\"error_description\":\"FOREIGN\"}", ERR_AUTH,
         "(401, unauthorized_client): correct client-id and client-secret in Secret ns/creds"},
        {401, "FOREIGN", ERR_AUTH, "Secret ns/creds"},
        {400, "{\"error\":\"invalid_client\"}", ERR_AUTH, "Secret ns/creds"},
        {403, "{\"error\":\"access_denied\"}", ERR_FORBIDDEN, "enable the realm"},
        {404, "FOREIGN", ERR_NOT_FOUND, "realm \"r\" is not found at https://kc.test/auth (404)"},
        {302, "FOREIGN", ERR_INVALID, "redirect"},
        {500, "FOREIGN", ERR_TRANSIENT, "answers 500"},
        {200, "<html>FOREIGN", ERR_INVALID, "JSON"},
        {200, "{\"access_token\":\"FOREIGN\\r\\nX: y\"}", ERR_INVALID, "access_token"},
    };
    struct source *s = subscribe_admin("r");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake_http_on(http, TOKEN_PATH, 1, cases[i].status, cases[i].body);
        source_poll_now(s);
        pass(0);
        assert_sentence(s, cases[i].class, cases[i].part);
        assert_null(strstr(source_err(s)->msg, "FOREIGN"));
        assert_null(strstr(source_err(s)->msg, "s3cret"));
        assert_int_equal(fake_http_seen(http, KEYS_PATH), 0);
    }
    /* What failed is not kept: each try reads the credentials again. */
    assert_int_equal(vault.gets, ARRAY_LEN(cases));
    fake_http_on_err(http, TOKEN_PATH, 1, ERR_TLS);
    source_poll_now(s);
    pass(0);
    assert_sentence(s, ERR_TLS, "spec.issuer.caBundle");
}

static void missing_role_comes_with_its_line(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, 1, 403, "{\"error\":\"FOREIGN\"}");
    pass(0);
    assert_sentence(s, ERR_FORBIDDEN,
                    "kcadm.sh add-roles -r r --uusername service-account-keyturn --cclientid "
                    "realm-management --rolename view-realm");
    assert_non_null(strstr(source_err(s)->msg, "view-realm or manage-realm"));
    assert_null(strstr(source_err(s)->msg, "FOREIGN"));
    /* A role comes with the next token only. */
    fake_http_on(http, KEYS_PATH, 1, 200, KEYS_A);
    fake_http_on(http, COMPONENTS_PATH, 1, 200, COMPONENTS);
    source_poll_now(s);
    pass(0);
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 2);
    assert_int_equal(source_err(s)->class, ERR_NONE);
}

static void odd_names_do_not_break_the_line(void **state)
{
    (void)state;
    static const char long_id[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    static const struct {
        const char *client_id, *part;
    } cases[] = {
        {"a b", "-r r --uusername 'service-account-a b' --cclientid"},
        {"x'; rm -rf ~; '", "--uusername 'service-account-x'\\''; rm -rf ~; '\\''' --cclientid"},
        {"$(id)", "--uusername 'service-account-$(id)' --cclientid"},
        {"\xc3\xa9", "-r REALM --uusername service-account-CLIENT --cclientid"},
        {"a\x1b[2J", "-r REALM --uusername service-account-CLIENT --cclientid"},
        {long_id, "-r REALM --uusername service-account-CLIENT --cclientid"},
    };
    struct source *s = subscribe_admin("r");
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, -1, 403, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        vault.client_id = cases[i].client_id;
        source_poll_now(s);
        pass(0);
        assert_sentence(s, ERR_FORBIDDEN, cases[i].part);
        assert_non_null(strstr(source_err(s)->msg, "--rolename view-realm"));
        assert_null(strchr(source_err(s)->msg, '\x1b'));
    }
    source_unsubscribe(s);
    s = subscribe_admin("a/../b c");
    fake_http_on(http, "/protocol/openid-connect/token", -1, 200, TOKEN);
    fake_http_on(http, "/keys", -1, 403, "");
    vault.client_id = "keyturn";
    pass(0);
    assert_string_equal(fake_http_last(http)->url,
                        "https://kc.test/auth/admin/realms/a%2F..%2Fb%20c/keys");
    assert_sentence(s, ERR_FORBIDDEN, "-r 'a/../b c' --uusername service-account-keyturn");
}

static void realm_that_is_gone_drops_the_token(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    serve();
    pass(0);
    const struct reading *good = source_reading(s);
    fake_http_forget(http);
    fake_http_on(http, KEYS_PATH, 1, 404, "{\"error\":\"Realm not found.\"}");
    source_poll_now(s);
    pass(0);
    assert_sentence(s, ERR_NOT_FOUND, "check spec.keycloak.realm");
    assert_ptr_equal(source_reading(s), good);
    serve();
    source_poll_now(s);
    pass(0);
    assert_int_equal(vault.gets, 2);
    assert_int_equal(source_err(s)->class, ERR_NONE);
}

static void bad_key_answers_keep_what_was_read(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum err_class class;
        const char *part;
    } cases[] = {
        {200, "<html>", ERR_INVALID, "nothing trusted is withdrawn"},
        {200, "{\"keys\":[{\"kid\"", ERR_INVALID, "ends early"},
        {200, "{\"keys\":[]}", ERR_INVALID, "no usable signing keys"},
        {200, KEYS("a", KEY("c-1", "a", "DISABLED", A_SPKI)), ERR_INVALID,
         "no usable signing keys"},
        {200, KEYS("a", KEY("c-1", "a", "ACTIVE", "AAAA")), ERR_INVALID, "1 could not be read"},
        {503, "", ERR_TRANSIENT, "answers 503"},
    };
    struct source *s = subscribe_admin("r");
    serve();
    pass(0);
    fake_http_forget(http);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake_http_on(http, KEYS_PATH, 1, cases[i].status, cases[i].body);
        source_poll_now(s);
        pass(0);
        assert_sentence(s, cases[i].class, cases[i].part);
        assert_int_equal(source_reading(s)->number, 1);
    }
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 1);
    fake_http_on_err(http, KEYS_PATH, 1, ERR_TIMEOUT);
    source_poll_now(s);
    pass(0);
    assert_sentence(s, ERR_TIMEOUT, "time-out");
}

static void secret_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    static const struct {
        enum err_class class;
        const char *msg, *part;
    } cases[] = {
        {ERR_NOT_FOUND, "GET x: 404", "Secret ns/creds does not exist: create it"},
        {ERR_FORBIDDEN, "GET x: 403", "README, section Credentials"},
        {ERR_INVALID, "credentials Secret has no key url",
         "Secret ns/creds: credentials Secret has no key url"},
        {ERR_TIMEOUT, "GET x: slow", "GET x: slow"},
    };
    struct source *s = subscribe_admin("r");
    vault.url = NULL;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        vault.err = cases[i].class;
        vault.err_msg = cases[i].msg;
        source_poll_now(s);
        pass(0);
        assert_sentence(s, cases[i].class, cases[i].part);
    }
    vault.no_memory = true;
    source_poll_now(s);
    pass(0);
    assert_int_equal(source_err(s)->class, ERR_NO_MEMORY);
    assert_int_equal(fake_http_count(http), 0);
}

static void nothing_is_sent_to_another_server(void **state)
{
    (void)state;
    static const char *const urls[] = {"https://kc.test", "http://kc.test/auth",
                                       "https://kc.test/auth/x", "https://kc.test.evil/auth", ""};
    struct source *s = subscribe_admin("r");
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        vault.url = urls[i];
        source_poll_now(s);
        pass(0);
        assert_sentence(s, ERR_INVALID, "must equal spec.keycloak.url; nothing was sent there");
    }
    assert_int_equal(fake_http_count(http), 0);
}

static void url_with_a_user_is_refused(void **state)
{
    (void)state;
    struct source_key key = {.kind = SOURCE_ADMIN,
                             .url = "https://u:p@kc.test",
                             .realm = "r",
                             .namespace = "ns",
                             .secret = "creds"};
    struct source *s = source_subscribe(all, &key, 1000, NULL);
    pass(0);
    assert_sentence(s, ERR_INVALID, "spec.keycloak.url");
    assert_int_equal(vault.gets, 0);
}

static void unsubscribe_ends_whatever_is_under_way(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    vault.hold = true;
    fake_loop_advance(loop, 0);
    assert_int_equal(vault.gets, 1);
    source_unsubscribe(s);
    assert_int_equal(vault.cancels, 1);
    vault.hold = false;
    s = subscribe_admin("r");
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, -1, 200, KEYS_A);
    pass(0);
    assert_int_equal(fake_http_open(http), 1); /* components */
    source_unsubscribe(s);
    assert_int_equal(fake_http_open(http), 0);
    assert_int_equal(polled_count, 0);
}

static void without_memory_each_step_fails_and_goes_on(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    fake_http_no_memory(http, 1); /* for a token */
    fake_loop_advance(loop, 0);
    assert_int_equal(source_polls(s), 1);
    assert_int_equal(source_err(s)->class, ERR_NO_MEMORY);
    source_poll_now(s);
    fake_loop_advance(loop, 0);
    fake_http_no_memory(http, 1); /* for keys, asked from inside the token's answer */
    fake_answer(fake_http_last(http), 200, TOKEN);
    assert_int_equal(source_polls(s), 2);
    assert_int_equal(source_err(s)->class, ERR_NO_MEMORY);
    source_poll_now(s);
    fake_loop_advance(loop, 0);
    fake_http_no_memory(http, 1); /* for components */
    fake_answer(fake_http_last(http), 200, KEYS_A);
    assert_int_equal(source_polls(s), 3);
    assert_int_equal(source_err(s)->class, ERR_NO_MEMORY);
    serve();
    source_poll_now(s);
    pass(0);
    assert_int_equal(source_err(s)->class, ERR_NONE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        CASE(mints_a_token_then_reads_keys_and_components),
        CASE(steady_state_is_one_request_an_interval),
        CASE(components_are_asked_when_keys_change),
        CASE(keys_are_not_held_back_by_components),
        CASE(refused_token_is_minted_anew_once),
        CASE(wrong_credentials_name_the_secret),
        CASE(missing_role_comes_with_its_line),
        CASE(odd_names_do_not_break_the_line),
        CASE(realm_that_is_gone_drops_the_token),
        CASE(bad_key_answers_keep_what_was_read),
        CASE(secret_that_cannot_be_read_is_named),
        CASE(nothing_is_sent_to_another_server),
        CASE(url_with_a_user_is_refused),
        CASE(unsubscribe_ends_whatever_is_under_way),
        CASE(without_memory_each_step_fails_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
