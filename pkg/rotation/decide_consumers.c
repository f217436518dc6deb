/* SPDX-License-Identifier: Apache-2.0
 *
 * Consumers and workloads: what is written, restarted and waited for. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "rotation/decide_parts.h"

void plan_due(struct rotation_plan *p, int64_t at_s)
{
    if (at_s < p->again_at_s)
        p->again_at_s = at_s;
}

static bool may_write(const struct rotation_view *v, const struct consumer_spec *spec)
{
    return spec->object_kind != KIND_SECRET || !v->fence_needed || v->fence_proven;
}

void decide_workload(const struct rotation_view *v, struct rotation_plan *p, size_t i)
{
    const struct view_workload *w = &v->workloads[i];
    p->restart[i] = false;
    if (v->spec->suspend || !w->exists || w->annotated || w->annotating ||
        w->ready_at_s == INT64_MAX)
        return;
    int64_t due = w->ready_at_s;
    if (w->retry_at_s > due)
        due = w->retry_at_s;
    if (w->reverted_until_s > due)
        due = w->reverted_until_s;
    if (due <= v->now_s)
        p->restart[i] = true;
    else
        plan_due(p, due);
}

/* ---- what a workload makes of its consumer ---- */

static enum consumer_say workload_trouble(const struct rotation_view *v,
                                          const struct view_workload *w)
{
    if (!w->exists)
        return SAY_MISSING;
    if (w->failure != NULL && !w->annotated)
        return SAY_PATCH_FAILED;
    if (w->reverted_until_s > v->now_s && !w->annotated)
        return SAY_REVERTED;
    if (w->annotated && w->rolled)
        return SAY_NOTHING;
    return w->stuck != NULL ? SAY_STUCK : SAY_ROLLING;
}

/* The first that failed counts, else the last that still rolls. */
static void follow_workload(const struct rotation_view *v, size_t i, struct plan_consumer *pc)
{
    const struct view_workload *w = &v->workloads[i];
    bool settled = pc->state == CONSUMER_UP_TO_DATE || pc->state == CONSUMER_ROLLING;
    pc->pods_ready += settled || w->annotated ? w->pods_ready : 0;
    pc->pods_wanted += w->pods_wanted;
    enum consumer_say say = settled ? workload_trouble(v, w) : SAY_NOTHING;
    if (say == SAY_NOTHING)
        return;
    pc->state = say == SAY_ROLLING ? CONSUMER_ROLLING : CONSUMER_FAILED;
    pc->say = say;
    pc->workload = i;
}

/* ---- what its object does ---- */

static enum consumer_say object_trouble(const struct view_consumer *c)
{
    switch (c->object) {
    case OBJECT_FOREIGN: return SAY_FOREIGN;
    case OBJECT_TAKEN: return SAY_TAKEN;
    case OBJECT_TOO_LARGE: return SAY_TOO_LARGE;
    case OBJECT_CURRENT: return SAY_NOTHING;
    case OBJECT_UNKNOWN:
    case OBJECT_MISSING:
    case OBJECT_STALE: break;
    }
    return c->failure != NULL ? SAY_WRITE_FAILED : SAY_NOTHING;
}

static void follow_object(const struct rotation_view *v, const struct view_consumer *c,
                          struct plan_consumer *pc)
{
    pc->say = object_trouble(c);
    if (pc->say != SAY_NOTHING) {
        pc->state = CONSUMER_FAILED;
    } else if (c->object != OBJECT_CURRENT) {
        pc->state = CONSUMER_APPLYING;
        pc->say = v->keys_count == 0      ? SAY_NO_KEYS
                  : may_write(v, c->spec) ? SAY_NOTHING
                                          : SAY_NO_FENCE;
    }
}

void decide_consumer(const struct rotation_view *v, struct rotation_plan *p, size_t i)
{
    const struct view_consumer *c = &v->consumers[i];
    struct plan_consumer *pc = &p->consumers[i];
    *pc = (struct plan_consumer){.state = CONSUMER_UP_TO_DATE};
    bool due = c->object == OBJECT_CURRENT && c->resync_at_s <= v->now_s;
    if (c->object == OBJECT_CURRENT && !due)
        plan_due(p, c->resync_at_s);
    bool wanted = due || c->object == OBJECT_UNKNOWN || c->object == OBJECT_MISSING ||
                  c->object == OBJECT_STALE || c->object == OBJECT_FOREIGN;
    bool ready = v->keys_count > 0 && v->memory_loaded && v->noted;
    bool allowed = ready && may_write(v, c->spec) && !c->writing && !v->spec->suspend;
    if (wanted && allowed) {
        pc->write = c->retry_at_s <= v->now_s;
        if (!pc->write)
            plan_due(p, c->retry_at_s);
    }
    follow_object(v, c, pc);
    for (size_t k = 0; k < c->workloads_count; k++)
        follow_workload(v, c->workloads[k], pc);
    p->up_to_date += pc->state == CONSUMER_UP_TO_DATE;
    if (p->first[pc->state] == v->consumers_count)
        p->first[pc->state] = i;
}

