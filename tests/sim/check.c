/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api.h"
#include "cluster.h"
#include "rotation/engine.h"

#define INTENTS_KEPT 16
#define CACHES 2
/* How long after it was in status a change may still be sent: what a watch may be late, and a
 * request under way. */
#define LATE_MS 120000
#define RESTARTS_KEPT 64

struct intent {
    enum change_kind kind;
    uint64_t number;
    char kid[64];
    int64_t from_ms, to_ms; /* to_ms 0: still there */
};

struct cache { /* a verifier that keeps a copy of the JWKS */
    struct check *check;
    uint64_t keys;
    int64_t longest_ms;
    struct loop_timer fetch;
};

struct restart { /* the last for one hash */
    char name[16], hash[96];
    uint64_t contents; /* how often what it reads had changed by then */
};

struct check {
    struct sim *sim;
    struct policy policy;
    int64_t life_ms;
    int64_t live_until_ms[SIM_KEYS_MAX]; /* of the last token that a key has signed */
    struct intent intents[INTENTS_KEPT];
    size_t intents_count;
    struct cache caches[CACHES];
    uint64_t named;       /* keys that a person wants to go */
    int64_t suspended_ms; /* since then; 0 not */
    struct restart restarts[RESTARTS_KEPT];
    size_t restarts_count;
};

/* ---- tokens ---- */

void check_before(struct sim *s)
{
    struct check *c = s->check;
    int signer = realm_signer(s->realm);
    if (signer >= 0)
        c->live_until_ms[signer] = sim_now_ms() + c->life_ms;
}

static void check_verifier(struct sim *s, const char *name, uint64_t accepted, const char *why)
{
    const struct check *c = s->check;
    int64_t now_ms = sim_now_ms();
    for (int key = 0; key < SIM_KEYS_MAX; key++) {
        if (c->live_until_ms[key] <= now_ms)
            continue;
        s->tally.checks++;
        if ((accepted >> key & 1) == 0)
            sim_fail(s, "I2: %s rejects tokens of key %d (%s), which live for %lld s more; %s",
                     name, key, realm_kid(key), (long long)(c->live_until_ms[key] - now_ms) / 1000,
                     why);
    }
}

void check_tokens(struct sim *s, const char *why)
{
    struct check *c = s->check;
    size_t it = 0;
    const char *name;
    uint64_t accepted;
    int signer = realm_signer(s->realm);
    if (signer < 0) {
        sim_fail(s, "I2: no key is ACTIVE; %s", why);
        return;
    }
    check_before(s);
    while (cluster_next_verifier(s->cluster, &it, &name, &accepted))
        check_verifier(s, name, accepted, why);
    check_verifier(s, "a verifier that asks the JWKS each time", realm_served(s->realm), why);
    for (size_t i = 0; i < CACHES && c->policy.publish_s > 0; i++)
        check_verifier(s, "a JWKS cache", c->caches[i].keys, why);
}

/* Fetched again when it is as old as overlap.publish lets it be, or sooner. */
static void on_fetch(void *ctx)
{
    struct cache *cache = ctx;
    struct sim *s = cache->check->sim;
    cache->keys = realm_served(s->realm);
    loop_timer_in(s->loop, &cache->fetch,
                  sim_chance(s, 60) ? cache->longest_ms
                                    : sim_between(s, cache->longest_ms / 2, cache->longest_ms));
    check_tokens(s, "a JWKS cache was filled");
}

/* ---- what was intended ---- */

void check_status(struct sim *s, const json_t *rotation)
{
    struct check *c = s->check;
    const json_t *change = json_object_get(json_object_get(rotation, "status"), "change");
    const char *kid = api_text(change, "kid", NULL);
    struct intent new = {.from_ms = sim_now_ms(),
                         .number = (uint64_t)json_integer_value(json_object_get(change, "number"))};
    (void)change_kind_parse(api_text(change, "kind", NULL), &new.kind);
    (void)snprintf(new.kid, sizeof(new.kid), "%s", kid != NULL ? kid : "");
    struct intent *last = c->intents_count > 0 ? &c->intents[c->intents_count - 1] : NULL;
    if (last != NULL && last->kind == new.kind &&
        last->number == new.number &&strcmp(last->kid, new.kid) == 0)
        return;
    if (last != NULL)
        last->to_ms = new.from_ms;
    if (c->intents_count == INTENTS_KEPT)
        memmove(c->intents, c->intents + 1, --c->intents_count * sizeof(c->intents[0]));
    c->intents[c->intents_count++] = new;
    if (new.kind != CHANGE_NONE)
        sim_say(s, "status intends %s %llu %s", change_kind_name(new.kind),
                (unsigned long long)new.number, new.kid);
}

static void check_intent(struct sim *s, const struct intent *done, int64_t sent_ms)
{
    const struct check *c = s->check;
    if (c->suspended_ms != 0 && sent_ms - c->suspended_ms > LATE_MS)
        sim_fail(s, "%s %s while spec.suspend is true", change_kind_name(done->kind), done->kid);
    for (size_t i = 0; i < c->intents_count; i++) {
        const struct intent *in = &c->intents[i];
        if (in->kind == done->kind && in->number == done->number &&
            strcmp(in->kid, done->kid) == 0 && in->from_ms <= sent_ms &&
            (in->to_ms == 0 || sent_ms - in->to_ms < LATE_MS))
            return;
    }
    sim_fail(s, "%s %llu %s was sent, and was not in status before", change_kind_name(done->kind),
             (unsigned long long)done->number, done->kid);
}

