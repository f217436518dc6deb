/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/limits.h"

#define FIRST_BLOCK 1024UL
#define BLOCK_MAX (64UL << 10)

struct arena_block {
    struct arena_block *older;
    size_t size;
    size_t used;
    alignas(max_align_t) char data[];
};

static struct arena_block *block_new(size_t size)
{
    struct arena_block *block = malloc(sizeof(*block) + size);
    if (block != NULL)
        *block = (struct arena_block){.size = size};
    return block;
}

/* A block with room for size bytes. A piece larger than a block gets one of its own, put behind the
 * head, so that the head's room is not lost. */
static struct arena_block *block_for(struct arena *a, size_t size)
{
    if (a->head != NULL && a->head->size - a->head->used >= size)
        return a->head;
    size_t next = a->block_bytes == 0 ? FIRST_BLOCK : a->block_bytes;
    if (a->head != NULL && a->head->size >= next)
        next = a->head->size < BLOCK_MAX ? a->head->size * 2 : a->head->size;
    if (next > BLOCK_MAX && next > a->block_bytes)
        next = BLOCK_MAX;
    struct arena_block *block = block_new(size > next ? size : next);
    if (block == NULL)
        return NULL;
    if (size > next && a->head != NULL) {
        block->older = a->head->older;
        a->head->older = block;
    } else {
        block->older = a->head;
        a->head = block;
    }
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    const size_t align = alignof(max_align_t);
    size_t max = a->max == 0 ? LIMIT_ARENA : a->max;
    if (size > max || max - size < a->used_bytes) {
        a->failed = true;
        return NULL;
    }
    size_t rounded = size == 0 ? align : (size + align - 1) / align * align;
    struct arena_block *block = block_for(a, rounded);
    if (block == NULL) {
        a->failed = true;
        return NULL;
    }
    void *piece = block->data + block->used;
    block->used += rounded;
    a->used_bytes += rounded;
    memset(piece, 0, rounded);
    return piece;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total)) {
        a->failed = true;
        return NULL;
    }
    return arena_alloc(a, total);
}

char *arena_str(struct arena *a, struct str s)
{
    char *copy = s.len == SIZE_MAX ? NULL : arena_alloc(a, s.len + 1);
    if (copy != NULL && s.len > 0)
        memcpy(copy, s.data, s.len);
    return copy;
}

char *arena_strdup(struct arena *a, const char *text)
{
    return text == NULL ? NULL : arena_str(a, str_from(text));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_list again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = len < 0 ? NULL : arena_alloc(a, (size_t)len + 1);
    if (text != NULL)
        vsnprintf(text, (size_t)len + 1, fmt, again);
    else
        a->failed = true;
    va_end(again);
    return text;
}

/* Frees the blocks from this one to the oldest, or to the one before it when keep_oldest. */
static struct arena_block *blocks_free(struct arena_block *block, bool keep_oldest)
{
    while (block != NULL && (!keep_oldest || block->older != NULL)) {
        struct arena_block *older = block->older;
        free(block);
        block = older;
    }
    return block;
}

void arena_reset(struct arena *a)
{
    a->head = blocks_free(a->head, true);
    if (a->head != NULL)
        a->head->used = 0;
    a->used_bytes = 0;
    a->failed = false;
}

void arena_release(struct arena *a)
{
    if (a == NULL)
        return;
    blocks_free(a->head, false);
    *a = (struct arena){0};
}
