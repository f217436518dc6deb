/* SPDX-License-Identifier: Apache-2.0
 *
 * keyset: how the set of trusted keys follows what is read of a realm. Pure; no allocation.
 *
 * The set grows on one good reading. It shrinks only on readings that agree, at least an interval
 * apart: two where the Admin API is read (and a JWKS of its own agrees each time), three where only
 * the JWKS is. A failed or empty reading changes nothing, a partial one only adds, and one that the
 * JWKS contradicts does not call a key LEAVING. A reading that
 * shares no kid with the set is another realm's, or a realm made anew: the old keys are HELD beside
 * the new ones until a person acknowledges. A kid that comes back with another key is refused until
 * acknowledged. Unknown age counts as zero. */
#ifndef KEYTURN_ROTATION_KEYSET_H
#define KEYTURN_ROTATION_KEYSET_H

#include "rotation/model.h"

struct keyset_key { /* one trusted key */
    const char *kid;
    const char *identity; /* SPKI hash */
    enum key_state state;
    unsigned misses;   /* agreeing readings without it, in a row */
    int64_t missed_ms; /* when the newer half of the last of them was taken */
};

struct keyset_seen { /* one enabled signing key of a reading */
    const char *kid;
    const char *identity;
    bool active;
};

struct keyset_reading {
    const struct keyset_seen *keys;
    size_t count;
    bool unusable; /* it says nothing about this realm's keys, or contradicts itself */
    bool partial;  /* it has a signing key that cannot be read: what it lacks may be there */
    const struct keyset_seen
        *served; /* the JWKS beside an Admin reading; NULL: it could not be read now */
    size_t served_count;
    bool by_admin; /* `keys` is from the Admin API, `served` must agree before anything leaves */
    int64_t from_ms, until_ms; /* when the older and the newer of the two were taken */
    int64_t interval_ms;
    bool acknowledged; /* a person accepts this reading as it is */
};

struct keyset_entry {
    int known; /* index into the known keys whose material stays, or -1 */
    int seen;  /* index into the reading's keys, or -1 */
    enum key_state state;
    unsigned misses;
    int64_t missed_ms;
};

struct keyset_result {
    struct keyset_entry keys[LIMIT_KEYS];
    size_t count;
    bool grew, shrank;
    bool replaced;   /* some keys are held */
    bool disagrees;  /* Admin API and JWKS name different keys */
    size_t overflow; /* keys that found no room: none was added then, and the caller says so */
    int reused;      /* index into the reading of a kid that came with another key, or -1 */
};

/* What is trusted after this reading. known may be empty (first reading). */
void keyset_follow(const struct keyset_key *known, size_t known_count,
                   const struct keyset_reading *reading, struct keyset_result *ret);

#endif
