/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/issuer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codec/keycloak_codec.h"
#include "controller/internal.h"
#include "io/http.h"

#define CA_RETRY_MS 10000

/* Without a trailing slash, as Keycloak's own documentation writes base URLs. */
static char *realm_url(struct arena *arena, const struct rotation_spec *spec)
{
    struct buf cleanup_buf out = {.max = 4096};
    size_t len = strlen(spec->keycloak_url);
    while (len > 0 && spec->keycloak_url[len - 1] == '/')
        len--;
    buf_append(&out, spec->keycloak_url, len);
    buf_append_text(&out, "/realms/");
    http_append_escaped(&out, spec->realm);
    return arena_strdup(arena, buf_text(&out));
}

/* Where discovery is asked, NULL: nowhere. */
static const char *discovery_base(const struct rotation_spec *spec, struct arena *arena)
{
    return spec->keycloak_url != NULL ? realm_url(arena, spec) : spec->issuer_url;
}

static const struct reading *reading_of(const struct rotation_state *s, enum source_kind kind)
{
    return s->issuer.sources[kind] != NULL ? source_reading(s->issuer.sources[kind]) : NULL;
}

const char *issuer_jwks_url(const struct rotation_state *s, const struct rotation_object *object,
                            struct arena *arena)
{
    const struct reading *discovery = reading_of(s, SOURCE_DISCOVERY);
    if (object->spec.jwks_url != NULL)
        return object->spec.jwks_url;
    if (object->spec.keycloak_url != NULL)
        return arena_printf(arena, "%s/protocol/openid-connect/certs",
                            realm_url(arena, &object->spec));
    return discovery != NULL ? discovery->jwks_uri : NULL;
}

/* ---- subscriptions ---- */

static void follow_source(struct rotation_state *s, const struct source_key *key,
                          int64_t interval_ms)
{
    struct issuer_links *links = &s->issuer;
    struct buf cleanup_buf ident = {0};
    char ca[JOSE_HASH_TEXT] = "";
    if (key->url != NULL) {
        if (key->ca_pem != NULL)
            jose_sha256(key->ca_pem, strlen(key->ca_pem), ca);
        buf_appendf(&ident, "%s\n%s\n%s\n%s", key->url, key->realm != NULL ? key->realm : "",
                    key->secret != NULL ? key->secret : "", ca);
    }
    if (text_eq(links->idents[key->kind], key->url != NULL ? buf_text(&ident) : NULL)) {
        if (links->sources[key->kind] != NULL)
            source_set_interval(links->sources[key->kind], interval_ms);
        return;
    }
    source_unsubscribe(links->sources[key->kind]);
    links->sources[key->kind] = NULL;
    s->known.seen[key->kind] = 0;
    state_text(&links->idents[key->kind], key->url != NULL ? buf_text(&ident) : NULL);
    links->awaited[key->kind] = 1;
    if (key->url != NULL)
        links->sources[key->kind] =
            source_subscribe(controller_sources(s->controller), key, interval_ms, s);
}

static void follow_sources(struct rotation_state *s, const struct rotation_object *object)
{
    const struct rotation_spec *spec = &object->spec;
    const char *ca = s->issuer.ca_pem;
    int64_t interval_ms = spec->refresh_interval_s * 1000;
    struct arena cleanup_arena arena = {0};
    follow_source(s,
                  &(struct source_key){
                      .kind = SOURCE_DISCOVERY, .url = discovery_base(spec, &arena), .ca_pem = ca},
                  interval_ms);
    follow_source(s,
                  &(struct source_key){.kind = SOURCE_ADMIN,
                                       .url = spec->keycloak_url,
                                       .realm = spec->realm,
                                       .namespace = s->namespace,
                                       .secret = spec->credentials_secret,
                                       .ca_pem = ca},
                  interval_ms);
    follow_source(s,
                  &(struct source_key){
                      .kind = SOURCE_JWKS, .url = issuer_jwks_url(s, object, &arena), .ca_pem = ca},
                  interval_ms);
}

/* ---- CA bundle ---- */

