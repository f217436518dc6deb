/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api.h"
#include "operator.h"
#include "realm.h"

#define DEFAULT_TIMEOUT_MS 30000

enum fate { FATE_NONE, FATE_LOST, FATE_ANSWER_LOST };

struct sim_call {
    struct net *net;
    struct sim_call *prev, *next;
    struct net_request request;
    char *method, *url, *content_type, *bearer, *body;
    struct http_sink sink;
    struct loop_timer arrive, answer;
    struct net_answer said;
    enum fate fate;
    bool orphan; /* nobody waits for it any more */
    bool busy;   /* in hand: whoever cancels it leaves it to be freed */
    bool to_api, is_write, arrived;
    bool former;                  /* of a leader that was replaced */
    int64_t deadline_ms, idle_ms; /* idle_ms > 0: a stream */
};

struct net {
    struct http_port port; /* first: the port is the net */
    struct sim *sim;
    struct sim_call *calls;
    bool outlive;
    struct loop_timer replace; /* of the operator, with a write under way */
};

/* ---- life of a call ---- */

static void call_free(struct sim_call *c)
{
    struct net *n = c->net;
    loop_timer_cancel(n->sim->loop, &c->arrive);
    loop_timer_cancel(n->sim->loop, &c->answer);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        n->calls = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    if (c->idle_ms > 0)
        api_watch_gone(n->sim, c);
    buf_release(&c->said.body);
    free(c->method);
    free(c->url);
    free(c->content_type);
    free(c->bearer);
    free(c->body);
    free(c);
}

/* The call is gone for its owner; its answer lives until the end of on_done. */
static void tell_done(struct sim_call *c, const struct http_response *response)
{
    if (!c->orphan)
        c->sink.on_done(c->sink.ctx, response);
    call_free(c);
}

static void tell_broken(struct sim_call *c, int status, enum err_class class)
{
    struct http_response response = {.status = status, .content_type = ""};
    (void)err_set(&response.err, class, "%s",
                  class == ERR_TIMEOUT ? "no answer in time" : "the connection broke");
    tell_done(c, &response);
}

/* Its sender gives up, and it arrives afterwards. */
static void give_up(struct sim_call *c)
{
    struct http_response response = {.content_type = ""};
    (void)err_set(&response.err, ERR_TRANSIENT, "the connection broke");
    c->orphan = true;
    c->sink.on_done(c->sink.ctx, &response);
}

static void on_answer(void *ctx)
{
    struct sim_call *c = ctx;
    if (c->idle_ms > 0 && c->arrived) {
        tell_broken(c, 200, ERR_TIMEOUT);
    } else if (c->fate == FATE_ANSWER_LOST && !c->arrived) {
        give_up(c);
    } else if (c->fate != FATE_NONE) {
        tell_broken(c, 0, sim_now_ms() >= c->deadline_ms ? ERR_TIMEOUT : ERR_TRANSIENT);
    } else if (c->said.refused != ERR_NONE) {
        tell_broken(c, 0, c->said.refused);
    } else {
        struct http_response response = {.status = c->said.status,
                                         .body = buf_view(&c->said.body),
                                         .content_type = "application/json",
                                         .retry_after_s = c->said.retry_after_s};
        tell_done(c, &response);
    }
}

/* ---- arriving ---- */

static void serve(struct sim_call *c)
{
    struct sim *s = c->net->sim;
    c->said.status = 0;
    c->said.changed = false;
    buf_release(&c->said.body);
    s->tally.requests++;
    s->tally.writes += c->is_write;
    if (sim_fault(s, FAULT_BUSY)) {
        c->said.status = 429;
        c->said.retry_after_s = 1;
        sim_hit(s, FAULT_BUSY);
    } else if (sim_fault(s, FAULT_BROKEN)) {
        c->said.status = sim_chance(s, 50) ? 500 : 503;
        sim_hit(s, FAULT_BROKEN);
    } else if (c->to_api) {
        api_serve(s, &c->request, &c->said);
    } else {
        realm_serve(s, &c->request, &c->said);
    }
    if (c->is_write || c->said.status >= 300)
        sim_say(s, "%s %.120s%s -> %d", c->request.method, c->request.path,
                c->orphan ? " (nobody waits)" : "", c->said.status);
    if (c->former && c->said.changed)
        sim_hit(s, FAULT_REPLACED);
}

