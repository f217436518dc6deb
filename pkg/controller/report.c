/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/report.h"

#include <stdio.h>
#include <string.h>
#include "base/date.h"
#include "codec/json.h"
#include "codec/rotation_codec.h"
#include "controller/events.h"
#include "controller/internal.h"
#include "controller/issuer.h"
#include "controller/known.h"
#include "controller/lifecycle.h"
#include "controller/patch.h"
#include "controller/retry.h"
#include "controller/rotate_report.h"
#include "obs/log.h"

#define STATUS_APART_MS 1000
#define STATUS_RETRY_MAX_MS 30000

/* ---- Events ----
 *
 * A transition is from the status that was read: its resourceVersion makes the Event's name, so
 * that a status that cannot be written for an hour says its transition once. */

static bool say_warning(struct rotation_state *s, const struct rotation_object *object,
                        const struct rotation_view *v, const struct plan_warning *w)
{
    const struct view_key *k = &v->keys[w->key];
    const char *threshold =
        w->threshold == WARN_EXPIRED ? "Expired" : v->spec->warn_before[w->threshold].text;
    char at[DATE_TEXT_MAX], left[DATE_TEXT_MAX];
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {0};
    date_rfc3339(k->not_after_s, at);
    date_duration_words(k->not_after_s - v->now_s, left);
    buf_appendf(&about, "%s/%s/%s", k->kid, at, threshold);
    if (w->threshold == WARN_EXPIRED)
        buf_appendf(
            &note,
            "the certificate of %s key %s expired at %s; verifiers that check it refuse the key's tokens. "
            "Renew the certificate or retire the key",
            key_state_name(k->state), k->kid, at);
    else
        buf_appendf(
            &note,
            "the certificate of %s key %s expires in %s, at %s (warned %s before); renew it or %s the "
            "key before",
            key_state_name(k->state), k->kid, left, at, threshold,
            k->state == KEY_ACTIVE ? "rotate" : "retire");
    return event_say(s, object,
                     &(struct event_text){.warning = true,
                                          .reason = w->threshold == WARN_EXPIRED
                                                        ? "CertificateExpired"
                                                        : "CertificateExpiring",
                                          .about = buf_text(&about),
                                          .note = buf_text(&note)});
}

static void say_consumers(struct rotation_state *s, const struct rotation_object *object,
                          const struct rotation_status *next)
{
    size_t given = known_given(&s->known);
    for (size_t i = 0; i < s->objects_count; i++) {
        const struct consumer_status *now = &next->consumers[i],
                                     *before = status_consumer(&object->status, s->objects[i]);
        struct buf cleanup_buf about = {0};
        struct buf cleanup_buf note = {0};
        buf_appendf(&about, "%s/%s", now->name, now->trust_hash != NULL ? now->trust_hash : "");
        bool published = now->state == CONSUMER_ROLLING || now->state == CONSUMER_UP_TO_DATE;
        if (published && (before == NULL || !text_eq(before->trust_hash, now->trust_hash))) {
            buf_appendf(&note, "consumer %s: %zu key%s published to %s, trust set %s", now->name,
                        given, given == 1 ? "" : "s", now->object, now->trust_hash);
            (void)event_say(s, object,
                            &(struct event_text){.reason = "KeysPublished",
                                                 .about = buf_text(&about),
                                                 .note = buf_text(&note)});
        }
        if (now->state == CONSUMER_FAILED && (before == NULL || before->state != CONSUMER_FAILED)) {
            buf_appendf(&about, "@%s", object->meta.resource_version);
            buf_appendf(&note, "consumer %s: %s", now->name, now->message);
            (void)event_say(s, object,
                            &(struct event_text){.warning = true,
                                                 .reason = "ConsumerFailed",
                                                 .about = buf_text(&about),
                                                 .note = buf_text(&note)});
        }
    }
}

static bool has_kid(const struct key_status *keys, size_t count, const char *kid,
                    const char *identity)
{
    for (size_t i = 0; i < count; i++)
        if (text_eq(keys[i].kid, kid) && text_eq(keys[i].spki_sha256, identity))
            return true;
    return false;
}

