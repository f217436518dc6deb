/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: rotation_new and the status writer. What was read is written, read and written again: the
 * two texts must be the same, and a patch must be JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "codec/json.h"
#include "codec/rotation_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rotation_object *read_back(const struct rotation_object *r, const struct buf *patch)
{
    struct err err = {0};
    json_t *cleanup_json tree = json_load(buf_view(patch), false, "patch", &err);
    if (tree == NULL) {
        abort();
    }
    json_object_set_new(json_object_get(tree, "metadata"), "name", json_string(r->meta.name));
    return rotation_new(tree, &err);
}

static void try_rotation(const struct rotation_object *r)
{
    struct buf cleanup_buf patch = {0};
    struct buf cleanup_buf once = {0};
    struct buf cleanup_buf twice = {0};

    if ((r->spec_error == NULL) == (r->spec.refresh_interval_s == 0)) {
        abort();
    }
    rotation_status_patch(&r->meta, &r->status, &patch);
    rotation_status_encode(&r->status, &once);
    struct rotation_object *again = read_back(r, &patch);
    if (again == NULL) {
        abort();
    }
    rotation_status_encode(&again->status, &twice);
    if (once.failed || strcmp(buf_text(&once), buf_text(&twice)) != 0) {
        abort();
    }
    rotation_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct str text = {(const char *)data, size};
    json_t *cleanup_json tree = json_load(text, true, "KeyRotation", &err);
    struct rotation_object *r = tree == NULL ? NULL : rotation_new(tree, &err);
    if (r != NULL) {
        try_rotation(r);
    }
    rotation_free(r);
    return 0;
}
