/* SPDX-License-Identifier: Apache-2.0
 *
 * write: the one write to a key component that waits or is under way: its request, what became of
 * it. Internal to keycloak. Sources: Keycloak Admin REST API, ComponentRepresentation. */
#ifndef KEYTURN_KEYCLOAK_WRITE_H
#define KEYTURN_KEYCLOAK_WRITE_H

#include "keycloak/source.h"

struct feed;

enum write_state {
    WRITE_NONE,
    WRITE_WAITING, /* for a poll to begin */
    WRITE_JOINED,  /* a poll; to be sent when it has a token */
    WRITE_SENT,
};

struct write {
    enum write_state state;
    struct source_write what;   /* texts owned */
    const struct source *owner; /* NULL: it has left, so it cannot be asked any more */
    bool rode;                  /* the poll under way had a write */
    char taken[64]; /* id that a CREATE met: to be looked for among the realm's components */
    struct source_written written;
};

int write_submit(struct feed *f, const struct source *owner, const struct source_write *write);
/* What waits belongs to the poll that begins. */
void write_join(struct feed *f);
bool write_due(const struct feed *f); /* joined and not sent */
/* Asks whether it is allowed, and sends it; goes on with the poll when it is over. */
void write_send(struct feed *f);
/* The poll ends without a token: what joined it was not sent. */
void write_unsent(struct feed *f, const struct err *why);
/* The components have been read: a CREATE that met a taken id shows whose it is. */
void write_look(struct feed *f, const struct realm_keys *keys);
void write_owner_left(struct feed *f, const struct source *owner);
void write_release(struct feed *f);

#endif
