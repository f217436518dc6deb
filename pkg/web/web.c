/* SPDX-License-Identifier: Apache-2.0 */
#include "web/web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <libwebsockets.h>
#include "base/str.h"

#define CONNECTIONS_MAX 64
#define FDS_MAX (CONNECTIONS_MAX + 16) /* and the listener, our loop, libwebsockets' own */
#define PAGES_MAX 8                    /* copies of /metrics held for readers at a time */
#define PAGE_BYTES_MAX (64UL << 20)
#define PIECE_BYTES 16384
#define HEAD_BYTES_MAX 4096
#define HEADER_TIMEOUT_S 10 /* for a request to arrive */
#define REPLY_TIMEOUT_S 60  /* for an answer to be taken, whole */
#define KEEPALIVE_S 30
#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct web {
    struct loop *loop;
    struct web_source source;
    struct lws_context *context;
    struct lws_vhost *vhost;
    unsigned connections;
    unsigned pages;
};

/* What is being answered on a connection; libwebsockets makes it, zeroed, and frees it. */
struct reply {
    struct buf body;
    size_t sent;
    bool is_page; /* counted in web->pages */
};

static struct web *web_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

static void reply_release(struct web *web, struct reply *r)
{
    if (r == NULL)
        return;
    if (r->is_page)
        web->pages--;
    buf_release(&r->body);
    *r = (struct reply){0};
}

static int reply_done(struct lws *wsi, struct reply *r)
{
    reply_release(web_of(wsi), r);
    return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

static int send_head(struct lws *wsi, unsigned status, const char *type, size_t body_len)
{
    unsigned char head[LWS_PRE + 2048];
    unsigned char *start = head + LWS_PRE;
    unsigned char *p = start;
    unsigned char *end = head + sizeof(head) - 1;
    static const unsigned char no_store[] = "no-store";
    static const unsigned char nosniff[] = "nosniff";
    static const unsigned char allow[] = "GET, HEAD";
    if (lws_add_http_common_headers(wsi, status, type, (lws_filepos_t)body_len, &p, end) != 0 ||
        lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_CACHE_CONTROL, no_store,
                                     (int)sizeof(no_store) - 1, &p, end) != 0 ||
        lws_add_http_header_by_name(wsi, (const unsigned char *)"x-content-type-options:", nosniff,
                                    (int)sizeof(nosniff) - 1, &p, end) != 0)
        return -1;
    if (status == HTTP_STATUS_METHOD_NOT_ALLOWED &&
        lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_ALLOW, allow, (int)sizeof(allow) - 1, &p,
                                     end) != 0)
        return -1;
    return lws_finalize_write_http_header(wsi, start, &p, end) != 0 ? -1 : 0;
}

