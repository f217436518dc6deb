/* SPDX-License-Identifier: Apache-2.0
 *
 * The key half of keycloak_codec: /keys, /components and JWKS. */
#include "codec/keycloak_codec.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/str.h"
#include "codec/json.h"
#include "jose/alg.h"

#define ENTRIES_MAX 1000
#define ACTIVE_MAX 16

/* Keys as they are gathered, before they move into memory of their size. */
struct gather {
    struct realm_key keys[LIMIT_KEYS];
    size_t count;
    struct realm_keys *ret;
};

static bool kty_known(const char *kty)
{
    return text_eq(kty, "RSA") || text_eq(kty, "EC") || text_eq(kty, "OKP");
}

static void unreadable(struct realm_keys *ret, const char *kid, const struct err *why)
{
    char text[sizeof(ret->unreadable_why)];
    if (ret->unreadable++ == 0) {
        text_format(text, sizeof(text), "key %.80s: %.160s", kid == NULL ? "without kid" : kid,
                    why->msg);
        err_clean_text(ret->unreadable_why, sizeof(ret->unreadable_why), text);
    }
}

static struct realm_key *find_kid(struct gather *g, const char *kid)
{
    for (size_t i = 0; i < g->count; i++) {
        if (strcmp(g->keys[i].key->kid, kid) == 0) {
            return &g->keys[i];
        }
    }
    return NULL;
}

/* Two entries with one kid: one key in two components is one key, under its better status. A
 * disabled twin says nothing. Two enabled keys under one kid are told apart by nobody: the first
 * stays and is named. */
static void merge_twin(struct gather *g, struct realm_key *old, const struct realm_key *new)
{
    bool same = strcmp(old->key->spki_sha256, new->key->spki_sha256) == 0;
    bool both = old->status != REALM_KEY_DISABLED && new->status != REALM_KEY_DISABLED;
    if (!same && both && g->ret->duplicate_kid[0] == '\0') {
        text_format(g->ret->duplicate_kid, sizeof(g->ret->duplicate_kid), "%s", old->key->kid);
    }
    if (new->status < old->status && (same || !both)) {
        jose_key_unref(old->key);
        *old = *new;
    } else {
        jose_key_unref(new->key);
    }
}

/* Takes the reference of key. Disabled ones make room for those that count. */
static void add_key(struct gather *g, const struct realm_key *key)
{
    struct realm_key *twin = find_kid(g, key->key->kid);
    if (twin != NULL) {
        merge_twin(g, twin, key);
        return;
    }
    if (g->count < LIMIT_KEYS) {
        g->keys[g->count++] = *key;
        return;
    }
    for (size_t i = LIMIT_KEYS; key->status != REALM_KEY_DISABLED && i > 0; i--) {
        if (g->keys[i - 1].status == REALM_KEY_DISABLED) {
            jose_key_unref(g->keys[i - 1].key);
            memmove(&g->keys[i - 1], &g->keys[i], (LIMIT_KEYS - i) * sizeof(g->keys[0]));
            g->keys[LIMIT_KEYS - 1] = *key;
            g->ret->skipped++;
            return;
        }
    }
    jose_key_unref(key->key);
    if (key->status == REALM_KEY_DISABLED) {
        g->ret->skipped++;
    } else {
        g->ret->overflow++;
    }
}

/* Moves what was gathered into ret, or gives it back. */
static int finish(struct gather *g, int result, struct err *err)
{
    struct realm_keys *ret = g->ret;
    if (result == 0 && g->count > 0) {
        ret->keys = malloc(g->count * sizeof(g->keys[0]));
        if (ret->keys == NULL) {
            result = err_set(err, ERR_NO_MEMORY, "keys: out of memory");
        } else {
            memcpy(ret->keys, g->keys, g->count * sizeof(g->keys[0]));
            ret->count = g->count;
            g->count = 0;
        }
    }
    for (size_t i = 0; i < g->count; i++) {
        jose_key_unref(g->keys[i].key);
    }
    if (result != 0) {
        realm_keys_release(ret);
    }
    return result;
}

