/* SPDX-License-Identifier: Apache-2.0
 *
 * The status half of rotation_codec: what was remembered is read back whatever somebody made of it,
 * entry by entry; what is written fits the schema. */
#include "codec/rotation_codec.h"

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

static int64_t date_member(const json_t *object, const char *key)
{
    int64_t time_s = 0;
    return date_parse(json_text(object, key), &time_s) ? time_s : 0;
}

static enum key_state key_state_of(const char *text)
{
    for (enum key_state s = KEY_ACTIVE; s <= KEY_HELD; s++) {
        if (text_eq(text, key_state_name(s))) {
            return s;
        }
    }
    return KEY_PASSIVE; /* trusted, and nothing more is claimed */
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
    };
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

/* A kid that is too long is no key of ours, and a second entry for a kid says nothing. */
static bool kid_is_new(const struct key_status *keys, size_t count, const char *kid)
{
    if (kid == NULL || *kid == '\0' || strlen(kid) > LIMIT_KID) {
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
    };
    for (enum rotation_phase p = PHASE_PENDING; p <= PHASE_BLOCKED; p++) {
        if (text_eq(phase, rotation_phase_name(p))) {
            ret->phase = p;
        }
    }
    keys_decode(json_object_get(status, "keys"), arena, ret);
    consumers_decode(json_object_get(status, "consumers"), arena, ret);
    conditions_decode(json_object_get(status, "conditions"), arena, ret);
}

/* --- writing ------------------------------------------------------------------------------------
 */

struct writer {
    struct buf *out;
    bool nulls; /* what is absent is written as null, for a merge patch */
};

static void put_key(const struct writer *w, const char *key)
{
    char last = w->out->len > 0 ? w->out->data[w->out->len - 1] : '{';
    if (last != '{') {
        buf_append_char(w->out, ',');
    }
    buf_append_json(w->out, key);
    buf_append_char(w->out, ':');
}

static void put_null(const struct writer *w, const char *key)
{
    if (w->nulls) {
        put_key(w, key);
        buf_append_text(w->out, "null");
    }
}

static void append_cut(struct buf *out, const char *text, size_t max)
{
    size_t len = strlen(text);
    buf_append_json_str(out, (struct str){text, len > max ? utf8_cut(text, max) : len});
}

static void put_text(const struct writer *w, const char *key, const char *text, size_t max)
{
    if (text == NULL || *text == '\0') {
        put_null(w, key);
        return;
    }
    put_key(w, key);
    append_cut(w->out, text, max);
}

static void put_number(const struct writer *w, const char *key, int64_t value)
{
    if (value <= 0) {
        put_null(w, key);
        return;
    }
    put_key(w, key);
    buf_appendf(w->out, "%lld", (long long)value);
}

static void put_date(const struct writer *w, const char *key, int64_t time_s)
{
    char text[DATE_TEXT_MAX];
    if (time_s == 0) {
        put_null(w, key);
        return;
    }
    date_rfc3339(time_s, text);
    put_text(w, key, text, sizeof(text));
}

static void put_issuer(const struct writer *w, const struct rotation_status *status)
{
    if (status->issuer_url == NULL && status->jwks_url == NULL) {
        put_null(w, "issuer");
        return;
    }
    put_key(w, "issuer");
    buf_append_char(w->out, '{');
    put_text(w, "url", status->issuer_url, BOUND_TEXT);
    put_text(w, "jwksURL", status->jwks_url, BOUND_TEXT);
    buf_append_char(w->out, '}');
}

/* Items of a list replace the old list as a whole: no nulls in them. */
static void put_one_key(struct buf *out, const struct key_status *key)
{
    const struct writer w = {.out = out};
    buf_append_char(out, '{');
    put_text(&w, "kid", key->kid, BOUND_TEXT);
    put_text(&w, "algorithm", key->algorithm, BOUND_ALGORITHM);
    put_text(&w, "state", key_state_name(key->state), BOUND_TEXT);
    put_text(&w, "component", key->component, BOUND_COMPONENT);
    put_text(&w, "provider", key->provider, BOUND_COMPONENT);
    put_date(&w, "notAfter", key->not_after_s);
    put_text(&w, "spkiSHA256", key->spki_sha256, BOUND_SPKI);
    if (key->announced_count > 0) {
        put_key(&w, "announced");
        buf_append_char(out, '[');
        for (size_t i = 0; i < key->announced_count; i++) {
            buf_append_text(out, i > 0 ? "," : "");
            append_cut(out, key->announced[i], BOUND_ANNOUNCED);
        }
        buf_append_char(out, ']');
    }
    buf_append_char(out, '}');
}

