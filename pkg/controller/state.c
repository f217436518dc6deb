/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/events.h"
#include "controller/internal.h"
#include "controller/issuer.h"
#include "controller/known.h"
#include "controller/rotate.h"

void state_text(char **slot, const char *text)
{
    if (text_eq(*slot, text))
        return;
    free(*slot);
    *slot = text != NULL ? strdup(text) : NULL;
}

struct place state_place(const char *namespace)
{
    return (struct place){namespace, "KeyRotation", ""};
}

struct place state_realm_place(const char *realm)
{
    return (struct place){"", "Realm", realm};
}

static struct place object_place(const struct object_slot *o)
{
    return (struct place){o->state->namespace, object_kind_name(o->kind), o->name};
}

static struct place workload_place(const struct workload_slot *w)
{
    return (struct place){w->state->namespace, workload_kind_name(w->kind), w->name};
}

static void object_slot_free(struct object_slot *o)
{
    if (o == NULL)
        return;
    struct place at = object_place(o);
    neighbours_leave(controller_places(o->state->controller), &at, &o->neighbour);
    if (o->call != NULL) {
        kube_cancel(o->call);
        turns_give_back(o->state);
    }
    free(o->consumer);
    free(o->name);
    free(o->failure);
    free(o);
}

static void workload_slot_free(struct workload_slot *w)
{
    if (w == NULL)
        return;
    struct place at = workload_place(w);
    neighbours_leave(controller_places(w->state->controller), &at, &w->neighbour);
    if (w->call != NULL) {
        kube_cancel(w->call);
        turns_give_back(w->state);
    }
    free(w->name);
    free(w->failure);
    free(w);
}

void leaving_free(struct leaving_slot *l)
{
    kube_cancel(l->call);
    free(l->name);
    free(l->failure);
    free(l);
}

static struct object_slot *object_slot_new(struct rotation_state *s, const char *consumer,
                                           enum object_kind kind, const char *name)
{
    struct object_slot *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return NULL;
    o->state = s;
    o->kind = kind;
    o->neighbour.slot = o;
    o->consumer = consumer != NULL ? strdup(consumer) : NULL;
    o->name = strdup(name);
    struct place at = object_place(o);
    if (o->name == NULL || (consumer != NULL && o->consumer == NULL) ||
        neighbours_join(controller_places(s->controller), &at, &o->neighbour) != 0) {
        object_slot_free(o);
        return NULL;
    }
    return o;
}

struct rotation_state *state_new(struct controller *c, const struct rotation_object *object)
{
    struct rotation_state *s = calloc(1, sizeof(*s));
    char record[LIMIT_NAME + 32];
    if (s == NULL)
        return NULL;
    s->controller = c;
    s->created_s = object->meta.created_s;
    s->inherited = object->status.keys_count > 0 || object->status.consumers_count > 0;
    s->namespace = strdup(object->meta.namespace);
    s->name = strdup(object->meta.name);
    s->uid = strdup(object->meta.uid != NULL ? object->meta.uid : "");
    (void)snprintf(record, sizeof(record), "%s-keyturn-record", object->meta.name);
    if (s->namespace != NULL) {
        struct place at = state_place(s->namespace);
        s->neighbour.slot = s;
        (void)neighbours_join(controller_places(c), &at, &s->neighbour);
        s->record = object_slot_new(s, NULL, KIND_CONFIG_MAP, record);
    }
    if (!s->neighbour.joined || s->name == NULL || s->uid == NULL || s->record == NULL ||
        asprintf(&s->key, "%s/%s", s->namespace, s->name) < 0) {
        s->key = NULL;
        state_free(s);
        return NULL;
    }
    return s;
}

static void drop_slots(struct object_slot **objects, size_t objects_count,
                       struct workload_slot **workloads, size_t workloads_count)
{
    for (size_t i = 0; objects != NULL && i < objects_count; i++)
        object_slot_free(objects[i]);
    for (size_t i = 0; workloads != NULL && i < workloads_count; i++)
        workload_slot_free(workloads[i]);
    free(objects);
    free(workloads);
}

