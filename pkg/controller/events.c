/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/internal.h"
#include "controller/retry.h"
#include "obs/log.h"

#define EVENTS_UNDER_WAY_MAX 512 /* of one KeyRotation; the rest is said by a later pass */
#define EVENTS_REMEMBERED_MAX 4096
#define EVENT_TIMEOUT_MS 10000
#define RETRY_CAP_MS 60000
#define TRIES_MAX 30     /* about half an hour: then nobody is helped by it any more */
#define LAST_TRIES_MAX 3 /* of a KeyRotation that is gone: its namespace may be going too */
#define AT_ONCE_MAX 4    /* of all KeyRotations: twice the connections; the others wait in line */

/* One Event under way: the map of the state points to it until it is said. */
struct event_call {
    struct rotation_state *state;
    struct event_call *prev, *next; /* in line */
    bool in_line;
    struct kube_call *call; /* NULL in line, and between two tries */
    struct buf body;
    unsigned tries;
    int64_t retry_ms;
    char name[LIMIT_NAME + 1];
};

static char said_mark; /* value in the map: the API server has it */

/* ---- the line: what is sent all at once only waits, and its deadlines pass, for a connection ----
 */

static struct event_line *line_of(const struct event_call *e)
{
    return controller_event_line(e->state->controller);
}

static void line_join(struct event_call *e)
{
    struct event_line *line = line_of(e);
    e->prev = line->last;
    e->next = NULL;
    if (line->last != NULL)
        line->last->next = e;
    else
        line->first = e;
    line->last = e;
    e->in_line = true;
}

static void line_leave(struct event_call *e)
{
    struct event_line *line = line_of(e);
    if (!e->in_line)
        return;
    if (e->prev != NULL)
        e->prev->next = e->next;
    else
        line->first = e->next;
    if (e->next != NULL)
        e->next->prev = e->prev;
    else
        line->last = e->prev;
    e->in_line = false;
}

static void call_free(struct event_call *e)
{
    line_leave(e);
    line_of(e)->sending -= e->call != NULL;
    kube_cancel(e->call);
    buf_release(&e->body);
    free(e);
}

/* The process need not know for ever what it said: the API server knows by the name. */
static void forget_said(struct rotation_state *s)
{
    size_t it = 0;
    const char *name;
    void *mark;
    while (map_next(&s->events, &it, &name, &mark))
        if (mark == &said_mark)
            (void)map_remove(&s->events, name);
}

static void send_line(struct event_line *line);

static void event_done(void *ctx, const struct kube_answer *answer)
{
    struct event_call *e = ctx;
    struct rotation_state *s = e->state;
    struct controller *c = s->controller;
    enum err_class class = answer->err.class;
    bool said = class == ERR_NONE || class == ERR_EXISTS;
    bool hopeless = class == ERR_INVALID || class == ERR_NOT_FOUND;
    bool gone = world_rotation(controller_world(c), s->namespace, s->name) == NULL;
    e->call = NULL;
    line_of(e)->sending--;
    if (!said)
        log_warn("event not written", LOG_TEXT("rotation", s->key), LOG_TEXT("event", e->name),
                 LOG_TEXT("error", answer->err.msg));
    if (said || hopeless || e->tries >= (gone ? LAST_TRIES_MAX : TRIES_MAX)) {
        s->events_under_way--;
        if (said || hopeless) /* nothing makes it better: not again at each pass */
            (void)map_put(&s->events, e->name, &said_mark, NULL);
        else
            (void)map_remove(&s->events, e->name);
        call_free(e);
        controller_due(c, s->key, said ? 50 : RETRY_CAP_MS);
    } else {
        int64_t delay_ms = retry_delay_ms(c, e->tries++, RETRY_CAP_MS, &answer->err);
        e->retry_ms = controller_now_ms(c) + delay_ms;
        controller_due(c, s->key, delay_ms);
    }
    send_line(controller_event_line(c));
}

static int event_post(struct event_call *e)
{
    struct buf cleanup_buf path = {0};
    kube_path(&path, "/apis/events.k8s.io/v1", e->state->namespace, "events", NULL);
    e->call = kube_submit(controller_kube(e->state->controller),
                          &(struct kube_request){.method = "POST",
                                                 .path = buf_text(&path),
                                                 .body = buf_view(&e->body),
                                                 .metadata_only = true,
                                                 .lane = HTTP_LANE_EVENT,
                                                 .timeout_ms = EVENT_TIMEOUT_MS},
                          event_done, e);
    line_of(e)->sending += e->call != NULL;
    return e->call != NULL ? 0 : -1;
}

