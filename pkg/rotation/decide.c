/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/decide_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/date.h"
#include "base/str.h"

/* Words a Ready condition may carry for a source that cannot be read: the class tells which. */
static const char *source_reason(enum err_class class)
{
    switch (class) {
    case ERR_DNS: return "NameNotResolved";
    case ERR_REFUSED: return "ConnectionRefused";
    case ERR_TLS: return "TLSFailed";
    case ERR_TIMEOUT: return "TimedOut";
    case ERR_AUTH: return "CredentialsRefused";
    case ERR_FORBIDDEN: return "RoleMissing";
    case ERR_NOT_FOUND: return "RealmMissing";
    case ERR_INVALID:
    case ERR_LIMIT: return "AnswerUnusable";
    case ERR_NONE:
    case ERR_TRANSIENT:
    case ERR_CONFLICT:
    case ERR_EXISTS:
    case ERR_GONE:
    case ERR_CANCELED:
    case ERR_NO_MEMORY:
    case ERR_BUG: break;
    }
    return "ServerFailed";
}

static const char *reason_of(const struct view_source *source)
{
    return source->reason != NULL ? source->reason : source_reason(source->err);
}

static const struct view_source *failing_source(const struct rotation_view *v)
{
    const struct view_source *all[] = {&v->ca, &v->admin, &v->jwks};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->used && all[i]->err != ERR_NONE)
            return all[i];
    return NULL;
}

/* A process that has just begun, or a spec that names another server: neither good nor bad yet. */
static bool is_premature(const struct rotation_view *v)
{
    const struct view_source *all[] = {&v->ca, &v->admin, &v->jwks, &v->discovery};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->used && !all[i]->polled)
            return v->keys_count > 0 && v->spec_error == NULL;
    return false;
}

static ATTR_PRINTF(4, 5) void set(struct plan_condition *c, enum condition_status status,
                                  const char *reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    c->status = status;
    c->reason = reason;
    (void)vsnprintf(c->message, sizeof(c->message), fmt, args);
    va_end(args);
}

/* ---- certificates ---- */

static bool announced(const struct view_key *k, const char *text)
{
    for (size_t i = 0; i < k->announced_count; i++)
        if (text_eq(k->announced[i], text))
            return true;
    return false;
}

/* The nearest threshold passed; larger ones are taken as said with it. */
static void warn_key(const struct rotation_view *v, struct rotation_plan *p, size_t i)
{
    const struct view_key *k = &v->keys[i];
    int64_t left = k->not_after_s - v->now_s;
    if (left <= 0) {
        if (!announced(k, "Expired"))
            p->warnings[p->warnings_count++] = (struct plan_warning){i, WARN_EXPIRED};
        return;
    }
    plan_due(p, k->not_after_s);
    int nearest = -1;
    for (size_t t = 0; t < v->spec->warn_before_count; t++) {
        if (left <= v->spec->warn_before[t].seconds)
            nearest = (int)t; /* sorted, largest first */
        else
            plan_due(p, k->not_after_s - v->spec->warn_before[t].seconds);
    }
    if (nearest >= 0 && !announced(k, v->spec->warn_before[nearest].text))
        p->warnings[p->warnings_count++] = (struct plan_warning){i, nearest};
}

