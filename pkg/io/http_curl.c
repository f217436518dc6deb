/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_call.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define RESOLVE_TIMEOUT_MS 3000
#define EASY_POOL_MAX 4          /* idle easy handles kept: each has some 20 KiB */
#define IDLE_CONNECTIONS_MAX 64L /* kept open per lane */

struct lane {
    struct http_curl *port;
    CURLM *multi;
    struct loop_timer timer;   /* what libcurl asked to be woken for */
    struct http_link ready;    /* READY: wait for a place in multi */
    long running, running_max; /* in multi; 0 = no limit */
};

struct http_curl {
    struct http_port vtable; /* first: a port is its http_curl */
    struct loop *loop;
    struct resolver *resolver;
    struct lane lanes[HTTP_LANE_COUNT];
    struct http_link active;   /* RESOLVING and RUNNING */
    struct http_link done;     /* DONE */
    struct http_link telling;  /* DONE, those that tell_done is at */
    struct http_link canceled; /* CANCELED */
    struct loop_timer work;    /* ready and done, from outside of libcurl */
    bool in_curl;              /* libcurl is on the stack: it must not be called */
    struct http_material *materials;
    CURL *pool[EASY_POOL_MAX];
    size_t pool_count;
    char *user_agent;
    http_observer_fn *observer;
    void *observer_ctx;
};

/* --- lists --- */

static void link_init(struct http_link *head)
{
    head->prev = head->next = head;
}

static void link_move(struct http_link *head, struct http_call *call)
{
    struct http_link *link = &call->link;
    if (link->next != NULL) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
    }
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static void link_drop(struct http_call *call)
{
    struct http_link *link = &call->link;
    if (link->next == NULL)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
}

static struct http_call *link_first(struct http_link *head)
{
    return head->next == head ? NULL : (struct http_call *)head->next;
}

/* --- the life of a call --- */

static CURL *easy_get(struct http_curl *port)
{
    return port->pool_count > 0 ? port->pool[--port->pool_count] : curl_easy_init();
}

/* Back into the pool; keeps nothing of the request. */
static void easy_put(struct http_curl *port, CURL *easy)
{
    if (port->pool_count == EASY_POOL_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    port->pool[port->pool_count++] = easy;
}

/* The call is in no multi handle any more. */
static void call_free(struct http_call *call)
{
    struct http_curl *port = call->port;
    link_drop(call);
    loop_timer_cancel(port->loop, &call->timer);
    resolve_cancel(call->wait);
    if (call->easy != NULL)
        easy_put(port, call->easy);
    http_call_release(call);
    http_material_drop(&port->materials, call->material);
    free(call);
}

/* Its on_done comes with the next tell_done. */
static void call_done(struct http_call *call)
{
    struct http_curl *port = call->port;
    loop_timer_cancel(port->loop, &call->timer);
    resolve_cancel(call->wait);
    call->wait = NULL;
    call->state = HTTP_CALL_DONE;
    link_move(&port->done, call);
    if (port->work.heap_index == 0)
        loop_timer_in(port->loop, &port->work, 0);
}

static void tell(struct http_call *call)
{
    struct http_curl *port = call->port;
    struct http_response response = {
        .status = call->status,
        .content_type = "",
        .err = call->err,
        .elapsed_ms = loop_clock_ms() - call->start_ms,
    };
    if (response.status != 0) {
        const char *type = NULL;
        curl_off_t retry_after_s = 0;
        curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
        curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
        response.content_type = type == NULL ? "" : type;
        response.retry_after_s = retry_after_s > INT32_MAX ? INT32_MAX : (int)retry_after_s;
        response.body = buf_view(&call->answer);
    }
    call->state = HTTP_CALL_TELLING;
    link_drop(call);
    if (port->observer != NULL)
        port->observer(port->observer_ctx, call->peer, call->lane, response.status,
                       response.elapsed_ms);
    if (call->sink.on_done != NULL)
        call->sink.on_done(call->sink.ctx, &response);
    call_free(call);
}

/* Tells those that are there now; who submits in on_done is served by the next turn. */
static void tell_done(struct http_curl *port)
{
    struct http_call *call;
    while ((call = link_first(&port->done)) != NULL)
        link_move(&port->telling, call);
    while ((call = link_first(&port->telling)) != NULL)
        tell(call);
}

/* --- libcurl on the loop --- */

static void leave_multi(struct http_call *call)
{
    struct http_curl *port = call->port;
    struct lane *lane = &port->lanes[call->lane];
    curl_multi_remove_handle(lane->multi, call->easy);
    lane->running--;
    if (link_first(&lane->ready) != NULL && port->work.heap_index == 0)
        loop_timer_in(port->loop, &port->work, 0);
}

static void collect(struct lane *lane)
{
    struct http_curl *port = lane->port;
    CURLMsg *message;
    int left = 0;
    while ((message = curl_multi_info_read(lane->multi, &left)) != NULL) {
        struct http_call *call = NULL;
        CURLcode result = message->data.result; /* message is gone with the handle */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        leave_multi(call);
        if (call->state == HTTP_CALL_CANCELED) {
            call_free(call);
            continue;
        }
        http_call_finish(call, result);
        call_done(call);
    }
    struct http_call *call;
    while ((call = link_first(&port->canceled)) != NULL) {
        leave_multi(call);
        call_free(call);
    }
}

/* The only way into libcurl's machine. Called by the loop alone, so on_done may be called from
 * here. */
static void drive(struct lane *lane, curl_socket_t fd, int what)
{
    int running = 0;
    lane->port->in_curl = true;
    curl_multi_socket_action(lane->multi, fd, what, &running);
    lane->port->in_curl = false;
    collect(lane);
    tell_done(lane->port);
}

static void on_lane_fd(void *ctx, int fd, unsigned events)
{
    int what = 0;
    if ((events & EPOLLIN) != 0)
        what |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0)
        what |= CURL_CSELECT_OUT;
    /* With IN beside it libcurl reads, and so learns which error it is. */
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        what |= CURL_CSELECT_IN | CURL_CSELECT_ERR;
    drive(ctx, fd, what);
}