static void send_line(struct event_line *line)
{
    while (line->sending < AT_ONCE_MAX && line->first != NULL &&
           controller_may_write(line->first->state->controller, EVENT_TIMEOUT_MS / 2)) {
        struct event_call *e = line->first;
        line_leave(e);
        if (event_post(e) != 0)
            e->retry_ms = controller_now_ms(e->state->controller) + RETRY_CAP_MS;
    }
}

static void event_name(const struct rotation_state *s, const struct event_text *text,
                       char out[LIMIT_NAME + 1])
{
    char hash[JOSE_HASH_TEXT];
    struct buf cleanup_buf about = {0};
    buf_appendf(&about, "%s\n%s\n%s", s->uid, text->reason, text->about);
    jose_sha256(buf_text(&about), about.len, hash);
    unsigned char hex[16];
    memcpy(hex, hash, sizeof(hex));
    size_t used = (size_t)snprintf(out, LIMIT_NAME + 1, "%.180s.", s->name);
    for (size_t i = 0; i < sizeof(hex) && used + 3 < LIMIT_NAME; i++)
        used += (size_t)snprintf(out + used, LIMIT_NAME + 1 - used, "%02x", hex[i]);
}

static int event_send(struct rotation_state *s, const struct rotation_object *object,
                      const struct event_text *text, const char *name)
{
    struct event_call *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return -1;
    e->state = s;
    (void)snprintf(e->name, sizeof(e->name), "%s", name);
    event_encode(&(struct event_object){.namespace = s->namespace,
                                        .name = name,
                                        .warning = text->warning,
                                        .reason = text->reason,
                                        .action = text->reason,
                                        .note = text->note,
                                        .regarding_name = s->name,
                                        .regarding_uid = s->uid,
                                        .regarding_resource_version = object->meta.resource_version,
                                        .instance = controller_options(s->controller)->identity,
                                        .time_us = loop_wall_us()},
                 &e->body);
    if (map_put(&s->events, name, e, NULL) != 0) {
        call_free(e);
        return -1;
    }
    s->events_under_way++;
    line_join(e);
    send_line(line_of(e));
    return 0;
}

bool event_say(struct rotation_state *s, const struct rotation_object *object,
               const struct event_text *text)
{
    char name[LIMIT_NAME + 1];
    event_name(s, text, name);
    void *mark = map_get(&s->events, name);
    if (mark != NULL)
        return mark == &said_mark;
    if (s->events.count >= EVENTS_REMEMBERED_MAX)
        forget_said(s);
    if (s->events_under_way >= EVENTS_UNDER_WAY_MAX ||
        !controller_may_write(s->controller, EVENT_TIMEOUT_MS / 2))
        return false;
    if (event_send(s, object, text, name) == 0)
        log_at(text->warning ? LOG_WARN : LOG_INFO, "event", LOG_TEXT("rotation", s->key),
               LOG_TEXT("reason", text->reason), LOG_TEXT("note", text->note));
    return false;
}

void events_follow(struct rotation_state *s)
{
    size_t it = 0;
    void *mark;
    int64_t now_ms = controller_now_ms(s->controller);
    while (s->events_under_way > 0 && map_next(&s->events, &it, NULL, &mark)) {
        struct event_call *e = mark;
        if (mark != &said_mark && e->call == NULL && !e->in_line && e->retry_ms <= now_ms)
            line_join(e);
    }
    send_line(controller_event_line(s->controller));
}

bool events_sending(const struct rotation_state *s)
{
    size_t it = 0;
    void *mark;
    while (s->events_under_way > 0 && map_next(&s->events, &it, NULL, &mark))
        if (mark != &said_mark && ((struct event_call *)mark)->call != NULL)
            return true;
    return false;
}

void events_release(struct rotation_state *s)
{
    size_t it = 0;
    void *mark;
    while (map_next(&s->events, &it, NULL, &mark))
        if (mark != &said_mark)
            call_free(mark);
    map_release(&s->events);
}
