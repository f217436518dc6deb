/* SPDX-License-Identifier: Apache-2.0
 *
 * gather: everything rotation_decide may look at, put into one view. Reads memory and watches, asks
 * nobody, changes nothing in the world; in the slots it notes what the watches have shown to be
 * over (a failure, a workload made anew). The view lives in the pass arena. */
#ifndef KEYTURN_CONTROLLER_GATHER_H
#define KEYTURN_CONTROLLER_GATHER_H

#include "controller/state.h"
#include "rotation/decide.h"

/* Makes the view and a plan with room for it; -1 out of memory. */
int gather(struct rotation_state *s, const struct rotation_object *object,
           struct rotation_view *view, struct rotation_plan *plan);

/* Trust hash that a workload must carry: of all objects, of any KeyRotation in the namespace, whose
 * consumers name it. What was never published and cannot be now is left out, so that one broken
 * neighbour stops nobody's restart. */
struct workload_hash {
    char hash[TRUST_HASH_TEXT]; /* "": nothing to read yet */
    int64_t ready_ms;           /* all are written, and old enough to restart on; INT64_MAX: not */
    const struct object_slot *waits_for; /* the first that is not written, NULL none */
};
void gather_workload_hash(const struct workload_slot *slot, struct workload_hash *ret);

#endif
