/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/feed.h"

#include <stdlib.h>
#include <string.h>
#include "base/jitter.h"
#include "base/limits.h"
#include "keycloak/admin.h"
#include "keycloak/reading.h"
#include "keycloak/words.h"

#define INTERVAL_MIN_MS 1000
#define DISCOVERY_MS (3600LL * 1000)
#define BACKOFF_SHIFT_MAX 3 /* 8 times the interval */
#define BACKOFF_MORE_MS 60000

static void on_timer(void *ctx);

/* --- life ----------------------------------------------------------------------------------- */

struct str feed_base(const char *url)
{
    struct str base = str_from(url);
    while (base.len > 0 && base.data[base.len - 1] == '/')
        base.len--;
    return base;
}

static char *copy_text(const char *text, bool *failed)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    if (text != NULL && copy == NULL)
        *failed = true;
    return copy;
}

static void key_release(struct source_key *key)
{
    free((char *)(uintptr_t)key->url);
    free((char *)(uintptr_t)key->realm);
    free((char *)(uintptr_t)key->namespace);
    free((char *)(uintptr_t)key->secret);
    free((char *)(uintptr_t)key->ca_pem);
}

static int key_copy(struct source_key *to, const struct source_key *from)
{
    bool failed = false;
    struct str base = from->kind == SOURCE_JWKS ? str_from(from->url) : feed_base(from->url);
    *to = (struct source_key){
        .kind = from->kind,
        .url = strndup(base.data, base.len),
        .realm = copy_text(from->realm, &failed),
        .namespace = copy_text(from->namespace, &failed),
        .secret = copy_text(from->secret, &failed),
        .ca_pem = copy_text(from->ca_pem, &failed),
    };
    if (to->url != NULL && !failed)
        return 0;
    key_release(to);
    return -1;
}

static char *peer_of(const char *url)
{
    char peer[LIMIT_URL + 8] = "";
    (void)http_url_peer(url, peer, sizeof(peer));
    return strdup(peer);
}

struct feed *feed_new(struct sources *all, const struct source_key *key, char *name)
{
    struct feed *f = calloc(1, sizeof(*f));
    if (f == NULL || key_copy(&f->key, key) != 0) {
        free(f);
        free(name);
        return NULL;
    }
    f->admin = key->kind == SOURCE_ADMIN ? admin_new() : NULL;
    if (key->kind == SOURCE_ADMIN && f->admin == NULL) {
        key_release(&f->key);
        free(f);
        free(name);
        return NULL;
    }
    f->all = all;
    f->name = name;
    f->peer = peer_of(f->key.url);
    f->timer = (struct loop_timer){.fire = on_timer, .ctx = f};
    loop_timer_in(all->options.loop, &f->timer, 0);
    return f;
}

void feed_free(struct feed *f)
{
    loop_timer_cancel(f->all->options.loop, &f->timer);
    http_cancel(f->all->options.port, f->call);
    admin_release(f);
    reading_free(f->reading);
    key_release(&f->key);
    free(f->name);
    free(f->peer);
    free(f);
}

/* --- when ----------------------------------------------------------------------------------- */

static int64_t random_below(struct feed *f, int64_t limit)
{
    uint32_t random = jitter_next(&f->all->random);
    return limit > 0 ? (int64_t)(random % (uint64_t)limit) : 0;
}

static int64_t delay_ms(struct feed *f)
{
    int64_t interval = f->interval_ms;
    int64_t delay = interval;
    if (f->failures > 0) {
        unsigned shift = f->failures - 1;
        delay = interval << (shift < BACKOFF_SHIFT_MAX ? shift : BACKOFF_SHIFT_MAX);
        if (delay < (int64_t)f->err.retry_after_s * 1000)
            delay = (int64_t)f->err.retry_after_s * 1000;
        if (delay > interval + BACKOFF_MORE_MS)
            delay = interval + BACKOFF_MORE_MS;
    } else if (f->key.kind == SOURCE_DISCOVERY) {
        delay = DISCOVERY_MS;
    }
    /* What started together must not go on together: the second poll comes early by a random part.
     */
    if (f->polls == 1 && (f->failures == 0 || f->err.retry_after_s == 0))
        return delay / 2 + random_below(f, delay / 2);
    return delay + random_below(f, delay / 10);
}

static void schedule(struct feed *f)
{
    int64_t due_ms = f->again ? 0 : f->polled_ms + delay_ms(f);
    int64_t now_ms = loop_clock_ms();
    f->again = false;
    loop_timer_at(f->all->options.loop, &f->timer, due_ms > now_ms ? due_ms : now_ms);
}

void feed_set_interval(struct feed *f)
{
    int64_t least = INT64_MAX;
    for (const struct source *s = f->subscribers; s != NULL; s = s->next)
        least = s->interval_ms < least ? s->interval_ms : least;
    least = least < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : least;
    bool sooner = least < f->interval_ms;
    f->interval_ms = least;
    if (sooner && !f->polling && f->polls > 0)
        schedule(f);
}

