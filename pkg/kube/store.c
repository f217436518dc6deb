/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/store.h"

#include <stdlib.h>
#include <string.h>
#include "base/limits.h"
#include "codec/json.h"

struct held {
    void *object; /* NULL: never readable */
    uint64_t generation;
    bool unreadable;
};

void store_init(struct store *s, const struct watcher_class *class)
{
    *s = (struct store){.class = class};
}

static void held_free(const struct store *s, struct held *held)
{
    if (held->object != NULL)
        s->class->release(held->object);
    free(held);
}

void store_release(struct store *s)
{
    size_t outer = 0;
    void *space;
    while (map_next(&s->spaces, &outer, NULL, &space)) {
        size_t inner = 0;
        void *held;
        while (map_next(space, &inner, NULL, &held))
            held_free(s, held);
        map_release(space);
        free(space);
    }
    map_release(&s->spaces);
    *s = (struct store){.class = s->class};
}

void store_new_generation(struct store *s)
{
    s->generation++;
    s->over = 0;
}

bool store_is_whole(const struct store *s)
{
    return s->unreadable == 0 && s->over == 0;
}

/* --- reading -------------------------------------------------------------------------------- */

const void *store_get(const struct store *s, const char *namespace, const char *name)
{
    const struct map *space = map_get(&s->spaces, namespace != NULL ? namespace : "");
    const struct held *held = space != NULL ? map_get(space, name) : NULL;
    return held != NULL ? held->object : NULL;
}

static const void *next_in(const struct map *space, size_t *it)
{
    void *held;
    while (map_next(space, it, NULL, &held)) {
        const struct held *h = held;
        if (h->object != NULL)
            return h->object;
    }
    return NULL;
}

const void *store_next(const struct store *s, const char *namespace, size_t it[2])
{
    if (namespace != NULL) {
        const struct map *space = map_get(&s->spaces, namespace);
        return space != NULL ? next_in(space, &it[0]) : NULL;
    }
    size_t after = it[0];
    void *space;
    while (map_next(&s->spaces, &after, NULL, &space)) {
        const void *object = next_in(space, &it[1]);
        if (object != NULL)
            return object;
        it[0] = after;
        it[1] = 0;
    }
    return NULL;
}

/* --- writing -------------------------------------------------------------------------------- */

struct names {
    const char *namespace;
    const char *name;
    const char *uid;
    const char *resource_version;
};

static struct names names_of(const json_t *object)
{
    const json_t *meta = json_object_get(object, "metadata");
    const char *namespace = json_text(meta, "namespace");
    return (struct names){
        .namespace = namespace != NULL ? namespace : "",
        .name = json_text(meta, "name"),
        .uid = json_text(meta, "uid"),
        .resource_version = json_text(meta, "resourceVersion"),
    };
}

static struct held *find(const struct store *s, const struct names *n)
{
    const struct map *space = map_get(&s->spaces, n->namespace);
    return space != NULL ? map_get(space, n->name) : NULL;
}

static struct held *add(struct store *s, const struct names *n)
{
    struct map *space = map_get(&s->spaces, n->namespace);
    if (space == NULL) {
        space = calloc(1, sizeof(*space));
        if (space == NULL || map_put(&s->spaces, n->namespace, space, NULL) != 0) {
            free(space);
            return NULL;
        }
    }
    struct held *held = calloc(1, sizeof(*held));
    if (held == NULL || map_put(space, n->name, held, NULL) != 0) {
        free(held);
        return NULL;
    }
    s->entries++;
    return held;
}

/* Takes the entry out; its object goes to the caller. */
static void *cut_out(struct store *s, struct map *space, const char *name, struct held *held)
{
    void *object = held->object;
    map_remove(space, name);
    s->entries--;
    s->count -= object != NULL;
    s->unreadable -= held->unreadable;
    free(held);
    return object;
}

static void drop_when_empty(struct store *s, const char *namespace, struct map *space)
{
    if (space->count > 0)
        return;
    map_remove(&s->spaces, namespace);
    map_release(space);
    free(space);
}

static void tell(const struct store *s, const void *old, const void *new)
{
    if (s->class->changed != NULL)
        s->class->changed(s->class->ctx, old, new);
}

static bool is_same(const struct held *held, const struct names *n)
{
    if (held->object == NULL || held->unreadable)
        return false;
    const struct object_meta *meta = held->object;
    return text_eq(meta->uid, n->uid) && text_eq(meta->resource_version, n->resource_version);
}

static void set_unreadable(struct store *s, struct held *held, bool unreadable)
{
    s->unreadable += unreadable;
    s->unreadable -= held->unreadable;
    held->unreadable = unreadable;
}

static int name_err(const struct store *s, const struct names *n, struct err *err)
{
    if (n->namespace[0] == '\0')
        return err_wrap(err, "%s %s", s->class->name, n->name);
    return err_wrap(err, "%s %s/%s", s->class->name, n->namespace, n->name);
}

int store_put(struct store *s, const json_t *object, struct err *err)
{
    struct names n = names_of(object);
    struct held *held = n.name != NULL && strlen(n.namespace) <= LIMIT_NAME ? find(s, &n) : NULL;
    if (held != NULL && is_same(held, &n)) {
        held->generation = s->generation;
        return 0;
    }
    if (held == NULL && s->entries >= s->class->objects_max) {
        s->over++;
        return err_set(err, ERR_LIMIT, "more than %zu objects of kind %s: the others are not seen",
                       s->class->objects_max, s->class->name);
    }
    if (held == NULL && (n.name == NULL || strlen(n.namespace) > LIMIT_NAME))
        return err_set(err, ERR_INVALID, "%s without a usable name", s->class->name);
    if (held == NULL)
        held = add(s, &n);
    if (held == NULL) {
        s->over++;
        err_set(err, ERR_NO_MEMORY, "no memory");
        return name_err(s, &n, err);
    }
    held->generation = s->generation;
    struct err local = {0};
    void *new = s->class->decode(s->class->ctx, object, &local);
    set_unreadable(s, held, new == NULL);
    if (new == NULL) {
        if (err != NULL)
            *err = local;
        return name_err(s, &n, err);
    }
    void *old = held->object;
    held->object = new;
    s->count += old == NULL;
    tell(s, old, new);
    if (old != NULL)
        s->class->release(old);
    return 0;
}

static void gone(struct store *s, void *old)
{
    if (old == NULL)
        return;
    tell(s, old, NULL);
    s->class->release(old);
}

void store_remove(struct store *s, const json_t *object)
{
    struct names n = names_of(object);
    struct map *space = map_get(&s->spaces, n.namespace);
    struct held *held = space != NULL && n.name != NULL ? map_get(space, n.name) : NULL;
    if (held == NULL) {
        s->over -= s->over > 0; /* one of those that were not held */
        return;
    }
    void *old = cut_out(s, space, n.name, held);
    drop_when_empty(s, n.namespace, space);
    gone(s, old);
}

static void sweep_space(struct store *s, struct map *space)
{
    size_t it = 0;
    const char *name;
    void *value;
    while (map_next(space, &it, &name, &value)) {
        struct held *held = value;
        if (held->generation != s->generation)
            gone(s, cut_out(s, space, name, held));
    }
}

void store_sweep(struct store *s)
{
    size_t it = 0;
    const char *namespace;
    void *value;
    while (map_next(&s->spaces, &it, &namespace, &value)) {
        struct map *space = value;
        sweep_space(s, space);
        drop_when_empty(s, namespace, space);
    }
}