static void put_keys(const struct writer *w, const struct rotation_status *status)
{
    size_t made = 0;
    if (status->keys_count == 0) {
        put_null(w, "keys");
        return;
    }
    put_key(w, "keys");
    buf_append_char(w->out, '[');
    for (size_t i = 0; i < status->keys_count && made < LIMIT_KEYS; i++) {
        /* The list's map key must be there, and half a kid would be another key. */
        if (kid_is_new(NULL, 0, status->keys[i].kid)) {
            buf_append_text(w->out, made++ > 0 ? "," : "");
            put_one_key(w->out, &status->keys[i]);
        }
    }
    buf_append_char(w->out, ']');
}

static void put_consumers(const struct writer *w, const struct rotation_status *status)
{
    const struct writer item = {.out = w->out};
    size_t made = 0;
    if (status->consumers_count == 0) {
        put_null(w, "consumers");
        return;
    }
    put_key(w, "consumers");
    buf_append_char(w->out, '[');
    for (size_t i = 0; i < status->consumers_count && made < LIMIT_CONSUMERS; i++) {
        const struct consumer_status *c = &status->consumers[i];
        if (c->name == NULL || *c->name == '\0') {
            continue;
        }
        buf_append_text(w->out, made++ > 0 ? ",{" : "{");
        put_text(&item, "name", c->name, BOUND_CONSUMER_NAME);
        put_text(&item, "object", c->object, BOUND_OBJECT);
        put_text(&item, "trustHash", c->trust_hash, BOUND_TRUST_HASH);
        put_text(&item, "state", consumer_state_name(c->state), BOUND_TEXT);
        put_text(&item, "pods", c->pods, BOUND_PODS);
        put_text(&item, "message", c->message, BOUND_TEXT);
        buf_append_char(w->out, '}');
    }
    buf_append_char(w->out, ']');
}

static const char *condition_status_text(enum condition_status status)
{
    switch (status) {
    case CONDITION_TRUE: return "True";
    case CONDITION_FALSE: return "False";
    case CONDITION_UNKNOWN: break;
    }
    return "Unknown";
}

static void put_conditions(const struct writer *w, const struct rotation_status *status)
{
    const struct writer item = {.out = w->out};
    char when[DATE_TEXT_MAX];
    size_t made = 0;
    put_key(w, "conditions");
    buf_append_char(w->out, '[');
    for (enum condition_type t = 0; t < CONDITION_COUNT; t++) {
        const struct condition *c = &status->conditions[t];
        if (c->reason == NULL || *c->reason == '\0') {
            continue;
        }
        date_rfc3339(c->last_transition_s, when);
        buf_append_text(w->out, made++ > 0 ? ",{" : "{");
        put_text(&item, "type", condition_type_name(t), BOUND_TEXT);
        put_text(&item, "status", condition_status_text(c->status), BOUND_TEXT);
        put_text(&item, "reason", c->reason, BOUND_REASON);
        put_key(&item, "message"); /* required, also when empty */
        append_cut(w->out, c->message == NULL ? "" : c->message, BOUND_TEXT);
        put_text(&item, "lastTransitionTime", when, sizeof(when));
        put_number(&item, "observedGeneration", c->observed_generation);
        buf_append_char(w->out, '}');
    }
    buf_append_char(w->out, ']');
}

static void put_status(const struct writer *w, const struct rotation_status *status)
{
    buf_append_char(w->out, '{');
    put_number(w, "observedGeneration", status->observed_generation);
    put_text(w, "phase", rotation_phase_name(status->phase), BOUND_TEXT);
    put_text(w, "realm", status->realm, BOUND_TEXT);
    put_text(w, "activeKid", status->active_kid, BOUND_TEXT);
    put_issuer(w, status);
    put_date(w, "certExpires", status->cert_expires_s);
    put_text(w, "refreshed", status->refreshed, BOUND_TEXT);
    put_text(w, "consumersUpToDate", status->consumers_up_to_date, BOUND_READY_COUNT);
    put_keys(w, status);
    put_consumers(w, status);
    put_conditions(w, status);
    buf_append_char(w->out, '}');
}

void rotation_status_encode(const struct rotation_status *status, struct buf *out)
{
    const struct writer w = {.out = out};
    put_status(&w, status);
}

void rotation_status_patch(const struct object_meta *meta, const struct rotation_status *status,
                           struct buf *out)
{
    const struct writer w = {.out = out, .nulls = true};
    buf_append_text(out, "{\"metadata\":{");
    put_text(&(const struct writer){.out = out}, "resourceVersion", meta->resource_version,
             BOUND_TEXT);
    buf_append_text(out, "},\"status\":");
    put_status(&w, status);
    buf_append_char(out, '}');
}
