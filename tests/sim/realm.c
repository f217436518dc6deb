/* SPDX-License-Identifier: Apache-2.0 */
#include "realm.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api.h"
#include "check.h"
#include "jose/key.h"

#define COMPONENTS_MAX 48
#define SNAPSHOTS 8
#define TOKENS_KEPT 64
#define ADMIN_TOKEN_S 300
#define LOST_MS 15000 /* writes this young may be lost */

/* ---- the keys that there can be ---- */

struct pool_key {
    const char *algorithm, *kid, *spki, *certificate, *n, *e, *x, *y;
};

static struct pool_key pool[SIM_KEYS_MAX];
static size_t pool_count;
static json_t *pool_tree;

int realm_load_keys(const char *path)
{
    pool_tree = json_load_file(path, 0, NULL);
    pool_count = json_array_size(pool_tree);
    if (pool_count > SIM_KEYS_MAX)
        pool_count = SIM_KEYS_MAX;
    for (size_t i = 0; i < pool_count; i++) {
        const json_t *k = json_array_get(pool_tree, i);
        pool[i] =
            (struct pool_key){api_text(k, "algorithm", NULL), api_text(k, "kid", NULL),
                              api_text(k, "publicKey", NULL), api_text(k, "certificate", NULL),
                              api_text(k, "n", NULL),         api_text(k, "e", NULL),
                              api_text(k, "x", NULL),         api_text(k, "y", NULL)};
    }
    return pool_count > 0 ? 0 : -1;
}

const char *realm_kid(int key)
{
    return pool[key].kid;
}

int realm_key_of(const char *kid)
{
    for (size_t i = 0; i < pool_count; i++)
        if (kid != NULL && strcmp(pool[i].kid, kid) == 0)
            return (int)i;
    return -1;
}

/* ---- the realm ---- */

struct component {
    char id[40], name[48], provider[24];
    int key;
    int64_t priority;
    bool enabled, active;
};

struct snapshot {
    int64_t at_ms;
    struct component components[COMPONENTS_MAX];
    size_t count;
};

struct token {
    char text[288];
    int key;
    int64_t ends_ms;
};

struct realm {
    struct sim *sim;
    const char *algorithm;
    int64_t token_s, session_s, down_until_ms;
    struct component components[COMPONENTS_MAX];
    size_t count;
    struct snapshot snapshots[SNAPSHOTS];
    size_t snapshots_count;
    uint64_t used; /* keys that were given once, and are not given again */
    struct token tokens[TOKENS_KEPT];
    uint64_t minted;
    struct loop_timer restart;
};

static int new_key(struct realm *r, const char *algorithm)
{
    size_t from = sim_below(r->sim, pool_count);
    for (size_t i = 0; i < pool_count; i++) {
        size_t at = (from + i) % pool_count;
        if ((r->used >> at & 1) == 0 && strcmp(pool[at].algorithm, algorithm) == 0) {
            r->used |= 1ULL << at;
            return (int)at;
        }
    }
    return -1;
}

static struct component *add_component(struct realm *r, const char *id, const char *name, int key)
{
    struct component *c = &r->components[r->count++];
    *c = (struct component){.key = key, .priority = 100, .enabled = true, .active = true};
    (void)snprintf(c->id, sizeof(c->id), "%s", id);
    (void)snprintf(c->name, sizeof(c->name), "%s", name);
    (void)snprintf(c->provider, sizeof(c->provider), "%s",
                   pool[key].n != NULL ? "rsa-generated" : "ecdsa-generated");
    return c;
}

int realm_signer(const struct realm *r)
{
    const struct component *best = NULL;
    for (size_t i = 0; i < r->count; i++) {
        const struct component *c = &r->components[i];
        if (!c->enabled || !c->active || strcmp(pool[c->key].algorithm, r->algorithm) != 0)
            continue;
        if (best == NULL || c->priority > best->priority ||
            (c->priority == best->priority && strcmp(c->id, best->id) < 0))
            best = c;
    }
    return best != NULL ? best->key : -1;
}

uint64_t realm_served(const struct realm *r)
{
    uint64_t keys = 0;
    for (size_t i = 0; i < r->count; i++)
        if (r->components[i].enabled)
            keys |= 1ULL << r->components[i].key;
    return keys;
}

static struct realm_key_view view_of(const struct component *c)
{
    return (struct realm_key_view){.key = c->key,
                                   .kid = pool[c->key].kid,
                                   .component = c->id,
                                   .name = c->name,
                                   .priority = c->priority,
                                   .enabled = c->enabled,
                                   .active = c->active};
}

bool realm_next(const struct realm *r, size_t *it, struct realm_key_view *ret)
{
    if (*it >= r->count)
        return false;
    *ret = view_of(&r->components[(*it)++]);
    return true;
}