static void note_certificates(const struct rotation_status *before,
                              const struct rotation_status *next, struct buf *note)
{
    for (size_t i = 0; i < next->keys_count; i++) {
        const struct key_status *now = &next->keys[i], *was = status_key(before, now->kid);
        char ends[DATE_TEXT_MAX];
        if (was == NULL || was->not_after_s == 0 || now->not_after_s == 0 ||
            was->not_after_s == now->not_after_s)
            continue;
        date_rfc3339(now->not_after_s, ends);
        buf_appendf(note, "%s%s has another certificate, which expires at %s",
                    note->len > 0 ? ", " : "", now->kid, ends);
    }
}

static void say_keys(struct rotation_state *s, const struct rotation_object *object,
                     const struct rotation_status *next)
{
    const struct rotation_status *before = &object->status;
    struct buf cleanup_buf note = {.max = 900};
    struct buf cleanup_buf about = {0};
    if (before->keys_count == 0 || next->keys_count == 0)
        return;
    for (size_t i = 0; i < next->keys_count; i++)
        if (next->keys[i].rotation == 0 && !has_kid(before->keys, before->keys_count,
                                                    next->keys[i].kid, next->keys[i].spki_sha256))
            buf_appendf(&note, "%s%s appeared (%s)", note.len > 0 ? ", " : "", next->keys[i].kid,
                        key_state_name(next->keys[i].state));
    for (size_t i = 0; i < before->keys_count; i++)
        if (before->keys[i].record.lifecycle != LIFECYCLE_REMOVED &&
            !has_kid(next->keys, next->keys_count, before->keys[i].kid,
                     before->keys[i].spki_sha256))
            buf_appendf(&note, "%s%s left", note.len > 0 ? ", " : "", before->keys[i].kid);
    note_certificates(before, next, &note);
    bool promoted = next->rotation.promoted_s != 0 && next->rotation.done_s == 0 &&
                    text_eq(next->rotation.kid, next->active_kid);
    if (!text_eq(before->active_kid, next->active_kid) && next->active_kid != NULL && !promoted)
        buf_appendf(&note, "%s%s signs now", note.len > 0 ? ", " : "", next->active_kid);
    if (note.len == 0)
        return;
    buf_appendf(&about, "@%s", object->meta.resource_version);
    (void)event_say(s, object,
                    &(struct event_text){.reason = "KeysChangedExternally",
                                         .about = buf_text(&about),
                                         .note = buf_text(&note)});
}

/* Conditions whose turning is worth an Event of their own. */
static const enum condition_type told[] = {CONDITION_STALLED, CONDITION_KEYS_AS_EXPECTED,
                                           CONDITION_ISSUER_CONSISTENT,
                                           CONDITION_CERTIFICATES_VALID, CONDITION_READY};

/* Reasons that are no news, or have Events of their own: a consumer's, a threshold's. */
static bool is_told_elsewhere(const char *reason)
{
    static const char *const reasons[] = {"NotChecked", "NoKeys", "ConsumerFailed",
                                          "CertificateExpiring", "CertificateExpired"};
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (text_eq(reason, reasons[i]))
            return true;
    return false;
}

static void say_condition(struct rotation_state *s, const struct rotation_object *object,
                          enum condition_type type, const struct condition *now)
{
    const struct condition *before = &object->status.conditions[type];
    struct buf cleanup_buf about = {0};
    bool bad =
        type == CONDITION_STALLED ? now->status == CONDITION_TRUE : now->status != CONDITION_TRUE;
    if (text_eq(before->reason, now->reason) && before->status == now->status)
        return;
    /* Without the type: what stalls a rotation is often said by another condition too. */
    buf_appendf(&about, "@%s", object->meta.resource_version);
    if (type == CONDITION_READY && !bad)
        (void)event_say(s, object,
                        &(struct event_text){
                            .reason = "Steady", .about = buf_text(&about), .note = now->message});
    else if (type != CONDITION_READY && bad && !is_told_elsewhere(now->reason))
        (void)event_say(s, object,
                        &(struct event_text){.warning = true,
                                             .reason = now->reason,
                                             .about = buf_text(&about),
                                             .note = now->message});
}

/* ---- status ---- */

/* A threshold of the spec that lies behind us. Others are forgotten: the spec no longer has them,
 * or a clock that ran ahead has been put right. */
