/* SPDX-License-Identifier: Apache-2.0
 *
 * rotate_report: a rotation as people see it: phase, conditions, status, and one Event for each
 * transition. */
#ifndef KEYTURN_CONTROLLER_ROTATE_REPORT_H
#define KEYTURN_CONTROLLER_ROTATE_REPORT_H

#include "controller/rotate.h"

/* Phase and conditions of the plan, with what the rotation adds. */
void rotate_merge(const struct rotating *r, struct rotation_plan *plan);
/* The status that the rotation owns: keys' lifecycles, rotation, change, operation, what comes
 * next, history. keys has room for LIMIT_KEYS and ret->keys_count of them are filled. r NULL: what
 * was said before stays, as far as spec.key is still there. */
void rotate_fill(struct rotating *r, const struct rotation_object *object, struct key_status *keys,
                 struct rotation_status *ret);
/* Something that decides is not in status yet: it is written at once. */
bool rotate_is_news(const struct rotating *r, const struct rotation_status *said);
void rotate_say(struct rotation_state *s, const struct rotation_object *object,
                const struct rotating *r, const struct rotation_status *next);

#endif
