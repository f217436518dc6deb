/* SPDX-License-Identifier: Apache-2.0
 *
 * component: what the key components that we make are called. The id is a UUIDv5 (RFC 9562 5.5) of
 * the KeyRotation's uid and the rotation's number, so that a retry meets its own component; the
 * name is "keyturn-<first 8 of uid>-<number>", which is the claim to the realm that others read.
 * Pure. */
#ifndef KEYTURN_KEYCLOAK_COMPONENT_H
#define KEYTURN_KEYCLOAK_COMPONENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "codec/keycloak_codec.h"

#define COMPONENT_PREFIX REALM_CLAIM_PREFIX
#define COMPONENT_ID_TEXT 37

/* uid: a Kubernetes object's, a UUID; another text is hashed as it stands. */
void component_id(const char *uid, uint64_t number, char out[COMPONENT_ID_TEXT]);
void component_name(const char *uid, uint64_t number, char *out, size_t size);
/* False: no name of a KeyRotation, though it may begin like one ("keyturn-legacy", number 0);
 * nothing is returned then. ret_mine: it is of this uid. */
bool component_parse(const char *name, const char *uid, bool *ret_mine, uint64_t *ret_number);

/* "rsa-generated", ...; NULL: no algorithm that Keycloak makes keys for. */
const char *component_provider(const char *algorithm);

#endif
