/* SPDX-License-Identifier: Apache-2.0
 *
 * http_client: what the tests of the HTTP port share: one request, and what came of it. */
#ifndef KEYTURN_TESTS_HTTP_CLIENT_H
#define KEYTURN_TESTS_HTTP_CLIENT_H

#include "base/buf.h"
#include "io/http.h"

struct fetch {
    struct loop *loop;
    struct http_port *http;
    struct http_call *call;             /* NULL once it is over */
    struct http_call **cancel_in_chunk; /* canceled, and set to NULL, by the first on_chunk */
    bool done;
    int chunks;
    int done_count;
    struct buf streamed; /* what on_chunk got */
    int status;
    int retry_after_s;
    int64_t elapsed_ms;
    struct buf body;
    char content_type[64];
    struct err err;
};

/* Starts it; base of request as given, url "http(s)://host:port" and path put together. */
void fetch_start(struct fetch *f, struct http_port *http, struct loop *loop,
                 const struct http_request *request);
/* Runs the loop until it is done; ends the test program after 20 s. */
void fetch_wait(struct fetch *f);
/* Runs the loop for so long. */
void run_for(struct loop *loop, int ms);
void fetch_release(struct fetch *f);

#endif
