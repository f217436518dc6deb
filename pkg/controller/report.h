/* SPDX-License-Identifier: Apache-2.0
 *
 * report: what a pass saw and decided, told to people: status (written only when it differs, and at
 * most once a second while things move), one Event for each transition, metrics. rotating: NULL
 * where there is no rotation. */
#ifndef KEYTURN_CONTROLLER_REPORT_H
#define KEYTURN_CONTROLLER_REPORT_H

#include "controller/rotate.h"

void report(struct rotation_state *s, const struct rotation_object *object,
            const struct rotation_view *view, const struct rotation_plan *plan,
            struct rotating *rotating);
/* Status as seen holds our last write of it. */
bool report_is_recorded(const struct rotation_state *s, const struct rotation_object *object);
/* Of a KeyRotation that is being deleted: what stands in the way. */
void report_deletion(struct rotation_state *s, const struct rotation_object *object);

#endif
