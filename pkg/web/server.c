/* SPDX-License-Identifier: Apache-2.0 */
#include "web/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <libwebsockets.h>

#define FDS_MORE 16 /* than connections: the listener, our loop, libwebsockets' own */
#define PIECE_BYTES 16384
#define HEAD_BYTES_MAX 4096
#define KEEPALIVE_S 30
#define SWALLOW_BYTES (1UL << 20) /* of a body that is too large, so that the 413 arrives */

struct web_server {
    struct loop *loop;
    struct web_options options;
    struct lws_context *context;
    struct lws_vhost *vhost;
    unsigned connections;
};

enum stage { STAGE_IDLE, STAGE_BODY, STAGE_ANSWER };

/* One request on a connection; libwebsockets makes it, zeroed, and frees it. */
struct exchange {
    enum stage stage;
    bool is_head;
    bool ends; /* the connection, after the answer: a body may follow that nobody reads */
    struct buf body;
    struct web_answer answer;
    size_t sent;
};

static struct web_server *server_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

static void exchange_release(struct exchange *x)
{
    if (x == NULL)
        return;
    if (x->answer.held != NULL)
        (*x->answer.held)--;
    buf_release(&x->body);
    buf_release(&x->answer.body);
    *x = (struct exchange){0};
}

/* libwebsockets' own timeout is renewed by each piece of a body, but goes on when our exchange is
 * over and its last bytes are not: hence both, that and a timer for the whole stage. */
static void enter(struct lws *wsi, struct exchange *x, enum stage stage, unsigned limit_s)
{
    x->stage = stage;
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, (int)limit_s);
    lws_set_timer_usecs(wsi, limit_s * LWS_USEC_PER_SEC);
}

/* --- answers --- */

