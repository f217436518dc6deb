/* SPDX-License-Identifier: Apache-2.0
 *
 * arena: memory that is freed together. {0} is an empty arena. Never holds secrets.
 * arena_alloc gives zeroed memory aligned for any type, or NULL past `max` (0 = LIMIT_ARENA) or out
 * of memory; `failed` stays true then, so that a decoder may check once at its end. */
#ifndef KEYTURN_BASE_ARENA_H
#define KEYTURN_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include "base/attr.h"
#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used_bytes;
    size_t max;
    size_t block_bytes; /* size of the first block; 0 = 1 KiB, doubling up to 64 KiB */
    bool failed;
};

void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size); /* overflow-safe */
char *arena_strdup(struct arena *a, const char *text);         /* NULL gives NULL */
char *arena_str(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) ATTR_PRINTF(2, 3);
void arena_reset(struct arena *a);   /* all pieces gone, first block kept for the next pass */
void arena_release(struct arena *a); /* everything given back; {0} again */

#define cleanup_arena ATTR_CLEANUP(arena_release)

#endif
