/* SPDX-License-Identifier: Apache-2.0
 *
 * events: Events about a KeyRotation, each said once. The name is made of the object's uid and what
 * is said (`about`), so that a restart, another leader or a repeated pass meets its own Event and
 * not a second. */
#ifndef KEYTURN_CONTROLLER_EVENTS_H
#define KEYTURN_CONTROLLER_EVENTS_H

#include "controller/state.h"

/* Those that wait to be sent, of all KeyRotations; {0} is empty. */
struct event_line {
    struct event_call *first, *last;
    unsigned sending;
};

struct event_text {
    bool warning;
    const char *reason; /* CamelCase, also the action */
    const char *about;  /* what makes it this Event and no other, beside the reason */
    const char *note;
};

/* Sends it unless this process already did, and again until it is there. True once the API server
 * has it. */
bool event_say(struct rotation_state *s, const struct rotation_object *object,
               const struct event_text *text);
/* A request is under way. */
bool events_sending(const struct rotation_state *s);
/* Sends again what is due to be; called at each pass. */
void events_follow(struct rotation_state *s);
/* Cancels what is under way and forgets everything. */
void events_release(struct rotation_state *s);

#endif
