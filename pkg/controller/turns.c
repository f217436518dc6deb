/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/turns.h"

#include "controller/internal.h"

#define WRITES_MAX 32    /* twice the connections, so that none of them waits for us */
#define STATUSES_MORE 16 /* beyond that */
#define WRITES_LOW 20    /* then others get their turn */
#define OF_ONE_MAX 12    /* of the 16 connections */
#define LOOK_MS 5

bool turns_room(struct rotation_state *s, enum turn turn)
{
    struct turns *t = controller_turns(s->controller);
    bool room = turn == TURN_STATUS ? t->writes < WRITES_MAX + STATUSES_MORE
                                    : t->writes < WRITES_MAX && s->writes < OF_ONE_MAX;
    if (room)
        return true;
    if (s->turn == 0) {
        s->turn = ++t->given;
        t->waiting++;
    }
    return false;
}

bool turns_take(struct rotation_state *s, enum turn turn)
{
    bool room = turns_room(s, turn);
    controller_turns(s->controller)->writes += room;
    s->writes += room;
    return room;
}

void turns_give_back(struct rotation_state *s)
{
    struct turns *t = controller_turns(s->controller);
    s->writes--;
    t->writes--;
    if (t->writes <= WRITES_LOW && t->waiting > 0 && !t->stopped)
        loop_timer_in(t->loop, &t->timer, 0);
}

/* The one that has waited longest. */
static struct rotation_state *first_in_line(struct controller *c)
{
    size_t it = 0;
    struct rotation_state *s, *first = NULL;
    while ((s = controller_next_state(c, &it)) != NULL)
        if (s->turn != 0 && (first == NULL || s->turn < first->turn))
            first = s;
    return first;
}

/* There is room again: for a few, since most have more than one write to send. */
static void give(void *ctx)
{
    struct controller *c = ctx;
    struct turns *t = controller_turns(c);
    if (t->writes > WRITES_LOW)
        return;
    for (unsigned left = (WRITES_MAX - t->writes) / 4; left > 0; left--) {
        struct rotation_state *s = first_in_line(c);
        if (s == NULL) {
            t->waiting = 0;
            return;
        }
        s->turn = 0;
        t->waiting--;
        controller_due(c, s->key, 0);
    }
    /* For the case that those have nothing to send any more. */
    loop_timer_in(t->loop, &t->timer, LOOK_MS);
}

void turns_init(struct turns *t, struct controller *c, struct loop *loop)
{
    *t = (struct turns){.loop = loop, .timer = {.fire = give, .ctx = c}};
}

void turns_stop(struct turns *t)
{
    t->stopped = true;
    if (t->loop != NULL)
        loop_timer_cancel(t->loop, &t->timer);
}