static void drop_renderings(struct rotation_state *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->renderings); i++) {
        free(s->renderings[i]);
        s->renderings[i] = NULL;
    }
    arena_release(&s->renderings_arena);
}

void state_free(struct rotation_state *s)
{
    if (s == NULL)
        return;
    struct place at = state_place(s->namespace), realm = state_realm_place(s->realm);
    neighbours_leave(controller_places(s->controller), &at, &s->neighbour);
    neighbours_leave(controller_places(s->controller), &realm, &s->rival);
    issuer_release(s);
    rotate_release(s);
    known_release(&s->known);
    drop_slots(s->objects, s->objects_count, s->workloads, s->workloads_count);
    object_slot_free(s->record);
    while (s->leaving != NULL) {
        struct leaving_slot *l = s->leaving;
        s->leaving = l->next;
        leaving_free(l);
    }
    kube_cancel(s->lifecycle_call);
    kube_cancel(s->operation_call);
    if (s->status_call != NULL) {
        kube_cancel(s->status_call);
        turns_give_back(s);
    }
    map_release(&s->workload_index);
    events_release(s);
    drop_renderings(s);
    free(s->renderings_issuer);
    free(s->uses);
    free(s->uses_start);
    free(s->readers);
    free(s->namespace);
    free(s->name);
    free(s->uid);
    free(s->key);
    free(s);
}

static struct object_slot *take_object(struct object_slot **old, size_t count,
                                       const struct consumer_spec *spec, struct rotation_state *s)
{
    for (size_t i = 0; i < count; i++) {
        struct object_slot *o = old[i];
        if (o != NULL && o->kind == spec->object_kind && text_eq(o->name, spec->object_name) &&
            text_eq(o->consumer, spec->name)) {
            old[i] = NULL;
            o->tries = 0;
            o->retry_ms = 0; /* a changed spec may mend it */
            return o;
        }
    }
    return object_slot_new(s, spec->name, spec->object_kind, spec->object_name);
}

static struct workload_slot *take_workload(struct map *old, const char *key,
                                           const struct restart_spec *spec,
                                           struct rotation_state *s)
{
    struct workload_slot *w = map_remove(old, key);
    if (w != NULL)
        return w;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return NULL;
    w->state = s;
    w->kind = spec->kind;
    w->neighbour.slot = w;
    w->name = strdup(spec->name);
    struct place at = workload_place(w);
    if (w->name == NULL ||
        neighbours_join(controller_places(s->controller), &at, &w->neighbour) != 0) {
        workload_slot_free(w);
        return NULL;
    }
    return w;
}

/* Index of the slot for this restart among the new ones, made or taken over when it is not there.
 */
static int index_workload(struct rotation_state *s, struct map *old, struct map *places,
                          const struct restart_spec *spec, size_t *ret)
{
    char key[LIMIT_NAME + 32];
    (void)snprintf(key, sizeof(key), "%s/%s", workload_kind_name(spec->kind), spec->name);
    void *place = map_get(places, key);
    if (place != NULL) {
        *ret = (size_t)(uintptr_t)place - 1;
        return 0;
    }
    struct workload_slot *w = take_workload(old, key, spec, s);
    if (w == NULL)
        return -1;
    s->workloads[s->workloads_count++] = w;
    *ret = s->workloads_count - 1;
    if (map_put(&s->workload_index, key, w, NULL) != 0 ||
        map_put(places, key, (void *)(uintptr_t)s->workloads_count, NULL) != 0)
        return -1;
    return 0;
}

static bool is_older(const struct rotation_state *a, const struct rotation_state *b)
{
    return a->created_s != b->created_s ? a->created_s < b->created_s : strcmp(a->uid, b->uid) < 0;
}