/* Writes one piece; libwebsockets keeps what the socket does not take and asks again later. */
static int send_piece(struct lws *wsi, struct reply *r)
{
    unsigned char piece[LWS_PRE + PIECE_BYTES];
    size_t left = r->body.len - r->sent;
    size_t len = left < PIECE_BYTES ? left : PIECE_BYTES;
    memcpy(piece + LWS_PRE, r->body.data + r->sent, len);
    bool last = len == left;
    if (lws_write(wsi, piece + LWS_PRE, len, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
        return -1;
    r->sent += len;
    if (last)
        return reply_done(wsi, r);
    lws_callback_on_writable(wsi);
    return 0;
}

/* Fills the body and says the status. */
static unsigned judge(bool (*good)(void *ctx, struct buf *why), void *ctx, struct buf *body)
{
    if (good == NULL || good(ctx, body)) {
        buf_clear(body);
        buf_append_text(body, "ok\n");
        return HTTP_STATUS_OK;
    }
    buf_append_char(body, '\n');
    return HTTP_STATUS_SERVICE_UNAVAILABLE;
}

static unsigned render_page(struct web *web, struct reply *r)
{
    if (web->pages >= PAGES_MAX) {
        buf_append_text(&r->body, "too many readers of /metrics at a time; try again\n");
        return HTTP_STATUS_SERVICE_UNAVAILABLE;
    }
    r->body.max = PAGE_BYTES_MAX;
    r->is_page = true;
    web->pages++;
    if (web->source.metrics != NULL)
        web->source.metrics(web->source.ctx, &r->body);
    if (!r->body.failed)
        return HTTP_STATUS_OK;
    buf_release(&r->body);
    buf_append_text(&r->body, "the metrics are too large, or there is no memory for them\n");
    return HTTP_STATUS_INTERNAL_SERVER_ERROR;
}

static unsigned answer(struct web *web, const char *path, struct reply *r)
{
    if (strcmp(path, "/healthz") == 0)
        return judge(web->source.healthy, web->source.ctx, &r->body);
    if (strcmp(path, "/readyz") == 0)
        return judge(web->source.ready, web->source.ctx, &r->body);
    if (strcmp(path, "/metrics") == 0)
        return render_page(web, r);
    buf_append_text(&r->body, "not found; there are /healthz, /readyz and /metrics\n");
    return HTTP_STATUS_NOT_FOUND;
}

static int on_request(struct lws *wsi, struct reply *r, const char *path)
{
    struct web *web = web_of(wsi);
    char *uri = NULL;
    int uri_len = 0;
    int method = lws_http_get_uri_and_method(wsi, &uri, &uri_len);
    bool known = method == LWSHUMETH_GET || method == LWSHUMETH_HEAD;
    unsigned status = HTTP_STATUS_METHOD_NOT_ALLOWED;
    reply_release(web, r);
    if (known)
        status = answer(web, path, r);
    else
        buf_append_text(&r->body, "only GET and HEAD are served\n");
    bool page = status == HTTP_STATUS_OK && r->is_page;
    /* A body that could not be made at all (no memory) is no answer: the client sees a close. */
    if (r->body.failed || send_head(wsi, status, page ? METRICS_TYPE : TEXT_TYPE, r->body.len) != 0)
        return -1;
    if (method == LWSHUMETH_HEAD || r->body.len == 0)
        return reply_done(wsi, r);
    if (!known) {
        /* A request body may follow, which nobody reads: this connection ends here. */
        (void)send_piece(wsi, r);
        return -1;
    }
    /* A timer for the whole answer: libwebsockets uses its one timeout for purposes of its own. */
    lws_set_timer_usecs(wsi, REPLY_TIMEOUT_S * LWS_USEC_PER_SEC);
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t len)
{
    struct web *web = web_of(wsi);
    struct reply *r = user;
    (void)len;
    switch ((int)reason) { /* some ninety, of which these concern us */
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return web->connections >= CONNECTIONS_MAX ? -1 : 0;
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        web->connections++;
        lws_set_opaque_user_data(wsi, web); /* the mark of those that are counted */
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (lws_get_opaque_user_data(wsi) == web)
            web->connections--;
        return 0;
    case LWS_CALLBACK_HTTP: return on_request(wsi, r, in);
    case LWS_CALLBACK_HTTP_WRITEABLE: return r == NULL || r->body.len == 0 ? 0 : send_piece(wsi, r);
    case LWS_CALLBACK_TIMER:
        /* Set anew by each answer, so one under way now has had all of its time. */
        return r != NULL && r->body.len > 0 ? -1 : 0;
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP: reply_release(web, r); return 0;
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
    if (reason == LWS_CALLBACK_RAW_RX_FILE)
        loop_run_ready(web_of(wsi)->loop);
    return 0;
}

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = on_http, .per_session_data_size = sizeof(struct reply)},
    {.name = "loop", .callback = on_loop},
    {.name = NULL},
};

struct address {
    char host[INET6_ADDRSTRLEN]; /* "" = every address */
    bool is_v6;
    uint16_t port;
};

/* "127.0.0.1:8080", "[::1]:8080", ":8080". Numbers only: libwebsockets would take a name for that
 * of a network interface. */
static bool parse_listen(const char *listen, struct address *ret)
{
    unsigned char binary[16];
    uint64_t port = 0;
    const char *colon = strrchr(listen, ':');
    *ret = (struct address){0};
    if (colon == NULL || !str_to_u64(str_from(colon + 1), &port) || port > UINT16_MAX)
        return false;
    ret->port = (uint16_t)port;
    struct str host = {listen, (size_t)(colon - listen)};
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
        ret->is_v6 = true;
        host = (struct str){host.data + 1, host.len - 2};
    }
    if (host.len >= sizeof(ret->host))
        return false;
    memcpy(ret->host, host.data, host.len);
    ret->host[host.len] = '\0';
    if (!ret->is_v6 && host.len == 0)
        return true;
    return inet_pton(ret->is_v6 ? AF_INET6 : AF_INET, ret->host, binary) == 1;
}

