/* SPDX-License-Identifier: Apache-2.0 */
#include "base/zone.h"

#include <string.h>
#include "base/attr.h"
#include "base/limits.h"

#define HEADER_BYTES 44
#define COUNTS_AT 20 /* after magic, version and 15 unused bytes */
#define TYPE_BYTES 6
#define TYPES_MAX 256

/* ---- names ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name_char(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-';
}

static bool name_good(const char *name)
{
    if (name == NULL || strnlen(name, LIMIT_ZONE_NAME + 1) > LIMIT_ZONE_NAME)
        return false;
    for (const char *p = name;; p++) {
        if (!is_letter(*p))
            return false;
        while (is_name_char(*p))
            p++;
        if (*p != '/')
            return *p == '\0';
    }
}

int zone_name_check(const char *name, struct err *err)
{
    if (name_good(name))
        return 0;
    return err_set(err, ERR_INVALID,
                   "\"%.80s\" is no name of a time zone; write one of the IANA names, such as "
                   "Europe/Amsterdam or UTC",
                   name != NULL ? name : "");
}

bool zone_name_is_utc(const char *name)
{
    return text_eq(name, "UTC") || text_eq(name, "Etc/UTC");
}

void zone_set_utc(struct zone *ret)
{
    *ret = (struct zone){.from_s = CIVIL_LEAST_S, .until_s = CIVIL_MOST_S};
}

/* ---- TZif ---- */

