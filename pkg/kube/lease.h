/* SPDX-License-Identifier: Apache-2.0
 *
 * lease: leadership by a coordination.k8s.io/v1 Lease, on a connection of its own. Drives
 * leader/leader.h. */
#ifndef KEYTURN_KUBE_LEASE_H
#define KEYTURN_KUBE_LEASE_H

#include <stdbool.h>
#include "kube/kube.h"

struct lease;

struct lease_options {
    const char *namespace, *name, *identity;
    void (*changed)(
        void *ctx,
        bool leading); /* from the loop, at each change; also when the deadline passes unrenewed */
    void *ctx;
};

struct lease *lease_new(struct kube *kube, struct loop *loop, const struct lease_options *options,
                        struct err *err);
void lease_free(struct lease *lease);
bool lease_leading(const struct lease *lease);
/* To be asked before each send: still within the deadline, with margin_ms to spare, by the clock
 * read now. */
bool lease_may_write(const struct lease *lease, int64_t margin_ms);
/* Gives the Lease back (2 s at most), then calls done; at once when not leading. */
void lease_release(struct lease *lease, void (*done)(void *ctx), void *ctx);

#endif
