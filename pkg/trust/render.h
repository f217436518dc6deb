/* SPDX-License-Identifier: Apache-2.0
 *
 * render: what trust.c and render.c share. Internal to trust; trust/trust.h is the contract. */
#ifndef KEYTURN_TRUST_RENDER_H
#define KEYTURN_TRUST_RENDER_H

#include <stdbool.h>
#include "base/limits.h"
#include "trust/trust.h"

struct trust_sorted {
    const struct trust_key *keys[LIMIT_KEYS]; /* by the bytes of the kids */
    size_t count;
};

/* false: no key at all, or more than LIMIT_KEYS. */
bool trust_sort(const struct trust_set *set, struct trust_sorted *ret);

#endif
