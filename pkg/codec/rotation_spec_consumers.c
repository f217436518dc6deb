/* SPDX-License-Identifier: Apache-2.0
 *
 * spec.consumers: where keys are published, who is restarted, and what proves that it was done. */
#include "codec/rotation_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "codec/json.h"

#define ALL_FORMATS (FORMAT_JWKS | FORMAT_PEM | FORMAT_X509)
#define WHERE_MAX 64
#define PROOF_DELAY_DEFAULT_S 120 /* the kubelet renews mounted volumes within about 90 s */

static unsigned formats_decode(struct spec_decoder *d, const json_t *publish, const char *where)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"JWKS", FORMAT_JWKS}, {"PEM", FORMAT_PEM}, {"X509", FORMAT_X509}};
    const json_t *list = spec_array(d, publish, "formats", ARRAY_LEN(known), where);
    unsigned formats = list == NULL ? ALL_FORMATS : 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_text_of(json_array_get(list, i));
        unsigned bit = 0;
        for (size_t k = 0; k < ARRAY_LEN(known); k++) {
            bit |= text_eq(name, known[k].name) ? known[k].bit : 0;
        }
        if (bit == 0 || (formats & bit) != 0) {
            formats = 0;
            break;
        }
        formats |= bit;
    }
    if (formats == 0) {
        spec_reject(d, "%s.formats: write one or more of JWKS, PEM and X509, each once", where);
    }
    /* Without jwks.json there is no x5c to keep, and nothing that a renewed certificate would
     * change. */
    if ((formats & FORMAT_JWKS) != 0 && json_flag(publish, "keepX5c")) {
        formats |= FORMAT_X5C;
    }
    return formats;
}

static void publish_decode(struct spec_decoder *d, const json_t *consumer, const char *name,
                           struct consumer_spec *ret)
{
    char where[WHERE_MAX + BOUND_CONSUMER_NAME];
    snprintf(where, sizeof(where), "spec.consumers[%s].publish", name);
    const json_t *publish = json_object_get(consumer, "publish");
    bool secret = json_is_object(json_object_get(publish, "secret"));
    bool config_map = json_is_object(json_object_get(publish, "configMap"));

    if (secret == config_map) {
        spec_reject(d, "%s: write exactly one of secret and configMap", where);
        return;
    }
    ret->object_kind = secret ? KIND_SECRET : KIND_CONFIG_MAP;
    ret->object_name = spec_reference(d, publish, where, secret ? "secret" : "configMap");
    ret->formats = formats_decode(d, publish, where);
}

static bool workload_kind_of(const char *text, enum workload_kind *ret)
{
    for (enum workload_kind k = 0; k < WORKLOAD_KIND_COUNT; k++) {
        if (text_eq(text, workload_kind_name(k))) {
            *ret = k;
            return true;
        }
    }
    return false;
}

static void restarts_decode(struct spec_decoder *d, const json_t *consumer, const char *name,
                            struct consumer_spec *ret)
{
    char where[WHERE_MAX + BOUND_CONSUMER_NAME];
    snprintf(where, sizeof(where), "spec.consumers[%s].reload", name);
    const json_t *list =
        spec_array(d, json_object_get(consumer, "reload"), "restart", LIMIT_RESTARTS, where);
    size_t count = json_array_size(list);
    struct restart_spec *all = count == 0 ? NULL : arena_array(d->arena, count, sizeof(*all));

    for (size_t i = 0; all != NULL && i < count; i++) {
        const json_t *item = json_array_get(list, i);
        all[i].name = spec_text(d, item, where, "name", LIMIT_NAME);
        if (!workload_kind_of(json_text(item, "kind"), &all[i].kind) || all[i].name == NULL ||
            !spec_is_dns(all[i].name, "-.")) {
            spec_reject(d, "%s.restart: write kind (Deployment, StatefulSet or DaemonSet) and name",
                        where);
            return;
        }
        for (size_t k = 0; k < i; k++) {
            if (all[k].kind == all[i].kind && strcmp(all[k].name, all[i].name) == 0) {
                spec_reject(d, "%s.restart: %s %s is listed twice: leave one out", where,
                            workload_kind_name(all[i].kind), all[i].name);
                return;
            }
        }
    }
    ret->restarts = all;
    ret->restarts_count = all == NULL ? 0 : count;
}

/* Without spec.consumers[].proof: what the consumer has to offer. */
static void proof_decode(struct spec_decoder *d, const json_t *consumer, const char *name,
                         struct consumer_spec *ret)
{
    char where[WHERE_MAX + BOUND_CONSUMER_NAME];
    snprintf(where, sizeof(where), "spec.consumers[%s]", name);
    const json_t *proof = spec_object(d, consumer, where, "proof");
    const char *type = json_text(proof, "type");
    const json_t *delay = json_object_get(proof, "delay");

