/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "../lib/fake_http.h"
#include "../lib/fake_loop.h"
#include "controller/telemetry.h"

static struct loop *loop;
static struct fake_http *http;
static struct sources *all;
static struct controller_telemetry *t;

static void no_poll(void *ctx, void *subscriber)
{
    (void)ctx, (void)subscriber;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    http = fake_http_new();
    struct sources_options options = {
        .port = fake_http_port(http), .loop = loop, .polled = no_poll};
    all = sources_new(&options);
    t = controller_telemetry_new();
    return all != NULL && t != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    controller_telemetry_free(t);
    sources_free(all);
    fake_http_free(http);
    loop_free(loop);
    return 0;
}

static struct source *follow(const char *url)
{
    struct source_key key = {.kind = SOURCE_JWKS, .url = url};
    struct source *s = source_subscribe(all, &key, 1000, NULL);
    assert_non_null(s);
    return s;
}

static void asked(const char *host, enum http_lane lane)
{
    controller_telemetry_request(t, host, lane, 200, 5);
}

static bool shown(const char *part)
{
    struct buf cleanup_buf page = {0};
    telemetry_render(t, &page);
    return strstr(buf_text(&page), part) != NULL;
}

static void hosts_go_with_their_last_source(void **state)
{
    (void)state;
    struct source *one = follow("https://a.test/keys"), *two = follow("https://a.test:443/others");
    struct source *other = follow("http://[::1]:8080/keys");
    asked("a.test:443", HTTP_LANE_KEYCLOAK);
    asked("[::1]:8080", HTTP_LANE_KEYCLOAK);
    asked("gone.test:443", HTTP_LANE_KEYCLOAK);
    telemetry_forget_hosts(t, all);
    assert_true(shown("keyturn_http_requests_total{host=\"a.test:443\",lane=\"keycloak\""));
    assert_true(shown("keyturn_http_request_seconds_count{host=\"a.test:443\""));
    assert_true(shown("host=\"[::1]:8080\""));
    assert_false(shown("gone.test"));
    source_unsubscribe(one);
    telemetry_forget_hosts(t, all);
    assert_true(shown("a.test"));
    source_unsubscribe(two);
    telemetry_forget_hosts(t, all);
    assert_false(shown("a.test"));
    assert_true(shown("host=\"[::1]:8080\""));
    source_unsubscribe(other);
    telemetry_forget_hosts(t, all);
    assert_false(shown("::1"));
    asked("a.test:443", HTTP_LANE_KEYCLOAK); /* comes back, and can go again */
    assert_true(shown("a.test"));
    telemetry_forget_hosts(t, all);
    assert_false(shown("a.test"));
}

/* A KeyRotation that names the API server as its Keycloak takes only its own numbers away. */
static void other_lanes_stay(void **state)
{
    (void)state;
    asked("api.test:443", HTTP_LANE_API);
    asked("api.test:443", HTTP_LANE_KEYCLOAK);
    telemetry_forget_hosts(t, all);
    assert_true(shown("host=\"api.test:443\",lane=\"api\""));
    assert_false(shown("host=\"api.test:443\",lane=\"keycloak\""));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(hosts_go_with_their_last_source),
        CASE(other_lanes_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
