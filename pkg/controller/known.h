/* SPDX-License-Identifier: Apache-2.0
 *
 * known: the trust set of one KeyRotation as it is remembered: from readings while the process
 * lives, from the record (a ConfigMap of ours) after a restart. A key of the record counts only
 * when the status of the same object names its kid and SPKI hash: who may write ConfigMaps cannot
 * plant a key. */
#ifndef KEYTURN_CONTROLLER_KNOWN_H
#define KEYTURN_CONTROLLER_KNOWN_H

#include "controller/state.h"

/* Takes over what an earlier process left; record_text may be NULL. Sets loaded. */
void known_restore(struct known *known, const struct rotation_status *status,
                   const char *record_text);
/* Folds in readings that are newer than those seen. acknowledge: the annotation's value or NULL.
 * True when what is trusted changed. by_admin: the rotation has an Admin API; admin and jwks may be
 * NULL. */
struct known_input {
    bool by_admin;
    bool blocked; /* the issuer is another one: a JWKS alone is not believed then */
    struct reading *admin, *jwks;
    bool jwks_ok; /* the last poll of the JWKS was good */
    int64_t interval_ms;
    const char *acknowledge;
};
bool known_follow(struct known *known, const struct known_input *input);
/* Status names each key, so that a record of them will be believed. */
bool known_is_named(const struct known *known, const struct rotation_status *status);
/* And names none that has left the realm and is not among them any more: a record without it would
 * look lost to who reads the two. */
bool known_has_named(const struct known *known, const struct rotation_status *status);
/* record.json of the present set. */
void known_encode(const struct known *known, bool certificates, struct buf *out);
/* Keys that consumers are given: all but those withheld. */
size_t known_given(const struct known *known);
void known_release(struct known *known);

#endif
