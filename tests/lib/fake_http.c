/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"

#define RULES_MAX 64

struct rule {
    char *part;
    int times;
    int status;
    char *body;
    enum err_class class;
};

struct fake_http {
    struct http_port port; /* first: the port is the fake */
    struct fake_request **requests;
    size_t count;
    struct rule rules[RULES_MAX];
    size_t rules_count;
    int no_memory;
};

static void die(const char *what)
{
    fprintf(stderr, "fake_http: %s\n", what);
    abort();
}

static char *copy_text(const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    if (text != NULL && copy == NULL)
        die("no memory");
    return copy;
}

static struct http_call *submit(struct http_port *port, const struct http_request *request,
                                const struct http_sink *sink)
{
    struct fake_http *f = (struct fake_http *)port;
    if (f->no_memory > 0) {
        f->no_memory--;
        return NULL;
    }
    struct fake_request *r = calloc(1, sizeof(*r));
    struct fake_request **requests = realloc(f->requests, (f->count + 1) * sizeof(*requests));
    if (r == NULL || requests == NULL)
        die("no memory");
    f->requests = requests;
    f->requests[f->count++] = r;
    struct buf headers = {0};
    buf_append_text(&headers, "");
    for (size_t i = 0; i < request->headers_count; i++)
        buf_appendf(&headers, "%s: %s\n", request->headers[i].name, request->headers[i].value);
    r->headers = copy_text(buf_text(&headers));
    buf_release(&headers);
    r->method = copy_text(request->method);
    r->url = copy_text(request->url);
    r->body = strndup(request->body.len > 0 ? request->body.data : "", request->body.len);
    if (request->tls != NULL) {
        r->ca_pem = copy_text(request->tls->ca_pem);
        r->server_name = copy_text(request->tls->server_name);
        r->insecure = request->tls->insecure;
    }
    r->secret = request->secret;
    r->lane = request->lane;
    r->timeout_ms = request->timeout_ms;
    r->idle_timeout_ms = request->idle_timeout_ms;
    r->body_max = request->body_max;
    r->sink = *sink;
    return (struct http_call *)r;
}

static void cancel(struct http_port *port, struct http_call *call)
{
    (void)port;
    struct fake_request *r = (struct fake_request *)call;
    if (r->state != FAKE_OPEN)
        die("cancel of a request that has ended");
    r->state = FAKE_CANCELED;
}

struct fake_http *fake_http_new(void)
{
    struct fake_http *f = calloc(1, sizeof(*f));
    if (f == NULL)
        die("no memory");
    f->port = (struct http_port){.submit = submit, .cancel = cancel};
    return f;
}

void fake_http_free(struct fake_http *f)
{
    for (size_t i = 0; i < f->count; i++) {
        struct fake_request *r = f->requests[i];
        free(r->method);
        free(r->url);
        free(r->body);
        free(r->headers);
        free(r->ca_pem);
        free(r->server_name);
        free(r);
    }
    fake_http_forget(f);
    free(f->requests);
    free(f);
}

struct http_port *fake_http_port(struct fake_http *f)
{
    return &f->port;
}

void fake_http_no_memory(struct fake_http *f, int count)
{
    f->no_memory = count;
}

size_t fake_http_count(const struct fake_http *f)
{
    return f->count;
}

size_t fake_http_open(const struct fake_http *f)
{
    size_t open = 0;
    for (size_t i = 0; i < f->count; i++)
        open += f->requests[i]->state == FAKE_OPEN;
    return open;
}

struct fake_request *fake_http_at(struct fake_http *f, size_t n)
{
    if (n >= f->count)
        die("no such request");
    return f->requests[n];
}

struct fake_request *fake_http_last(struct fake_http *f)
{
    return fake_http_at(f, f->count - 1);
}

static bool matches(const struct fake_request *r, const char *part)
{
    char line[4096];
    snprintf(line, sizeof(line), "%s %s", r->method, r->url);
    return strstr(line, part) != NULL;
}

size_t fake_http_seen(const struct fake_http *f, const char *part)
{
    size_t seen = 0;
    for (size_t i = 0; i < f->count; i++)
        seen += matches(f->requests[i], part);
    return seen;
}

bool fake_header_is(const struct fake_request *r, const char *name, const char *value)
{
    char line[4096];
    snprintf(line, sizeof(line), "%s: %s\n", name, value);
    const char *found = strstr(r->headers, line);
    return found != NULL && (found == r->headers || found[-1] == '\n');
}

static struct rule *rule_add(struct fake_http *f, const char *part, int times)
{
    if (f->rules_count == RULES_MAX)
        die("too many rules");
    struct rule *rule = &f->rules[f->rules_count++];
    *rule = (struct rule){.part = copy_text(part), .times = times};
    return rule;
}

void fake_http_on(struct fake_http *f, const char *part, int times, int status, const char *body)
{
    struct rule *rule = rule_add(f, part, times);
    rule->status = status;
    rule->body = copy_text(body);
}

void fake_http_on_err(struct fake_http *f, const char *part, int times, enum err_class class)
{
    rule_add(f, part, times)->class = class;
}

void fake_http_forget(struct fake_http *f)
{
    for (size_t i = 0; i < f->rules_count; i++) {
        free(f->rules[i].part);
        free(f->rules[i].body);
    }
    f->rules_count = 0;
}

static bool answer_by_rule(struct fake_http *f, struct fake_request *r)
{
    for (size_t i = 0; i < f->rules_count; i++) {
        struct rule *rule = &f->rules[i];
        if (rule->times == 0 || !matches(r, rule->part))
            continue;
        if (rule->times > 0)
            rule->times--;
        if (rule->class != ERR_NONE)
            fake_fail(r, rule->class);
        else
            fake_answer(r, rule->status, rule->body);
        return true;
    }
    return false;
}

void fake_http_run(struct fake_http *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->requests[i]->state == FAKE_OPEN)
            (void)answer_by_rule(f, f->requests[i]);
    }
}

void fake_answer_with(struct fake_request *r, const struct http_response *response)
{
    if (r->state != FAKE_OPEN)
        die("answer to a request that has ended");
    r->state = FAKE_DONE;
    r->sink.on_done(r->sink.ctx, response);
}

void fake_answer(struct fake_request *r, int status, const char *body)
{
    /* Its own memory, gone after the call: whoever keeps a pointer into an answer is found out. */
    char *copy = copy_text(body != NULL ? body : "");
    struct http_response response = {
        .status = status,
        .body = str_from(copy),
        .content_type = "application/json",
        .elapsed_ms = 1,
    };
    fake_answer_with(r, &response);
    free(copy);
}

void fake_fail(struct fake_request *r, enum err_class class)
{
    struct http_response response = {.content_type = ""};
    err_set(&response.err, class, "made to fail (class %d)", class);
    fake_answer_with(r, &response);
}

void fake_chunk(struct fake_request *r, const char *text)
{
    if (r->state != FAKE_OPEN || r->sink.on_chunk == NULL)
        die("piece for a request that is no open stream");
    char *copy = copy_text(text);
    r->sink.on_chunk(r->sink.ctx, str_from(copy));
    free(copy);
}
