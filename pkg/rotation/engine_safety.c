/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "base/str.h"
#include "rotation/engine_pass.h"

static const char *unsafe_promote(const struct engine_view *v, int i)
{
    const struct engine_key *k = &v->keys[i];
    if (!v->proven || !k->trusted || !k->served)
        return "I1: the key that signs is in the proven trust set of every consumer";
    return k->standing == STANDING_DISABLED ? "I3: a disabled key never signs" : NULL;
}

/* Another key signs for the algorithm, and goes on to. */
static bool is_covered(const struct engine_view *v, int but)
{
    for (size_t i = 0; i < v->keys_count; i++)
        if ((int)i != but && v->keys[i].standing == STANDING_ACTIVE && v->keys[i].signs &&
            v->keys[i].trusted)
            return true;
    return false;
}

static const char *unsafe_removal(const struct engine_view *v, const struct engine_plan *p, int i,
                                  bool deletes)
{
    const struct engine_key *k = &v->keys[i];
    const struct key_record *r = &p->keys[i];
    bool aborted = r->active_s == 0 && k->number == p->record.number;
    if (k->standing == STANDING_ACTIVE)
        return "I2: an ACTIVE key is neither disabled nor deleted";
    if (deletes && k->number == 0)
        return "I7: only keys that we made are deleted";
    if (deletes && k->standing != STANDING_DISABLED)
        return "I2: a key is disabled before it is deleted";
    if (!deletes && !v->proven)
        return "I2: a key is disabled only when every consumer is proven to have let it go";
    if (!deletes && k->number == 0 && !v->policy.adopt && !r->retire_approved)
        return "I7: a key found in the realm is disabled only when somebody says so";
    if (!deletes && !aborted && v->now_s < engine_removable_s(&v->policy, r))
        return "I2: a key leaves after its last signature can have expired";
    return NULL;
}

const char *engine_unsafe(const struct engine_view *view, const struct engine_plan *plan)
{
    const struct change *c = &plan->change;
    if (c->kind == CHANGE_NONE)
        return NULL;
    if (view->suspended || view->owner != NULL || !view->readable || !view->fresh)
        return "nothing is written on a view that is not ours, not good or not fresh";
    if (!pass_same_change(c, &view->intent) || !view->recorded)
        return "every write is in status before it is sent";
    if (c->kind == CHANGE_CREATE)
        return pass_find_number(view, c->number) >= 0 ? "one key is made for each rotation" : NULL;
    int i = pass_find_kid(view, c->kid);
    if (i < 0)
        return "only a key of the last reading is changed";
    switch (c->kind) {
    case CHANGE_PROMOTE: return unsafe_promote(view, i);
    case CHANGE_DEMOTE:
        return is_covered(view, i) ? NULL : "the last ACTIVE key of an algorithm is not demoted";
    case CHANGE_DISABLE: return unsafe_removal(view, plan, i, false);
    case CHANGE_DELETE: return unsafe_removal(view, plan, i, true);
    case CHANGE_NONE:
    case CHANGE_CREATE: break;
    }
    return NULL;
}
