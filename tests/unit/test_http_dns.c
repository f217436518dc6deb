/* SPDX-License-Identifier: Apache-2.0
 *
 * Names: the resolver and the HTTP port against a DNS server of our own that answers, denies or is
 * silent. libcurl's own resolver would know none of these names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../lib/http_client.h"
#include "../lib/tiny_server.h"
#include "base/attr.h"
#include "io/resolve.h"

/* --- a DNS server: "known..." is 127.0.0.1 (two addresses for "knowntwo..."), "dead..." is refused
 * by the server, the rest does not exist. --- */

struct dns {
    int fd;
    int port;
    pthread_t thread;
    atomic_bool silent;
    atomic_int questions;
};

static size_t put_address(unsigned char *at, const char *address)
{
    static const unsigned char head[] = {0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
    memcpy(at, head, sizeof(head));
    assert_int_equal(inet_pton(AF_INET, address, at + sizeof(head)), 1);
    return sizeof(head) + 4;
}

/* Turns the question in packet into its answer. Names are one length byte and the label. */
static size_t dns_answer(unsigned char *packet, size_t len)
{
    const char *name = (const char *)packet + 13;
    size_t end = 12;
    while (end < len && packet[end] != 0)
        end += packet[end] + 1U;
    bool is_a = packet[end + 2] == 1;
    size_t out = end + 5;
    packet[2] = 0x81;
    packet[3] = 0x80;
    packet[11] = 0; /* no EDNS record back */
    if (strncmp(name, "dead", 4) == 0) {
        packet[3] = 0x82; /* SERVFAIL */
    } else if (strncmp(name, "known", 5) != 0) {
        packet[3] = 0x83; /* NXDOMAIN */
    } else if (is_a) {
        bool two = strncmp(name, "knowntwo", 8) == 0;
        if (two) /* nobody listens there */
            out += put_address(packet + out, "127.0.0.77");
        out += put_address(packet + out, "127.0.0.1");
        packet[7] = two ? 2 : 1;
    }
    return out;
}

static void *dns_main(void *ctx)
{
    struct dns *dns = ctx;
    unsigned char packet[1024];
    struct sockaddr_in from;
    for (;;) {
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(dns->fd, packet, 512, 0, (struct sockaddr *)&from, &from_len);
        if (n < 17) /* the test's farewell */
            return NULL;
        atomic_fetch_add(&dns->questions, 1);
        if (atomic_load(&dns->silent))
            continue;
        size_t len = dns_answer(packet, (size_t)n);
        sendto(dns->fd, packet, len, 0, (struct sockaddr *)&from, from_len);
    }
}

static void dns_start(struct dns *dns)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    dns->fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(dns->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(dns->fd, (struct sockaddr *)&address, &len), 0);
    dns->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&dns->thread, NULL, dns_main, dns), 0);
}

static void dns_stop(struct dns *dns)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)dns->port)};
    sendto(dns->fd, "", 1, 0, (struct sockaddr *)&address, sizeof(address));
    pthread_join(dns->thread, NULL);
    close(dns->fd);
}

/* --- rig --- */

struct rig {
    struct loop *loop;
    struct http_port *http;
    struct tiny_server *server;
    struct dns dns;
    char servers[64];
    char url[128];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    signal(SIGPIPE, SIG_IGN);
    dns_start(&rig->dns);
    snprintf(rig->servers, sizeof(rig->servers), "127.0.0.1:%d", rig->dns.port);
    rig->loop = loop_new(NULL);
    const struct http_curl_options options = {.dns_servers = rig->servers,
                                              .resolve_timeout_ms = 300};
    rig->http = http_curl_new(rig->loop, &options, NULL);
    assert_non_null(rig->http);
    rig->server = tiny_server_start(NULL, NULL);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    http_curl_free(rig->http);
    loop_free(rig->loop);
    tiny_server_stop(rig->server);
    dns_stop(&rig->dns);
    free(rig);
    return 0;
}