static bool is_passed(const struct rotation_view *v, const struct view_key *k, const char *text)
{
    int64_t left_s = k->not_after_s - v->now_s;
    if (text_eq(text, "Expired"))
        return left_s <= 0;
    for (size_t i = 0; i < v->spec->warn_before_count; i++)
        if (text_eq(v->spec->warn_before[i].text, text))
            return left_s <= v->spec->warn_before[i].seconds;
    return false;
}

static void fill_key(const struct rotation_view *v, const struct known_key *k,
                     const struct view_key *seen, struct key_status *ret)
{
    *ret = (struct key_status){.kid = k->key->kid,
                               .algorithm = k->key->alg,
                               .state = k->state,
                               .component = k->component[0] != '\0' ? k->component : NULL,
                               .provider = k->provider[0] != '\0' ? k->provider : NULL,
                               .not_after_s = seen->not_after_s,
                               .spki_sha256 = k->key->spki_sha256};
    for (size_t i = 0; i < seen->announced_count; i++)
        if (is_passed(v, seen, seen->announced[i]) &&
            ret->announced_count < ARRAY_LEN(ret->announced))
            ret->announced[ret->announced_count++] = seen->announced[i];
}

static void add_announced(struct key_status *k, const char *text)
{
    for (size_t i = 0; i < k->announced_count; i++)
        if (text_eq(k->announced[i], text))
            return;
    if (k->announced_count < ARRAY_LEN(k->announced))
        k->announced[k->announced_count++] = text;
}

/* A threshold said makes the larger ones said too. */
static void announce(struct rotation_state *s, const struct rotation_object *object,
                     const struct rotation_view *v, const struct rotation_plan *p,
                     struct key_status *keys)
{
    for (size_t i = 0; i < p->warnings_count; i++) {
        const struct plan_warning *w = &p->warnings[i];
        if (!say_warning(s, object, v, w))
            continue;
        size_t last =
            w->threshold == WARN_EXPIRED ? v->spec->warn_before_count : (size_t)w->threshold + 1;
        for (size_t t = 0; t < last; t++)
            add_announced(&keys[w->key], v->spec->warn_before[t].text);
        if (w->threshold == WARN_EXPIRED)
            add_announced(&keys[w->key], "Expired");
    }
}

static void fill_consumer(struct rotation_state *s, size_t i, const struct rotation_object *object,
                          const struct rotation_view *v, const struct rotation_plan *p,
                          struct consumer_status *ret)
{
    struct arena *arena = controller_pass_arena(s->controller);
    char says[PLAN_MESSAGE_MAX];
    const struct object_slot *o = s->objects[i];
    const struct plan_consumer *pc = &p->consumers[i];
    const struct consumer_status *before = status_consumer(&object->status, o);
    const struct rendering *r = state_rendering(s, o->formats, s->renderings_issuer);
    bool published = pc->state == CONSUMER_ROLLING || pc->state == CONSUMER_UP_TO_DATE;
    const char *hash = published && r != NULL ? r->hash
                       : before != NULL       ? before->trust_hash
                                              : NULL;
    if (!published && r != NULL && text_eq(o->acked_digest, r->digest))
        hash = r->hash; /* written; it is a workload that failed */
    *ret = (struct consumer_status){
        .name = o->consumer,
        .state = pc->state,
        .object = arena_printf(arena, "%s/%s", object_kind_name(o->kind), o->name),
        .trust_hash = hash,
        .message = plan_consumer_says(v, p, i, says) ? arena_strdup(arena, says) : NULL};
    if (pc->pods_wanted > 0)
        ret->pods =
            arena_printf(arena, "%lld/%lld", (long long)pc->pods_ready, (long long)pc->pods_wanted);
}

/* Consumers of the spec, then those whose objects are still to be deleted. */
static int fill_consumers(struct rotation_state *s, const struct rotation_object *object,
                          const struct rotation_view *v, const struct rotation_plan *p,
                          struct rotation_status *ret)
{
    struct arena *arena = controller_pass_arena(s->controller);
    const struct rotation_status *before = &object->status;
    struct consumer_status *list =
        arena_array(arena, s->objects_count + before->consumers_count + 1, sizeof(*list));
    if (list == NULL)
        return -1;
    size_t count = 0;
    for (size_t i = 0; i < s->objects_count; i++)
        fill_consumer(s, i, object, v, p, &list[count++]);
    for (size_t i = 0; i < before->consumers_count && count < LIMIT_CONSUMERS; i++)
        if (lifecycle_is_leaving(s, object, &before->consumers[i])) {
            list[count] = before->consumers[i];
            list[count].state = CONSUMER_APPLYING;
            list[count++].message = "is being deleted";
        }
    ret->consumers = list;
    ret->consumers_count = count;
    ret->consumers_up_to_date = arena_printf(arena, "%zu/%zu", p->up_to_date, s->objects_count);
    return 0;
}

