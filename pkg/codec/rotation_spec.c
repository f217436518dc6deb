/* SPDX-License-Identifier: Apache-2.0
 *
 * The spec half of rotation_codec. The API server has judged the object by crds/keyrotation.yaml
 * already; here the same is asked once more, for an object that came past it (an older schema, a
 * restored backup). */
#include "codec/rotation_codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/date.h"
#include "codec/json.h"
#include "codec/rotation_spec.h"

#define REFRESH_DEFAULT_S 30

void spec_reject(struct spec_decoder *d, const char *fmt, ...)
{
    va_list args;
    if (d->error[0] != '\0') {
        return;
    }
    va_start(args, fmt);
    vsnprintf(d->error, sizeof(d->error), fmt, args);
    va_end(args);
}

const json_t *spec_object(struct spec_decoder *d, const json_t *parent, const char *where,
                          const char *key)
{
    const json_t *value = json_object_get(parent, key);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (!json_is_object(value)) {
        spec_reject(d, "%s.%s: write an object with members, not a single value or a list", where,
                    key);
        return NULL;
    }
    return value;
}

const json_t *spec_array(struct spec_decoder *d, const json_t *parent, const char *key, size_t max,
                         const char *where)
{
    const json_t *value = json_object_get(parent, key);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (!json_is_array(value) || json_array_size(value) > max) {
        spec_reject(d, "%s.%s: write a list of at most %zu items", where, key, max);
        return NULL;
    }
    return value;
}

const char *spec_text(struct spec_decoder *d, const json_t *parent, const char *where,
                      const char *key, size_t max)
{
    const json_t *value = json_object_get(parent, key);
    if (value == NULL || json_is_null(value)) {
        return NULL;
    }
    if (json_text_of(value) == NULL || json_string_length(value) == 0 ||
        json_string_length(value) > max) {
        spec_reject(d, "%s.%s: write a text of 1 to %zu characters", where, key, max);
        return NULL;
    }
    return arena_strdup(d->arena, json_text_of(value));
}

bool spec_flag(struct spec_decoder *d, const json_t *parent, const char *where, const char *key)
{
    const json_t *value = json_object_get(parent, key);
    if (value != NULL && !json_is_null(value) && !json_is_boolean(value)) {
        spec_reject(d, "%s.%s: write true or false", where, key);
    }
    return json_is_true(value);
}

int64_t spec_duration_of(const char *text)
{
    int64_t seconds = 0;
    if (text == NULL || strlen(text) > BOUND_DURATION || !date_duration_parse(text, &seconds) ||
        seconds > BOUND_DURATION_MOST_S) {
        return -1;
    }
    return seconds;
}

int64_t spec_duration(struct spec_decoder *d, const json_t *parent, const char *where,
                      const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(parent, key);
    if (value == NULL || json_is_null(value)) {
        return otherwise;
    }
    int64_t seconds = spec_duration_of(json_text_of(value));
    if (seconds < 0) {
        spec_reject(d, "%s.%s: write a duration in d, h, m and s, for example 1h30m", where, key);
        return 0;
    }
    return seconds;
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

bool spec_is_dns(const char *text, const char *more)
{
    size_t len = strlen(text);
    return in_set(text, more) && strchr("-.", text[0]) == NULL &&
           strchr("-.", text[len - 1]) == NULL;
}

const char *spec_reference(struct spec_decoder *d, const json_t *parent, const char *where,
                           const char *key)
{
    const json_t *reference = spec_object(d, parent, where, key);
    const char *name = spec_text(d, reference, where, "name", LIMIT_NAME);
    if (name == NULL || !spec_is_dns(name, "-.")) {
        spec_reject(d, "%s.%s.name: write an object name: lower case letters, digits, '-' and '.'",
                    where, key);
        return NULL;
    }
    return name;
}

static const char *url_at(struct spec_decoder *d, const json_t *parent, const char *where,
                          const char *key)
{
    const char *url = spec_text(d, parent, where, key, LIMIT_URL);
    if (url == NULL) {
        return NULL;
    }
    const char *host = text_starts_with(url, "https://")  ? url + strlen("https://")
                       : text_starts_with(url, "http://") ? url + strlen("http://")
                                                          : NULL;
    if (host == NULL || *host == '\0' || *host == '/' || *host == '?' || *host == '#') {
        spec_reject(
            d, "%s.%s: write an absolute URL that begins with https:// or http:// and names a host",
            where, key);
        return NULL;
    }
    if (memchr(host, '@', strcspn(host, "/")) != NULL) {
        spec_reject(d, "%s.%s: leave user name and password out of the URL", where, key);
        return NULL;
    }
    for (const char *c = url; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || strchr("?#\\", *c) != NULL) {
            spec_reject(d,
                        "%s.%s: write a URL of printable ASCII without spaces, query and fragment",
                        where, key);
            return NULL;
        }
    }
    return url;
}

