/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codec/json.h"
#include "controller/events.h"
#include "controller/internal.h"
#include "controller/known.h"
#include "controller/retry.h"
#include "obs/log.h"

#define RETRY_CAP_MS 30000
#define FOREIGN_RETRY_MS 30000 /* its owner may give it to us, or delete it */
#define REPAIRS_AT_ONCE 3
#define REPAIR_BRAKE_MAX_MS 60000
#define REPAIR_PEACE_MS (10 * 60 * 1000LL) /* then the next edit is repaired at once again */
#define RECORD_BYTES_MAX (900UL * 1024)    /* what the API server takes in a ConfigMap is 1 MiB */

static void published(void *ctx, const struct kube_answer *answer);

static const char *plural(enum object_kind kind)
{
    return kind == KIND_SECRET ? "secrets" : "configmaps";
}

static void fail(struct object_slot *o, const char *sentence, int64_t delay_ms)
{
    state_text(&o->failure, sentence);
    o->retry_ms = controller_now_ms(o->state->controller) + delay_ms;
    log_warn("object not written", LOG_TEXT("rotation", o->state->key),
             LOG_TEXT("kind", object_kind_name(o->kind)), LOG_TEXT("name", o->name),
             LOG_TEXT("error", sentence), LOG_NUMBER("retry_ms", delay_ms));
    controller_due(o->state->controller, o->state->key, 0);
}

static void fail_later(struct object_slot *o, const struct err *err)
{
    fail(o, err->msg, retry_delay_ms(o->state->controller, o->tries++, RETRY_CAP_MS, err));
}

static void foreign(struct object_slot *o)
{
    bool news = !o->foreign;
    o->foreign = true;
    o->step = OBJECT_PUT;
    o->adopted = false;
    o->retry_ms = controller_now_ms(o->state->controller) + FOREIGN_RETRY_MS;
    state_text(&o->failure, NULL);
    if (news)
        log_warn("object is not ours", LOG_TEXT("rotation", o->state->key),
                 LOG_TEXT("kind", object_kind_name(o->kind)), LOG_TEXT("name", o->name));
    controller_due(o->state->controller, o->state->key, 0);
}

static int request(struct object_slot *o, const char *method, struct str body)
{
    struct rotation_state *s = o->state;
    struct buf cleanup_buf path = {0};
    bool post = strcmp(method, "POST") == 0;
    kube_path(&path, "/api/v1", s->namespace, plural(o->kind), post ? NULL : o->name);
    if (body.len > 0)
        buf_append_text(&path, "?fieldManager=keyturn");
    if (!controller_may_write(s->controller, WRITE_TIMEOUT_MS) || !turns_take(s, TURN_WRITE))
        return -1;
    o->sent_ms = controller_now_ms(s->controller);
    o->call = kube_submit(controller_kube(s->controller),
                          &(struct kube_request){.method = method,
                                                 .path = buf_text(&path),
                                                 .body = body,
                                                 .metadata_only = body.len > 0,
                                                 .timeout_ms = WRITE_TIMEOUT_MS},
                          published, o);
    if (o->call == NULL)
        turns_give_back(s);
    return o->call != NULL ? 0 : -1;
}

static int send_object(struct object_slot *o, const struct trust_files *files, const char *hash)
{
    struct rotation_state *s = o->state;
    struct buf cleanup_buf body = {.max = 8UL << 20};
    const struct config_map_object *map =
        o->kind == KIND_CONFIG_MAP
            ? world_config_map(controller_world(s->controller), s->namespace, o->name)
            : NULL;
    const char *version = o->version[0] != '\0' ? o->version : NULL;
    bool adopt = o->step == OBJECT_ADOPT || o->adopted;
    if (map != NULL) {
        if (version == NULL || world_version_older(version, map->meta.resource_version))
            version = map->meta.resource_version;
        adopt = map->adopt; /* its owner may take that back */
    } else if (o->kind == KIND_CONFIG_MAP && o->step == OBJECT_PUT && version == NULL) {
        o->step = OBJECT_POST;
    }
    if (o->step == OBJECT_POST)
        version = NULL;
    struct published_object object = {.kind = o->kind,
                                      .namespace = s->namespace,
                                      .name = o->name,
                                      .rotation = s->name,
                                      .consumer = o->consumer,
                                      .hash = hash,
                                      .resource_version = version,
                                      .adopt = adopt,
                                      .record = o->consumer == NULL,
                                      .secret_type =
                                          adopt && o->kind == KIND_SECRET ? "Opaque" : NULL,
                                      .files = files};
    published_encode(&object, &body);
    if (body.failed)
        return -1;
    return request(o, o->step == OBJECT_POST ? "POST" : "PUT", buf_view(&body));
}

