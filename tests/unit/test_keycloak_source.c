/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "keycloak_data.h"

#define URL "https://kc.test/realms/r/protocol/openid-connect/certs"

static void jwks_is_polled_at_once_then_each_interval(void **state)
{
    (void)state;
    struct source *s = subscribe_jwks(URL, 30000);
    fake_http_on(http, URL, -1, 200, JWKS_A);
    assert_int_equal(sources_count(all, SOURCE_JWKS), 1);
    assert_null(source_reading(s));
    assert_int_equal(source_polls(s), 0);
    assert_int_equal(source_polled_ms(s), 0);
    int64_t sent_ms = loop_clock_ms();
    pass(0);
    assert_int_equal(fake_http_count(http), 1);
    const struct fake_request *r = fake_http_at(http, 0);
    assert_true(fake_header_is(r, "Accept", "application/json, application/jwk-set+json"));
    assert_int_equal(r->lane, HTTP_LANE_KEYCLOAK);
    assert_int_equal(r->timeout_ms, 10000);
    assert_int_equal(r->body_max, 1 << 20);
    assert_null(r->ca_pem);
    const struct reading *reading = source_reading(s);
    assert_int_equal(reading->number, 1);
    assert_int_equal(reading->taken_ms, sent_ms);
    assert_int_equal(reading->keys.count, 1);
    assert_string_equal(reading->keys.keys[0].key->kid, "a");
    assert_int_equal(source_err(s)->class, ERR_NONE);
    assert_int_equal(polled_count, 1);
    /* Never more than one request in an interval once it runs. */
    pass(30000);
    size_t before = fake_http_count(http);
    pass(300000);
    assert_in_range(fake_http_count(http) - before, 9, 10);
    assert_int_equal(source_polls(s), fake_http_count(http));
    assert_int_equal(source_reading(s)->number, fake_http_count(http));
}

static void readings_follow_each_other(void **state)
{
    (void)state;
    struct source *s = subscribe_jwks(URL, 1000);
    char digests[2][JOSE_HASH_TEXT];
    fake_http_on(http, URL, 1, 200, JWKS_A);
    fake_http_on(http, URL, 1, 200, JWKS_AB);
    fake_http_on(http, URL, 1, 200, JWKS_BA);
    pass(0);
    memcpy(digests[0], source_reading(s)->digest, JOSE_HASH_TEXT);
    struct jose_key *a = jose_key_ref(source_reading(s)->keys.keys[0].key);
    pass(1100);
    memcpy(digests[1], source_reading(s)->digest, JOSE_HASH_TEXT);
    assert_string_not_equal(digests[0], digests[1]);
    /* What did not change is held once. */
    assert_ptr_equal(a, source_reading(s)->keys.keys[0].key);
    pass(1100);
    assert_string_equal(digests[1], source_reading(s)->digest);
    assert_int_equal(source_reading(s)->number, 3);
    source_unsubscribe(s);
    assert_int_equal(sources_count(all, SOURCE_JWKS), 0);
    assert_string_equal(a->kid, "a");
    jose_key_unref(a);
}

static void failures_keep_the_last_reading_and_say_why(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum err_class class;
        const char *part;
    } cases[] = {
        {200, "<html>FOREIGN</html>", ERR_INVALID, "JSON"},
        {200, "{\"keys\":[{\"kid\":\"FOREIGN\",\"kty\":", ERR_INVALID, "ends early"},
        {200, "", ERR_INVALID, "empty"},
        {200, "{\"FOREIGN\":1}", ERR_INVALID, "is this the right address"},
        {200, "{\"keys\":[]}", ERR_INVALID, "no usable signing keys"},
        {200, "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"FOREIGN\",\"use\":\"sig\"}]}", ERR_INVALID,
         ""},
        {200, "{\"keys\":[{\"kid\":\"x\",\"kty\":\"EC\",\"d\":\"FOREIGN\"}]}", ERR_INVALID,
         "private key"},
        {301, "FOREIGN", ERR_INVALID, "redirect"},
        {401, "FOREIGN", ERR_INVALID, "public"},
        {403, "FOREIGN", ERR_INVALID, "public"},
        {404, "FOREIGN", ERR_NOT_FOUND, "realm does not exist"},
        {418, "FOREIGN", ERR_INVALID, "answers 418"},
        {429, "FOREIGN", ERR_TRANSIENT, "answers 429"},
        {500, "FOREIGN", ERR_TRANSIENT, "server's own log"},
    };
    struct source *s = subscribe_jwks(URL, 1000);
    fake_http_on(http, URL, 1, 200, JWKS_A);
    pass(0);
    const struct reading *good = source_reading(s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake_http_on(http, URL, 1, cases[i].status, cases[i].body);
        source_poll_now(s);
        pass(0);
        assert_sentence(s, cases[i].class, cases[i].part);
        assert_null(strstr(source_err(s)->msg, "FOREIGN"));
        assert_non_null(strstr(source_err(s)->msg, "kc.test"));
        assert_ptr_equal(source_reading(s), good);
        assert_int_equal(source_polls(s), i + 2);
        assert_int_equal(polled_count, i + 2);
    }
    fake_http_on(http, URL, 1, 200, JWKS_A);
    source_poll_now(s);
    pass(0);
    assert_int_equal(source_err(s)->class, ERR_NONE);
    assert_int_equal(source_reading(s)->number, 2);
}

