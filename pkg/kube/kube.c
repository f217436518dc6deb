/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/kube.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "codec/kube_codec.h"
#include "kube/access.h"
#include "kube/call.h"

#define POD_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define REFRESH_MS 50000 /* client-go: a minute less 10 s */
#define TIMEOUT_MS 15000
#define WHERE_MAX 160 /* bytes of a path in an error */

struct kube {
    struct http_port *port;
    struct loop *loop;
    struct access access;
    char *user_agent;
    int64_t refreshed_ms;
    struct kube_call *calls;
};

struct kube_call {
    struct kube *kube;
    struct kube_call *prev, *next;
    struct http_call *http;
    char method[8];
    char *path;
    char *content_type;
    struct buf body; /* kept: the request may have to be repeated */
    bool metadata_only, secret, retried;
    enum http_lane lane;
    int64_t deadline_ms; /* of both attempts together */
    struct kube_extra extra;
    kube_done_fn *done;
    void *ctx;
};

struct kube *kube_new(struct http_port *port, struct loop *loop, const struct kube_options *options,
                      struct err *err)
{
    struct kube *kube = calloc(1, sizeof(*kube));
    if (kube == NULL) {
        err_set(err, ERR_NO_MEMORY, "no memory for the API server's client");
        return NULL;
    }
    kube->port = port;
    kube->loop = loop;
    kube->refreshed_ms = loop_clock_ms();
    kube->user_agent = strdup(options->user_agent != NULL ? options->user_agent : "keyturn");
    int result;
    if (kube->user_agent == NULL)
        result = err_set(err, ERR_NO_MEMORY, "no memory for the API server's client");
    else if (options->kubeconfig != NULL)
        result = access_load_kubeconfig(&kube->access, options->kubeconfig, err);
    else
        result = access_load_pod(&kube->access, getenv("KUBERNETES_SERVICE_HOST"),
                                 getenv("KUBERNETES_SERVICE_PORT"), POD_DIR, err);
    if (result != 0) {
        kube_free(kube);
        return NULL;
    }
    return kube;
}

void kube_free(struct kube *kube)
{
    if (kube == NULL)
        return;
    while (kube->calls != NULL)
        kube_cancel(kube->calls);
    access_release(&kube->access);
    free(kube->user_agent);
    free(kube);
}

const char *kube_namespace(const struct kube *kube)
{
    return kube->access.namespace;
}

/* --- one call ------------------------------------------------------------------------------- */

static void call_free(struct kube_call *call)
{
    if (call->prev != NULL)
        call->prev->next = call->next;
    else if (call->kube->calls == call)
        call->kube->calls = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    free(call->path);
    free(call->content_type);
    buf_release(&call->body);
    free(call);
}

static struct kube_call *call_new(struct kube *kube, const struct kube_request *request)
{
    struct kube_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->kube = kube;
    call->metadata_only = request->metadata_only;
    call->secret = request->secret;
    call->lane = request->lane;
    call->body.secret = request->secret;
    bool ok = text_format(call->method, sizeof(call->method), "%s", request->method);
    call->path = strdup(request->path);
    if (request->body.len > 0)
        buf_append_str(&call->body, request->body);
    if (request->content_type != NULL)
        call->content_type = strdup(request->content_type);
    if (!ok || call->path == NULL || call->body.failed ||
        (request->content_type != NULL && call->content_type == NULL)) {
        call_free(call);
        return NULL;
    }
    call->next = kube->calls;
    if (kube->calls != NULL)
        kube->calls->prev = call;
    kube->calls = call;
    return call;
}

static const char *accept_text(const struct kube_call *call)
{
    if (!call->metadata_only)
        return "application/json";
    /* Nothing else is accepted: whoever asks for metadata alone must not be sent a Secret's data.
     */
    return call->extra.list ? "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
                            : "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
}

static void refresh_when_due(struct kube *kube)
{
    int64_t now_ms = loop_clock_ms();
    if (now_ms - kube->refreshed_ms < REFRESH_MS)
        return;
    kube->refreshed_ms = now_ms;
    /* What was read before may still do; if not, the server's answer says so. */
    (void)access_refresh(&kube->access, NULL);
}

static void on_http_done(void *ctx, const struct http_response *response);

static void on_http_chunk(void *ctx, struct str chunk)
{
    struct kube_call *call = ctx;
    call->extra.on_chunk(call->ctx, chunk);
}

