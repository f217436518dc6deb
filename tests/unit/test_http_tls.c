/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS through the HTTP port: who is believed, who we say we are, and which connections are shared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <signal.h>
#include "../lib/http_client.h"
#include "../lib/tiny_server.h"
#include "base/attr.h"

struct rig {
    struct loop *loop;
    struct http_port *http;
    struct tiny_server *server;
    struct tiny_cert ca;
    struct tiny_cert other_ca;
    struct tiny_cert server_cert;
    struct tiny_cert client_cert;
    char url[128];
};

static int setup_with(void **state, bool ask_client)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    signal(SIGPIPE, SIG_IGN);
    rig->ca = tiny_cert_make(NULL, "test CA", NULL);
    rig->other_ca = tiny_cert_make(NULL, "other CA", NULL);
    rig->server_cert = tiny_cert_make(&rig->ca, "server", "IP:127.0.0.1,DNS:api.internal.test");
    rig->client_cert = tiny_cert_make(&rig->ca, "client", NULL);
    rig->loop = loop_new(NULL);
    rig->http = http_curl_new(rig->loop, NULL, NULL);
    assert_non_null(rig->http);
    rig->server = tiny_server_start(&rig->server_cert, ask_client ? rig->ca.cert_pem : NULL);
    *state = rig;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_client(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    http_curl_free(rig->http);
    loop_free(rig->loop);
    tiny_server_stop(rig->server);
    struct tiny_cert *const certs[] = {&rig->ca, &rig->other_ca, &rig->server_cert,
                                       &rig->client_cert};
    for (size_t i = 0; i < ARRAY_LEN(certs); i++)
        tiny_cert_free(certs[i]);
    free(rig);
    return 0;
}

static void get(struct rig *rig, struct fetch *f, const char *path, const struct http_tls *tls)
{
    snprintf(rig->url, sizeof(rig->url), "https://127.0.0.1:%d%s", tiny_server_port(rig->server),
             path);
    struct http_request request = {
        .method = "GET", .url = rig->url, .timeout_ms = 5000, .tls = tls};
    fetch_start(f, rig->http, rig->loop, &request);
    fetch_wait(f);
}

static void expect_ok(struct rig *rig, const char *path, const struct http_tls *tls,
                      const char *want)
{
    struct fetch f = {0};
    get(rig, &f, path, tls);
    assert_string_equal(f.err.msg, "");
    assert_int_equal(f.status, 200);
    assert_non_null(strstr(buf_text(&f.body), want));
    fetch_release(&f);
}

static void expect_tls_error(struct rig *rig, const struct http_tls *tls, const char *words)
{
    struct fetch f = {0};
    get(rig, &f, "/ok", tls);
    assert_int_equal(f.status, 0);
    assert_int_equal(f.err.class, ERR_TLS);
    assert_non_null(strstr(f.err.msg, words));
    assert_non_null(strstr(f.err.msg, "GET to 127.0.0.1:"));
    fetch_release(&f);
}

static void test_right_ca(void **state)
{
    struct rig *rig = *state;
    const struct http_tls tls = {.ca_pem = rig->ca.cert_pem};
    expect_ok(rig, "/ok", &tls, "hello");
}

static void test_wrong_ca(void **state)
{
    struct rig *rig = *state;
    const struct http_tls other = {.ca_pem = rig->other_ca.cert_pem};
    expect_tls_error(rig, &other, "certificate problem");
    expect_tls_error(rig, NULL, "certificate problem"); /* the system's bundle */
    const struct http_tls nonsense = {.ca_pem = "not a certificate"};
    struct fetch f = {0};
    get(rig, &f, "/ok", &nonsense);
    assert_int_equal(f.err.class, ERR_TLS);
    fetch_release(&f);
    assert_int_equal(tiny_server_requests(rig->server), 0);
}

static void test_bundle_of_two(void **state)
{
    struct rig *rig = *state;
    struct buf cleanup_buf bundle = {0};
    buf_append_text(&bundle, rig->other_ca.cert_pem);
    buf_append_text(&bundle, rig->ca.cert_pem);
    const struct http_tls tls = {.ca_pem = buf_text(&bundle)};
    expect_ok(rig, "/ok", &tls, "hello");
}

static void test_name_is_verified(void **state)
{
    struct rig *rig = *state;
    const struct http_tls wrong = {.ca_pem = rig->ca.cert_pem, .server_name = "evil.test"};
    expect_tls_error(rig, &wrong, "evil.test");
}

/* The name to verify is not the URL's host: TLS sees the one, HTTP the other. */
static void test_server_name(void **state)
{
    struct rig *rig = *state;
    char host[64];
    snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%d\r\n", tiny_server_port(rig->server));
    const struct http_tls tls = {.ca_pem = rig->ca.cert_pem, .server_name = "api.internal.test"};
    expect_ok(rig, "/echo?a=b", &tls, host);
    expect_ok(rig, "/echo?a=b", &tls, "GET /echo?a=b HTTP/1.1");
}

