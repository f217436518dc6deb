/* SPDX-License-Identifier: Apache-2.0
 *
 * patch: a PATCH of the KeyRotation itself: its status, its finalizer, its annotations. */
#ifndef KEYTURN_CONTROLLER_PATCH_H
#define KEYTURN_CONTROLLER_PATCH_H

#include "controller/state.h"

#define PATCH_MERGE "application/merge-patch+json" /* RFC 7396 */
#define PATCH_JSON "application/json-patch+json"   /* RFC 6902 */

/* part: "" or "/status". done gets the state as ctx, and metadata alone. NULL: out of memory. */
struct kube_call *patch_rotation(struct rotation_state *s, const char *part,
                                 const char *content_type, const struct buf *body,
                                 kube_done_fn *done);

#endif