static void ca_done(void *ctx, const struct kube_answer *answer)
{
    struct rotation_state *s = ctx;
    struct issuer_links *links = &s->issuer;
    struct buf cleanup_buf pem = {.max = LIMIT_CA_BUNDLE};
    const char *key = strchr(links->ca_name, '/') + 1;
    links->ca_call = NULL;
    links->ca_err = answer->err;
    if (answer->err.class == ERR_NONE &&
        config_map_value_decode(answer->body, key, &pem, &links->ca_err) == 0) {
        err_clear(&links->ca_err);
        state_text(&links->ca_pem, buf_text(&pem));
        links->ca_read = true;
    } else {
        (void)err_wrap(&links->ca_err, "CA bundle ConfigMap %s", links->ca_name);
    }
    links->ca_due_ms =
        controller_now_ms(s->controller) +
        (links->ca_err.class == ERR_NONE ? controller_resync_ms(s->controller) : CA_RETRY_MS);
    controller_due(s->controller, s->key, 0);
}

/* A server whose certificate is not trusted may have one of a new CA: the bundle is read again
 * soon, not at the next resync. */
static void hurry_ca(struct rotation_state *s)
{
    struct issuer_links *links = &s->issuer;
    int64_t soon_ms = controller_now_ms(s->controller) + CA_RETRY_MS;
    for (size_t k = 0; k < SOURCE_KIND_COUNT; k++)
        if (links->sources[k] != NULL && source_err(links->sources[k])->class == ERR_TLS &&
            links->ca_due_ms > soon_ms)
            links->ca_due_ms = soon_ms;
}

static void follow_ca(struct rotation_state *s, const struct rotation_spec *spec)
{
    struct issuer_links *links = &s->issuer;
    struct buf cleanup_buf path = {0};
    char name[LIMIT_NAME * 2 + 2];
    if (spec->ca_config_map == NULL) {
        kube_cancel(links->ca_call);
        links->ca_call = NULL;
        state_text(&links->ca_pem, NULL);
        state_text(&links->ca_name, NULL);
        err_clear(&links->ca_err);
        return;
    }
    (void)snprintf(name, sizeof(name), "%s/%s", spec->ca_config_map, spec->ca_key);
    if (!text_eq(links->ca_name, name)) {
        kube_cancel(links->ca_call);
        links->ca_call = NULL;
        state_text(&links->ca_name, name);
        links->ca_read = false;
        links->ca_due_ms = 0;
    }
    hurry_ca(s);
    int64_t left_ms = links->ca_due_ms - controller_now_ms(s->controller);
    if (links->ca_call != NULL || links->ca_name == NULL)
        return;
    if (left_ms > 0) {
        /* While it is missing nothing is polled that would bring another pass. */
        controller_due(s->controller, s->key, left_ms);
        return;
    }
    kube_path(&path, "/api/v1", s->namespace, "configmaps", spec->ca_config_map);
    links->ca_call =
        kube_submit(controller_kube(s->controller),
                    &(struct kube_request){.method = "GET", .path = buf_text(&path)}, ca_done, s);
}

/* ---- public ---- */

void issuer_follow(struct rotation_state *s, const struct rotation_object *object)
{
    struct issuer_links *links = &s->issuer;
    follow_ca(s, &object->spec);
    if (object->spec.ca_config_map != NULL && !links->ca_read)
        return; /* nothing is asked with another trust than the one named */
    follow_sources(s, object);
    const char *served = links->refresh != NULL ? links->refresh : object->status.refreshed;
    if (text_eq(served, object->refresh))
        return;
    state_text(&links->refresh, object->refresh);
    for (size_t k = 0; k < SOURCE_KIND_COUNT; k++)
        if (links->sources[k] != NULL && object->refresh != NULL)
            links->awaited[k] = source_poll_now(links->sources[k]);
}

const char *issuer_refreshed(const struct rotation_state *s, const struct rotation_object *object)
{
    const struct issuer_links *links = &s->issuer;
    for (size_t k = 0; k < SOURCE_KIND_COUNT; k++)
        if (links->sources[k] != NULL && source_polls(links->sources[k]) < links->awaited[k])
            return object->status.refreshed;
    return links->refresh != NULL ? links->refresh : object->status.refreshed;
}

void issuer_release(struct rotation_state *s)
{
    struct issuer_links *links = &s->issuer;
    kube_cancel(links->ca_call);
    for (size_t k = 0; k < SOURCE_KIND_COUNT; k++) {
        source_unsubscribe(links->sources[k]);
        free(links->idents[k]);
    }
    free(links->ca_pem);
    free(links->ca_name);
    free(links->refresh);
    *links = (struct issuer_links){0};
}

