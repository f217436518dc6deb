/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/admin.h"

#include <stdlib.h>
#include <string.h>
#include "keycloak/reading.h"
#include "keycloak/words.h"

/* The poll ends without keys. */
static void give_up(struct feed *f, const struct err *err)
{
    write_unsent(f, err);
    feed_bad(f, err);
}

static void no_memory(struct feed *f)
{
    struct err err = {0};
    err_set(&err, ERR_NO_MEMORY, "realm keys: out of memory");
    give_up(f, &err);
}

static void drop_token(struct admin *a)
{
    buf_release(&a->token);
    a->token_until_ms = 0;
}

void admin_token_is_old(struct feed *f)
{
    f->admin->token_until_ms = 0;
}

struct admin *admin_new(void)
{
    return calloc(1, sizeof(struct admin));
}

void admin_release(struct feed *f)
{
    struct admin *a = f->admin;
    const struct source_credentials_port *port = &f->all->options.credentials;
    if (a == NULL)
        return;
    if (a->credentials != NULL)
        port->cancel(port->ctx, a->credentials);
    reading_free(a->pending);
    drop_token(a);
    write_release(f);
    free(a->client_id);
    free(a);
    f->admin = NULL;
}

static void realm_url(const struct feed *f, const char *before, const char *after, struct buf *out)
{
    buf_append_text(out, f->key.url);
    buf_append_text(out, before);
    http_append_escaped(out, f->key.realm);
    buf_append_text(out, after);
}

int admin_ask(struct feed *f, const struct admin_request *asked,
              void (*on_done)(void *ctx, const struct http_response *response))
{
    struct buf cleanup_buf url = {0};
    struct buf cleanup_buf bearer = {.secret = true};
    realm_url(f, "/admin/realms/", asked->path, &url);
    buf_appendf(&bearer, "Bearer %s", buf_text(&f->admin->token));
    struct http_header headers[] = {
        {"Accept", "application/json"},
        {"Authorization", buf_text(&bearer)},
        {"Content-Type", "application/json"},
    };
    struct http_request request = {
        .method = asked->method,
        .url = buf_text(&url),
        .headers = headers,
        .headers_count = ARRAY_LEN(headers) - (asked->body.len == 0),
        .body = asked->body,
        .timeout_ms = asked->timeout_ms,
        .secret = true,
    };
    return url.failed || bearer.failed ? -1 : feed_send(f, &request, on_done);
}

/* --- components ----------------------------------------------------------------------------- */

static void finish(struct feed *f, struct reading *reading)
{
    if (reading_keys_digest(&reading->keys, true, reading->digest) != 0) {
        reading_free(reading);
        no_memory(f);
        return;
    }
    feed_good(f, reading);
}

/* Why claims are not known. */
static void components_bad(struct feed *f, const struct http_response *response,
                           const struct err *cause)
{
    struct admin *a = f->admin;
    int status = response->err.class == ERR_NONE ? response->status : 0;
    if (status == 200)
        words_content(&f->key, "key components", cause, &a->components_err);
    else if (status == 401 || status == 403)
        words_admin(&f->key, a->client_id, status, &a->components_err);
    else
        words_answer(&f->key, "key components", response, &a->components_err);
    if (status == 401)
        drop_token(a);
}

/* The components name the providers and the claims: keys that were read are not held back for want
 * of them. */
static void on_components(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct admin *a = f->admin;
    struct err cause = {0};
    f->call = NULL;
    struct reading *reading = a->pending;
    a->pending = NULL;
    a->keys_digest[0] = '\0';
    if (response->err.class == ERR_NONE && response->status == 200 &&
        components_decode(response->body, &reading->keys, &cause) == 0) {
        err_clear(&a->components_err);
        (void)reading_keys_digest(&reading->keys, false, a->keys_digest);
        write_look(f, &reading->keys);
    } else {
        components_bad(f, response, &cause);
        if (f->reading != NULL) {
            (void)reading_copy_providers(&reading->keys, &f->reading->keys);
            if (reading_copy_claims(&reading->keys, &f->reading->keys) != 0) {
                reading_free(reading);
                no_memory(f);
                return;
            }
        }
    }
    finish(f, reading);
}

/* --- keys ----------------------------------------------------------------------------------- */

static void keys_refused(struct feed *f, int status)
{
    struct admin *a = f->admin;
    /* A role given meanwhile, a realm made anew, another signing key: all want a new token. */
    drop_token(a);
    if (status == 401 && !a->minted) {
        admin_mint(f);
        return;
    }
    struct err err = {0};
    words_admin(&f->key, a->client_id, status, &err);
    give_up(f, &err);
}

static void keys_read(struct feed *f, struct reading *reading)
{
    struct admin *a = f->admin;
    char digest[JOSE_HASH_TEXT];
    if (reading_keys_digest(&reading->keys, false, digest) != 0) {
        reading_free(reading);
        no_memory(f);
        return;
    }
    const struct admin_request request = {.method = "GET",
                                          .path = "/components?type=org.keycloak.keys.KeyProvider"};
    if (f->reading != NULL && strcmp(digest, a->keys_digest) == 0) {
        (void)reading_copy_providers(&reading->keys, &f->reading->keys);
        if (reading_copy_claims(&reading->keys, &f->reading->keys) == 0) {
            reading->keys.claims_known = f->reading->keys.claims_known;
            finish(f, reading);
            return;
        }
    } else {
        a->pending = reading;
        if (admin_ask(f, &request, on_components) == 0)
            return;
        a->pending = NULL;
    }
    reading_free(reading);
    no_memory(f);
}