/* Two writers that undo each other must not spin. True when it is too early for the next repair. */
static bool repair_too_early(struct object_slot *o)
{
    int64_t now_ms = controller_now_ms(o->state->controller);
    if (now_ms - o->repaired_ms > REPAIR_PEACE_MS)
        o->repairs = 0;
    if (o->repairs < REPAIRS_AT_ONCE)
        return false;
    unsigned step = o->repairs - REPAIRS_AT_ONCE;
    int64_t brake_ms = step < 6 ? 1000LL << step : REPAIR_BRAKE_MAX_MS;
    int64_t left_ms = o->repaired_ms + brake_ms - now_ms;
    if (left_ms <= 0)
        return false;
    o->retry_ms = now_ms + left_ms;
    state_text(&o->failure,
               "is changed by somebody else again and again; kubectl get --show-managed-"
               "fields tells who");
    controller_due(o->state->controller, o->state->key, left_ms);
    return true;
}

static void send(struct object_slot *o, const struct trust_files *files, const char *hash,
                 const char *digest)
{
    /* What a watch shows to be other than what we wrote last. A Secret is never seen. */
    o->repairing = o->kind == KIND_CONFIG_MAP && text_eq(o->acked_digest, digest) && !o->checking;
    if (o->repairing && repair_too_early(o))
        return;
    (void)snprintf(o->sent_digest, sizeof(o->sent_digest), "%s", digest);
    (void)snprintf(o->sent_hash, sizeof(o->sent_hash), "%s", hash);
    if (send_object(o, files, hash) != 0 && o->state->turn == 0)
        o->retry_ms = controller_now_ms(o->state->controller) + 1000;
}

/* The same content once more, by another way (step). Content may have moved on: then a pass decides
 * anew. */
static void again(struct object_slot *o, enum object_step step)
{
    o->step = step;
    o->retry_ms = 0;
    controller_due(o->state->controller, o->state->key, 0);
}

static void remember_version(struct object_slot *o, struct str body)
{
    struct arena cleanup_arena arena = {.max = 65536};
    struct object_meta meta;
    json_t *tree cleanup_json = json_load(body, true, "answer to a write", NULL);
    o->version[0] = '\0';
    if (tree != NULL && kube_meta_decode(tree, &arena, &meta, NULL) == 0)
        (void)snprintf(o->version, sizeof(o->version), "%s", meta.resource_version);
}

static void say_repaired(struct object_slot *o)
{
    struct rotation_state *s = o->state;
    const struct rotation_object *object =
        world_rotation(controller_world(s->controller), s->namespace, s->name);
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {0};
    buf_appendf(&about, "%s/%s@%s", object_kind_name(o->kind), o->name, o->version);
    buf_appendf(&note, "%s %s was edited or deleted by somebody else; its keys are back",
                object_kind_name(o->kind), o->name);
    if (object != NULL)
        (void)event_say(s, object,
                        &(struct event_text){.reason = "DriftRepaired",
                                             .about = buf_text(&about),
                                             .note = buf_text(&note)});
}

