/* SPDX-License-Identifier: Apache-2.0
 *
 * issuer: which sources a KeyRotation listens to, and the CA bundle they are checked with. */
#ifndef KEYTURN_CONTROLLER_ISSUER_H
#define KEYTURN_CONTROLLER_ISSUER_H

#include "controller/state.h"
#include "rotation/decide.h"

/* Subscribes to what the spec names, reads the CA bundle when due, polls at once on a new value of
 * the refresh annotation. Safe to call at each pass. */
void issuer_follow(struct rotation_state *s, const struct rotation_object *object);
void issuer_release(struct rotation_state *s);
/* The value of the refresh annotation that has been served: every source was polled after it came.
 */
const char *issuer_refreshed(const struct rotation_state *s, const struct rotation_object *object);

/* The issuer that is published and shown: spec's, else a discovered one that proves something; NULL
 * unknown. */
const char *issuer_url(const struct rotation_state *s, const struct rotation_object *object);
enum issuer_finding issuer_compare(const struct rotation_state *s,
                                   const struct rotation_object *object, const char **ret_found);
/* The address keys are fetched from; NULL while it is not known. Lives in the pass arena. */
const char *issuer_jwks_url(const struct rotation_state *s, const struct rotation_object *object,
                            struct arena *arena);
/* Finished first polls: sources that have not ended one hold back the first decision about failure.
 */
void issuer_view(const struct rotation_state *s, const struct rotation_object *object,
                 struct rotation_view *view);

#endif