static void on_lane_timer(void *ctx)
{
    drive(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static int on_multi_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct lane *lane = ctx;
    unsigned events = 0;
    (void)easy;
    (void)socket_ctx;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    /* What cannot be watched ends by its deadline: -1 here would end all transfers of the lane. */
    loop_watch(lane->port->loop, fd, events, on_lane_fd, lane, NULL);
    return 0;
}

static int on_multi_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct lane *lane = ctx;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_cancel(lane->port->loop, &lane->timer);
    else
        loop_timer_at(lane->port->loop, &lane->timer, loop_clock_ms() + timeout_ms);
    return 0;
}

/* --- from submit to libcurl --- */

static void fail(struct http_call *call, const struct err *err)
{
    call->err = *err;
    call_done(call);
}

static void call_ready(struct http_call *call)
{
    call->state = HTTP_CALL_READY;
    link_move(&call->port->lanes[call->lane].ready, call);
    if (call->port->work.heap_index == 0)
        loop_timer_in(call->port->loop, &call->port->work, 0);
}

static void on_addresses(void *ctx, const char *addresses, const struct err *err)
{
    struct http_call *call = ctx;
    struct err why = *err;
    call->wait = NULL;
    if (addresses == NULL) {
        err_wrap(&why, "%s to %s", call->method, call->peer);
        fail(call, &why);
    } else if (http_call_set_addresses(call, addresses, &why) != 0) {
        fail(call, &why);
    } else {
        call_ready(call);
    }
}

/* What waits for a connection waits here and not in libcurl, which keeps a buffer for each and
 * looks at all of them whenever one ends. */
static void start_ready(struct lane *lane)
{
    bool started = false;
    struct http_call *call;
    while ((lane->running_max == 0 || lane->running < lane->running_max) &&
           (call = link_first(&lane->ready)) != NULL) {
        CURLMcode rc = curl_multi_add_handle(lane->multi, call->easy);
        if (rc != CURLM_OK) {
            err_set(&call->err, rc == CURLM_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_BUG, "%s to %s: %s",
                    call->method, call->peer, curl_multi_strerror(rc));
            call_done(call);
            continue;
        }
        lane->running++;
        call->state = HTTP_CALL_RUNNING;
        link_move(&lane->port->active, call);
        started = true;
    }
    if (started)
        drive(lane, CURL_SOCKET_TIMEOUT, 0);
}

static void on_work(void *ctx)
{
    struct http_curl *port = ctx;
    for (size_t i = 0; i < HTTP_LANE_COUNT; i++)
        start_ready(&port->lanes[i]);
    tell_done(port);
}

/* Deadline, or a stream was silent for too long. */
static void on_call_timer(void *ctx)
{
    struct http_call *call = ctx;
    http_call_timed_out(call);
    if (call->state == HTTP_CALL_RUNNING)
        leave_multi(call);
    call_done(call);
}

static struct http_call *submit(struct http_port *vtable, const struct http_request *request,
                                const struct http_sink *sink)
{
    struct http_curl *port = (struct http_curl *)vtable;
    struct err err = {0};
    struct http_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->port = port;
    call->loop = port->loop;
    call->lane = request->lane;
    call->sink = *sink;
    call->start_ms = loop_clock_ms();
    call->timer = (struct loop_timer){.fire = on_call_timer, .ctx = call};
    call->easy = easy_get(port);
    if (call->easy == NULL ||
        http_material_get(&port->materials, request->tls, &call->material) != 0) {
        call_free(call);
        return NULL;
    }
    call->state = HTTP_CALL_RESOLVING;
    link_move(&port->active, call);
    if (http_call_prepare(call, request, port->user_agent, &err) != 0) {
        fail(call, &err);
        return call;
    }
    loop_timer_in(port->loop, &call->timer, call->timeout_ms);
    if (!http_call_needs_addresses(call)) {
        call_ready(call);
        return call;
    }
    call->wait = resolve_start(port->resolver, call->host, on_addresses, call);
    if (call->wait == NULL) {
        call_free(call);
        return NULL;
    }
    return call;
}