static struct component *find(struct realm *r, const char *id)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->components[i].id, id) == 0)
            return &r->components[i];
    return NULL;
}

static void remember(struct realm *r)
{
    if (r->snapshots_count == SNAPSHOTS)
        memmove(r->snapshots, r->snapshots + 1, --r->snapshots_count * sizeof(r->snapshots[0]));
    struct snapshot *old = &r->snapshots[r->snapshots_count++];
    old->at_ms = sim_now_ms();
    old->count = r->count;
    memcpy(old->components, r->components, sizeof(old->components));
    if (r->restart.heap_index == 0 && sim_fault(r->sim, FAULT_STEP_BACK))
        loop_timer_in(r->sim->loop, &r->restart, sim_between(r->sim, 1, LOST_MS));
}

/* The server restarts; what it had acknowledged in the last seconds may be lost. */
static void step_back(void *ctx)
{
    struct realm *r = ctx;
    struct sim *s = r->sim;
    int64_t since_ms = sim_now_ms() - sim_between(s, 1, LOST_MS);
    size_t first = 0;
    while (first < r->snapshots_count && r->snapshots[first].at_ms < since_ms)
        first++;
    r->down_until_ms = sim_now_ms() + sim_between(s, 8000, 15000);
    sim_say(s, "Keycloak restarts and has lost %zu writes", r->snapshots_count - first);
    if (first == r->snapshots_count)
        return;
    sim_hit(s, FAULT_STEP_BACK);
    check_before(s);
    r->count = r->snapshots[first].count;
    memcpy(r->components, r->snapshots[first].components, sizeof(r->components));
    r->snapshots_count = first;
    check_tokens(s, "Keycloak has lost writes");
}

struct realm *realm_new(struct sim *s, const char *algorithm, int64_t token_s, int64_t session_s)
{
    struct realm *r = sim_must(calloc(1, sizeof(*r)));
    *r = (struct realm){
        .sim = s, .algorithm = algorithm, .token_s = token_s, .session_s = session_s};
    r->restart = (struct loop_timer){.fire = step_back, .ctx = r};
    (void)add_component(r, "11111111-2222-4333-8444-555555555555", "made with the realm",
                        new_key(r, algorithm));
    return r;
}

void realm_free(struct realm *r)
{
    loop_timer_cancel(r->sim->loop, &r->restart);
    free(r);
}

void realm_edit(struct sim *s, const char *component, bool active, int64_t priority)
{
    struct component *c = find(s->realm, component);
    if (c == NULL)
        return;
    sim_say(s, "somebody sets %s to active %d, priority %lld", c->name, active,
            (long long)priority);
    check_before(s);
    c->active = active;
    c->priority = priority;
    check_tokens(s, "somebody has changed a component");
}

/* ---- tokens ---- */

static void serve_token(struct sim *s, struct net_answer *ret)
{
    struct realm *r = s->realm;
    char header[160], part[224], number[16], last[32];
    int key = realm_signer(r);
    if (key < 0) {
        sim_fail(s, "I2: no key is ACTIVE, and Keycloak makes a fallback key");
        ret->status = 500;
        return;
    }
    struct token *t = &r->tokens[r->minted++ % TOKENS_KEPT];
    s->tally.mints++;
    int len = snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
                       pool[key].algorithm, pool[key].kid);
    jose_base64url((const unsigned char *)header, (size_t)len, part);
    len = snprintf(number, sizeof(number), "%09llu", (unsigned long long)r->minted);
    jose_base64url((const unsigned char *)number, (size_t)len, last);
    (void)snprintf(t->text, sizeof(t->text), "%s.e30.%s", part, last);
    t->key = key;
    t->ends_ms = sim_now_ms() + ADMIN_TOKEN_S * 1000;
    ret->status = 200;
    buf_appendf(&ret->body, "{\"access_token\":\"%s\",\"expires_in\":%d}", t->text, ADMIN_TOKEN_S);
}

static bool is_known(const struct realm *r, const char *bearer)
{
    for (size_t i = 0; i < TOKENS_KEPT; i++)
        if (strcmp(r->tokens[i].text, bearer) == 0 && bearer[0] != '\0')
            return r->tokens[i].ends_ms > sim_now_ms() &&
                   (realm_served(r) >> r->tokens[i].key & 1) != 0;
    return false;
}

/* ---- what is read ---- */

