/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/rotation_codec.h"

#include <stdlib.h>
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
