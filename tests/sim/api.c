/* SPDX-License-Identifier: Apache-2.0 */
#include "api_store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/date.h"
#include "check.h"
#include "cluster.h"
#include "patch.h"

static const struct {
    const char *prefix, *plural, *name, *version;
} kinds[API_KIND_COUNT] = {
    [API_ROTATION] = {"/apis/keyturn.dev/v1alpha1", "keyrotations", "KeyRotation",
                      "keyturn.dev/v1alpha1"},
    [API_SECRET] = {"/api/v1", "secrets", "Secret", "v1"},
    [API_CONFIG_MAP] = {"/api/v1", "configmaps", "ConfigMap", "v1"},
    [API_POD] = {"/api/v1", "pods", "Pod", "v1"},
    [API_DEPLOYMENT] = {"/apis/apps/v1", "deployments", "Deployment", "apps/v1"},
    [API_STATEFUL_SET] = {"/apis/apps/v1", "statefulsets", "StatefulSet", "apps/v1"},
    [API_DAEMON_SET] = {"/apis/apps/v1", "daemonsets", "DaemonSet", "apps/v1"},
    [API_EVENT] = {"/apis/events.k8s.io/v1", "events", "Event", "events.k8s.io/v1"},
};

const char *api_version_of(enum api_kind kind)
{
    return kinds[kind].version;
}

const char *api_kind_name(enum api_kind kind)
{
    return kinds[kind].name;
}

/* ---- objects ---- */

const char *api_text(const json_t *object, ...)
{
    va_list args;
    const char *key;
    va_start(args, object);
    while ((key = va_arg(args, const char *)) != NULL)
        object = json_object_get(object, key);
    va_end(args);
    return json_string_value(object);
}

static struct api_object *find(const struct api *a, enum api_kind kind, const char *name)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->objects[i].kind == kind && strcmp(a->objects[i].name, name) == 0)
            return (struct api_object *)(uintptr_t)&a->objects[i];
    return NULL;
}

const json_t *api_find(const struct sim *s, enum api_kind kind, const char *name)
{
    const struct api_object *o = find(s->api, kind, name);
    return o != NULL ? o->value : NULL;
}

json_t *api_copy(const struct sim *s, enum api_kind kind, const char *name)
{
    return json_deep_copy(api_find(s, kind, name));
}

void api_forget_history(struct api *a, size_t keep)
{
    size_t drop = a->history_count > keep ? a->history_count - keep : 0;
    for (size_t i = 0; i < drop; i++) {
        a->gone = a->history[i].version;
        api_lose(a, a->history[i].kind, a->gone);
        json_decref(a->history[i].object);
    }
    a->history_count -= drop;
    memmove(a->history, a->history + drop, a->history_count * sizeof(a->history[0]));
    if (keep == 0)
        a->gone = a->version;
}

static void remember(struct api *a, enum api_kind kind, const char *type, json_t *object)
{
    if (a->history_count == HISTORY_MAX)
        api_forget_history(a, HISTORY_MAX / 2);
    a->history[a->history_count++] =
        (struct api_event){a->version, kind, type, json_incref(object)};
    api_wake(a, kind);
}

static void set_text(json_t *object, const char *key, const char *value)
{
    (void)json_object_set_new(object, key, json_string(value));
}

/* The metadata of an object that is being made: a copy of its own, since what it was made from may
 * be stored. */
static json_t *meta_of(json_t *value)
{
    json_t *meta = json_copy(json_object_get(value, "metadata"));
    if (meta == NULL)
        meta = json_object();
    (void)json_object_set_new(value, "metadata", meta);
    return meta;
}

static void set_version(struct api *a, json_t *value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)++a->version);
    set_text(meta_of(value), "resourceVersion", text);
}

