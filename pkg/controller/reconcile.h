/* SPDX-License-Identifier: Apache-2.0
 *
 * reconcile: one pass over one KeyRotation: follows its sources, gathers a view, has a plan made,
 * acts on it, reports, and asks for the next pass. Nothing waits: answers make the next pass due.
 */
#ifndef KEYTURN_CONTROLLER_RECONCILE_H
#define KEYTURN_CONTROLLER_RECONCILE_H

#include "controller/state.h"

/* How it went, for the metric of passes: done, deleting or error. */
const char *reconcile_rotation(struct rotation_state *s, const struct rotation_object *object);

#endif
