/* SPDX-License-Identifier: Apache-2.0
 *
 * lifecycle: what happens to published objects when a consumer or the KeyRotation goes. With
 * deletionPolicy Retain (the default) nothing: an Event says what stays. With Delete a finalizer is
 * kept on the KeyRotation while it lives, what a consumer left is deleted, and everything is before
 * the finalizer goes. */
#ifndef KEYTURN_CONTROLLER_LIFECYCLE_H
#define KEYTURN_CONTROLLER_LIFECYCLE_H

#include "controller/state.h"

/* Keeps the finalizer in step with the policy, deletes what consumers left. Deleted is only what
 * this KeyRotation has published (status gives it a trust hash) and no other publishes; what turns
 * out to be somebody else's stays, and an Event says so. */
void lifecycle_follow(struct rotation_state *s, const struct rotation_object *object);
/* A KeyRotation that is being deleted. */
void lifecycle_end(struct rotation_state *s, const struct rotation_object *object);
/* A KeyRotation that is gone: says what stays. */
void lifecycle_gone(struct rotation_state *s, const struct rotation_object *last);
/* True while an object of this kind and name is still to be deleted (status keeps naming it). */
bool lifecycle_is_leaving(const struct rotation_state *s, const struct rotation_object *object,
                          const struct consumer_status *consumer);
/* Why something cannot be deleted; NULL: nothing stands in the way. */
const char *lifecycle_failure(const struct rotation_state *s);

#endif