struct block { /* one of the file's two, its counts and where its parts are */
    uint64_t times, types, chars, leaps, standards, uts;
    size_t width; /* bytes of a time */
    const unsigned char *time, *index, *type;
};

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t block_time(const struct block *b, uint64_t i)
{
    const unsigned char *p = b->time + i * b->width;
    if (b->width == 4)
        return (int32_t)be32(p);
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static int32_t type_offset(const struct block *b, uint64_t type)
{
    return (int32_t)be32(b->type + type * TYPE_BYTES);
}

static int32_t block_offset(const struct block *b, uint64_t i)
{
    return type_offset(b, b->index[i]);
}

static int refuse(enum err_class class, const char *why, struct err *err)
{
    (void)err_set(err, class, "%s", why);
    return -1;
}

static void skip(struct str *s, size_t len)
{
    s->data += len;
    s->len -= len;
}

/* Header and extent of a block; s is behind it then. */
static int block_read(struct str *s, size_t width, struct block *b, struct err *err)
{
    const unsigned char *p = (const unsigned char *)s->data;
    if (s->len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
        return refuse(ERR_INVALID, "it is no time zone file (TZif)", err);
    p += COUNTS_AT;
    *b = (struct block){.uts = be32(p),
                        .standards = be32(p + 4),
                        .leaps = be32(p + 8),
                        .times = be32(p + 12),
                        .types = be32(p + 16),
                        .chars = be32(p + 20),
                        .width = width};
    skip(s, HEADER_BYTES);
    uint64_t need = b->times * (width + 1) + b->types * TYPE_BYTES + b->chars +
                    b->leaps * (width + 4) + b->standards + b->uts;
    if (s->len < need)
        return refuse(ERR_INVALID, "the time zone file is cut short", err);
    b->time = (const unsigned char *)s->data;
    b->index = b->time + b->times * width;
    b->type = b->index + b->times;
    skip(s, need);
    return 0;
}

static bool types_good(const struct block *b)
{
    for (uint64_t i = 0; i < b->types; i++) {
        const unsigned char *p = b->type + i * TYPE_BYTES;
        int32_t offset_s = type_offset(b, i);
        if (offset_s < ZONE_OFFSET_LEAST_S || offset_s > ZONE_OFFSET_MOST_S || p[4] > 1 ||
            p[5] >= b->chars)
            return false;
    }
    return true;
}

static bool times_good(const struct block *b)
{
    for (uint64_t i = 0; i < b->times; i++)
        if (b->index[i] >= b->types || (i > 0 && block_time(b, i) <= block_time(b, i - 1)))
            return false;
    return true;
}

static int block_check(const struct block *b, struct err *err)
{
    if (b->leaps > 0)
        return refuse(ERR_INVALID,
                      "the time zone file counts leap seconds; write its name without right/", err);
    if (b->types == 0 || b->types > TYPES_MAX || b->chars == 0 ||
        (b->standards != 0 && b->standards != b->types) || (b->uts != 0 && b->uts != b->types))
        return refuse(ERR_INVALID, "the counts in the time zone file contradict each other", err);
    if (!types_good(b))
        return refuse(ERR_INVALID, "the time zone file holds an impossible offset or name", err);
    if (!times_good(b))
        return refuse(ERR_INVALID, "the transitions of the time zone file are out of order", err);
    return 0;
}

/* The rule between two line feeds. An empty one: the last offset stays. */
static int footer_read(struct str s, const struct block *b, struct tz_rule *rule, struct err *err)
{
    const char *end = s.len > 1 ? memchr(s.data + 1, '\n', s.len - 1) : NULL;
    if (end == NULL || s.data[0] != '\n')
        return refuse(ERR_INVALID, "the time zone file is cut short", err);
    struct str text = {s.data + 1, (size_t)(end - s.data) - 1};
    *rule =
        (struct tz_rule){.standard_s = type_offset(b, b->times > 0 ? b->index[b->times - 1] : 0)};
    if (text.len == 0)
        return 0;
    if (tz_rule_parse(text, rule, err) != 0)
        return -1;
    if (b->times > 0 &&
        tz_rule_offset(rule, block_time(b, b->times - 1)) != block_offset(b, b->times - 1))
        return err_set(err, ERR_INVALID,
                       "the rule at its end, \"%.*s\", contradicts its last transition",
                       (int)(text.len < 80 ? text.len : 80), text.data);
    return 0;
}

static int file_read(struct str s, struct block *b, struct tz_rule *rule, struct err *err)
{
    if (s.len > LIMIT_ZONE_FILE)
        return refuse(ERR_LIMIT, "the time zone file is larger than 64 KiB", err);
    char version = s.len >= HEADER_BYTES ? s.data[4] : '\0';
    if (version != '\0' && (version < '2' || version > '4'))
        return refuse(ERR_INVALID, "the time zone file has an unknown version", err);
    if (block_read(&s, 4, b, err) != 0)
        return -1;
    if (version == '\0') {
        if (block_check(b, err) != 0)
            return -1;
        return footer_read(str_from("\n\n"), b, rule, err);
    }
    if (block_read(&s, 8, b, err) != 0 || block_check(b, err) != 0)
        return -1;
    return footer_read(s, b, rule, err);
}

/* ---- from file and rule to a list ---- */

/* Transitions come in order, but for a year's last one that the next year overtakes: summer time
 * that never ends is written as one that ends when or after the next begins. */
static int add(struct zone *z, struct zone_transition t, struct err *err)
{
    while (z->count > 0 && z->transitions[z->count - 1].at_s >= t.at_s)
        z->count--;
    int32_t now_s = z->count > 0 ? z->transitions[z->count - 1].offset_s : z->offset_s;
    if (t.at_s <= z->from_s)
        z->offset_s = t.offset_s;
    else if (t.at_s > z->until_s || t.offset_s == now_s)
        return 0;
    else if (z->count == ARRAY_LEN(z->transitions))
        return err_set(err, ERR_LIMIT, "the time zone changes more than %d times in 30 years",
                       ZONE_TRANSITIONS_MAX);
    else
        z->transitions[z->count++] = t;
    return 0;
}

static int add_listed(struct zone *z, const struct block *b, struct err *err)
{
    for (uint64_t i = 0; i < b->times; i++)
        if (add(z, (struct zone_transition){block_time(b, i), block_offset(b, i)}, err) != 0)
            return -1;
    return 0;
}

static int add_by_rule(struct zone *z, const struct tz_rule *rule, int64_t after_s, struct err *err)
{
    int last = civil_from(z->until_s).year + 1;
    int64_t start_s = after_s > z->from_s ? after_s : z->from_s;
    for (int year = civil_from(start_s).year - 2; year <= last; year++) {
        struct zone_transition both[2];
        tz_rule_year(rule, year, both);
        for (size_t i = 0; i < ARRAY_LEN(both); i++)
            if (both[i].at_s > after_s && add(z, both[i], err) != 0)
                return -1;
    }
    return 0;
}

int zone_parse(struct str file, int64_t from_s, struct zone *ret, struct err *err)
{
    struct block b;
    struct tz_rule rule;
    if (file_read(file, &b, &rule, err) != 0)
        return -1;
    struct zone z = {.from_s = civil_clamp(from_s), .count = 0};
    z.until_s = civil_clamp(z.from_s + ZONE_AHEAD_S);
    z.offset_s = b.times > 0 ? type_offset(&b, 0) : rule.standard_s;
    int64_t after_s = b.times > 0 ? block_time(&b, b.times - 1) : INT64_MIN;
    if (add_listed(&z, &b, err) != 0 || (rule.changes && add_by_rule(&z, &rule, after_s, err) != 0))
        return -1;
    *ret = z;
    return 0;
}

/* ---- questions ----
 * Segment i lasts from transition i - 1 to transition i. */

static uint32_t segment_of(const struct zone *z, int64_t utc_s)
{
    uint32_t low = 0;
    uint32_t high = z->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (z->transitions[middle].at_s <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int32_t segment_offset(const struct zone *z, uint32_t i)
{
    return i == 0 ? z->offset_s : z->transitions[i - 1].offset_s;
}

int32_t zone_offset(const struct zone *zone, int64_t utc_s)
{
    return segment_offset(zone, segment_of(zone, utc_s));
}

struct civil zone_local(const struct zone *zone, int64_t utc_s)
{
    return civil_from(civil_clamp(utc_s) + zone_offset(zone, utc_s));
}

int64_t zone_reaches(const struct zone *zone, int64_t wall_s)
{
    wall_s = civil_clamp(wall_s);
    uint32_t i = segment_of(zone, wall_s - ZONE_OFFSET_MOST_S);
    while (i < zone->count && wall_s - segment_offset(zone, i) >= zone->transitions[i].at_s)
        i++;
    int64_t utc_s = wall_s - segment_offset(zone, i);
    bool jumped_over = i > 0 && utc_s < zone->transitions[i - 1].at_s;
    return jumped_over ? zone->transitions[i - 1].at_s : utc_s;
}

int64_t zone_reached(const struct zone *zone, int64_t utc_s)
{
    utc_s = civil_clamp(utc_s);
    uint32_t i = segment_of(zone, utc_s);
    int64_t wall_s = utc_s + segment_offset(zone, i);
    int64_t matters_s = utc_s - (ZONE_OFFSET_MOST_S - ZONE_OFFSET_LEAST_S);
    for (; i > 0 && zone->transitions[i - 1].at_s > matters_s; i--) {
        int64_t before_s = zone->transitions[i - 1].at_s - 1 + segment_offset(zone, i - 1);
        if (before_s > wall_s)
            wall_s = before_s;
    }
    return wall_s;
}

bool zone_steady(const struct zone *zone, int64_t after_s, int64_t until_s)
{
    return segment_of(zone, after_s) == segment_of(zone, until_s);
}

struct zone_moment zone_utc(const struct zone *zone, const struct civil *local)
{
    int64_t wall_s = civil_clamp(civil_to(local));
    struct zone_moment moment = {.fit = ZONE_GAP};
    uint32_t i = segment_of(zone, wall_s - ZONE_OFFSET_MOST_S);
    uint32_t last = segment_of(zone, wall_s - ZONE_OFFSET_LEAST_S);
    for (; i <= last; i++) {
        int64_t utc_s = wall_s - segment_offset(zone, i);
        if (segment_of(zone, utc_s) != i)
            continue;
        if (moment.fit == ZONE_GAP)
            moment = (struct zone_moment){ZONE_ONCE, utc_s, utc_s};
        else
            moment = (struct zone_moment){ZONE_TWICE, moment.utc_s, utc_s};
    }
    if (moment.fit == ZONE_GAP)
        moment.utc_s = moment.again_s = zone_reaches(zone, wall_s);
    return moment;
}
