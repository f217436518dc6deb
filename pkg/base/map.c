/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 16

/* Free: key NULL and not removed. Removed entries stay as marks, so that probing goes on over them
 * and removing while iterating moves nothing. */
struct map_slot {
    char *key;
    void *value;
    uint64_t hash;
    bool removed;
};

static uint64_t default_seed; /* set once at start, see map_seed */

void map_seed(uint64_t seed)
{
    default_seed = seed;
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein 2012): keys come from outside and must not be chosen to collide.
 */
static uint64_t hash_text(const char *text, size_t len, uint64_t seed)
{
    uint64_t key[2] = {seed, rotate_left(seed, 29) ^ 0x9E3779B97F4A7C15U};
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575U, key[1] ^ 0x646f72616e646f6dU,
                     key[0] ^ 0x6c7967656e657261U, key[1] ^ 0x7465646279746573U};
    uint64_t word = 0;
    size_t done = 0;
    for (; len - done >= 8; done += 8) {
        memcpy(&word, text + done, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)len << 56;
    for (size_t i = 0; done + i < len; i++)
        word |= (uint64_t)(unsigned char)text[done + i] << (8 * i);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xFF;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct map_slot *find(const struct map *m, const char *key, uint64_t hash)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *slot = &m->slots[i];
        if (slot->key == NULL && !slot->removed)
            return NULL;
        if (slot->key != NULL && slot->hash == hash && strcmp(slot->key, key) == 0)
            return slot;
    }
}

void *map_get(const struct map *m, const char *key)
{
    if (m->count == 0)
        return NULL;
    const struct map_slot *slot = find(m, key, hash_text(key, strlen(key), m->seed));
    return slot == NULL ? NULL : slot->value;
}

/* The place for a key that is not there: the first free or removed slot. */
static struct map_slot *place(struct map_slot *slots, size_t cap, uint64_t hash)
{
    size_t i = hash & (cap - 1);
    while (slots[i].key != NULL)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

/* Makes room for one more: at most three slots of four in use, marks of removed ones included. */
static int grow(struct map *m)
{
    if (m->cap > 0 && (m->used + 1) * 4 <= m->cap * 3)
        return 0;
    size_t cap = m->cap == 0 ? FIRST_CAP : m->cap;
    while ((m->count + 1) * 2 > cap)
        cap *= 2;
    struct map_slot *slots = calloc(cap, sizeof(*slots));
    if (slots == NULL)
        return -1;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key != NULL)
            *place(slots, cap, m->slots[i].hash) = m->slots[i];
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->used = m->count;
    return 0;
}

int map_put(struct map *m, const char *key, void *value, void **ret_old)
{
    if (ret_old != NULL)
        *ret_old = NULL;
    if (m->cap == 0)
        m->seed = default_seed;
    size_t len = strlen(key);
    uint64_t hash = hash_text(key, len, m->seed);
    struct map_slot *slot = find(m, key, hash);
    if (slot != NULL) {
        if (ret_old != NULL)
            *ret_old = slot->value;
        slot->value = value;
        return 0;
    }
    if (grow(m) != 0)
        return -1;
    char *copy = malloc(len + 1);
    if (copy == NULL)
        return -1;
    memcpy(copy, key, len + 1);
    slot = place(m->slots, m->cap, hash);
    if (!slot->removed)
        m->used++;
    *slot = (struct map_slot){.key = copy, .value = value, .hash = hash};
    m->count++;
    return 0;
}

void *map_remove(struct map *m, const char *key)
{
    if (m->count == 0)
        return NULL;
    struct map_slot *slot = find(m, key, hash_text(key, strlen(key), m->seed));
    if (slot == NULL)
        return NULL;
    void *value = slot->value;
    free(slot->key);
    *slot = (struct map_slot){.removed = true};
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *it, const char **ret_key, void **ret_value)
{
    while (*it < m->cap) {
        const struct map_slot *slot = &m->slots[(*it)++];
        if (slot->key == NULL)
            continue;
        if (ret_key != NULL)
            *ret_key = slot->key;
        if (ret_value != NULL)
            *ret_value = slot->value;
        return true;
    }
    return false;
}

void map_release(struct map *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}