static void lost_answers_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        enum err_class class;
        const char *part;
    } cases[] = {
        {ERR_DNS, "no address for kc.test:8443 (DNS)"},
        {ERR_REFUSED, "connection to kc.test:8443 refused"},
        {ERR_TLS, "spec.issuer.caBundle"},
        {ERR_TIMEOUT, "time-out"},
        {ERR_LIMIT, "larger than 1 MiB"},
        {ERR_TRANSIENT, "made to fail"},
    };
    struct source *s = subscribe_jwks("https://kc.test:8443/x?y", 1000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fake_http_on_err(http, "kc.test", 1, cases[i].class);
        source_poll_now(s);
        pass(0);
        assert_sentence(s, cases[i].class, cases[i].part);
        assert_null(source_reading(s));
    }
}

static void failures_back_off(void **state)
{
    (void)state;
    struct source *s = subscribe_jwks(URL, 2000);
    fake_http_on_err(http, URL, -1, ERR_REFUSED);
    int64_t last_ms = loop_clock_ms();
    int64_t gaps[8] = {0};
    for (size_t i = 0; i < ARRAY_LEN(gaps); last_ms = source_polled_ms(s), i++) {
        while (source_polls(s) == i)
            pass(100);
        gaps[i] = source_polled_ms(s) - last_ms;
    }
    assert_in_range(gaps[2], 4000, 4700);
    assert_in_range(gaps[3], 8000, 9100);
    assert_in_range(gaps[4], 16000, 17900);
    assert_in_range(gaps[7], 16000, 17900);
    /* With a long interval: a minute more, not eight times as long. */
    source_unsubscribe(s);
    s = subscribe_jwks(URL, 600000);
    while (source_polls(s) < 5)
        pass(1000);
    last_ms = source_polled_ms(s);
    while (source_polls(s) < 6)
        pass(1000);
    assert_in_range(source_polled_ms(s) - last_ms, 660000, 728000);
}

static void retry_after_is_kept_to(void **state)
{
    (void)state;
    struct source *s = subscribe_jwks(URL, 1000);
    fake_loop_advance(loop, 0);
    fake_answer(fake_http_last(http), 200, JWKS_A);
    fake_loop_advance(loop, 1200);
    struct http_response busy = {.status = 429, .content_type = "", .retry_after_s = 20};
    fake_answer_with(fake_http_last(http), &busy);
    assert_int_equal(source_err(s)->retry_after_s, 20);
    fake_loop_advance(loop, 19900);
    assert_int_equal(fake_http_open(http), 0);
    fake_loop_advance(loop, 2200);
    assert_int_equal(fake_http_open(http), 1);
}

static void equal_keys_share_a_source(void **state)
{
    (void)state;
    int ctx[2];
    struct source_key key = {.kind = SOURCE_JWKS, .url = URL};
    fake_http_on(http, "", -1, 200, JWKS_A);
    struct source *a = source_subscribe(all, &key, 60000, &ctx[0]);
    pass(0);
    /* The namespace of whoever asks is no part of a public address. */
    key.namespace = "other";
    struct source *b = source_subscribe(all, &key, 20000, &ctx[1]);
    assert_int_equal(sources_count(all, SOURCE_JWKS), 1);
    assert_ptr_equal(source_reading(a), source_reading(b));
    key.ca_pem = "CA";
    struct source *c = source_subscribe(all, &key, 60000, NULL);
    assert_int_equal(sources_count(all, SOURCE_JWKS), 2);
    pass(0);
    assert_string_equal(fake_http_last(http)->ca_pem, "CA");
    polled_count = 0;
    /* The shorter interval counts, for both. */
    pass(22100);
    assert_int_equal(source_polls(a), 2);
    assert_int_equal(source_polls(b), 2);
    assert_int_equal(polled_count, 2);
    source_unsubscribe(b);
    source_unsubscribe(c);
    assert_int_equal(sources_count(all, SOURCE_JWKS), 1);
    source_unsubscribe(NULL);
    source_set_interval(a, 5000);
    uint64_t polls = source_polls(a);
    pass(5600);
    assert_int_equal(source_polls(a), polls + 1);
}

static struct source *pair[2];

static void leave_both(void *ctx)
{
    (void)ctx;
    source_unsubscribe(pair[0]);
    source_unsubscribe(pair[1]);
    pair[0] = pair[1] = NULL;
}

static void subscribers_may_leave_while_told(void **state)
{
    (void)state;
    pair[0] = subscribe_jwks(URL, 1000);
    pair[1] = subscribe_jwks(URL, 1000);
    fake_http_on(http, URL, -1, 200, JWKS_A);
    polled_hook = leave_both;
    pass(0);
    assert_int_equal(polled_count, 1);
    assert_int_equal(sources_count(all, SOURCE_JWKS), 0);
    pass(10000);
    assert_int_equal(fake_http_count(http), 1);
}

