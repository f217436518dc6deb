/* SPDX-License-Identifier: Apache-2.0
 *
 * zone_file: time zones for tests: those of this machine (/usr/share/zoneinfo), and what its C
 * library thinks of them; TZif files made by hand. Failures end the test program. */
#ifndef KEYTURN_TESTS_ZONE_FILE_H
#define KEYTURN_TESTS_ZONE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include "base/zone.h"

#define ZONE_FILE_ROOT "/usr/share/zoneinfo/"

/* The bytes of a file, malloc'ed and exactly as long as they are, so that ASan sees one too many.
 */
struct str zone_file_read(const char *path);
/* A zone of this machine. */
void zone_file_zone(const char *name, int64_t from_s, struct zone *ret);
/* From now on the C library's local time is this zone's. */
void zone_file_use(const char *name);
/* What its wall clock shows then, in wall seconds. */
int64_t zone_file_wall(int64_t utc_s);

struct zone_file_parts { /* of a block; a version of 0 has only one block and no footer */
    char version;
    const int64_t *times;
    const uint8_t *index;
    uint32_t times_count;
    const int32_t *offsets;
    uint32_t offsets_count;
    uint32_t leaps;     /* how many leap seconds, all zero */
    uint32_t standards; /* how many indicators, all zero */
    const char *footer;
};
/* malloc'ed. */
struct str zone_file_make(const struct zone_file_parts *parts);

#endif
