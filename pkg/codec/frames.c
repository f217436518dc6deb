/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/frames.h"

#include <string.h>
#include "base/limits.h"

/* What a stream that has gone quiet may keep for its next frame. */
#define KEPT_BYTES (16UL << 10)

static int too_large(struct err *err)
{
    return err_set(err, ERR_LIMIT,
                   "watch stream: one event is larger than %lu bytes; the stream is given up",
                   LIMIT_WATCH_FRAME);
}

/* A line break never stands inside a JSON string (RFC 8259 section 7: control characters are
 * escaped there), so each one ends a frame. */
int frames_feed(struct frames *f, struct str piece,
                int (*on_frame)(void *ctx, struct str frame, struct err *err), void *ctx,
                struct err *err)
{
    while (piece.len > 0) {
        const char *end = memchr(piece.data, '\n', piece.len);
        size_t len = end != NULL ? (size_t)(end - piece.data) : piece.len;
        if (f->pending.len + len > LIMIT_WATCH_FRAME) {
            return too_large(err);
        }
        struct str frame = {piece.data, len};
        /* A frame that came in one piece is not copied. */
        if (f->pending.len > 0 || end == NULL) {
            buf_append(&f->pending, piece.data, len);
            if (f->pending.failed) {
                return err_set(err, ERR_NO_MEMORY, "watch stream: out of memory");
            }
            frame = buf_view(&f->pending);
        }
        if (end == NULL) {
            return 0;
        }
        frame = str_trim(frame);
        int result = frame.len > 0 ? on_frame(ctx, frame, err) : 0;
        if (f->pending.cap > KEPT_BYTES) {
            buf_release(&f->pending);
        } else {
            buf_clear(&f->pending);
        }
        if (result != 0) {
            return -1;
        }
        piece.data += len + 1;
        piece.len -= len + 1;
    }
    return 0;
}

void frames_release(struct frames *f)
{
    buf_release(&f->pending);
}
