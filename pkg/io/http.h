/* SPDX-License-Identifier: Apache-2.0
 *
 * http: requests without waiting; the one seam between Keyturn and every server. Knows nothing of
 * Kubernetes or Keycloak. The real port is http_curl_new (libcurl multi on the loop); simulations
 * may bring their own.
 *
 * Rules kept by the real port: no redirects, no cookies, no proxies, HTTP/1.1, TLS 1.2 at least,
 * names resolved off the loop by c-ares with a deadline (then pinned for that connection), every
 * request has a deadline, every body a ceiling. Answers to a call come from the loop, never from
 * inside http_submit.
 *
 * A connection is used again only with the same TLS material. When a used one turns out to be dead
 * before the first byte of an answer, libcurl sends GET, PUT, PATCH and DELETE once more on a new
 * one; a POST is never sent twice. */
#ifndef KEYTURN_IO_HTTP_H
#define KEYTURN_IO_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

/* A lane has connections and limits of its own: a stalled one never delays another. */
enum http_lane {
    HTTP_LANE_API,      /* reads and writes of the API server */
    HTTP_LANE_WATCH,    /* streams; no parallel limit */
    HTTP_LANE_LEASE,    /* Lease requests only */
    HTTP_LANE_EVENT,    /* Events: many, and never worth delaying a write for */
    HTTP_LANE_KEYCLOAK, /* identity providers */
    HTTP_LANE_COUNT,
};

struct http_header {
    const char *name;
    const char *value;
};

/* TLS material, PEM texts owned by the caller and copied at submit. NULL ca = the system's bundle.
 */
struct http_tls {
    const char *ca_pem;
    const char *cert_pem;
    const char *key_pem;
    const char *server_name; /* SNI and name to verify, when not the URL's host */
    bool insecure;           /* a kubeconfig may ask for it; never Keycloak */
};

struct http_request {
    const char *method; /* "GET", ... */
    const char *url;    /* absolute http(s) URL */
    const struct http_header *headers;
    size_t headers_count;
    struct str body;            /* copied at submit */
    const struct http_tls *tls; /* NULL for defaults */
    enum http_lane lane;
    /* Whole request with look-up and waiting for a connection; streams: until the headers are
     * there. 0 = 30 s. */
    int timeout_ms;
    int idle_timeout_ms; /* streams: longest silence; 0 = not a stream */
    size_t body_max;     /* 0 = LIMIT_ANSWER; not for streams */
    bool secret;         /* request and answer bodies are wiped after use */
};

struct http_response {
    int status;      /* 0 = no whole answer: see err. A broken stream keeps the status it had. */
    struct str body; /* not for streams with a 2xx; valid during the call only */
    const char *content_type; /* "" when absent */
    struct err err; /* ERR_NONE for every answer that arrived whole, whatever its status */
    int retry_after_s;
    int64_t elapsed_ms;
};

struct http_sink {
    /* Streams with a 2xx answer: each piece as it comes. */
    void (*on_chunk)(void *ctx, struct str chunk);
    /* Once, last; the call is gone then. Both may submit and cancel any call, not free the port. */
    void (*on_done)(void *ctx, const struct http_response *response);
    void *ctx;
};

struct http_call; /* one request under way; gone after on_done or http_cancel */

struct http_port {
    struct http_call *(*submit)(struct http_port *port, const struct http_request *request,
                                const struct http_sink *sink);
    void (*cancel)(struct http_port *port, struct http_call *call);
};

/* Never NULL unless out of memory (then on_done is not called). Any other failure comes to on_done.
 */
struct http_call *http_submit(struct http_port *port, const struct http_request *request,
                              const struct http_sink *sink);
/* on_done is not called any more. A write may have happened all the same. NULL is fine. */
void http_cancel(struct http_port *port, struct http_call *call);

/* One line for each finished request, for metrics: host ("host:port"), status or 0. */
typedef void http_observer_fn(void *ctx, const char *host, enum http_lane lane, int status,
                              int64_t elapsed_ms);

struct http_curl_options {
    int max_connections[HTTP_LANE_COUNT]; /* 0 = default of the lane: 16, no limit, 1, 2, 16 */
    int resolve_timeout_ms;               /* 0 = 3000 */
    const char *user_agent;               /* copied */
    const char *dns_servers; /* "addr:port,..." instead of resolv.conf's: for tests; NULL */
    http_observer_fn *observer;
    void *observer_ctx;
};

/* loop outlives the port. http_curl_free cancels everything under way. SIGPIPE must be ignored by
 * the process (sandbox_early). */
struct http_port *http_curl_new(struct loop *loop, const struct http_curl_options *options,
                                struct err *err);
void http_curl_free(struct http_port *vtable);

/* Percent-encodes everything but RFC 3986 unreserved characters. */
struct buf;
void http_append_escaped(struct buf *out, const char *text);
/* "https" or "http" URL with a host, without user info, query, fragment or control characters. */
bool http_url_is_plain(const char *url);
/* "host:port" as the observer is told it, the port of the scheme included; false when the URL
 * cannot be asked or size is too small. */
bool http_url_peer(const char *url, char *out, size_t size);

#endif
