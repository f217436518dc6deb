/* SPDX-License-Identifier: Apache-2.0
 *
 * keycloak_data: answers of Keycloak and of OIDC issuers as texts, with two real P-256 keys; and a
 * world of fakes for tests of keycloak/source.h. To be included by exactly one file of a test
 * program. */
#ifndef KEYTURN_TESTS_KEYCLOAK_DATA_H
#define KEYTURN_TESTS_KEYCLOAK_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "../lib/fake_http.h"
#include "../lib/fake_loop.h"
#include "base/attr.h"
#include "keycloak/source.h"

#define A_SPKI                                                                                     \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvSnX9VDsFguDRMPw51YsR/Q5iJ16oXqckTKVGoeS8AmEw6QumHgJcWA/" \
    "gjRXfMJeVHwBZYnMYVdM9rZPdkirrw=="
#define A_XY                                                 \
    "\"x\":\"vSnX9VDsFguDRMPw51YsR_Q5iJ16oXqckTKVGoeS8Ak\"," \
    "\"y\":\"hMOkLph4CXFgP4I0V3zCXlR8AWWJzGFXTPa2T3ZIq68\""
#define B_SPKI                                                                                     \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAMWfnkAYHqQzB6v4mBHbSZ/uljVSP+Ma32MiF+1FG3PjSWmRbx/yaeLb" \
    "7B57f32xswbU5b86E7IWUI4HLQO+rA=="
#define B_XY                                                 \
    "\"x\":\"AMWfnkAYHqQzB6v4mBHbSZ_uljVSP-Ma32MiF-1FG3M\"," \
    "\"y\":\"40lpkW8f8mni2-wee399sbMG1OW_OhOyFlCOBy0Dvqw\""

#define JWK(kid, xy)                                                                              \
    "{\"kid\":\"" kid "\",\"kty\":\"EC\",\"alg\":\"ES256\",\"use\":\"sig\",\"crv\":\"P-256\"," xy \
    "}"
#define JWKS_A "{\"keys\":[" JWK("a", A_XY) "]}"
#define JWKS_AB "{\"keys\":[" JWK("a", A_XY) "," JWK("b", B_XY) "]}"
#define JWKS_BA "{ \"keys\" : [" JWK("b", B_XY) "," JWK("a", A_XY) "]}"

#define KEY(component, kid, status, spki)                                       \
    "{\"providerId\":\"" component "\",\"providerPriority\":100,\"kid\":\"" kid \
    "\",\"status\":\"" status                                                   \
    "\",\"type\":\"EC\",\"algorithm\":\"ES256\",\"use\":\"SIG\",\"publicKey\":\"" spki "\"}"
#define KEYS(active, ...) "{\"active\":{\"ES256\":\"" active "\"},\"keys\":[" __VA_ARGS__ "]}"
#define KEYS_A KEYS("a", KEY("c-1", "a", "ACTIVE", A_SPKI))
#define KEYS_AB KEYS("a", KEY("c-1", "a", "ACTIVE", A_SPKI) "," KEY("c-2", "b", "PASSIVE", B_SPKI))
#define COMPONENTS \
    "[{\"id\":\"c-1\",\"providerId\":\"ecdsa-generated\"},{\"id\":\"c-2\",\"providerId\":\"rsa\"}]"
#define TOKEN "{\"access_token\":\"t0ken\",\"expires_in\":300,\"token_type\":\"Bearer\"}"
#define DISCOVERY                               \
    "{\"issuer\":\"https://id.test/realms/r\"," \
    "\"jwks_uri\":\"https://id.test/realms/r/protocol/openid-connect/certs\"}"

#define TOKEN_PATH "POST https://kc.test/auth/realms/r/protocol/openid-connect/token"
#define KEYS_PATH "GET https://kc.test/auth/admin/realms/r/keys"
#define COMPONENTS_PATH \
    "GET https://kc.test/auth/admin/realms/r/components?type=org.keycloak.keys.KeyProvider"

static struct loop *loop;
static struct fake_http *http;
static struct sources *all;
static int polled_count;
static void *polled_last;
static void (*polled_hook)(void *subscriber_ctx);

