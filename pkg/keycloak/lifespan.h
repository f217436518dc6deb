/* SPDX-License-Identifier: Apache-2.0
 *
 * lifespan: the part of a poll that reads how long signatures matter: the realm's settings, then
 * all clients, page by page.
 *
 * What counts. Access and ID tokens, and SAML assertions, for their lifespan. The SSO session,
 * because an ID token stays of use as id_token_hint of a logout until its session ends, expired or
 * not, and because a token lifespan of -1 is the session's. Not refresh and offline tokens, cookies
 * and action tokens: Keycloak signs those with HS512. That Keycloak cuts a token's life at the end
 * of its session shortens nothing here: offline sessions have no end by default. Clients that sign
 * with another algorithm count too: too long is safe. */
#ifndef KEYTURN_KEYCLOAK_LIFESPAN_H
#define KEYTURN_KEYCLOAK_LIFESPAN_H

#include "keycloak/source.h"

struct feed;

struct lifespan {
    struct source_lifespan result;
    struct realm_lifespans found; /* so far */
    int64_t due_ms;
    int64_t begun_ms;
    size_t first, page; /* of the clients asked for */
};

bool lifespan_due(const struct feed *f);
void lifespan_read(struct feed *f); /* goes on with the poll when it is over */
/* The longest and the setting that it comes from. */
void lifespan_longest(const struct realm_lifespans *found, struct source_lifespan *ret);

#endif
