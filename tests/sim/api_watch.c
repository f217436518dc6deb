/* SPDX-License-Identifier: Apache-2.0
 *
 * The watches of the simulated API server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api_store.h"

#define BOOKMARK_MS 50000

struct api_watch {
    struct api *api;
    struct api_watch *next;
    struct sim_call *call;
    enum api_kind kind;
    bool metadata_only, silent;
    bool lost;             /* an event that it was still to tell is gone */
    uint64_t sent, newest; /* versions; sent < newest: events are told once more */
    int64_t ends_ms;
    struct loop_timer flush, mark;
};

struct api *api_new(struct sim *s)
{
    struct api *a = sim_must(calloc(1, sizeof(*a)));
    a->sim = s;
    a->version = 1000;
    a->gone = 1000;
    a->watch_list = sim_chance(s, 70);
    return a;
}

void api_free(struct api *a)
{
    while (a->watches != NULL)
        api_watch_gone(a->sim, a->watches->call);
    for (size_t i = 0; i < a->count; i++)
        json_decref(a->objects[i].value);
    api_forget_history(a, 0);
    map_release(&a->events);
    free(a);
}

void api_watch_gone(struct sim *s, struct sim_call *call)
{
    for (struct api_watch **at = &s->api->watches; *at != NULL; at = &(*at)->next) {
        struct api_watch *w = *at;
        if (w->call != call)
            continue;
        *at = w->next;
        loop_timer_cancel(s->loop, &w->flush);
        loop_timer_cancel(s->loop, &w->mark);
        free(w);
        return;
    }
}

static void add_frame(struct buf *out, const char *type, const json_t *object)
{
    char *text = sim_must(json_dumps(object, JSON_COMPACT));
    buf_appendf(out, "{\"type\":\"%s\",\"object\":", type);
    buf_append_text(out, text);
    buf_append_text(out, "}\n");
    free(text);
}

static void add_object(struct buf *out, const struct api_watch *w, const char *type,
                       const json_t *object)
{
    json_t *shown = api_shown(object, w->metadata_only);
    add_frame(out, type, shown);
    json_decref(shown);
}

static void add_bookmark(struct buf *out, const struct api_watch *w, uint64_t version, bool first)
{
    buf_appendf(out,
                "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"%s\","
                "\"metadata\":{\"resourceVersion\":\"%llu\"%s}}}\n",
                api_kind_name(w->kind), api_version_of(w->kind), (unsigned long long)version,
                first ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "");
}

/* Adds what is newer than what was sent; one event alone while the stream tells old ones again. */
static bool add_events(struct api_watch *w, struct buf *out)
{
    const struct api *a = w->api;
    for (size_t i = 0; i < a->history_count; i++) {
        const struct api_event *e = &a->history[i];
        if (e->version <= w->sent)
            continue;
        bool again = e->version <= w->newest;
        if (e->kind == w->kind && api_selects(w->kind, e->object)) {
            add_object(out, w, e->type, e->object);
            w->sent = e->version;
            if (again)
                return true;
        }
        w->sent = e->version;
    }
    if (w->sent > w->newest)
        w->newest = w->sent;
    return false;
}

static void on_flush(void *ctx)
{
    struct api_watch *w = ctx;
    struct sim *s = w->api->sim;
    struct buf cleanup_buf out = {0};
    if (w->silent)
        return;
    if (w->lost) {
        net_end(w->call, 200, ERR_TRANSIENT);
        return;
    }
    bool more = add_events(w, &out);
    if (out.len > 0 && !net_chunk(w->call, buf_view(&out)))
        return;
    if (more)
        loop_timer_in(s->loop, &w->flush, sim_between(s, 5, 3000));
    else if (out.len > 0 && sim_fault(s, FAULT_WATCH_CUT)) {
        sim_hit(s, FAULT_WATCH_CUT);
        net_end(w->call, 200, ERR_TRANSIENT);
    }
}

/* The stream goes back to a former version and tells everything since then once more, as one does
 * that comes from another server which lags behind. */
static void go_back(struct api_watch *w)
{
    const struct api *a = w->api;
    unsigned left = (unsigned)sim_between(a->sim, 2, 4);
    for (size_t i = a->history_count; i-- > 0;) {
        const struct api_event *e = &a->history[i];
        if (e->kind != w->kind || e->version > w->sent || --left > 0)
            continue;
        sim_say(a->sim, "%s watch goes back to %llu", api_kind_name(w->kind),
                (unsigned long long)e->version);
        w->sent = e->version - 1;
        sim_hit(a->sim, FAULT_WATCH_STALE);
        return;
    }
}

