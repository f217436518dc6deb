/* SPDX-License-Identifier: Apache-2.0
 *
 * rotation_bounds: lengths and counts of crds/keyrotation.yaml (maxLength, maxItems) for the two
 * halves of rotation_codec. Bytes here, characters there, so that nothing that fits here is refused
 * there. A test compares them with the file. */
#ifndef KEYTURN_CODEC_ROTATION_BOUNDS_H
#define KEYTURN_CODEC_ROTATION_BOUNDS_H

#include <stdbool.h>
#include "base/arena.h"
#include "base/limits.h"
#include "rotation/model.h"
#include <jansson.h>

#define BOUND_TEXT 1024      /* realm, kids, addresses, refreshed, message */
#define BOUND_READY_COUNT 16 /* consumersUpToDate */
#define BOUND_ALGORITHM 32
#define BOUND_COMPONENT 255 /* component, provider */
#define BOUND_SPKI 64
#define BOUND_ANNOUNCED 20 /* one text */
#define BOUND_CONSUMER_NAME 63
#define BOUND_OBJECT 264
#define BOUND_TRUST_HASH 128
#define BOUND_PODS 32
#define BOUND_REASON 128 /* the file allows 1024, the model promises 128 */
#define BOUND_ACKNOWLEDGE 128
#define BOUND_PERSON 256 /* requestedBy, approvedBy, by */
#define BOUND_NOTE 256   /* what a person gave as the reason */
#define BOUND_WORD 32    /* step, outcome, a value of an enum */
#define BOUND_COUNT_DIGITS                                                \
    15 /* digits of a rotation's number: every JSON reader keeps them all \
        */
#define BOUND_COUNT 999999999999999
#define BOUND_DURATION 20
#define BOUND_DURATION_MOST_S (4 * 9999 * 86400LL) /* what the file's pattern lets through */
#define BOUND_EVERY_LEAST_S 600
#define BOUND_REALM 255 /* spec.keycloak.realm */
#define BOUND_ROTATION_NAME 63
#define BOUND_REFRESH_LEAST_S 5
#define BOUND_REFRESH_MOST_S 3600

/* The halves of rotation_new; everything made lives in arena, whose `failed` is the caller's to
 * check. */
void rotation_status_decode(const json_t *status, struct arena *arena, struct rotation_status *ret);
/* NULL, or the sentence that says why the spec cannot be used; *ret is zero then. */
const char *rotation_spec_decode(const json_t *spec, const char *name, struct arena *arena,
                                 struct rotation_spec *ret);
/* A copy of a text member, cut to max bytes at a character; NULL when absent, empty or no string.
 */
const char *rotation_cut(const json_t *object, const char *key, size_t max, struct arena *arena);
/* Whether a text can be a kid of ours; half a kid would be another key, so none is ever cut. */
bool rotation_kid_fits(const char *kid);
/* What a person commands: annotations keyturn.dev/operation, operation-for, operation-by, reason.
 */
void rotation_operation_decode(const json_t *annotations, struct arena *arena,
                               struct operation *ret);

#endif
