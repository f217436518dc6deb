/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/watcher.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/jitter.h"
#include "base/limits.h"
#include "codec/frames.h"
#include "codec/json.h"
#include "codec/kube_codec.h"
#include "informer/informer.h"
#include "kube/call.h"
#include "kube/store.h"
#include "obs/log.h"

#define IDLE_MS 90000 /* bookmarks come about every minute */
#define STREAM_START_MS 30000
#define LIST_MS 60000
#define RETRY_AFTER_MAX_MS 60000 /* whatever a server, or something before it, asks for */
#define PAGE_OBJECTS 500
#define WATCH_MIN_S 300 /* client-go: 5 to 10 minutes, so that streams do not all end together */

struct watcher {
    struct kube *kube;
    struct loop *loop;
    struct watcher_class class;
    struct informer informer;
    struct store store;
    struct loop_timer timer; /* the next request, or the end of a broken stream */
    struct kube_call *call;
    struct frames frames;
    struct informer_step step;
    uint32_t random;
    int64_t sent_ms;
    int64_t heard_ms;
    unsigned events;
    unsigned page_objects; /* of a LIST; less when a page was too large */
    bool started;
    bool broken; /* the stream must end, for the reason in err */
    enum informer_end broken_end;
    struct err err;        /* of the last request */
    struct err object_err; /* of the last object that could not be held */
    enum err_class told;   /* the failure that the log has */
};

static void on_timer(void *ctx);

struct watcher *watcher_new(struct kube *kube, struct loop *loop, const struct watcher_class *class)
{
    struct watcher *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return NULL;
    w->kube = kube;
    w->loop = loop;
    w->class = *class;
    w->page_objects = PAGE_OBJECTS;
    store_init(&w->store, &w->class);
    w->random = jitter_seed(loop_wall_us(), class->plural, class->namespace);
    informer_init(&w->informer, jitter_next(&w->random));
    w->timer = (struct loop_timer){.fire = on_timer, .ctx = w};
    return w;
}

void watcher_free(struct watcher *w)
{
    if (w == NULL)
        return;
    loop_timer_cancel(w->loop, &w->timer);
    kube_cancel(w->call);
    frames_release(&w->frames);
    store_release(&w->store);
    free(w);
}

bool watcher_synced(const struct watcher *w)
{
    return w->informer.synced;
}

const struct err *watcher_err(const struct watcher *w)
{
    return w->err.class != ERR_NONE ? &w->err : &w->object_err;
}

int64_t watcher_heard_ms(const struct watcher *w)
{
    return w->heard_ms;
}

const void *watcher_get(const struct watcher *w, const char *namespace, const char *name)
{
    return store_get(&w->store, namespace, name);
}

const void *watcher_next(const struct watcher *w, const char *namespace, size_t it[2])
{
    return store_next(&w->store, namespace, it);
}

/* Says in the log what has changed for better or worse since it last did. */
static void tell(struct watcher *w)
{
    const struct err *err = watcher_err(w);
    if (err->class == w->told)
        return;
    w->told = err->class;
    if (err->class == ERR_NONE)
        log_info("watch works again", LOG_TEXT("resource", w->class.plural),
                 LOG_TEXT("namespace", w->class.namespace != NULL ? w->class.namespace : "*"));
    else
        log_warn("watch fails", LOG_TEXT("resource", w->class.plural),
                 LOG_TEXT("namespace", w->class.namespace != NULL ? w->class.namespace : "*"),
                 LOG_TEXT("error", err->msg));
}

/* --- objects -------------------------------------------------------------------------------- */

/* A Table or a Status where an object should be, as some proxies and old servers send: not ours. */
static bool is_foreign(const json_t *object)
{
    const char *kind = json_text(object, "kind");
    const char *name = json_text(json_path(object, "metadata", NULL), "name");
    if (name == NULL || *name == '\0' || strlen(name) > LIMIT_NAME)
        return true;
    return kind != NULL && (strcmp(kind, "Table") == 0 || strcmp(kind, "Status") == 0);
}

static void put_object(struct watcher *w, const json_t *object)
{
    if (is_foreign(object))
        return;
    struct err err = {0};
    if (store_put(&w->store, object, &err) != 0)
        w->object_err = err;
    else if (store_is_whole(&w->store))
        err_clear(&w->object_err);
}

static void remove_object(struct watcher *w, const json_t *object)
{
    store_remove(&w->store, object);
    if (store_is_whole(&w->store))
        err_clear(&w->object_err);
}