static void decide_certificates(const struct rotation_view *v, struct rotation_plan *p)
{
    struct plan_condition *c = &p->conditions[CONDITION_CERTIFICATES_VALID];
    const struct view_key *soonest = NULL;
    int64_t warn_s = v->spec->warn_before_count > 0 ? v->spec->warn_before[0].seconds : 0;
    const struct view_key *unreadable = NULL;
    char at[DATE_TEXT_MAX];
    for (size_t i = 0; i < v->keys_count; i++) {
        const struct view_key *k = &v->keys[i];
        if (k->certificate_unreadable)
            unreadable = k;
        else if (k->not_after_s != 0 && (soonest == NULL || k->not_after_s < soonest->not_after_s))
            soonest = k;
    }
    if (v->keys_count == 0) {
        set(c, CONDITION_UNKNOWN, "NoKeys", "no keys have been read yet");
        return;
    }
    p->cert_expires_s = soonest != NULL ? soonest->not_after_s : 0;
    if (unreadable != NULL && (soonest == NULL || soonest->not_after_s > v->now_s)) {
        set(c, CONDITION_FALSE, "CertificateUnreadable",
            "the certificate of key %s cannot be read or belongs to another key; give its "
            "component a new one (admin console: Realm settings, Keys, Providers)",
            unreadable->kid);
        return;
    }
    if (soonest == NULL) {
        set(c, CONDITION_TRUE, "NoCertificates", "no key of the realm has a certificate");
        return;
    }
    /* No countdown here: a text that changes by itself would be written each time. */
    date_rfc3339(soonest->not_after_s, at);
    if (soonest->not_after_s <= v->now_s)
        set(c, CONDITION_FALSE, "CertificateExpired",
            "the certificate of %s key %s expired at %s; renew it or retire the key "
            "(since Keycloak 26.1 an expired key no longer signs)",
            key_state_name(soonest->state), soonest->kid, at);
    else if (soonest->not_after_s - v->now_s <= warn_s)
        set(c, CONDITION_FALSE, "CertificateExpiring",
            "the certificate of %s key %s expires at %s; renew it or %s the key before",
            key_state_name(soonest->state), soonest->kid, at,
            soonest->state == KEY_ACTIVE ? "rotate" : "retire");
    else
        set(c, CONDITION_TRUE, "CertificatesValid",
            "the earliest certificate (key %s) expires at %s", soonest->kid, at);
}

/* ---- issuer and keys ---- */

static void decide_issuer(const struct rotation_view *v, struct rotation_plan *p)
{
    struct plan_condition *c = &p->conditions[CONDITION_ISSUER_CONSISTENT];
    const char *wanted = v->issuer_wanted != NULL ? v->issuer_wanted : "";
    const char *found = v->issuer_found != NULL ? v->issuer_found : "";
    switch (v->issuer) {
    case ISSUER_UNCHECKED:
        set(c, CONDITION_UNKNOWN, "NotChecked", "%s",
            v->discovery.err != ERR_NONE ? v->discovery.message
                                         : "discovery has not been read yet");
        return;
    case ISSUER_MATCHES:
        set(c, CONDITION_TRUE, "IssuerMatches", "discovery says %s", found);
        return;
    case ISSUER_DISCOVERED:
        set(c, CONDITION_TRUE, "IssuerDiscovered",
            "discovery says %s; write it into spec.issuer.url to have it compared", found);
        return;
    case ISSUER_FOLLOWS_HOST:
        set(c, CONDITION_UNKNOWN, "IssuerFollowsHost",
            "Keycloak answers with the address it is asked at (%s), which proves nothing; give it a "
            "fixed hostname (--hostname=https://..., with --hostname-backchannel-dynamic=true)",
            found);
        return;
    case ISSUER_IN_CLUSTER:
        set(c, CONDITION_FALSE, "InClusterIssuer",
            "%s is an in-cluster address, and tokens that people bring will not say it; write the public "
            "issuer into spec.issuer.url and leave the in-cluster address in spec.issuer.jwksURL",
            wanted[0] != '\0' ? wanted : found);
        return;
    case ISSUER_DIFFERS:
        set(c, CONDITION_FALSE, "IssuerMismatch",
            "spec.issuer.url is %s but discovery says %s; tokens will be refused until they are the "
            "same byte for byte",
            wanted, found);
        return;
    }
}

static size_t given_keys(const struct rotation_view *v)
{
    size_t given = 0;
    for (size_t i = 0; i < v->keys_count; i++)
        given += !v->keys[i].withheld;
    return given;
}

