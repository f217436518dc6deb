/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "keycloak_writes.h"

static uint64_t seen_number[2];
static int64_t seen_taken_ms[2];
static struct source *pair[2];

static void remember(void *ctx)
{
    size_t i = *(const size_t *)ctx;
    if (pair[i] == NULL)
        return;
    seen_number[i] = source_written(pair[i])->number;
    const struct reading *r = source_reading(pair[i]);
    seen_taken_ms[i] = r != NULL ? r->taken_ms : 0;
}

static void subscribe_pair(void)
{
    static size_t numbers[2] = {0, 1};
    struct source_key key = {.kind = SOURCE_ADMIN,
                             .url = "https://kc.test/auth",
                             .realm = "r",
                             .namespace = "ns",
                             .secret = "creds"};
    for (size_t i = 0; i < 2; i++) {
        pair[i] = source_subscribe(all, &key, 30000, &numbers[i]);
        seen_number[i] = 0;
        seen_taken_ms[i] = 0;
    }
    serve();
    pass(0);
    polled_hook = remember;
}

static void everybody_is_told_with_the_reading(void **state)
{
    (void)state;
    subscribe_pair();
    struct source_write w = a_write(CHANGE_DISABLE);
    fake_http_on(http, PUT_PATH, 1, 204, "");
    assert_int_equal(source_write(pair[0], &w), 0);
    /* One at a time, whoever wants it. */
    assert_int_equal(source_write(pair[1], &w), -1);
    assert_true(source_writing(pair[1]));
    fake_loop_freeze(500);
    pass(100);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(seen_number[i], 1);
        assert_int_equal(seen_taken_ms[i], source_written(pair[0])->ended_ms);
    }
    fake_http_on(http, PUT_PATH, 1, 204, "");
    assert_int_equal(source_write(pair[1], &w), 0);
    fake_loop_advance(loop, 0);
    assert_int_equal(source_write(pair[0], &w), -1); /* under way */
    pass(100);
    assert_int_equal(seen_number[0], 2);
}

static void who_leaves_takes_the_waiting_write_along(void **state)
{
    (void)state;
    subscribe_pair();
    struct source_write w = a_write(CHANGE_DISABLE);
    assert_int_equal(source_write(pair[0], &w), 0);
    source_unsubscribe(pair[0]);
    pair[0] = NULL;
    pass(100);
    assert_int_equal(fake_http_seen(http, "PUT"), 0);
    assert_int_equal(asked, 0);
    assert_written(pair[1], 1, ERR_NONE, "");
    assert_true(source_written(pair[1])->held_back);
    assert_int_equal(source_polls(pair[1]), 2);
}

static void who_leaves_while_a_token_comes_sends_nothing(void **state)
{
    (void)state;
    subscribe_pair();
    struct source_write w = a_write(CHANGE_DISABLE);
    vault.hold = true;
    source_mint(pair[1]);
    assert_int_equal(source_write(pair[0], &w), 0);
    fake_loop_advance(loop, 0); /* credentials are asked for */
    source_unsubscribe(pair[0]);
    pair[0] = NULL;
    assert_true(source_written(pair[1])->held_back);
    vault_answer(NULL);
    pass(100);
    assert_int_equal(fake_http_seen(http, "PUT"), 0);
    assert_int_equal(source_err(pair[1])->class, ERR_NONE);
}

static void who_leaves_a_sent_write_is_not_asked_again(void **state)
{
    (void)state;
    subscribe_pair();
    struct source_write w = a_write(CHANGE_DISABLE);
    assert_int_equal(source_write(pair[0], &w), 0);
    pass(0);
    source_unsubscribe(pair[0]);
    pair[0] = NULL;
    fake_answer(fake_http_last(http), 401, "");
    pass(100);
    assert_int_equal(asked, 1);
    assert_int_equal(fake_http_seen(http, "PUT"), 1);
    assert_true(source_written(pair[1])->held_back);
    assert_int_equal(source_err(pair[1])->class, ERR_NONE);
}

static void last_one_ends_it(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_DISABLE);
    assert_int_equal(source_write(s, &w), 0);
    pass(0);
    assert_int_equal(fake_http_open(http), 1);
    source_unsubscribe(s);
    assert_int_equal(fake_http_open(http), 0);
    /* One that waits goes with all of them. */
    s = begin();
    assert_int_equal(source_write(s, &w), 0);
    sources_free(all);
    struct sources_options options = {.port = fake_http_port(http), .loop = loop};
    all = sources_new(&options);
    assert_int_equal(fake_http_seen(http, "PUT"), 1);
}