static void serve_certs(const struct realm *r, struct net_answer *ret)
{
    const char *comma = "";
    ret->status = 200;
    buf_append_text(&ret->body, "{\"keys\":[");
    for (size_t i = 0; i < r->count; i++) {
        const struct pool_key *k = &pool[r->components[i].key];
        if (!r->components[i].enabled)
            continue;
        buf_appendf(&ret->body, "%s{\"kid\":\"%s\",\"alg\":\"%s\",\"use\":\"sig\",", comma, k->kid,
                    k->algorithm);
        if (k->n != NULL)
            buf_appendf(&ret->body, "\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\",\"x5c\":[\"%s\"]}",
                        k->n, k->e, k->certificate);
        else
            buf_appendf(&ret->body, "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}",
                        k->x, k->y);
        comma = ",";
    }
    buf_append_text(&ret->body, "]}");
}

static void serve_keys(const struct realm *r, struct net_answer *ret)
{
    int signer = realm_signer(r);
    ret->status = 200;
    buf_append_text(&ret->body, "{\"active\":{");
    if (signer >= 0)
        buf_appendf(&ret->body, "\"%s\":\"%s\"", r->algorithm, pool[signer].kid);
    buf_append_text(&ret->body,
                    "},\"keys\":[{\"providerId\":\"aaaaaaaa-2222-4333-8444-555555555555\","
                    "\"providerPriority\":100,\"kid\":\"hmac\",\"status\":\"ACTIVE\","
                    "\"type\":\"OCT\",\"algorithm\":\"HS512\",\"use\":\"SIG\"}");
    for (size_t i = 0; i < r->count; i++) {
        const struct component *c = &r->components[i];
        const struct pool_key *k = &pool[c->key];
        buf_appendf(&ret->body,
                    ",{\"providerId\":\"%s\",\"providerPriority\":%lld,\"kid\":\"%s\",\"status\":"
                    "\"%s\",\"type\":\"%s\",\"algorithm\":\"%s\",\"use\":\"SIG\",\"publicKey\":"
                    "\"%s\"",
                    c->id, (long long)c->priority, k->kid,
                    !c->enabled ? "DISABLED"
                    : c->active ? "ACTIVE"
                                : "PASSIVE",
                    k->n != NULL ? "RSA" : "EC", k->algorithm, k->spki);
        if (k->certificate != NULL)
            buf_appendf(&ret->body, ",\"certificate\":\"%s\"", k->certificate);
        buf_append_char(&ret->body, '}');
    }
    buf_append_text(&ret->body, "]}");
}

static void serve_components(const struct realm *r, struct net_answer *ret)
{
    ret->status = 200;
    buf_append_char(&ret->body, '[');
    for (size_t i = 0; i < r->count; i++) {
        const struct component *c = &r->components[i];
        buf_appendf(&ret->body,
                    "%s{\"id\":\"%s\",\"name\":\"%s\",\"providerId\":\"%s\",\"providerType\":"
                    "\"org.keycloak.keys.KeyProvider\",\"config\":{\"priority\":[\"%lld\"]}}",
                    i > 0 ? "," : "", c->id, c->name, c->provider, (long long)c->priority);
    }
    buf_append_char(&ret->body, ']');
}

static void serve_clients(const struct net_request *r, struct net_answer *ret)
{
    char first[16];
    net_query(r, "first", first, sizeof(first));
    ret->status = 200;
    buf_append_text(&ret->body, strcmp(first, "0") == 0
                                    ? "[{\"clientId\":\"keyturn\",\"attributes\":{}}]"
                                    : "[]");
}

/* ---- what is written ---- */

static const char *setting(const json_t *body, const char *name)
{
    const json_t *list = json_object_get(json_object_get(body, "config"), name);
    return json_string_value(json_array_get(list, 0));
}

static void refuse(struct net_answer *ret, int status, const char *why)
{
    ret->status = status;
    buf_appendf(&ret->body, "{\"error\":\"%s\"}", why);
}

static void set_component(struct component *c, const json_t *body)
{
    const char *priority = setting(body, "priority");
    c->enabled = text_eq(setting(body, "enabled"), "true");
    c->active = text_eq(setting(body, "active"), "true");
    c->priority = priority != NULL ? strtoll(priority, NULL, 10) : 0;
}

static void serve_create(struct sim *s, const json_t *body, const struct net_request *q,
                         struct net_answer *ret)
{
    struct realm *r = s->realm;
    const char *id = api_text(body, "id", NULL), *name = api_text(body, "name", NULL);
    if (id == NULL || name == NULL || find(r, id) != NULL) {
        refuse(ret, id == NULL || name == NULL ? 400 : 409, "conflict");
        return;
    }
    int key = new_key(r, r->algorithm);
    if (key < 0 || r->count == COMPONENTS_MAX) {
        sim_fail(s, "the operator makes key after key");
        ret->status = 500;
        return;
    }
    check_create(s, name, q->sent_ms);
    check_before(s);
    remember(r);
    set_component(add_component(r, id, name, key), body);
    ret->status = 201;
    ret->changed = true;
    sim_say(s, "%s is key %d, %s", name, key, pool[key].kid);
    check_tokens(s, "a key was made");
}

