/* SPDX-License-Identifier: Apache-2.0 */
#include "web/web.h"

#include <stdlib.h>
#include <string.h>
#include "web/server.h"

#define CONNECTIONS_MAX 64
#define PAGES_MAX 8 /* copies of /metrics held for readers at a time */
#define PAGE_BYTES_MAX (64UL << 20)
#define ARRIVE_S 10
#define TAKE_S 60
#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct web {
    struct loop *loop;
    struct web_source source;
    struct web_server *server;
    unsigned pages;
};

static unsigned say(struct web_answer *answer, unsigned status, const char *sentence)
{
    buf_append_text(&answer->body, sentence);
    return status;
}

static unsigned judge(bool (*good)(void *ctx, struct buf *why), void *ctx,
                      struct web_answer *answer)
{
    struct buf cleanup_buf why = {0};
    bool is_good = good == NULL || good(ctx, &why);
    if (is_good)
        buf_append_text(&answer->body, "ok\n");
    buf_append_str(&answer->body, buf_view(&why));
    return say(answer, is_good ? 200 : 503, is_good ? "" : "\n");
}

static unsigned render_page(struct web *web, struct web_answer *answer)
{
    if (web->pages >= PAGES_MAX)
        return say(answer, 503, "too many readers of /metrics at a time; try again\n");
    web->pages++;
    answer->held = &web->pages;
    if (web->source.metrics != NULL)
        web->source.metrics(web->source.ctx, &answer->body);
    if (answer->body.failed) {
        buf_release(&answer->body);
        return say(answer, 500, "the metrics are too large, or there is no memory for them\n");
    }
    answer->type = METRICS_TYPE;
    return 200;
}

static unsigned handle(void *ctx, const struct web_request *request, struct web_answer *answer)
{
    struct web *web = ctx;
    answer->type = TEXT_TYPE;
    if (request->method != WEB_GET) {
        answer->allow = "GET, HEAD";
        return say(answer, 405, "only GET and HEAD are served\n");
    }
    if (strcmp(request->path, "/healthz") == 0)
        return judge(web->source.healthy, web->source.ctx, answer);
    if (strcmp(request->path, "/readyz") == 0)
        return judge(web->source.ready, web->source.ctx, answer);
    if (strcmp(request->path, "/metrics") == 0)
        return render_page(web, answer);
    return say(answer, 404, "not found; there are /healthz, /readyz and /metrics\n");
}

struct web *web_new(struct loop *loop, const char *listen, const struct web_source *source,
                    struct err *err)
{
    struct web *web = calloc(1, sizeof(*web));
    if (web == NULL) {
        err_set(err, ERR_NO_MEMORY, "web: out of memory");
        return NULL;
    }
    struct web_options options = {
        .listen = listen,
        .connections_max = CONNECTIONS_MAX,
        .arrive_s = ARRIVE_S,
        .take_s = TAKE_S,
        .answer_max = PAGE_BYTES_MAX,
        .handle = handle,
        .ctx = web,
    };
    *web = (struct web){loop, *source, web_server_new(loop, &options, err), 0};
    if (web->server != NULL)
        return web;
    free(web);
    return NULL;
}

void web_run(struct web *web)
{
    /* Where the server gives up, the work goes on; whoever probes the port notices and restarts us.
     */
    if (web_server_run(web->server) != 0)
        loop_run(web->loop);
}

void web_free(struct web *web)
{
    if (web == NULL)
        return;
    web_server_free(web->server);
    free(web);
}

int web_port(const struct web *web)
{
    return web_server_port(web->server);
}