static void acknowledged(struct object_slot *o, struct str body)
{
    struct rotation_state *s = o->state;
    struct controller *c = s->controller;
    int64_t now_ms = controller_now_ms(c), resync_ms = controller_resync_ms(c);
    remember_version(o, body);
    if (!text_eq(o->acked_digest, o->sent_digest)) {
        o->acked_ms = now_ms;
        log_info("published", LOG_TEXT("rotation", s->key),
                 LOG_TEXT("kind", object_kind_name(o->kind)), LOG_TEXT("name", o->name),
                 LOG_TEXT("trust_hash", o->sent_hash));
    }
    (void)snprintf(o->acked_digest, sizeof(o->acked_digest), "%s", o->sent_digest);
    o->adopted = o->adopted || o->step == OBJECT_ADOPT;
    o->checked_ms = o->sent_ms;
    if (o->repairing) {
        o->repairs++;
        o->repaired_ms = now_ms;
        say_repaired(o);
    }
    o->repairing = false;
    o->step = OBJECT_PUT;
    o->foreign = false;
    o->tries = 0;
    o->retry_ms = 0;
    state_text(&o->failure, NULL);
    /* spread evenly: a tenth earlier to a tenth later */
    o->resync_ms =
        now_ms + resync_ms * 9 / 10 + (int64_t)(controller_random(c) % 1000) * resync_ms / 5000;
    controller_due(c, s->key, 5);
}

/* Words of the API server, since its answer has nothing else to tell by: a Secret of another type
 * ("type: Invalid value: ...: field is immutable"), or our own fence. */
static bool says_foreign(const struct object_slot *o, const struct err *err)
{
    bool type = strstr(err->msg, "type: Invalid value") != NULL;
    return o->kind == KIND_SECRET && o->step != OBJECT_POST &&
           (type || fences_refused(controller_fences(o->state->controller), err));
}

/* Again the API server's words: nobody can take that back, so the object has to go. */
static bool is_frozen(const struct err *err)
{
    return strstr(err->msg, "field is immutable when `immutable` is set") != NULL;
}

static void fail_frozen(struct object_slot *o)
{
    struct err err = {0};
    (void)err_set(&err, ERR_INVALID,
                  "was made immutable by somebody and keeps its old keys: kubectl delete %s %s -n "
                  "%s, and it is made anew",
                  object_kind_name(o->kind), o->name, o->state->namespace);
    fail_later(o, &err);
}

static void refused(struct object_slot *o, const struct err *err)
{
    bool may_adopt = controller_fences(o->state->controller)->own != NULL;
    bool is_foreign = says_foreign(o, err);
    if (is_foreign && o->step == OBJECT_PUT && may_adopt && o->consumer != NULL)
        again(o, OBJECT_ADOPT); /* only the fence can tell whether its owner gave it to us */
    else if (is_foreign)
        foreign(o);
    else if (is_frozen(err))
        fail_frozen(o);
    else
        fail_later(o, err);
}

static void looked(struct object_slot *o, struct str body)
{
    struct err err = {0};
    json_t *tree cleanup_json = json_load(body, true, "ConfigMap", &err);
    struct config_map_object *map = tree != NULL ? config_map_new(tree, &err) : NULL;
    if (map == NULL) {
        fail_later(o, &err);
        return;
    }
    const char *manager = json_text(json_path(tree, "metadata", "labels", NULL), LABEL_MANAGED_BY);
    if (map->adopt || text_eq(manager, "keyturn")) {
        (void)snprintf(o->version, sizeof(o->version), "%s", map->meta.resource_version);
        again(o, map->adopt ? OBJECT_ADOPT : OBJECT_PUT);
    } else {
        foreign(o);
    }
    config_map_free(map);
}

