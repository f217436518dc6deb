/* SPDX-License-Identifier: Apache-2.0
 *
 * The spec half of rotation_codec. The API server has judged the object by crds/keyrotation.yaml
 * already; here the same is asked once more, for an object that came past it (an older schema, a
 * restored backup). */
#include "codec/rotation_codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "base/date.h"
#include "codec/json.h"
#include "codec/kube_codec.h"
#include "codec/rotation_bounds.h"

#define REFRESH_DEFAULT_S 30
#define ALL_FORMATS (FORMAT_JWKS | FORMAT_PEM | FORMAT_X509)
#define WHERE_MAX 64

struct decoder {
    struct arena *arena;
    char error[320]; /* the first; "" none */
};

ATTR_PRINTF(2, 3) static void reject(struct decoder *d, const char *fmt, ...)
{
    va_list args;
    if (d->error[0] != '\0') {
        return;
    }
    va_start(args, fmt);
    vsnprintf(d->error, sizeof(d->error), fmt, args);
    va_end(args);
}

/* NULL when absent; something else than an object is refused. */
static const json_t *object_at(struct decoder *d, const json_t *parent, const char *where,
                               const char *key)
{
    const json_t *value = json_object_get(parent, key);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (!json_is_object(value)) {
        reject(d, "%s.%s: write an object with members, not a single value or a list", where, key);
        return NULL;
    }
    return value;
}

static const json_t *array_at(struct decoder *d, const json_t *parent, const char *key, size_t max,
                              const char *where)
{
    const json_t *value = json_object_get(parent, key);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (!json_is_array(value) || json_array_size(value) > max) {
        reject(d, "%s.%s: write a list of at most %zu items", where, key, max);
        return NULL;
    }
    return value;
}

/* NULL when absent. */
static const char *text_at(struct decoder *d, const json_t *parent, const char *where,
                           const char *key, size_t max)
{
    const json_t *value = json_object_get(parent, key);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (json_text_of(value) == NULL || json_string_length(value) == 0 ||
        json_string_length(value) > max) {
        reject(d, "%s.%s: write a text of 1 to %zu characters", where, key, max);
        return NULL;
    }
    return arena_strdup(d->arena, json_text_of(value));
}

static bool in_set(const char *text, const char *more)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        if (!plain && strchr(more, *c) == NULL) {
            return false;
        }
    }
    return true;
}

/* RFC 1123, as the API server asks of names; more: "-." for a subdomain, "-" for a label. */
static bool is_dns(const char *text, const char *more)
{
    size_t len = strlen(text);
    return in_set(text, more) && strchr("-.", text[0]) == NULL &&
           strchr("-.", text[len - 1]) == NULL;
}

/* parent.key.name, required: the name of an object of this namespace. NULL when refused. */
static const char *reference_at(struct decoder *d, const json_t *parent, const char *where,
                                const char *key)
{
    const json_t *reference = object_at(d, parent, where, key);
    const char *name = text_at(d, reference, where, "name", LIMIT_NAME);
    if (name == NULL || !is_dns(name, "-.")) {
        reject(d, "%s.%s.name: write an object name: lower case letters, digits, '-' and '.'",
               where, key);
        return NULL;
    }
    return name;
}

static const char *url_at(struct decoder *d, const json_t *parent, const char *where,
                          const char *key)
{
    const char *url = text_at(d, parent, where, key, LIMIT_URL);
    if (url == NULL) {
        return NULL;
    }
    const char *host = text_starts_with(url, "https://")  ? url + strlen("https://")
                       : text_starts_with(url, "http://") ? url + strlen("http://")
                                                          : NULL;
    if (host == NULL || *host == '\0' || *host == '/' || *host == '?' || *host == '#') {
        reject(d,
               "%s.%s: write an absolute URL that begins with https:// or http:// and names a host",
               where, key);
        return NULL;
    }
    if (memchr(host, '@', strcspn(host, "/")) != NULL) {
        reject(d, "%s.%s: leave user name and password out of the URL", where, key);
        return NULL;
    }
    for (const char *c = url; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || strchr("?#\\", *c) != NULL) {
            reject(d, "%s.%s: write a URL of printable ASCII without spaces, query and fragment",
                   where, key);
            return NULL;
        }
    }
    return url;
}

