/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/admin.h"

#include <stdlib.h>
#include <string.h>
#include "keycloak/reading.h"
#include "keycloak/words.h"

static void ask_credentials(struct feed *f);

static void no_memory(struct feed *f)
{
    struct err err = {0};
    err_set(&err, ERR_NO_MEMORY, "realm keys: out of memory");
    feed_bad(f, &err);
}

static void drop_token(struct admin *a)
{
    buf_release(&a->token);
    a->token_until_ms = 0;
}

void admin_release(struct feed *f)
{
    struct admin *a = &f->admin;
    const struct source_credentials_port *port = &f->all->options.credentials;
    if (a->credentials != NULL)
        port->cancel(port->ctx, a->credentials);
    a->credentials = NULL;
    reading_free(a->pending);
    a->pending = NULL;
    drop_token(a);
    free(a->client_id);
    a->client_id = NULL;
}

static void realm_url(const struct feed *f, const char *before, const char *after, struct buf *out)
{
    buf_append_text(out, f->key.url);
    buf_append_text(out, before);
    http_append_escaped(out, f->key.realm);
    buf_append_text(out, after);
}

static int ask_with_token(struct feed *f, const char *path,
                          void (*on_done)(void *ctx, const struct http_response *response))
{
    struct buf cleanup_buf url = {0};
    struct buf cleanup_buf bearer = {.secret = true};
    realm_url(f, "/admin/realms/", path, &url);
    buf_appendf(&bearer, "Bearer %s", buf_text(&f->admin.token));
    struct http_header headers[] = {
        {"Accept", "application/json"},
        {"Authorization", buf_text(&bearer)},
    };
    struct http_request request = {
        .method = "GET",
        .url = buf_text(&url),
        .headers = headers,
        .headers_count = ARRAY_LEN(headers),
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

/* The components only name the providers: keys that were read are not held back for want of them.
 */
static void on_components(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct admin *a = &f->admin;
    f->call = NULL;
    struct reading *reading = a->pending;
    a->pending = NULL;
    bool good = response->err.class == ERR_NONE && response->status == 200 &&
                components_decode(response->body, &reading->keys, NULL) == 0;
    if (response->status == 401)
        drop_token(a);
    a->keys_digest[0] = '\0';
    if (good)
        (void)reading_keys_digest(&reading->keys, false, a->keys_digest);
    else if (f->reading != NULL)
        (void)reading_copy_providers(&reading->keys, &f->reading->keys);
    finish(f, reading);
}

/* --- keys ----------------------------------------------------------------------------------- */

static void keys_refused(struct feed *f, int status)
{
    struct admin *a = &f->admin;
    /* A role given meanwhile, a realm made anew, another signing key: all want a new token. */
    drop_token(a);
    if (status == 401 && !a->minted) {
        ask_credentials(f);
        return;
    }
    struct err err = {0};
    words_admin(&f->key, a->client_id, status, &err);
    feed_bad(f, &err);
}

static void keys_read(struct feed *f, struct reading *reading)
{
    struct admin *a = &f->admin;
    char digest[JOSE_HASH_TEXT];
    if (reading_keys_digest(&reading->keys, false, digest) != 0) {
        reading_free(reading);
        no_memory(f);
        return;
    }
    if (f->reading != NULL && strcmp(digest, a->keys_digest) == 0) {
        (void)reading_copy_providers(&reading->keys, &f->reading->keys);
        finish(f, reading);
        return;
    }
    a->pending = reading;
    if (ask_with_token(f, "/components?type=org.keycloak.keys.KeyProvider", on_components) == 0)
        return;
    a->pending = NULL;
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
        feed_bad(f, &err);
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
    feed_bad(f, &err);
}

static void ask_keys(struct feed *f)
{
    if (ask_with_token(f, "/keys", on_keys) != 0)
        no_memory(f);
}

/* --- token ---------------------------------------------------------------------------------- */

static void on_token(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct admin *a = &f->admin;
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
        ask_keys(f);
        return;
    }
    feed_bad(f, &err);
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
    struct admin *a = &f->admin;
    struct err err = {0};
    a->credentials = NULL;
    if (cause != NULL || credentials == NULL) {
        struct err unknown = {0};
        words_credentials(&f->key, cause != NULL ? cause : &unknown, &err);
        feed_bad(f, &err);
        return;
    }
    if (!str_is(feed_base(buf_text(&credentials->url)), f->key.url)) {
        words_other_server(&f->key, &err);
        feed_bad(f, &err);
        return;
    }
    free(a->client_id);
    a->client_id = strdup(buf_text(&credentials->client_id));
    if (a->client_id == NULL || ask_token(f, credentials) != 0)
        no_memory(f);
}

static void ask_credentials(struct feed *f)
{
    struct admin *a = &f->admin;
    const struct source_credentials_port *port = &f->all->options.credentials;
    a->minted = true;
    a->credentials = port->get(port->ctx, f->key.namespace, f->key.secret, on_credentials, f);
    if (a->credentials == NULL)
        no_memory(f);
}

void admin_poll(struct feed *f)
{
    struct admin *a = &f->admin;
    struct err err = {0};
    a->minted = false;
    if (!http_url_is_plain(f->key.url)) {
        err_set(&err, ERR_INVALID,
                "realm keys: spec.keycloak.url must be an http or https URL without user, query or "
                "fragment");
        feed_bad(f, &err);
    } else if (a->token.len > 0 && loop_clock_ms() < a->token_until_ms) {
        ask_keys(f);
    } else {
        drop_token(a);
        ask_credentials(f);
    }
}