    snprintf(where, sizeof(where), "spec.consumers[%s].proof", name);
    ret->proof = ret->restarts_count > 0 ? PROOF_ROLLOUT : PROOF_DELAY;
    if (text_eq(type, "Rollout") || text_eq(type, "Delay")) {
        ret->proof = text_eq(type, "Rollout") ? PROOF_ROLLOUT : PROOF_DELAY;
    } else if (proof != NULL) {
        spec_reject(d, "%s.type: write Rollout or Delay", where);
    }
    if (ret->proof == PROOF_ROLLOUT && ret->restarts_count == 0) {
        spec_reject(d,
                    "%s: type Rollout needs a workload that is restarted: write reload.restart, or "
                    "type Delay",
                    where);
    }
    if (ret->proof == PROOF_DELAY) {
        ret->proof_delay_s = spec_duration(d, proof, where, "delay", PROOF_DELAY_DEFAULT_S);
        if (ret->proof_delay_s == 0) {
            spec_reject(d, "%s.delay: write more than 0s: no reader loads a new key at once",
                        where);
        }
    } else if (delay != NULL && !json_is_null(delay)) {
        spec_reject(d, "%s: leave delay out with type Rollout, or write type Delay", where);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct consumer_spec *const *left = a;
    const struct consumer_spec *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static int by_object(const void *a, const void *b)
{
    const struct consumer_spec *const *left = a;
    const struct consumer_spec *const *right = b;
    if ((*left)->object_kind != (*right)->object_kind) {
        return (*left)->object_kind < (*right)->object_kind ? -1 : 1;
    }
    return strcmp((*left)->object_name, (*right)->object_name);
}

static void check_twins(struct spec_decoder *d, const struct rotation_spec *spec)
{
    struct arena cleanup_arena scratch = {0};
    size_t count = spec->consumers_count;
    const struct consumer_spec **sorted = arena_array(&scratch, count, sizeof(const void *));
    if (sorted == NULL) {
        d->arena->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &spec->consumers[i];
    }
    qsort(sorted, count, sizeof(const void *), by_name);
    for (size_t i = 1; i < count; i++) {
        if (by_name(&sorted[i - 1], &sorted[i]) == 0) {
            spec_reject(d,
                        "spec.consumers: two consumers are called %s: give each a name of its own",
                        sorted[i]->name);
        }
    }
    qsort(sorted, count, sizeof(const void *), by_object);
    for (size_t i = 1; i < count; i++) {
        if (by_object(&sorted[i - 1], &sorted[i]) == 0) {
            spec_reject(d, "spec.consumers: %s and %s publish into one %s %.64s: give each its own",
                        sorted[i - 1]->name, sorted[i]->name,
                        object_kind_name(sorted[i]->object_kind), sorted[i]->object_name);
        }
    }
}

/* Objects that this KeyRotation reads or keeps for itself are no place to publish into. */
static void check_places(struct spec_decoder *d, const char *name, const struct rotation_spec *spec)
{
    char record[LIMIT_NAME + sizeof("-keyturn-record")];
    snprintf(record, sizeof(record), "%s-keyturn-record", name);
    for (size_t i = 0; i < spec->consumers_count; i++) {
        const struct consumer_spec *c = &spec->consumers[i];
        bool secret = c->object_kind == KIND_SECRET;
        if (secret && text_eq(c->object_name, spec->credentials_secret)) {
            spec_reject(d,
                        "spec.consumers[%s].publish.secret: choose another one, this one holds the "
                        "credentials of spec.keycloak",
                        c->name);
        }
        if (!secret && text_eq(c->object_name, spec->ca_config_map)) {
            spec_reject(
                d,
                "spec.consumers[%s].publish.configMap: choose another one, this one holds the "
                "certificates of spec.issuer.caBundle",
                c->name);
        }
        if (!secret && text_eq(c->object_name, record)) {
            spec_reject(
                d,
                "spec.consumers[%s].publish.configMap: choose another one, this one holds the "
                "last known good keys",
                c->name);
        }
    }
}

void spec_consumers_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const json_t *list = spec_array(d, spec, "consumers", LIMIT_CONSUMERS, "spec");
    size_t count = json_array_size(list);
    struct consumer_spec *all = count == 0 ? NULL : arena_array(d->arena, count, sizeof(*all));

    for (size_t i = 0; all != NULL && i < count; i++) {
        const json_t *item = json_array_get(list, i);
        all[i].name = spec_text(d, item, "spec.consumers[]", "name", BOUND_CONSUMER_NAME);
        if (all[i].name == NULL || !spec_is_dns(all[i].name, "-")) {
            spec_reject(
                d, "spec.consumers[].name: write a DNS label: lower case letters, digits and '-'");
            return;
        }
        publish_decode(d, item, all[i].name, &all[i]);
        restarts_decode(d, item, all[i].name, &all[i]);
        proof_decode(d, item, all[i].name, &all[i]);
        if (d->error[0] != '\0' || d->arena->failed) {
            return;
        }
    }
    ret->consumers = all;
    ret->consumers_count = all == NULL ? 0 : count;
}

void spec_consumers_check(struct spec_decoder *d, const char *name,
                          const struct rotation_spec *spec)
{
    check_twins(d, spec);
    check_places(d, name, spec);
}