static void issuer_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const json_t *issuer = spec_object(d, spec, "spec", "issuer");
    const json_t *bundle = spec_object(d, issuer, "spec.issuer", "caBundle");

    ret->issuer_url = url_at(d, issuer, "spec.issuer", "url");
    ret->jwks_url = url_at(d, issuer, "spec.issuer", "jwksURL");
    if (bundle == NULL) {
        return;
    }
    const char *key = spec_text(d, json_object_get(bundle, "configMap"),
                                "spec.issuer.caBundle.configMap", "key", LIMIT_NAME);
    ret->ca_config_map = spec_reference(d, bundle, "spec.issuer.caBundle", "configMap");
    ret->ca_key = key == NULL ? "ca.crt" : key;
    if (!in_set(ret->ca_key, "-._ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
        spec_reject(
            d, "spec.issuer.caBundle.configMap.key: write a key of the ConfigMap's data: letters, "
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

static void keycloak_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    static const char where[] = "spec.keycloak";
    const json_t *keycloak = spec_object(d, spec, "spec", "keycloak");
    if (keycloak == NULL) {
        return;
    }
    ret->keycloak_url = url_at(d, keycloak, where, "url");
    ret->realm = spec_text(d, keycloak, where, "realm", BOUND_REALM);
    if (ret->keycloak_url == NULL || ret->realm == NULL) {
        spec_reject(d, "spec.keycloak: write url and realm");
        return;
    }
    if (ret->keycloak_url[strlen(ret->keycloak_url) - 1] == '/') {
        spec_reject(d,
                    "spec.keycloak.url: leave out the slash at the end: /realms/… is added to it");
    }
    if (!is_realm(ret->realm)) {
        spec_reject(d, "spec.keycloak.realm: write the name of a realm, without slash and control "
                       "characters");
    }
    const json_t *credentials = spec_object(d, keycloak, where, "credentials");
    ret->credentials_secret = spec_reference(d, credentials, "spec.keycloak.credentials", "secret");
}

static void refresh_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const char *text = spec_text(d, spec, "spec", "refreshInterval", BOUND_DURATION);
    ret->refresh_interval_s = text == NULL ? REFRESH_DEFAULT_S : spec_duration_of(text);
    if (ret->refresh_interval_s < BOUND_REFRESH_LEAST_S ||
        ret->refresh_interval_s > BOUND_REFRESH_MOST_S) {
        spec_reject(d, "spec.refreshInterval: write a duration of 5s to 1h, for example 30s");
    }
}

/* Kept largest first. */
static void add_threshold(struct spec_decoder *d, const char *text, struct rotation_spec *ret)
{
    struct threshold_spec new = {.text = arena_strdup(d->arena, text),
                                 .seconds = spec_duration_of(text)};
    size_t at = ret->warn_before_count;
    if (new.seconds <= 0) {
        spec_reject(
            d,
            "spec.wrapper.warnBefore: write durations above 0s in d, h, m and s, for example 30d");
        return;
    }
    for (; at > 0 && ret->warn_before[at - 1].seconds <= new.seconds; at--) {
        if (ret->warn_before[at - 1].seconds == new.seconds) {
            spec_reject(d,
                        "spec.wrapper.warnBefore: two thresholds are equally long: leave one out");
            return;
        }
    }
    memmove(&ret->warn_before[at + 1], &ret->warn_before[at],
            (ret->warn_before_count - at) * sizeof(new));
    ret->warn_before[at] = new;
    ret->warn_before_count++;
}

static void wrapper_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    static const char *const defaults[] = {"30d", "14d", "7d", "1d"};
    const json_t *wrapper = spec_object(d, spec, "spec", "wrapper");
    const json_t *list =
        spec_array(d, wrapper, "warnBefore", LIMIT_WARN_THRESHOLDS, "spec.wrapper");

    for (size_t i = 0; list == NULL && i < ARRAY_LEN(defaults); i++) {
        add_threshold(d, defaults[i], ret);
    }
    for (size_t i = 0; i < json_array_size(list) && d->error[0] == '\0'; i++) {
        add_threshold(d, json_text_of(json_array_get(list, i)), ret);
    }
}

static void policy_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret)
{
    const char *policy = spec_text(d, spec, "spec", "deletionPolicy", LIMIT_NAME);
    if (policy == NULL || text_eq(policy, "Retain")) {
        ret->deletion_policy = DELETION_RETAIN;
    } else if (text_eq(policy, "Delete")) {
        ret->deletion_policy = DELETION_DELETE;
    } else {
        spec_reject(d, "spec.deletionPolicy: write Retain or Delete");
    }
}

const char *rotation_spec_decode(const json_t *spec, const char *name, struct arena *arena,
                                 struct rotation_spec *ret)
{
    struct spec_decoder d = {.arena = arena};
    *ret = (struct rotation_spec){.issuer_url = NULL};
    if (strlen(name) > BOUND_ROTATION_NAME) {
        spec_reject(
            &d,
            "metadata.name: use at most 63 characters, because the name becomes a label of what is "
            "published");
    }
    if (!json_is_object(spec)) {
        spec_reject(&d, "spec: write what to follow: keycloak, or issuer.url");
    }
    issuer_decode(&d, spec, ret);
    keycloak_decode(&d, spec, ret);
    if (ret->keycloak_url == NULL && ret->issuer_url == NULL && ret->jwks_url == NULL) {
        spec_reject(
            &d,
            "spec says nothing to follow: write keycloak (url, realm, credentials) for a realm, or "
            "issuer.url (or issuer.jwksURL) for any other OIDC issuer");
    }
    refresh_decode(&d, spec, ret);
    wrapper_decode(&d, spec, ret);
    policy_decode(&d, spec, ret);
    ret->suspend = spec_flag(&d, spec, "spec", "suspend");
    spec_plan_decode(&d, spec, ret);
    spec_consumers_decode(&d, spec, ret);
    if (d.error[0] == '\0' && ret->consumers_count > 0 && !arena->failed) {
        spec_consumers_check(&d, name, ret);
    }
    if (d.error[0] == '\0') {
        return NULL;
    }
    *ret = (struct rotation_spec){.issuer_url = NULL};
    return arena_strdup(arena, d.error);
}