static void decide_keys(const struct rotation_view *v, struct rotation_plan *p)
{
    struct plan_condition *c = &p->conditions[CONDITION_KEYS_AS_EXPECTED];
    const struct view_source *failing = failing_source(v);
    if (v->reused_kid != NULL)
        set(c, CONDITION_FALSE, "KidReused",
            "kid %s now names another key; nothing was changed. If that is right: kubectl annotate "
            "keyrotation %s -n %s --overwrite keyturn.dev/acknowledge=%s",
            v->reused_kid, v->name, v->namespace, v->acknowledge);
    else if (v->duplicate_kid != NULL)
        set(c, CONDITION_FALSE, "KidDuplicate",
            "kid %s names two different keys, and nobody can tell which one a token means; delete one "
            "of the two components",
            v->duplicate_kid);
    else if (v->replaced)
        set(c, CONDITION_FALSE, "KeysReplaced",
            "the issuer serves wholly other keys than before; both sets are published. If that is right: "
            "kubectl annotate keyrotation %s -n %s --overwrite keyturn.dev/acknowledge=%s",
            v->name, v->namespace, v->acknowledge);
    else if (v->overflow > 0)
        set(c, CONDITION_FALSE, "TooManyKeys",
            "there are more than %d signing keys; new ones were not added. Retire old ones",
            LIMIT_KEYS);
    else if (v->incomplete)
        set(c, CONDITION_FALSE, "KeyUnusable", "%s; no key leaves until it can",
            v->incomplete_why != NULL ? v->incomplete_why : "a signing key cannot be read");
    else if (failing != NULL)
        set(c, CONDITION_UNKNOWN, reason_of(failing), "%s", failing->message);
    else if (v->keys_count == 0)
        set(c, CONDITION_UNKNOWN, "NoKeys", "no keys have been read yet");
    else if (v->lost_kid != NULL)
        set(c, CONDITION_FALSE, "RecordLost",
            "ConfigMap %s-keyturn-record was deleted or changed, and with it key %s, which had left "
            "the realm and was still trusted: it is published no more",
            v->name, v->lost_kid);
    else if (v->disagrees)
        set(c, CONDITION_FALSE, "JwksDisagrees",
            "the JWKS and the Admin API name different keys; no key leaves until they agree (is "
            "spec.issuer.jwksURL of the same realm?)");
    else
        set(c, CONDITION_TRUE, "KeysMatch", "%zu signing key%s trusted", given_keys(v),
            given_keys(v) == 1 ? "" : "s");
}

static void decide_active(const struct rotation_view *v, struct rotation_plan *p)
{
    for (size_t i = 0; i < v->keys_count; i++) {
        if (!v->keys[i].signs)
            continue;
        if (p->active_kid == NULL || text_eq(v->keys[i].algorithm, "RS256"))
            p->active_kid = v->keys[i].kid;
    }
}

/* ---- the table ---- */

enum check_kind { CHECK_STALLED, CHECK_WAITING, CHECK_DONE };

struct check {
    const char *name;
    enum check_kind kind;
    enum rotation_phase phase;
    /* Fills message and may replace the reason; false: does not apply. */
    bool (*applies)(const struct rotation_view *v, const struct rotation_plan *p,
                    struct plan_condition *ready);
};

static bool is_spec_invalid(const struct rotation_view *v, const struct rotation_plan *p,
                            struct plan_condition *ready)
{
    (void)p;
    if (v->spec_error != NULL)
        set(ready, CONDITION_FALSE, "SpecInvalid", "%s", v->spec_error);
    return v->spec_error != NULL;
}

static bool is_suspended(const struct rotation_view *v, const struct rotation_plan *p,
                         struct plan_condition *ready)
{
    (void)p;
    if (!v->spec->suspend)
        return false;
    set(ready, CONDITION_FALSE, "Suspended",
        "spec.suspend is true: nothing is written but this status. To go on: kubectl patch "
        "keyrotation %s -n %s --type=merge -p '{\"spec\":{\"suspend\":false}}'",
        v->name, v->namespace);
    return true;
}

