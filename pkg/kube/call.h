/* SPDX-License-Identifier: Apache-2.0
 *
 * call: what kube's own files may ask beyond kube.h: the Accept header of a list, a larger answer,
 * a stream, and an owner's state that goes away with a cancelled call. */
#ifndef KEYTURN_KUBE_CALL_H
#define KEYTURN_KUBE_CALL_H

#include "kube/kube.h"

struct kube_extra {
    bool list;           /* with metadata_only: a PartialObjectMetadataList is asked for */
    size_t body_max;     /* 0 = LIMIT_ANSWER */
    int idle_timeout_ms; /* not 0: a stream */
    void (*on_chunk)(void *ctx, struct str chunk);
    /* Called instead of done when the call is cancelled, also by kube_free. */
    void (*on_cancel)(void *ctx);
};

/* NULL only out of memory. */
struct kube_call *kube_start(struct kube *kube, const struct kube_request *request,
                             const struct kube_extra *extra, kube_done_fn *done, void *ctx);

#endif
