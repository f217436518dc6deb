/* SPDX-License-Identifier: Apache-2.0
 *
 * timeline: a rehearsal played to its end, step by step: time goes on to what comes next, and
 * people say what is waited for as soon as it is. It ends with the rotation that is under way, or
 * with the next one, and before one after that. Behind `keyturn plan` and `keyturn simulate`. */
#ifndef KEYTURN_CMD_TIMELINE_H
#define KEYTURN_CMD_TIMELINE_H

#include "base/buf.h"
#include "rotation/rehearsal.h"

struct timeline_step { /* texts are borrowed until the next one */
    int64_t at_s, after_s;
    const char *phase;
    const char *check; /* that decided, see keyturn plan --graph; NULL: a person acts */
    const char *message;
    bool is_new;                 /* the message was not said before */
    const struct change *change; /* that is sent to Keycloak; NULL none */
    const char *key;             /* that it is about */
    const char *waits_for;       /* NULL: nothing */
    const char *next_step;       /* as in status.nextTransition; NULL: a person acts */
    int64_t next_at_s;           /* earliest; INT64_MAX unknown */
    const char *command;         /* the line for a person; NULL none */
};

struct timeline {
    struct rehearsal r;      /* filled in by the caller */
    const char *asks;        /* who asks for rotations, */
    const char *approves;    /* and who approves: somebody else, for twoPerson */
    bool commands;           /* the lines for people are printed */
    bool rolls_back;         /* an hour after the promotion somebody rolls it back */
    const struct zone *zone; /* of the dates printed */
    void (*on_step)(void *ctx, const struct timeline_step *step);
    void (*on_wait)(void *ctx, int64_t seconds); /* before time goes on; NULL: at once */
    void *ctx;
    /* its own: {0} to start */
    int64_t start_s;
    char said[ENGINE_TEXT_MAX];
    const char *refused; /* what was commanded last, and why */
    unsigned ended;      /* rotations */
    uint64_t played;     /* number of the last of them */
    bool asked;
};

/* True: everything that comes by itself, or by what people say, has come. False: it is stuck, or
 * has no end within sense. */
bool timeline_play(struct timeline *t);
/* When the schedule begins the next rotation, or has begun it; 0: never. */
int64_t timeline_next_rotation_s(const struct timeline *t);

/* RFC 3339, with the offset of the zone. */
void timeline_date(const struct zone *zone, int64_t at_s, struct buf *out);
/* The head of the columns, and the lines of one step. */
void timeline_print_head(void);
void timeline_print(const struct timeline *t, const struct timeline_step *step);
/* The line at the end: what signs, and how often Keycloak was written to. */
void timeline_print_end(struct timeline *t);

#endif