static bool is_fence_open(const struct rotation_view *v, const struct rotation_plan *p,
                          struct plan_condition *ready)
{
    (void)p;
    if (!v->fence_needed || v->fence_proven)
        return false;
    set(ready, CONDITION_FALSE, "FenceUnproven", "%s",
        v->fence_message != NULL ? v->fence_message : "the fence has not been proven yet");
    return true;
}

static bool is_helpless(enum err_class class) /* waiting will not mend it */
{
    return class == ERR_AUTH || class == ERR_FORBIDDEN || class == ERR_NOT_FOUND ||
           class == ERR_INVALID || class == ERR_LIMIT || class == ERR_TLS || class == ERR_DNS;
}

static bool is_source_broken(const struct rotation_view *v, const struct rotation_plan *p,
                             struct plan_condition *ready)
{
    (void)p;
    const struct view_source *failing = failing_source(v);
    if (failing == NULL || !is_helpless(failing->err))
        return false;
    set(ready, CONDITION_FALSE, reason_of(failing), "%s", failing->message);
    return true;
}

static bool is_source_away(const struct rotation_view *v, const struct rotation_plan *p,
                           struct plan_condition *ready)
{
    (void)p;
    const struct view_source *failing = failing_source(v);
    if (failing == NULL)
        return false;
    set(ready, CONDITION_FALSE, reason_of(failing), "%s", failing->message);
    return true;
}

static bool is_keys_wrong(const struct rotation_view *v, const struct rotation_plan *p,
                          struct plan_condition *ready)
{
    (void)v;
    const struct plan_condition *keys = &p->conditions[CONDITION_KEYS_AS_EXPECTED];
    if (keys->status != CONDITION_FALSE)
        return false;
    set(ready, CONDITION_FALSE, keys->reason, "%s", keys->message);
    return true;
}

static bool is_issuer_wrong(const struct rotation_view *v, const struct rotation_plan *p,
                            struct plan_condition *ready)
{
    if (v->issuer != ISSUER_DIFFERS)
        return false;
    const struct plan_condition *issuer = &p->conditions[CONDITION_ISSUER_CONSISTENT];
    set(ready, CONDITION_FALSE, issuer->reason, "%s", issuer->message);
    return true;
}

static bool is_unread(const struct rotation_view *v, const struct rotation_plan *p,
                      struct plan_condition *ready)
{
    (void)p;
    if (v->keys_count > 0 && v->memory_loaded)
        return false;
    set(ready, CONDITION_FALSE, "WaitingForKeys", "the first reading of the keys is under way");
    return true;
}

static bool is_consumer_failed(const struct rotation_view *v, const struct rotation_plan *p,
                               struct plan_condition *ready)
{
    size_t i = p->first[CONSUMER_FAILED];
    char message[PLAN_MESSAGE_MAX];
    if (i == v->consumers_count)
        return false;
    (void)plan_consumer_says(v, p, i, message);
    set(ready, CONDITION_FALSE, "ConsumerFailed", "consumer %s: %s", v->consumers[i].spec->name,
        message);
    return true;
}

static bool is_applying(const struct rotation_view *v, const struct rotation_plan *p,
                        struct plan_condition *ready)
{
    if (p->first[CONSUMER_APPLYING] == v->consumers_count)
        return false;
    set(ready, CONDITION_FALSE, "Publishing", "%zu of %zu consumers up to date", p->up_to_date,
        v->consumers_count);
    return true;
}

static bool is_rolling(const struct rotation_view *v, const struct rotation_plan *p,
                       struct plan_condition *ready)
{
    size_t i = p->first[CONSUMER_ROLLING];
    char message[PLAN_MESSAGE_MAX];
    if (i == v->consumers_count)
        return false;
    (void)plan_consumer_says(v, p, i, message);
    set(ready, CONDITION_FALSE, "RollingOut", "%zu of %zu consumers up to date; %s", p->up_to_date,
        v->consumers_count, message);
    return true;
}

