/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/patch.h"

#include "controller/internal.h"

struct kube_call *patch_rotation(struct rotation_state *s, const char *part,
                                 const char *content_type, const struct buf *body,
                                 kube_done_fn *done)
{
    struct buf cleanup_buf path = {0};
    kube_path(&path, "/apis/keyturn.dev/v1alpha1", s->namespace, "keyrotations", s->name);
    buf_appendf(&path, "%s?fieldManager=keyturn", part);
    if (path.failed || body->failed)
        return NULL;
    return kube_submit(controller_kube(s->controller),
                       &(struct kube_request){.method = "PATCH",
                                              .path = buf_text(&path),
                                              .metadata_only = true,
                                              .content_type = content_type,
                                              .body = buf_view(body),
                                              .timeout_ms = WRITE_TIMEOUT_MS},
                       done, s);
}
