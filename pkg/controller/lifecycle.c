/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/lifecycle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/events.h"
#include "controller/internal.h"
#include "obs/log.h"

#define LIFECYCLE_RETRY_MS 5000

/* "Secret/name" -> kind and name; NULL when it is neither. */
static const char *parse_object(const char *text, enum object_kind *ret_kind)
{
    if (text_starts_with(text, "Secret/")) {
        *ret_kind = KIND_SECRET;
        return text + strlen("Secret/");
    }
    if (text_starts_with(text, "ConfigMap/")) {
        *ret_kind = KIND_CONFIG_MAP;
        return text + strlen("ConfigMap/");
    }
    return NULL;
}

static bool still_published(const struct rotation_state *s, enum object_kind kind, const char *name)
{
    for (size_t i = 0; i < s->objects_count; i++)
        if (s->objects[i]->kind == kind && text_eq(s->objects[i]->name, name))
            return true;
    return false;
}

static struct leaving_slot *find_leaving(const struct rotation_state *s, enum object_kind kind,
                                         const char *name)
{
    struct leaving_slot *l = s->leaving;
    while (l != NULL && !(l->kind == kind && text_eq(l->name, name)))
        l = l->next;
    return l;
}

static void deleted(void *ctx, const struct kube_answer *answer)
{
    struct leaving_slot *l = ctx;
    struct controller *c = l->state->controller;
    l->call = NULL;
    l->gone = answer->err.class == ERR_NONE || answer->err.class == ERR_NOT_FOUND;
    state_text(&l->failure, l->gone ? NULL : answer->err.msg);
    log_at(l->gone ? LOG_INFO : LOG_WARN, l->gone ? "deleted" : "object not deleted",
           LOG_TEXT("rotation", l->state->key), LOG_TEXT("kind", object_kind_name(l->kind)),
           LOG_TEXT("name", l->name), LOG_TEXT("error", l->gone ? "" : answer->err.msg));
    l->retry_ms = controller_now_ms(c) + LIFECYCLE_RETRY_MS;
    controller_due(c, l->state->key, l->gone ? 0 : LIFECYCLE_RETRY_MS);
}

/* Sends the DELETE when it is due; true once the object is gone. */
static bool delete_object(struct rotation_state *s, enum object_kind kind, const char *name)
{
    struct controller *c = s->controller;
    struct leaving_slot *l = find_leaving(s, kind, name);
    struct buf cleanup_buf path = {0};
    if (l == NULL) {
        l = calloc(1, sizeof(*l));
        if (l == NULL)
            return false;
        l->state = s;
        l->kind = kind;
        l->name = strdup(name);
        l->next = s->leaving;
        s->leaving = l;
    }
    if (l->gone)
        return true;
    if (l->call != NULL || l->name == NULL || l->retry_ms > controller_now_ms(c) ||
        !controller_may_write(c, WRITE_TIMEOUT_MS) ||
        (kind == KIND_SECRET && !controller_fenced(c, NULL)))
        return false;
    kube_path(&path, "/api/v1", s->namespace, kind == KIND_SECRET ? "secrets" : "configmaps", name);
    l->call = kube_submit(controller_kube(c),
                          &(struct kube_request){.method = "DELETE",
                                                 .path = buf_text(&path),
                                                 .metadata_only = true,
                                                 .timeout_ms = WRITE_TIMEOUT_MS},
                          deleted, l);
    return false;
}

static void finalizer_done(void *ctx, const struct kube_answer *answer)
{
    struct rotation_state *s = ctx;
    s->lifecycle_call = NULL;
    if (answer->err.class != ERR_NONE && answer->err.class != ERR_NOT_FOUND) {
        log_warn("finalizer not changed", LOG_TEXT("rotation", s->key),
                 LOG_TEXT("error", answer->err.msg));
        s->lifecycle_retry_ms = controller_now_ms(s->controller) + 1000;
        controller_due(s->controller, s->key, 1000);
    }
}

