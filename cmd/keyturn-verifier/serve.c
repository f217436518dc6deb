/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/str.h"

#define BODY_BYTES_MAX 16384

struct exchange { /* zeroed by libwebsockets for each connection */
    struct buf body, answer;
    bool verify;
    unsigned status;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static void clear(struct exchange *x)
{
    buf_release(&x->body);
    buf_release(&x->answer);
    *x = (struct exchange){.body = {.max = BODY_BYTES_MAX, .secret = true}};
}

static int start_answer(struct lws *wsi, struct exchange *x, unsigned status)
{
    unsigned char head[LWS_PRE + 512], *p = head + LWS_PRE, *end = head + sizeof(head) - 1;
    x->status = status;
    if (lws_add_http_common_headers(wsi, status, "application/json", x->answer.len, &p, end) != 0 ||
        lws_finalize_write_http_header(wsi, head + LWS_PRE, &p, end) != 0)
        return -1;
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_request(struct lws *wsi, struct verifier *v, struct exchange *x, const char *path)
{
    clear(x);
    bool post = lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0;
    if (post && strcmp(path, "/verify") == 0) {
        x->verify = true;
        return 0; /* the body follows */
    }
    if (!post && strcmp(path, "/keys") == 0) {
        verifier_describe(v, &x->answer);
        return start_answer(wsi, x, HTTP_STATUS_OK);
    }
    bool alive = !post && strcmp(path, "/healthz") == 0;
    buf_append_text(&x->answer,
                    alive ? "ok\n"
                          : "{\"error\":\"ask POST /verify, GET /keys or GET /healthz\"}\n");
    return start_answer(wsi, x, alive ? HTTP_STATUS_OK : HTTP_STATUS_NOT_FOUND);
}

static int on_body_end(struct lws *wsi, struct verifier *v, struct exchange *x)
{
    if (!x->verify)
        return 0;
    if (x->body.failed) {
        buf_append_text(&x->answer, "{\"error\":\"a token has at most 16 KiB\"}\n");
        return start_answer(wsi, x, HTTP_STATUS_REQ_ENTITY_TOO_LARGE);
    }
    int result = verifier_check(v, buf_view(&x->body), (int64_t)time(NULL), &x->answer);
    return start_answer(wsi, x, result == 0 ? HTTP_STATUS_OK : HTTP_STATUS_UNAUTHORIZED);
}

static int on_writable(struct lws *wsi, struct exchange *x)
{
    if (x->status == 0)
        return 0;
    unsigned char *out = malloc(LWS_PRE + x->answer.len + 1);
    if (out == NULL)
        return -1;
    memcpy(out + LWS_PRE, buf_text(&x->answer), x->answer.len);
    int written = lws_write(wsi, out + LWS_PRE, x->answer.len, LWS_WRITE_HTTP_FINAL);
    free(out);
    clear(x);
    return written < 0 || lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    struct verifier *v = lws_context_user(lws_get_context(wsi));
    struct exchange *x = user;
    if (reason == LWS_CALLBACK_HTTP)
        return on_request(wsi, v, x, in);
    if (reason == LWS_CALLBACK_HTTP_BODY) {
        buf_append(&x->body, in, len);
        return 0;
    }
    if (reason == LWS_CALLBACK_HTTP_BODY_COMPLETION)
        return on_body_end(wsi, v, x);
    if (reason == LWS_CALLBACK_HTTP_WRITEABLE)
        return on_writable(wsi, x);
    if (reason == LWS_CALLBACK_CLOSED_HTTP && x != NULL)
        clear(x);
    return 0;
}

int serve(struct verifier *v, const char *listen, struct err *err)
{
    static const struct lws_protocols protocols[] = {
        {.name = "http", .callback = on_event, .per_session_data_size = sizeof(struct exchange)},
        {.name = NULL}};
    const char *colon = strrchr(listen, ':');
    uint64_t port;
    char address[64];
    if (colon == NULL || !str_to_u64(str_from(colon + 1), &port) || port > 65535 ||
        !text_format(address, sizeof(address), "%.*s", (int)(colon - listen), listen))
        return err_set(err, ERR_INVALID, "--listen %s: write ADDR:PORT, as in 0.0.0.0:8080",
                       listen);
    struct lws_context_creation_info info = {.port = (int)port,
                                             .iface = address,
                                             .protocols = protocols,
                                             .user = v,
                                             .gid = -1,
                                             .uid = -1,
                                             .timeout_secs = 10,
                                             .keepalive_timeout = 30};
    lws_set_log_level(0, NULL);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, on_signal);
    struct lws_context *context = lws_create_context(&info);
    if (context == NULL)
        return err_set(err, ERR_REFUSED,
                       "cannot listen on %s: choose an address of this machine and a free port",
                       listen);
    while (!ended && lws_service(context, 0) >= 0)
        ;
    lws_context_destroy(context);
    return 0;
}
