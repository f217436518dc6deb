/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_http: an http_port without sockets. Each request is recorded and stays open until the test
 * answers it, by rules (fake_http_on, then fake_http_run) or by hand. Answers never come from
 * inside http_submit. Everything handed out is owned by the fake and lives until fake_http_free. */
#ifndef KEYTURN_TESTS_FAKE_HTTP_H
#define KEYTURN_TESTS_FAKE_HTTP_H

#include "io/http.h"

enum fake_state { FAKE_OPEN, FAKE_DONE, FAKE_CANCELED };

struct fake_request {
    enum fake_state state;
    char *method, *url, *body; /* body: "" when none */
    char *headers;             /* "Name: value\n" each */
    char *ca_pem;              /* NULL: none given */
    char *server_name;
    bool insecure, secret;
    enum http_lane lane;
    int timeout_ms, idle_timeout_ms;
    size_t body_max;
    struct http_sink sink;
};

struct fake_http;

struct fake_http *fake_http_new(void);
void fake_http_free(struct fake_http *f);
struct http_port *fake_http_port(struct fake_http *f);
/* The next count submits find no memory. */
void fake_http_no_memory(struct fake_http *f, int count);

size_t fake_http_count(const struct fake_http *f); /* requests so far */
size_t fake_http_open(const struct fake_http *f);  /* those not answered and not cancelled */
/* n-th request, from 0; fails the test when there is none. */
struct fake_request *fake_http_at(struct fake_http *f, size_t n);
struct fake_request *fake_http_last(struct fake_http *f);
/* Requests so far whose "METHOD url" contains part. */
size_t fake_http_seen(const struct fake_http *f, const char *part);
bool fake_header_is(const struct fake_request *r, const char *name, const char *value);

/* Answers up to `times` requests (-1: all) whose "METHOD url" contains part; older rules first. */
void fake_http_on(struct fake_http *f, const char *part, int times, int status, const char *body);
void fake_http_on_err(struct fake_http *f, const char *part, int times, enum err_class class);
void fake_http_forget(struct fake_http *f); /* drops all rules */
/* Answers what the rules answer, also what is asked meanwhile. */
void fake_http_run(struct fake_http *f);

/* By hand; the request must be open. */
void fake_answer(struct fake_request *r, int status, const char *body);
void fake_answer_with(struct fake_request *r, const struct http_response *response);
void fake_fail(struct fake_request *r, enum err_class class);
void fake_chunk(struct fake_request *r, const char *text);

#endif