struct rotation_state *state_owner_of(const struct object_slot *o)
{
    struct place at = object_place(o);
    struct neighbour *n = neighbours_at(controller_places(o->state->controller), &at);
    for (; n != NULL; n = n->next) {
        const struct object_slot *other = n->slot;
        if (other->state != o->state && other->consumer != NULL && is_older(other->state, o->state))
            return other->state;
    }
    return NULL;
}

const struct key_status *status_key(const struct rotation_status *status, const char *kid)
{
    for (size_t i = 0; i < status->keys_count; i++)
        if (text_eq(status->keys[i].kid, kid))
            return &status->keys[i];
    return NULL;
}

const struct consumer_status *status_consumer(const struct rotation_status *status,
                                              const struct object_slot *o)
{
    /* As a rule where it was when we wrote it. */
    if (o->place < status->consumers_count &&
        text_eq(status->consumers[o->place].name, o->consumer))
        return &status->consumers[o->place];
    for (size_t i = 0; i < status->consumers_count; i++)
        if (text_eq(status->consumers[i].name, o->consumer))
            return &status->consumers[i];
    return NULL;
}

/* Turns "which workloads does an object restart" round: workload to objects. */
static void index_readers(struct rotation_state *s)
{
    size_t used = 0;
    for (size_t i = 0; i < s->workloads_count; i++)
        s->workloads[i]->objects_count = 0;
    for (size_t k = 0; k < s->uses_start[s->objects_count]; k++)
        s->workloads[s->uses[k]]->objects_count++;
    for (size_t i = 0; i < s->workloads_count; i++) {
        s->workloads[i]->objects = s->readers + used;
        used += s->workloads[i]->objects_count;
        s->workloads[i]->objects_count = 0;
    }
    for (size_t i = 0; i < s->objects_count; i++) {
        for (size_t k = s->uses_start[i]; k < s->uses_start[i + 1]; k++) {
            struct workload_slot *w = s->workloads[s->uses[k]];
            w->objects[w->objects_count++] = i;
        }
    }
}

static int index_consumers(struct rotation_state *s, const struct rotation_spec *spec,
                           struct object_slot **old_objects, size_t old_count,
                           struct map *old_workloads)
{
    struct map places = {0};
    size_t used = 0;
    int result = -1;
    for (size_t i = 0; i < spec->consumers_count; i++) {
        const struct consumer_spec *c = &spec->consumers[i];
        s->objects[i] = take_object(old_objects, old_count, c, s);
        if (s->objects[i] == NULL)
            goto out;
        s->objects[i]->formats = c->formats;
        s->objects[i]->place = i;
        s->objects_count = i + 1;
        s->uses_start[i] = used;
        for (size_t k = 0; k < c->restarts_count; k++)
            if (index_workload(s, old_workloads, &places, &c->restarts[k], &s->uses[used++]) != 0)
                goto out;
    }
    s->uses_start[spec->consumers_count] = used;
    index_readers(s);
    result = 0;
out:
    map_release(&places);
    return result;
}

/* Meets those that rotate the same realm. */
static int index_realm(struct rotation_state *s, const struct rotation_spec *spec)
{
    struct map *places = controller_places(s->controller);
    struct place at = state_realm_place(s->realm);
    struct buf cleanup_buf name = {0};
    neighbours_leave(places, &at, &s->rival);
    s->realm[0] = '\0';
    if (!spec->key.managed)
        return 0;
    buf_appendf(&name, "%s\n%s", spec->keycloak_url, spec->realm);
    jose_sha256(name.data, name.len, s->realm);
    s->rival.slot = s;
    return name.failed ? -1 : neighbours_join(places, &at, &s->rival);
}

