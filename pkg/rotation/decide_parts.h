/* SPDX-License-Identifier: Apache-2.0
 *
 * decide_parts: what the files of rotation_decide share. Internal to decide*.c. */
#ifndef KEYTURN_ROTATION_DECIDE_PARTS_H
#define KEYTURN_ROTATION_DECIDE_PARTS_H

#include "rotation/decide.h"

void plan_due(struct rotation_plan *p, int64_t at_s); /* the earliest counts */
void decide_workload(const struct rotation_view *v, struct rotation_plan *p, size_t i);
void decide_consumer(const struct rotation_view *v, struct rotation_plan *p, size_t i);

#endif