static int finish(struct lws *wsi, struct exchange *x)
{
    bool ends = x->ends;
    exchange_release(x);
    /* This may free the exchange: nothing of it is touched below. */
    return ends || lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

/* Writes one piece; libwebsockets keeps what the socket does not take and asks again later. */
static int send_piece(struct lws *wsi, struct exchange *x)
{
    unsigned char piece[LWS_PRE + PIECE_BYTES];
    size_t left = x->answer.body.len - x->sent;
    size_t len = left < PIECE_BYTES ? left : PIECE_BYTES;
    bool last = len == left;
    memcpy(piece + LWS_PRE, x->answer.body.data + x->sent, len);
    if (lws_write(wsi, piece + LWS_PRE, len, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
        return -1;
    x->sent += len;
    if (last)
        return finish(wsi, x);
    lws_callback_on_writable(wsi);
    return 0;
}

static int add_header(struct lws *wsi, const char *name, const char *value, unsigned char **p,
                      unsigned char *end)
{
    if (value == NULL)
        return 0;
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
                                       (const unsigned char *)value, (int)strlen(value), p, end);
}

static int send_head(struct lws *wsi, const struct exchange *x, unsigned status)
{
    unsigned char head[LWS_PRE + 2048];
    unsigned char *start = head + LWS_PRE;
    unsigned char *p = start;
    unsigned char *end = head + sizeof(head) - 1;
    const struct web_answer *a = &x->answer;
    if (lws_add_http_common_headers(wsi, status, a->type, (lws_filepos_t)a->body.len, &p, end) !=
            0 ||
        add_header(wsi, "cache-control:", "no-store", &p, end) != 0 ||
        add_header(wsi, "x-content-type-options:", "nosniff", &p, end) != 0 ||
        add_header(wsi, "connection:", x->ends ? "close" : NULL, &p, end) != 0 ||
        add_header(wsi, "allow:", a->allow, &p, end) != 0)
        return -1;
    return lws_finalize_write_http_header(wsi, start, &p, end) != 0 ? -1 : 0;
}

static int send_answer(struct lws *wsi, struct exchange *x, unsigned status)
{
    /* A body that could not be made at all (no memory) is no answer: the client sees a close. */
    if (x->answer.body.failed || send_head(wsi, x, status) != 0)
        return -1;
    if (x->is_head || x->answer.body.len == 0)
        return finish(wsi, x);
    enter(wsi, x, STAGE_ANSWER, server_of(wsi)->options.take_s);
    lws_callback_on_writable(wsi);
    return 0;
}

static int refuse(struct lws *wsi, struct exchange *x, unsigned status, const char *sentence)
{
    web_error(&x->answer, sentence);
    return send_answer(wsi, x, status);
}

void web_error(struct web_answer *answer, const char *sentence)
{
    answer->type = "application/json";
    buf_append_text(&answer->body, "{\"error\":");
    buf_append_json(&answer->body, sentence);
    buf_append_text(&answer->body, "}\n");
}

/* --- requests --- */

/* The body comes later; its length is known before. */
static int await_body(struct lws *wsi, struct exchange *x)
{
    const struct web_options *options = &server_of(wsi)->options;
    char text[24] = "";
    uint64_t length = 0;
    x->ends = true;
    if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 ||
        !str_to_u64(str_trim(str_from(text)), &length))
        return refuse(wsi, x, HTTP_STATUS_LENGTH_REQUIRED, "a body with Content-Length is needed");
    if (length > options->body_max + SWALLOW_BYTES)
        return refuse(wsi, x, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, "the body is far too large");
    x->ends = false;
    x->body = (struct buf){.secret = options->body_secret, .max = options->body_max};
    enter(wsi, x, STAGE_BODY, options->arrive_s);
    return 0;
}

static bool brings_body(struct lws *wsi)
{
    return lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 ||
           lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
}

static int handle(struct lws *wsi, struct exchange *x, const struct str *body)
{
    const struct web_options *options = &server_of(wsi)->options;
    char *path = NULL;
    int path_len = 0;
    int method = lws_http_get_uri_and_method(wsi, &path, &path_len);
    struct web_request request = {WEB_OTHER, path, body};
    x->is_head = method == LWSHUMETH_HEAD;
    if (x->is_head || method == LWSHUMETH_GET)
        request.method = WEB_GET;
    else if (method == LWSHUMETH_POST)
        request.method = WEB_POST;
    x->answer.body.max = options->answer_max;
    unsigned status = options->handle(options->ctx, &request, &x->answer);
    buf_release(&x->body);
    if (status == 0)
        return await_body(wsi, x);
    x->ends = body == NULL && (request.method != WEB_GET || brings_body(wsi));
    return send_answer(wsi, x, status);
}

static int on_request(struct lws *wsi, struct exchange *x)
{
    exchange_release(x);
    return handle(wsi, x, NULL);
}

static int on_body(struct lws *wsi, struct exchange *x)
{
    if (x->stage != STAGE_BODY)
        return 0; /* nobody wanted it, the answer is under way */
    struct str body = buf_view(&x->body);
    if (x->body.failed)
        return refuse(wsi, x, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, "the body is too large");
    return handle(wsi, x, &body);
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t len)
{
    struct web_server *s = server_of(wsi);
    struct exchange *x = user;
    switch ((int)reason) { /* some ninety, of which these concern us */
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return s->connections >= s->options.connections_max ? -1 : 0;
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        s->connections++;
        lws_set_opaque_user_data(wsi, s); /* the mark of those that are counted */
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (lws_get_opaque_user_data(wsi) == s)
            s->connections--;
        return 0;
    case LWS_CALLBACK_HTTP: return on_request(wsi, x);
    case LWS_CALLBACK_HTTP_BODY:
        if (x->stage == STAGE_BODY)
            buf_append(&x->body, in, len);
        return 0;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION: return on_body(wsi, x);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return x == NULL || x->stage != STAGE_ANSWER ? 0 : send_piece(wsi, x);
    case LWS_CALLBACK_TIMER:
        /* Set anew by each stage, so one under way now has had all of its time. */
        return x == NULL || x->stage == STAGE_IDLE ? 0 : -1;
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
    if (reason == LWS_CALLBACK_RAW_RX_FILE)
        loop_run_ready(server_of(wsi)->loop);
    return 0;
}

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = on_http, .per_session_data_size = sizeof(struct exchange)},
    {.name = "loop", .callback = on_loop},
    {.name = NULL},
};

