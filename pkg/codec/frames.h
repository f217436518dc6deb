/* SPDX-License-Identifier: Apache-2.0
 *
 * frames: a watch stream cut into events. Pieces of any size go in, whole JSON texts come out (one
 * per line, as the API server writes them; frame ends inside strings are never taken for ends). A
 * frame above LIMIT_WATCH_FRAME fails the stream. */
#ifndef KEYTURN_CODEC_FRAMES_H
#define KEYTURN_CODEC_FRAMES_H

#include "base/buf.h"
#include "base/err.h"

struct frames {
    struct buf pending; /* {0} to start */
};

/* Calls on_frame for each complete frame; stops and returns -1 when on_frame does or a frame is too
 * large. */
int frames_feed(struct frames *f, struct str piece,
                int (*on_frame)(void *ctx, struct str frame, struct err *err), void *ctx,
                struct err *err);
void frames_release(struct frames *f);

#endif
