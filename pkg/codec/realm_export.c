/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/realm_export.h"

#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "base/buf.h"
#include "codec/json.h"

#define KEY_PROVIDER "org.keycloak.keys.KeyProvider"

/* A member of a component's config is a list of one text. */
static const char *config_of(const json_t *component, const char *key)
{
    const json_t *list = json_object_get(json_object_get(component, "config"), key);
    return json_text_of(json_array_get(list, 0));
}

/* "true" unless it says something else. */
static bool flag_of(const json_t *component, const char *key)
{
    const char *text = config_of(component, key);
    return text == NULL || text_eq(text, "true");
}

static const char *curve_algorithm(const char *curve)
{
    if (text_eq(curve, "P-384"))
        return "ES384";
    return text_eq(curve, "P-521") ? "ES512" : "ES256";
}

/* NULL: it makes no signatures that others verify, or is none of Keycloak's own providers. */
static const char *algorithm_of(const json_t *component)
{
    static const char *const rsa[] = {"rsa-generated", "rsa", "java-keystore"};
    const char *provider = json_text(component, "providerId");
    const char *algorithm = config_of(component, "algorithm");
    const char *use = config_of(component, "keyUse");
    if (text_eq(use, "enc") || text_eq(use, "ENC"))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(rsa); i++)
        if (text_eq(provider, rsa[i]))
            return algorithm != NULL ? algorithm : "RS256";
    if (text_eq(provider, "ecdsa-generated"))
        return curve_algorithm(config_of(component, "ecdsaEllipticCurveKey"));
    return text_eq(provider, "eddsa-generated") ? "EdDSA" : NULL;
}

static int key_decode(const json_t *component, struct realm_export *ret, struct err *err)
{
    const char *algorithm = algorithm_of(component);
    const char *name = json_text(component, "name");
    const char *id = json_text(component, "id");
    const char *priority = config_of(component, "priority");
    if (algorithm == NULL) {
        ret->skipped++;
        return 0;
    }
    if (ret->count == LIMIT_KEYS)
        return err_set(err, ERR_LIMIT, "the export has more than %d signature keys", LIMIT_KEYS);
    struct realm_export_key *k = &ret->keys[ret->count++];
    k->active = flag_of(component, "active");
    k->enabled = flag_of(component, "enabled");
    k->priority = priority != NULL ? strtoll(priority, NULL, 10) : 0;
    err_clean_text(k->algorithm, sizeof(k->algorithm), algorithm);
    err_clean_text(k->id, sizeof(k->id), id != NULL ? id : "");
    err_clean_text(k->name, sizeof(k->name), name != NULL && *name != '\0' ? name : k->id);
    const char *kid = config_of(component, "kid");
    err_clean_text(k->kid, sizeof(k->kid), kid != NULL ? kid : "");
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct realm_export_key *left = a, *right = b;
    return strcmp(left->id, right->id);
}

static int keys_decode(const json_t *realm, struct realm_export *ret, struct err *err)
{
    const json_t *list = json_path(realm, "components", KEY_PROVIDER, NULL);
    ret->has_keys = json_array_size(list) > 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (key_decode(json_array_get(list, i), ret, err) != 0)
            return -1;
    qsort(ret->keys, ret->count, sizeof(ret->keys[0]), by_id);
    return 0;
}

static int append(const char *bytes, size_t len, void *out)
{
    buf_append(out, bytes, len);
    return 0;
}

/* An export holds the answers of the Admin API to GET of a realm and of its clients. */
static int lifespans_decode(const json_t *realm, struct realm_export *ret, struct err *err)
{
    struct buf cleanup_buf text = {.secret = true};
    const json_t *clients = json_object_get(realm, "clients");
    struct err cause = {0};
    size_t count = 0;
    (void)json_dump_callback(realm, append, &text, JSON_COMPACT);
    if (text.failed)
        return err_set(err, ERR_LIMIT, "the export is too large: export the realm without users");
    if (realm_lifespans_decode(buf_view(&text), &ret->lifespans, &cause) != 0) {
        if (cause.class == ERR_FORBIDDEN)
            return 0; /* it does not say */
        *err = cause;
        return -1;
    }
    ret->has_lifespans = true;
    if (!json_is_array(clients))
        return 0;
    buf_clear(&text);
    (void)json_dump_callback(clients, append, &text, JSON_COMPACT);
    return client_lifespans_decode(buf_view(&text), &ret->lifespans, &count, err);
}

/* The realm of that name, in an export of one or of many. */
static const json_t *find_realm(const json_t *tree, const char *realm, struct err *err)
{
    char cleaned[64];
    const char *name = NULL;
    size_t count = json_is_array(tree) ? json_array_size(tree) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(tree) ? json_array_get(tree, i) : tree;
        name = json_text(one, "realm");
        if (text_eq(name, realm))
            return one;
    }
    err_clean_text(cleaned, sizeof(cleaned), name != NULL ? name : "(none)");
    (void)err_set(err, ERR_INVALID,
                  "the export is of realm %s, and spec.keycloak.realm is %.200s: export that one",
                  cleaned, realm);
    return NULL;
}

int realm_export_decode(struct str text, const char *realm, struct realm_export *ret,
                        struct err *err)
{
    memset(ret, 0, sizeof(*ret));
    json_t *cleanup_json tree = json_load(text, false, "realm export", err);
    if (tree == NULL)
        return -1;
    const json_t *found = find_realm(tree, realm, err);
    if (found == NULL)
        return -1;
    return keys_decode(found, ret, err) == 0 ? lifespans_decode(found, ret, err) : -1;
}