static void test_insecure(void **state)
{
    struct rig *rig = *state;
    const struct http_tls tls = {.insecure = true};
    expect_ok(rig, "/ok", &tls, "hello");
}

/* Rotated or different material never rides on a connection that was made with another. */
static void test_connections_do_not_cross(void **state)
{
    struct rig *rig = *state;
    const struct http_tls good = {.ca_pem = rig->ca.cert_pem};
    const struct http_tls other = {.ca_pem = rig->other_ca.cert_pem};
    const struct http_tls insecure = {.insecure = true};
    const struct http_tls named = {.ca_pem = rig->ca.cert_pem, .server_name = "evil.test"};
    const struct http_tls client = {.ca_pem = rig->ca.cert_pem,
                                    .cert_pem = rig->client_cert.cert_pem,
                                    .key_pem = rig->client_cert.key_pem};
    expect_ok(rig, "/conn", &insecure, "0");
    expect_tls_error(rig, NULL, "certificate problem");
    expect_tls_error(rig, &other, "certificate problem");
    int after_failures = tiny_server_connections(rig->server);
    expect_ok(rig, "/ok", &good, "hello");
    assert_int_equal(tiny_server_connections(rig->server), after_failures + 1);
    expect_ok(rig, "/ok", &good, "hello"); /* the same content: shared */
    assert_int_equal(tiny_server_connections(rig->server), after_failures + 1);
    expect_ok(rig, "/ok", &client, "hello");
    assert_int_equal(tiny_server_connections(rig->server), after_failures + 2);
    expect_tls_error(rig, &other, "certificate problem");
    expect_tls_error(rig, &named, "evil.test");
}

static void test_client_certificate(void **state)
{
    struct rig *rig = *state;
    /* First, because libcurl tells connections apart by the certificate, not by its key. */
    const struct http_tls broken = {.ca_pem = rig->ca.cert_pem,
                                    .cert_pem = rig->client_cert.cert_pem,
                                    .key_pem = rig->other_ca.key_pem};
    expect_tls_error(rig, &broken, "key");
    const struct http_tls with = {.ca_pem = rig->ca.cert_pem,
                                  .cert_pem = rig->client_cert.cert_pem,
                                  .key_pem = rig->client_cert.key_pem};
    expect_ok(rig, "/ok", &with, "hello");
    const struct http_tls without = {.ca_pem = rig->ca.cert_pem};
    struct fetch f = {0};
    get(rig, &f, "/ok", &without);
    assert_int_equal(f.status, 0);
    /* TLS 1.3: the server's alert, unless its closing the connection was faster. */
    if (f.err.class != ERR_TRANSIENT)
        assert_int_equal(f.err.class, ERR_TLS);
    fetch_release(&f);
}

/* Texts are copied at submit: the caller may wipe its own at once. */
static void test_material_is_copied(void **state)
{
    struct rig *rig = *state;
    char *ca = strdup(rig->ca.cert_pem);
    char *cert = strdup(rig->client_cert.cert_pem);
    char *key = strdup(rig->client_cert.key_pem);
    struct http_tls tls = {.ca_pem = ca, .cert_pem = cert, .key_pem = key};
    struct fetch f = {0};
    snprintf(rig->url, sizeof(rig->url), "https://127.0.0.1:%d/ok", tiny_server_port(rig->server));
    struct http_request request = {.method = "GET", .url = rig->url, .tls = &tls};
    fetch_start(&f, rig->http, rig->loop, &request);
    memset(&tls, 0, sizeof(tls));
    memset(rig->url, 0, sizeof(rig->url));
    free(ca);
    free(cert);
    free(key);
    fetch_wait(&f);
    assert_int_equal(f.status, 200);
    fetch_release(&f);
}

/* Plain HTTP where TLS is expected, and the other way round. */
static void test_plain_and_tls_confused(void **state)
{
    struct rig *rig = *state;
    struct tiny_server *plain = tiny_server_start(NULL, NULL);
    const struct http_tls insecure = {.insecure = true};
    struct fetch f = {0};
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", tiny_server_port(rig->server));
    struct http_request request = {.method = "GET", .url = url, .timeout_ms = 3000};
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 0);
    assert_int_not_equal(f.err.class, ERR_NONE);
    fetch_release(&f);
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/ok", tiny_server_port(plain));
    request.tls = &insecure;
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.status, 0);
    assert_int_not_equal(f.err.class, ERR_NONE);
    fetch_release(&f);
    tiny_server_stop(plain);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_right_ca),
        TEST(test_wrong_ca),
        TEST(test_bundle_of_two),
        TEST(test_name_is_verified),
        TEST(test_server_name),
        TEST(test_insecure),
        TEST(test_connections_do_not_cross),
        cmocka_unit_test_setup_teardown(test_client_certificate, setup_client, teardown),
        cmocka_unit_test_setup_teardown(test_material_is_copied, setup_client, teardown),
        TEST(test_plain_and_tls_confused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
