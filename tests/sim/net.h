/* SPDX-License-Identifier: Apache-2.0
 *
 * net: the http_port of the simulation. A request arrives at its server after a while and is
 * answered after another; on the way it may be lost, come twice, late, or have its answer lost.
 * What the operator no longer waits for may still arrive, but never after its deadline, which is
 * what the operator counts on. */
#ifndef KEYTURN_TESTS_SIM_NET_H
#define KEYTURN_TESTS_SIM_NET_H

#include "base/buf.h"
#include "io/http.h"
#include "sim.h"

struct sim_call; /* a request under way */

struct net_request {
    const char *method, *path; /* path: behind host, with query */
    const char *content_type;  /* "" none */
    const char *bearer;        /* of Authorization, "" none */
    struct str body;
    bool metadata_only;
    int64_t sent_ms;
};

struct net_answer { /* {0} before; body is released by net */
    int status;
    int retry_after_s;
    struct buf body;
    bool changed;           /* the request has changed something */
    enum err_class refused; /* nobody is there to answer */
};

struct net *net_new(struct sim *s);
void net_free(struct net *n);
struct http_port *net_port(struct net *n);
/* From here on what is cancelled arrives all the same: its sender was replaced, not killed. */
void net_outlive(struct net *n, bool outlive);
size_t net_writes_under_way(const struct net *n);

/* ---- streams, for the server that has taken one ---- */

bool net_chunk(struct sim_call *call, struct str chunk); /* false: the call is gone */
void net_end(struct sim_call *call, int status, enum err_class broken);

/* The value of a parameter of the query, "" when absent; not decoded. */
void net_query(const struct net_request *r, const char *name, char *out, size_t size);

#endif
