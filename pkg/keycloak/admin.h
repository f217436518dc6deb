/* SPDX-License-Identifier: Apache-2.0
 *
 * admin: one poll of the Admin API: a token where there is none (credentials are read for it),
 * /keys, and the components when the keys changed. Ends in feed_good or feed_bad. Internal to
 * keycloak. Sources: Keycloak Admin REST API; RFC 6749 4.4. */
#ifndef KEYTURN_KEYCLOAK_ADMIN_H
#define KEYTURN_KEYCLOAK_ADMIN_H

#include "keycloak/feed.h"

void admin_poll(struct feed *f);
/* Ends what is under way but f->call, wipes the token. */
void admin_release(struct feed *f);

#endif