static void start(struct rig *rig, struct fetch *f, const char *host)
{
    snprintf(rig->url, sizeof(rig->url), "http://%s:%d/echo?q=1", host,
             tiny_server_port(rig->server));
    struct http_request request = {.method = "GET", .url = rig->url, .timeout_ms = 4000};
    fetch_start(f, rig->http, rig->loop, &request);
}

static void expect_ok(struct rig *rig, const char *host)
{
    struct fetch f = {0};
    char line[128];
    start(rig, &f, host);
    fetch_wait(&f);
    assert_string_equal(f.err.msg, "");
    assert_int_equal(f.status, 200);
    snprintf(line, sizeof(line), "\r\nHost: %s:%d\r\n", host, tiny_server_port(rig->server));
    assert_non_null(strstr(buf_text(&f.body), line));
    fetch_release(&f);
}

static void expect_dns_error(struct rig *rig, const char *host, const char *words)
{
    struct fetch f = {0};
    start(rig, &f, host);
    fetch_wait(&f);
    assert_int_equal(f.status, 0);
    assert_int_equal(f.err.class, ERR_DNS);
    assert_non_null(strstr(f.err.msg, words));
    assert_non_null(strstr(f.err.msg, host));
    assert_null(strstr(f.err.msg, "q=1"));
    fetch_release(&f);
}

static void test_known_name(void **state)
{
    struct rig *rig = *state;
    expect_ok(rig, "known.example.test");
    int questions = atomic_load(&rig->dns.questions);
    assert_true(questions >= 1);
    expect_ok(rig, "known.example.test"); /* kept */
    assert_int_equal(atomic_load(&rig->dns.questions), questions);
    assert_int_equal(tiny_server_connections(rig->server), 1);
}

static void test_dead_address_is_passed_over(void **state)
{
    struct rig *rig = *state;
    expect_ok(rig, "knowntwo.example.test");
}

static void test_unknown_name(void **state)
{
    struct rig *rig = *state;
    expect_dns_error(rig, "missing.example.test", "no address for host");
    expect_dns_error(rig, "dead.example.test", "look-up of host");
}

static void test_silent_server(void **state)
{
    struct rig *rig = *state;
    atomic_store(&rig->dns.silent, true);
    int64_t start_ms = loop_clock_ms();
    expect_dns_error(rig, "known.slow.test", "no answer within 300 ms");
    assert_in_range(loop_clock_ms() - start_ms, 299, 3000);
    /* A look-up that hangs delays nobody else, and the loop goes on meanwhile. */
    struct fetch slow = {0};
    struct fetch fast = {0};
    start(rig, &slow, "known.slow.test");
    start(rig, &fast, "127.0.0.1");
    fetch_wait(&fast);
    assert_int_equal(fast.status, 200);
    assert_false(slow.done);
    http_cancel(rig->http, slow.call);
    run_for(rig->loop, 400);
    assert_false(slow.done);
    fetch_release(&fast);
    fetch_release(&slow);
}

/* The request's own deadline also covers the look-up. */
static void test_deadline_while_looking_up(void **state)
{
    struct rig *rig = *state;
    atomic_store(&rig->dns.silent, true);
    struct fetch f = {0};
    struct http_request request = {
        .method = "GET", .url = "http://known.slow.test/", .timeout_ms = 100};
    fetch_start(&f, rig->http, rig->loop, &request);
    fetch_wait(&f);
    assert_int_equal(f.err.class, ERR_DNS);
    assert_non_null(strstr(f.err.msg, "100 ms"));
    fetch_release(&f);
}

static void test_localhost_asks_nobody(void **state)
{
    struct rig *rig = *state;
    atomic_store(&rig->dns.silent, true);
    expect_ok(rig, "localhost");
    expect_ok(rig, "127.0.0.1");
    assert_int_equal(atomic_load(&rig->dns.questions), 0);
}

/* --- the resolver alone --- */

