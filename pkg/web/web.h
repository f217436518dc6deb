/* SPDX-License-Identifier: Apache-2.0
 *
 * web: /healthz, /readyz and /metrics on one port by libwebsockets, which is also the outer loop: it adopts a dup
 * of loop_fd() and runs our loop when that is readable, so that there is one thread and one loop. Only GET and HEAD,
 * no keep-alive longer than 30 s, at most 64 connections, request heads of at most 4 KiB; nothing private is served. */
#ifndef KEYTURN_WEB_WEB_H
#define KEYTURN_WEB_WEB_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "io/loop.h"

struct web_source {
    bool (*healthy)(void *ctx, struct buf *why); /* false: 503 with the sentence */
    bool (*ready)(void *ctx, struct buf *why);
    void (*metrics)(void *ctx, struct buf *out);
    void *ctx;
};

struct web;

struct web *web_new(struct loop *loop, const char *listen, const struct web_source *source, struct err *err);
/* Runs until loop_stop. */
void web_run(struct web *web);
void web_free(struct web *web);
int web_port(const struct web *web); /* the port bound, for a listen address with port 0 */

#endif