static struct lws_vhost *listen_on(struct web *web, const struct address *a, bool v4_only)
{
    struct lws_context_creation_info info = {
        .port = a->port,
        .iface = a->host[0] != '\0' ? a->host : NULL,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND |
                   (v4_only ? LWS_SERVER_OPTION_DISABLE_IPV6 : 0),
        .keepalive_timeout = KEEPALIVE_S,
        .timeout_secs = HEADER_TIMEOUT_S,
        .uid = -1,
        .gid = -1,
    };
    errno = 0;
    return lws_create_vhost(web->context, &info);
}

static int open_port(struct web *web, const char *listen, struct err *err)
{
    struct address a;
    if (!parse_listen(listen, &a))
        return err_set(err, ERR_INVALID,
                       "listen address \"%s\": write address:port with a numeric address, "
                       "for example 0.0.0.0:8080, [::]:8080 or :8080",
                       listen);
    bool any = a.host[0] == '\0';
    web->vhost = listen_on(web, &a, !any && !a.is_v6);
    if (web->vhost == NULL && any)
        web->vhost = listen_on(web, &a, true); /* a machine without IPv6 */
    if (web->vhost != NULL)
        return 0;
    return err_set(err, ERR_REFUSED,
                   "cannot listen on %s (%s): choose an address of this machine and a free port",
                   listen, errno != 0 ? strerror(errno) : "unknown reason");
}

/* libwebsockets closes what it has adopted, and our loop closes its own: hence a copy. */
static int adopt_loop(struct web *web, struct err *err)
{
    int fd = dup(loop_fd(web->loop));
    if (fd < 0)
        return err_set(err, ERR_LIMIT, "web: cannot copy the loop's fd: %s", strerror(errno));
    lws_sock_file_fd_type desc = {.filefd = fd};
    if (lws_adopt_descriptor_vhost(web->vhost, LWS_ADOPT_RAW_FILE_DESC, desc, "loop", NULL) == NULL)
        return err_set(err, ERR_NO_MEMORY, "web: libwebsockets does not take the loop's fd");
    return 0;
}

struct web *web_new(struct loop *loop, const char *listen, const struct web_source *source,
                    struct err *err)
{
    struct web *web = calloc(1, sizeof(*web));
    if (web == NULL) {
        err_set(err, ERR_NO_MEMORY, "web: out of memory");
        return NULL;
    }
    web->loop = loop;
    web->source = *source;
    lws_set_log_level(0, NULL); /* it would write to standard error in a format of its own */
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .port = CONTEXT_PORT_NO_LISTEN,
        .fd_limit_per_thread = FDS_MAX,
        .max_http_header_data = HEAD_BYTES_MAX,
        .max_http_header_pool = CONNECTIONS_MAX,
        .timeout_secs = REPLY_TIMEOUT_S,
        .user = web,
        .uid = -1,
        .gid = -1,
    };
    web->context = lws_create_context(&info);
    if (web->context == NULL) {
        err_set(err, ERR_NO_MEMORY, "web: libwebsockets does not start");
        goto failed;
    }
    if (open_port(web, listen, err) != 0 || adopt_loop(web, err) != 0)
        goto failed;
    return web;
failed:
    web_free(web);
    return NULL;
}

void web_run(struct web *web)
{
    while (!loop_stopped(web->loop)) {
        if (lws_service(web->context, 0) < 0) {
            /* It gave up. The work goes on; whoever probes this port notices and restarts us. */
            loop_run(web->loop);
            return;
        }
    }
}

void web_free(struct web *web)
{
    if (web == NULL)
        return;
    if (web->context != NULL)
        lws_context_destroy(web->context);
    free(web);
}

int web_port(const struct web *web)
{
    return lws_get_vhost_listen_port(web->vhost);
}
