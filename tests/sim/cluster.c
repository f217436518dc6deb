/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "check.h"
#include "codec/base64.h"
#include "realm.h"

#define PODS_MAX 8
#define CONTENTS_KEPT 16
#define LOSE_MS 20000
#define KUBELET_LAG_MS 4000 /* what settle_ms of the operator covers */

enum pod_state { POD_FREE, POD_STARTING, POD_READY, POD_ENDING };

struct pod {
    struct consumer *consumer;
    enum pod_state state;
    unsigned number;
    char name[48];
    char hash[128]; /* of the template that it was made from */
    uint64_t loaded;
    struct loop_timer timer;
};

struct content { /* of the published object, since then */
    int64_t since_ms;
    uint64_t keys;
};

struct consumer {
    struct cluster *cluster;
    const struct consumer_policy *policy;
    struct content contents[CONTENTS_KEPT];
    size_t contents_count;
    uint64_t hashes; /* how many there have been */
    char hash[128];
    struct pod pods[PODS_MAX];
    unsigned pods_made;
    bool loads; /* the program without pods has a set */
    uint64_t loaded;
    struct loop_timer look; /* of the rollout, or of the program */
};

struct cluster {
    struct sim *sim;
    struct policy policy;
    struct consumer consumers[CONSUMERS_MAX];
    struct loop_timer lose;
};

/* ---- what is published ---- */

static uint64_t keys_of(struct sim *s, const char *name, const json_t *object, bool secret)
{
    const char *text = api_text(object, "data", "jwks.json", NULL);
    struct buf cleanup_buf plain = {0};
    uint64_t keys = 0;
    size_t i;
    json_t *key;
    if (secret && text != NULL && base64_decode(str_from(text), &plain) == 0)
        text = buf_text(&plain);
    json_t *set = text != NULL ? json_loads(text, 0, NULL) : NULL;
    json_array_foreach(json_object_get(set, "keys"), i, key)
    {
        int at = realm_key_of(api_text(key, "kid", NULL));
        if (at >= 0)
            keys |= 1ULL << at;
        if (json_object_get(key, "d") != NULL)
            sim_fail(s, "I: %s holds a private key", name);
    }
    json_decref(set);
    if (keys == 0)
        sim_fail(s, "I4: what %s holds is no trust set", name);
    return keys;
}

static void note_content(struct consumer *c, const json_t *object)
{
    struct sim *s = c->cluster->sim;
    const char *hash = api_text(object, "metadata", "annotations", "keyturn.dev/trust-hash", NULL);
    uint64_t keys = keys_of(s, c->policy->object, object, c->policy->secret);
    if (c->contents_count == CONTENTS_KEPT)
        memmove(c->contents, c->contents + 1, --c->contents_count * sizeof(c->contents[0]));
    c->contents[c->contents_count++] = (struct content){sim_now_ms(), keys};
    sim_say(s, "%s holds keys %llx", c->policy->object, (unsigned long long)keys);
    if (!text_eq(hash, c->hash)) {
        c->hashes++;
        (void)snprintf(c->hash, sizeof(c->hash), "%s", hash != NULL ? hash : "");
    }
    if (!c->policy->restarts && c->look.heap_index == 0)
        loop_timer_in(s->loop, &c->look, sim_between(s, 2000, 90000));
}

/* What a program finds that reads the object now. */
static uint64_t mounted(const struct consumer *c, struct sim *s)
{
    int64_t at_ms = sim_now_ms() - sim_between(s, 0, KUBELET_LAG_MS);
    size_t i = c->contents_count;
    while (i > 1 && c->contents[i - 1].since_ms > at_ms)
        i--;
    return i > 0 ? c->contents[i - 1].keys : 0;
}

static void on_program_looks(struct consumer *c)
{
    struct sim *s = c->cluster->sim;
    c->loaded = mounted(c, s);
    c->loads = c->loaded != 0;
    sim_say(s, "program of %s loads %llx", c->policy->name, (unsigned long long)c->loaded);
    if (c->loaded != c->contents[c->contents_count - 1].keys)
        loop_timer_in(s->loop, &c->look, KUBELET_LAG_MS);
    check_tokens(s, "a program has loaded its keys");
}

/* ---- pods ---- */

static json_t *template_of(const json_t *deployment)
{
    const json_t *spec = json_object_get(deployment, "spec");
    return json_object_get(json_object_get(spec, "template"), "metadata");
}

static const char *template_hash(const json_t *deployment)
{
    const char *hash =
        api_text(template_of(deployment), "annotations", "keyturn.dev/trust-hash", NULL);
    return hash != NULL ? hash : "";
}