static const json_t *entries_of(const json_t *tree, const char *what, struct err *err)
{
    const json_t *list = json_object_get(tree, "keys");
    if (!json_is_array(list)) {
        err_set(err, ERR_INVALID, "%s: no list \"keys\" in the answer: is this the right address?",
                what);
        return NULL;
    }
    if (json_array_size(list) > ENTRIES_MAX) {
        err_set(err, ERR_LIMIT, "%s: more than %d entries", what, ENTRIES_MAX);
        return NULL;
    }
    return list;
}

/* --- GET /admin/realms/R/keys
 * --------------------------------------------------------------------- */

static bool status_of(const char *text, enum realm_key_status *ret)
{
    static const char *const names[] = {
        [REALM_KEY_ACTIVE] = "ACTIVE",
        [REALM_KEY_PASSIVE] = "PASSIVE",
        [REALM_KEY_DISABLED] = "DISABLED",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (text_eq(text, names[i])) {
            *ret = (enum realm_key_status)i;
            return true;
        }
    }
    return false;
}

/* One of keys[]. Keycloak writes use as SIG or ENC; servers before it was there name the algorithm.
 */
static int entry_decode(struct gather *g, const json_t *entry, struct err *err)
{
    const char *use = json_text(entry, "use");
    const char *alg = json_text(entry, "algorithm");
    const char *kid = json_text(entry, "kid");
    const char *spki = json_text(entry, "publicKey");
    struct realm_key new = {.key = NULL};
    struct err why = {0};
    struct err cert_why = {0};

    if ((use != NULL && strcasecmp(use, "sig") != 0) || jose_alg_find(alg) == NULL ||
        !kty_known(json_text(entry, "type"))) {
        g->ret->skipped++;
        return 0;
    }
    if (!status_of(json_text(entry, "status"), &new.status)) {
        err_set(&why, ERR_INVALID, "its status is none of ACTIVE, PASSIVE, DISABLED");
    } else if (kid == NULL || spki == NULL) {
        err_set(&why, ERR_INVALID, "it has no %s", kid == NULL ? "kid" : "publicKey");
    } else {
        new.key =
            jose_key_from_spki(kid, alg, spki, json_text(entry, "certificate"), &cert_why, &why);
    }
    if (new.key == NULL) {
        if (why.class == ERR_NO_MEMORY) {
            return err_set(err, ERR_NO_MEMORY, "realm keys: out of memory");
        }
        if (new.status == REALM_KEY_DISABLED && why.class != ERR_NONE &&spki != NULL) {
            g->ret->skipped++; /* nobody trusts it, so nothing is missing */
        } else {
            unreadable(g->ret, kid, &why);
        }
        return 0;
    }
    new.certificate_unreadable = cert_why.class != ERR_NONE;
    err_clean_text(new.component, sizeof(new.component), json_text(entry, "providerId"));
    new.priority = json_number(entry, "providerPriority", 0);
    add_key(g, &new);
    return 0;
}

static int active_decode(const json_t *active, struct realm_keys *ret, struct err *err)
{
    const char *alg = NULL;
    json_t *kid = NULL;
    ret->active = calloc(ACTIVE_MAX, sizeof(*ret->active));
    if (ret->active == NULL) {
        return err_set(err, ERR_NO_MEMORY, "realm keys: out of memory");
    }
    json_object_foreach((json_t *)(uintptr_t)active, alg, kid)
    {
        if (jose_alg_find(alg) == NULL || !json_is_string(kid) ||
            json_string_length(kid) > LIMIT_KID || ret->active_count == ACTIVE_MAX) {
            continue;
        }
        struct realm_active *new = &ret->active[ret->active_count];
        new->kid = strdup(json_string_value(kid));
        if (new->kid == NULL) {
            return err_set(err, ERR_NO_MEMORY, "realm keys: out of memory");
        }
        text_format(new->alg, sizeof(new->alg), "%s", alg);
        ret->active_count++;
    }
    return 0;
}