static void open_stream(struct sim_call *c)
{
    struct sim *s = c->net->sim;
    struct net_answer said = {0};
    c->arrived = true;
    if (sim_fault(s, FAULT_BUSY)) {
        sim_hit(s, FAULT_BUSY);
        said.status = 429;
    } else if (sim_fault(s, FAULT_BROKEN)) {
        sim_hit(s, FAULT_BROKEN);
        said.status = 503;
    } else {
        loop_timer_in(s->loop, &c->answer, c->idle_ms);
        api_watch(s, &c->request, c, &said);
        if (said.status == 200) /* the call may be gone already */
            return;
    }
    sim_say(s, "watch %.100s -> %d", c->request.path, said.status);
    struct http_response response = {
        .status = said.status, .body = buf_view(&said.body), .content_type = "application/json"};
    tell_done(c, &response);
    buf_release(&said.body);
}

static void on_arrive(void *ctx)
{
    struct sim_call *c = ctx;
    struct sim *s = c->net->sim;
    if (c->idle_ms > 0) {
        open_stream(c);
        return;
    }
    bool killed = c->is_write && !c->orphan && sim_fault(s, FAULT_KILLED);
    bool before = killed && sim_chance(s, 40);
    c->arrived = c->busy = true;
    if (before)
        operator_kill(s);
    serve(c);
    if (c->is_write && sim_fault(s, FAULT_SENT_TWICE)) {
        sim_hit(s, FAULT_SENT_TWICE);
        serve(c);
    }
    if (c->fate == FATE_ANSWER_LOST && c->said.changed)
        sim_hit(s, FAULT_ANSWER_LOST);
    if (killed && !before)
        operator_kill(s);
    c->busy = false;
    if (c->orphan)
        call_free(c);
    else if (c->fate == FATE_NONE)
        loop_timer_in(s->loop, &c->answer, sim_between(s, 1, 20));
}

/* ---- sending ---- */

static void decide_fate(struct sim_call *c)
{
    struct sim *s = c->net->sim;
    int64_t timeout_ms = c->deadline_ms - sim_now_ms();
    int64_t way_ms = sim_between(s, 1, 20);
    if (sim_fault(s, FAULT_SLOW)) {
        way_ms = sim_between(s, 20, timeout_ms * 3 / 4);
        sim_hit(s, FAULT_SLOW);
    }
    if (sim_fault(s, FAULT_REQUEST_LOST)) {
        c->fate = FATE_LOST;
        if (c->is_write)
            sim_hit(s, FAULT_REQUEST_LOST);
    } else if (c->idle_ms == 0 && sim_fault(s, FAULT_ANSWER_LOST)) {
        c->fate = FATE_ANSWER_LOST;
        if (sim_chance(s, 25))
            way_ms = sim_between(s, 20, timeout_ms - 1);
    }
    if (c->fate != FATE_LOST)
        loop_timer_in(s->loop, &c->arrive, way_ms);
    if (c->fate != FATE_NONE)
        loop_timer_in(s->loop, &c->answer,
                      sim_chance(s, 50) ? timeout_ms : sim_between(s, 20, timeout_ms));
}

static const char *header_of(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->headers_count; i++)
        if (text_eq(request->headers[i].name, name))
            return request->headers[i].value;
    return "";
}