static bool is_steady(const struct rotation_view *v, const struct rotation_plan *p,
                      struct plan_condition *ready)
{
    (void)p;
    if (v->consumers_count == 0)
        set(ready, CONDITION_TRUE, "Steady",
            "the keys are watched; there is no consumer to publish to");
    else
        set(ready, CONDITION_TRUE, "Steady", "%zu key%s published to %zu consumer%s", given_keys(v),
            given_keys(v) == 1 ? "" : "s", v->consumers_count, v->consumers_count == 1 ? "" : "s");
    return true;
}

static const struct check checks[] = {
    {"SpecInvalid", CHECK_STALLED, PHASE_BLOCKED, is_spec_invalid},
    {"Suspended", CHECK_STALLED, PHASE_BLOCKED, is_suspended},
    {"FenceUnproven", CHECK_STALLED, PHASE_BLOCKED, is_fence_open},
    {"SourceBroken", CHECK_STALLED, PHASE_BLOCKED, is_source_broken},
    {"SourceAway", CHECK_WAITING, PHASE_BLOCKED, is_source_away},
    {"KeysWrong", CHECK_STALLED, PHASE_BLOCKED, is_keys_wrong},
    {"IssuerMismatch", CHECK_STALLED, PHASE_BLOCKED, is_issuer_wrong},
    {"WaitingForKeys", CHECK_WAITING, PHASE_PENDING, is_unread},
    {"ConsumerFailed", CHECK_STALLED, PHASE_BLOCKED, is_consumer_failed},
    {"Publishing", CHECK_WAITING, PHASE_PUBLISHING, is_applying},
    {"RollingOut", CHECK_WAITING, PHASE_ROLLING, is_rolling},
    {"Steady", CHECK_DONE, PHASE_STEADY, is_steady},
};

const char *rotation_check_name(size_t i)
{
    return i < ARRAY_LEN(checks) ? checks[i].name : NULL;
}

static void decide_ready(const struct rotation_view *v, struct rotation_plan *p)
{
    struct plan_condition *ready = &p->conditions[CONDITION_READY];
    struct plan_condition *moving = &p->conditions[CONDITION_RECONCILING];
    struct plan_condition *stalled = &p->conditions[CONDITION_STALLED];
    size_t i = 0;
    while (!checks[i].applies(v, p, ready)) /* the last one always applies */
        i++;
    p->phase = checks[i].phase;
    bool waiting = checks[i].kind == CHECK_WAITING, stuck = checks[i].kind == CHECK_STALLED;
    set(moving, waiting ? CONDITION_TRUE : CONDITION_FALSE, waiting ? ready->reason : "Settled",
        "%s", waiting ? ready->message : "");
    set(stalled, stuck ? CONDITION_TRUE : CONDITION_FALSE, stuck ? ready->reason : "NotStalled",
        "%s", stuck ? ready->message : "");
}

void rotation_decide(const struct rotation_view *view, struct rotation_plan *plan)
{
    struct plan_condition *consumers = &plan->conditions[CONDITION_CONSUMERS_UP_TO_DATE];
    plan->active_kid = NULL;
    plan->cert_expires_s = 0;
    plan->up_to_date = 0;
    plan->warnings_count = 0;
    plan->again_at_s = INT64_MAX;
    plan->premature = is_premature(view);
    for (size_t i = 0; i < CONSUMER_STATE_COUNT; i++)
        plan->first[i] = view->consumers_count;
    for (size_t i = 0; i < view->workloads_count; i++)
        decide_workload(view, plan, i);
    for (size_t i = 0; i < view->consumers_count; i++)
        decide_consumer(view, plan, i);
    for (size_t i = 0; i < view->keys_count; i++)
        if (view->keys[i].not_after_s != 0)
            warn_key(view, plan, i);
    decide_active(view, plan);
    decide_keys(view, plan);
    decide_issuer(view, plan);
    decide_certificates(view, plan);
    bool all = plan->up_to_date == view->consumers_count;
    set(consumers, all ? CONDITION_TRUE : CONDITION_FALSE, all ? "AllUpToDate" : "NotAllUpToDate",
        "%zu of %zu consumers up to date", plan->up_to_date, view->consumers_count);
    decide_ready(view, plan);
}
