/* SPDX-License-Identifier: Apache-2.0
 *
 * http_call: one request of the libcurl port: how it is given to libcurl, what comes back, and what
 * its failures mean. Inside io only; the port (http_curl.c) owns the calls and says when. */
#ifndef KEYTURN_IO_HTTP_CALL_H
#define KEYTURN_IO_HTTP_CALL_H

#include <curl/curl.h>
#include "base/buf.h"
#include "base/limits.h"
#include "io/http.h"
#include "io/resolve.h"

/* A list without memory of its own; a head points at itself. */
struct http_link {
    struct http_link *prev;
    struct http_link *next;
};

enum http_call_state {
    HTTP_CALL_RESOLVING, /* waits for the resolver */
    HTTP_CALL_READY,     /* waits to be given to libcurl */
    HTTP_CALL_RUNNING,   /* inside the lane's multi handle */
    HTTP_CALL_DONE,      /* waits for its on_done */
    HTTP_CALL_CANCELED,  /* waits to leave the multi handle */
    HTTP_CALL_TELLING,   /* inside on_done */
};

/* TLS texts, shared by all calls that use the same ones: a CA bundle may have 512 KiB. */
struct http_material {
    struct http_material *next;
    size_t uses;
    char *ca;
    char *cert;
    char *key;
};

struct http_call {
    struct http_link link; /* first: a link is its call */
    struct http_curl *port;
    enum http_call_state state;
    enum http_lane lane;
    struct http_sink sink;
    CURL *easy;
    CURLcode setup; /* first failure of an option */
    struct curl_slist *headers;
    struct curl_slist *addresses;
    struct curl_slist *connect_to;
    struct http_material *material;
    struct buf body;   /* of the request */
    size_t body_sent;  /* POST only */
    struct buf answer; /* body of the answer, streams with a 2xx excepted */
    size_t answer_max;
    size_t headers_bytes;
    struct loop_timer timer; /* deadline, or longest silence */
    struct resolve_wait *wait;
    struct loop *loop;
    int timeout_ms;
    int idle_timeout_ms; /* > 0: a stream */
    int64_t start_ms;
    bool streaming; /* headers of a stream with a 2xx are there */
    struct err err; /* why we gave up, ERR_NONE = we did not */
    int status;
    char method[16];
    char host[LIMIT_NAME + 3]; /* of the URL; with brackets for IPv6 */
    char port_text[8];
    char peer[LIMIT_NAME + 12]; /* "host:port" */
    char curl_text[CURL_ERROR_SIZE];
};

/* Gives the request to call->easy, everything copied. easy, loop, port and materials are set; the
 * rest is {0}. -1: *err says why. */
int http_call_prepare(struct http_call *call, const struct http_request *request,
                      const char *user_agent, struct err *err);
/* True when the host is a name that has to be looked up. */
bool http_call_needs_addresses(const struct http_call *call);
int http_call_set_addresses(struct http_call *call, const char *addresses, struct err *err);
/* libcurl has ended it: sets call->status and call->err. Ask while easy still has its numbers. */
void http_call_finish(struct http_call *call, CURLcode result);
/* The timer fired: sets call->err by how far the request had come. */
void http_call_timed_out(struct http_call *call);
/* Gives back all but easy and link; secrets are wiped. */
void http_call_release(struct http_call *call);

/* Shared TLS texts of a port; list is its head. NULL tls gives NULL without failure. */
int http_material_get(struct http_material **list, const struct http_tls *tls,
                      struct http_material **ret);
void http_material_drop(struct http_material **list, struct http_material *material);

/* What a CURLcode means; http_error.c. */
void http_error_explain(const struct http_call *call, CURLcode result, struct err *err);

#endif