static void leave_and_come_back(void *ctx)
{
    leave_both(ctx);
    polled_hook = NULL;
    pair[0] = subscribe_jwks(URL, 1000);
}

static void subscribers_may_come_back_while_told(void **state)
{
    (void)state;
    pair[0] = subscribe_jwks(URL, 1000);
    pair[1] = NULL;
    fake_http_on(http, URL, -1, 200, JWKS_A);
    polled_hook = leave_and_come_back;
    pass(0);
    assert_int_equal(sources_count(all, SOURCE_JWKS), 1);
    assert_int_equal(source_polls(pair[0]), 1);
    assert_int_equal(fake_http_count(http), 2);
}

static void last_unsubscribe_cancels(void **state)
{
    (void)state;
    struct source *s = subscribe_jwks(URL, 1000);
    fake_loop_advance(loop, 0);
    assert_int_equal(fake_http_open(http), 1);
    source_unsubscribe(s);
    assert_int_equal(fake_http_last(http)->state, FAKE_CANCELED);
    (void)subscribe_jwks(URL, 1000); /* left to sources_free */
    fake_loop_advance(loop, 0);
    assert_int_equal(fake_http_open(http), 1);
    assert_int_equal(polled_count, 0);
}

static void poll_now_waits_for_no_interval(void **state)
{
    (void)state;
    struct source *s = subscribe_jwks(URL, 60000);
    fake_loop_advance(loop, 0);
    /* One under way does not count: its answer may be older than the question. */
    source_poll_now(s);
    source_poll_now(s);
    assert_int_equal(fake_http_count(http), 1);
    fake_answer(fake_http_last(http), 200, JWKS_A);
    fake_loop_advance(loop, 0);
    assert_int_equal(fake_http_count(http), 2);
    fake_answer(fake_http_last(http), 200, JWKS_A);
    fake_loop_advance(loop, 0);
    assert_int_equal(fake_http_count(http), 2);
    source_poll_now(s);
    fake_loop_advance(loop, 0);
    assert_int_equal(fake_http_count(http), 3);
}

static void many_sources_spread(void **state)
{
    (void)state;
    char url[64];
    struct source *many[100];
    fake_http_on(http, "", -1, 200, JWKS_A);
    for (int i = 0; i < 100; i++) {
        snprintf(url, sizeof(url), "https://kc.test/%d", i);
        many[i] = subscribe_jwks(url, 30000);
    }
    pass(0);
    assert_int_equal(fake_http_count(http), 100);
    int worst = 0;
    for (int s = 0; s < 120; s++) {
        size_t before = fake_http_count(http);
        pass(1000);
        if ((int)(fake_http_count(http) - before) > worst)
            worst = (int)(fake_http_count(http) - before);
    }
    assert_true(worst < 25);
    for (int i = 0; i < 100; i++)
        assert_in_range(source_polls(many[i]), 4, 6);
}

static void discovery_is_hourly_once_it_is_good(void **state)
{
    (void)state;
    struct source_key key = {.kind = SOURCE_DISCOVERY, .url = "https://id.test/realms/r/"};
    struct source *s = source_subscribe(all, &key, 10000, NULL);
    fake_http_on(http, "", 1, 200, "{\"issuer\":\"https://id.test/realms/r\"}");
    fake_http_on(http, "", -1, 200, DISCOVERY);
    pass(0);
    assert_sentence(s, ERR_INVALID, "jwks_uri");
    assert_string_equal(fake_http_last(http)->url,
                        "https://id.test/realms/r/.well-known/openid-configuration");
    pass(11100);
    assert_int_equal(source_err(s)->class, ERR_NONE);
    assert_string_equal(source_reading(s)->issuer, "https://id.test/realms/r");
    size_t before = fake_http_count(http);
    pass(3500000);
    assert_int_equal(fake_http_count(http), before);
    pass(500000);
    assert_int_equal(fake_http_count(http), before + 1);
    assert_int_equal(source_reading(s)->number, 2);
}

static void without_memory_polls_fail_and_go_on(void **state)
{
    (void)state;
    struct source *s = subscribe_jwks(URL, 1000);
    fake_http_on(http, URL, -1, 200, JWKS_A);
    fake_http_no_memory(http, 1);
    pass(0);
    assert_int_equal(source_err(s)->class, ERR_NO_MEMORY);
    pass(2000);
    assert_int_equal(source_err(s)->class, ERR_NONE);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        CASE(jwks_is_polled_at_once_then_each_interval),
        CASE(readings_follow_each_other),
        CASE(failures_keep_the_last_reading_and_say_why),
        CASE(lost_answers_are_told_apart),
        CASE(failures_back_off),
        CASE(retry_after_is_kept_to),
        CASE(equal_keys_share_a_source),
        CASE(subscribers_may_leave_while_told),
        CASE(subscribers_may_come_back_while_told),
        CASE(last_unsubscribe_cancels),
        CASE(poll_now_waits_for_no_interval),
        CASE(many_sources_spread),
        CASE(discovery_is_hourly_once_it_is_good),
        CASE(without_memory_polls_fail_and_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
