/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>
#include "../lib/fake_kube.h"
#include "kube/access.h"

static char dir[64];
static struct access a;
static struct err err;

static int setup(void **state)
{
    (void)state;
    make_dir(dir);
    write_file(dir, "token", " pod-token\n");
    write_file(dir, "ca.crt", "CA-1\n");
    write_file(dir, "namespace", "team\n");
    err_clear(&err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    access_release(&a);
    remove_dir(dir);
    return 0;
}

static int load(const char *config)
{
    char path[128];
    write_file(dir, "config", config);
    snprintf(path, sizeof(path), "%s/config", dir);
    return access_load_kubeconfig(&a, path, &err);
}

#define CONFIG(cluster, user)                                                     \
    "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n" \
    "clusters: [{name: k, cluster: {" cluster "}}]\nusers: [{name: u, user: {" user "}}]\n"

static void pod_files_are_found(void **state)
{
    (void)state;
    assert_int_equal(access_load_pod(&a, "10.0.0.1", "443", dir, &err), 0);
    assert_string_equal(a.server, "https://10.0.0.1:443");
    assert_string_equal(a.namespace, "team");
    assert_string_equal(a.material[ACCESS_TOKEN].text, "pod-token");
    assert_string_equal(a.material[ACCESS_CA].text, "CA-1");
    assert_false(a.insecure);
}

static void pod_on_ipv6_and_without_namespace(void **state)
{
    (void)state;
    remove_file(dir, "namespace");
    assert_int_equal(access_load_pod(&a, "fd00::1", "443", dir, &err), 0);
    assert_string_equal(a.server, "https://[fd00::1]:443");
    assert_string_equal(a.namespace, "default");
}

static void outside_a_pod_the_way_out_is_named(void **state)
{
    (void)state;
    assert_int_equal(access_load_pod(&a, NULL, "443", dir, &err), -1);
    assert_non_null(strstr(err.msg, "--kubeconfig"));
    assert_int_equal(access_load_pod(&a, "h/x?y", "443", dir, &err), -1);
    assert_null(a.server);
}

static void files_that_cannot_be_used_are_named(void **state)
{
    (void)state;
    char path[128];
    remove_file(dir, "token");
    assert_int_equal(access_load_pod(&a, "h", "443", dir, &err), -1);
    assert_non_null(strstr(err.msg, "/token"));
    assert_int_equal(err.class, ERR_NOT_FOUND);
    write_file(dir, "token", " \n");
    assert_int_equal(access_load_pod(&a, "h", "443", dir, &err), -1);
    assert_non_null(strstr(err.msg, "is empty"));
    write_file(dir, "token", "geheim\ngeheim");
    assert_int_equal(access_load_pod(&a, "h", "443", dir, &err), -1);
    assert_null(strstr(err.msg, "geheim"));
    remove_file(dir, "token");
    snprintf(path, sizeof(path), "%s/token", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(access_load_pod(&a, "h", "443", dir, &err), -1);
    assert_non_null(strstr(err.msg, "is not a file"));
    remove_file(dir, "token");
    char *large = calloc(1, 70001);
    assert_non_null(large);
    memset(large, 'x', 70000);
    write_file(dir, "token", large);
    free(large);
    assert_int_equal(access_load_pod(&a, "h", "443", dir, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
}

static void refresh_takes_what_changed(void **state)
{
    (void)state;
    assert_int_equal(access_load_pod(&a, "h", "443", dir, &err), 0);
    write_file(dir, "token", "next");
    assert_true(access_refresh(&a, &err));
    assert_int_equal(err.class, ERR_NONE);
    assert_string_equal(a.material[ACCESS_TOKEN].text, "next");
    write_file(dir, "ca.crt", "");
    write_file(dir, "token", "third");
    assert_true(access_refresh(&a, &err));
    assert_non_null(strstr(err.msg, "ca.crt is empty"));
    assert_string_equal(a.material[ACCESS_CA].text, "CA-1");
    assert_string_equal(a.material[ACCESS_TOKEN].text, "third");
}

static void kubeconfig_with_files_and_inline_texts(void **state)
{
    (void)state;
    write_file(dir, "key", "KEY");
    write_file(dir, "cert", "CERT");
    assert_int_equal(load(CONFIG("server: 'https://h:6443///', certificate-authority: ca.crt, "
                                 "tls-server-name: real.test",
                                 "client-certificate: cert, client-key: key")),
                     0);
    assert_string_equal(a.server, "https://h:6443");
    assert_string_equal(a.server_name, "real.test");
    assert_string_equal(a.namespace, "default");
    assert_string_equal(a.material[ACCESS_KEY].text, "KEY");
    assert_string_equal(a.material[ACCESS_CERT].text, "CERT");
    assert_null(a.material[ACCESS_TOKEN].text);
    access_release(&a);
    assert_int_equal(
        load(CONFIG("server: 'http://h', insecure-skip-tls-verify: true", "token: abc")), 0);
    assert_string_equal(a.material[ACCESS_TOKEN].text, "abc");
    assert_true(a.insecure);
    assert_false(access_refresh(&a, &err));
}

static void kubeconfig_token_file_beats_token(void **state)
{
    (void)state;
    assert_int_equal(load(CONFIG("server: 'https://h'", "token: old, tokenFile: token")), 0);
    assert_string_equal(a.material[ACCESS_TOKEN].text, "pod-token");
}

static void bad_kubeconfigs_say_why(void **state)
{
    (void)state;
    assert_int_equal(access_load_kubeconfig(&a, "/nonexistent/config", &err), -1);
    assert_non_null(strstr(err.msg, "/nonexistent/config"));
    assert_int_equal(load("]["), -1);
    assert_non_null(strstr(err.msg, dir));
    assert_int_equal(load(CONFIG("server: 'ftp://h'", "token: a")), -1);
    assert_non_null(strstr(err.msg, "server"));
    assert_int_equal(load(CONFIG("server: 'https://user@h'", "token: a")), -1);
    assert_int_equal(load(CONFIG("server: 'https://h'", "token: \"a b\"")), -1);
    assert_int_equal(
        load(CONFIG("server: 'https://h', certificate-authority: missing.pem", "token: a")), -1);
    assert_non_null(strstr(err.msg, "missing.pem"));
    assert_null(a.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pod_files_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(pod_on_ipv6_and_without_namespace, setup, teardown),
        cmocka_unit_test_setup_teardown(outside_a_pod_the_way_out_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_cannot_be_used_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(refresh_takes_what_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(kubeconfig_with_files_and_inline_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(kubeconfig_token_file_beats_token, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_kubeconfigs_say_why, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
