/* SPDX-License-Identifier: Apache-2.0
 *
 * admin: one poll of the Admin API, in this order: a token where there is none or a fresh one is
 * wanted (credentials are read for it); a write that waits, and a fresh token after a promotion;
 * lifespans when they are due and nothing was written; /keys; the components when the keys changed
 * or something was written. Ends in feed_good or feed_bad. Internal to keycloak. Sources: Keycloak
 * Admin REST API; RFC 6749 4.4. */
#ifndef KEYTURN_KEYCLOAK_ADMIN_H
#define KEYTURN_KEYCLOAK_ADMIN_H

#include "keycloak/feed.h"

struct admin *admin_new(void); /* NULL out of memory */
void admin_poll(struct feed *f);
/* Ends what is under way but f->call, wipes the token. NULL is fine. */
void admin_release(struct feed *f);

/* For the parts of a poll. */
struct admin_request {
    const char *method;
    const char *path; /* behind /admin/realms/R */
    struct str body;  /* JSON, empty for none */
    int timeout_ms;   /* 0: FEED_TIMEOUT_MS */
};
/* Sends it with the token. -1: out of memory. */
int admin_ask(struct feed *f, const struct admin_request *asked,
              void (*on_done)(void *ctx, const struct http_response *response));
/* The next step of the poll. */
void admin_go_on(struct feed *f);
/* A fresh token, then the next step. */
void admin_mint(struct feed *f);
/* The token lacks a role: it serves this poll, the next one mints. */
void admin_token_is_old(struct feed *f);

#endif