static void incomplete_writes_are_refused(void **state)
{
    (void)state;
    struct source *s = begin();
    static char long_id[65];
    memset(long_id, 'x', sizeof(long_id) - 1);
    struct source_write bad[] = {
        a_write(CHANGE_NONE),    a_write(CHANGE_PROMOTE), a_write(CHANGE_PROMOTE),
        a_write(CHANGE_PROMOTE), a_write(CHANGE_CREATE),  a_write(CHANGE_DELETE),
        a_write(CHANGE_DELETE),  a_write(CHANGE_DEMOTE),
    };
    bad[1].provider = "";
    bad[2].provider = NULL;
    bad[3].algorithm = "HS512";
    bad[4].name = NULL;
    bad[5].component = "";
    bad[6].component = long_id;
    bad[7].allowed = NULL;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(source_write(s, &bad[i]), -1);
    struct source_write good = a_write(CHANGE_PROMOTE);
    struct source *jwks = subscribe_jwks("https://kc.test/certs", 1000);
    assert_int_equal(source_write(jwks, &good), -1);
    assert_false(source_writing(jwks));
    assert_int_equal(source_written(jwks)->number, 0);
    assert_int_equal(source_minted(jwks)->asked_ms, 0);
    assert_false(source_lifespan(jwks)->known);
    assert_int_equal(source_components_err(jwks)->class, ERR_NONE);
    source_mint(jwks);
    source_want_lifespan(jwks, true);
    source_unsubscribe(jwks);
}

static void without_a_token_nothing_is_sent(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_PROMOTE);
    fake_http_forget(http);
    fake_http_on(http, TOKEN_PATH, -1, 401, "{\"error\":\"invalid_client\"}");
    source_mint(s);
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_written(s, 1, ERR_AUTH, "refuses the client (401, invalid_client)");
    assert_false(source_written(s)->unknown);
    assert_false(source_written(s)->held_back);
    assert_int_equal(fake_http_seen(http, "PUT"), 0);
    assert_int_equal(asked, 0);
    assert_int_equal(source_err(s)->class, ERR_AUTH);
    /* After a 401 too. */
    fake_http_forget(http);
    serve();
    source_poll_now(s);
    pass(100);
    assert_int_equal(source_write(s, &w), 0);
    pass(0);
    vault.url = "https://elsewhere.test";
    fake_answer(fake_http_last(http), 401, "");
    pass(100);
    assert_written(s, 2, ERR_INVALID, "must equal spec.keycloak.url");
}

static void promotion_without_a_second_token_is_told(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_PROMOTE);
    fake_http_forget(http);
    fake_http_on(http, PUT_PATH, -1, 204, "");
    fake_http_on(http, TOKEN_PATH, -1, 500, "");
    assert_int_equal(source_write(s, &w), 0);
    pass(100);
    assert_written(s, 1, ERR_NONE, "");
    assert_int_equal(source_err(s)->class, ERR_TRANSIENT);
    assert_int_equal(source_polls(s), 2);
}

static void without_memory_nothing_is_sent(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_DISABLE);
    assert_int_equal(source_write(s, &w), 0);
    fake_http_no_memory(http, 1);
    pass(100);
    assert_written(s, 1, ERR_NO_MEMORY, "nothing was sent");
    assert_false(source_written(s)->unknown);
    assert_int_equal(source_err(s)->class, ERR_NONE);
    assert_int_equal(fake_http_seen(http, "PUT"), 0);
}

static void a_write_joins_the_poll_that_begins(void **state)
{
    (void)state;
    struct source *s = begin();
    struct source_write w = a_write(CHANGE_DISABLE);
    fake_http_forget(http);
    source_poll_now(s);
    pass(0);
    size_t before = fake_http_count(http);
    assert_int_equal(source_write(s, &w), 0); /* while keys are asked */
    fake_http_on(http, PUT_PATH, -1, 204, "");
    serve();
    fake_answer(fake_http_last(http), 503, "");
    assert_int_equal(source_written(s)->number, 0);
    pass(100);
    assert_requests(before, (const char *[]){PUT_PATH, KEYS_PATH, COMPONENTS_PATH}, 3);
    assert_written(s, 1, ERR_NONE, "");
}

