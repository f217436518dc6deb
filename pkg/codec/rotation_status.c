/* SPDX-License-Identifier: Apache-2.0
 *
 * The status half of rotation_codec, reading: what was remembered is read back whatever somebody
 * made of it, entry by entry. What cannot be understood reads as unknown, never as a time or a
 * wish. */
#include <string.h>
#include "base/date.h"
#include "base/utf8.h"
#include "codec/json.h"
#include "codec/rotation_bounds.h"

const char *rotation_cut(const json_t *object, const char *key, size_t max, struct arena *arena)
{
    const char *text = json_text(object, key);
    if (text == NULL || *text == '\0') {
        return NULL;
    }
    size_t len = strlen(text);
    return arena_str(arena, (struct str){text, len > max ? utf8_cut(text, max) : len});
}

bool rotation_kid_fits(const char *kid)
{
    return kid != NULL && *kid != '\0' && strlen(kid) <= LIMIT_KID;
}

static const char *kid_member(const json_t *object, const char *key, struct arena *arena)
{
    const char *kid = json_text(object, key);
    return rotation_kid_fits(kid) ? arena_strdup(arena, kid) : NULL;
}

/* The number of a rotation; 0 for what is none. */
static uint64_t count_member(const json_t *object, const char *key)
{
    int64_t count = json_number(object, key, 0);
    return count > 0 && count <= BOUND_COUNT ? (uint64_t)count : 0;
}

static int64_t date_member(const json_t *object, const char *key)
{
    int64_t time_s = 0;
    return date_parse(json_text(object, key), &time_s) ? time_s : 0;
}

static enum key_state key_state_of(const char *text)
{
    for (enum key_state s = KEY_ACTIVE; s <= KEY_DISABLED; s++) {
        if (text_eq(text, key_state_name(s))) {
            return s;
        }
    }
    return KEY_PASSIVE; /* trusted, and nothing more is claimed */
}

static void key_record_decode(const json_t *from, struct key_record *ret)
{
    *ret = (struct key_record){
        .published_s = date_member(from, "publishedAt"),
        .ready_s = date_member(from, "readyAt"),
        .active_s = date_member(from, "activeAt"),
        .retired_s = date_member(from, "retiredAt"),
        .removed_s = date_member(from, "removedAt"),
        .retired_by = count_member(from, "retiredBy"),
        .retire_approved = json_flag(from, "retireApproved"),
        .tokens_live_s = (int64_t)count_member(from, "tokensLiveSeconds"),
    };
    if (!key_lifecycle_parse(json_text(from, "lifecycle"), &ret->lifecycle)) {
        ret->lifecycle = LIFECYCLE_UNKNOWN;
    }
}

static void key_decode(const json_t *from, struct arena *arena, struct key_status *ret)
{
    const json_t *announced = json_object_get(from, "announced");
    *ret = (struct key_status){
        .kid = arena_strdup(arena, json_text(from, "kid")),
        .algorithm = rotation_cut(from, "algorithm", BOUND_ALGORITHM, arena),
        .state = key_state_of(json_text(from, "state")),
        .component = rotation_cut(from, "component", BOUND_COMPONENT, arena),
        .provider = rotation_cut(from, "provider", BOUND_COMPONENT, arena),
        .not_after_s = date_member(from, "notAfter"),
        .spki_sha256 = rotation_cut(from, "spkiSHA256", BOUND_SPKI, arena),
        .rotation = count_member(from, "rotation"),
        .removable_s = date_member(from, "removableAt"),
    };
    key_record_decode(from, &ret->record);
    for (size_t i = 0; i < json_array_size(announced); i++) {
        const char *text = json_text_of(json_array_get(announced, i));
        bool usable = text != NULL && *text != '\0' && strlen(text) <= BOUND_ANNOUNCED;
        for (size_t k = 0; usable && k < ret->announced_count; k++) {
            usable = !text_eq(text, ret->announced[k]);
        }
        if (usable && ret->announced_count < ARRAY_LEN(ret->announced)) {
            const char *copy = arena_strdup(arena, text);
            ret->announced[ret->announced_count] = copy;
            ret->announced_count += copy != NULL;
        }
    }
}

/* A second entry for a kid says nothing. */
static bool kid_is_new(const struct key_status *keys, size_t count, const char *kid)
{
    if (!rotation_kid_fits(kid)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (text_eq(keys[i].kid, kid)) {
            return false;
        }
    }
    return true;
}

