/* SPDX-License-Identifier: Apache-2.0
 *
 * internal: what the rooms of the controller may ask of the controller itself. */
#ifndef KEYTURN_CONTROLLER_INTERNAL_H
#define KEYTURN_CONTROLLER_INTERNAL_H

#include "controller/controller.h"
#include "controller/fences.h"
#include "controller/state.h"
#include "controller/turns.h"

struct event_line;

struct kube *controller_kube(struct controller *c);
struct sources *controller_sources(struct controller *c);
struct world *controller_world(struct controller *c);
struct arena *controller_pass_arena(struct controller *c); /* reset before each pass */
const struct controller_options *controller_options(const struct controller *c);
int64_t controller_now_ms(const struct controller *c);
int64_t controller_resync_ms(const struct controller *c);
int64_t controller_now_s(const struct controller *c); /* wall clock of this pass */
/* A pass for this KeyRotation in delay_ms, or earlier when one is due earlier. */
void controller_due(struct controller *c, const char *key, int64_t delay_ms);
struct turns *controller_turns(struct controller *c);
/* From then on no write of a leader before us can arrive any more. */
int64_t controller_alone_ms(const struct controller *c);
/* True when a write with this deadline may be sent now: we lead, with time to spare. */
bool controller_may_write(const struct controller *c, int timeout_ms);
const struct fences *controller_fences(const struct controller *c);
uint32_t controller_random(struct controller *c);
struct event_line *controller_event_line(struct controller *c);
struct map *controller_places(struct controller *c); /* for neighbours.h */
struct map *controller_zones(struct controller *c);  /* for zones.h */
/* Every state: size_t it = 0. */
struct rotation_state *controller_next_state(struct controller *c, size_t *it);

/* Deadline of every write: shorter than what is left of a Lease that was just renewed. */
#define WRITE_TIMEOUT_MS 5000

#endif
