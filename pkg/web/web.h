/* SPDX-License-Identifier: Apache-2.0
 *
 * web: the operator's pages /healthz, /readyz and /metrics by web/server.h. Only GET and HEAD, at
 * most 64 connections, request heads within 10 s, answers taken within 60 s, at most 8 readers of
 * /metrics at a time; nothing private is served. Other paths 404, other methods 405. */
#ifndef KEYTURN_WEB_WEB_H
#define KEYTURN_WEB_WEB_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"

struct web_source {
    /* false: 503 with the sentence in `why`. True: 200 with ok, and below it what `why` has to say
     * all the same. NULL: always true. Called from the loop, never waits. */
    bool (*healthy)(void *ctx, struct buf *why);
    bool (*ready)(void *ctx, struct buf *why);
    void (*metrics)(void *ctx, struct buf *out);
    void *ctx;
};

struct web;

/* listen, loop and errors: as web_server_new. source is copied. NULL on error. */
struct web *web_new(struct loop *loop, const char *listen, const struct web_source *source,
                    struct err *err);
/* Runs until loop_stop. */
void web_run(struct web *web);
void web_free(struct web *web);
int web_port(const struct web *web); /* the port bound, for a listen address with port 0 */

#endif
