/* SPDX-License-Identifier: Apache-2.0
 *
 * rotate: the planned rotation of the realm's signing key, where spec.key asks for it: what the
 * engine (rotation/engine.h) sees, and carrying out the one change that it plans. What is
 * remembered of it stands in status alone; what is kept here is only how new the readings must be
 * before a change may be sent:
 *   younger than our last write, and than the moment its intent was seen in status,
 *   and taken when no write of a leader before us can still arrive.
 * Before a key is told to sign, every published object is written once more. */
#ifndef KEYTURN_CONTROLLER_ROTATE_H
#define KEYTURN_CONTROLLER_ROTATE_H

#include "controller/state.h"
#include "rotation/decide.h"
#include "rotation/engine.h"

/* How old the proof of a published object may be when a key is told to sign. */
#define ROTATE_VERIFIED_MS 60000

/* How old readings may be when a change is sent: a Keycloak that restarts, after which it may have
 * lost what it had acknowledged, is away for longer than that. */
#define ROTATE_READING_MS 5000
/* How many may come older than that, one after the other, before status says so. */
#define ROTATE_LATE_MOST 3

struct rotating { /* of one pass, in its arena */
    struct engine_view view;
    struct engine_plan plan;
    struct past_rotation history[LIMIT_HISTORY]; /* as it will be in status */
    bool lifespan_failed; /* how long tokens live is wanted, and cannot be read */
    int64_t rotates_at_s; /* when the schedule wants the next rotation; INT64_MAX: never */
    const char *last_kid; /* whose wrapper expires before that, NULL: none */
    int64_t last_expires_s;
};

/* Which keys consumers are not given any more, as status says; before anything is rendered. */
void rotate_mark(struct rotation_state *s, const struct rotation_object *object);
/* True while objects have to be written once more before a key may sign. */
bool rotate_verifies(const struct rotation_state *s, const struct object_slot *o);
/* Decides. NULL: nothing is to be rotated, or out of memory. */
struct rotating *rotate_decide(struct rotation_state *s, const struct rotation_object *object,
                               const struct rotation_view *view, const struct rotation_plan *plan);
void rotate_act(struct rotation_state *s, const struct rotation_object *object,
                const struct rotating *r);
/* A change of the realm is under way. */
bool rotate_is_writing(const struct rotation_state *s);
void rotate_release(struct rotation_state *s);

#endif