void api_wake(struct api *a, enum api_kind kind)
{
    struct sim *s = a->sim;
    for (struct api_watch *w = a->watches; w != NULL; w = w->next) {
        if (w->kind != kind)
            continue;
        int64_t in_ms = sim_between(s, 1, 30);
        if (sim_fault(s, FAULT_WATCH_STALE))
            go_back(w);
        if (sim_fault(s, FAULT_WATCH_LATE)) {
            in_ms = sim_between(s, 500, 20000);
            sim_hit(s, FAULT_WATCH_LATE);
        }
        if (w->flush.heap_index == 0)
            loop_timer_in(s->loop, &w->flush, in_ms);
    }
}

void api_lose(struct api *a, enum api_kind kind, uint64_t version)
{
    for (struct api_watch *w = a->watches; w != NULL; w = w->next)
        w->lost = w->lost || (w->kind == kind && w->sent < version);
}

static void on_mark(void *ctx)
{
    struct api_watch *w = ctx;
    struct sim *s = w->api->sim;
    struct buf cleanup_buf out = {0};
    if (sim_fault(s, FAULT_WATCH_SILENT)) {
        sim_say(s, "%s watch falls silent", api_kind_name(w->kind));
        sim_hit(s, FAULT_WATCH_SILENT);
        w->silent = true;
    }
    if (sim_fault(s, FAULT_GONE)) {
        api_forget_history(w->api, 0);
        sim_say(s, "versions before %llu are gone; %s watch is cut",
                (unsigned long long)w->api->gone, api_kind_name(w->kind));
        net_end(w->call, 200, ERR_TRANSIENT);
        return;
    }
    if (w->silent)
        return;
    if (w->lost || sim_now_ms() >= w->ends_ms) {
        net_end(w->call, 200, ERR_NONE);
        return;
    }
    loop_timer_in(s->loop, &w->mark, BOOKMARK_MS);
    if (w->flush.heap_index != 0) /* events come first */
        return;
    w->sent = w->newest = w->api->version;
    add_bookmark(&out, w, w->sent, false);
    (void)net_chunk(w->call, buf_view(&out));
}

static void send_initial(struct api_watch *w)
{
    struct api *a = w->api;
    struct buf cleanup_buf out = {0};
    for (size_t i = 0; i < a->count; i++)
        if (a->objects[i].kind == w->kind && api_selects(w->kind, a->objects[i].value))
            add_object(&out, w, "ADDED", a->objects[i].value);
    w->sent = w->newest = a->version;
    add_bookmark(&out, w, w->sent, true);
    (void)net_chunk(w->call, buf_view(&out));
}

/* In the stream or as the answer itself, as the server happens to notice it. */
static void refuse_gone(struct sim *s, struct sim_call *call, struct net_answer *ret)
{
    static const char event[] =
        "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":"
        "\"Failure\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}}\n";
    sim_hit(s, FAULT_GONE);
    if (sim_chance(s, 50)) {
        api_status(ret, 410, "Expired", "too old resource version");
        return;
    }
    ret->status = 200;
    (void)net_chunk(call, str_from(event));
}

void api_watch(struct sim *s, const struct net_request *r, struct sim_call *call,
               struct net_answer *ret)
{
    struct api *a = s->api;
    struct api_target t;
    char from[32], seconds[16], initial[8];
    net_query(r, "resourceVersion", from, sizeof(from));
    net_query(r, "timeoutSeconds", seconds, sizeof(seconds));
    net_query(r, "sendInitialEvents", initial, sizeof(initial));
    uint64_t version = strtoull(from, NULL, 10);
    if (!api_parse(r->path, &t)) {
        api_status(ret, 404, "NotFound", "not found");
    } else if (initial[0] != '\0' && !a->watch_list) {
        api_status(ret, 422, "Invalid", "sendInitialEvents is forbidden");
    } else if (initial[0] == '\0' && version < a->gone) {
        refuse_gone(s, call, ret);
    } else {
        struct api_watch *w = sim_must(calloc(1, sizeof(*w)));
        *w = (struct api_watch){.api = a,
                                .next = a->watches,
                                .call = call,
                                .kind = t.kind,
                                .metadata_only = r->metadata_only,
                                .sent = version,
                                .newest = version,
                                .ends_ms = sim_now_ms() + strtoll(seconds, NULL, 10) * 1000,
                                .flush = {.fire = on_flush, .ctx = w},
                                .mark = {.fire = on_mark, .ctx = w}};
        a->watches = w;
        ret->status = 200;
        loop_timer_in(s->loop, &w->mark, sim_between(s, 1000, BOOKMARK_MS));
        loop_timer_in(s->loop, &w->flush, 1);
        if (initial[0] != '\0')
            send_initial(w);
    }
}