/* What the server says of an object, whatever was sent. */
static void complete(struct api *a, enum api_kind kind, const char *name, const json_t *old,
                     json_t *value)
{
    json_t *meta = meta_of(value);
    const json_t *before = json_object_get(old, "metadata");
    char text[DATE_TEXT_MAX + 24];
    int64_t generation = json_integer_value(json_object_get(before, "generation"));
    set_text(value, "kind", kinds[kind].name);
    set_text(value, "apiVersion", kinds[kind].version);
    set_text(meta, "name", name);
    set_text(meta, "namespace", SIM_NAMESPACE);
    if (old != NULL) {
        (void)json_object_set(meta, "uid", json_object_get(before, "uid"));
        (void)json_object_set(meta, "creationTimestamp",
                              json_object_get(before, "creationTimestamp"));
    } else {
        (void)snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012llx",
                       (unsigned long long)a->version);
        set_text(meta, "uid", kind == API_ROTATION ? SIM_UID : text);
        date_rfc3339(sim_wall_s(), text);
        set_text(meta, "creationTimestamp", text);
    }
    if (old == NULL ||
        json_equal(json_object_get(old, "spec"), json_object_get(value, "spec")) != 1)
        generation++;
    (void)json_object_set_new(meta, "generation", json_integer(generation));
}

void api_store(struct sim *s, enum api_kind kind, const char *name, json_t *value)
{
    struct api *a = s->api;
    struct api_object *o = find(a, kind, name);
    json_t *old = o != NULL ? o->value : NULL;
    complete(a, kind, name, old, value);
    if (old != NULL && json_equal(old, value) == 1) { /* the same is no change */
        json_decref(value);
        return;
    }
    set_version(a, value);
    if (o == NULL) {
        if (a->count == OBJECTS_MAX)
            abort();
        o = &a->objects[a->count++];
        o->kind = kind;
        (void)snprintf(o->name, sizeof(o->name), "%s", name);
    }
    o->value = value;
    remember(a, kind, old == NULL ? "ADDED" : "MODIFIED", value);
    json_incref(value);
    cluster_changed(s, kind, name, old, value);
    if (kind == API_ROTATION)
        check_status(s, value);
    json_decref(value);
    json_decref(old);
}

void api_remove(struct sim *s, enum api_kind kind, const char *name)
{
    struct api *a = s->api;
    struct api_object *o = find(a, kind, name);
    if (o == NULL)
        return;
    json_t *last = json_copy(o->value);
    json_decref(o->value);
    *o = a->objects[--a->count];
    set_version(a, last);
    remember(a, kind, "DELETED", last);
    json_decref(last);
}

/* ---- answers ---- */

bool api_selects(enum api_kind kind, const json_t *object)
{
    return kind != API_CONFIG_MAP ||
           text_eq(api_text(object, "metadata", "labels", "app.kubernetes.io/managed-by", NULL),
                   "keyturn");
}

json_t *api_shown(const json_t *object, bool metadata_only)
{
    if (!metadata_only)
        return json_incref((json_t *)(uintptr_t)object);
    return json_pack("{sssssO}", "kind", "PartialObjectMetadata", "apiVersion", "meta.k8s.io/v1",
                     "metadata", json_object_get(object, "metadata"));
}

static void answer_json(struct net_answer *ret, int code, const json_t *body)
{
    char *text = sim_must(json_dumps(body, JSON_COMPACT));
    ret->status = code;
    buf_append_text(&ret->body, text);
    free(text);
}

void api_status(struct net_answer *ret, int code, const char *reason, const char *message)
{
    ret->status = code;
    buf_appendf(&ret->body,
                "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"code\":%d,"
                "\"reason\":\"%s\",\"message\":\"%s\"}",
                code, reason, message);
}

static void answer_object(struct net_answer *ret, int code, const json_t *object, bool meta_only)
{
    json_t *shown = api_shown(object, meta_only);
    answer_json(ret, code, shown);
    json_decref(shown);
}

bool api_parse(const char *path, struct api_target *ret)
{
    *ret = (struct api_target){.kind = API_KIND_COUNT};
    for (size_t i = 0; i < API_KIND_COUNT; i++) {
        size_t prefix = strlen(kinds[i].prefix), plural = strlen(kinds[i].plural);
        const char *at = path + prefix;
        if (strncmp(path, kinds[i].prefix, prefix) != 0 || *at != '/')
            continue;
        if (strncmp(at, "/namespaces/" SIM_NAMESPACE "/", 17) == 0)
            at += 16;
        if (strncmp(at + 1, kinds[i].plural, plural) != 0 || strchr("/?", at[1 + plural]) == NULL)
            continue;
        at += 1 + plural;
        ret->kind = (enum api_kind)i;
        if (*at == '/') {
            size_t len = strcspn(++at, "/?");
            (void)snprintf(ret->name, sizeof(ret->name), "%.*s", (int)len, at);
            ret->status = strncmp(at + len, "/status", 7) == 0;
        }
        return true;
    }
    return false;
}

