/* SPDX-License-Identifier: Apache-2.0
 *
 * rotation_codec: KeyRotation <-> rotation/model.h, as crds/keyrotation.yaml describes it (a test
 * keeps the two in step). Status is decoded before spec, so that a spec that cannot be used never
 * costs a remembered status; then spec_error holds a sentence and spec is zero. Only a missing name
 * or resourceVersion fails the decode. */
#ifndef KEYTURN_CODEC_ROTATION_CODEC_H
#define KEYTURN_CODEC_ROTATION_CODEC_H

#include <jansson.h>
#include "base/buf.h"
#include "base/err.h"
#include "rotation/model.h"

struct rotation_object *rotation_new(const json_t *object, struct err *err);
void rotation_free(struct rotation_object *r);

/* {"metadata":{"resourceVersion":...},"status":{...}} for a merge patch on /status; absent fields
 * are written as null so that they go away. */
void rotation_status_patch(const struct object_meta *meta, const struct rotation_status *status,
                           struct buf *out);
/* The status alone, canonical: equal bytes = nothing to write. */
void rotation_status_encode(const struct rotation_status *status, struct buf *out);

#endif
