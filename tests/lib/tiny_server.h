/* SPDX-License-Identifier: Apache-2.0
 *
 * tiny_server: an HTTP/1.1 server on 127.0.0.1 that misbehaves as its paths say, one thread a
 * connection. Failures end the test program. The query of a path is ignored.
 *
 *   /ok            200 "hello"                     /echo      200, body: the request as it came
 *   /status/NNN    that status, Retry-After: 7     /conn      200, body: number of the connection
 *   /slow          one byte each 20 ms             /half      50 of 100 bytes, then closes
 *   /huge          bytes without end               /announce  Content-Length 10^9, no body
 *   /headers       headers without end             /redirect  302 to /ok
 *   /stream        "one\n" "two\n" "three\n", end  /silent    "one\n", then nothing
 *   /cut           "one\n" of a chunked body, then closes
 *   /hang          no answer                       /garbage   no HTTP
 *   /drop          reads the request, then closes without an answer */
#ifndef KEYTURN_TESTS_TINY_SERVER_H
#define KEYTURN_TESTS_TINY_SERVER_H

#include "tiny_cert.h"

struct tiny_server;

/* cert NULL: plain HTTP. client_ca: PEM that clients must be signed by, or NULL. */
struct tiny_server *tiny_server_start(const struct tiny_cert *cert, const char *client_ca);
void tiny_server_stop(struct tiny_server *s);
int tiny_server_port(const struct tiny_server *s);
int tiny_server_requests(struct tiny_server *s);    /* read so far */
int tiny_server_connections(struct tiny_server *s); /* accepted so far */
int tiny_server_open(struct tiny_server *s);        /* not closed yet */

#endif
