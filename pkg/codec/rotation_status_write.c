/* SPDX-License-Identifier: Apache-2.0
 *
 * The status half of rotation_codec, writing: what is written fits the schema. */
#include "codec/rotation_codec.h"

#include <string.h>
#include "base/date.h"
#include "base/utf8.h"
#include "codec/rotation_bounds.h"

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

static void put_kid(const struct writer *w, const char *key, const char *kid)
{
    put_text(w, key, rotation_kid_fits(kid) ? kid : NULL, LIMIT_KID);
}

/* The number of a rotation, 0 for none. */
static void put_count(const struct writer *w, const char *key, uint64_t count)
{
    put_number(w, key, count <= BOUND_COUNT ? (int64_t)count : 0);
}

/* Absent is false. */
static void put_flag(const struct writer *w, const char *key, bool flag)
{
    if (!flag) {
        put_null(w, key);
        return;
    }
    put_key(w, key);
    buf_append_text(w->out, "true");
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

static void put_lifecycle(const struct writer *w, const struct key_status *key)
{
    const struct key_record *r = &key->record;
    put_count(w, "rotation", key->rotation);
    put_text(w, "lifecycle",
             r->lifecycle == LIFECYCLE_UNKNOWN ? NULL : key_lifecycle_name(r->lifecycle),
             BOUND_WORD);
    put_date(w, "publishedAt", r->published_s);
    put_date(w, "readyAt", r->ready_s);
    put_date(w, "activeAt", r->active_s);
    put_date(w, "retiredAt", r->retired_s);
    put_date(w, "removedAt", r->removed_s);
    put_count(w, "retiredBy", r->retired_by);
    put_flag(w, "retireApproved", r->retire_approved);
    put_number(w, "tokensLiveSeconds", r->tokens_live_s);
    put_date(w, "removableAt", key->removable_s);
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
    put_lifecycle(&w, key);
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
        if (rotation_kid_fits(status->keys[i].kid)) {
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

/* A merge patch merges objects: what their members have lost is null in them too. */
static void put_rotation(const struct writer *w, const struct rotation_record *r)
{
    if (r->number == 0 || r->number > BOUND_COUNT) {
        put_null(w, "rotation");
        return;
    }
    put_key(w, "rotation");
    buf_append_char(w->out, '{');
    put_count(w, "number", r->number);
    put_text(w, "reason", rotation_reason_name(r->reason), BOUND_WORD);
    put_kid(w, "kid", r->kid);
    put_kid(w, "from", r->from);
    put_date(w, "startedAt", r->started_s);
    put_date(w, "requestedAt", r->requested_s);
    put_text(w, "requestedBy", r->requested_by, BOUND_PERSON);
    put_text(w, "note", r->note, BOUND_NOTE);
    put_date(w, "standbyAt", r->standby_s);
    put_date(w, "approvedAt", r->approved_s);
    put_text(w, "approvedBy", r->approved_by, BOUND_PERSON);
    put_date(w, "promotedAt", r->promoted_s);
    put_date(w, "confirmedAt", r->confirmed_s);
    put_date(w, "doneAt", r->done_s);
    put_date(w, "abortedAt", r->aborted_s);
    put_flag(w, "aborting", r->aborting);
    buf_append_char(w->out, '}');
}

static void put_change(const struct writer *w, const struct change *change)
{
    if (change->kind == CHANGE_NONE) {
        put_null(w, "change");
        return;
    }
    put_key(w, "change");
    buf_append_char(w->out, '{');
    put_text(w, "kind", change_kind_name(change->kind), BOUND_WORD);
    put_count(w, "number", change->number);
    put_kid(w, "kid", change->kid);
    put_date(w, "at", change->at_s);
    if (change->priority == 0) {
        put_null(w, "priority");
    } else {
        put_key(w, "priority"); /* Keycloak takes negative ones */
        buf_appendf(w->out, "%lld", (long long)change->priority);
    }
    buf_append_char(w->out, '}');
}

static void put_operation(const struct writer *w, const struct operation *taken)
{
    if (taken->kind == OPERATION_NONE) {
        put_null(w, "operation");
        return;
    }
    put_key(w, "operation");
    buf_append_char(w->out, '{');
    put_text(w, "operation", operation_kind_name(taken->kind), BOUND_WORD);
    put_count(w, "number", taken->number);
    put_kid(w, "kid", taken->kid);
    put_text(w, "by", taken->by, BOUND_PERSON);
    put_text(w, "note", taken->note, BOUND_NOTE);
    put_date(w, "at", taken->at_s);
    put_text(w, "refused", taken->refused, BOUND_TEXT);
    put_flag(w, "cleared", taken->cleared);
    buf_append_char(w->out, '}');
}

static void put_next(const struct writer *w, const struct transition_status *next)
{
    if (next->step == NULL || *next->step == '\0') {
        put_null(w, "nextTransition");
        return;
    }
    put_key(w, "nextTransition");
    buf_append_char(w->out, '{');
    put_text(w, "step", next->step, BOUND_WORD);
    put_date(w, "at", next->at_s);
    put_text(w, "blockedBy", next->blocked_by, BOUND_TEXT);
    put_text(w, "command", next->command, BOUND_TEXT);
    buf_append_char(w->out, '}');
}

static void put_history(const struct writer *w, const struct rotation_status *status)
{
    const struct writer item = {.out = w->out};
    size_t made = 0;
    if (status->history_count == 0) {
        put_null(w, "history");
        return;
    }
    put_key(w, "history");
    buf_append_char(w->out, '[');
    for (size_t i = 0; i < status->history_count && i < LIMIT_HISTORY; i++) {
        const struct past_rotation *past = &status->history[i];
        if (past->number == 0 || past->number > BOUND_COUNT) {
            continue;
        }
        buf_append_text(w->out, made++ > 0 ? ",{" : "{");
        put_count(&item, "number", past->number);
        put_text(&item, "reason", rotation_reason_name(past->reason), BOUND_WORD);
        put_kid(&item, "kid", past->kid);
        put_text(&item, "requestedBy", past->requested_by, BOUND_PERSON);
        put_date(&item, "startedAt", past->started_s);
        put_date(&item, "endedAt", past->ended_s);
        put_text(&item, "outcome", past->outcome, BOUND_WORD);
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
    put_kid(w, "nextKid", status->next_kid);
    put_rotation(w, &status->rotation);
    put_change(w, &status->change);
    put_operation(w, &status->operation);
    put_next(w, &status->next);
    put_history(w, status);
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
