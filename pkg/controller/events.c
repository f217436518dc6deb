/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/internal.h"
#include "obs/log.h"

#define EVENTS_UNDER_WAY_MAX 512 /* of one KeyRotation; the rest is said by a later pass */
#define EVENTS_REMEMBERED_MAX 20000
#define EVENT_TIMEOUT_MS 10000

/* One Event under way: the map of the state points to it until it is said. */
struct event_call {
    struct rotation_state *state;
    struct kube_call *call;
    char name[LIMIT_NAME + 1];
};

static char said_mark; /* value in the map: the API server has it */

static void event_done(void *ctx, const struct kube_answer *answer)
{
    struct event_call *e = ctx;
    struct rotation_state *s = e->state;
    bool said = answer->err.class == ERR_NONE || answer->err.class == ERR_EXISTS;
    bool hopeless = answer->err.class == ERR_FORBIDDEN || answer->err.class == ERR_INVALID;
    s->events_under_way--;
    if (said || hopeless)
        (void)map_put(&s->events, e->name, &said_mark, NULL);
    else
        (void)map_remove(&s->events, e->name);
    if (!said)
        log_warn("event not written", LOG_TEXT("rotation", s->key), LOG_TEXT("event", e->name),
                 LOG_TEXT("error", answer->err.msg));
    controller_due(s->controller, s->key, said ? 50 : 2000);
    free(e);
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
    struct controller *c = s->controller;
    struct buf cleanup_buf body = {0};
    struct buf cleanup_buf path = {0};
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
                                        .instance = controller_options(c)->identity,
                                        .time_us = loop_wall_us()},
                 &body);
    kube_path(&path, "/apis/events.k8s.io/v1", s->namespace, "events", NULL);
    if (map_put(&s->events, name, e, NULL) != 0) {
        free(e);
        return -1;
    }
    e->call = kube_submit(controller_kube(c),
                          &(struct kube_request){.method = "POST",
                                                 .path = buf_text(&path),
                                                 .body = buf_view(&body),
                                                 .metadata_only = true,
                                                 .lane = HTTP_LANE_EVENT,
                                                 .timeout_ms = EVENT_TIMEOUT_MS},
                          event_done, e);
    if (e->call == NULL) {
        (void)map_remove(&s->events, name);
        free(e);
        return -1;
    }
    s->events_under_way++;
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
    if (s->events_under_way >= EVENTS_UNDER_WAY_MAX || s->events.count >= EVENTS_REMEMBERED_MAX ||
        !controller_may_write(s->controller, EVENT_TIMEOUT_MS / 2))
        return false;
    if (event_send(s, object, text, name) == 0)
        log_at(text->warning ? LOG_WARN : LOG_INFO, "event", LOG_TEXT("rotation", s->key),
               LOG_TEXT("reason", text->reason), LOG_TEXT("note", text->note));
    return false;
}

void events_release(struct rotation_state *s)
{
    size_t it = 0;
    void *mark;
    while (map_next(&s->events, &it, NULL, &mark)) {
        struct event_call *e = mark;
        if (mark == &said_mark)
            continue;
        kube_cancel(e->call);
        free(e);
    }
    map_release(&s->events);
}