/* --- start and stop --- */

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
    if (!ret->is_v6 && host.len == 0)
        return true;
    return inet_pton(ret->is_v6 ? AF_INET6 : AF_INET, ret->host, binary) == 1;
}

static struct lws_vhost *listen_on(struct web_server *s, const struct address *a, bool v4_only)
{
    struct lws_context_creation_info info = {
        .port = a->port,
        .iface = a->host[0] != '\0' ? a->host : NULL,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND |
                   (v4_only ? LWS_SERVER_OPTION_DISABLE_IPV6 : 0),
        .keepalive_timeout = KEEPALIVE_S,
        .timeout_secs_ah_idle = s->options.arrive_s,
        .uid = -1,
        .gid = -1,
    };
    errno = 0;
    return lws_create_vhost(s->context, &info);
}

static int open_port(struct web_server *s, struct err *err)
{
    struct address a;
    const char *listen = s->options.listen;
    if (!parse_listen(listen, &a))
        return err_set(err, ERR_INVALID,
                       "listen address \"%s\": write address:port with a numeric address, "
                       "for example 0.0.0.0:8080, [::]:8080 or :8080",
                       listen);
    bool any = a.host[0] == '\0';
    s->vhost = listen_on(s, &a, !any && !a.is_v6);
    if (s->vhost == NULL && any)
        s->vhost = listen_on(s, &a, true); /* a machine without IPv6 */
    if (s->vhost != NULL)
        return 0;
    return err_set(err, ERR_REFUSED,
                   "cannot listen on %s (%s): choose an address of this machine and a free port",
                   listen, errno != 0 ? strerror(errno) : "unknown reason");
}

/* libwebsockets closes what it has adopted, and our loop closes its own: hence a copy. */
static int adopt_loop(struct web_server *s, struct err *err)
{
    int fd = dup(loop_fd(s->loop));
    if (fd < 0)
        return err_set(err, ERR_LIMIT, "web: cannot copy the loop's fd: %s", strerror(errno));
    lws_sock_file_fd_type desc = {.filefd = fd};
    if (lws_adopt_descriptor_vhost(s->vhost, LWS_ADOPT_RAW_FILE_DESC, desc, "loop", NULL) == NULL)
        return err_set(err, ERR_NO_MEMORY, "web: libwebsockets does not take the loop's fd");
    return 0;
}

static int start(struct web_server *s, struct err *err)
{
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .port = CONTEXT_PORT_NO_LISTEN,
        .fd_limit_per_thread = s->options.connections_max + FDS_MORE,
        .max_http_header_data = HEAD_BYTES_MAX,
        .max_http_header_pool = (unsigned short)s->options.connections_max,
        .timeout_secs = s->options.arrive_s,
        .user = s,
        .uid = -1,
        .gid = -1,
    };
    lws_set_log_level(0, NULL); /* it would write to standard error in a format of its own */
    s->context = lws_create_context(&info);
    if (s->context == NULL)
        return err_set(err, ERR_NO_MEMORY, "web: libwebsockets does not start");
    return open_port(s, err) != 0 || adopt_loop(s, err) != 0 ? -1 : 0;
}

struct web_server *web_server_new(struct loop *loop, const struct web_options *options,
                                  struct err *err)
{
    struct web_server *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        err_set(err, ERR_NO_MEMORY, "web: out of memory");
        return NULL;
    }
    *s = (struct web_server){.loop = loop, .options = *options};
    if (start(s, err) == 0)
        return s;
    web_server_free(s);
    return NULL;
}

int web_server_run(struct web_server *server)
{
    while (!loop_stopped(server->loop)) {
        if (lws_service(server->context, 0) < 0)
            return -1;
    }
    return 0;
}

void web_server_free(struct web_server *server)
{
    if (server == NULL)
        return;
    if (server->context != NULL)
        lws_context_destroy(server->context);
    free(server);
}

int web_server_port(const struct web_server *server)
{
    return lws_get_vhost_listen_port(server->vhost);
}
