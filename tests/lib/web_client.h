/* SPDX-License-Identifier: Apache-2.0
 *
 * web_client: what the tests of the HTTP server share. The server runs on the test's thread, as in
 * production; a client thread talks to it over real sockets, collects what it saw in bufs, and the
 * test judges that afterwards. */
#ifndef KEYTURN_TESTS_WEB_CLIENT_H
#define KEYTURN_TESTS_WEB_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>
#include "base/buf.h"
#include "io/loop.h"

#define WAIT_MS 90000
#define AWAIT(condition)                                               \
    for (int turns = 0; turns < WAIT_MS / 10 && !(condition); turns++) \
    usleep(10000)
/* More than the buffers of both sockets of open_page can take (tcp_wmem has 4 MiB at most). */
#define PAGE_IS_HUGE (32UL << 20)
#define REQUEST(method, path) method " " path " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

/* Runs serve(ctx) until client(ctx), on a thread of its own, has returned and stopped the loop. */
void play(struct loop *loop, void (*serve)(void *ctx), void (*client)(void *ctx), void *ctx);

int dial(int port, int receive_bytes); /* 0: as the system likes it; -1: no connection */
void say(int fd, const char *text);
/* One piece; false at the end of the stream, or after WAIT_MS of silence, which is written down. */
bool hear(int fd, struct buf *out);
/* One answer (its body only when there is one); the connection stays open. */
void hear_answer(int fd, struct buf *out, bool body);
void ask(int port, struct buf *out, const char *request); /* and hears until the stream ends */
/* Asks, and stops reading as soon as the head of the answer has come. */
int open_page(int port, struct buf *out, const char *request);

size_t length_of(const struct buf *seen); /* as its head says */
const char *body_of(const struct buf *seen);
bool has_status(const struct buf *seen, const char *status);
void assert_status(const struct buf *seen, const char *status);
void assert_has(const struct buf *seen, const char *line);

#endif