static void published(void *ctx, const struct kube_answer *answer)
{
    struct object_slot *o = ctx;
    const struct err *err = &answer->err;
    bool looking = o->step == OBJECT_LOOK;
    o->call = NULL;
    turns_give_back(o->state);
    if (err->class == ERR_NONE && looking)
        looked(o, answer->body);
    else if (err->class == ERR_NONE)
        acknowledged(o, answer->body);
    else if (err->class == ERR_NOT_FOUND && strcmp(err->reason, "NotFound") == 0 &&
             o->step != OBJECT_POST) {
        o->version[0] = '\0';
        again(o, OBJECT_POST);
    } else if (err->class == ERR_EXISTS && o->step == OBJECT_POST)
        again(o, o->kind == KIND_SECRET ? OBJECT_PUT : OBJECT_LOOK);
    else if (err->class == ERR_CONFLICT) {
        o->version[0] =
            '\0'; /* somebody wrote meanwhile: the watch, or the next write, tells what */
        if (o->kind == KIND_SECRET)
            o->acked_digest[0] = '\0'; /* it may hold something else, and have been read */
        o->retry_ms = controller_now_ms(o->state->controller) + 200;
        controller_due(o->state->controller, o->state->key, 200);
    } else if (err->class == ERR_INVALID)
        refused(o, err);
    else
        fail_later(o, err);
}

void publish_object(struct object_slot *o, const struct rendering *r)
{
    if (o->call != NULL || r == NULL || r->too_large)
        return;
    if (o->step == OBJECT_LOOK) {
        if (request(o, "GET", (struct str){0}) != 0 && o->state->turn == 0)
            o->retry_ms = controller_now_ms(o->state->controller) + 1000;
        return;
    }
    const struct trust_files *files = state_files(o->state, o->formats);
    if (files != NULL)
        send(o, files, r->hash, r->digest);
}

/* Whether the watch, or our own last write, shows this content. */
static bool record_is_there(struct rotation_state *s, const char *digest)
{
    const struct object_slot *o = s->record;
    const struct config_map_object *map =
        world_config_map(controller_world(s->controller), s->namespace, o->name);
    bool behind = o->version[0] != '\0' &&
                  (map == NULL || world_version_older(map->meta.resource_version, o->version));
    if (behind)
        return text_eq(o->acked_digest, digest);
    return map != NULL && text_eq(map->digest, digest) && text_eq(map->rotation, s->name);
}

/* What the record must hold. False: none can be made. */
static bool make_record(const struct rotation_state *s, struct buf *text, struct trust_file *file)
{
    known_encode(&s->known, true, text);
    if (text->len > RECORD_BYTES_MAX) {
        buf_clear(text); /* certificates come back with the next reading; keys may not */
        known_encode(&s->known, false, text);
    }
    *file = (struct trust_file){"record.json", buf_view(text)};
    return !text->failed;
}

/* Of the record for the present set, made once for each version of it; "" when there is none. */
static const char *record_digest(struct rotation_state *s)
{
    struct buf cleanup_buf text = {0};
    struct trust_file file;
    if (s->record_version == s->known.version)
        return s->record_digest;
    s->record_digest[0] = '\0';
    if (make_record(s, &text, &file))
        trust_files_digest(&(struct trust_files){&file, 1, text.len}, s->record_digest);
    s->record_version = s->known.version;
    return s->record_digest;
}

bool publish_recorded(struct rotation_state *s)
{
    const char *digest = record_digest(s);
    bool hopeless = digest[0] == '\0' || s->record->foreign || s->record->failure != NULL;
    return hopeless || record_is_there(s, digest);
}

void publish_record(struct rotation_state *s)
{
    struct object_slot *o = s->record;
    struct controller *c = s->controller;
    struct buf cleanup_buf text = {0};
    struct trust_file file;
    const char *digest = record_digest(s);
    if (o->call != NULL || s->known.count == 0 || digest[0] == '\0')
        return;
    if (o->retry_ms > controller_now_ms(c)) {
        controller_due(c, s->key, o->retry_ms - controller_now_ms(c));
        return;
    }
    if (record_is_there(s, digest))
        return;
    if (o->step == OBJECT_LOOK)
        (void)request(o, "GET", (struct str){0});
    else if (make_record(s, &text, &file))
        send(o, &(struct trust_files){&file, 1, text.len}, "record", digest);
}
