/* SPDX-License-Identifier: Apache-2.0
 *
 * restart: puts the trust hash on a workload's pod template, which makes its controller roll the
 * pods: once for each hash. The patch carries uid and resourceVersion, so that a late one changes
 * nothing. */
#ifndef KEYTURN_CONTROLLER_RESTART_H
#define KEYTURN_CONTROLLER_RESTART_H

#include "controller/state.h"

/* Sends the patch when it is due. Otherwise looks whether one whose answer was lost did its work.
 */
void restart_follow(struct workload_slot *w, bool due);

#endif
