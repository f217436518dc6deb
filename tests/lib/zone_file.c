/* SPDX-License-Identifier: Apache-2.0 */
#include "zone_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/buf.h"

static void need(bool good, const char *what)
{
    if (!good) {
        perror(what);
        abort();
    }
}

struct str zone_file_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    need(file != NULL && fseek(file, 0, SEEK_END) == 0, path);
    long size = ftell(file);
    need(size >= 0 && fseek(file, 0, SEEK_SET) == 0, path);
    char *bytes = malloc((size_t)size + 1);
    need(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size, path);
    (void)fclose(file);
    char *exact = realloc(bytes, size > 0 ? (size_t)size : 1);
    need(exact != NULL, path);
    return (struct str){exact, (size_t)size};
}

void zone_file_zone(const char *name, int64_t from_s, struct zone *ret)
{
    char path[256];
    struct err err = {0};
    (void)snprintf(path, sizeof(path), ZONE_FILE_ROOT "%s", name);
    struct str file = zone_file_read(path);
    int failed = zone_parse(file, from_s, ret, &err);
    free((void *)file.data);
    need(failed == 0, err.msg);
}

void zone_file_use(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), ":" ZONE_FILE_ROOT "%s", name);
    need(setenv("TZ", path, 1) == 0, path);
    tzset();
}

int64_t zone_file_wall(int64_t utc_s)
{
    time_t utc = utc_s;
    struct tm tm = {0};
    need(localtime_r(&utc, &tm) != NULL, "localtime_r");
    return utc_s + tm.tm_gmtoff;
}

static void put(struct buf *b, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0)
        buf_append_char(b, (char)(value >> (8 * bytes)));
}

static void put_block(struct buf *b, const struct zone_file_parts *p, unsigned width)
{
    static const char unused[15] = {0};
    buf_append_text(b, "TZif");
    buf_append_char(b, p->version);
    buf_append(b, unused, sizeof(unused));
    put(b, 0, 4);
    put(b, p->standards, 4);
    put(b, p->leaps, 4);
    put(b, p->times_count, 4);
    put(b, p->offsets_count, 4);
    put(b, 4, 4);
    for (uint32_t i = 0; i < p->times_count; i++)
        put(b, (uint64_t)p->times[i], width);
    for (uint32_t i = 0; i < p->times_count; i++)
        put(b, p->index[i], 1);
    for (uint32_t i = 0; i < p->offsets_count; i++) {
        put(b, (uint32_t)p->offsets[i], 4);
        put(b, 0, 2);
    }
    buf_append(b, "ABC", 4);
    for (uint32_t i = 0; i < p->leaps; i++) {
        put(b, 0, width);
        put(b, 0, 4);
    }
    for (uint32_t i = 0; i < p->standards; i++)
        put(b, 0, 1);
}

struct str zone_file_make(const struct zone_file_parts *parts)
{
    static const int32_t zero[1] = {0};
    struct buf b = {0};
    if (parts->version == 0) {
        put_block(&b, parts, 4);
    } else {
        put_block(&b,
                  &(struct zone_file_parts){
                      .version = parts->version, .offsets = zero, .offsets_count = 1},
                  4);
        put_block(&b, parts, 8);
        buf_appendf(&b, "\n%s\n", parts->footer);
    }
    struct str made = {NULL, b.len};
    made.data = realloc(buf_take(&b), made.len);
    need(made.data != NULL, "zone_file_make");
    return made;
}