static void keys_decode(const json_t *from, struct arena *arena, struct rotation_status *ret)
{
    size_t count = json_array_size(from);
    count = count > LIMIT_KEYS ? LIMIT_KEYS : count;
    struct key_status *keys = count == 0 ? NULL : arena_array(arena, count, sizeof(*keys));
    size_t made = 0;
    for (size_t i = 0; keys != NULL && i < count; i++) {
        const json_t *item = json_array_get(from, i);
        if (kid_is_new(keys, made, json_text(item, "kid"))) {
            key_decode(item, arena, &keys[made]);
            made += keys[made].kid != NULL;
        }
    }
    ret->keys = keys;
    ret->keys_count = made;
}

static enum consumer_state consumer_state_of(const char *text)
{
    for (enum consumer_state s = CONSUMER_APPLYING; s <= CONSUMER_FAILED; s++) {
        if (text_eq(text, consumer_state_name(s))) {
            return s;
        }
    }
    return CONSUMER_APPLYING;
}

static void consumers_decode(const json_t *from, struct arena *arena, struct rotation_status *ret)
{
    size_t count = json_array_size(from);
    count = count > LIMIT_CONSUMERS ? LIMIT_CONSUMERS : count;
    struct consumer_status *all = count == 0 ? NULL : arena_array(arena, count, sizeof(*all));
    size_t made = 0;
    for (size_t i = 0; all != NULL && i < count; i++) {
        const json_t *item = json_array_get(from, i);
        const char *name = json_text(item, "name");
        if (name == NULL || *name == '\0' || strlen(name) > BOUND_CONSUMER_NAME) {
            continue;
        }
        all[made] = (struct consumer_status){
            .name = arena_strdup(arena, name),
            .object = rotation_cut(item, "object", BOUND_OBJECT, arena),
            .trust_hash = rotation_cut(item, "trustHash", BOUND_TRUST_HASH, arena),
            .state = consumer_state_of(json_text(item, "state")),
            .pods = rotation_cut(item, "pods", BOUND_PODS, arena),
            .message = rotation_cut(item, "message", BOUND_TEXT, arena),
        };
        made += all[made].name != NULL;
    }
    ret->consumers = all;
    ret->consumers_count = made;
}

static void condition_decode(const json_t *from, struct arena *arena, struct condition *ret)
{
    const char *status = json_text(from, "status");
    int64_t generation = json_number(from, "observedGeneration", 0);
    *ret = (struct condition){
        .status = text_eq(status, "True")    ? CONDITION_TRUE
                  : text_eq(status, "False") ? CONDITION_FALSE
                                             : CONDITION_UNKNOWN,
        .reason = rotation_cut(from, "reason", BOUND_REASON, arena),
        .message = rotation_cut(from, "message", BOUND_TEXT, arena),
        .last_transition_s = date_member(from, "lastTransitionTime"),
        .observed_generation = generation < 0 ? 0 : generation,
    };
}

static void conditions_decode(const json_t *from, struct arena *arena, struct rotation_status *ret)
{
    for (size_t i = 0; i < json_array_size(from); i++) {
        const json_t *item = json_array_get(from, i);
        const char *type = json_text(item, "type");
        for (enum condition_type t = 0; t < CONDITION_COUNT; t++) {
            if (ret->conditions[t].reason == NULL && text_eq(type, condition_type_name(t))) {
                condition_decode(item, arena, &ret->conditions[t]);
            }
        }
    }
}

/* Without a number there is none. */
static void record_decode(const json_t *from, struct arena *arena, struct rotation_record *ret)
{
    uint64_t number = count_member(from, "number");
    if (number == 0) {
        return;
    }
    *ret = (struct rotation_record){
        .number = number,
        .kid = kid_member(from, "kid", arena),
        .from = kid_member(from, "from", arena),
        .started_s = date_member(from, "startedAt"),
        .requested_s = date_member(from, "requestedAt"),
        .requested_by = rotation_cut(from, "requestedBy", BOUND_PERSON, arena),
        .note = rotation_cut(from, "note", BOUND_NOTE, arena),
        .standby_s = date_member(from, "standbyAt"),
        .approved_s = date_member(from, "approvedAt"),
        .approved_by = rotation_cut(from, "approvedBy", BOUND_PERSON, arena),
        .promoted_s = date_member(from, "promotedAt"),
        .confirmed_s = date_member(from, "confirmedAt"),
        .done_s = date_member(from, "doneAt"),
        .aborted_s = date_member(from, "abortedAt"),
        .aborting = json_flag(from, "aborting"),
    };
    if (!rotation_reason_parse(json_text(from, "reason"), &ret->reason)) {
        ret->reason = REASON_STANDBY;
    }
}