/* What the array was larger than needed goes back. */
static void active_shrink(struct realm_keys *ret)
{
    if (ret->active_count == 0) {
        free(ret->active);
        ret->active = NULL;
    } else if (ret->active_count < ACTIVE_MAX) {
        struct realm_active *less = realloc(ret->active, ret->active_count * sizeof(*less));
        ret->active = less == NULL ? ret->active : less;
    }
}

int realm_keys_decode(struct str body, struct realm_keys *ret, struct err *err)
{
    struct gather g = {.ret = ret};
    int result = 0;
    json_t *cleanup_json tree = json_load(body, false, "realm keys", err);
    if (tree == NULL) {
        return finish(&g, -1, err);
    }
    const json_t *list = entries_of(tree, "realm keys", err);
    if (list == NULL) {
        return finish(&g, -1, err);
    }
    for (size_t i = 0; result == 0 && i < json_array_size(list); i++) {
        result = entry_decode(&g, json_array_get(list, i), err);
    }
    if (result == 0) {
        result = active_decode(json_object_get(tree, "active"), ret, err);
        active_shrink(ret);
    }
    return finish(&g, result, err);
}

/* --- JWKS
 * ----------------------------------------------------------------------------------------- */

/* RFC 7518 6.2.2, 6.3.2 and 6.4.1, RFC 8037, and priv of AKP keys. The name of the member, or NULL.
 */
static const char *private_member(const json_t *entry)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (json_object_get(entry, names[i]) != NULL) {
            return names[i];
        }
    }
    return NULL;
}

/* use says it; else alg does, else key_ops. */
static bool jwk_signs(const json_t *entry)
{
    const char *use = json_text(entry, "use");
    const char *alg = json_text(entry, "alg");
    const char *crv = json_text(entry, "crv");
    const json_t *ops = json_object_get(entry, "key_ops");

    if (crv != NULL && jose_curve_find(crv) == NULL) {
        return false;
    }
    if (!kty_known(json_text(entry, "kty")) || (alg != NULL && jose_alg_find(alg) == NULL)) {
        return false;
    }
    if (use != NULL) {
        return text_eq(use, "sig");
    }
    for (size_t i = 0; i < json_array_size(ops); i++) {
        if (text_eq(json_string_value(json_array_get(ops, i)), "verify")) {
            return true;
        }
    }
    return alg != NULL;
}

/* A wrapper that cannot be read costs the wrapper, not the key. */
static struct jose_key *jwk_key(const json_t *entry, bool *ret_cert_unreadable, struct err *why)
{
    const json_t *x5c = json_object_get(entry, "x5c");
    struct jose_jwk jwk = {
        .kid = json_text(entry, "kid"),
        .kty = json_text(entry, "kty"),
        .alg = json_text(entry, "alg"),
        .crv = json_text(entry, "crv"),
        .n = json_text(entry, "n"),
        .e = json_text(entry, "e"),
        .x = json_text(entry, "x"),
        .y = json_text(entry, "y"),
        .x5c = json_string_value(json_array_get(x5c, 0)),
    };
    *ret_cert_unreadable = x5c != NULL && jwk.x5c == NULL;
    struct jose_key *key = jose_key_from_jwk(&jwk, why);
    if (key == NULL && why->class != ERR_NO_MEMORY && jwk.x5c != NULL) {
        jwk.x5c = NULL;
        *ret_cert_unreadable = true;
        key = jose_key_from_jwk(&jwk, why);
    }
    return key;
}

static int jwk_decode(struct gather *g, const json_t *entry, struct err *err)
{
    struct realm_key new = {.status = REALM_KEY_ACTIVE};
    struct err why = {0};
    const char *private = private_member(entry);

    if (private != NULL) {
        return err_set(
            err, ERR_INVALID,
            "JWKS: publishes a private key (member \"%s\"): treat that key as stolen, replace it "
            "and serve public keys only",
            private);
    }
    if (!jwk_signs(entry)) {
        g->ret->skipped++;
        return 0;
    }
    new.key = jwk_key(entry, &new.certificate_unreadable, &why);
    if (new.key == NULL) {
        if (why.class == ERR_NO_MEMORY) {
            return err_set(err, ERR_NO_MEMORY, "JWKS: out of memory");
        }
        unreadable(g->ret, json_text(entry, "kid"), &why);
        return 0;
    }
    add_key(g, &new);
    return 0;
}

