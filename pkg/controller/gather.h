/* SPDX-License-Identifier: Apache-2.0
 *
 * gather: everything rotation_decide may look at, put into one view. Reads memory and watches, asks
 * nobody, changes nothing in the world. The view lives in the pass arena. */
#ifndef KEYTURN_CONTROLLER_GATHER_H
#define KEYTURN_CONTROLLER_GATHER_H

#include "controller/state.h"
#include "rotation/decide.h"

/* Makes the view and a plan with room for it; -1 out of memory. */
int gather(struct rotation_state *s, const struct rotation_object *object,
           struct rotation_view *view, struct rotation_plan *plan);

/* Trust hash that a workload must carry: of all objects, of any KeyRotation in the namespace, whose
 * consumers name it. *ret_ready_ms: when all of them are old enough to restart on, INT64_MAX: some
 * are not written. */
void gather_workload_hash(struct rotation_state *s, enum workload_kind kind, const char *name,
                          char hash[TRUST_HASH_TEXT], int64_t *ret_ready_ms);

#endif
