/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/reconcile.h"

#include "controller/events.h"
#include "controller/gather.h"
#include "controller/internal.h"
#include "controller/issuer.h"
#include "controller/known.h"
#include "controller/lifecycle.h"
#include "controller/publish.h"
#include "controller/report.h"
#include "controller/restart.h"
#include "controller/rotate.h"
#include "controller/rotate_report.h"
#include "obs/log.h"

static void follow_keys(struct rotation_state *s, const struct rotation_object *object)
{
    struct source *admin = s->issuer.sources[SOURCE_ADMIN], *jwks = s->issuer.sources[SOURCE_JWKS];
    const struct config_map_object *record =
        world_config_map(controller_world(s->controller), s->namespace, s->record->name);
    const char *found;
    if (!s->known.loaded)
        known_restore(&s->known, &object->status,
                      record != NULL && text_eq(record->rotation, s->name) ? record->record : NULL);
    struct known_input input = {.by_admin = object->spec.keycloak_url != NULL,
                                .blocked = issuer_compare(s, object, &found) == ISSUER_DIFFERS,
                                .admin = admin != NULL ? source_reading(admin) : NULL,
                                .jwks = jwks != NULL ? source_reading(jwks) : NULL,
                                .jwks_ok = jwks != NULL && source_err(jwks)->class == ERR_NONE,
                                .interval_ms = object->spec.refresh_interval_s * 1000,
                                .acknowledge = object->acknowledge};
    if (known_follow(&s->known, &input))
        log_info("trust set changed", LOG_TEXT("rotation", s->key),
                 LOG_NUMBER("keys", s->known.count));
}

static void act(struct rotation_state *s, const struct rotation_view *view,
                const struct rotation_plan *plan)
{
    bool writing = false;
    for (size_t i = 0; i < view->consumers_count; i++) {
        writing = writing || plan->consumers[i].write;
        if (plan->consumers[i].write && turns_room(s, TURN_WRITE))
            publish_object(s->objects[i],
                           state_rendering(s, s->objects[i]->formats, s->renderings_issuer));
    }
    if (!writing)
        state_drop_files(s);
    for (size_t i = 0; i < view->workloads_count; i++)
        restart_follow(s->workloads[i], plan->restart[i] && turns_room(s, TURN_WRITE));
}

static void schedule(struct rotation_state *s, const struct rotation_view *view, int64_t again_at_s)
{
    struct controller *c = s->controller;
    if (again_at_s == INT64_MAX)
        return;
    int64_t delay_s = again_at_s - view->now_s;
    if (delay_s > 24 * 3600)
        delay_s = 24 * 3600;
    controller_due(c, s->key, (delay_s > 0 ? delay_s : 0) * 1000 + 20);
}

const char *reconcile_rotation(struct rotation_state *s, const struct rotation_object *object)
{
    struct rotation_view view;
    struct rotation_plan plan;
    events_follow(s);
    if (object->meta.deleting) {
        lifecycle_end(s, object);
        report_deletion(s, object);
        return "deleting";
    }
    if (object->spec_error == NULL) {
        if (state_index(s, object) != 0)
            return "error";
        issuer_follow(s, object);
        follow_keys(s, object);
        rotate_mark(s, object);
    }
    if (gather(s, object, &view, &plan) != 0)
        return "error";
    rotation_decide(&view, &plan);
    struct rotating *rotating = NULL;
    if (object->spec_error == NULL) {
        rotating = rotate_decide(s, object, &view, &plan);
        if (rotating != NULL)
            rotate_merge(rotating, &plan);
        act(s, &view, &plan);
        if (rotating != NULL)
            rotate_act(s, object, rotating);
        if (!object->spec.suspend)
            lifecycle_follow(s, object);
    }
    report(s, object, &view, &plan, rotating);
    if (object->spec_error == NULL && !object->spec.suspend && s->known.count > 0 &&
        (object->status.keys_count > 0 || s->status_version[0] != '\0') &&
        (known_has_named(&s->known, &object->status) || s->status_tries > 0))
        publish_record(s); /* after status names the keys, or it could not be believed */
    s->rolling = plan.phase == PHASE_ROLLING || plan.up_to_date < view.consumers_count;
    schedule(s, &view, plan.again_at_s);
    if (rotating != NULL)
        schedule(s, &view, rotating->plan.again_at_s);
    return "done";
}