static void fill_conditions(const struct rotation_object *object, const struct rotation_plan *p,
                            int64_t now_s, struct rotation_status *ret)
{
    for (size_t i = 0; i < CONDITION_COUNT; i++) {
        const struct condition *before = &object->status.conditions[i];
        struct condition *c = &ret->conditions[i];
        *c = (struct condition){.status = p->conditions[i].status,
                                .reason = p->conditions[i].reason,
                                .message = p->conditions[i].message,
                                .observed_generation = object->meta.generation,
                                .last_transition_s = now_s};
        if (before->reason != NULL && before->status == c->status && before->last_transition_s != 0)
            c->last_transition_s = before->last_transition_s;
    }
}

static const char *shown_realm(const struct rotation_object *object)
{
    const char *url =
        object->spec.issuer_url != NULL ? object->spec.issuer_url : object->spec.jwks_url;
    if (object->spec.realm != NULL)
        return object->spec.realm;
    const char *host = url != NULL ? strstr(url, "://") : NULL;
    return host != NULL ? host + 3 : url;
}

static int fill_status(struct rotation_state *s, const struct rotation_object *object,
                       const struct rotation_view *v, const struct rotation_plan *p,
                       struct rotating *rotating, struct rotation_status *ret)
{
    struct arena *arena = controller_pass_arena(s->controller);
    struct key_status *keys = arena_array(arena, LIMIT_KEYS, sizeof(*keys));
    *ret = (struct rotation_status){.observed_generation = object->meta.generation,
                                    .phase = p->phase,
                                    .realm = shown_realm(object),
                                    .active_kid = p->active_kid,
                                    .issuer_url = issuer_url(s, object),
                                    .jwks_url = issuer_jwks_url(s, object, arena),
                                    .cert_expires_s = p->cert_expires_s,
                                    .refreshed = issuer_refreshed(s, object)};
    if (keys == NULL || fill_consumers(s, object, v, p, ret) != 0)
        return -1;
    for (size_t i = 0; i < v->keys_count; i++)
        fill_key(v, &s->known.keys[i], &v->keys[i], &keys[i]);
    announce(s, object, v, p, keys);
    ret->keys = keys;
    ret->keys_count = v->keys_count;
    rotate_fill(rotating, object, keys, ret);
    fill_conditions(object, p, v->now_s, ret);
    return arena->failed ? -1 : 0;
}

/* A spec that cannot be used changes nothing but what is said about it. */
static void keep_status(const struct rotation_object *object, const struct rotation_plan *p,
                        int64_t now_s, struct rotation_status *ret)
{
    struct rotation_status said = {0};
    fill_conditions(object, p, now_s, &said);
    *ret = object->status;
    ret->observed_generation = object->meta.generation;
    ret->phase = p->phase;
    static const enum condition_type changed[] = {CONDITION_READY, CONDITION_STALLED,
                                                  CONDITION_RECONCILING};
    for (size_t i = 0; i < ARRAY_LEN(changed); i++)
        ret->conditions[changed[i]] = said.conditions[changed[i]];
}

