/* SPDX-License-Identifier: Apache-2.0
 *
 * telemetry: the metrics of the operator, by their names. docs: README, "Metrics". */
#ifndef KEYTURN_CONTROLLER_TELEMETRY_H
#define KEYTURN_CONTROLLER_TELEMETRY_H

#include "controller/controller.h"
#include "controller/state.h"

void telemetry_pass(struct controller_telemetry *t, const char *result, double seconds);
/* Gauges of the whole process, at a scrape. */
struct telemetry_process {
    bool leading;
    size_t queue_depth, rotations, sources;
    int64_t loop_lag_ms;
};
void telemetry_process(struct controller_telemetry *t, const struct telemetry_process *p);
/* Gauges of one KeyRotation, at a scrape. */
void telemetry_rotation(struct controller_telemetry *t, const struct rotation_state *s,
                        const struct rotation_object *object, int64_t now_ms);
/* Forgets the gauges of all KeyRotations: those that are still there are set anew. */
void telemetry_forget_rotations(struct controller_telemetry *t);
/* Forgets requests to hosts that no source asks any more: whoever writes KeyRotations chooses them.
 */
void telemetry_forget_hosts(struct controller_telemetry *t, const struct sources *all);
void telemetry_render(const struct controller_telemetry *t, struct buf *out);

#endif
