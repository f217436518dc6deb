/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_server.h"

#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 512
#define REQUEST_MAX (256 << 10)

struct connection {
    struct tiny_server *server;
    pthread_t thread;
    int fd;
    int number;
    SSL *ssl;
    char request[REQUEST_MAX];
};

struct tiny_server {
    int fd;
    int port;
    pthread_t thread;
    SSL_CTX *tls;
    atomic_bool stopping;
    atomic_int requests;
    atomic_int accepted;
    atomic_int open;
    struct connection *connections[CONNECTIONS_MAX];
};

static void need(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static bool put(struct connection *c, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, data, (int)len)
                                   : send(c->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0 || atomic_load(&c->server->stopping))
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool put_text(struct connection *c, const char *text)
{
    return put(c, text, strlen(text));
}

static bool answer(struct connection *c, const char *status, const char *extra, const char *body)
{
    char head[512];
    snprintf(head, sizeof(head),
             "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n%sContent-Length: %zu\r\n\r\n", status,
             extra, strlen(body));
    return put_text(c, head) && put_text(c, body);
}

/* Until the test stops the server or the client goes away. */
static bool wait_for_end(struct connection *c)
{
    char byte;
    if (c->ssl != NULL)
        return SSL_read(c->ssl, &byte, 1) > 0;
    return recv(c->fd, &byte, 1, 0) > 0;
}

static bool chunks(struct connection *c, int count)
{
    static const char *const pieces[] = {"4\r\none\n\r\n", "4\r\ntwo\n\r\n", "6\r\nthree\n\r\n"};
    bool ok = put_text(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; ok && i < count; i++) {
        usleep(20000);
        ok = put_text(c, pieces[i]);
    }
    return ok;
}

static bool without_end(struct connection *c, const char *head, const char *piece, unsigned wait_us)
{
    bool ok = put_text(c, head);
    while (ok) {
        ok = put_text(c, piece);
        if (wait_us > 0)
            usleep(wait_us);
    }
    return false;
}

/* false: close the connection. */
static bool misbehave(struct connection *c, const char *path)
{
    static char block[8192];
    if (strcmp(path, "/slow") == 0)
        return without_end(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "s", 20000);
    if (strcmp(path, "/headers") == 0)
        return without_end(c, "HTTP/1.1 200 OK\r\n", "X-Header: some more of it\r\n", 0);
    if (strcmp(path, "/huge") == 0) {
        memset(block, 'x', sizeof(block) - 1);
        return without_end(c, "HTTP/1.1 200 OK\r\n\r\n", block, 0);
    }
    if (strcmp(path, "/half") == 0) {
        put_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        put_text(c, "01234567890123456789012345678901234567890123456789");
        return false;
    }
    if (strcmp(path, "/announce") == 0)
        return put_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n") &&
               wait_for_end(c);
    if (strcmp(path, "/silent") == 0)
        return chunks(c, 1) && wait_for_end(c);
    if (strcmp(path, "/cut") == 0)
        return chunks(c, 1) && false;
    if (strcmp(path, "/hang") == 0)
        return wait_for_end(c);
    if (strcmp(path, "/garbage") == 0)
        return put_text(c, "this is no HTTP\r\n\r\n") && false;
    return false; /* /drop */
}

static bool serve(struct connection *c, const char *path)
{
    char text[64];
    if (strcmp(path, "/ok") == 0)
        return answer(c, "200 OK", "", "hello");
    if (strcmp(path, "/echo") == 0)
        return answer(c, "200 OK", "", c->request);
    if (strcmp(path, "/redirect") == 0)
        return answer(c, "302 Found", "Location: /ok\r\n", "elsewhere");
    if (strcmp(path, "/stream") == 0)
        return chunks(c, 3) && put_text(c, "0\r\n\r\n");
    if (strcmp(path, "/conn") == 0) {
        snprintf(text, sizeof(text), "%d", c->number);
        return answer(c, "200 OK", "", text);
    }
    if (strncmp(path, "/status/", 8) == 0) {
        if (strcmp(path + 8, "204") == 0)
            return put_text(c, "HTTP/1.1 204 Empty\r\nRetry-After: 7\r\n\r\n");
        snprintf(text, sizeof(text), "%.3s Text", path + 8);
        return answer(c, text, "Retry-After: 7\r\n", "status");
    }
    return misbehave(c, path);
}

/* Reads one request into c->request; false at the end of the connection. */
static bool read_request(struct connection *c)
{
    size_t len = 0;
    size_t want = 0; /* known once the headers are there */
    while (want == 0 || len < want) {
        size_t room = sizeof(c->request) - 1 - len;
        char *at = c->request + len;
        ssize_t n = c->ssl != NULL ? SSL_read(c->ssl, at, (int)room) : recv(c->fd, at, room, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        c->request[len] = '\0';
        const char *end = strstr(c->request, "\r\n\r\n");
        if (want == 0 && end != NULL) {
            const char *length = strcasestr(c->request, "\r\nContent-Length:");
            want = (size_t)(end - c->request) + 4;
            if (length != NULL && length < end)
                want += (size_t)strtoul(length + 17, NULL, 10);
        }
    }
    return true;
}

static void *connection_main(void *ctx)
{
    struct connection *c = ctx;
    char path[128];
    bool ok = c->ssl == NULL || SSL_accept(c->ssl) == 1;
    while (ok && read_request(c)) {
        atomic_fetch_add(&c->server->requests, 1);
        ok = sscanf(c->request, "%*s %127[^? ]", path) == 1 && serve(c, path);
    }
    if (c->ssl != NULL)
        SSL_free(c->ssl);
    shutdown(c->fd, SHUT_RDWR); /* closed at stop: the number must not be taken by another */
    atomic_fetch_sub(&c->server->open, 1);
    return NULL;
}

static void *accept_main(void *ctx)
{
    struct tiny_server *s = ctx;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        int number = atomic_fetch_add(&s->accepted, 1);
        struct connection *c = calloc(1, sizeof(*c));
        need(c != NULL && number < CONNECTIONS_MAX, "connections");
        *c = (struct connection){.server = s, .fd = fd, .number = number};
        if (s->tls != NULL) {
            c->ssl = SSL_new(s->tls);
            need(c->ssl != NULL && SSL_set_fd(c->ssl, fd) == 1, "SSL_new");
        }
        atomic_fetch_add(&s->open, 1);
        s->connections[number] = c;
        need(pthread_create(&c->thread, NULL, connection_main, c) == 0, "pthread_create");
    }
}

static SSL_CTX *tls_context(const struct tiny_cert *cert, const char *client_ca)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    BIO *cert_bio = BIO_new_mem_buf(cert->cert_pem, -1);
    BIO *key_bio = BIO_new_mem_buf(cert->key_pem, -1);
    X509 *x509 = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
    need(SSL_CTX_use_certificate(tls, x509) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1, "cert");
    if (client_ca != NULL) {
        BIO *ca_bio = BIO_new_mem_buf(client_ca, -1);
        X509 *ca = PEM_read_bio_X509(ca_bio, NULL, NULL, NULL);
        need(X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), ca) == 1, "client CA");
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        X509_free(ca);
        BIO_free(ca_bio);
    }
    X509_free(x509);
    EVP_PKEY_free(key);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return tls;
}

