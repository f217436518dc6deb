/* SPDX-License-Identifier: Apache-2.0
 *
 * map: text to pointer, insertion by key, seeded hash. Keys are copied, values are the caller's.
 * {0} is an empty map. Not safe to change while iterating, except map_remove of the current entry
 * (its key is freed by that). The order of iteration means nothing. */
#ifndef KEYTURN_BASE_MAP_H
#define KEYTURN_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t cap;
    size_t count;
    size_t used; /* count and the marks of removed entries */
    uint64_t seed;
};

void *map_get(const struct map *m, const char *key); /* NULL when absent */
/* Puts or replaces; *ret_old (may be NULL) gets the former value or NULL. -1 out of memory. */
int map_put(struct map *m, const char *key, void *value, void **ret_old);
void *map_remove(struct map *m, const char *key); /* the former value or NULL */
/* Iteration: size_t it = 0; while (map_next(m, &it, &key, &value)) ... ; key may be NULL-asked. */
bool map_next(const struct map *m, size_t *it, const char **ret_key, void **ret_value);
void map_release(struct map *m); /* values are not touched */
/* Seed for hashes of all maps made later; called once at start with random bytes. */
void map_seed(uint64_t seed);

#endif
