/* SPDX-License-Identifier: Apache-2.0
 *
 * controller: the loop through the world. Watches KeyRotations and what they name, polls their
 * issuers, and for each that is due gathers a view, has rotation_decide make a plan, acts on it and
 * reports it. Only the holder of the Lease polls, decides and writes; a follower keeps its watches
 * warm. See pkg/README.md for the rooms. */
#ifndef KEYTURN_CONTROLLER_CONTROLLER_H
#define KEYTURN_CONTROLLER_CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "io/http.h"
#include "io/loop.h"
#include "kube/kube.h"
#include "obs/metrics.h"

struct controller;

struct controller_options { /* texts are the caller's, for the life of the controller */
    const char *own_namespace;
    const char *const *watch_namespaces; /* none: all */
    size_t watch_namespaces_count;
    const char *identity;
    const char *lease_name;
    bool leader_elect;
    const char *fence;             /* prefix of its policies' names; NULL: work without */
    const char *operations_policy; /* its name; NULL: take commands without */
    int64_t settle_ms; /* least time between an object's write and its readers' restart */
    int64_t resync_ms;
    uint32_t seed;
};

struct controller *controller_new(struct loop *loop, struct http_port *port, struct kube *kube,
                                  const struct controller_options *options, struct err *err);
void controller_start(struct controller *c);
/* Stops taking work, gives the Lease back, then calls done. */
void controller_stop(struct controller *c, void (*done)(void *ctx), void *ctx);
void controller_free(struct controller *c);

/* For web: */
bool controller_healthy(void *controller, struct buf *why);
bool controller_ready(void *controller, struct buf *why);
void controller_metrics(void *controller, struct buf *out);
/* For http_curl_options.observer; ctx is a struct metrics made by the caller before the controller.
 */
struct controller_telemetry *controller_telemetry_new(void);
void controller_telemetry_free(struct controller_telemetry *t);
void controller_telemetry_request(void *telemetry, const char *host, enum http_lane lane,
                                  int status, int64_t elapsed_ms);
void controller_use_telemetry(struct controller *c, struct controller_telemetry *t);

#endif
