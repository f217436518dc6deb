/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/operation.h"

#include "codec/kube_codec.h"
#include "controller/internal.h"
#include "controller/patch.h"
#include "obs/log.h"

#define OPERATION_RETRY_MS 1000
#define OPERATION_SEEN_MS 500 /* for our own change to come back by the watch */

static void cleared(void *ctx, const struct kube_answer *answer)
{
    struct rotation_state *s = ctx;
    enum err_class class = answer->err.class;
    s->operation_call = NULL;
    if (class == ERR_NONE || class == ERR_NOT_FOUND) {
        s->operation_retry_ms = controller_now_ms(s->controller) + OPERATION_SEEN_MS;
        return;
    }
    log_at(class == ERR_CONFLICT ? LOG_DEBUG : LOG_WARN, "operation not taken off",
           LOG_TEXT("rotation", s->key), LOG_TEXT("error", answer->err.msg));
    s->operation_retry_ms = controller_now_ms(s->controller) + OPERATION_RETRY_MS;
    controller_due(s->controller, s->key, OPERATION_RETRY_MS);
}

/* Merge patch: null takes off what is there, and asks nothing about what is not. */
static void encode(const struct object_meta *meta, struct buf *out)
{
    static const char *const names[] = {ANNOTATION_OPERATION, ANNOTATION_OPERATION_FOR,
                                        ANNOTATION_OPERATION_BY, ANNOTATION_REASON};
    buf_append_text(out, "{\"metadata\":{\"resourceVersion\":");
    buf_append_json(out, meta->resource_version);
    buf_append_text(out, ",\"annotations\":{");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        buf_appendf(out, "%s\"%s\":null", i > 0 ? "," : "", names[i]);
    buf_append_text(out, "}}}");
}

void operation_clear(struct rotation_state *s, const struct rotation_object *object)
{
    struct controller *c = s->controller;
    struct buf cleanup_buf body = {0};
    int64_t wait_ms = s->operation_retry_ms - controller_now_ms(c);
    if (s->operation_call != NULL)
        return;
    if (wait_ms > 0 || !controller_may_write(c, WRITE_TIMEOUT_MS)) {
        controller_due(c, s->key, wait_ms > 0 ? wait_ms : OPERATION_RETRY_MS);
        return;
    }
    encode(&object->meta, &body);
    s->operation_call = patch_rotation(s, "", PATCH_MERGE, &body, cleared);
    if (s->operation_call == NULL) { /* no memory */
        s->operation_retry_ms = controller_now_ms(c) + OPERATION_RETRY_MS;
        controller_due(c, s->key, OPERATION_RETRY_MS);
    }
}
