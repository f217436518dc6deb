/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: zone_parse. Each input is tried as a TZif file, at three times from which it is wanted,
 * and as the TZ string and the name of a zone. What is taken must be in order and in bounds, and
 * the ways between UTC and wall clock must agree with each other. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "base/limits.h"
#include "base/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void check_at(const struct zone *z, int64_t utc_s)
{
    struct civil local = zone_local(z, utc_s);
    struct zone_moment moment = zone_utc(z, &local);
    require(civil_to(&local) == utc_s + zone_offset(z, utc_s));
    require(moment.fit != ZONE_GAP && moment.utc_s <= utc_s && utc_s <= moment.again_s);
    int64_t reached_s = zone_reached(z, utc_s);
    require(reached_s >= civil_to(&local));
    require(zone_reaches(z, reached_s) <= utc_s && zone_reaches(z, reached_s + 1) > utc_s);
}

static void check_zone(const struct zone *z, int64_t from_s)
{
    require(z->from_s == from_s && z->until_s == from_s + ZONE_AHEAD_S);
    require(z->count <= ZONE_TRANSITIONS_MAX);
    int32_t offset_s = z->offset_s;
    int64_t last_s = from_s;
    for (uint32_t i = 0; i < z->count; i++) {
        const struct zone_transition *t = &z->transitions[i];
        require(t->at_s > last_s && t->at_s <= z->until_s && t->offset_s != offset_s);
        check_at(z, t->at_s - 1);
        check_at(z, t->at_s);
        check_at(z, t->at_s + 3599);
        last_s = t->at_s;
        offset_s = t->offset_s;
    }
    check_at(z, from_s);
    check_at(z, z->until_s);
}

static void try_rule(struct str text)
{
    struct tz_rule rule;
    struct zone_transition both[2];
    struct err err = {0};
    if (tz_rule_parse(text, &rule, &err) != 0) {
        require(err.class == ERR_INVALID);
        return;
    }
    tz_rule_year(&rule, 2024, both);
    require(!rule.changes || both[0].at_s <= both[1].at_s);
    int32_t offset_s = tz_rule_offset(&rule, 1700000000);
    require(offset_s == rule.standard_s || (rule.changes && offset_s == rule.summer_s));
}

static void try_name(const uint8_t *data, size_t size)
{
    char name[2 * LIMIT_ZONE_NAME];
    size_t len = size < sizeof(name) - 1 ? size : sizeof(name) - 1;
    memcpy(name, data, len);
    name[len] = '\0';
    if (zone_name_check(name, NULL) == 0) {
        require(strlen(name) <= LIMIT_ZONE_NAME && name[0] != '/' && strchr(name, '.') == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t from[] = {-3000000000, 0, 1700000000};
    static struct zone z;
    struct str all = {(const char *)data, size};
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        struct err err = {0};
        if (zone_parse(all, from[i], &z, &err) == 0) {
            check_zone(&z, from[i]);
        } else {
            require(err.class == ERR_INVALID || err.class == ERR_LIMIT);
        }
    }
    try_rule(all);
    if (size > 0) {
        try_name(data, size);
    }
    return 0;
}
