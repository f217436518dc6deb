/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/limits.h"
#include "base/map.h"
#include "codec/json.h"
#include "controller/controller.h"
#include "flags.h"
#include "io/sandbox.h"
#include "plan.h"
#include "simulate.h"
#include "version.h"
#include "web/web.h"

/* Everything that lives as long as the process. */
struct process {
    struct loop *loop;
    struct http_port *port;
    struct kube *kube;
    struct controller_telemetry *telemetry;
    struct controller *controller;
    struct web *web;
    char identity[FLAGS_IDENTITY_MAX + 1];
    char user_agent[64];
    bool stopping;
};

static void stopped(void *ctx)
{
    struct process *p = ctx;
    log_info("stopped", LOG_TEXT("identity", p->identity));
    loop_stop(p->loop);
}

static void on_stop_signal(void *ctx, int signal)
{
    struct process *p = ctx;
    if (p->stopping) { /* asked twice: at once */
        loop_stop(p->loop);
        return;
    }
    p->stopping = true;
    log_info("stopping", LOG_NUMBER("signal", signal));
    controller_stop(p->controller, stopped, p);
}

static void make_identity(struct process *p, const struct flags *flags, uint32_t random)
{
    char host[65] = "keyturn";
    (void)gethostname(host, sizeof(host) - 1);
    if (flags->identity != NULL)
        (void)snprintf(p->identity, sizeof(p->identity), "%s", flags->identity);
    else
        (void)snprintf(p->identity, sizeof(p->identity), "%s_%08x", host, random);
}

static int connect_all(struct process *p, const struct flags *flags, struct err *err)
{
    struct http_curl_options http = {.user_agent = p->user_agent,
                                     .observer = controller_telemetry_request};
    struct kube_options kube = {.kubeconfig = flags->kubeconfig, .user_agent = p->user_agent};
    p->loop = loop_new(err);
    p->telemetry = controller_telemetry_new();
    if (p->loop == NULL)
        return -1;
    if (p->telemetry == NULL)
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    http.observer_ctx = p->telemetry;
    p->port = http_curl_new(p->loop, &http, err);
    if (p->port == NULL)
        return -1;
    p->kube = kube_new(p->port, p->loop, &kube, err);
    return p->kube != NULL ? 0 : -1;
}

static int make_controller(struct process *p, const struct flags *flags, uint32_t random,
                           struct err *err)
{
    struct controller_options options = {
        .own_namespace = flags->namespace != NULL ? flags->namespace : kube_namespace(p->kube),
        .watch_namespaces = flags->watch_namespaces,
        .watch_namespaces_count = flags->watch_namespaces_count,
        .identity = p->identity,
        .lease_name = flags->lease_name,
        .leader_elect = flags->leader_elect,
        .fence = flags->fence,
        .operations_policy = flags->operations_policy,
        .settle_ms = flags->settle_ms,
        .resync_ms = flags->resync_ms,
        .seed = random,
    };
    p->controller = controller_new(p->loop, p->port, p->kube, &options, err);
    if (p->controller == NULL)
        return -1;
    controller_use_telemetry(p->controller, p->telemetry);
    struct web_source source = {controller_healthy, controller_ready, controller_metrics,
                                p->controller};
    p->web = web_new(p->loop, flags->listen, &source, err);
    return p->web != NULL ? 0 : -1;
}

static void close_all(struct process *p)
{
    web_free(p->web);
    controller_free(p->controller);
    kube_free(p->kube);
    if (p->port != NULL)
        http_curl_free(p->port);
    controller_telemetry_free(p->telemetry);
    if (p->loop != NULL)
        loop_free(p->loop);
}

static int run(const struct flags *flags, struct err *err)
{
    struct process p = {0};
    uint64_t random[2] = {0};
    int result = -1;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_set(err, ERR_BUG, "the system gives no random bytes");
    map_seed(random[0]);
    json_setup((uint32_t)(random[1] >> 32));
    make_identity(&p, flags, (uint32_t)random[1]);
    (void)snprintf(p.user_agent, sizeof(p.user_agent), "keyturn/%s", keyturn_version());
    if (connect_all(&p, flags, err) != 0 ||
        make_controller(&p, flags, (uint32_t)random[1], err) != 0 ||
        loop_on_stop_signal(p.loop, on_stop_signal, &p, err) != 0 || sandbox_final(err) != 0)
        goto out;
    log_info("starting", LOG_TEXT("version", keyturn_version()), LOG_TEXT("identity", p.identity),
             LOG_TEXT("listen", flags->listen));
    controller_start(p.controller);
    web_run(p.web);
    result = 0;
out:
    close_all(&p);
    return result;
}

int main(int argc, char **argv)
{
    struct flags flags;
    struct err err = {0};
    if (argc > 1 && text_eq(argv[1], "simulate"))
        return simulate(argc - 1, argv + 1);
    if (argc > 1 && text_eq(argv[1], "plan"))
        return plan(argc - 1, argv + 1);
    int status = flags_parse(argc, argv, &flags);
    if (status >= 0)
        return status;
    if (sandbox_early(&err) != 0) {
        (void)fprintf(stderr, "keyturn: %s\n", err.msg);
        return 1;
    }
    log_setup(&(struct log_sink){
        .now_us = loop_wall_us, .text = flags.log_text, .level = flags.log_level});
    status = run(&flags, &err);
    if (status != 0)
        log_error("cannot run", LOG_TEXT("error", err.msg));
    return status == 0 ? 0 : 1;
}
