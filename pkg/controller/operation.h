/* SPDX-License-Identifier: Apache-2.0
 *
 * operation: takes a person's command off a KeyRotation once it has been taken: the annotations
 * keyturn.dev/operation, operation-for, operation-by and reason, all at once, as the fence wants
 * it. */
#ifndef KEYTURN_CONTROLLER_OPERATION_H
#define KEYTURN_CONTROLLER_OPERATION_H

#include "controller/state.h"

/* Asks for it, unless that is under way or was answered just now; a pass follows when it has to be
 * tried again. Call it only with an object whose status, as seen, has the command: the request
 * holds for this version of the object alone, so that a command changed meanwhile is never lost. */
void operation_clear(struct rotation_state *s, const struct rotation_object *object);

#endif