int state_index(struct rotation_state *s, const struct rotation_object *object)
{
    const struct rotation_spec *spec = &object->spec;
    if (s->indexed && s->generation == object->meta.generation)
        return 0;
    struct object_slot **old_objects = s->objects;
    struct workload_slot **old_array = s->workloads;
    size_t old_count = s->objects_count, restarts = 0;
    struct map old_workloads = s->workload_index;
    for (size_t i = 0; i < spec->consumers_count; i++)
        restarts += spec->consumers[i].restarts_count;
    free(s->uses);
    free(s->uses_start);
    free(s->readers);
    s->objects = calloc(spec->consumers_count + 1, sizeof(*s->objects));
    s->workloads = calloc(restarts + 1, sizeof(*s->workloads));
    s->uses = calloc(restarts + 1, sizeof(*s->uses));
    s->uses_start = calloc(spec->consumers_count + 1, sizeof(*s->uses_start));
    s->readers = calloc(restarts + 1, sizeof(*s->readers));
    s->objects_count = s->workloads_count = 0;
    s->workload_index = (struct map){0};
    int result = -1;
    if (s->objects != NULL && s->workloads != NULL && s->uses != NULL && s->uses_start != NULL &&
        s->readers != NULL && index_realm(s, spec) == 0)
        result = index_consumers(s, spec, old_objects, old_count, &old_workloads);
    size_t it = 0;
    void *left;
    while (map_next(&old_workloads, &it, NULL, &left))
        workload_slot_free(left);
    map_release(&old_workloads);
    drop_slots(old_objects, old_count, NULL, 0);
    free(old_array);
    for (size_t i = 0; result != 0 && i < s->workloads_count; i++)
        s->workloads[i]->objects_count = 0; /* half an index is none */
    s->indexed = result == 0;
    s->generation = object->meta.generation;
    return result;
}

static const char *lifecycle(enum key_state state)
{
    switch (state) {
    case KEY_ACTIVE: return "Active";
    case KEY_PASSIVE: return "Retired";
    case KEY_LEAVING: return "Leaving";
    case KEY_HELD: return "Held";
    case KEY_DISABLED: break;
    }
    return "";
}

static int render(struct rotation_state *s, unsigned formats, struct rendering *r)
{
    struct trust_key keys[LIMIT_KEYS];
    struct err err = {0};
    size_t count = 0;
    for (size_t i = 0; i < s->known.count; i++)
        if (!s->known.keys[i].withheld)
            keys[count++] =
                (struct trust_key){s->known.keys[i].key, lifecycle(s->known.keys[i].state)};
    const struct trust_set set = {.keys = keys, .count = count, .issuer = s->renderings_issuer};
    trust_hash(&set, formats, r->hash);
    if (trust_render(&set, formats, &s->renderings_arena, &r->files, &err) == 0) {
        trust_files_digest(&r->files, r->digest);
        return 0;
    }
    r->too_large = err.class == ERR_LIMIT;
    return r->too_large ? 0 : -1;
}

static struct rendering *find_rendering(struct rotation_state *s, unsigned formats,
                                        const char *issuer)
{
    if (s->known.count == 0)
        return NULL;
    if (s->renderings_version != s->known.version || !text_eq(s->renderings_issuer, issuer)) {
        drop_renderings(s);
        s->renderings_version = s->known.version;
        state_text(&s->renderings_issuer, issuer);
    }
    struct rendering **at = &s->renderings[formats % ARRAY_LEN(s->renderings)];
    if (*at == NULL && (*at = calloc(1, sizeof(**at))) == NULL)
        return NULL;
    (*at)->made = (*at)->made || render(s, formats, *at) == 0;
    return (*at)->made ? *at : NULL;
}

const struct rendering *state_rendering(struct rotation_state *s, unsigned formats,
                                        const char *issuer)
{
    return find_rendering(s, formats, issuer);
}

const struct trust_files *state_files(struct rotation_state *s, unsigned formats)
{
    struct rendering *r = find_rendering(s, formats, s->renderings_issuer);
    if (r == NULL || r->too_large || (r->files.count == 0 && render(s, formats, r) != 0))
        return NULL;
    return &r->files;
}

void state_drop_files(struct rotation_state *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->renderings); i++)
        if (s->renderings[i] != NULL)
            s->renderings[i]->files = (struct trust_files){0};
    arena_release(&s->renderings_arena);
}
