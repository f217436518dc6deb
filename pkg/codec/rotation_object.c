/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/rotation_codec.h"

#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "codec/json.h"
#include "codec/kube_codec.h"
#include "codec/rotation_bounds.h"

struct rotation_holder {
    struct rotation_object object; /* first: a pointer to it is one to the holder */
    struct arena arena;
};

static void find_finalizer(const json_t *meta, struct rotation_object *r)
{
    const json_t *list = json_object_get(meta, "finalizers");
    r->finalizers_count = json_array_size(list);
    for (size_t i = 0; i < r->finalizers_count && !r->finalizer; i++) {
        r->finalizer = text_eq(json_text_of(json_array_get(list, i)), FINALIZER_PUBLISHED);
        r->finalizer_index = i;
    }
}

/* "7" or "7/kid"; false when it is something else. */
static bool operation_for(const char *text, struct arena *arena, struct operation *ret)
{
    const char *slash = text == NULL ? NULL : strchr(text, '/');
    struct str number = str_from(text);
    if (slash != NULL) {
        number.len = (size_t)(slash - text);
    }
    if (number.len == 0 || number.len > BOUND_COUNT_DIGITS || !str_to_u64(number, &ret->number) ||
        (slash != NULL && !rotation_kid_fits(slash + 1))) {
        ret->number = 0;
        return false;
    }
    ret->kid = slash == NULL ? NULL : arena_strdup(arena, slash + 1);
    return true;
}

void rotation_operation_decode(const json_t *annotations, struct arena *arena,
                               struct operation *ret)
{
    *ret = (struct operation){.kind = OPERATION_NONE};
    if (json_object_get(annotations, ANNOTATION_OPERATION) == NULL) {
        return;
    }
    /* What is not understood is refused with a reason, so it must not read as no command. */
    bool named = operation_for(json_text(annotations, ANNOTATION_OPERATION_FOR), arena, ret);
    if (!operation_kind_parse(json_text(annotations, ANNOTATION_OPERATION), &ret->kind) || !named) {
        ret->kind = OPERATION_UNKNOWN;
    }
    ret->by = rotation_cut(annotations, ANNOTATION_OPERATION_BY, BOUND_PERSON, arena);
    ret->note = rotation_cut(annotations, ANNOTATION_REASON, BOUND_NOTE, arena);
}

struct rotation_object *rotation_new(const json_t *object, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *annotations = json_object_get(meta, "annotations");
    struct rotation_holder *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        err_set(err, ERR_NO_MEMORY, "KeyRotation: out of memory");
        return NULL;
    }
    struct rotation_object *r = &h->object;
    h->arena.block_bytes = 512;
    if (kube_meta_decode(object, &h->arena, &r->meta, err) != 0) {
        goto fail;
    }
    rotation_status_decode(json_object_get(object, "status"), &h->arena, &r->status);
    r->spec_error =
        rotation_spec_decode(json_object_get(object, "spec"), r->meta.name, &h->arena, &r->spec);
    /* Cut as status.refreshed is: a longer value would never count as served. */
    r->refresh = rotation_cut(annotations, ANNOTATION_REFRESH, BOUND_TEXT, &h->arena);
    r->acknowledge =
        rotation_cut(annotations, ANNOTATION_ACKNOWLEDGE, BOUND_ACKNOWLEDGE, &h->arena);
    rotation_operation_decode(annotations, &h->arena, &r->operation);
    find_finalizer(meta, r);
    if (h->arena.failed) {
        err_set(err, ERR_NO_MEMORY, "KeyRotation %s/%s: out of memory", r->meta.namespace,
                r->meta.name);
        goto fail;
    }
    return r;
fail:
    rotation_free(r);
    return NULL;
}

void rotation_free(struct rotation_object *r)
{
    struct rotation_holder *h = (struct rotation_holder *)r;
    if (h != NULL) {
        arena_release(&h->arena);
        free(h);
    }
}