int jwks_decode(struct str body, struct realm_keys *ret, struct err *err)
{
    struct gather g = {.ret = ret};
    int result = 0;
    json_t *cleanup_json tree = json_load(body, false, "JWKS", err);
    if (tree == NULL) {
        return finish(&g, -1, err);
    }
    const json_t *list = entries_of(tree, "JWKS", err);
    if (list == NULL) {
        return finish(&g, -1, err);
    }
    for (size_t i = 0; result == 0 && i < json_array_size(list); i++) {
        result = jwk_decode(&g, json_array_get(list, i), err);
    }
    return finish(&g, result, err);
}

/* --- components ------------------------------------------------------------------ */

static void providers_decode(const json_t *list, struct realm_keys *into)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *component = json_array_get(list, i);
        char id[sizeof(into->keys[0].component)];
        err_clean_text(id, sizeof(id), json_text(component, "id"));
        for (size_t k = 0; id[0] != '\0' && k < into->count; k++) {
            if (strcmp(into->keys[k].component, id) == 0) {
                err_clean_text(into->keys[k].provider, sizeof(into->keys[k].provider),
                               json_text(component, "providerId"));
            }
        }
    }
}

static int claims_decode(const json_t *list, struct realm_keys *into, struct err *err)
{
    struct realm_claim claims[LIMIT_CLAIMS];
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *component = json_array_get(list, i);
        const char *id = json_text(component, "id");
        const char *name = json_text(component, "name");
        if (id == NULL || name == NULL || !text_starts_with(name, REALM_CLAIM_PREFIX)) {
            continue;
        }
        if (count == LIMIT_CLAIMS) {
            return err_set(err, ERR_LIMIT,
                           "components: more than %d are named \"%s...\": delete those whose "
                           "KeyRotation is gone",
                           LIMIT_CLAIMS, REALM_CLAIM_PREFIX);
        }
        struct realm_claim *new = &claims[count++];
        err_clean_text(new->component, sizeof(new->component), id);
        err_clean_text(new->name, sizeof(new->name), name);
        err_clean_text(new->provider, sizeof(new->provider), json_text(component, "providerId"));
    }
    struct realm_claim *copy = count > 0 ? malloc(count * sizeof(*copy)) : NULL;
    if (count > 0 && copy == NULL) {
        return err_set(err, ERR_NO_MEMORY, "components: out of memory");
    }
    if (count > 0) {
        memcpy(copy, claims, count * sizeof(*copy));
    }
    free(into->claims);
    into->claims = copy;
    into->claims_count = count;
    into->claims_known = true;
    return 0;
}

int components_decode(struct str body, struct realm_keys *into, struct err *err)
{
    into->claims_known = false;
    json_t *cleanup_json tree = json_load(body, false, "components", err);
    if (tree == NULL) {
        return -1;
    }
    if (!json_is_array(tree)) {
        return err_set(err, ERR_INVALID, "components: no list in the answer");
    }
    if (json_array_size(tree) > ENTRIES_MAX) {
        return err_set(err, ERR_LIMIT, "components: more than %d entries", ENTRIES_MAX);
    }
    providers_decode(tree, into);
    return claims_decode(tree, into, err);
}

bool realm_keys_sign(const struct realm_keys *keys, const struct jose_key *key)
{
    for (size_t i = 0; i < keys->active_count; i++) {
        if (text_eq(keys->active[i].kid, key->kid) && text_eq(keys->active[i].alg, key->alg)) {
            return true;
        }
    }
    return false;
}

void realm_keys_release(struct realm_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        jose_key_unref(keys->keys[i].key);
    }
    for (size_t i = 0; i < keys->active_count; i++) {
        free(keys->active[i].kid);
    }
    free(keys->keys);
    free(keys->active);
    free(keys->claims);
    *keys = (struct realm_keys){.count = 0};
}