static void store_pod(struct pod *p)
{
    struct sim *s = p->consumer->cluster->sim;
    json_t *pod = json_pack("{s{s{ss}s{}}s{ss}}", "metadata", "labels", "app",
                            p->consumer->policy->name, "annotations", "status", "phase",
                            p->state == POD_STARTING ? "Pending" : "Running");
    json_t *meta = json_object_get(pod, "metadata");
    if (p->hash[0] != '\0')
        (void)json_object_set_new(json_object_get(meta, "annotations"), "keyturn.dev/trust-hash",
                                  json_string(p->hash));
    if (p->state == POD_ENDING)
        (void)json_object_set_new(meta, "deletionTimestamp", json_string("2026-01-01T00:00:00Z"));
    api_store(s, API_POD, p->name, pod);
}

static void end_pod(struct pod *p)
{
    struct sim *s = p->consumer->cluster->sim;
    p->state = POD_ENDING;
    store_pod(p);
    loop_timer_in(s->loop, &p->timer, sim_between(s, 500, 15000));
}

static void on_pod(void *ctx)
{
    struct pod *p = ctx;
    struct consumer *c = p->consumer;
    struct sim *s = c->cluster->sim;
    if (p->state == POD_ENDING) {
        p->state = POD_FREE;
        api_remove(s, API_POD, p->name);
    } else if (p->loaded == 0 && (p->loaded = mounted(c, s)) == 0) {
        loop_timer_in(s->loop, &p->timer, 2000); /* its volume is not there yet */
        return;
    } else {
        p->state = POD_READY;
        sim_say(s, "pod %s serves with %llx", p->name, (unsigned long long)p->loaded);
        store_pod(p);
        check_tokens(s, "a pod has started");
    }
    loop_timer_in(s->loop, &c->look, sim_between(s, 50, 1500));
}

static void start_pod(struct consumer *c, const char *hash)
{
    struct sim *s = c->cluster->sim;
    for (size_t i = 0; i < PODS_MAX; i++) {
        struct pod *p = &c->pods[i];
        if (p->state != POD_FREE)
            continue;
        *p = (struct pod){.consumer = c,
                          .state = POD_STARTING,
                          .number = ++c->pods_made,
                          .timer = {.fire = on_pod, .ctx = p}};
        (void)snprintf(p->name, sizeof(p->name), "%s-%u", c->policy->name, p->number);
        (void)snprintf(p->hash, sizeof(p->hash), "%s", hash);
        store_pod(p);
        loop_timer_in(s->loop, &p->timer, sim_between(s, 1000, 12000));
        return;
    }
}

/* ---- a Deployment ---- */

struct count {
    int total, updated, ready, updated_ready, starting;
    struct pod *old; /* one that may go */
};

static struct count count_pods(struct consumer *c, const char *hash)
{
    struct count n = {0};
    for (size_t i = 0; i < PODS_MAX; i++) {
        struct pod *p = &c->pods[i];
        if (p->state != POD_STARTING && p->state != POD_READY)
            continue;
        bool updated = strcmp(p->hash, hash) == 0;
        n.total++;
        n.updated += updated;
        n.ready += p->state == POD_READY;
        n.updated_ready += updated && p->state == POD_READY;
        n.starting += updated && p->state == POD_STARTING;
        if (!updated && (n.old == NULL || p->state == POD_STARTING))
            n.old = p;
    }
    return n;
}

static void store_counts(struct consumer *c, const char *hash)
{
    struct sim *s = c->cluster->sim;
    struct count n = count_pods(c, hash);
    json_t *value = json_copy((json_t *)(uintptr_t)api_find(s, API_DEPLOYMENT, c->policy->name));
    json_t *generation = json_object_get(json_object_get(value, "metadata"), "generation");
    (void)json_object_set_new(value, "status",
                              json_pack("{sOsisisisi}", "observedGeneration", generation,
                                        "replicas", n.total, "updatedReplicas", n.updated,
                                        "readyReplicas", n.ready, "availableReplicas", n.ready));
    api_store(s, API_DEPLOYMENT, c->policy->name, value);
}

/* One step of a rollout with one pod more at a time, and none less. */
static void on_deployment_looks(struct consumer *c)
{
    struct sim *s = c->cluster->sim;
    char hash[128];
    (void)snprintf(hash, sizeof(hash), "%s",
                   template_hash(api_find(s, API_DEPLOYMENT, c->policy->name)));
    struct count n = count_pods(c, hash);
    if (n.old != NULL && (n.old->state == POD_STARTING || n.ready > c->policy->replicas))
        end_pod(n.old);
    else if (n.starting == 0 && n.updated < c->policy->replicas)
        start_pod(c, hash);
    n = count_pods(c, hash);
    bool over = n.old == NULL && n.updated >= c->policy->replicas;
    store_counts(c, hash);
    if (!over && n.starting == 0)
        loop_timer_in(s->loop, &c->look, sim_between(s, 50, 1500));
}