/* ---- reading ---- */

static void serve_list(const struct sim *s, enum api_kind kind, bool metadata_only,
                       struct net_answer *ret)
{
    const struct api *a = s->api;
    json_t *items = json_array();
    char version[24];
    for (size_t i = 0; i < a->count; i++)
        if (a->objects[i].kind == kind && api_selects(kind, a->objects[i].value))
            (void)json_array_append_new(items, api_shown(a->objects[i].value, metadata_only));
    (void)snprintf(version, sizeof(version), "%llu", (unsigned long long)a->version);
    json_t *list =
        json_pack("{ss+sss{ss}so}", "kind", kinds[kind].name, "List", "apiVersion",
                  kinds[kind].version, "metadata", "resourceVersion", version, "items", items);
    answer_json(ret, 200, list);
    json_decref(list);
}

static void serve_get(struct sim *s, const struct api_target *t, bool metadata_only,
                      struct net_answer *ret)
{
    const json_t *object = api_find(s, t->kind, t->name);
    if (t->kind == API_SECRET && strcmp(t->name, "keyturn-keycloak") != 0)
        sim_fail(s, "the operator reads Secret %s", t->name);
    if (object == NULL)
        api_status(ret, 404, "NotFound", "not found");
    else
        answer_object(ret, 200, object, metadata_only);
}

/* ---- writing ---- */

/* False: a precondition of the request does not hold, and ret says so. */
static bool meets(const json_t *object, const json_t *sent, struct net_answer *ret)
{
    const char *version = api_text(sent, "metadata", "resourceVersion", NULL);
    const char *uid = api_text(sent, "metadata", "uid", NULL);
    bool fits = (version == NULL ||
                 text_eq(version, api_text(object, "metadata", "resourceVersion", NULL))) &&
                (uid == NULL || text_eq(uid, api_text(object, "metadata", "uid", NULL)));
    if (!fits)
        api_status(ret, 409, "Conflict", "the object has been modified");
    return fits;
}

/* What stands in a status may be written under /status alone, and nothing else there. */
static void keep_half(const json_t *old, json_t *value, bool status)
{
    static const char *const halves[] = {"status", "spec"};
    const char *kept = halves[status];
    json_t *before = json_object_get(old, kept);
    if (before != NULL)
        (void)json_object_set(value, kept, before);
    else
        (void)json_object_del(value, kept);
    if (status)
        (void)json_object_set(value, "metadata", json_object_get(old, "metadata"));
}

static void finish_write(struct sim *s, const struct api_target *t, json_t *value,
                         const struct net_request *r, struct net_answer *ret)
{
    const uint64_t before = s->api->version;
    const json_t *old = api_find(s, t->kind, t->name);
    bool made = old == NULL;
    if (!made && t->kind == API_ROTATION)
        keep_half(old, value, t->status);
    if (t->kind == API_DEPLOYMENT)
        check_restart(s, t->name, old, value);
    api_store(s, t->kind, t->name, value);
    ret->changed = s->api->version != before;
    answer_object(ret, made ? 201 : 200, api_find(s, t->kind, t->name), r->metadata_only);
}

static void serve_post(struct sim *s, const struct api_target *t, json_t *body,
                       const struct net_request *r, struct net_answer *ret)
{
    struct api_target target = *t;
    const char *name = api_text(body, "metadata", "name", NULL);
    (void)snprintf(target.name, sizeof(target.name), "%s", name != NULL ? name : "");
    bool exists = t->kind == API_EVENT ? map_get(&s->api->events, target.name) != NULL
                                       : api_find(s, t->kind, target.name) != NULL;
    if (exists) {
        api_status(ret, 409, "AlreadyExists", "already exists");
    } else if (t->kind == API_EVENT) {
        (void)map_put(&s->api->events, target.name, s->api, NULL);
        sim_say(s, "Event %s: %.200s", api_text(body, "reason", NULL),
                api_text(body, "note", NULL));
        ret->changed = true;
        answer_object(ret, 201, body, true);
    } else {
        finish_write(s, &target, json_copy(body), r, ret);
    }
}