static void headers_of_tokens_are_shown(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "t0ken",
        "a.b",
        "....",
        "!!.eyJzdWIiOiJ4In0.c2ln",
        "W10.eyJzdWIiOiJ4In0.c2ln",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",       /* no kid */
        "eyJhbGciOjcsImtpZCI6ImEifQ.eyJzdWIiOiJ4In0.c2ln", /* alg is a number */
    };
    struct source *s = subscribe_admin("r");
    assert_int_equal(source_minted(s)->asked_ms, 0);
    serve();
    int64_t sent_ms = loop_clock_ms();
    pass(0);
    assert_string_equal(source_minted(s)->kid, "k-1");
    assert_string_equal(source_minted(s)->alg, "RS256");
    assert_int_equal(source_minted(s)->asked_ms, sent_ms);
    /* On request, although the one that is there would do. */
    fake_http_forget(http);
    fake_http_on(http, TOKEN_PATH, 1, 200, TOKEN_OF(JWS_2));
    serve();
    fake_loop_freeze(1000);
    source_mint(s);
    pass(0);
    assert_string_equal(source_minted(s)->kid, "k-2");
    assert_string_equal(source_minted(s)->alg, "ES256");
    assert_int_equal(source_minted(s)->asked_ms, sent_ms + 1000);
    source_poll_now(s);
    pass(0);
    assert_int_equal(fake_http_seen(http, TOKEN_PATH), 2);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        char body[200];
        snprintf(body, sizeof(body), "{\"access_token\":\"%s\",\"expires_in\":300}", odd[i]);
        fake_http_forget(http);
        fake_http_on(http, TOKEN_PATH, 1, 200, body);
        serve();
        source_mint(s);
        pass(0);
        assert_string_equal(source_minted(s)->kid, "");
        assert_string_equal(source_minted(s)->alg, "");
        assert_int_equal(source_err(s)->class, ERR_NONE); /* it serves all the same */
    }
}

#define CLAIMS                                                                              \
    "[{\"id\":\"c-1\",\"name\":\"keyturn-00000000-1\",\"providerId\":\"ecdsa-generated\"}," \
    "{\"id\":\"c-7\",\"name\":\"keyturn-99999999-4\",\"providerId\":\"rsa\"}]"

static void claims_are_known_with_their_keys_only(void **state)
{
    (void)state;
    struct source *s = subscribe_admin("r");
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN);
    fake_http_on(http, KEYS_PATH, 2, 200, KEYS_A);
    fake_http_on(http, KEYS_PATH, -1, 200, KEYS_AB);
    fake_http_on(http, COMPONENTS_PATH, 1, 200, CLAIMS);
    fake_http_on(http, COMPONENTS_PATH, 1, 500, "FOREIGN");
    fake_http_on(http, COMPONENTS_PATH, 1, 403, "FOREIGN");
    fake_http_on(http, COMPONENTS_PATH, 1, 200, "FOREIGN");
    fake_http_on(http, COMPONENTS_PATH, -1, 200, "[]");
    static const char *const why[] = {"", "", "answers 500", "--rolename view-realm", "JSON", ""};
    char digest[JOSE_HASH_TEXT] = "";
    for (size_t i = 0; i < ARRAY_LEN(why); i++) {
        bool known = why[i][0] == '\0';
        source_poll_now(s);
        pass(0);
        assert_int_equal(source_err(s)->class, ERR_NONE);
        const struct realm_keys *keys = &source_reading(s)->keys;
        assert_int_equal(keys->claims_known, known);
        assert_int_equal(keys->claims_count, i < 5 ? 2 : 0);
        assert_int_equal(source_components_err(s)->class == ERR_NONE, known);
        if (!known)
            assert_non_null(strstr(source_components_err(s)->msg, why[i]));
        assert_null(strstr(source_components_err(s)->msg, "FOREIGN"));
        /* Nothing new is told as nothing new. */
        assert_int_equal(strcmp(digest, source_reading(s)->digest) == 0,
                         i == 1 || i == 3 || i == 4);
        memcpy(digest, source_reading(s)->digest, sizeof(digest));
        if (i < 5)
            assert_string_equal(keys->claims[1].name, "keyturn-99999999-4");
    }
    assert_int_equal(fake_http_seen(http, COMPONENTS_PATH), 5);
}

static void another_priority_is_news(void **state)
{
    (void)state;
    struct source *s = begin();
    char digest[JOSE_HASH_TEXT];
    char body[1024];
    memcpy(digest, source_reading(s)->digest, sizeof(digest));
    assert_int_equal(source_reading(s)->keys.keys[0].priority, 100);
    snprintf(body, sizeof(body), "%s", KEYS_A);
    strstr(body, ":100,")[3] = '1';
    fake_http_forget(http);
    fake_http_on(http, KEYS_PATH, 1, 200, body);
    serve();
    source_poll_now(s);
    pass(0);
    assert_int_equal(source_reading(s)->keys.keys[0].priority, 101);
    assert_string_not_equal(digest, source_reading(s)->digest);
    assert_int_equal(fake_http_seen(http, COMPONENTS_PATH), 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        CASE(everybody_is_told_with_the_reading),
        CASE(who_leaves_takes_the_waiting_write_along),
        CASE(who_leaves_while_a_token_comes_sends_nothing),
        CASE(who_leaves_a_sent_write_is_not_asked_again),
        CASE(last_one_ends_it),
        CASE(incomplete_writes_are_refused),
        CASE(without_a_token_nothing_is_sent),
        CASE(promotion_without_a_second_token_is_told),
        CASE(without_memory_nothing_is_sent),
        CASE(a_write_joins_the_poll_that_begins),
        CASE(headers_of_tokens_are_shown),
        CASE(claims_are_known_with_their_keys_only),
        CASE(another_priority_is_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
