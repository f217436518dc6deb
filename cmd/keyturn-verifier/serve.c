/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <string.h>
#include "base/buf.h"
#include "io/loop.h"
#include "io/sandbox.h"
#include "obs/log.h"
#include "verify.h"
#include "watch.h"
#include "web/server.h"

#define CONNECTIONS_MAX 128
#define ARRIVE_S 10
#define TAKE_S 60
#define BODY_MAX (JOSE_TOKEN_MAX + 1024) /* a token and some space around it */
#define KIDS_SHOWN 512

struct server {
    struct loop *loop;
    struct watch *watch;
    struct web_server *web;
    const struct flags *flags;
    struct keyring *ring;
    struct err last; /* of the last reload; ERR_NONE when it was good */
};

/* --- keys ------------------------------------------------------------------------ */

static void log_keys(const char *what, const struct keyring *ring)
{
    char kids[KIDS_SHOWN];
    keyring_kids(ring, kids, sizeof(kids));
    log_info(what, LOG_NUMBER("keys", ring->count), LOG_TEXT("source", ring->source),
             LOG_TEXT("kids", kids), LOG_TEXT("trust_hash", ring->trust_hash));
}

/* Good keys are never given up for none: a mount may be half written, or gone for a moment. */
static void reload(void *ctx)
{
    struct server *s = ctx;
    struct keyring fresh = {0};
    struct err err = {0};
    if (keyring_load(s->flags->keys, &fresh, &err) != 0) {
        if (strcmp(err.msg, s->last.msg) != 0) {
            log_warn("keys cannot be read; those at hand stay", LOG_TEXT("error", err.msg));
        }
        s->last = err;
        return;
    }
    s->last = (struct err){0};
    if (keyring_equal(&fresh, s->ring)) {
        keyring_release(&fresh);
        return;
    }
    keyring_release(s->ring);
    *s->ring = fresh;
    log_keys("keys read again", s->ring);
}

static void render_keys(const struct keyring *ring, struct buf *out)
{
    buf_append_text(out, "{\"trustHash\":");
    buf_append_json(out, ring->trust_hash[0] == '\0' ? NULL : ring->trust_hash);
    buf_appendf(out, ",\"source\":\"%s\",\"keys\":[", ring->source);
    for (size_t i = 0; i < ring->count; i++) {
        buf_appendf(out, "%s{\"kid\":", i == 0 ? "" : ",");
        buf_append_json(out, ring->keys[i]->kid);
        buf_appendf(out, ",\"alg\":\"%s\",\"spkiSHA256\":\"%s\"}", ring->keys[i]->alg,
                    ring->keys[i]->spki_sha256);
    }
    buf_append_text(out, "]}\n");
}

static void render_health(const struct server *s, struct buf *out)
{
    buf_appendf(out, "{\"status\":\"ok\",\"keys\":%zu,\"reloadError\":", s->ring->count);
    buf_append_json(out, s->last.class == ERR_NONE ? NULL : s->last.msg);
    buf_append_text(out, "}\n");
}

/* --- HTTP ------------------------------------------------------------------------ */

static unsigned verify(const struct server *s, const struct str *token, struct web_answer *answer)
{
    struct verify_rules rules = {s->flags->issuer, loop_wall_us() / 1000000};
    struct err err = {0};
    if (token == NULL) {
        return 0;
    }
    return verify_token(s->ring, *token, &rules, &answer->body, &err) == 0 ? 200 : 401;
}

static unsigned handle(void *ctx, const struct web_request *request, struct web_answer *answer)
{
    struct server *s = ctx;
    bool is_verify = strcmp(request->path, "/verify") == 0;
    bool is_keys = strcmp(request->path, "/keys") == 0;
    bool is_health = strcmp(request->path, "/healthz") == 0;
    answer->type = "application/json";
    if (is_verify && request->method == WEB_POST) {
        return verify(s, request->body, answer);
    }
    if (is_keys && request->method == WEB_GET) {
        render_keys(s->ring, &answer->body);
        return 200;
    }
    if (is_health && request->method == WEB_GET) {
        render_health(s, &answer->body);
        return 200;
    }
    web_error(answer, "there are POST /verify, GET /keys and GET /healthz");
    if (!is_verify && !is_keys && !is_health) {
        return 404;
    }
    answer->allow = "GET, POST";
    return 405;
}

/* --- start and stop -------------------------------------------------------------- */

static void on_stop(void *ctx, int signal)
{
    struct server *s = ctx;
    log_info("stopping", LOG_NUMBER("signal", signal));
    loop_stop(s->loop);
}

static int start(struct server *s, struct err *err)
{
    struct web_options options = {
        .listen = s->flags->listen,
        .connections_max = CONNECTIONS_MAX,
        .arrive_s = ARRIVE_S,
        .take_s = TAKE_S,
        .body_max = BODY_MAX,
        .body_secret = true,
        .handle = handle,
        .ctx = s,
    };
    s->loop = loop_new(err);
    if (s->loop == NULL || loop_on_stop_signal(s->loop, on_stop, s, err) != 0) {
        return -1;
    }
    s->web = web_server_new(s->loop, &options, err);
    if (s->web == NULL) {
        return -1;
    }
    if (s->flags->reload) {
        s->watch = watch_new(s->loop, s->flags->keys, reload, s);
        if (s->watch == NULL) {
            return err_set(err, ERR_NO_MEMORY, "out of memory");
        }
    }
    return sandbox_final(err);
}

int serve(const struct flags *flags, struct keyring *ring, struct err *err)
{
    struct server s = {.flags = flags, .ring = ring};
    int result = start(&s, err);
    if (result == 0) {
        log_keys("keys read", ring);
        log_info("listening", LOG_TEXT("address", flags->listen),
                 LOG_NUMBER("port", web_server_port(s.web)));
        if (web_server_run(s.web) != 0) {
            result = err_set(err, ERR_BUG, "libwebsockets gave up: start again");
        }
    }
    watch_free(s.watch);
    web_server_free(s.web);
    if (s.loop != NULL) {
        loop_free(s.loop);
    }
    keyring_release(ring);
    return result;
}