static void complete(struct watcher *w, bool synced_before)
{
    store_sweep(&w->store);
    if (store_is_whole(&w->store))
        err_clear(&w->object_err);
    if (!synced_before && w->class.synced != NULL)
        w->class.synced(w->class.ctx);
}

/* --- requests ------------------------------------------------------------------------------- */

static void schedule(struct watcher *w, int64_t least_ms)
{
    informer_next(&w->informer, &w->step);
    loop_timer_in(w->loop, &w->timer, w->step.delay_ms > least_ms ? w->step.delay_ms : least_ms);
}

/* How long the server asked us to stay away when it sent the last request off. */
static int64_t asked_ms(const struct watcher *w)
{
    int64_t asked = (int64_t)w->err.retry_after_s * 1000;
    return asked < RETRY_AFTER_MAX_MS ? asked : RETRY_AFTER_MAX_MS;
}

static void ended(struct watcher *w, enum informer_end end)
{
    frames_release(&w->frames);
    tell(w);
    informer_ended(&w->informer, end, loop_clock_ms() - w->sent_ms, w->events);
    schedule(w, end != INFORMER_END_OK ? asked_ms(w) : 0);
}

static enum informer_end end_of(const struct watcher *w, const struct err *err)
{
    switch (err->class) {
    case ERR_NONE: return INFORMER_END_OK;
    case ERR_GONE: return INFORMER_END_GONE;
    case ERR_LIMIT:
        /* A page gets smaller; the same version of a stream would bring the same event again. */
        return w->step.request == INFORMER_LIST ? INFORMER_END_RETRY : INFORMER_END_GONE;
    case ERR_AUTH:
    case ERR_FORBIDDEN:
    case ERR_NOT_FOUND: return INFORMER_END_REFUSED;
    case ERR_INVALID:
        /* No valid HTTP at all: something between us and the server. */
        if (err->http_status < 400)
            return INFORMER_END_RETRY;
        /* 400 for a page or a version: neither gets better by asking again. */
        return w->step.request == INFORMER_WATCH_LIST ? INFORMER_END_UNSUPPORTED
                                                      : INFORMER_END_GONE;
    case ERR_TRANSIENT:
        /* 504 answers a version that the server does not have yet, after it lost some of its own.
         */
        return err->http_status == 504 && w->step.request == INFORMER_WATCH ? INFORMER_END_GONE
                                                                            : INFORMER_END_RETRY;
    case ERR_TIMEOUT:
    case ERR_DNS:
    case ERR_REFUSED:
    case ERR_TLS:
    case ERR_CONFLICT:
    case ERR_EXISTS:
    case ERR_CANCELED:
    case ERR_NO_MEMORY:
    case ERR_BUG: return INFORMER_END_RETRY;
    }
    return INFORMER_END_RETRY;
}

static int on_frame(void *ctx, struct str text, struct err *err)
{
    struct watcher *w = ctx;
    json_t *cleanup_json tree = NULL;
    struct watch_frame frame;
    if (watch_frame_decode(text, &tree, &frame, err) != 0)
        return -1;
    w->events++;
    if (frame.event == WATCH_ERROR) {
        *err = frame.error;
        w->broken_end = end_of(w, err);
        return -1;
    }
    err_clear(&w->err);
    if (w->told != ERR_NONE)
        tell(w);
    if (frame.event == WATCH_DELETED)
        remove_object(w, frame.object);
    else if (frame.event != WATCH_BOOKMARK)
        put_object(w, frame.object);
    bool synced_before = w->informer.synced;
    if (informer_event(&w->informer, frame.resource_version, frame.initial_end))
        complete(w, synced_before);
    return 0;
}

static void on_chunk(void *ctx, struct str chunk)
{
    struct watcher *w = ctx;
    if (w->broken)
        return;
    w->heard_ms = loop_clock_ms();
    struct err err = {0};
    /* Bytes that are no event come from something between us and the server: try again. */
    w->broken_end = INFORMER_END_RETRY;
    if (frames_feed(&w->frames, chunk, on_frame, w, &err) == 0)
        return;
    err_wrap(&err, "watch of %s", w->class.plural);
    if (err.class == ERR_LIMIT)
        w->broken_end = end_of(w, &err);
    w->err = err;
    /* The stream is left from the loop, not from inside its own callback. */
    w->broken = true;
    loop_timer_in(w->loop, &w->timer, 0);
}

static void on_stream_done(void *ctx, const struct kube_answer *answer)
{
    struct watcher *w = ctx;
    w->call = NULL;
    if (w->broken) {
        loop_timer_cancel(w->loop, &w->timer);
        w->broken = false;
        ended(w, w->broken_end);
        return;
    }
    if (answer->err.class != ERR_NONE)
        w->err = answer->err;
    ended(w, end_of(w, &answer->err));
}

