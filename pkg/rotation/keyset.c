/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/keyset.h"

#include <string.h>
#include "base/str.h"

static int find_seen(const struct keyset_seen *keys, size_t count, const char *kid)
{
    for (size_t i = 0; i < count; i++)
        if (text_eq(keys[i].kid, kid))
            return (int)i;
    return -1;
}

static int find_known(const struct keyset_key *keys, size_t count, const char *kid)
{
    for (size_t i = 0; i < count; i++)
        if (text_eq(keys[i].kid, kid))
            return (int)i;
    return -1;
}

static void put(struct keyset_result *ret, struct keyset_entry entry)
{
    if (ret->count == LIMIT_KEYS) {
        ret->overflow++;
        return;
    }
    ret->keys[ret->count++] = entry;
}

/* The JWKS must serve exactly the keys that the Admin API calls enabled. */
static bool served_agrees(const struct keyset_reading *r)
{
    if (!r->by_admin)
        return true;
    if (r->served == NULL || r->served_count != r->count)
        return false;
    for (size_t i = 0; i < r->count; i++) {
        int at = find_seen(r->served, r->served_count, r->keys[i].kid);
        if (at < 0 || !text_eq(r->served[at].identity, r->keys[i].identity))
            return false;
    }
    return true;
}

static bool shares_a_kid(const struct keyset_key *known, size_t known_count,
                         const struct keyset_reading *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (find_known(known, known_count, r->keys[i].kid) >= 0)
            return true;
    return false;
}

static int find_reused(const struct keyset_key *known, size_t known_count,
                       const struct keyset_reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        int at = find_known(known, known_count, r->keys[i].kid);
        if (at >= 0 && !text_eq(known[at].identity, r->keys[i].identity))
            return (int)i;
    }
    return -1;
}

static void keep_all(const struct keyset_key *known, size_t count, struct keyset_result *ret)
{
    for (size_t i = 0; i < count; i++) {
        put(ret,
            (struct keyset_entry){(int)i, -1, known[i].state, known[i].misses, known[i].missed_ms});
        ret->replaced = ret->replaced || known[i].state == KEY_HELD;
    }
}

/* A trusted key that the reading lacks: one more miss, or out. Returns false when it is gone. */
static bool missed(const struct keyset_key *key, const struct keyset_reading *r, bool agrees,
                   struct keyset_entry *entry)
{
    unsigned needed = r->by_admin ? 2 : 3;
    entry->misses = key->misses;
    entry->missed_ms = key->missed_ms;
    if (!agrees)
        return true;
    entry->state = KEY_LEAVING;
    if (key->misses == 0 || r->from_ms - key->missed_ms >= r->interval_ms) {
        entry->misses++;
        entry->missed_ms = r->until_ms;
    }
    return entry->misses < needed;
}

/* What becomes of the trusted keys that the reading lacks. */
static void follow_missing(const struct keyset_key *known, size_t known_count,
                           const struct keyset_reading *r, struct keyset_result *ret)
{
    bool agrees = served_agrees(r);
    bool disjoint = known_count > 0 && !shares_a_kid(known, known_count, r);
    for (size_t i = 0; i < known_count; i++) {
        struct keyset_entry entry = {(int)i, -1, known[i].state, known[i].misses,
                                     known[i].missed_ms};
        bool held = disjoint || known[i].state == KEY_HELD;
        if (find_seen(r->keys, r->count, known[i].kid) >= 0)
            continue; /* put from the reading */
        if (r->partial) {
            put(ret, entry);
        } else if (held && !r->acknowledged) {
            entry.state = KEY_HELD;
            ret->replaced = true;
            put(ret, entry);
        } else if (held) {
            ret->shrank = true;
        } else if (missed(&known[i], r, agrees, &entry)) {
            put(ret, entry);
        } else {
            ret->shrank = true;
        }
    }
}

static void follow_seen(const struct keyset_key *known, size_t known_count,
                        const struct keyset_reading *r, bool add, struct keyset_result *ret)
{
    for (size_t i = 0; i < r->count; i++) {
        int at = find_known(known, known_count, r->keys[i].kid);
        if (at < 0 && !add)
            continue;
        put(ret,
            (struct keyset_entry){at, (int)i, r->keys[i].active ? KEY_ACTIVE : KEY_PASSIVE, 0, 0});
        ret->grew = ret->grew || at < 0;
    }
}

void keyset_follow(const struct keyset_key *known, size_t known_count,
                   const struct keyset_reading *reading, struct keyset_result *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->reused = -1;
    if (reading->unusable || reading->count == 0) {
        keep_all(known, known_count, ret);
        return;
    }
    ret->disagrees = reading->by_admin && reading->served != NULL && !served_agrees(reading);
    ret->reused = find_reused(known, known_count, reading);
    if (ret->reused >= 0 && !reading->acknowledged) {
        keep_all(known, known_count, ret);
        return;
    }
    follow_seen(known, known_count, reading, true, ret);
    follow_missing(known, known_count, reading, ret);
    if (ret->overflow > 0) {
        /* No room: rather none of the new keys than some. The old ones may leave, which makes room.
         */
        size_t overflow = ret->overflow;
        int reused = ret->reused;
        *ret = (struct keyset_result){.reused = reused, .disagrees = ret->disagrees};
        follow_seen(known, known_count, reading, false, ret);
        follow_missing(known, known_count, reading, ret);
        ret->overflow = overflow;
    }
}