/* JSON patch with a test of the version, so that finalizers of others are never lost. */
static void set_finalizer(struct rotation_state *s, const struct rotation_object *object, bool on)
{
    struct controller *c = s->controller;
    struct buf cleanup_buf path = {0};
    struct buf cleanup_buf body = {0};
    if (s->lifecycle_call != NULL || s->lifecycle_retry_ms > controller_now_ms(c) ||
        !controller_may_write(c, WRITE_TIMEOUT_MS))
        return;
    kube_path(&path, "/apis/keyturn.dev/v1alpha1", s->namespace, "keyrotations", s->name);
    buf_append_text(&path, "?fieldManager=keyturn");
    buf_append_text(&body, "[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":");
    buf_append_json(&body, object->meta.resource_version);
    buf_append_text(&body, "},");
    if (on && object->finalizers_count == 0)
        buf_append_text(
            &body,
            "{\"op\":\"add\",\"path\":\"/metadata/finalizers\",\"value\":[\"" FINALIZER_PUBLISHED
            "\"]}]");
    else if (on)
        buf_append_text(
            &body,
            "{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":\"" FINALIZER_PUBLISHED
            "\"}]");
    else
        buf_appendf(&body, "{\"op\":\"remove\",\"path\":\"/metadata/finalizers/%zu\"}]",
                    object->finalizer_index);
    s->lifecycle_retry_ms = controller_now_ms(c) + 500;
    s->lifecycle_call =
        kube_submit(controller_kube(c),
                    &(struct kube_request){.method = "PATCH",
                                           .path = buf_text(&path),
                                           .metadata_only = true,
                                           .content_type = "application/json-patch+json",
                                           .body = buf_view(&body),
                                           .timeout_ms = WRITE_TIMEOUT_MS},
                    finalizer_done, s);
}

bool lifecycle_is_leaving(const struct rotation_state *s, const struct rotation_object *object,
                          const struct consumer_status *consumer)
{
    enum object_kind kind;
    const char *name = parse_object(consumer->object, &kind);
    if (name == NULL || object->spec.deletion_policy != DELETION_DELETE ||
        still_published(s, kind, name))
        return false;
    const struct leaving_slot *l = find_leaving(s, kind, name);
    return l == NULL || !l->gone;
}

static void say_kept(struct rotation_state *s, const struct rotation_object *object,
                     const char *what, const char *about)
{
    struct buf cleanup_buf note = {0};
    buf_appendf(
        &note,
        "%s stays as it is, with the keys last published (deletionPolicy Retain); delete it by hand "
        "when nothing reads it any more",
        what);
    (void)event_say(
        s, object,
        &(struct event_text){.reason = "KeysRetained", .about = about, .note = buf_text(&note)});
}

void lifecycle_follow(struct rotation_state *s, const struct rotation_object *object)
{
    bool delete = object->spec.deletion_policy == DELETION_DELETE;
    if (object->spec_error == NULL && delete != object->finalizer)
        set_finalizer(s, object, delete);
    for (size_t i = 0; i < object->status.consumers_count && object->spec_error == NULL; i++) {
        enum object_kind kind;
        const char *name = parse_object(object->status.consumers[i].object, &kind);
        if (name == NULL || still_published(s, kind, name))
            continue;
        if (delete)
            (void)delete_object(s, kind, name);
        else
            say_kept(s, object, object->status.consumers[i].object,
                     object->status.consumers[i].object);
    }
}

void lifecycle_end(struct rotation_state *s, const struct rotation_object *object)
{
    bool all = true;
    if (!object->finalizer)
        return;
    if (object->spec.deletion_policy == DELETION_DELETE) {
        for (size_t i = 0; i < object->spec.consumers_count; i++)
            all = delete_object(s, object->spec.consumers[i].object_kind,
                                object->spec.consumers[i].object_name) &&
                  all;
        for (size_t i = 0; i < object->status.consumers_count; i++) {
            enum object_kind kind;
            const char *name = parse_object(object->status.consumers[i].object, &kind);
            all = (name == NULL || delete_object(s, kind, name)) && all;
        }
        all = delete_object(s, KIND_CONFIG_MAP, s->record->name) && all;
    }
    if (all)
        set_finalizer(s, object, false);
    else
        controller_due(s->controller, s->key, LIFECYCLE_RETRY_MS);
}

void lifecycle_gone(struct rotation_state *s, const struct rotation_object *last)
{
    struct buf cleanup_buf names = {.max = 700};
    if (last->spec.deletion_policy == DELETION_DELETE || last->status.consumers_count == 0)
        return;
    for (size_t i = 0; i < last->status.consumers_count && names.len < 500; i++)
        buf_appendf(&names, "%s%s", i > 0 ? ", " : "", last->status.consumers[i].object);
    say_kept(s, last, buf_text(&names), "gone");
}

const char *lifecycle_failure(const struct rotation_state *s)
{
    for (const struct leaving_slot *l = s->leaving; l != NULL; l = l->next)
        if (!l->gone && l->failure != NULL)
            return l->failure;
    return NULL;
}
