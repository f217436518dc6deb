/* SPDX-License-Identifier: Apache-2.0
 *
 * reading: making readings (source.h) and their digests. A digest covers what an answer says, not
 * how: neither the order of keys nor that of JSON members is in it. */
#ifndef KEYTURN_KEYCLOAK_READING_H
#define KEYTURN_KEYCLOAK_READING_H

#include "keycloak/source.h"

struct reading *reading_new(int64_t taken_ms); /* empty; NULL out of memory */
void reading_free(struct reading *r);          /* NULL is fine */
/* Of keys; with_components: what comes from the components too. -1 out of memory. */
int reading_keys_digest(const struct realm_keys *keys, bool with_components,
                        char out[JOSE_HASH_TEXT]);
void reading_discovery_digest(const struct discovery *discovery, char out[JOSE_HASH_TEXT]);
/* Copies the provider of each component that `from` knows; true when none is missing afterwards. */
bool reading_copy_providers(struct realm_keys *into, const struct realm_keys *from);
/* Copies the claims, not that they are known. -1 out of memory. */
int reading_copy_claims(struct realm_keys *into, const struct realm_keys *from);
/* Equal keys of `old` take the place of those in `new`: polls that bring nothing new hold no memory
 * of their own. */
void reading_share_keys(struct realm_keys *new, const struct realm_keys *old);
/* Keys that a consumer could trust: those not disabled. */
size_t reading_usable(const struct realm_keys *keys);

#endif
