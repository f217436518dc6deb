/* SPDX-License-Identifier: Apache-2.0
 *
 * turns: writes under way are bounded, so that each is answered well within its deadline and few
 * bodies are held at a time. A KeyRotation that has more to write than there is room for gets a
 * pass when there is, in the order in which they came. No KeyRotation gets all connections: one
 * whose writes hang delays no other. Status has some room of its own, so that it tells of writes
 * while they go on. */
#ifndef KEYTURN_CONTROLLER_TURNS_H
#define KEYTURN_CONTROLLER_TURNS_H

#include <stdbool.h>
#include "io/loop.h"

struct controller;
struct rotation_state;

enum turn { TURN_WRITE, TURN_STATUS };

struct turns {
    struct loop *loop;
    struct loop_timer timer;
    unsigned writes; /* under way */
    uint64_t given;  /* places in line so far */
    size_t waiting;  /* KeyRotations in line, or more than there are */
    bool stopped;
};

void turns_init(struct turns *t, struct controller *c, struct loop *loop);
void turns_stop(struct turns *t); /* nobody is called any more */
/* Whether a write could be sent now; asked before anything is encoded. False: a pass of this
 * KeyRotation comes when there is room. */
bool turns_room(struct rotation_state *s, enum turn turn);
/* The same, and takes it. Each that was taken is given back, when its answer came or it was not
 * sent after all. */
bool turns_take(struct rotation_state *s, enum turn turn);
void turns_give_back(struct rotation_state *s);

#endif