static void on_keys(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct err err = {0};
    struct err cause = {0};
    f->call = NULL;
    int status = response->err.class == ERR_NONE ? response->status : 0;
    if (status == 401 || status == 403 || status == 404) {
        keys_refused(f, status);
        return;
    }
    if (status != 200) {
        words_answer(&f->key, "realm keys", response, &err);
        give_up(f, &err);
        return;
    }
    struct reading *reading = reading_new(f->sent_ms);
    if (reading == NULL) {
        no_memory(f);
    } else if (realm_keys_decode(response->body, &reading->keys, &cause) != 0) {
        words_content(&f->key, "realm keys", &cause, &err);
    } else if (reading_usable(&reading->keys) == 0) {
        words_no_keys(&f->key, "realm keys", &reading->keys, &err);
    } else {
        keys_read(f, reading);
        return;
    }
    if (reading == NULL)
        return;
    reading_free(reading);
    give_up(f, &err);
}

static void ask_keys(struct feed *f)
{
    const struct admin_request request = {.method = "GET", .path = "/keys"};
    if (admin_ask(f, &request, on_keys) != 0)
        no_memory(f);
}

void admin_go_on(struct feed *f)
{
    if (write_due(f))
        write_send(f);
    else if (lifespan_due(f))
        lifespan_read(f);
    else
        ask_keys(f);
}

/* --- token ---------------------------------------------------------------------------------- */

static void on_token(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct admin *a = f->admin;
    struct err err = {0};
    struct err cause = {0};
    long lifetime_s = 0;
    f->call = NULL;
    drop_token(a);
    if (response->err.class != ERR_NONE) {
        words_answer(&f->key, "token", response, &err);
    } else if (response->status != 200) {
        token_error_decode(response->body, response->status, &cause);
        words_token(&f->key, &cause, &err);
    } else if (token_decode(response->body, &a->token, &lifetime_s, &cause) != 0) {
        drop_token(a);
        words_content(&f->key, "token", &cause, &err);
    } else {
        a->token_until_ms = f->sent_ms + (int64_t)lifetime_s * 900;
        a->header.asked_ms = f->sent_ms;
        (void)token_header_decode(buf_view(&a->token), a->header.kid, a->header.alg, NULL);
        admin_go_on(f);
        return;
    }
    give_up(f, &err);
}

static int ask_token(struct feed *f, const struct credentials *credentials)
{
    struct buf cleanup_buf url = {0};
    struct buf cleanup_buf body = {.secret = true};
    realm_url(f, "/realms/", "/protocol/openid-connect/token", &url);
    buf_append_text(&body, "grant_type=client_credentials&client_id=");
    http_append_escaped(&body, buf_text(&credentials->client_id));
    buf_append_text(&body, "&client_secret=");
    http_append_escaped(&body, buf_text(&credentials->client_secret));
    static const struct http_header headers[] = {
        {"Accept", "application/json"},
        {"Content-Type", "application/x-www-form-urlencoded"},
    };
    struct http_request request = {
        .method = "POST",
        .url = buf_text(&url),
        .headers = headers,
        .headers_count = ARRAY_LEN(headers),
        .body = buf_view(&body),
        .secret = true,
    };
    return url.failed || body.failed ? -1 : feed_send(f, &request, on_token);
}

static void on_credentials(void *ctx, const struct credentials *credentials,
                           const struct err *cause)
{
    struct feed *f = ctx;
    struct admin *a = f->admin;
    struct err err = {0};
    a->credentials = NULL;
    if (cause != NULL || credentials == NULL) {
        struct err unknown = {0};
        words_credentials(&f->key, cause != NULL ? cause : &unknown, &err);
        give_up(f, &err);
        return;
    }
    if (!str_is(feed_base(buf_text(&credentials->url)), f->key.url)) {
        words_other_server(&f->key, &err);
        give_up(f, &err);
        return;
    }
    free(a->client_id);
    a->client_id = strdup(buf_text(&credentials->client_id));
    if (a->client_id == NULL || ask_token(f, credentials) != 0)
        no_memory(f);
}

void admin_mint(struct feed *f)
{
    struct admin *a = f->admin;
    const struct source_credentials_port *port = &f->all->options.credentials;
    drop_token(a);
    a->minted = true;
    a->credentials = port->get(port->ctx, f->key.namespace, f->key.secret, on_credentials, f);
    if (a->credentials == NULL)
        no_memory(f);
}

void admin_poll(struct feed *f)
{
    struct admin *a = f->admin;
    struct err err = {0};
    bool fresh = a->mint_wanted;
    a->mint_wanted = false;
    a->minted = false;
    write_join(f);
    if (!http_url_is_plain(f->key.url)) {
        err_set(&err, ERR_INVALID,
                "realm keys: spec.keycloak.url must be an http or https URL without user, query or "
                "fragment");
        give_up(f, &err);
    } else if (!fresh && a->token.len > 0 && loop_clock_ms() < a->token_until_ms) {
        admin_go_on(f);
    } else {
        admin_mint(f);
    }
}
