/* SPDX-License-Identifier: Apache-2.0
 *
 * spec.key and what goes with it: when the realm's signing key is rotated, and how. */
#include "codec/rotation_spec.h"

#include "base/zone.h"
#include "codec/json.h"
#include "rotation/cron.h"
#include "rotation/schedule.h"

#define SIZE_DEFAULT 2048
#define PUBLISH_DEFAULT_S 3600
#define DELETE_DEFAULT_S (7LL * 86400)
#define KEPT_MOST (LIMIT_KEYS / 2) /* of ours, beside what the realm has by itself */

static bool is_rsa(const char *algorithm)
{
    return text_starts_with(algorithm, "RS") || text_starts_with(algorithm, "PS");
}

static const char *algorithm_of(const char *text)
{
    static const char *const known[] = {"RS256", "RS384", "RS512", "PS256", "PS384",
                                        "PS512", "ES256", "ES384", "ES512", "EdDSA"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (text_eq(text, known[i])) {
            return known[i];
        }
    }
    return NULL;
}

static int64_t size_decode(struct spec_decoder *d, const json_t *key, bool rsa)
{
    const json_t *size = json_object_get(key, "size");
    int64_t bits = json_number(key, "size", 0);
    if (size == NULL || json_is_null(size)) {
        return rsa ? SIZE_DEFAULT : 0;
    }
    if (!rsa) {
        spec_reject(d, "spec.key: leave size out: ES256, ES384, ES512 and EdDSA have one each");
    } else if (!json_is_integer(size) || (bits != 2048 && bits != 3072 && bits != 4096)) {
        spec_reject(d, "spec.key.size: write 2048, 3072 or 4096");
    }
    return bits;
}

static void key_decode(struct spec_decoder *d, const json_t *key, struct rotation_spec *ret)
{
    static const char where[] = "spec.key";
    const char *algorithm = spec_text(d, key, where, "algorithm", BOUND_ALGORITHM);
    if (ret->keycloak_url == NULL) {
        spec_reject(d, "spec.key: write spec.keycloak too (url, realm, credentials): keys are "
                       "rotated through its Admin API");
    }
    ret->key.managed = true;
    ret->key.algorithm = algorithm_of(algorithm == NULL ? "RS256" : algorithm);
    if (ret->key.algorithm == NULL) {
        spec_reject(d, "spec.key.algorithm: write RS256, RS384, RS512, PS256, PS384, PS512, ES256, "
                       "ES384, ES512 or EdDSA");
        return;
    }
    ret->key.size = size_decode(d, key, is_rsa(ret->key.algorithm));
    ret->key.standby = spec_flag(d, key, where, "standby");
    ret->key.adopt = spec_flag(d, key, where, "adopt");
    ret->key.take_over = spec_flag(d, key, where, "takeOver");
}

static void window_decode(struct spec_decoder *d, const json_t *window, struct schedule_spec *ret)
{
    static const char where[] = "spec.schedule.window";
    const char *zone = spec_text(d, window, where, "timeZone", LIMIT_ZONE_NAME);
    struct cron cron;
    struct err err = {0};

    ret->cron = spec_text(d, window, where, "cron", LIMIT_CRON);
    ret->window_s = spec_duration(d, window, where, "duration", 0);
    ret->zone = zone == NULL ? "UTC" : zone;
    if (ret->cron == NULL) {
        spec_reject(d, "%s.cron: write when it opens, for example 0 2 * * 6", where);
    } else if (cron_parse(ret->cron, &cron, &err) != 0) {
        spec_reject(d, "%s.cron: %s", where, err.msg);
    }
    if (ret->window_s < WINDOW_LEAST_S || ret->window_s > WINDOW_MOST_S) {
        spec_reject(d, "%s.duration: write a duration of 1m to 7d, for example 4h", where);
    }
    if (zone_name_check(ret->zone, &err) != 0) {
        spec_reject(d, "%s.timeZone: %s", where, err.msg);
    }
}

static void schedule_decode(struct spec_decoder *d, const json_t *schedule,
                            struct schedule_spec *ret)
{
    static const char where[] = "spec.schedule";
    const json_t *window = spec_object(d, schedule, where, "window");

    ret->every_s = spec_duration(d, schedule, where, "every", 0);
    if (ret->every_s < BOUND_EVERY_LEAST_S) {
        spec_reject(d, "%s.every: write how often, at least 10m, for example 90d", where);
    }
    if (window != NULL) {
        window_decode(d, window, ret);
    }
}

static void overlap_decode(struct spec_decoder *d, const json_t *overlap, struct overlap_spec *ret)
{
    static const char where[] = "spec.overlap";
    const char *retire = json_text(overlap, "retire");

    ret->publish_s = spec_duration(d, overlap, where, "publish", PUBLISH_DEFAULT_S);
    ret->retire_s = text_eq(retire, "auto") ? -1 : spec_duration(d, overlap, where, "retire", -1);
    ret->delete_s = spec_duration(d, overlap, where, "delete", DELETE_DEFAULT_S);
    if (ret->retire_s >= 0 && ret->retire_s < ret->publish_s) {
        spec_reject(d,
                    "%s: retire is shorter than publish: write retire: auto, or at least as long "
                    "as publish",
                    where);
    }
}

/* Keys wait for their end longer than it takes to make the next: no realm and no status holds them.
 */
static void check_pile(struct spec_decoder *d, const struct rotation_spec *spec)
{
    int64_t kept_s =
        spec->overlap.delete_s + (spec->overlap.retire_s > 0 ? spec->overlap.retire_s : 0);
    if (spec->schedule.every_s > 0 && kept_s / spec->schedule.every_s > KEPT_MOST) {
        spec_reject(d,
                    "spec.schedule.every: more than %d keys would wait for spec.overlap.retire and "
                    "delete; write a longer every, or a shorter delete",
                    KEPT_MOST);
    }
}

/* spec.approval.key says Manual. */
static bool is_manual(struct spec_decoder *d, const json_t *approval, const char *key)
{
    const char *text = spec_text(d, approval, "spec.approval", key, BOUND_WORD);
    if (text != NULL && !text_eq(text, "Automatic") && !text_eq(text, "Manual")) {
        spec_reject(d, "spec.approval.%s: write Automatic or Manual", key);
    }
    return text_eq(text, "Manual");
}

static void approval_decode(struct spec_decoder *d, const json_t *approval,
                            struct approval_spec *ret)
{
    ret->promote_manual = is_manual(d, approval, "promote");
    ret->retire_manual = is_manual(d, approval, "retire");
    ret->two_person = spec_flag(d, approval, "spec.approval", "twoPerson");
    if (ret->two_person && !ret->promote_manual && !ret->retire_manual) {
        spec_reject(d, "spec.approval: twoPerson needs something that is approved: write promote: "
                       "Manual or retire: Manual too");
    }
}

void spec_plan_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const json_t *key = spec_object(d, spec, "spec", "key");
    const json_t *schedule = spec_object(d, spec, "spec", "schedule");
    const json_t *overlap = spec_object(d, spec, "spec", "overlap");
    const json_t *approval = spec_object(d, spec, "spec", "approval");

    if (key != NULL) {
        key_decode(d, key, ret);
    } else if (schedule != NULL || overlap != NULL || approval != NULL) {
        spec_reject(d, "spec: write spec.key too: without it nothing is rotated, and schedule, "
                       "overlap and approval say nothing");
    }
    if (schedule != NULL) {
        schedule_decode(d, schedule, &ret->schedule);
    }
    overlap_decode(d, overlap, &ret->overlap);
    check_pile(d, ret);
    approval_decode(d, approval, &ret->approval);
}