static void issuer_decode(struct decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const json_t *issuer = object_at(d, spec, "spec", "issuer");
    const json_t *bundle = object_at(d, issuer, "spec.issuer", "caBundle");

    ret->issuer_url = url_at(d, issuer, "spec.issuer", "url");
    ret->jwks_url = url_at(d, issuer, "spec.issuer", "jwksURL");
    if (bundle == NULL) {
        return;
    }
    const char *key = text_at(d, json_object_get(bundle, "configMap"),
                              "spec.issuer.caBundle.configMap", "key", LIMIT_NAME);
    ret->ca_config_map = reference_at(d, bundle, "spec.issuer.caBundle", "configMap");
    ret->ca_key = key == NULL ? "ca.crt" : key;
    if (!in_set(ret->ca_key, "-._ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
        reject(d,
               "spec.issuer.caBundle.configMap.key: write a key of the ConfigMap's data: letters, "
               "digits, '-', '_' and '.'");
    }
}

static bool is_realm(const char *realm)
{
    for (const char *c = realm; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '/') {
            return false;
        }
    }
    return strcmp(realm, ".") != 0 && strcmp(realm, "..") != 0;
}

static void keycloak_decode(struct decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    static const char where[] = "spec.keycloak";
    const json_t *keycloak = object_at(d, spec, "spec", "keycloak");
    if (keycloak == NULL) {
        return;
    }
    ret->keycloak_url = url_at(d, keycloak, where, "url");
    ret->realm = text_at(d, keycloak, where, "realm", BOUND_REALM);
    if (ret->keycloak_url == NULL || ret->realm == NULL) {
        reject(d, "spec.keycloak: write url and realm");
        return;
    }
    if (ret->keycloak_url[strlen(ret->keycloak_url) - 1] == '/') {
        reject(d, "spec.keycloak.url: leave out the slash at the end: /realms/… is added to it");
    }
    if (!is_realm(ret->realm)) {
        reject(d, "spec.keycloak.realm: write the name of a realm, without slash and control "
                  "characters");
    }
    const json_t *credentials = object_at(d, keycloak, where, "credentials");
    ret->credentials_secret = reference_at(d, credentials, "spec.keycloak.credentials", "secret");
}

/* Seconds, or -1 when it is no duration. */
static int64_t duration_of(const char *text)
{
    int64_t seconds = 0;
    if (text == NULL || strlen(text) > BOUND_DURATION || !date_duration_parse(text, &seconds)) {
        return -1;
    }
    return seconds;
}

static void refresh_decode(struct decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const char *text = text_at(d, spec, "spec", "refreshInterval", BOUND_DURATION);
    ret->refresh_interval_s = text == NULL ? REFRESH_DEFAULT_S : duration_of(text);
    if (ret->refresh_interval_s < BOUND_REFRESH_LEAST_S ||
        ret->refresh_interval_s > BOUND_REFRESH_MOST_S) {
        reject(d, "spec.refreshInterval: write a duration of 5s to 1h, for example 30s");
    }
}

/* Kept largest first. */
static void add_threshold(struct decoder *d, const char *text, struct rotation_spec *ret)
{
    struct threshold_spec new = {.text = arena_strdup(d->arena, text),
                                 .seconds = duration_of(text)};
    size_t at = ret->warn_before_count;
    if (new.seconds <= 0) {
        reject(
            d,
            "spec.wrapper.warnBefore: write durations above 0s in d, h, m and s, for example 30d");
        return;
    }
    for (; at > 0 && ret->warn_before[at - 1].seconds <= new.seconds; at--) {
        if (ret->warn_before[at - 1].seconds == new.seconds) {
            reject(d, "spec.wrapper.warnBefore: two thresholds are equally long: leave one out");
            return;
        }
    }
    memmove(&ret->warn_before[at + 1], &ret->warn_before[at],
            (ret->warn_before_count - at) * sizeof(new));
    ret->warn_before[at] = new;
    ret->warn_before_count++;
}

