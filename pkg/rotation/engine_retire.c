/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "rotation/engine_pass.h"

/* ---- checks: keys that no longer sign ---- */

int64_t engine_removable_s(const struct key_policy *policy, const struct key_record *record)
{
    if (record->retired_s == 0 || policy->retire_s < 0)
        return INT64_MAX;
    int64_t live_s = policy->retire_auto ? record->tokens_live_s : 0;
    return record->retired_s + (live_s > policy->retire_s ? live_s : policy->retire_s);
}

static bool is_managed(const struct pass *s, size_t i)
{
    return (int)i != s->target && (s->v->keys[i].number != 0 || s->p->keys[i].retired_by != 0 ||
                                   s->p->keys[i].retire_approved);
}

bool pass_may_remove(const struct pass *s, size_t i)
{
    return s->v->keys[i].number != 0 || s->v->policy.adopt || s->p->keys[i].retire_approved;
}

/* The first managed key with this lifecycle and standing. */
static int find_key(const struct pass *s, enum key_lifecycle lifecycle, enum key_standing standing)
{
    for (size_t i = 0; i < s->v->keys_count; i++)
        if (s->p->keys[i].lifecycle == lifecycle && s->v->keys[i].standing == standing &&
            is_managed(s, i))
            return (int)i;
    return -1;
}

enum verdict check_retiring(struct pass *s)
{
    int i = find_key(s, LIFECYCLE_RETIRING, STANDING_PASSIVE);
    if (i < 0)
        return NO;
    const char *kid = s->v->keys[i].kid;
    if (!s->v->proven) {
        pass_describe(s, ENGINE_RETIRING, "key %s leaves the consumers; waiting for proof from %s",
                      kid, s->v->unproven != NULL ? s->v->unproven : "every consumer");
        pass_next(s, "Disable", INT64_MAX);
        return WAIT;
    }
    int64_t due_s = engine_removable_s(&s->v->policy, pass_record(s, i));
    if (s->v->now_s < due_s) { /* the clock went back, or the overlap has become longer */
        pass_describe(s, ENGINE_RETIRING,
                      "no consumer trusts key %s any more; it is disabled when its last token has "
                      "expired",
                      kid);
        pass_next(s, "Disable", due_s);
        return WAIT;
    }
    pass_describe(s, ENGINE_RETIRING, "no consumer trusts key %s any more; it is disabled", kid);
    return pass_change_key(s, CHANGE_DISABLE, i);
}

enum verdict check_deletable(struct pass *s)
{
    for (size_t i = 0; i < s->v->keys_count; i++) {
        const struct key_record *r = &s->p->keys[i];
        bool ours = s->v->keys[i].number != 0 && (int)i != s->target;
        if (!ours || r->lifecycle != LIFECYCLE_REMOVED ||
            s->v->keys[i].standing != STANDING_DISABLED)
            continue;
        int64_t due_s = r->removed_s + s->v->policy.delete_s;
        if (r->retired_s != 0 && engine_removable_s(&s->v->policy, r) > due_s)
            due_s = engine_removable_s(&s->v->policy, r); /* the clock went back, say */
        if (s->v->now_s >= due_s)
            return pass_change_key(s, CHANGE_DELETE, (int)i);
        pass_next(s, "Delete", due_s);
    }
    return NO;
}

/* One key at a time leaves, the oldest first. */
static int oldest_retired(const struct pass *s)
{
    int oldest = -1;
    for (size_t i = 0; i < s->v->keys_count; i++) {
        const struct key_record *r = &s->p->keys[i];
        if (r->lifecycle == LIFECYCLE_RETIRED && s->v->keys[i].standing == STANDING_PASSIVE &&
            r->retired_s != 0 && is_managed(s, i) &&
            (oldest < 0 || r->retired_s < s->p->keys[oldest].retired_s))
            oldest = (int)i;
    }
    return oldest;
}

static const char *retire_why(const struct engine_view *v, const struct key_record *r)
{
    if (v->policy.retire_auto && r->tokens_live_s > v->policy.retire_s)
        return "the realm's settings were longer when they were issued";
    if (!v->policy.retire_auto && r->tokens_live_s > v->policy.retire_s)
        return "spec.overlap.retire, though they were issued for longer: they will be refused";
    return v->retire_why != NULL ? v->retire_why : "overlap.retire";
}

enum verdict check_retired(struct pass *s)
{
    int i = oldest_retired(s);
    if (i < 0)
        return NO;
    struct key_record *r = pass_record(s, i);
    const char *kid = s->v->keys[i].kid;
    int64_t due_s = engine_removable_s(&s->v->policy, r);
    if (due_s == INT64_MAX) {
        pass_describe(s, ENGINE_BLOCKED, "how long tokens of key %s live is not known: %s", kid,
                      s->v->retire_why != NULL ? s->v->retire_why : "not read yet");
        return WAIT;
    }
    if (s->v->now_s < due_s) {
        pass_describe(s, ENGINE_OVERLAP, "tokens of key %s may still be valid (%s)", kid,
                      retire_why(s->v, r));
        pass_next(s, "Retire", due_s);
        return WAIT;
    }
    if (!pass_may_remove(s, (size_t)i) || (s->v->policy.retire_manual && !r->retire_approved)) {
        pass_describe(
            s, ENGINE_AWAITING_RETIREMENT,
            pass_may_remove(s, (size_t)i)
                ? "the overlap of key %s is over; it leaves when somebody approves it"
                : "the overlap of key %s is over; the realm had it before Keyturn, so it leaves "
                  "only with spec.key.adopt: true, or when it is named",
            kid);
        pass_command(s, OPERATION_RETIRE, r->retired_by != 0 ? r->retired_by : s->p->record.number,
                     kid);
        pass_next(s, "Retire", INT64_MAX);
        return WAIT;
    }
    if (s->signer < 0 || !s->v->proven) /* nothing leaves while something is under way */
        return WAIT;
    r->lifecycle = LIFECYCLE_RETIRING;
    pass_describe(s, ENGINE_RETIRING, "key %s leaves the consumers", kid);
    return ACT;
}
