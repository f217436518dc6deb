/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/restart.h"

#include <stdio.h>
#include <string.h>
#include "codec/json.h"
#include "controller/events.h"
#include "controller/gather.h"
#include "controller/internal.h"
#include "controller/patch.h"
#include "controller/retry.h"
#include "obs/log.h"

#define RETRY_CAP_MS 30000

static const char *const plurals[WORKLOAD_KIND_COUNT] = {"deployments", "statefulsets",
                                                         "daemonsets"};

static void say_restarted(struct workload_slot *w)
{
    struct rotation_state *s = w->state;
    const struct rotation_object *object =
        world_rotation(controller_world(s->controller), s->namespace, s->name);
    struct buf cleanup_buf about = {0};
    struct buf cleanup_buf note = {0};
    buf_appendf(&about, "%s/%s/%s", workload_kind_name(w->kind), w->name, w->acked_hash);
    buf_appendf(&note, "%s %s is restarted to read trust set %s", workload_kind_name(w->kind),
                w->name, w->acked_hash);
    if (object != NULL)
        (void)event_say(s, object,
                        &(struct event_text){.reason = "ConsumerRestarted",
                                             .about = buf_text(&about),
                                             .note = buf_text(&note)});
}

static void done(struct workload_slot *w)
{
    struct rotation_state *s = w->state;
    w->reverts = text_eq(w->acked_hash, w->sent_hash) ? w->reverts + 1 : 0;
    (void)snprintf(w->acked_hash, sizeof(w->acked_hash), "%s", w->sent_hash);
    w->acked_ms = controller_now_ms(s->controller);
    w->tries = 0;
    w->retry_ms = 0;
    state_text(&w->failure, NULL);
    log_info("restarted", LOG_TEXT("rotation", s->key),
             LOG_TEXT("kind", workload_kind_name(w->kind)), LOG_TEXT("name", w->name),
             LOG_TEXT("trust_hash", w->acked_hash));
    say_restarted(w);
    controller_due(s->controller, s->key, 20);
}

static void acknowledged(struct workload_slot *w, struct str body)
{
    struct arena cleanup_arena arena = {.max = 65536};
    struct object_meta meta;
    json_t *tree cleanup_json = json_load(body, true, "answer to a patch", NULL);
    if (tree != NULL && kube_meta_decode(tree, &arena, &meta, NULL) == 0)
        (void)snprintf(w->version, sizeof(w->version), "%s", meta.resource_version);
    done(w);
}

static void restarted(void *ctx, const struct kube_answer *answer)
{
    struct workload_slot *w = ctx;
    struct controller *c = w->state->controller;
    const struct err *err = &answer->err;
    w->call = NULL;
    turns_give_back(w->state);
    if (err->class == ERR_NONE) {
        acknowledged(w, answer->body);
        return;
    }
    int64_t delay_ms = 200;
    if (err->class != ERR_CONFLICT && err->class != ERR_NOT_FOUND) {
        delay_ms = retry_delay_ms(c, w->tries++, RETRY_CAP_MS, err);
        state_text(&w->failure, err->msg);
        log_warn("workload not restarted", LOG_TEXT("rotation", w->state->key),
                 LOG_TEXT("kind", workload_kind_name(w->kind)), LOG_TEXT("name", w->name),
                 LOG_TEXT("error", err->msg), LOG_NUMBER("retry_ms", delay_ms));
    }
    w->retry_ms = controller_now_ms(c) + delay_ms;
    controller_due(c, w->state->key, delay_ms);
}

/* A hash that was sent and is there, though no answer said so. */
static void look(struct workload_slot *w)
{
    struct rotation_state *s = w->state;
    const struct workload_object *object =
        world_workload(controller_world(s->controller), w->kind, s->namespace, w->name);
    if (w->call == NULL && w->sent_hash[0] != '\0' && !text_eq(w->sent_hash, w->acked_hash) &&
        object != NULL && text_eq(object->template_hash, w->sent_hash))
        done(w);
}

static void send(struct workload_slot *w)
{
    struct rotation_state *s = w->state;
    struct controller *c = s->controller;
    const struct workload_object *object =
        world_workload(controller_world(c), w->kind, s->namespace, w->name);
    struct buf cleanup_buf path = {0};
    struct buf cleanup_buf body = {0};
    struct workload_hash hash;
    if (object == NULL || w->call != NULL || !controller_may_write(c, WRITE_TIMEOUT_MS))
        return;
    gather_workload_hash(w, &hash);
    if (hash.hash[0] == '\0' || hash.ready_ms == INT64_MAX)
        return;
    if (!turns_take(s, TURN_WRITE))
        return;
    kube_path(&path, "/apis/apps/v1", s->namespace, plurals[w->kind], w->name);
    buf_append_text(&path, "?fieldManager=keyturn");
    restart_patch_encode(&object->meta, hash.hash, &body);
    w->call = kube_submit(controller_kube(c),
                          &(struct kube_request){.method = "PATCH",
                                                 .path = buf_text(&path),
                                                 .metadata_only = true,
                                                 .content_type = PATCH_MERGE,
                                                 .body = buf_view(&body),
                                                 .timeout_ms = WRITE_TIMEOUT_MS},
                          restarted, w);
    if (w->call == NULL)
        turns_give_back(w->state);
    else
        (void)snprintf(w->sent_hash, sizeof(w->sent_hash), "%s", hash.hash);
}

void restart_follow(struct workload_slot *w, bool due)
{
    if (due)
        send(w);
    else
        look(w);
}