static struct http_call *submit(struct http_port *port, const struct http_request *request,
                                const struct http_sink *sink)
{
    struct net *n = (struct net *)port;
    struct sim_call *c = sim_must(calloc(1, sizeof(*c)));
    const char *bearer = header_of(request, "Authorization");
    c->net = n;
    c->sink = *sink;
    c->method = sim_copy(request->method);
    c->url = sim_copy(request->url);
    c->content_type = sim_copy(header_of(request, "Content-Type"));
    c->bearer = sim_copy(text_starts_with(bearer, "Bearer ") ? bearer + 7 : "");
    c->body = sim_must(malloc(request->body.len + 1));
    if (request->body.len > 0)
        memcpy(c->body, request->body.data, request->body.len);
    const char *host = strstr(c->url, "://");
    const char *path = host != NULL ? strchr(host + 3, '/') : NULL;
    c->to_api = text_starts_with(c->url, "http://api.sim/");
    if (path == NULL || (!c->to_api && !text_starts_with(c->url, REALM_URL "/")))
        sim_fail(n->sim, "a request to somebody else: %s %s", c->method, c->url);
    c->request = (struct net_request){
        .method = c->method,
        .path = path != NULL ? path : "/",
        .content_type = c->content_type,
        .bearer = c->bearer,
        .body = {c->body, request->body.len},
        .metadata_only = strstr(header_of(request, "Accept"), "PartialObjectMetadata") != NULL,
        .sent_ms = sim_now_ms()};
    c->is_write = strcmp(c->method, "GET") != 0 && strstr(c->url, "/token") == NULL;
    c->idle_ms = request->idle_timeout_ms;
    c->deadline_ms =
        sim_now_ms() + (request->timeout_ms > 0 ? request->timeout_ms : DEFAULT_TIMEOUT_MS);
    c->arrive = (struct loop_timer){.fire = on_arrive, .ctx = c};
    c->answer = (struct loop_timer){.fire = on_answer, .ctx = c};
    c->next = n->calls;
    if (n->calls != NULL)
        n->calls->prev = c;
    n->calls = c;
    decide_fate(c);
    if (c->is_write && n->replace.heap_index == 0 && sim_fault(n->sim, FAULT_REPLACED))
        loop_timer_in(n->sim->loop, &n->replace, sim_between(n->sim, 0, 15));
    return (struct http_call *)c;
}

static void cancel(struct http_port *port, struct http_call *call)
{
    struct net *n = (struct net *)port;
    struct sim_call *c = (struct sim_call *)call;
    struct sim *s = n->sim;
    if (c->orphan)
        sim_fail(s, "a request that has ended is cancelled: %s %s", c->method, c->url);
    c->orphan = true;
    loop_timer_cancel(s->loop, &c->answer);
    if (c->busy)
        return;
    if (!c->is_write || c->arrive.heap_index == 0 || !(n->outlive || sim_chance(s, 50))) {
        call_free(c);
        return;
    }
    c->former = n->outlive;
    loop_timer_at(s->loop, &c->arrive, sim_between(s, sim_now_ms(), c->deadline_ms - 1));
}

/* ---- streams ---- */

bool net_chunk(struct sim_call *c, struct str chunk)
{
    struct sim *s = c->net->sim;
    loop_timer_in(s->loop, &c->answer, c->idle_ms);
    c->busy = true;
    c->sink.on_chunk(c->sink.ctx, chunk);
    c->busy = false;
    if (!c->orphan)
        return true;
    call_free(c);
    return false;
}

void net_end(struct sim_call *c, int status, enum err_class broken)
{
    struct http_response response = {.status = status, .content_type = "application/json"};
    if (broken != ERR_NONE)
        tell_broken(c, status, broken);
    else
        tell_done(c, &response);
}

void net_query(const struct net_request *r, const char *name, char *out, size_t size)
{
    const char *at = strchr(r->path, '?');
    size_t len = strlen(name);
    out[0] = '\0';
    while (at != NULL) {
        at++;
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            (void)snprintf(out, size, "%.*s", (int)strcspn(at + len + 1, "&"), at + len + 1);
            return;
        }
        at = strchr(at, '&');
    }
}

/* ---- the port ---- */

static void on_replace(void *ctx)
{
    struct net *n = ctx;
    operator_replace(n->sim);
}

struct net *net_new(struct sim *s)
{
    struct net *n = sim_must(calloc(1, sizeof(*n)));
    n->sim = s;
    n->port = (struct http_port){.submit = submit, .cancel = cancel};
    n->replace = (struct loop_timer){.fire = on_replace, .ctx = n};
    return n;
}

void net_free(struct net *n)
{
    while (n->calls != NULL)
        call_free(n->calls);
    loop_timer_cancel(n->sim->loop, &n->replace);
    free(n);
}

struct http_port *net_port(struct net *n)
{
    return &n->port;
}

void net_outlive(struct net *n, bool outlive)
{
    n->outlive = outlive;
}

size_t net_writes_under_way(const struct net *n)
{
    size_t count = 0;
    for (const struct sim_call *c = n->calls; c != NULL; c = c->next)
        count += c->is_write && !c->orphan;
    return count;
}