static void wrapper_decode(struct decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    static const char *const defaults[] = {"30d", "14d", "7d", "1d"};
    const json_t *wrapper = object_at(d, spec, "spec", "wrapper");
    const json_t *list = array_at(d, wrapper, "warnBefore", LIMIT_WARN_THRESHOLDS, "spec.wrapper");

    for (size_t i = 0; list == NULL && i < ARRAY_LEN(defaults); i++) {
        add_threshold(d, defaults[i], ret);
    }
    for (size_t i = 0; i < json_array_size(list) && d->error[0] == '\0'; i++) {
        add_threshold(d, json_text_of(json_array_get(list, i)), ret);
    }
}

static void policy_decode(struct decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const char *policy = text_at(d, spec, "spec", "deletionPolicy", LIMIT_NAME);
    if (policy == NULL || text_eq(policy, "Retain")) {
        ret->deletion_policy = DELETION_RETAIN;
    } else if (text_eq(policy, "Delete")) {
        ret->deletion_policy = DELETION_DELETE;
    } else {
        reject(d, "spec.deletionPolicy: write Retain or Delete");
    }
}

static unsigned formats_decode(struct decoder *d, const json_t *publish, const char *where)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"JWKS", FORMAT_JWKS}, {"PEM", FORMAT_PEM}, {"X509", FORMAT_X509}};
    const json_t *list = array_at(d, publish, "formats", ARRAY_LEN(known), where);
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
        reject(d, "%s.formats: write one or more of JWKS, PEM and X509, each once", where);
    }
    /* Without jwks.json there is no x5c to keep, and nothing that a renewed certificate would
     * change. */
    if ((formats & FORMAT_JWKS) != 0 && json_flag(publish, "keepX5c")) {
        formats |= FORMAT_X5C;
    }
    return formats;
}

static void publish_decode(struct decoder *d, const json_t *consumer, const char *name,
                           struct consumer_spec *ret)
{
    char where[WHERE_MAX + BOUND_CONSUMER_NAME];
    snprintf(where, sizeof(where), "spec.consumers[%s].publish", name);
    const json_t *publish = json_object_get(consumer, "publish");
    bool secret = json_is_object(json_object_get(publish, "secret"));
    bool config_map = json_is_object(json_object_get(publish, "configMap"));

    if (secret == config_map) {
        reject(d, "%s: write exactly one of secret and configMap", where);
        return;
    }
    ret->object_kind = secret ? KIND_SECRET : KIND_CONFIG_MAP;
    ret->object_name = reference_at(d, publish, where, secret ? "secret" : "configMap");
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

static void restarts_decode(struct decoder *d, const json_t *consumer, const char *name,
                            struct consumer_spec *ret)
{
    char where[WHERE_MAX + BOUND_CONSUMER_NAME];
    snprintf(where, sizeof(where), "spec.consumers[%s].reload", name);
    const json_t *list =
        array_at(d, json_object_get(consumer, "reload"), "restart", LIMIT_RESTARTS, where);
    size_t count = json_array_size(list);
    struct restart_spec *all = count == 0 ? NULL : arena_array(d->arena, count, sizeof(*all));

    for (size_t i = 0; all != NULL && i < count; i++) {
        const json_t *item = json_array_get(list, i);
        all[i].name = text_at(d, item, where, "name", LIMIT_NAME);
        if (!workload_kind_of(json_text(item, "kind"), &all[i].kind) || all[i].name == NULL ||
            !is_dns(all[i].name, "-.")) {
            reject(d, "%s.restart: write kind (Deployment, StatefulSet or DaemonSet) and name",
                   where);
            return;
        }
        for (size_t k = 0; k < i; k++) {
            if (all[k].kind == all[i].kind && strcmp(all[k].name, all[i].name) == 0) {
                reject(d, "%s.restart: %s %s is listed twice: leave one out", where,
                       workload_kind_name(all[i].kind), all[i].name);
                return;
            }
        }
    }
    ret->restarts = all;
    ret->restarts_count = all == NULL ? 0 : count;
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

static void check_twins(struct decoder *d, const struct rotation_spec *spec)
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
            reject(d, "spec.consumers: two consumers are called %s: give each a name of its own",
                   sorted[i]->name);
        }
    }
    qsort(sorted, count, sizeof(const void *), by_object);
    for (size_t i = 1; i < count; i++) {
        if (by_object(&sorted[i - 1], &sorted[i]) == 0) {
            reject(d, "spec.consumers: %s and %s publish into one %s %.64s: give each its own",
                   sorted[i - 1]->name, sorted[i]->name, object_kind_name(sorted[i]->object_kind),
                   sorted[i]->object_name);
        }
    }
}

