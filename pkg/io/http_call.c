/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_call.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define TIMEOUT_DEFAULT_MS 30000
#define CONNECT_TIMEOUT_MS                                                 \
    10000L /* shared by all addresses: a dead one leaves time for the next \
            */
#define KEEPALIVE_IDLE_S 20L
#define KEEPALIVE_INTERVAL_S 10L
#define USER_TIMEOUT_MS 30000U    /* sent and not acknowledged for so long: the peer is gone */
#define CONNECTION_IDLE_S 110L    /* unused for longer: the other side may close it any moment */
#define UPLOAD_BUFFER (16L << 10) /* the least; an easy handle keeps it as long as it lives */
#define CA_CACHE_S 600L           /* the system's bundle is read again after this */
#define HEADERS_MAX (64UL << 10)  /* of one answer */

/* The first option that fails is remembered, so that many are checked once. The value's type is
 * libcurl's business: hence no function. */
#define SET(call, option, value)                                         \
    do {                                                                 \
        CURLcode set_rc = curl_easy_setopt((call)->easy, option, value); \
        if (set_rc != CURLE_OK && (call)->setup == CURLE_OK)             \
            (call)->setup = set_rc;                                      \
    } while (0)

/* --- what libcurl calls --- */

static size_t give_up(struct http_call *call, enum err_class class, const char *what)
{
    err_set(&call->err, class, "%s to %s: %s", call->method, call->peer, what);
    return CURL_WRITEFUNC_ERROR;
}

static size_t on_stream_bytes(struct http_call *call, const char *data, size_t len)
{
    loop_timer_in(call->loop, &call->timer, call->idle_timeout_ms);
    if (len > 0 && call->sink.on_chunk != NULL)
        call->sink.on_chunk(call->sink.ctx, (struct str){.data = data, .len = len});
    /* Canceled by its own on_chunk: tell libcurl at once. */
    return call->state == HTTP_CALL_RUNNING ? len : CURL_WRITEFUNC_ERROR;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct http_call *call = ctx;
    size_t len = size * count;
    if (call->state != HTTP_CALL_RUNNING)
        return CURL_WRITEFUNC_ERROR;
    if (call->streaming)
        return on_stream_bytes(call, data, len);
    if (len > call->answer_max - call->answer.len)
        return give_up(call, ERR_LIMIT, "the answer is larger than we accept");
    buf_append(&call->answer, data, len);
    if (call->answer.failed)
        return give_up(call, ERR_NO_MEMORY, "out of memory for the answer");
    return len;
}

/* The empty line after the headers of the real answer, not of a 1xx. */
static size_t on_headers_end(struct http_call *call, size_t len)
{
    long status = 0;
    curl_off_t announced = -1;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (status < 200 || call->streaming)
        return len;
    if (call->idle_timeout_ms > 0 && status < 300) {
        call->streaming = true;
        call->status = (int)status;
        loop_timer_in(call->loop, &call->timer, call->idle_timeout_ms);
    } else if (announced > 0 && (uint64_t)announced > call->answer_max) {
        return give_up(call, ERR_LIMIT, "the answer is larger than we accept");
    }
    return len;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    struct http_call *call = ctx;
    size_t len = size * count;
    if (call->state != HTTP_CALL_RUNNING)
        return CURL_WRITEFUNC_ERROR;
    call->headers_bytes += len;
    if (call->headers_bytes > HEADERS_MAX)
        return give_up(call, ERR_LIMIT, "the headers of the answer are larger than we accept");
    bool empty = (len == 1 && data[0] == '\n') || (len == 2 && data[0] == '\r');
    return empty ? on_headers_end(call, len) : len;
}

/* Only for POST. Without a way to rewind, libcurl cannot send it a second time behind our back. */
static size_t on_send(char *room, size_t size, size_t count, void *ctx)
{
    struct http_call *call = ctx;
    size_t left = call->body.len - call->body_sent;
    size_t len = left < size * count ? left : size * count;
    if (len > 0)
        memcpy(room, call->body.data + call->body_sent, len);
    call->body_sent += len;
    return len;
}

static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    unsigned timeout_ms = USER_TIMEOUT_MS;
    (void)ctx;
    (void)purpose;
    /* Neither is worth failing for. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return CURL_SOCKOPT_OK;
}

/* --- TLS material --- */

static char *copy_text(const char *text, bool *failed)
{
    char *copy = text == NULL ? NULL : strdup(text);
    *failed = *failed || (text != NULL && copy == NULL);
    return copy;
}

static void material_free(struct http_material *m)
{
    if (m->key != NULL)
        explicit_bzero(m->key, strlen(m->key));
    free(m->ca);
    free(m->cert);
    free(m->key);
    free(m);
}

