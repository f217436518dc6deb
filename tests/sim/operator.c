/* SPDX-License-Identifier: Apache-2.0 */
#include "operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/controller.h"
#include "controller/reconcile.h"
#include "jose/key.h"
#include "net.h"
#include "obs/log.h"
#include "rotation/engine.h"

struct operator
{
    struct sim *sim;
    const char *kubeconfig;
    struct kube *kube;
    struct controller *controller;
    struct controller_telemetry *telemetry;
    struct controller_options options;
    unsigned instances;
    struct loop_timer start;
};

static struct sim *seen_by; /* the world of this process whose operator runs */

/* ---- what is counted ---- */

void __real_engine_decide(const struct engine_view *view, struct engine_plan *plan);
void __wrap_engine_decide(const struct engine_view *view, struct engine_plan *plan);

/* The engine, with its checks counted; and its view made to lie where the world is to be broken. */
void __wrap_engine_decide(const struct engine_view *view, struct engine_plan *plan)
{
    struct engine_view seen = *view;
    const char *broken = seen_by->break_name;
    if (strcmp(broken, "unproven") == 0)
        seen.proven = true;
    if (strcmp(broken, "early") == 0)
        seen.policy.retire_s = 0;
    struct engine_key keys[LIMIT_KEYS];
    if (strcmp(broken, "not-ours") == 0 && view->keys_count > 0) {
        memcpy(keys, view->keys, view->keys_count * sizeof(keys[0]));
        for (size_t i = 0; i < view->keys_count; i++)
            keys[i].number = keys[i].number != 0 ? keys[i].number : 1000000;
        seen.keys = keys;
        seen.policy.delete_s = 0;
    }
    __real_engine_decide(&seen, plan);
    for (int i = 0; i < 32; i++)
        seen_by->tally.engine_checks[i] += (plan->fired >> i) & 1;
    seen_by->tally.rotations += plan->ended != NULL;
}

const char *__real_reconcile_rotation(struct rotation_state *s,
                                      const struct rotation_object *object);
const char *__wrap_reconcile_rotation(struct rotation_state *s,
                                      const struct rotation_object *object);

const char *__wrap_reconcile_rotation(struct rotation_state *s,
                                      const struct rotation_object *object)
{
    seen_by->tally.passes++;
    return __real_reconcile_rotation(s, object);
}

static void on_line(void *ctx, const char *line, unsigned long len)
{
    (void)ctx, (void)len;
    sim_say(seen_by, "| %.*s", (int)strcspn(line, "\n"), line);
}

/* ---- life ---- */

static void free_instance(struct operator* o)
{
    controller_free(o->controller);
    kube_free(o->kube);
    o->controller = NULL;
    o->kube = NULL;
}

static void on_start(void *ctx)
{
    struct operator* o = ctx;
    struct sim *s = o->sim;
    struct err err = {0};
    const struct kube_options kube = {.kubeconfig = o->kubeconfig, .user_agent = "keyturn/sim"};
    o->options = (struct controller_options){.own_namespace = "keyturn",
                                             .identity = "sim",
                                             .settle_ms = 5000,
                                             .resync_ms = 6 * 3600000,
                                             .seed = (uint32_t)sim_random(s)};
    sim_say(s, "operator %u starts", ++o->instances);
    o->kube = kube_new(net_port(s->net), s->loop, &kube, &err);
    if (o->kube != NULL)
        o->controller = controller_new(s->loop, net_port(s->net), o->kube, &o->options, &err);
    if (o->controller == NULL) {
        sim_fail(s, "the operator does not start: %s", err.msg);
        return;
    }
    controller_use_telemetry(o->controller, o->telemetry);
    controller_start(o->controller);
}

struct operator* operator_new(struct sim *s, const char *kubeconfig)
{
    struct operator* o = sim_must(calloc(1, sizeof(*o)));
    *o = (struct operator){.sim = s,
                           .kubeconfig = kubeconfig,
                           .telemetry = sim_must(controller_telemetry_new()),
                           .start = {.fire = on_start, .ctx = o}};
    seen_by = s;
    log_setup(&(struct log_sink){.write = on_line, .now_us = NULL, .level = LOG_INFO});
    return o;
}

void operator_start(struct sim *s)
{
    loop_timer_in(s->loop, &s->operator->start, 0);
}

static void end_instance(struct sim *s, enum fault fault, int64_t back_ms)
{
    struct operator* o = s->operator;
    if (o->controller == NULL)
        return;
    sim_say(s, "operator %u is %s", o->instances, fault == FAULT_KILLED ? "killed" : "replaced");
    if (fault == FAULT_KILLED && net_writes_under_way(s->net) > 0)
        sim_hit(s, FAULT_KILLED);
    net_outlive(s->net, fault == FAULT_REPLACED);
    free_instance(o);
    net_outlive(s->net, false);
    loop_timer_in(s->loop, &o->start, back_ms);
}

void operator_kill(struct sim *s)
{
    end_instance(s, FAULT_KILLED, sim_between(s, 50, 20000));
}

void operator_replace(struct sim *s)
{
    end_instance(s, FAULT_REPLACED, sim_between(s, 1, 500));
}

void operator_free(struct operator* o)
{
    free_instance(o);
    loop_timer_cancel(o->sim->loop, &o->start);
    controller_telemetry_free(o->telemetry);
    free(o);
}