/* Host of a URL that only means something inside a cluster: no dot, .svc, .cluster.local. */
static bool is_in_cluster(const char *url)
{
    char host[256];
    const char *start = strstr(url, "://");
    start = start != NULL ? start + 3 : url;
    size_t len = strcspn(start, ":/?#");
    if (len == 0 || len >= sizeof(host) || start[0] == '[')
        return false;
    memcpy(host, start, len);
    host[len] = '\0';
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) == 1)
        return false;
    if (strchr(host, '.') == NULL)
        return strcmp(host, "localhost") != 0;
    static const char *const endings[] = {".svc", ".cluster.local"};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t n = strlen(endings[i]);
        if (len > n && strcmp(host + len - n, endings[i]) == 0)
            return true;
    }
    return false;
}

enum issuer_finding issuer_compare(const struct rotation_state *s,
                                   const struct rotation_object *object, const char **ret_found)
{
    const struct reading *r = reading_of(s, SOURCE_DISCOVERY);
    const char *wanted = object->spec.issuer_url;
    struct arena cleanup_arena arena = {0};
    const char *asked = discovery_base(&object->spec, &arena);
    *ret_found = r != NULL ? r->issuer : NULL;
    bool alias = wanted != NULL && object->spec.keycloak_url != NULL && is_in_cluster(wanted);
    if (r == NULL || asked == NULL)
        return alias ? ISSUER_IN_CLUSTER : ISSUER_UNCHECKED;
    bool echo = text_eq(r->issuer, asked) && object->spec.keycloak_url != NULL;
    bool same = wanted != NULL && text_eq(wanted, r->issuer);
    /* An alias that the server only echoes is no proof that tokens will say it. */
    if (alias && (same || echo))
        return ISSUER_IN_CLUSTER;
    if (same)
        return ISSUER_MATCHES;
    if (echo)
        return wanted == NULL && is_in_cluster(asked) ? ISSUER_IN_CLUSTER : ISSUER_FOLLOWS_HOST;
    if (wanted == NULL)
        return is_in_cluster(r->issuer) ? ISSUER_IN_CLUSTER : ISSUER_DISCOVERED;
    return ISSUER_DIFFERS;
}

/* What discovery said to an earlier process about this spec, until it is read again. */
static const char *remembered_issuer(const struct rotation_object *object)
{
    bool same_spec = object->status.observed_generation == object->meta.generation;
    return same_spec ? object->status.issuer_url : NULL;
}

const char *issuer_url(const struct rotation_state *s, const struct rotation_object *object)
{
    const char *found;
    if (object->spec.issuer_url != NULL)
        return object->spec.issuer_url;
    if (reading_of(s, SOURCE_DISCOVERY) == NULL)
        return remembered_issuer(object);
    return issuer_compare(s, object, &found) == ISSUER_DISCOVERED ? found : NULL;
}

/* The word for status where the class says too little. */
static const char *source_word(const struct err *err)
{
    if (text_eq(err->reason, SOURCE_CREDENTIALS_REASON))
        return SOURCE_CREDENTIALS_REASON;
    bool disabled = err->class == ERR_FORBIDDEN && text_eq(err->reason, "access_denied");
    return disabled ? "RealmDisabled" : NULL;
}

static void view_source(const struct rotation_state *s, enum source_kind kind,
                        struct view_source *ret)
{
    struct source *source = s->issuer.sources[kind];
    if (source == NULL)
        return;
    const struct err *err = source_err(source);
    *ret = (struct view_source){.used = true,
                                .read = source_reading(source) != NULL,
                                .polled = source_polls(source) > 0,
                                .err = err->class,
                                .reason = source_word(err),
                                .message = err->msg};
}

void issuer_view(const struct rotation_state *s, const struct rotation_object *object,
                 struct rotation_view *view)
{
    const struct issuer_links *links = &s->issuer;
    view_source(s, SOURCE_ADMIN, &view->admin);
    view_source(s, SOURCE_JWKS, &view->jwks);
    view_source(s, SOURCE_DISCOVERY, &view->discovery);
    if (object->spec.ca_config_map != NULL)
        view->ca = (struct view_source){.used = true,
                                        .read = links->ca_read,
                                        .polled = links->ca_read || links->ca_err.class != ERR_NONE,
                                        .err = links->ca_err.class,
                                        .reason = "CABundleUnusable",
                                        .message = links->ca_err.msg};
    if (view->jwks.used == false && view->discovery.used && view->discovery.err != ERR_NONE &&
        object->spec.jwks_url == NULL)
        view->jwks = view->discovery; /* keys cannot be found without it */
    view->issuer_wanted = object->spec.issuer_url;
    view->issuer = issuer_compare(s, object, &view->issuer_found);
}
