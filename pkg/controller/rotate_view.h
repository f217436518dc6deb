/* SPDX-License-Identifier: Apache-2.0
 *
 * rotate_view: gathers what the engine sees, but for how new the readings are (rotate.c). Texts
 * live in the pass arena, the object or the readings. Internal to rotate. */
#ifndef KEYTURN_CONTROLLER_ROTATE_VIEW_H
#define KEYTURN_CONTROLLER_ROTATE_VIEW_H

#include "controller/state.h"
#include "rotation/decide.h"
#include "rotation/engine.h"

/* again_s is made earlier where a proof by delay is due. -1 out of memory. */
int rotate_view(struct rotation_state *s, const struct rotation_object *object,
                const struct rotation_view *view, const struct rotation_plan *plan,
                struct engine_view *ret, int64_t *again_s);

#endif