static void on_look(void *ctx)
{
    struct consumer *c = ctx;
    if (c->policy->restarts)
        on_deployment_looks(c);
    else
        on_program_looks(c);
}

static void on_lose(void *ctx)
{
    struct cluster *cluster = ctx;
    struct sim *s = cluster->sim;
    loop_timer_in(s->loop, &cluster->lose, LOSE_MS);
    struct consumer *c = &cluster->consumers[sim_below(s, cluster->policy.consumers_count)];
    if (!c->policy->restarts || !sim_fault(s, FAULT_POD_LOST))
        return;
    for (size_t i = 0; i < PODS_MAX; i++) {
        if (c->pods[i].state != POD_READY)
            continue;
        sim_say(s, "pod %s is lost", c->pods[i].name);
        sim_hit(s, FAULT_POD_LOST);
        end_pod(&c->pods[i]);
        loop_timer_in(s->loop, &c->look, 100);
        return;
    }
}

/* ---- all of them ---- */

struct cluster *cluster_new(struct sim *s, const struct policy *p)
{
    struct cluster *c = sim_must(calloc(1, sizeof(*c)));
    c->sim = s;
    c->policy = *p;
    c->lose = (struct loop_timer){.fire = on_lose, .ctx = c};
    for (size_t i = 0; i < p->consumers_count; i++) {
        struct consumer *one = &c->consumers[i];
        one->cluster = c;
        one->policy = &c->policy.consumers[i];
        one->look = (struct loop_timer){.fire = on_look, .ctx = one};
    }
    return c;
}

void cluster_start(struct sim *s)
{
    struct cluster *c = s->cluster;
    for (size_t i = 0; i < c->policy.consumers_count; i++) {
        const struct consumer_policy *p = c->consumers[i].policy;
        if (!p->restarts)
            continue;
        api_store(s, API_DEPLOYMENT, p->name,
                  json_pack("{s{sis{s{ss}}s{s{s{ss}}s{}}}}", "spec", "replicas", p->replicas,
                            "selector", "matchLabels", "app", p->name, "template", "metadata",
                            "labels", "app", p->name, "spec"));
    }
    loop_timer_in(s->loop, &c->lose, LOSE_MS);
}

void cluster_free(struct cluster *c)
{
    struct loop *loop = c->sim->loop;
    loop_timer_cancel(loop, &c->lose);
    for (size_t i = 0; i < c->policy.consumers_count; i++) {
        loop_timer_cancel(loop, &c->consumers[i].look);
        for (size_t k = 0; k < PODS_MAX; k++)
            loop_timer_cancel(loop, &c->consumers[i].pods[k].timer);
    }
    free(c);
}

void cluster_changed(struct sim *s, enum api_kind kind, const char *name, const json_t *old,
                     const json_t *new)
{
    struct cluster *cluster = s->cluster;
    for (size_t i = 0; i < cluster->policy.consumers_count; i++) {
        struct consumer *c = &cluster->consumers[i];
        if (kind == API_DEPLOYMENT && strcmp(name, c->policy->name) == 0 &&
            (old == NULL || strcmp(template_hash(old), template_hash(new)) != 0))
            loop_timer_in(s->loop, &c->look, sim_between(s, 50, 2000));
        if (kind == (c->policy->secret ? API_SECRET : API_CONFIG_MAP) &&
            strcmp(name, c->policy->object) == 0 &&
            json_equal(json_object_get(old, "data"), json_object_get(new, "data")) != 1)
            note_content(c, new);
    }
}

bool cluster_next_verifier(const struct cluster *c, size_t *it, const char **ret_name,
                           uint64_t *ret_loaded)
{
    for (; *it < c->policy.consumers_count * (PODS_MAX + 1); (*it)++) {
        const struct consumer *one = &c->consumers[*it / (PODS_MAX + 1)];
        size_t k = *it % (PODS_MAX + 1);
        bool serves = k < PODS_MAX ? one->pods[k].state == POD_READY ||
                                         (one->pods[k].state == POD_ENDING && one->pods[k].loaded)
                                   : one->loads;
        if (!serves)
            continue;
        *ret_name = k < PODS_MAX ? one->pods[k].name : one->policy->name;
        *ret_loaded = k < PODS_MAX ? one->pods[k].loaded : one->loaded;
        (*it)++;
        return true;
    }
    return false;
}

uint64_t cluster_contents(const struct cluster *c, const char *deployment)
{
    for (size_t i = 0; i < c->policy.consumers_count; i++)
        if (strcmp(c->consumers[i].policy->name, deployment) == 0)
            return c->consumers[i].hashes;
    return 0;
}
