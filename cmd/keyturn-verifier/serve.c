/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <libwebsockets.h>
#include "base/buf.h"
#include "io/loop.h"
#include "io/sandbox.h"
#include "obs/log.h"
#include "verify.h"
#include "watch.h"

#define CONNECTIONS_MAX 128
#define FDS_MAX (CONNECTIONS_MAX + 16) /* and the listener, our loop, libwebsockets' own */
#define HEAD_BYTES_MAX 4096
#define REQUEST_TIMEOUT_S 10
#define KEEPALIVE_S 30
#define BODY_MAX (JOSE_TOKEN_MAX + 1024) /* a token and some space around it */
#define SWALLOW_MAX (1UL << 20)          /* of a body that is too large, so that 413 arrives */
#define PIECE_BYTES 16384
#define KIDS_SHOWN 512
#define JSON_TYPE "application/json"

struct server {
    struct loop *loop;
    struct watch *watch;
    struct lws_context *context;
    struct lws_vhost *vhost;
    const struct flags *flags;
    struct keyring *ring;
    struct err last; /* of the last reload; ERR_NONE when it was good */
    unsigned connections;
};

/* One request on a connection; libwebsockets makes it, zeroed, and frees it. */
struct exchange {
    struct buf request; /* the token: secret */
    struct buf answer;
    size_t sent;
    bool verifies; /* POST /verify: a body is on its way */
};

static struct server *server_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

static void exchange_release(struct exchange *x)
{
    if (x == NULL) {
        return;
    }
    buf_release(&x->request);
    buf_release(&x->answer);
    *x = (struct exchange){0};
}

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

static void render_error(struct buf *out, const char *sentence)
{
    buf_append_text(out, "{\"error\":");
    buf_append_json(out, sentence);
    buf_append_text(out, "}\n");
}

static int add_header(struct lws *wsi, const char *name, const char *value, unsigned char **p,
                      unsigned char *end)
{
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
                                       (const unsigned char *)value, (int)strlen(value), p, end);
}

static int send_head(struct lws *wsi, unsigned status, const char *allow, size_t body_len)
{
    unsigned char head[LWS_PRE + 2048];
    unsigned char *start = head + LWS_PRE;
    unsigned char *p = start;
    unsigned char *end = head + sizeof(head) - 1;
    if (lws_add_http_common_headers(wsi, status, JSON_TYPE, (lws_filepos_t)body_len, &p, end) !=
            0 ||
        add_header(wsi, "cache-control:", "no-store", &p, end) != 0 ||
        add_header(wsi, "x-content-type-options:", "nosniff", &p, end) != 0 ||
        (allow != NULL && add_header(wsi, "allow:", allow, &p, end) != 0)) {
        return -1;
    }
    return lws_finalize_write_http_header(wsi, start, &p, end) != 0 ? -1 : 0;
}

/* Writes one piece: 1 there is more, 0 that was the last, -1. libwebsockets keeps what the socket
 * does not take. */