static void serve_put(struct sim *s, const struct api_target *t, const json_t *body,
                      const struct net_request *r, struct net_answer *ret)
{
    const json_t *object = api_find(s, t->kind, t->name);
    if (object == NULL)
        api_status(ret, 404, "NotFound", "not found");
    else if (t->kind == API_SECRET &&
             !text_eq(api_text(object, "type", NULL), api_text(body, "type", NULL)))
        api_status(ret, 422, "Invalid", "type: Invalid value: field is immutable");
    else if (meets(object, body, ret)) {
        json_t *value = json_copy((json_t *)(uintptr_t)body);
        (void)json_object_set(
            meta_of(value), "resourceVersion",
            json_object_get(json_object_get(object, "metadata"), "resourceVersion"));
        finish_write(s, t, value, r, ret);
    }
}

static void serve_patch(struct sim *s, const struct api_target *t, const json_t *body,
                        const struct net_request *r, struct net_answer *ret)
{
    const json_t *object = api_find(s, t->kind, t->name);
    bool merge = strcmp(r->content_type, "application/merge-patch+json") == 0;
    if (object == NULL) {
        api_status(ret, 404, "NotFound", "not found");
        return;
    }
    if (merge && !meets(object, body, ret))
        return;
    json_t *value = merge ? patch_merge(object, body) : json_deep_copy(object);
    if (merge || patch_json(value, body)) {
        finish_write(s, t, value, r, ret);
        return;
    }
    json_decref(value);
    api_status(ret, 422, "Invalid", "the server rejected our request due to an error in it");
}

/* Somebody else writes to the object just before. */
static void touch(struct sim *s, const struct api_target *t)
{
    json_t *value = api_copy(s, t->kind, t->name);
    json_t *meta = json_object_get(value, "metadata");
    json_t *annotations = json_object_get(meta, "annotations");
    if (annotations == NULL) {
        annotations = json_object();
        (void)json_object_set_new(meta, "annotations", annotations);
    }
    (void)json_object_set_new(annotations, "sim/touched", json_sprintf("%u", ++s->api->touched));
    api_store(s, t->kind, t->name, value);
}

static void serve_delete(struct sim *s, const struct api_target *t, struct net_answer *ret)
{
    if (api_find(s, t->kind, t->name) == NULL) {
        api_status(ret, 404, "NotFound", "not found");
        return;
    }
    api_remove(s, t->kind, t->name);
    ret->changed = true;
    ret->status = 200;
}

static void serve_write(struct sim *s, const struct api_target *t, const struct net_request *r,
                        struct net_answer *ret)
{
    json_t *body = json_loadb(r->body.data, r->body.len, 0, NULL);
    bool touched =
        t->name[0] != '\0' && api_find(s, t->kind, t->name) != NULL && sim_fault(s, FAULT_CONFLICT);
    if (touched)
        touch(s, t);
    if (strcmp(r->method, "DELETE") == 0)
        serve_delete(s, t, ret);
    else if (body == NULL)
        api_status(ret, 400, "BadRequest", "no JSON");
    else if (strcmp(r->method, "POST") == 0)
        serve_post(s, t, body, r, ret);
    else if (strcmp(r->method, "PUT") == 0)
        serve_put(s, t, body, r, ret);
    else
        serve_patch(s, t, body, r, ret);
    if (touched && ret->status == 409)
        sim_hit(s, FAULT_CONFLICT);
    json_decref(body);
}

void api_serve(struct sim *s, const struct net_request *r, struct net_answer *ret)
{
    struct api_target t;
    if (!api_parse(r->path, &t))
        api_status(ret, 404, "", "404 page not found");
    else if (strcmp(r->method, "GET") != 0)
        serve_write(s, &t, r, ret);
    else if (t.name[0] == '\0')
        serve_list(s, t.kind, r->metadata_only, ret);
    else
        serve_get(s, &t, r->metadata_only, ret);
}