void feed_poll_now(struct feed *f)
{
    if (f->polling)
        f->again = true;
    else
        loop_timer_in(f->all->options.loop, &f->timer, 0);
}

/* --- what came ------------------------------------------------------------------------------ */

/* A subscriber may go, or bring others, while it is told. */
static void tell(struct feed *f)
{
    const struct sources_options *options = &f->all->options;
    f->telling = true;
    f->cursor = f->subscribers;
    while (f->cursor != NULL) {
        struct source *s = f->cursor;
        f->cursor = s->next;
        options->polled(options->ctx, s->ctx);
    }
    f->telling = false;
    if (f->dropped)
        feed_free(f);
}

static void poll_end(struct feed *f)
{
    f->polling = false;
    f->polls++;
    f->polled_ms = loop_clock_ms();
    schedule(f);
    tell(f);
}

void feed_good(struct feed *f, struct reading *reading)
{
    if (f->reading != NULL)
        reading_share_keys(&reading->keys, &f->reading->keys);
    reading_free(f->reading);
    f->reading = reading;
    reading->number = ++f->number;
    err_clear(&f->err);
    f->failures = 0;
    poll_end(f);
}

void feed_bad(struct feed *f, const struct err *err)
{
    f->err = *err;
    if (f->err.class == ERR_NONE)
        err_set(&f->err, ERR_BUG, "poll failed without a reason");
    f->failures += f->failures < 1000;
    poll_end(f);
}

/* --- asking --------------------------------------------------------------------------------- */

int feed_send(struct feed *f, struct http_request *request,
              void (*on_done)(void *ctx, const struct http_response *response))
{
    const struct http_tls tls = {.ca_pem = f->key.ca_pem};
    const struct http_sink sink = {.on_done = on_done, .ctx = f};
    request->tls = &tls;
    request->lane = HTTP_LANE_KEYCLOAK;
    if (request->timeout_ms == 0)
        request->timeout_ms = FEED_TIMEOUT_MS;
    request->body_max = LIMIT_KEYCLOAK_ANSWER;
    f->sent_ms = loop_clock_ms();
    f->call = http_submit(f->all->options.port, request, &sink);
    request->tls = NULL;
    return f->call != NULL ? 0 : -1;
}

static int read_jwks(struct feed *f, struct str body, struct reading *reading, struct err *err)
{
    struct err cause = {0};
    if (jwks_decode(body, &reading->keys, &cause) != 0) {
        words_content(&f->key, "JWKS", &cause, err);
        return -1;
    }
    if (reading_usable(&reading->keys) == 0) {
        words_no_keys(&f->key, "JWKS", &reading->keys, err);
        return -1;
    }
    if (reading_keys_digest(&reading->keys, false, reading->digest) != 0)
        return err_set(err, ERR_NO_MEMORY, "JWKS: out of memory");
    return 0;
}

static int read_discovery(struct feed *f, struct str body, struct reading *reading, struct err *err)
{
    struct err cause = {0};
    struct discovery found;
    if (discovery_decode(body, &found, &cause) != 0) {
        words_content(&f->key, "discovery", &cause, err);
        return -1;
    }
    reading->issuer = strdup(found.issuer);
    reading->jwks_uri = strdup(found.jwks_uri);
    if (reading->issuer == NULL || reading->jwks_uri == NULL)
        return err_set(err, ERR_NO_MEMORY, "discovery: out of memory");
    reading_discovery_digest(&found, reading->digest);
    return 0;
}

static void on_answer(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    bool jwks = f->key.kind == SOURCE_JWKS;
    struct err err = {0};
    struct reading *reading = NULL;
    f->call = NULL;
    if (response->err.class != ERR_NONE || response->status != 200)
        words_answer(&f->key, jwks ? "JWKS" : "discovery", response, &err);
    else if ((reading = reading_new(f->sent_ms)) == NULL)
        err_set(&err, ERR_NO_MEMORY, "no memory for an answer");
    else if ((jwks ? read_jwks : read_discovery)(f, response->body, reading, &err) == 0) {
        feed_good(f, reading);
        return;
    }
    reading_free(reading);
    feed_bad(f, &err);
}

static void ask(struct feed *f)
{
    struct buf cleanup_buf url = {0};
    bool jwks = f->key.kind == SOURCE_JWKS;
    const struct http_header accept = {"Accept", jwks ? "application/json, application/jwk-set+json"
                                                      : "application/json"};
    buf_append_text(&url, f->key.url);
    if (!jwks)
        buf_append_text(&url, "/.well-known/openid-configuration");
    struct http_request request = {
        .method = "GET",
        .url = buf_text(&url),
        .headers = &accept,
        .headers_count = 1,
    };
    if (!url.failed && feed_send(f, &request, on_answer) == 0)
        return;
    struct err err = {0};
    err_set(&err, ERR_NO_MEMORY, "no memory for a request");
    feed_bad(f, &err);
}

static void on_timer(void *ctx)
{
    struct feed *f = ctx;
    f->polling = true;
    if (f->key.kind == SOURCE_ADMIN)
        admin_poll(f);
    else
        ask(f);
}