/* ---- writes to the realm ---- */

static bool is_ours(const char *name)
{
    return strncmp(name, "keyturn-" SIM_UID_SHOWN "-", 17) == 0;
}

void check_create(struct sim *s, const char *name, int64_t sent_ms)
{
    struct intent done = {.kind = CHANGE_CREATE};
    struct realm_key_view k;
    size_t it = 0;
    if (!is_ours(name)) {
        sim_fail(s, "a key is made by the name %s", name);
        return;
    }
    done.number = strtoull(name + 17, NULL, 10);
    while (realm_next(s->realm, &it, &k))
        if (strcmp(k.name, name) == 0)
            sim_fail(s, "rotation %llu has two keys", (unsigned long long)done.number);
    check_intent(s, &done, sent_ms);
}

void check_update(struct sim *s, const struct realm_key_view *was, const struct realm_key_view *is,
                  int64_t sent_ms)
{
    const struct check *c = s->check;
    struct intent done = {.kind = !is->enabled ? CHANGE_DISABLE
                                  : is->active ? CHANGE_PROMOTE
                                               : CHANGE_DEMOTE};
    (void)snprintf(done.kid, sizeof(done.kid), "%s", was->kid);
    if (done.kind == CHANGE_DISABLE && !is_ours(was->name) && !c->policy.adopt &&
        (c->named >> was->key & 1) == 0)
        sim_fail(s, "I7: %s is disabled, and nobody gave it to the operator", was->name);
    check_intent(s, &done, sent_ms);
}

void check_delete(struct sim *s, const struct realm_key_view *was, int64_t sent_ms)
{
    struct intent done = {.kind = CHANGE_DELETE};
    (void)snprintf(done.kid, sizeof(done.kid), "%s", was->kid);
    if (!is_ours(was->name))
        sim_fail(s, "I7: %s is deleted, which is not the operator's", was->name);
    if (was->enabled)
        sim_fail(s, "%s is deleted without having been disabled", was->name);
    check_intent(s, &done, sent_ms);
}

void check_named(struct sim *s, const char *kid)
{
    int key = realm_key_of(kid);
    if (key >= 0)
        s->check->named |= 1ULL << key;
}

void check_suspend(struct sim *s, bool suspended)
{
    s->check->suspended_ms = suspended ? sim_now_ms() : 0;
}

/* ---- restarts ---- */

static json_t *annotations_of(const json_t *deployment)
{
    const json_t *template = json_object_get(json_object_get(deployment, "spec"), "template");
    return json_object_get(json_object_get(template, "metadata"), "annotations");
}

/* One for each trust set: another for the same hash only when there has been another set since. */
static void check_reason(struct sim *s, const char *deployment, const char *hash)
{
    struct check *c = s->check;
    uint64_t contents = cluster_contents(s->cluster, deployment);
    size_t i = 0;
    while (i < c->restarts_count &&
           (strcmp(c->restarts[i].name, deployment) != 0 || strcmp(c->restarts[i].hash, hash) != 0))
        i++;
    if (i < c->restarts_count && c->restarts[i].contents == contents)
        sim_fail(s, "%s is restarted for %s again, and there was no other trust set", deployment,
                 hash);
    if (i == RESTARTS_KEPT)
        i = c->restarts_count = 0;
    struct restart *r = &c->restarts[i];
    c->restarts_count += i == c->restarts_count;
    (void)snprintf(r->name, sizeof(r->name), "%s", deployment);
    (void)snprintf(r->hash, sizeof(r->hash), "%s", hash);
    r->contents = contents;
}

void check_restart(struct sim *s, const char *deployment, const json_t *old, const json_t *new)
{
    json_t *like_new = json_deep_copy(json_object_get(old, "spec"));
    json_t *meta = json_object_get(json_object_get(like_new, "template"), "metadata");
    const char *hash = api_text(annotations_of(new), "keyturn.dev/trust-hash", NULL);
    if (json_equal(annotations_of(old), annotations_of(new)) != 1) {
        s->tally.restarts++;
        sim_say(s, "%s is restarted", deployment);
        check_reason(s, deployment, hash != NULL ? hash : "");
        (void)json_object_set(meta, "annotations", annotations_of(new));
    }
    if (json_equal(like_new, json_object_get(new, "spec")) != 1)
        sim_fail(s, "a restart of %s changes more than the hash", deployment);
    json_decref(like_new);
}

/* ---- life ---- */

struct check *check_new(struct sim *s, const struct policy *p)
{
    struct check *c = sim_must(calloc(1, sizeof(*c)));
    c->sim = s;
    c->policy = *p;
    c->life_ms = policy_life_s(p) * 1000;
    return c;
}

void check_start(struct sim *s)
{
    struct check *c = s->check;
    for (size_t i = 0; i < CACHES; i++) {
        struct cache *cache = &c->caches[i];
        cache->check = c;
        cache->keys = realm_served(s->realm);
        cache->longest_ms = c->policy.publish_s * 1000 / (i == 0 ? 1 : 3);
        cache->fetch = (struct loop_timer){.fire = on_fetch, .ctx = cache};
        if (cache->longest_ms > 0)
            loop_timer_in(s->loop, &cache->fetch, sim_between(s, 0, cache->longest_ms));
    }
}

void check_free(struct check *c)
{
    for (size_t i = 0; i < CACHES; i++)
        loop_timer_cancel(c->sim->loop, &c->caches[i].fetch);
    free(c);
}
