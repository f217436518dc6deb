/* SPDX-License-Identifier: Apache-2.0
 *
 * realm_export: what a file that Keycloak exported (kc.sh export, or the admin console's partial
 * export: a RealmRepresentation, or a list of them) says of a realm's signature keys and lifespans.
 * Private keys in it are wiped with the tree (json_setup). Source: Keycloak's RealmRepresentation,
 * ComponentExportRepresentation; the defaults of its key providers. */
#ifndef KEYTURN_CODEC_REALM_EXPORT_H
#define KEYTURN_CODEC_REALM_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "codec/keycloak_codec.h"

struct realm_export_key {    /* of use for signatures, asymmetric */
    char kid[LIMIT_KID + 1]; /* where the component sets one, else "": an export does not show it */
    char name[64];           /* the component's, cut; its id where it has none */
    char id[64];
    char algorithm[16];
    int64_t priority;
    bool active, enabled;
};

struct realm_export {
    bool has_keys;                            /* an export may come without key components */
    struct realm_export_key keys[LIMIT_KEYS]; /* by id, as Keycloak orders equal priorities */
    size_t count;
    size_t skipped; /* for encryption, symmetric, or of a provider that is not Keycloak's own */
    bool has_lifespans;
    struct realm_lifespans lifespans;
};

/* realm: which one is wanted. ERR_INVALID with a sentence: no JSON, another realm's. ERR_LIMIT:
 * more keys than LIMIT_KEYS. */
int realm_export_decode(struct str text, const char *realm, struct realm_export *ret,
                        struct err *err);

#endif