struct answer {
    struct loop *loop;
    bool done;
    char addresses[256];
    struct err err;
};

static void on_answer(void *ctx, const char *addresses, const struct err *err)
{
    struct answer *a = ctx;
    a->done = true;
    a->err = *err;
    snprintf(a->addresses, sizeof(a->addresses), "%s", addresses == NULL ? "" : addresses);
    loop_stop(a->loop);
}

static void ask(struct resolver *r, struct answer *a, const char *name)
{
    assert_non_null(resolve_start(r, name, on_answer, a));
    assert_false(a->done); /* never from inside */
    while (!a->done)
        loop_run(a->loop);
}

/* A name of this machine's /etc/hosts with its address; localhost where there is no other. */
static void name_of_hosts_file(char *name, char *address)
{
    char line[512];
    snprintf(name, 256, "localhost");
    address[0] = '\0';
    FILE *file = fopen("/etc/hosts", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        char a[256];
        char n[256];
        if (sscanf(line, "%255s %255s", a, n) == 2 && strchr(a, '.') != NULL && a[0] != '#' &&
            strstr(n, "localhost") == NULL) {
            memcpy(name, n, sizeof(n));
            memcpy(address, a, sizeof(a));
        }
    }
    fclose(file);
}

static void test_hosts_file(void **state)
{
    struct rig *rig = *state;
    char name[256];
    char address[256];
    atomic_store(&rig->dns.silent, true);
    name_of_hosts_file(name, address);
    struct resolver *r = resolver_new(rig->loop, 500, rig->servers, NULL);
    struct answer a = {.loop = rig->loop};
    ask(r, &a, name);
    assert_string_not_equal(a.addresses, "");
    assert_non_null(strstr(a.addresses, address));
    resolver_free(r);
}

static void test_many_wait_for_one_question(void **state)
{
    struct rig *rig = *state;
    struct resolver *r = resolver_new(rig->loop, 2000, rig->servers, NULL);
    struct answer a[10];
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        a[i] = (struct answer){.loop = rig->loop};
        struct resolve_wait *wait = resolve_start(r, "knowntwo.x.test", on_answer, &a[i]);
        if (i == 5)
            resolve_cancel(wait);
    }
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        while (i != 5 && !a[i].done)
            loop_run(rig->loop);
        if (i != 5)
            assert_non_null(strstr(a[i].addresses, "127.0.0.77"));
    }
    run_for(rig->loop, 20);
    assert_false(a[5].done);
    assert_true(atomic_load(&rig->dns.questions) <= 2); /* A and AAAA */
    resolver_free(r);
}

/* A cached answer of one name never serves another, and thousands of names are bounded. */
static void test_many_names(void **state)
{
    struct rig *rig = *state;
    struct resolver *r = resolver_new(rig->loop, 2000, rig->servers, NULL);
    for (int i = 0; i < 1100; i++) {
        char name[64];
        struct answer a = {.loop = rig->loop};
        snprintf(name, sizeof(name), "%s%d.x.test", i % 2 == 0 ? "known" : "missing", i);
        ask(r, &a, name);
        assert_string_equal(a.addresses, i % 2 == 0 ? "127.0.0.1" : "");
        assert_int_equal(a.err.class, i % 2 == 0 ? ERR_NONE : ERR_DNS);
    }
    resolver_free(r);
}

static void test_bad_servers_option(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};
    assert_null(resolver_new(rig->loop, 500, "not an address", &err));
    assert_int_equal(err.class, ERR_INVALID);
    resolver_free(NULL);
    resolve_cancel(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_known_name),
        TEST(test_dead_address_is_passed_over),
        TEST(test_unknown_name),
        TEST(test_silent_server),
        TEST(test_deadline_while_looking_up),
        TEST(test_localhost_asks_nobody),
        TEST(test_hosts_file),
        TEST(test_many_wait_for_one_question),
        TEST(test_many_names),
        TEST(test_bad_servers_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