/* -1: out of memory. */
static int call_send(struct kube_call *call, int64_t timeout_ms)
{
    struct kube *kube = call->kube;
    const struct access *a = &kube->access;
    struct buf cleanup_buf url = {0};
    struct buf cleanup_buf bearer = {.secret = true};
    buf_appendf(&url, "%s%s", a->server, call->path);
    struct http_header headers[4] = {
        {"Accept", accept_text(call)},
        {"User-Agent", kube->user_agent},
    };
    size_t count = 2;
    if (a->material[ACCESS_TOKEN].text != NULL) {
        buf_appendf(&bearer, "Bearer %s", a->material[ACCESS_TOKEN].text);
        headers[count++] = (struct http_header){"Authorization", buf_text(&bearer)};
    }
    if (call->body.len > 0)
        headers[count++] = (struct http_header){
            "Content-Type", call->content_type != NULL ? call->content_type : "application/json"};
    if (url.failed || bearer.failed)
        return -1;
    struct http_tls tls = {
        .ca_pem = a->material[ACCESS_CA].text,
        .cert_pem = a->material[ACCESS_CERT].text,
        .key_pem = a->material[ACCESS_KEY].text,
        .server_name = a->server_name,
        .insecure = a->insecure,
    };
    struct http_request request = {
        .method = call->method,
        .url = buf_text(&url),
        .headers = headers,
        .headers_count = count,
        .body = buf_view(&call->body),
        .tls = &tls,
        .lane = call->lane,
        .timeout_ms = (int)timeout_ms,
        .idle_timeout_ms = call->extra.idle_timeout_ms,
        .body_max = call->extra.body_max,
        .secret = call->secret,
    };
    struct http_sink sink = {
        .on_chunk = call->extra.on_chunk != NULL ? on_http_chunk : NULL,
        .on_done = on_http_done,
        .ctx = call,
    };
    call->http = http_submit(kube->port, &request, &sink);
    return call->http != NULL ? 0 : -1;
}

/* The files may be newer than what was sent. Neither a 401 nor a failed handshake has done
 * anything, so the request may go out again, once and within its deadline. */
static bool call_repeat(struct kube_call *call, const struct http_response *response)
{
    bool stale = response->err.class == ERR_TLS ||
                 (response->err.class == ERR_NONE && response->status == 401);
    if (!stale || call->retried)
        return false;
    call->retried = true;
    int64_t left_ms = call->deadline_ms - loop_clock_ms();
    if (left_ms <= 0 || !access_refresh(&call->kube->access, NULL))
        return false;
    call->kube->refreshed_ms = loop_clock_ms();
    return call_send(call, left_ms) == 0;
}

static void answer_err(const struct kube_call *call, const struct http_response *response,
                       struct err *ret)
{
    if (response->err.class != ERR_NONE) {
        *ret = response->err;
    } else if (response->status >= 300 && response->status < 400) {
        err_set(ret, ERR_INVALID,
                "answered %d, a redirect, which is not followed: give the API server's own address",
                response->status);
    } else {
        kube_error_decode(response->body, response->status, ret);
    }
    ret->http_status = response->status;
    if (response->retry_after_s > ret->retry_after_s)
        ret->retry_after_s = response->retry_after_s;
    size_t where = strcspn(call->path, "?");
    err_wrap(ret, "%s %.*s", call->method, (int)(where < WHERE_MAX ? where : WHERE_MAX),
             call->path);
}

static void on_http_done(void *ctx, const struct http_response *response)
{
    struct kube_call *call = ctx;
    call->http = NULL;
    if (call_repeat(call, response))
        return;
    struct kube_answer answer = {.err = {0}};
    bool good =
        response->err.class == ERR_NONE && response->status >= 200 && response->status < 300;
    if (good)
        answer.body = response->body;
    else
        answer_err(call, response, &answer.err);
    kube_done_fn *done = call->done;
    void *done_ctx = call->ctx;
    call_free(call);
    done(done_ctx, &answer);
}

struct kube_call *kube_start(struct kube *kube, const struct kube_request *request,
                             const struct kube_extra *extra, kube_done_fn *done, void *ctx)
{
    struct kube_call *call = call_new(kube, request);
    if (call == NULL)
        return NULL;
    int timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : TIMEOUT_MS;
    call->deadline_ms = loop_clock_ms() + timeout_ms;
    call->done = done;
    call->ctx = ctx;
    if (extra != NULL)
        call->extra = *extra;
    refresh_when_due(kube);
    if (call_send(call, timeout_ms) != 0) {
        call_free(call);
        return NULL;
    }
    return call;
}

struct kube_call *kube_submit(struct kube *kube, const struct kube_request *request,
                              kube_done_fn *done, void *ctx)
{
    return kube_start(kube, request, NULL, done, ctx);
}

void kube_cancel(struct kube_call *call)
{
    if (call == NULL)
        return;
    if (call->http != NULL)
        http_cancel(call->kube->port, call->http);
    void (*on_cancel)(void *ctx) = call->extra.on_cancel;
    void *ctx = call->ctx;
    call_free(call);
    if (on_cancel != NULL)
        on_cancel(ctx);
}

void kube_path(struct buf *out, const char *prefix, const char *namespace, const char *plural,
               const char *name)
{
    buf_append_text(out, prefix);
    if (namespace != NULL) {
        buf_append_text(out, "/namespaces/");
        http_append_escaped(out, namespace);
    }
    buf_append_char(out, '/');
    buf_append_text(out, plural);
    if (name != NULL) {
        buf_append_char(out, '/');
        http_append_escaped(out, name);
    }
}
