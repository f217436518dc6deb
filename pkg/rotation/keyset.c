/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/keyset.h"

#include <string.h>
#include "base/str.h"

/* Polls are jittered by a tenth: a reading this much early is still an interval away. */
#define INTERVAL_TOLERANCE_PERCENT 80

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
    int64_t apart = r->interval_ms * INTERVAL_TOLERANCE_PERCENT / 100;
    entry->state = KEY_LEAVING;
    entry->misses = key->misses;
    entry->missed_ms = key->missed_ms;
    if (!agrees)
        return true;
    if (key->misses == 0 || r->taken_ms - key->missed_ms >= apart) {
        entry->misses++;
        entry->missed_ms = r->taken_ms;
    }
    return entry->misses < needed;
}

static void follow_known(const struct keyset_key *known, size_t known_count,
                         const struct keyset_reading *r, bool disjoint, struct keyset_result *ret)
{
    bool agrees = served_agrees(r);
    for (size_t i = 0; i < known_count; i++) {
        struct keyset_entry entry = {.known = (int)i, .seen = -1};
        if (find_seen(r->keys, r->count, known[i].kid) >= 0)
            continue; /* put from the reading */
        if ((disjoint || known[i].state == KEY_HELD) && !r->acknowledged) {
            entry.state = KEY_HELD;
            ret->replaced = true;
            put(ret, entry);
        } else if (r->acknowledged && (disjoint || known[i].state == KEY_HELD)) {
            ret->shrank = true;
        } else if (missed(&known[i], r, agrees, &entry)) {
            put(ret, entry);
        } else {
            ret->shrank = true;
        }
    }
}

void keyset_follow(const struct keyset_key *known, size_t known_count,
                   const struct keyset_reading *reading, struct keyset_result *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->reused = -1;
    if (!reading->complete || reading->count == 0) {
        keep_all(known, known_count, ret);
        return;
    }
    ret->disagrees = reading->by_admin && reading->served != NULL && !served_agrees(reading);
    ret->reused = find_reused(known, known_count, reading);
    if (ret->reused >= 0 && !reading->acknowledged) {
        keep_all(known, known_count, ret);
        return;
    }
    bool disjoint = known_count > 0 && !shares_a_kid(known, known_count, reading);
    for (size_t i = 0; i < reading->count; i++) {
        int at = find_known(known, known_count, reading->keys[i].kid);
        put(ret, (struct keyset_entry){at, (int)i,
                                       reading->keys[i].active ? KEY_ACTIVE : KEY_PASSIVE, 0, 0});
        ret->grew = ret->grew || at < 0;
    }
    follow_known(known, known_count, reading, disjoint, ret);
    if (ret->overflow > 0) { /* no room: rather the old set whole than a new one in part */
        size_t overflow = ret->overflow;
        memset(ret, 0, sizeof(*ret));
        ret->reused = -1;
        keep_all(known, known_count, ret);
        ret->overflow = overflow;
    }
}
