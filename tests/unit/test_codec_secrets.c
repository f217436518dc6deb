/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens, credentials and kubeconfig: what is read, and that no error repeats it. */
#include "codec_data.h"

#include <stdlib.h>
#include "codec/keycloak_codec.h"
#include "codec/kubeconfig.h"

static size_t wiped_bytes;

/* Stands before the C library's: the only way to see that something was wiped. */
void explicit_bzero(void *s, size_t n)
{
    memset(s, 0, n);
    __asm__ volatile("" : : "r"(s) : "memory");
    wiped_bytes += n;
}

static void test_token(void **state)
{
    (void)state;
    struct buf cleanup_buf text = {0};
    struct buf cleanup_buf token = {0};
    struct err err = {0};
    long expires_s = 0;
    read_seed("keys/token.json", &text);
    assert_int_equal(token_decode(buf_view(&text), &token, &expires_s, &err), 0);
    assert_string_equal(buf_text(&token), "eyJhbGciOiJSUzI1NiJ9.e30.AAAA");
    assert_true(token.secret);
    assert_int_equal(expires_s, 300);
    static const char *const bad[] = {"{\"access_token\":\"S3CRET\\r\\nHost: x\"}",
                                      "{\"access_token\":\"S3CRET a\"}",
                                      "{\"access_token\":\"\"}",
                                      "{}",
                                      "{\"access_token\":7}",
                                      "{\"access_token\":\"S3CRET\",\"token_type\":\"mac\"}",
                                      "{\"access_token\":\"S3CRET"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf cleanup_buf out = {0};
        assert_int_equal(token_decode(str_from(bad[i]), &out, &expires_s, &err), -1);
        assert_null(strstr(err.msg, "S3CRET"));
        assert_int_equal(out.len, 0);
    }
    struct buf cleanup_buf out = {0};
    assert_int_equal(token_decode(str_from("{\"access_token\":\"a\",\"token_type\":\"bearer\"}"),
                                  &out, &expires_s, &err),
                     0);
    assert_int_equal(expires_s, 60);
}

static void check_token_error(int status, const char *body, enum err_class class,
                              const char *reason)
{
    struct err err = {0};
    token_error_decode(str_from(body), status, &err);
    assert_int_equal(err.class, class);
    assert_string_equal(err.reason, reason);
    assert_int_equal(err.http_status, status);
    assert_null(strstr(err.msg, "S3CRET"));
}

static void test_token_errors(void **state)
{
    (void)state;
    check_token_error(401, "{\"error\":\"invalid_client\",\"error_description\":\"S3CRET\"}",
                      ERR_AUTH, "invalid_client");
    check_token_error(401, "{\"error\":\"unauthorized_client\"}", ERR_AUTH, "unauthorized_client");
    check_token_error(400, "{\"error\":\"invalid_client\"}", ERR_AUTH, "invalid_client");
    check_token_error(400, "{\"error\":\"S3CRET\"}", ERR_INVALID, "");
    check_token_error(403, "{\"error\":\"access_denied\"}", ERR_FORBIDDEN, "access_denied");
    check_token_error(404, "{\"error\":\"Realm does not exist\"}", ERR_NOT_FOUND, "");
    check_token_error(503, "<html>S3CRET", ERR_TRANSIENT, "");
    check_token_error(429, "", ERR_TRANSIENT, "");
}

static void test_credentials(void **state)
{
    (void)state;
    struct buf cleanup_buf text = {0};
    struct credentials c;
    struct err err = {0};
    read_seed("keys/credentials.json", &text);
    assert_int_equal(credentials_decode(buf_view(&text), &c, &err), 0);
    assert_string_equal(buf_text(&c.url), "http://keycloak.auth.svc:8080");
    assert_string_equal(buf_text(&c.client_id), "keyturn");
    assert_string_equal(buf_text(&c.client_secret),
                        "keyturn-secret"); /* an editor's line end is gone */
    assert_true(c.url.secret && c.client_id.secret && c.client_secret.secret);
    credentials_release(&c);
    assert_null(c.client_secret.data);
}