static void serve_update(struct sim *s, struct component *c, const json_t *body,
                         const struct net_request *q, struct net_answer *ret)
{
    struct component next = *c;
    const json_t *config = json_object_get(body, "config");
    static const char *const forbidden[] = {"keySize", "ecdsaEllipticCurveKey", "kid"};
    set_component(&next, body);
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
        if (json_object_get(config, forbidden[i]) != NULL)
            sim_fail(s, "a PUT of %s says %s, which may make another key", c->name, forbidden[i]);
    if (!text_eq(api_text(body, "providerId", NULL), c->provider) ||
        setting(body, "priority") == NULL || setting(body, "enabled") == NULL ||
        setting(body, "active") == NULL)
        sim_fail(s, "a PUT of %s does not say provider, priority, enabled and active", c->name);
    struct realm_key_view was = view_of(c), is = view_of(&next);
    check_update(s, &was, &is, q->sent_ms);
    check_before(s);
    remember(s->realm);
    ret->changed =
        next.enabled != c->enabled || next.active != c->active || next.priority != c->priority;
    *c = next;
    ret->status = 204;
    sim_say(s, "%s: enabled %d active %d priority %lld", c->name, c->enabled, c->active,
            (long long)c->priority);
    check_tokens(s, "a component was changed");
}

static void serve_delete(struct sim *s, struct component *c, const struct net_request *q,
                         struct net_answer *ret)
{
    struct realm *r = s->realm;
    struct realm_key_view was = view_of(c);
    check_delete(s, &was, q->sent_ms);
    check_before(s);
    remember(r);
    sim_say(s, "%s is deleted", c->name);
    *c = r->components[--r->count];
    ret->status = 204;
    ret->changed = true;
    check_tokens(s, "a key was deleted");
}

static void serve_write(struct sim *s, const char *path, const struct net_request *q,
                        struct net_answer *ret)
{
    json_t *body = json_loadb(q->body.data, q->body.len, 0, NULL);
    struct component *c = *path == '/' ? find(s->realm, path + 1) : NULL;
    if (strcmp(q->method, "POST") == 0)
        serve_create(s, body, q, ret);
    else if (c == NULL)
        refuse(ret, 404, "Could not find component");
    else if (strcmp(q->method, "PUT") == 0)
        serve_update(s, c, body, q, ret);
    else
        serve_delete(s, c, q, ret);
    json_decref(body);
}

static void serve_admin(struct sim *s, const char *path, const struct net_request *q,
                        struct net_answer *ret)
{
    static const char components[] = "/components";
    const struct realm *r = s->realm;
    if (!is_known(r, q->bearer)) {
        refuse(ret, 401, "HTTP 401 Unauthorized");
    } else if (text_starts_with(path, components) && strcmp(q->method, "GET") != 0) {
        serve_write(s, path + strlen(components), q, ret);
    } else if (text_starts_with(path, components)) {
        serve_components(r, ret);
    } else if (strcmp(path, "/keys") == 0) {
        serve_keys(r, ret);
    } else if (text_starts_with(path, "/clients")) {
        serve_clients(q, ret);
    } else if (path[0] == '\0') {
        ret->status = 200;
        buf_appendf(&ret->body, "{\"accessTokenLifespan\":%lld,\"ssoSessionMaxLifespan\":%lld}",
                    (long long)r->token_s, (long long)r->session_s);
    } else {
        refuse(ret, 404, "HTTP 404 Not Found");
    }
}

void realm_serve(struct sim *s, const struct net_request *q, struct net_answer *ret)
{
    static const char admin[] = "/admin/realms/" REALM_NAME, open[] = "/realms/" REALM_NAME;
    const struct realm *r = s->realm;
    const char *path = q->path + strlen(open);
    if (sim_now_ms() < r->down_until_ms)
        ret->refused = ERR_REFUSED;
    else if (text_starts_with(q->path, admin))
        serve_admin(s, q->path + strlen(admin), q, ret);
    else if (!text_starts_with(q->path, open))
        refuse(ret, 404, "Realm not found.");
    else if (strcmp(path, "/protocol/openid-connect/token") == 0)
        serve_token(s, ret);
    else if (strcmp(path, "/protocol/openid-connect/certs") == 0)
        serve_certs(r, ret);
    else if (strcmp(path, "/.well-known/openid-configuration") == 0) {
        ret->status = 200;
        buf_append_text(&ret->body, "{\"issuer\":\"" REALM_ISSUER "\",\"jwks_uri\":\"" REALM_ISSUER
                                    "/protocol/openid-connect/certs\"}");
    } else
        refuse(ret, 404, "HTTP 404 Not Found");
}