int http_material_get(struct http_material **list, const struct http_tls *tls,
                      struct http_material **ret)
{
    bool failed = false;
    *ret = NULL;
    if (tls == NULL || (tls->ca_pem == NULL && tls->cert_pem == NULL && tls->key_pem == NULL))
        return 0;
    for (struct http_material *m = *list; m != NULL; m = m->next) {
        if (text_eq(m->ca, tls->ca_pem) && text_eq(m->cert, tls->cert_pem) &&
            text_eq(m->key, tls->key_pem)) {
            m->uses++;
            *ret = m;
            return 0;
        }
    }
    struct http_material *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return -1;
    m->uses = 1;
    m->ca = copy_text(tls->ca_pem, &failed);
    m->cert = copy_text(tls->cert_pem, &failed);
    m->key = copy_text(tls->key_pem, &failed);
    if (failed) {
        material_free(m);
        return -1;
    }
    m->next = *list;
    *list = m;
    *ret = m;
    return 0;
}

void http_material_drop(struct http_material **list, struct http_material *material)
{
    if (material == NULL || --material->uses > 0)
        return;
    struct http_material **at = list;
    while (*at != material)
        at = &(*at)->next;
    *at = material->next;
    material_free(material);
}

/* --- from request to libcurl --- */

static int append(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (longer == NULL)
        return -1;
    *list = longer;
    return 0;
}

static bool is_header_name(const char *text)
{
    struct str name = str_from(text);
    return name.len > 0 && str_is_visible(name) && strchr(text, ':') == NULL;
}

/* A value may hold spaces and more than ASCII, but nothing that ends it. */
static bool is_header_value(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; p != NULL && *p != '\0'; p++)
        if ((*p < 0x20 && *p != '\t') || *p == 0x7F)
            return false;
    return text != NULL;
}

static int set_headers(struct http_call *call, const struct http_request *request,
                       const char *host_header, struct err *err)
{
    bool typed = false;
    struct buf cleanup_buf line = {.secret = true};
    for (size_t i = 0; i < request->headers_count; i++) {
        const struct http_header *h = &request->headers[i];
        if (!is_header_name(h->name) || !is_header_value(h->value))
            return err_set(err, ERR_INVALID, "%s to %s: a request header holds control characters",
                           call->method, call->peer);
        typed = typed || strcasecmp(h->name, "Content-Type") == 0;
        buf_clear(&line);
        /* "Name;" is how libcurl is told to send an empty one. */
        buf_appendf(&line, h->value[0] == '\0' ? "%s;" : "%s: %s", h->name, h->value);
        if (line.failed || append(&call->headers, line.data) != 0)
            return err_set(err, ERR_NO_MEMORY, "out of memory for a request");
    }
    /* No waiting for 100-continue, and no form type that nobody asked for. */
    if (append(&call->headers, "Expect:") != 0 ||
        (!typed && append(&call->headers, "Content-Type:") != 0))
        return err_set(err, ERR_NO_MEMORY, "out of memory for a request");
    if (host_header != NULL) {
        buf_clear(&line);
        buf_appendf(&line, "Host: %s", host_header);
        if (line.failed || append(&call->headers, line.data) != 0)
            return err_set(err, ERR_NO_MEMORY, "out of memory for a request");
    }
    SET(call, CURLOPT_HTTPHEADER, call->headers);
    return 0;
}

static int copy_part(CURLU *url, CURLUPart part, char *out, size_t size)
{
    char *text = NULL;
    bool fits = curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                text_format(out, size, "%s", text);
    curl_free(text);
    return fits ? 0 : -1;
}

/* The URL with the name to verify in place of its host; the connection goes to the host all the
 * same. */
