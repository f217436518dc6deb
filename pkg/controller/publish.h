/* SPDX-License-Identifier: Apache-2.0
 *
 * publish: writes one object of a consumer, or the record, whole: by PUT, by POST where there is
 * none. Secrets are never read: whether one is ours is told by the API server's refusal (its type
 * cannot be changed, and the fence names itself). A ConfigMap that is not ours is looked at for its
 * owner's adopt annotation. Answers carry metadata only. */
#ifndef KEYTURN_CONTROLLER_PUBLISH_H
#define KEYTURN_CONTROLLER_PUBLISH_H

#include "controller/state.h"

void publish_object(struct object_slot *o, const struct rendering *r);
/* Writes the record when it differs from what the world shows. */
void publish_record(struct rotation_state *s);
/* The record holds the present set, or will not do so whoever waits for it. */
bool publish_recorded(struct rotation_state *s);

#endif