static void cancel(struct http_port *vtable, struct http_call *call)
{
    struct http_curl *port = (struct http_curl *)vtable;
    switch (call->state) {
    case HTTP_CALL_RUNNING:
        call->sink = (struct http_sink){0};
        loop_timer_cancel(port->loop, &call->timer);
        if (port->in_curl) {
            /* Inside an on_chunk: libcurl lets nobody out now; collect does, right after. */
            call->state = HTTP_CALL_CANCELED;
            link_move(&port->canceled, call);
            return;
        }
        leave_multi(call);
        call_free(call);
        return;
    case HTTP_CALL_RESOLVING:
    case HTTP_CALL_READY:
    case HTTP_CALL_DONE: call_free(call); return;
    case HTTP_CALL_CANCELED:
    case HTTP_CALL_TELLING: return; /* going already */
    }
}

/* --- the port --- */

static int lane_open(struct http_curl *port, enum http_lane i, int max_connections)
{
    static const long defaults[HTTP_LANE_COUNT] = {
        [HTTP_LANE_API] = 16,  [HTTP_LANE_WATCH] = 0,     [HTTP_LANE_LEASE] = 1,
        [HTTP_LANE_EVENT] = 2, [HTTP_LANE_KEYCLOAK] = 16,
    };
    struct lane *lane = &port->lanes[i];
    lane->port = port;
    lane->timer = (struct loop_timer){.fire = on_lane_timer, .ctx = lane};
    link_init(&lane->ready);
    lane->multi = curl_multi_init();
    if (lane->multi == NULL)
        return -1;
    long max = max_connections > 0 ? max_connections : defaults[i];
    /* Identity providers are many, and one of them may hang: libcurl bounds those one by one. */
    lane->running_max = i == HTTP_LANE_KEYCLOAK ? 0 : max;
    bool ok =
        curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_multi_socket) == CURLM_OK &&
        curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane) == CURLM_OK &&
        curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_multi_timer) == CURLM_OK &&
        curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane) == CURLM_OK &&
        curl_multi_setopt(lane->multi, CURLMOPT_MAX_HOST_CONNECTIONS, max) == CURLM_OK &&
        curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX) == CURLM_OK &&
        curl_multi_setopt(lane->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK;
    return ok ? 0 : -1;
}

struct http_port *http_curl_new(struct loop *loop, const struct http_curl_options *options,
                                struct err *err)
{
    static const struct http_curl_options none = {0};
    const struct http_curl_options *o = options == NULL ? &none : options;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        err_set(err, ERR_BUG, "libcurl cannot start");
        return NULL;
    }
    struct http_curl *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        curl_global_cleanup();
        err_set(err, ERR_NO_MEMORY, "no memory for the HTTP client");
        return NULL;
    }
    port->vtable = (struct http_port){.submit = submit, .cancel = cancel};
    port->loop = loop;
    port->work = (struct loop_timer){.fire = on_work, .ctx = port};
    port->observer = o->observer;
    port->observer_ctx = o->observer_ctx;
    struct http_link *const lists[] = {&port->active, &port->done, &port->telling, &port->canceled};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        link_init(lists[i]);
    int failed = 0;
    for (size_t i = 0; i < HTTP_LANE_COUNT; i++)
        failed |= lane_open(port, (enum http_lane)i, o->max_connections[i]);
    port->user_agent = strdup(o->user_agent == NULL ? "keyturn" : o->user_agent);
    if (failed != 0 || port->user_agent == NULL) {
        err_set(err, ERR_NO_MEMORY, "no memory for the HTTP client");
        http_curl_free(&port->vtable);
        return NULL;
    }
    int resolve_ms = o->resolve_timeout_ms > 0 ? o->resolve_timeout_ms : RESOLVE_TIMEOUT_MS;
    port->resolver = resolver_new(loop, resolve_ms, o->dns_servers, err);
    if (port->resolver == NULL) {
        http_curl_free(&port->vtable);
        return NULL;
    }
    return &port->vtable;
}

void http_curl_free(struct http_port *vtable)
{
    struct http_curl *port = (struct http_curl *)vtable;
    if (port == NULL)
        return;
    struct http_link *const lists[] = {&port->active, &port->done, &port->telling};
    struct http_call *call;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        while ((call = link_first(lists[i])) != NULL)
            cancel(vtable, call);
    for (size_t i = 0; i < HTTP_LANE_COUNT; i++) {
        while ((call = link_first(&port->lanes[i].ready)) != NULL)
            cancel(vtable, call);
        if (port->lanes[i].multi != NULL)
            curl_multi_cleanup(port->lanes[i].multi);
        loop_timer_cancel(port->loop, &port->lanes[i].timer);
    }
    while (port->pool_count > 0)
        curl_easy_cleanup(port->pool[--port->pool_count]);
    resolver_free(port->resolver);
    loop_timer_cancel(port->loop, &port->work);
    free(port->user_agent);
    free(port);
    curl_global_cleanup();
}
