/* SPDX-License-Identifier: Apache-2.0 */
#include "web_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <cmocka.h>

struct player {
    void (*client)(void *ctx);
    void *ctx;
    int done_fd[2];
};

static void *run_client(void *ctx)
{
    struct player *p = ctx;
    p->client(p->ctx);
    close(p->done_fd[1]);
    return NULL;
}

static void on_done(void *ctx, int fd, unsigned events)
{
    (void)events;
    (void)loop_watch(ctx, fd, 0, NULL, NULL, NULL);
    loop_stop(ctx);
}

void play(struct loop *loop, void (*serve)(void *ctx), void (*client)(void *ctx), void *ctx)
{
    struct err err = {0};
    struct player p = {client, ctx, {-1, -1}};
    pthread_t thread;
    assert_int_equal(pipe(p.done_fd), 0);
    assert_int_equal(loop_watch(loop, p.done_fd[0], EPOLLIN, on_done, loop, &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_client, &p), 0);
    serve(ctx);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(p.done_fd[0]);
}

int dial(int port, int receive_bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_bytes > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

bool hear(int fd, struct buf *out)
{
    char piece[8192];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, WAIT_MS) <= 0) {
        buf_append_text(out, "(silence)");
        return false;
    }
    ssize_t n = recv(fd, piece, sizeof(piece), 0);
    if (n <= 0)
        return false;
    buf_append(out, piece, (size_t)n);
    return true;
}

void hear_answer(int fd, struct buf *out, bool body)
{
    const char *end = NULL;
    while ((end = strstr(buf_text(out), "\r\n\r\n")) == NULL && hear(fd, out))
        continue;
    if (end == NULL || !body)
        return;
    size_t all = (size_t)(end + 4 - out->data) + length_of(out);
    while (out->len < all && hear(fd, out))
        continue;
}

void ask(int port, struct buf *out, const char *request)
{
    int fd = dial(port, 0);
    if (fd < 0)
        return;
    say(fd, request);
    while (hear(fd, out)) /* all requests asked so end their connection */
        continue;
    close(fd);
}

int open_page(int port, struct buf *out, const char *request)
{
    int fd = dial(port, 65536);
    say(fd, request);
    buf_clear(out);
    hear_answer(fd, out, false);
    return fd;
}

size_t length_of(const struct buf *seen)
{
    const char *p = strstr(buf_text(seen), "content-length: ");
    return p != NULL ? strtoul(p + 16, NULL, 10) : 0;
}

const char *body_of(const struct buf *seen)
{
    const char *end = strstr(buf_text(seen), "\r\n\r\n");
    return end != NULL ? end + 4 : "(no answer)";
}

bool has_status(const struct buf *seen, const char *status)
{
    return text_starts_with(buf_text(seen), "HTTP/1.1 ") &&
           strncmp(buf_text(seen) + 9, status, 3) == 0;
}

void assert_status(const struct buf *seen, const char *status)
{
    if (!has_status(seen, status))
        fail_msg("wanted %s, got: %.200s", status, buf_text(seen));
}

void assert_has(const struct buf *seen, const char *line)
{
    if (strstr(buf_text(seen), line) == NULL)
        fail_msg("no %s in: %.500s", line, buf_text(seen));
}