/* ---- sentences ---- */

static void say_object(const struct view_consumer *c, enum consumer_say say,
                       char out[PLAN_MESSAGE_MAX])
{
    const char *kind = object_kind_name(c->spec->object_kind), *name = c->spec->object_name;
    if (say == SAY_FOREIGN)
        (void)snprintf(
            out, PLAN_MESSAGE_MAX,
            "%s %s exists and is not Keyturn's; rename publish, or give it to Keyturn, with "
            "all that is in it, by the annotation keyturn.dev/adopt=true%s",
            kind, name, c->spec->object_kind == KIND_SECRET ? " (a Secret of type Opaque)" : "");
    else if (say == SAY_TAKEN)
        (void)snprintf(out, PLAN_MESSAGE_MAX,
                       "%s %s is published by the older KeyRotation %s; rename publish", kind, name,
                       c->owner);
    else if (say == SAY_TOO_LARGE)
        (void)snprintf(out, PLAN_MESSAGE_MAX,
                       "%s %s would be larger than 1 MiB; publish fewer formats or retire old keys",
                       kind, name);
    else
        (void)snprintf(out, PLAN_MESSAGE_MAX, "%s %s %s", kind, name, c->failure);
}

static void say_workload(const struct rotation_view *v, const struct view_workload *w,
                         enum consumer_say say, char out[PLAN_MESSAGE_MAX])
{
    const char *kind = workload_kind_name(w->kind);
    if (say == SAY_MISSING)
        (void)snprintf(out, PLAN_MESSAGE_MAX,
                       "%s %s does not exist in namespace %s; create it, or take it out of "
                       "reload.restart (kubectl edit keyrotation %s -n %s)",
                       kind, w->name, v->namespace, v->name, v->namespace);
    else if (say == SAY_REVERTED)
        (void)snprintf(
            out, PLAN_MESSAGE_MAX,
            "somebody took the annotation keyturn.dev/trust-hash off the pod template of "
            "%s %s; tell the tool that manages it to ignore that annotation",
            kind, w->name);
    else if (say == SAY_ROLLING)
        (void)snprintf(out, PLAN_MESSAGE_MAX, "%s of %s %s%s%s",
                       w->annotated ? "waiting for the rollout" : "waiting for the restart", kind,
                       w->name, !w->annotated && w->waits_for != NULL ? ", which also reads " : "",
                       !w->annotated && w->waits_for != NULL ? w->waits_for : "");
    else
        (void)snprintf(out, PLAN_MESSAGE_MAX, "%s %s: %s", kind, w->name,
                       say == SAY_STUCK ? w->stuck : w->failure);
}

bool plan_consumer_says(const struct rotation_view *v, const struct rotation_plan *p, size_t i,
                        char out[PLAN_MESSAGE_MAX])
{
    const struct plan_consumer *pc = &p->consumers[i];
    out[0] = '\0';
    switch (pc->say) {
    case SAY_NOTHING: return false;
    case SAY_FOREIGN:
    case SAY_TAKEN:
    case SAY_TOO_LARGE:
    case SAY_WRITE_FAILED: say_object(&v->consumers[i], pc->say, out); return true;
    case SAY_NO_KEYS:
        (void)snprintf(out, PLAN_MESSAGE_MAX, "waiting for the first keys");
        return true;
    case SAY_NO_FENCE:
        (void)snprintf(out, PLAN_MESSAGE_MAX, "waiting for the proof of the fence");
        return true;
    case SAY_MISSING:
    case SAY_PATCH_FAILED:
    case SAY_REVERTED:
    case SAY_STUCK:
    case SAY_ROLLING: break;
    }
    say_workload(v, &v->workloads[pc->workload], pc->say, out);
    return true;
}