static void test_credentials_refused(void **state)
{
    (void)state;
#define CREDENTIALS(url, secret) \
    "{\"data\":{\"url\":\"" url "\",\"client-id\":\"YQ==\",\"client-secret\":\"" secret "\"}}"
    static const struct {
        const char *body, *word;
    } bad[] = {
        {"{}", "no key url"},
        {"{\"data\":{\"url\":\"YQ==\"}}", "no key client-id"},
        {"{\"data\":{\"url\":\"YQ==\",\"client-id\":\"YQ==\"}}", "no key client-secret"},
        {CREDENTIALS("YQ==", "S3CRET"), "client-secret is no base64"},
        {CREDENTIALS("YQ==", "YQBi"), "control character"},
        {CREDENTIALS("YQ==", "YQpi"), "control character"},
        {CREDENTIALS("YQ==", "IAo="), "client-secret is empty"},
        {CREDENTIALS("", "YQ=="), "url is empty"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct credentials c;
        struct err err = {0};
        assert_int_equal(credentials_decode(str_from(bad[i].body), &c, &err), -1);
        if (strstr(err.msg, bad[i].word) == NULL || strstr(err.msg, "S3CRET") != NULL) {
            fail_msg("%s: %s", bad[i].body, err.msg);
        }
        assert_null(c.url.data);
    }
}

static void test_config_map_value(void **state)
{
    (void)state;
    struct buf cleanup_buf text = {0};
    struct buf cleanup_buf out = {0};
    struct err err = {0};
    read_seed("keys/config-map.json", &text);
    assert_int_equal(config_map_value_decode(buf_view(&text), "ca.crt", &out, &err), 0);
    assert_int_equal(strncmp(buf_text(&out), "-----BEGIN CERTIFICATE-----\n", 28), 0);
    assert_int_equal(config_map_value_decode(buf_view(&text), "other", &out, &err), -1);
    assert_non_null(strstr(err.msg, "no key other"));
    assert_int_equal(config_map_value_decode(str_from("{\"binaryData\":{\"ca.crt\":\"AA==\"}}"),
                                             "ca.crt", &out, &err),
                     -1);
    assert_non_null(strstr(err.msg, "binaryData"));
}

/* Every text of a tree is wiped with it, whether or not it was a secret. */
static void test_trees_are_wiped(void **state)
{
    (void)state;
    char text[1024];
    struct err err = {0};
    assert_true(text_format(text, sizeof(text), "{\"access_token\":\"%0900d\"}", 7));
    json_t *tree = json_load(str_from(text), false, "token", &err);
    assert_non_null(tree);
    size_t before = wiped_bytes;
    json_decref(tree);
    assert_true(wiped_bytes - before >= 900);
}

/* --- kubeconfig ---------------------------------------------------------------------------------
 */

static int decode_config(const char *seed, const char *context, struct kubeconfig *ret,
                         struct err *err)
{
    struct buf cleanup_buf text = {0};
    read_seed(seed, &text);
    return kubeconfig_decode(buf_view(&text), context, ret, err);
}

static void test_kubeconfig_current(void **state)
{
    (void)state;
    struct kubeconfig c;
    struct err err = {0};
    assert_int_equal(decode_config("kubeconfig/config.yaml", NULL, &c, &err), 0);
    assert_string_equal(c.server, "https://127.0.0.1:6443");
    assert_string_equal(c.namespace, "auth");
    assert_int_equal(strncmp(c.ca_pem, "-----BEGIN CERTIFICATE-----\n", 28), 0);
    assert_int_equal(strncmp(c.client_cert_pem, "-----BEGIN CERTIFICATE-----\n", 28), 0);
    assert_int_equal(strncmp(c.client_key_pem, "-----BEGIN PRIVATE KEY-----", 27), 0);
    assert_null(c.ca_file);
    assert_null(c.token);
    assert_false(c.insecure);
    kubeconfig_release(&c);
    assert_null(c.server);
}

static void test_kubeconfig_named(void **state)
{
    (void)state;
    struct kubeconfig c;
    struct err err = {0};
    assert_int_equal(decode_config("kubeconfig/config.yaml", "by-token", &c, &err), 0);
    assert_string_equal(c.server, "https://other.example:6443");
    assert_string_equal(c.ca_file, "ca.pem");
    assert_string_equal(c.tls_server_name, "kubernetes");
    assert_string_equal(c.token, "abc.def");
    assert_string_equal(c.token_file, "/var/run/token");
    assert_null(c.namespace);
    assert_null(c.client_key_pem);
    kubeconfig_release(&c);
    assert_int_equal(decode_config("kubeconfig/config.yaml", "by-plugin", &c, &err), -1);
    assert_non_null(strstr(err.msg, "exec plugin cloud-login"));
    assert_int_equal(decode_config("kubeconfig/config.yaml", "nowhere", &c, &err), -1);
    assert_non_null(strstr(err.msg, "no context nowhere"));
    assert_int_equal(decode_config("kubeconfig/json.yaml", NULL, &c, &err), 0);
    assert_true(c.insecure);
    assert_null(c.token);
    kubeconfig_release(&c);
    assert_int_equal(decode_config("kubeconfig/alias.yaml", NULL, &c, &err), -1);
    assert_int_equal(decode_config("kubeconfig/no-context.yaml", NULL, &c, &err), -1);
    assert_non_null(strstr(err.msg, "no current-context"));
}

#define HEAD "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
#define CLUSTER "clusters: [{name: a, cluster: {server: 'https://x'}}]\n"

static void check_config(const char *text, enum err_class class, const char *word)
{
    struct kubeconfig c;
    struct err err = {0};
    assert_int_equal(kubeconfig_decode(str_from(text), NULL, &c, &err), -1);
    if (err.class != class || strstr(err.msg, word) == NULL || strstr(err.msg, "S3CRET") != NULL) {
        fail_msg("%s\n%s", text, err.msg);
    }
    assert_null(c.server);
}

static void test_kubeconfig_refuses(void **state)
{
    (void)state;
    check_config("", ERR_INVALID, "nothing in it");
    check_config("[a]", ERR_INVALID, "a mapping is expected");
    check_config("a", ERR_INVALID, "a mapping is expected");
    check_config("a: [", ERR_INVALID, "no valid YAML");
    check_config("a: &x 1", ERR_INVALID, "line 1: anchors");
    check_config("a: &x [1]", ERR_INVALID, "anchors");
    check_config("a: &x {b: 1}", ERR_INVALID, "anchors");
    check_config("a: *x", ERR_INVALID, "aliases");
    check_config("a: 1\n---\nb: 1", ERR_INVALID, "a second document");
    check_config("{a: 1}: b", ERR_INVALID, "no text");
    check_config("a: \"x\\0y\"", ERR_INVALID, "NUL");
    check_config("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", ERR_LIMIT, "deeper");
    check_config(HEAD, ERR_INVALID, "no cluster a");
    check_config(HEAD CLUSTER, ERR_INVALID, "no user a");
    check_config(HEAD CLUSTER "users: [{name: a, user: {token: 12345}}]", ERR_INVALID,
                 "token: write a text, in quotes");
    check_config(HEAD "clusters: [{name: a, cluster: {server: 'ftp://x'}}]", ERR_INVALID,
                 "http://");
    check_config(HEAD "clusters: [{name: a, cluster: {server: 'https://x', proxy-url: 'x'}}]",
                 ERR_INVALID, "proxy-url");
    check_config(
        HEAD
        "clusters: [{name: a, cluster: {server: 'https://x', certificate-authority-data: S3CRET}}]",
        ERR_INVALID, "certificate-authority-data is no base64");
    check_config(HEAD CLUSTER "users: [{name: a, user: {client-key-data: UzNDUkVU}}]", ERR_INVALID,
                 "client-key-data");
    check_config(HEAD CLUSTER "users: [{name: a, user: {exec: {command: login}}}]", ERR_INVALID,
                 "exec plugin login");
    check_config(HEAD CLUSTER "users: [{name: a, user: {exec: {}}}]", ERR_INVALID, "exec plugin");
    check_config(HEAD CLUSTER "users: [{name: a, user: {auth-provider: {name: oidc}}}]",
                 ERR_INVALID, "provider oidc");
    check_config(HEAD CLUSTER "users: [{name: a, user: {username: u, password: S3CRET}}]",
                 ERR_INVALID, "passwords");
    check_config(HEAD CLUSTER "users: [{name: a, user: {token: S3CRET, as: root}}]", ERR_INVALID,
                 "impersonation");
}

static void test_kubeconfig_bounds(void **state)
{
    (void)state;
    struct kubeconfig c;
    struct err err = {0};
    size_t len = (1UL << 20) + 1;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, ' ', len);
    assert_int_equal(kubeconfig_decode((struct str){text, len}, NULL, &c, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
    free(text);
    /* null in all its spellings is absence. */
    assert_int_equal(
        kubeconfig_decode(str_from(HEAD CLUSTER
                                   "users: [{name: a, user: {exec: null, auth-provider: ~, "
                                   "username: , token: t}}]"),
                          NULL, &c, &err),
        0);
    assert_string_equal(c.token, "t");
    kubeconfig_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_token_errors),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_credentials_refused),
        cmocka_unit_test(test_config_map_value),
        cmocka_unit_test(test_trees_are_wiped),
        cmocka_unit_test(test_kubeconfig_current),
        cmocka_unit_test(test_kubeconfig_named),
        cmocka_unit_test(test_kubeconfig_refuses),
        cmocka_unit_test(test_kubeconfig_bounds),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
