/* SPDX-License-Identifier: Apache-2.0
 *
 * server: a small HTTP/1 server by libwebsockets, which is also the outer loop: it adopts a dup of
 * loop_fd() and runs our loop when that is readable, so that there is one thread and one loop.
 * Request heads have at most 4 KiB, connections stay idle for at most 30 s, nothing is upgraded;
 * every answer says no-store and nosniff. Who exceeds a number or a time of the options is
 * disconnected, and so is, after the answer, who sends a body that nobody reads. */
#ifndef KEYTURN_WEB_SERVER_H
#define KEYTURN_WEB_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

enum web_method {
    WEB_GET, /* and HEAD: the server leaves out the body of the answer */
    WEB_POST,
    WEB_OTHER,
};

struct web_request {
    enum web_method method;
    const char *path;       /* decoded, without query */
    const struct str *body; /* NULL: not read (yet) */
};

struct web_answer {
    const char *type;  /* Content-Type; this and allow are static texts */
    const char *allow; /* Allow, of a 405 */
    struct buf body;   /* empty, its ceiling set; failed: the connection is closed instead */
    unsigned *held;    /* counted up by the handler, down when the answer is let go; or NULL */
};

/* Fills in the answer and returns its status. 0 to a POST without body: read it and ask again (411
 * or 413 where it cannot be had, as web_error says it). Called from the loop, never waits. */
typedef unsigned web_handle_fn(void *ctx, const struct web_request *request,
                               struct web_answer *answer);

struct web_options {
    const char *listen; /* numeric "address:port", "[v6 address]:port", ":port" for all addresses */
    unsigned connections_max;
    unsigned arrive_s; /* for the head of a request, then for its body */
    unsigned take_s;   /* for an answer to be taken, whole */
    size_t body_max;
    size_t answer_max; /* 0 = LIMIT_BUF */
    bool body_secret;  /* wiped as soon as it has been handled */
    web_handle_fn *handle;
    void *ctx;
};

struct web_server;

/* The port is open when this returns. loop outlives the server; options are copied. NULL on error:
 * ERR_INVALID for the text of listen, ERR_REFUSED by the system. */
struct web_server *web_server_new(struct loop *loop, const struct web_options *options,
                                  struct err *err);
int web_server_run(struct web_server *server); /* until loop_stop; -1: libwebsockets gave up */
void web_server_free(struct web_server *server);
int web_server_port(const struct web_server *server); /* the one bound, where listen has port 0 */

void web_error(struct web_answer *answer, const char *sentence); /* {"error":sentence} as JSON */

#endif
