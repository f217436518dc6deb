/* SPDX-License-Identifier: Apache-2.0
 *
 * policy: what a spec asks of the engine, for the operator and for `keyturn plan` alike. Pure. */
#ifndef KEYTURN_ROTATION_POLICY_H
#define KEYTURN_ROTATION_POLICY_H

#include "rotation/model.h"

/* What every reader of a priority can hold. */
#define POLICY_PRIORITY_MAX (INT32_MAX - 1LL)
/* Of the clocks of those who verify: added to the longest lifespan where overlap.retire is auto. */
#define POLICY_SKEW_S 60

/* Why a window that cron_never() is true of is none. */
#define POLICY_WINDOW_NEVER                                                          \
    "spec.schedule.window.cron: no year has such a day, so the window never opens; " \
    "write another day"

/* overlap.retire: auto gives a retire_s of -1, which the caller fills in where it knows better. */
struct key_policy policy_of(const struct rotation_spec *spec);

#endif