struct tiny_server *tiny_server_start(const struct tiny_cert *cert, const char *client_ca)
{
    struct tiny_server *s = calloc(1, sizeof(*s));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    need(s != NULL, "calloc");
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
    need(listen(s->fd, 256) == 0, "listen");
    need(getsockname(s->fd, (struct sockaddr *)&address, &len) == 0, "getsockname");
    s->port = ntohs(address.sin_port);
    s->tls = cert == NULL ? NULL : tls_context(cert, client_ca);
    need(pthread_create(&s->thread, NULL, accept_main, s) == 0, "pthread_create");
    return s;
}

void tiny_server_stop(struct tiny_server *s)
{
    atomic_store(&s->stopping, true);
    shutdown(s->fd, SHUT_RDWR); /* wakes accept */
    pthread_join(s->thread, NULL);
    close(s->fd);
    int count = atomic_load(&s->accepted);
    for (int i = 0; i < count; i++) {
        shutdown(s->connections[i]->fd, SHUT_RDWR);
        pthread_join(s->connections[i]->thread, NULL);
        close(s->connections[i]->fd);
        free(s->connections[i]);
    }
    SSL_CTX_free(s->tls);
    free(s);
}

int tiny_server_port(const struct tiny_server *s)
{
    return s->port;
}

int tiny_server_requests(struct tiny_server *s)
{
    return atomic_load(&s->requests);
}

int tiny_server_connections(struct tiny_server *s)
{
    return atomic_load(&s->accepted);
}

int tiny_server_open(struct tiny_server *s)
{
    return atomic_load(&s->open);
}