static void status_done(void *ctx, const struct kube_answer *answer)
{
    struct rotation_state *s = ctx;
    struct controller *c = s->controller;
    struct arena cleanup_arena arena = {.max = 65536};
    struct object_meta meta;
    int64_t delay_ms = STATUS_APART_MS;
    s->status_call = NULL;
    turns_give_back(s);
    if (answer->err.class == ERR_NONE) {
        s->status_tries = 0;
        json_t *tree cleanup_json = json_load(answer->body, true, "answer to a status", NULL);
        if (tree != NULL && kube_meta_decode(tree, &arena, &meta, NULL) == 0)
            (void)snprintf(s->status_version, sizeof(s->status_version), "%s",
                           meta.resource_version);
    } else if (answer->err.class == ERR_CONFLICT || answer->err.class == ERR_NOT_FOUND) {
        delay_ms = 300; /* the watch brings what is there now */
    } else {
        delay_ms = retry_delay_ms(c, s->status_tries++, STATUS_RETRY_MAX_MS, &answer->err);
        log_warn("status not written", LOG_TEXT("rotation", s->key),
                 LOG_TEXT("error", answer->err.msg), LOG_NUMBER("retry_ms", delay_ms));
    }
    s->status_retry_ms = controller_now_ms(c) + delay_ms;
    controller_due(c, s->key, delay_ms);
}

static void write_status(struct rotation_state *s, const struct rotation_object *object,
                         const struct rotation_status *next)
{
    struct buf cleanup_buf body = {0};
    rotation_status_patch(&object->meta, next, &body);
    s->status_ms = controller_now_ms(s->controller);
    s->status_call = patch_rotation(s, "/status", PATCH_MERGE, &body, status_done);
    if (s->status_call == NULL)
        turns_give_back(s);
}

static bool status_differs(const struct rotation_status *a, const struct rotation_status *b)
{
    struct buf cleanup_buf left = {0};
    struct buf cleanup_buf right = {0};
    rotation_status_encode(a, &left);
    rotation_status_encode(b, &right);
    return !str_eq(buf_view(&left), buf_view(&right));
}

bool report_is_recorded(const struct rotation_state *s, const struct rotation_object *object)
{
    return s->status_call == NULL &&
           !world_version_older(object->meta.resource_version, s->status_version);
}

void report(struct rotation_state *s, const struct rotation_object *object,
            const struct rotation_view *v, const struct rotation_plan *p, struct rotating *rotating)
{
    struct controller *c = s->controller;
    struct rotation_status next;
    int64_t apart_ms = s->status_ms + STATUS_APART_MS - controller_now_ms(c);
    bool turns = s->status_ms == 0 || p->phase != object->status.phase ||
                 (rotating != NULL && rotate_is_news(rotating, &object->status));
    if (p->premature || !report_is_recorded(s, object))
        return; /* the end of the poll, our own last write's answer or its event brings the next
                   pass */
    if (s->status_tries > 0)
        apart_ms = s->status_retry_ms - controller_now_ms(c);
    if (apart_ms > 0 && (!turns || s->status_tries > 0)) {
        controller_due(c, s->key, apart_ms);
        return;
    }
    if (object->spec_error != NULL)
        keep_status(object, p, v->now_s, &next);
    else if (fill_status(s, object, v, p, rotating, &next) != 0)
        return;
    if (!status_differs(&object->status, &next) || !controller_may_write(c, WRITE_TIMEOUT_MS) ||
        !turns_take(s, TURN_STATUS))
        return;
    if (object->spec_error == NULL) {
        say_keys(s, object, &next);
        say_consumers(s, object, &next);
        if (rotating != NULL)
            rotate_say(s, object, rotating, &next);
    }
    for (size_t i = 0; i < ARRAY_LEN(told); i++)
        say_condition(s, object, told[i], &next.conditions[told[i]]);
    write_status(s, object, &next);
}

void report_deletion(struct rotation_state *s, const struct rotation_object *object)
{
    struct controller *c = s->controller;
    struct rotation_status next = object->status;
    struct condition *ready = &next.conditions[CONDITION_READY];
    const char *failure = lifecycle_failure(s);
    int64_t apart_ms = s->status_ms + STATUS_RETRY_MAX_MS - controller_now_ms(c);
    if (failure == NULL || s->status_call != NULL || (s->status_ms != 0 && apart_ms > 0))
        return;
    *ready = (struct condition){.status = CONDITION_FALSE,
                                .reason = "DeletionBlocked",
                                .message =
                                    arena_printf(controller_pass_arena(c),
                                                 "what was published is not gone yet: %s", failure),
                                .observed_generation = object->meta.generation,
                                .last_transition_s = controller_now_s(c)};
    if (status_differs(&object->status, &next) && controller_may_write(c, WRITE_TIMEOUT_MS) &&
        turns_take(s, TURN_STATUS))
        write_status(s, object, &next);
}
