/* SPDX-License-Identifier: Apache-2.0
 *
 * neighbours: who else is about the same object or workload, or in the same namespace, over all
 * KeyRotations: by namespace, kind and name, so that nobody looks through all of them. Each that
 * joins brings its own link, which stays where it is until it leaves. */
#ifndef KEYTURN_CONTROLLER_NEIGHBOURS_H
#define KEYTURN_CONTROLLER_NEIGHBOURS_H

#include <stdbool.h>
#include "base/map.h"

struct neighbour {
    struct neighbour *next;
    void *slot; /* whose link this is */
    bool joined;
};

struct place {
    const char *namespace, *kind, *name; /* borrowed */
};

/* -1 out of memory. */
int neighbours_join(struct map *places, const struct place *at, struct neighbour *n);
void neighbours_leave(struct map *places, const struct place *at, struct neighbour *n);
/* The first of those at this place; in no order. NULL: nobody. */
struct neighbour *neighbours_at(const struct map *places, const struct place *at);

#endif