static void change_decode(const json_t *from, struct arena *arena, struct change *ret)
{
    enum change_kind kind = CHANGE_NONE;
    if (!change_kind_parse(json_text(from, "kind"), &kind) || kind == CHANGE_NONE) {
        return;
    }
    *ret = (struct change){
        .kind = kind,
        .number = count_member(from, "number"),
        .kid = kid_member(from, "kid", arena),
        .at_s = date_member(from, "at"),
        .priority = json_number(from, "priority", 0),
    };
}

static void taken_decode(const json_t *from, struct arena *arena, struct operation *ret)
{
    enum operation_kind kind = OPERATION_NONE;
    if (!operation_kind_parse(json_text(from, "operation"), &kind)) {
        return;
    }
    *ret = (struct operation){
        .kind = kind,
        .number = count_member(from, "number"),
        .kid = kid_member(from, "kid", arena),
        .by = rotation_cut(from, "by", BOUND_PERSON, arena),
        .note = rotation_cut(from, "note", BOUND_NOTE, arena),
        .at_s = date_member(from, "at"),
        .refused = rotation_cut(from, "refused", BOUND_TEXT, arena),
        .cleared = json_flag(from, "cleared"),
    };
}

static void next_decode(const json_t *from, struct arena *arena, struct transition_status *ret)
{
    const char *step = rotation_cut(from, "step", BOUND_WORD, arena);
    if (step == NULL) {
        return;
    }
    *ret = (struct transition_status){
        .step = step,
        .at_s = date_member(from, "at"),
        .blocked_by = rotation_cut(from, "blockedBy", BOUND_TEXT, arena),
        .command = rotation_cut(from, "command", BOUND_TEXT, arena),
    };
}

static void history_decode(const json_t *from, struct arena *arena, struct rotation_status *ret)
{
    size_t size = json_array_size(from) < LIMIT_HISTORY ? json_array_size(from) : LIMIT_HISTORY;
    struct past_rotation *all = size == 0 ? NULL : arena_array(arena, size, sizeof(*all));
    ret->history = all;
    for (size_t i = 0; all != NULL && i < json_array_size(from) && ret->history_count < size; i++) {
        const json_t *item = json_array_get(from, i);
        struct past_rotation *past = &all[ret->history_count];
        uint64_t number = count_member(item, "number");
        if (number == 0) {
            continue;
        }
        *past = (struct past_rotation){
            .number = number,
            .kid = kid_member(item, "kid", arena),
            .requested_by = rotation_cut(item, "requestedBy", BOUND_PERSON, arena),
            .started_s = date_member(item, "startedAt"),
            .ended_s = date_member(item, "endedAt"),
            .outcome = rotation_cut(item, "outcome", BOUND_WORD, arena),
        };
        if (!rotation_reason_parse(json_text(item, "reason"), &past->reason)) {
            past->reason = REASON_STANDBY;
        }
        ret->history_count++;
    }
}

void rotation_status_decode(const json_t *status, struct arena *arena, struct rotation_status *ret)
{
    const json_t *issuer = json_object_get(status, "issuer");
    const char *phase = json_text(status, "phase");
    int64_t generation = json_number(status, "observedGeneration", 0);

    *ret = (struct rotation_status){
        .observed_generation = generation < 0 ? 0 : generation,
        .phase = PHASE_PENDING,
        .realm = rotation_cut(status, "realm", BOUND_TEXT, arena),
        .active_kid = rotation_cut(status, "activeKid", BOUND_TEXT, arena),
        .issuer_url = rotation_cut(issuer, "url", BOUND_TEXT, arena),
        .jwks_url = rotation_cut(issuer, "jwksURL", BOUND_TEXT, arena),
        .cert_expires_s = date_member(status, "certExpires"),
        .refreshed = rotation_cut(status, "refreshed", BOUND_TEXT, arena),
        .consumers_up_to_date = rotation_cut(status, "consumersUpToDate", BOUND_READY_COUNT, arena),
        .next_kid = kid_member(status, "nextKid", arena),
    };
    for (enum rotation_phase p = PHASE_PENDING; p < PHASE_COUNT; p++) {
        if (text_eq(phase, rotation_phase_name(p))) {
            ret->phase = p;
        }
    }
    keys_decode(json_object_get(status, "keys"), arena, ret);
    consumers_decode(json_object_get(status, "consumers"), arena, ret);
    record_decode(json_object_get(status, "rotation"), arena, &ret->rotation);
    change_decode(json_object_get(status, "change"), arena, &ret->change);
    taken_decode(json_object_get(status, "operation"), arena, &ret->operation);
    next_decode(json_object_get(status, "nextTransition"), arena, &ret->next);
    history_decode(json_object_get(status, "history"), arena, ret);
    conditions_decode(json_object_get(status, "conditions"), arena, ret);
}