static int send_piece(struct lws *wsi, struct exchange *x)
{
    unsigned char piece[LWS_PRE + PIECE_BYTES];
    size_t left = x->answer.len - x->sent;
    size_t len = left < PIECE_BYTES ? left : PIECE_BYTES;
    bool last = len == left;
    memcpy(piece + LWS_PRE, x->answer.data + x->sent, len);
    if (lws_write(wsi, piece + LWS_PRE, len, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0) {
        return -1;
    }
    x->sent += len;
    return last ? 0 : 1;
}

static int on_writeable(struct lws *wsi, struct exchange *x)
{
    if (x == NULL || x->answer.len == 0) {
        return 0;
    }
    int more = send_piece(wsi, x);
    if (more > 0) {
        lws_callback_on_writable(wsi);
    }
    if (more != 0) {
        return more < 0 ? -1 : 0;
    }
    exchange_release(x);
    /* This may free the exchange: nothing of it is touched below. */
    return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

static int answer(struct lws *wsi, struct exchange *x, unsigned status)
{
    if (x->answer.failed || send_head(wsi, status, NULL, x->answer.len) != 0) {
        return -1; /* no memory: the client sees a close */
    }
    lws_callback_on_writable(wsi);
    return 0;
}

/* An answer after which the connection ends: a body that nobody reads may follow. */
static int refuse(struct lws *wsi, struct exchange *x, unsigned status, const char *sentence)
{
    const char *allow = status == HTTP_STATUS_METHOD_NOT_ALLOWED ? "GET, POST" : NULL;
    exchange_release(x);
    render_error(&x->answer, sentence);
    if (!x->answer.failed && send_head(wsi, status, allow, x->answer.len) == 0) {
        (void)send_piece(wsi, x); /* one piece holds it */
    }
    return -1; /* what is left is released as the connection closes */
}

/* The body comes later; its length is known before. */
static int on_verify(struct lws *wsi, struct exchange *x)
{
    char text[24] = "";
    uint64_t length = 0;
    if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 ||
        !str_to_u64(str_trim(str_from(text)), &length)) {
        return refuse(wsi, x, HTTP_STATUS_LENGTH_REQUIRED,
                      "send the token as the body, with Content-Length");
    }
    if (length > SWALLOW_MAX) {
        return refuse(wsi, x, HTTP_STATUS_REQ_ENTITY_TOO_LARGE,
                      "the body is far too large for a token");
    }
    x->request = (struct buf){.secret = true, .max = BODY_MAX};
    x->verifies = true;
    return 0;
}

static int on_body_complete(struct lws *wsi, struct exchange *x)
{
    struct server *s = server_of(wsi);
    struct verify_rules rules = {s->flags->issuer, loop_wall_us() / 1000000};
    struct err err = {0};
    if (!x->verifies) {
        return -1;
    }
    if (x->request.failed) {
        render_error(&x->answer, "the body is too large for a token");
        return answer(wsi, x, HTTP_STATUS_REQ_ENTITY_TOO_LARGE);
    }
    int verdict = verify_token(s->ring, buf_view(&x->request), &rules, &x->answer, &err);
    buf_release(&x->request);
    return answer(wsi, x, verdict == 0 ? HTTP_STATUS_OK : HTTP_STATUS_UNAUTHORIZED);
}

static int on_request(struct lws *wsi, struct exchange *x, const char *path)
{
    struct server *s = server_of(wsi);
    char *uri = NULL;
    int uri_len = 0;
    int method = lws_http_get_uri_and_method(wsi, &uri, &uri_len);
    bool posts = method == LWSHUMETH_POST;
    exchange_release(x);
    if (posts && strcmp(path, "/verify") == 0) {
        return on_verify(wsi, x);
    }
    if (method == LWSHUMETH_GET && strcmp(path, "/keys") == 0) {
        render_keys(s->ring, &x->answer);
        return answer(wsi, x, HTTP_STATUS_OK);
    }
    if (method == LWSHUMETH_GET && strcmp(path, "/healthz") == 0) {
        render_health(s, &x->answer);
        return answer(wsi, x, HTTP_STATUS_OK);
    }
    bool known =
        strcmp(path, "/verify") == 0 || strcmp(path, "/keys") == 0 || strcmp(path, "/healthz") == 0;
    return refuse(wsi, x, known ? HTTP_STATUS_METHOD_NOT_ALLOWED : HTTP_STATUS_NOT_FOUND,
                  "there are POST /verify, GET /keys and GET /healthz");
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t len)
{
    struct server *s = server_of(wsi);
    struct exchange *x = user;
    switch ((int)reason) { /* some ninety, of which these concern us */
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION: return s->connections >= CONNECTIONS_MAX ? -1 : 0;
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        s->connections++;
        lws_set_opaque_user_data(wsi, s); /* the mark of those that are counted */
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (lws_get_opaque_user_data(wsi) == s) {
            s->connections--;
        }
        return 0;
    case LWS_CALLBACK_HTTP: return on_request(wsi, x, in);
    case LWS_CALLBACK_HTTP_BODY:
        if (x->verifies) {
            buf_append(&x->request, in, len);
        }
        return 0;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION: return on_body_complete(wsi, x);
    case LWS_CALLBACK_HTTP_WRITEABLE: return on_writeable(wsi, x);
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP: exchange_release(x); return 0;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return -1; /* neither WebSocket nor h2c */
    default: return 0;
    }
}

static int on_loop(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t len)
{
    (void)user;
    (void)in;
    (void)len;
    if (reason == LWS_CALLBACK_RAW_RX_FILE) {
        loop_run_ready(server_of(wsi)->loop);
    }
    return 0;
}

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = on_http, .per_session_data_size = sizeof(struct exchange)},
    {.name = "loop", .callback = on_loop},
    {.name = NULL},
};

/* --- start and stop -------------------------------------------------------------- */

struct address {
    char host[INET6_ADDRSTRLEN]; /* "" = every address */
    bool is_v6;
    uint16_t port;
};

