/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tzdata.h"

#include <stdio.h>
#include "base/buf.h"
#include "base/limits.h"
#include "io/file.h"

#define ZONEINFO "/usr/share/zoneinfo/"

int tzdata_read(const char *name, int64_t from_s, struct zone *ret, struct err *err)
{
    char path[sizeof(ZONEINFO) + LIMIT_ZONE_NAME];
    struct buf cleanup_buf file = {0};
    if (zone_name_check(name, err) != 0)
        return -1;
    if (zone_name_is_utc(name)) {
        zone_set_utc(ret);
        return 0;
    }
    (void)snprintf(path, sizeof(path), ZONEINFO "%s", name);
    if (file_read(path, LIMIT_ZONE_FILE, &file, err) != 0) {
        if (err != NULL && err->class == ERR_NOT_FOUND)
            return err_set(
                err, ERR_NOT_FOUND,
                "there is no time zone %s; write one of the IANA time zone database, for "
                "example Europe/Amsterdam or UTC",
                name);
        return -1;
    }
    return zone_parse(buf_view(&file), from_s, ret, err);
}