static int read_page(struct watcher *w, struct str body, struct err *err)
{
    json_t *cleanup_json tree = json_load(body, true, "list", err);
    if (tree == NULL)
        return -1;
    const json_t *items = json_object_get(tree, "items");
    const json_t *meta = json_path(tree, "metadata", NULL);
    /* A Go server writes an empty list as null. */
    if (meta == NULL || (items != NULL && !json_is_array(items) && !json_is_null(items)))
        return err_set(err, ERR_INVALID, "the answer is no list");
    size_t index;
    json_t *item;
    json_array_foreach(items, index, item) put_object(w, item);
    bool synced_before = w->informer.synced;
    if (informer_page(&w->informer, json_text(meta, "resourceVersion"),
                      json_text(meta, "continue")))
        complete(w, synced_before);
    return 0;
}

static void on_list_done(void *ctx, const struct kube_answer *answer)
{
    struct watcher *w = ctx;
    w->call = NULL;
    struct err err = answer->err;
    if (err.class != ERR_NONE) {
        w->err = err;
        if (err.class == ERR_LIMIT && w->page_objects > 1)
            w->page_objects /= 2;
        ended(w, end_of(w, &err));
        return;
    }
    w->heard_ms = loop_clock_ms();
    w->events++;
    if (read_page(w, answer->body, &err) != 0) {
        err_wrap(&err, "list of %s", w->class.plural);
        w->err = err;
        ended(w, INFORMER_END_RETRY);
        return;
    }
    err_clear(&w->err);
    ended(w, INFORMER_END_OK);
}

static void build_path(struct watcher *w, struct buf *out)
{
    const struct watcher_class *c = &w->class;
    kube_path(out, c->prefix, c->namespace, c->plural, NULL);
    if (w->step.request == INFORMER_LIST) {
        buf_appendf(out, "?limit=%u", w->page_objects);
        if (w->informer.continue_token[0] != '\0') {
            buf_append_text(out, "&continue=");
            http_append_escaped(out, w->informer.continue_token);
        }
    } else {
        buf_appendf(out, "?watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=",
                    WATCH_MIN_S + jitter_next(&w->random) % (WATCH_MIN_S + 1));
        if (w->step.request == INFORMER_WATCH)
            http_append_escaped(out, w->informer.resource_version);
        else
            buf_append_text(out, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    }
    if (c->label_selector != NULL) {
        buf_append_text(out, "&labelSelector=");
        http_append_escaped(out, c->label_selector);
    }
    if (c->field_selector != NULL) {
        buf_append_text(out, "&fieldSelector=");
        http_append_escaped(out, c->field_selector);
    }
}

static void send_request(struct watcher *w)
{
    struct buf cleanup_buf path = {0};
    bool list = w->step.request == INFORMER_LIST;
    build_path(w, &path);
    w->sent_ms = loop_clock_ms();
    w->events = 0;
    /* A list from its start: what is not seen until it is whole has gone. */
    if (w->step.request == INFORMER_WATCH_LIST || (list && w->informer.continue_token[0] == '\0'))
        store_new_generation(&w->store);
    struct kube_request request = {
        .method = "GET",
        .path = buf_text(&path),
        .metadata_only = w->class.metadata_only,
        .lane = list ? HTTP_LANE_API : HTTP_LANE_WATCH,
        .timeout_ms = list ? LIST_MS : STREAM_START_MS,
    };
    struct kube_extra extra = {
        .list = list,
        .body_max = list ? LIMIT_LIST_PAGE : 0,
        .idle_timeout_ms = list ? 0 : IDLE_MS,
        .on_chunk = list ? NULL : on_chunk,
    };
    if (!path.failed)
        w->call = kube_start(w->kube, &request, &extra, list ? on_list_done : on_stream_done, w);
    if (w->call == NULL) {
        err_set(&w->err, ERR_NO_MEMORY, "no memory to ask for %s", w->class.plural);
        ended(w, INFORMER_END_RETRY);
    }
}

static void on_timer(void *ctx)
{
    struct watcher *w = ctx;
    if (!w->broken) {
        send_request(w);
        return;
    }
    w->broken = false;
    kube_cancel(w->call);
    w->call = NULL;
    ended(w, w->broken_end);
}

void watcher_start(struct watcher *w)
{
    if (w->started)
        return;
    w->started = true;
    schedule(w, 0);
}