/* Objects that this KeyRotation reads or keeps for itself are no place to publish into. */
static void check_places(struct decoder *d, const char *name, const struct rotation_spec *spec)
{
    char record[LIMIT_NAME + sizeof("-keyturn-record")];
    snprintf(record, sizeof(record), "%s-keyturn-record", name);
    for (size_t i = 0; i < spec->consumers_count; i++) {
        const struct consumer_spec *c = &spec->consumers[i];
        bool secret = c->object_kind == KIND_SECRET;
        if (secret && text_eq(c->object_name, spec->credentials_secret)) {
            reject(d,
                   "spec.consumers[%s].publish.secret: choose another one, this one holds the "
                   "credentials of spec.keycloak",
                   c->name);
        }
        if (!secret && text_eq(c->object_name, spec->ca_config_map)) {
            reject(d,
                   "spec.consumers[%s].publish.configMap: choose another one, this one holds the "
                   "certificates of spec.issuer.caBundle",
                   c->name);
        }
        if (!secret && text_eq(c->object_name, record)) {
            reject(d,
                   "spec.consumers[%s].publish.configMap: choose another one, this one holds the "
                   "last known good keys",
                   c->name);
        }
    }
}

static void consumers_decode(struct decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const json_t *list = array_at(d, spec, "consumers", LIMIT_CONSUMERS, "spec");
    size_t count = json_array_size(list);
    struct consumer_spec *all = count == 0 ? NULL : arena_array(d->arena, count, sizeof(*all));

    for (size_t i = 0; all != NULL && i < count; i++) {
        const json_t *item = json_array_get(list, i);
        all[i].name = text_at(d, item, "spec.consumers[]", "name", BOUND_CONSUMER_NAME);
        if (all[i].name == NULL || !is_dns(all[i].name, "-")) {
            reject(d,
                   "spec.consumers[].name: write a DNS label: lower case letters, digits and '-'");
            return;
        }
        publish_decode(d, item, all[i].name, &all[i]);
        restarts_decode(d, item, all[i].name, &all[i]);
        if (d->error[0] != '\0' || d->arena->failed) {
            return;
        }
    }
    ret->consumers = all;
    ret->consumers_count = all == NULL ? 0 : count;
}

const char *rotation_spec_decode(const json_t *spec, const char *name, struct arena *arena,
                                 struct rotation_spec *ret)
{
    struct decoder d = {.arena = arena};
    *ret = (struct rotation_spec){.issuer_url = NULL};
    if (strlen(name) > BOUND_ROTATION_NAME) {
        reject(
            &d,
            "metadata.name: use at most 63 characters, because the name becomes a label of what is "
            "published");
    }
    if (!json_is_object(spec)) {
        reject(&d, "spec: write what to follow: keycloak, or issuer.url");
    }
    issuer_decode(&d, spec, ret);
    keycloak_decode(&d, spec, ret);
    if (ret->keycloak_url == NULL && ret->issuer_url == NULL && ret->jwks_url == NULL) {
        reject(
            &d,
            "spec says nothing to follow: write keycloak (url, realm, credentials) for a realm, or "
            "issuer.url (or issuer.jwksURL) for any other OIDC issuer");
    }
    refresh_decode(&d, spec, ret);
    wrapper_decode(&d, spec, ret);
    policy_decode(&d, spec, ret);
    consumers_decode(&d, spec, ret);
    if (d.error[0] == '\0' && ret->consumers_count > 0 && !arena->failed) {
        check_twins(&d, ret);
        check_places(&d, name, ret);
    }
    if (d.error[0] == '\0') {
        return NULL;
    }
    *ret = (struct rotation_spec){.issuer_url = NULL};
    return arena_strdup(arena, d.error);
}