/* The credentials that a get brings; url NULL: err instead. */
static struct {
    const char *url, *client_id, *client_secret;
    enum err_class err;
    const char *err_msg;
    int gets, cancels;
    bool no_memory, hold;
    source_credentials_done_fn *done;
    void *done_ctx;
    struct loop_timer timer;
} vault;

static inline void vault_answer(void *ctx)
{
    (void)ctx;
    struct credentials c = {0};
    struct err err = {0};
    if (vault.url == NULL) {
        err_set(&err, vault.err, "%s", vault.err_msg);
        vault.done(vault.done_ctx, NULL, &err);
        return;
    }
    buf_append_text(&c.url, vault.url);
    buf_append_text(&c.client_id, vault.client_id);
    buf_append_text(&c.client_secret, vault.client_secret);
    vault.done(vault.done_ctx, &c, NULL);
    credentials_release(&c);
}

static inline void *vault_get(void *ctx, const char *namespace, const char *secret,
                              source_credentials_done_fn *done, void *done_ctx)
{
    (void)ctx;
    assert_string_equal(namespace, "ns");
    assert_string_equal(secret, "creds");
    vault.gets++;
    if (vault.no_memory)
        return NULL;
    vault.done = done;
    vault.done_ctx = done_ctx;
    vault.timer = (struct loop_timer){.fire = vault_answer};
    if (!vault.hold)
        loop_timer_in(loop, &vault.timer, 0);
    return &vault;
}

static inline void vault_cancel(void *ctx, void *handle)
{
    (void)ctx;
    assert_ptr_equal(handle, &vault);
    vault.cancels++;
    loop_timer_cancel(loop, &vault.timer);
}

static inline void on_polled(void *ctx, void *subscriber_ctx)
{
    (void)ctx;
    polled_count++;
    polled_last = subscriber_ctx;
    if (polled_hook != NULL)
        polled_hook(subscriber_ctx);
}

static inline int world_setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    http = fake_http_new();
    memset(&vault, 0, sizeof(vault));
    vault.url = "https://kc.test/auth/";
    vault.client_id = "keyturn";
    vault.client_secret = "s3cret&";
    polled_count = 0;
    polled_hook = NULL;
    struct sources_options options = {
        .port = fake_http_port(http),
        .loop = loop,
        .credentials = {vault_get, vault_cancel, NULL},
        .polled = on_polled,
        .seed = 7,
    };
    all = sources_new(&options);
    assert_non_null(all);
    return 0;
}

static inline int world_teardown(void **state)
{
    (void)state;
    sources_free(all);
    assert_int_equal(fake_http_open(http), 0);
    fake_http_free(http);
    loop_free(loop);
    return 0;
}

/* Lets time pass, answering by the rules every 100 ms. */
static inline void pass(int64_t ms)
{
    for (int64_t t = 0; t <= ms; t += 100) {
        fake_loop_advance(loop, t == 0 ? 0 : 100);
        fake_http_run(http);
    }
    fake_loop_advance(loop, 0);
    fake_http_run(http);
}

static inline struct source *subscribe_jwks(const char *url, int64_t interval_ms)
{
    return source_subscribe(all, &(struct source_key){.kind = SOURCE_JWKS, .url = url}, interval_ms,
                            NULL);
}

static inline struct source *subscribe_admin(const char *realm)
{
    struct source_key key = {.kind = SOURCE_ADMIN,
                             .url = "https://kc.test/auth/",
                             .realm = realm,
                             .namespace = "ns",
                             .secret = "creds"};
    return source_subscribe(all, &key, 30000, NULL);
}

static inline void assert_sentence(const struct source *s, enum err_class class, const char *part)
{
    const struct err *err = source_err(s);
    if (err->class != class || strstr(err->msg, part) == NULL)
        fail_msg("class %d, wanted %d with \"%s\": %s", err->class, class, part, err->msg);
    assert_true(strlen(err->msg) < sizeof(err->msg) - 1); /* not cut */
}

#endif
