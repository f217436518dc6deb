/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/neighbours.h"

#include <stdio.h>
#include "base/limits.h"

#define PLACE_TEXT (LIMIT_NAME * 2 + 32)

/* None of the three holds a slash. */
static void place_text(const struct place *at, char out[PLACE_TEXT])
{
    (void)snprintf(out, PLACE_TEXT, "%s/%s/%s", at->namespace, at->kind, at->name);
}

struct neighbour *neighbours_at(const struct map *places, const struct place *at)
{
    char key[PLACE_TEXT];
    place_text(at, key);
    return map_get(places, key);
}

int neighbours_join(struct map *places, const struct place *at, struct neighbour *n)
{
    char key[PLACE_TEXT];
    place_text(at, key);
    struct neighbour *first = map_get(places, key);
    if (map_put(places, key, n, NULL) != 0)
        return -1;
    n->next = first;
    n->joined = true;
    return 0;
}

void neighbours_leave(struct map *places, const struct place *at, struct neighbour *n)
{
    char key[PLACE_TEXT];
    if (!n->joined)
        return;
    place_text(at, key);
    struct neighbour *before = map_get(places, key);
    if (before == n && n->next == NULL) {
        (void)map_remove(places, key);
    } else if (before == n) {
        (void)map_put(places, key, n->next, NULL); /* replaces, which takes no memory */
    } else {
        while (before->next != n)
            before = before->next;
        before->next = n->next;
    }
    n->next = NULL;
    n->joined = false;
}