static int set_server_name(struct http_call *call, CURLU *url, const char *name, struct err *err)
{
    char to[sizeof(call->host) + sizeof(call->port_text) + 4];
    char *text = NULL;
    if (!text_format(to, sizeof(to), "::%s:%s", call->host, call->port_text) ||
        append(&call->connect_to, to) != 0)
        return err_set(err, ERR_NO_MEMORY, "out of memory for a request");
    if (curl_url_set(url, CURLUPART_HOST, name, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return err_set(err, ERR_INVALID, "%s: the TLS server name is no host name", call->peer);
    SET(call, CURLOPT_URL, text);
    SET(call, CURLOPT_CONNECT_TO, call->connect_to);
    curl_free(text);
    return 0;
}

static int set_url(struct http_call *call, const struct http_request *request, bool *ret_renamed,
                   struct err *err)
{
    CURLU *url = curl_url();
    if (url == NULL)
        return err_set(err, ERR_NO_MEMORY, "out of memory for a request");
    int rc = 0;
    CURLUcode parsed =
        curl_url_set(url, CURLUPART_URL, request->url, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS);
    const char *name = request->tls == NULL ? NULL : request->tls->server_name;
    *ret_renamed = false;
    if (parsed != CURLUE_OK ||
        copy_part(url, CURLUPART_HOST, call->host, sizeof(call->host)) != 0 ||
        copy_part(url, CURLUPART_PORT, call->port_text, sizeof(call->port_text)) != 0 ||
        !text_format(call->peer, sizeof(call->peer), "%s:%s", call->host, call->port_text)) {
        rc = err_set(err, ERR_INVALID, "%s: not a URL that can be asked: %s", call->method,
                     parsed == CURLUE_OK ? "its host is too long" : curl_url_strerror(parsed));
    } else if (name != NULL && !text_eq(name, call->host)) {
        *ret_renamed = true;
        rc = set_server_name(call, url, name, err);
    } else {
        SET(call, CURLOPT_URL, request->url);
    }
    curl_url_cleanup(url);
    return rc;
}

static int set_body(struct http_call *call, const struct http_request *request, struct err *err)
{
    bool post = text_eq(request->method, "POST");
    call->body = (struct buf){.secret = request->secret, .max = request->body.len};
    if (request->body.len > 0)
        buf_append_str(&call->body, request->body);
    if (call->body.failed)
        return err_set(err, ERR_NO_MEMORY, "out of memory for a request");
    if (post && call->body.len > 0) {
        SET(call, CURLOPT_POST, 1L);
        SET(call, CURLOPT_READFUNCTION, on_send);
        SET(call, CURLOPT_READDATA, call);
    } else if (post || call->body.len > 0 || text_eq(request->method, "PUT") ||
               text_eq(request->method, "PATCH")) {
        SET(call, CURLOPT_POSTFIELDS, buf_text(&call->body));
        /* Nothing to rewind: an empty POST gets a connection that cannot be a dead one. */
        SET(call, CURLOPT_FRESH_CONNECT, post ? 1L : 0L);
    } else if (text_eq(request->method, "HEAD")) {
        SET(call, CURLOPT_NOBODY, 1L);
        return 0;
    } else {
        SET(call, CURLOPT_HTTPGET, 1L);
    }
    SET(call, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    SET(call, CURLOPT_CUSTOMREQUEST, request->method);
    return 0;
}

static struct curl_blob blob(char *text)
{
    return (struct curl_blob){.data = text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY};
}

static void set_tls(struct http_call *call, const struct http_tls *tls)
{
    const struct http_material *m = call->material;
    SET(call, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    /* A CA blob replaces the system's file, but not its folder: that would be trusted beside it. */
    SET(call, CURLOPT_CAPATH, NULL);
    SET(call, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
    /* A resumed session is not verified again. Connections are kept, so there is little to save. */
    SET(call, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(call, CURLOPT_SSL_VERIFYPEER, tls != NULL && tls->insecure ? 0L : 1L);
    SET(call, CURLOPT_SSL_VERIFYHOST, tls != NULL && tls->insecure ? 0L : 2L);
    if (m != NULL && m->ca != NULL) {
        struct curl_blob ca = blob(m->ca);
        SET(call, CURLOPT_CAINFO_BLOB, &ca);
    }
    if (m != NULL && m->cert != NULL) {
        struct curl_blob cert = blob(m->cert);
        SET(call, CURLOPT_SSLCERT_BLOB, &cert);
    }
    if (m != NULL && m->key != NULL) {
        struct curl_blob key = blob(m->key);
        SET(call, CURLOPT_SSLKEY_BLOB, &key);
    }
}

/* The last moment before a request goes out on a connection, be it a new one, one that waited in
 * libcurl's queue, or a repetition on a fresh connection: what is late by then is never sent. A
 * process that was stopped for a minute runs its sockets before its timers. */
static int on_send_now(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct http_call *call = ctx;
    (void)remote;
    (void)local;
    (void)remote_port;
    (void)local_port;
    if (loop_clock_ms() < call->start_ms + call->timeout_ms)
        return CURL_PREREQFUNC_OK;
    http_call_timed_out(call);
    return CURL_PREREQFUNC_ABORT;
}

static void set_connection(struct http_call *call, const char *user_agent)
{
    long connect_ms = call->timeout_ms < CONNECT_TIMEOUT_MS ? call->timeout_ms : CONNECT_TIMEOUT_MS;
    SET(call, CURLOPT_PRIVATE, call);
    SET(call, CURLOPT_ERRORBUFFER, call->curl_text);
    SET(call, CURLOPT_NOSIGNAL, 1L);
    SET(call, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(call, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(call, CURLOPT_PROXY, "");
    SET(call, CURLOPT_FOLLOWLOCATION, 0L);
    SET(call, CURLOPT_PATH_AS_IS, 1L);
    SET(call, CURLOPT_USERAGENT, user_agent);
    SET(call, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    SET(call, CURLOPT_DNS_CACHE_TIMEOUT, -1L); /* addresses come with each request */
    SET(call, CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_S);
    SET(call, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
    SET(call, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(call, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    SET(call, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    SET(call, CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(call, CURLOPT_WRITEFUNCTION, on_body);
    SET(call, CURLOPT_WRITEDATA, call);
    SET(call, CURLOPT_PREREQFUNCTION, on_send_now);
    SET(call, CURLOPT_PREREQDATA, call);
    SET(call, CURLOPT_HEADERFUNCTION, on_header);
    SET(call, CURLOPT_HEADERDATA, call);
}

int http_call_prepare(struct http_call *call, const struct http_request *request,
                      const char *user_agent, struct err *err)
{
    bool renamed = false;
    call->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : TIMEOUT_DEFAULT_MS;
    call->idle_timeout_ms = request->idle_timeout_ms;
    call->answer_max = request->body_max == 0 ? LIMIT_ANSWER : request->body_max;
    call->answer = (struct buf){.secret = request->secret, .max = call->answer_max};
    err_clean_text(call->method, sizeof(call->method), request->method);
    if (!is_header_name(request->method) || !text_eq(call->method, request->method))
        return err_set(err, ERR_BUG, "a request without a valid method");
    set_connection(call, user_agent);
    if (set_url(call, request, &renamed, err) != 0)
        return -1;
    /* What a plain request would have said, so that only TLS sees the other name. */
    bool plain_port = text_eq(call->port_text, "443");
    const char *host_header = !renamed ? NULL : plain_port ? call->host : call->peer;
    if (set_headers(call, request, host_header, err) != 0 || set_body(call, request, err) != 0)
        return -1;
    set_tls(call, request->tls);
    if (call->setup != CURLE_OK)
        return err_set(err, call->setup == CURLE_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_INVALID,
                       "%s to %s: %s", call->method, call->peer, curl_easy_strerror(call->setup));
    return 0;
}

bool http_call_needs_addresses(const struct http_call *call)
{
    struct in_addr v4;
    size_t len = strlen(call->host);
    /* libcurl answers for localhost and everything under it by itself, without asking anybody. */
    bool local = strcasecmp(call->host, "localhost") == 0 ||
                 (len > 10 && strcasecmp(call->host + len - 10, ".localhost") == 0);
    return call->host[0] != '[' && inet_pton(AF_INET, call->host, &v4) != 1 && !local;
}

int http_call_set_addresses(struct http_call *call, const char *addresses, struct err *err)
{
    struct buf cleanup_buf line = {0};
    buf_appendf(&line, "%s:%s:%s", call->host, call->port_text, addresses);
    if (line.failed || append(&call->addresses, line.data) != 0)
        return err_set(err, ERR_NO_MEMORY, "out of memory for a request");
    SET(call, CURLOPT_RESOLVE, call->addresses);
    return 0;
}

/* --- the end --- */

void http_call_finish(struct http_call *call, CURLcode result)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    /* Our own reason to stop comes back as a write error. */
    if (result != CURLE_OK && call->err.class == ERR_NONE)
        http_error_explain(call, result, &call->err);
    call->status = call->err.class == ERR_NONE || call->streaming ? (int)status : 0;
    if (call->err.class != ERR_NONE)
        call->err.http_status = (int)status;
}

void http_call_timed_out(struct http_call *call)
{
    curl_off_t sent = 0;
    curl_off_t began = 0;
    curl_off_t looked_up = 0;
    curl_off_t connected = 0;
    if (call->state == HTTP_CALL_RESOLVING) {
        err_set(&call->err, ERR_DNS, "%s to %s: look-up of the name took more than %d ms",
                call->method, call->peer, call->timeout_ms);
        return;
    }
    if (call->streaming) {
        err_set(&call->err, ERR_TIMEOUT, "%s to %s: nothing came for %d ms", call->method,
                call->peer, call->idle_timeout_ms);
        return;
    }
    curl_easy_getinfo(call->easy, CURLINFO_STARTTRANSFER_TIME_T, &began);
    curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &sent);
    curl_easy_getinfo(call->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
    curl_easy_getinfo(call->easy, CURLINFO_CONNECT_TIME_T, &connected);
    const char *how_far = began > 0       ? "the answer was not finished"
                          : sent > 0      ? "no answer"
                          : connected > 0 ? "no TLS handshake"
                          : looked_up > 0 ? "no connection"
                                          : "all connections stayed busy";
    err_set(&call->err, ERR_TIMEOUT, "%s to %s: %s within %d ms", call->method, call->peer, how_far,
            call->timeout_ms);
}

void http_call_release(struct http_call *call)
{
    /* Headers carry tokens. */
    for (struct curl_slist *h = call->headers; h != NULL; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->addresses);
    curl_slist_free_all(call->connect_to);
    buf_release(&call->body);
    buf_release(&call->answer);
    call->headers = call->addresses = call->connect_to = NULL;
}