/* Numbers only: libwebsockets would take a name for that of a network interface. */
static bool parse_listen(const char *listen, struct address *ret)
{
    unsigned char binary[16];
    uint64_t port = 0;
    const char *colon = strrchr(listen, ':');
    *ret = (struct address){0};
    if (colon == NULL || !str_to_u64(str_from(colon + 1), &port) || port > UINT16_MAX) {
        return false;
    }
    ret->port = (uint16_t)port;
    struct str host = {listen, (size_t)(colon - listen)};
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
        ret->is_v6 = true;
        host = (struct str){host.data + 1, host.len - 2};
    }
    if (host.len >= sizeof(ret->host)) {
        return false;
    }
    memcpy(ret->host, host.data, host.len);
    if (!ret->is_v6 && host.len == 0) {
        return true;
    }
    return inet_pton(ret->is_v6 ? AF_INET6 : AF_INET, ret->host, binary) == 1;
}

static struct lws_vhost *listen_on(struct server *s, const struct address *a, bool v4_only)
{
    struct lws_context_creation_info info = {
        .port = a->port,
        .iface = a->host[0] != '\0' ? a->host : NULL,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND |
                   (v4_only ? LWS_SERVER_OPTION_DISABLE_IPV6 : 0),
        .keepalive_timeout = KEEPALIVE_S,
        .timeout_secs = REQUEST_TIMEOUT_S,
        .uid = -1,
        .gid = -1,
    };
    errno = 0;
    return lws_create_vhost(s->context, &info);
}

static int open_port(struct server *s, struct err *err)
{
    struct address a;
    const char *listen = s->flags->listen;
    if (!parse_listen(listen, &a)) {
        return err_set(err, ERR_INVALID,
                       "--listen %s: write address:port with a numeric address, for example "
                       "0.0.0.0:8080, [::]:8080 or :8080",
                       listen);
    }
    bool any = a.host[0] == '\0';
    s->vhost = listen_on(s, &a, !any && !a.is_v6);
    if (s->vhost == NULL && any) {
        s->vhost = listen_on(s, &a, true); /* a machine without IPv6 */
    }
    if (s->vhost == NULL) {
        return err_set(
            err, ERR_REFUSED,
            "cannot listen on %s (%s): choose an address of this machine and a free port", listen,
            errno != 0 ? strerror(errno) : "unknown reason");
    }
    return 0;
}

/* libwebsockets closes what it has adopted, and our loop closes its own: hence a copy. */
static int adopt_loop(struct server *s, struct err *err)
{
    int fd = dup(loop_fd(s->loop));
    lws_sock_file_fd_type desc = {.filefd = fd};
    if (fd < 0 ||
        lws_adopt_descriptor_vhost(s->vhost, LWS_ADOPT_RAW_FILE_DESC, desc, "loop", NULL) == NULL) {
        return err_set(err, ERR_NO_MEMORY, "libwebsockets does not take the event loop");
    }
    return 0;
}

static void on_stop(void *ctx, int signal)
{
    struct server *s = ctx;
    log_info("stopping", LOG_NUMBER("signal", signal));
    loop_stop(s->loop);
}

static int start(struct server *s, struct err *err)
{
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .port = CONTEXT_PORT_NO_LISTEN,
        .fd_limit_per_thread = FDS_MAX,
        .max_http_header_data = HEAD_BYTES_MAX,
        .max_http_header_pool = CONNECTIONS_MAX,
        .user = s,
        .uid = -1,
        .gid = -1,
    };
    lws_set_log_level(0, NULL); /* it would write to standard error in a format of its own */
    s->loop = loop_new(err);
    if (s->loop == NULL || loop_on_stop_signal(s->loop, on_stop, s, err) != 0) {
        return -1;
    }
    s->context = lws_create_context(&info);
    if (s->context == NULL) {
        return err_set(err, ERR_NO_MEMORY, "libwebsockets does not start");
    }
    if (open_port(s, err) != 0 || adopt_loop(s, err) != 0) {
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
                 LOG_NUMBER("port", lws_get_vhost_listen_port(s.vhost)));
        while (!loop_stopped(s.loop)) {
            if (lws_service(s.context, 0) < 0) {
                result = err_set(err, ERR_BUG, "libwebsockets gave up: start again");
                break;
            }
        }
    }
    watch_free(s.watch);
    if (s.context != NULL) {
        lws_context_destroy(s.context);
    }
    if (s.loop != NULL) {
        loop_free(s.loop);
    }
    keyring_release(ring);
    return result;
}
