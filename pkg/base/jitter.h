/* SPDX-License-Identifier: Apache-2.0
 *
 * jitter: spreads what would otherwise happen in one moment: retries, polls, renewals of many
 * objects and many operators. xorshift32 after Marsaglia; whoever sees some of its numbers knows
 * the rest, so nothing secret is made of it. */
#ifndef KEYTURN_BASE_JITTER_H
#define KEYTURN_BASE_JITTER_H

#include <stddef.h>
#include <stdint.h>

/* A first state, never 0, that differs by what it is for (a kind and a namespace, an identity; NULL
 * is fine) and by when it is made: not by an address, so that the same world gives the same run. */
static inline uint32_t jitter_seed(int64_t now_us, const char *what, const char *where)
{
    const char *const texts[] = {what, where};
    uint64_t mixed = (uint64_t)now_us ^ 0xcbf29ce484222325U;
    for (int i = 0; i < 2; i++) {
        for (const char *c = texts[i]; c != NULL && *c != '\0'; c++)
            mixed = (mixed ^ (unsigned char)*c) * 0x100000001b3U;
        mixed = (mixed ^ '/') * 0x9e3779b97f4a7c15U;
    }
    return (uint32_t)(mixed >> 32) | 1;
}

/* The next number, never 0. *state is the owner's, and not 0. */
static inline uint32_t jitter_next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

#endif
