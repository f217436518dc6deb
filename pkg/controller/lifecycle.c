/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/lifecycle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/events.h"
#include "controller/internal.h"
#include "controller/patch.h"
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

static bool publishes(const struct rotation_state *s, enum object_kind kind, const char *name)
{
    for (size_t i = 0; i < s->objects_count; i++)
        if (s->objects[i]->kind == kind && text_eq(s->objects[i]->name, name))
            return true;
    return false;
}

/* Some KeyRotation of the namespace publishes it, now that nobody here does. */
static bool is_published_elsewhere(struct rotation_state *s, enum object_kind kind,
                                   const char *name)
{
    size_t it = 0;
    struct rotation_state *other;
    while ((other = controller_next_state(s->controller, &it)) != NULL)
        if (other != s && text_eq(other->namespace, s->namespace) && publishes(other, kind, name))
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

static void say_not_ours(struct leaving_slot *l)
{
    struct rotation_state *s = l->state;
    const struct rotation_object *object =
        world_rotation(controller_world(s->controller), s->namespace, s->name);
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {0};
    buf_appendf(&about, "%s/%s", object_kind_name(l->kind), l->name);
    buf_appendf(&note, "%s %s is not Keyturn's and stays", object_kind_name(l->kind), l->name);
    if (object != NULL)
        (void)event_say(s, object,
                        &(struct event_text){.warning = true,
                                             .reason = "ForeignObjectKept",
                                             .about = buf_text(&about),
                                             .note = buf_text(&note)});
}

static void deleted(void *ctx, const struct kube_answer *answer)
{
    struct leaving_slot *l = ctx;
    struct controller *c = l->state->controller;
    const struct err *err = &answer->err;
    bool foreign = err->class == ERR_INVALID; /* so says the fence */
    l->call = NULL;
    l->gone = err->class == ERR_NONE || err->class == ERR_NOT_FOUND || foreign;
    state_text(&l->failure, l->gone ? NULL : err->msg);
    log_at(l->gone && !foreign ? LOG_INFO : LOG_WARN,
           foreign   ? "object is not ours and stays"
           : l->gone ? "deleted"
                     : "object not deleted",
           LOG_TEXT("rotation", l->state->key), LOG_TEXT("kind", object_kind_name(l->kind)),
           LOG_TEXT("name", l->name), LOG_TEXT("error", err->class == ERR_NONE ? "" : err->msg));
    if (foreign)
        say_not_ours(l);
    l->retry_ms = controller_now_ms(c) + LIFECYCLE_RETRY_MS;
    controller_due(c, l->state->key, l->gone ? 0 : LIFECYCLE_RETRY_MS);
}

static struct leaving_slot *add_leaving(struct rotation_state *s, enum object_kind kind,
                                        const char *name)
{
    struct leaving_slot *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    l->state = s;
    l->kind = kind;
    l->name = strdup(name);
    if (l->name == NULL) {
        free(l);
        return NULL;
    }
    l->next = s->leaving;
    s->leaving = l;
    return l;
}

/* Slots of what is published again, or of what status does not name any more, are over. */
static void drop_leaving(struct rotation_state *s, const struct rotation_object *object)
{
    struct leaving_slot **at = &s->leaving;
    while (*at != NULL) {
        struct leaving_slot *l = *at;
        bool named = false;
        for (size_t i = 0; i < object->status.consumers_count; i++) {
            enum object_kind kind;
            const char *name = parse_object(object->status.consumers[i].object, &kind);
            named = named || (name != NULL && kind == l->kind && text_eq(name, l->name));
        }
        if (!publishes(s, l->kind, l->name) && (named || !l->gone)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        leaving_free(l);
    }
}

/* A ConfigMap that the watch of ours does not show, or shows as another's, is none of ours. */
static bool is_ours(struct rotation_state *s, enum object_kind kind, const char *name)
{
    const struct config_map_object *map =
        kind == KIND_CONFIG_MAP
            ? world_config_map(controller_world(s->controller), s->namespace, name)
            : NULL;
    if (is_published_elsewhere(s, kind, name))
        return false;
    return kind != KIND_CONFIG_MAP || (map != NULL && text_eq(map->rotation, s->name));
}

/* Sends the DELETE when it is due; true once nothing of ours is there. */
static bool delete_object(struct rotation_state *s, enum object_kind kind, const char *name)
{
    struct controller *c = s->controller;
    struct leaving_slot *l = find_leaving(s, kind, name);
    struct buf cleanup_buf path = {0};
    if (l == NULL && !is_ours(s, kind, name))
        return true;
    if (l == NULL)
        l = add_leaving(s, kind, name);
    if (l == NULL || l->gone)
        return l != NULL;
    if (l->call != NULL || l->retry_ms > controller_now_ms(c) ||
        !controller_may_write(c, WRITE_TIMEOUT_MS) ||
        (kind == KIND_SECRET && !fences_stand(controller_fences(c), NULL)))
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
    struct buf cleanup_buf body = {0};
    if (s->lifecycle_call != NULL || s->lifecycle_retry_ms > controller_now_ms(c) ||
        !controller_may_write(c, WRITE_TIMEOUT_MS))
        return;
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
    s->lifecycle_call = patch_rotation(s, "", PATCH_JSON, &body, finalizer_done);
}

bool lifecycle_is_leaving(const struct rotation_state *s, const struct rotation_object *object,
                          const struct consumer_status *consumer)
{
    enum object_kind kind;
    const char *name = parse_object(consumer->object, &kind);
    if (name == NULL || object->spec.deletion_policy != DELETION_DELETE ||
        consumer->trust_hash == NULL || publishes(s, kind, name))
        return false;
    const struct leaving_slot *l = find_leaving(s, kind, name);
    return l != NULL && !l->gone;
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
    if (object->spec_error != NULL)
        return;
    if (delete != object->finalizer)
        set_finalizer(s, object, delete);
    drop_leaving(s, object);
    for (size_t i = 0; i < object->status.consumers_count; i++) {
        enum object_kind kind;
        const char *name = parse_object(object->status.consumers[i].object, &kind);
        if (name == NULL || publishes(s, kind, name) ||
            object->status.consumers[i].trust_hash == NULL)
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
    for (size_t i = 0;
         i < object->status.consumers_count && object->spec.deletion_policy == DELETION_DELETE;
         i++) {
        enum object_kind kind;
        const char *name = parse_object(object->status.consumers[i].object, &kind);
        if (name != NULL && object->status.consumers[i].trust_hash != NULL)
            all = delete_object(s, kind, name) && all;
    }
    for (size_t i = 0; i < s->objects_count && object->spec.deletion_policy == DELETION_DELETE;
         i++) /* written, but not in status yet */
        if (s->objects[i]->acked_digest[0] != '\0' && !s->objects[i]->foreign)
            all = delete_object(s, s->objects[i]->kind, s->objects[i]->name) && all;
    if (object->spec.deletion_policy == DELETION_DELETE)
        all = delete_object(s, KIND_CONFIG_MAP, s->record->name) && all;
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
    size_t i = 0;
    for (; i < last->status.consumers_count && names.len < 500; i++)
        buf_appendf(&names, "%s%s", i > 0 ? ", " : "", last->status.consumers[i].object);
    if (i < last->status.consumers_count)
        buf_appendf(&names, " and %zu more", last->status.consumers_count - i);
    say_kept(s, last, buf_text(&names), "gone");
}

const char *lifecycle_failure(const struct rotation_state *s)
{
    for (const struct leaving_slot *l = s->leaving; l != NULL; l = l->next)
        if (!l->gone && l->failure != NULL)
            return l->failure;
    return NULL;
}
