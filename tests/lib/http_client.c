/* SPDX-License-Identifier: Apache-2.0 */
#include "http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000

static void on_chunk(void *ctx, struct str chunk)
{
    struct fetch *f = ctx;
    f->chunks++;
    buf_append_str(&f->streamed, chunk);
    if (f->cancel_in_chunk != NULL && *f->cancel_in_chunk != NULL) {
        struct http_call *victim = *f->cancel_in_chunk;
        *f->cancel_in_chunk = NULL;
        http_cancel(f->http, victim);
        loop_stop(f->loop);
    }
}

static void on_done(void *ctx, const struct http_response *response)
{
    struct fetch *f = ctx;
    f->done = true;
    f->done_count++;
    f->call = NULL;
    f->status = response->status;
    f->retry_after_s = response->retry_after_s;
    f->elapsed_ms = response->elapsed_ms;
    f->err = response->err;
    buf_append_str(&f->body, response->body);
    snprintf(f->content_type, sizeof(f->content_type), "%s", response->content_type);
    loop_stop(f->loop);
}

void fetch_start(struct fetch *f, struct http_port *http, struct loop *loop,
                 const struct http_request *request)
{
    struct http_call **victim = f->cancel_in_chunk;
    *f = (struct fetch){.loop = loop, .http = http, .cancel_in_chunk = victim};
    const struct http_sink sink = {.on_chunk = on_chunk, .on_done = on_done, .ctx = f};
    f->call = http_submit(http, request, &sink);
    if (f->call == NULL || f->done)
        abort(); /* out of memory, or an answer from inside http_submit */
}

static void on_patience(void *ctx)
{
    fprintf(stderr, "no answer within %d ms\n", PATIENCE_MS);
    (void)ctx;
    abort();
}

void fetch_wait(struct fetch *f)
{
    struct loop_timer patience = {.fire = on_patience};
    loop_timer_in(f->loop, &patience, PATIENCE_MS);
    while (!f->done)
        loop_run(f->loop);
    loop_timer_cancel(f->loop, &patience);
}

static void on_time(void *ctx)
{
    bool *over = ctx;
    *over = true;
}

static void on_time_stop(void *ctx)
{
    loop_stop(ctx);
}

void run_for(struct loop *loop, int ms)
{
    bool over = false;
    struct loop_timer end = {.fire = on_time, .ctx = &over};
    struct loop_timer stop = {.fire = on_time_stop, .ctx = loop};
    loop_timer_in(loop, &end, ms);
    loop_timer_in(loop, &stop, ms);
    while (!over)
        loop_run(loop);
    loop_timer_cancel(loop, &stop);
}

void fetch_release(struct fetch *f)
{
    buf_release(&f->streamed);
    buf_release(&f->body);
}
