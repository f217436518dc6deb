/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/zones.h"

#include <stdlib.h>
#include "io/tzdata.h"

#define ZONES_KEPT 64 /* then all go: names of more zones than there are cities in use */
#define ZONE_KEPT_S 86400

struct kept_zone {
    struct zone zone;
    int64_t read_s;
};

void zones_release(struct map *zones)
{
    size_t it = 0;
    void *kept;
    while (map_next(zones, &it, NULL, &kept))
        free(kept);
    map_release(zones);
}

const struct zone *zones_find(struct map *zones, const char *name, int64_t now_s, struct err *err)
{
    struct kept_zone *kept = map_get(zones, name);
    if (kept != NULL && now_s - kept->read_s < ZONE_KEPT_S && now_s >= kept->read_s)
        return &kept->zone;
    if (zones->count >= ZONES_KEPT)
        zones_release(zones);
    else if (kept != NULL)
        free(map_remove(zones, name));
    kept = calloc(1, sizeof(*kept));
    if (kept == NULL) {
        (void)err_set(err, ERR_NO_MEMORY, "out of memory for a time zone");
        return NULL;
    }
    kept->read_s = now_s;
    if (tzdata_read(name, now_s, &kept->zone, err) != 0 || map_put(zones, name, kept, NULL) != 0) {
        free(kept);
        return NULL;
    }
    return &kept->zone;
}
