/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/write.h"

#include <stdlib.h>
#include <string.h>
#include "jose/alg.h"
#include "keycloak/admin.h"
#include "keycloak/words.h"

#define KEY_PROVIDER_TYPE "org.keycloak.keys.KeyProvider"

/* --- life ----------------------------------------------------------------------------------- */

static void what_release(struct source_write *what)
{
    free((char *)(uintptr_t)what->component);
    free((char *)(uintptr_t)what->name);
    free((char *)(uintptr_t)what->provider);
    free((char *)(uintptr_t)what->algorithm);
    *what = (struct source_write){0};
}

static const char *copy_text(const char *text, bool *failed)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    if (text != NULL && copy == NULL)
        *failed = true;
    return copy;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool is_whole(const struct source_write *what)
{
    bool creates = what->kind == CHANGE_CREATE;
    bool deletes = what->kind == CHANGE_DELETE;
    return what->kind != CHANGE_NONE && what->allowed != NULL && is_given(what->component) &&
           strlen(what->component) < sizeof(((struct write *)NULL)->taken) &&
           (deletes || is_given(what->provider)) &&
           (deletes || jose_alg_find(what->algorithm) != NULL) &&
           (!creates || is_given(what->name));
}

int write_submit(struct feed *f, const struct source *owner, const struct source_write *write)
{
    struct write *w = &f->admin->write;
    bool failed = false;
    if (w->state != WRITE_NONE || !is_whole(write))
        return -1;
    w->what = *write;
    w->what.component = copy_text(write->component, &failed);
    w->what.name = copy_text(write->name, &failed);
    w->what.provider = copy_text(write->provider, &failed);
    w->what.algorithm = copy_text(write->algorithm, &failed);
    if (failed) {
        what_release(&w->what);
        return -1;
    }
    w->owner = owner;
    w->state = WRITE_WAITING;
    return 0;
}

static void end(struct write *w, const struct err *err)
{
    struct source_written *written = &w->written;
    written->number++;
    written->ended_ms = loop_clock_ms();
    written->kind = w->what.kind;
    written->err = *err;
    written->unknown = false;
    written->held_back = false;
    w->taken[0] = '\0';
    w->state = WRITE_NONE;
    w->owner = NULL;
    what_release(&w->what);
}

static void end_held_back(struct write *w)
{
    const struct err none = {0};
    end(w, &none);
    w->written.held_back = true;
}

void write_release(struct feed *f)
{
    what_release(&f->admin->write.what);
}

void write_join(struct feed *f)
{
    struct write *w = &f->admin->write;
    w->rode = w->state == WRITE_WAITING;
    if (w->rode)
        w->state = WRITE_JOINED;
}

bool write_due(const struct feed *f)
{
    return f->admin->write.state == WRITE_JOINED;
}

void write_unsent(struct feed *f, const struct err *why)
{
    struct write *w = &f->admin->write;
    if (w->state == WRITE_JOINED)
        end(w, why);
}

void write_owner_left(struct feed *f, const struct source *owner)
{
    struct write *w = &f->admin->write;
    if (w->state == WRITE_NONE || w->owner != owner)
        return;
    if (w->state == WRITE_SENT)
        w->owner = NULL; /* its answer counts; it is not sent again */
    else
        end_held_back(w);
}

void write_look(struct feed *f, const struct realm_keys *keys)
{
    struct write *w = &f->admin->write;
    bool found = w->taken[0] == '\0';
    for (size_t i = 0; i < keys->claims_count && !found; i++)
        found = strcmp(keys->claims[i].component, w->taken) == 0;
    for (size_t i = 0; i < keys->count && !found; i++)
        found = strcmp(keys->keys[i].component, w->taken) == 0;
    if (!found)
        words_taken(&f->key, w->taken, &w->written.err);
    w->taken[0] = '\0';
}

/* --- the request ---------------------------------------------------------------------------- */

/* ,"name":["value"] */
static void add_setting(struct buf *b, const char *name, const char *value)
{
    buf_append_char(b, ',');
    buf_append_json(b, name);
    buf_append_text(b, ":[");
    buf_append_json(b, value);
    buf_append_char(b, ']');
}

/* Providers of RSA keys serve several algorithms; those of other keys have no such setting. */
static bool has_algorithm(const char *provider)
{
    return text_eq(provider, "rsa") || text_eq(provider, "rsa-generated") ||
           text_eq(provider, "java-keystore");
}

/* Sizes and curves are said at creation and never again: another one makes another key. */
static void add_material(const struct source_write *what, struct buf *b)
{
    const struct jose_alg *alg = jose_alg_find(what->algorithm);
    if (alg->kty == JOSE_RSA && what->size > 0) {
        buf_appendf(b, ",\"keySize\":[\"%lld\"]", (long long)what->size);
    } else if (alg->kty == JOSE_EC) {
        add_setting(b, "ecdsaEllipticCurveKey", alg->crv);
    } else if (alg->kty == JOSE_OKP) {
        add_setting(b, "eddsaEllipticCurveKey", "Ed25519");
    }
}

static void add_body(const struct source_write *what, struct buf *b)
{
    bool creates = what->kind == CHANGE_CREATE;
    bool enabled = what->kind != CHANGE_DISABLE;
    bool active = what->kind == CHANGE_PROMOTE;
    buf_append_char(b, '{');
    if (creates) {
        buf_append_text(b, "\"id\":");
        buf_append_json(b, what->component);
        buf_append_text(b, ",\"name\":");
        buf_append_json(b, what->name);
        buf_append_char(b, ',');
    }
    buf_append_text(b, "\"providerId\":");
    buf_append_json(b, what->provider);
    buf_append_text(b, ",\"providerType\":\"" KEY_PROVIDER_TYPE "\",\"config\":{");
    buf_appendf(b, "\"priority\":[\"%lld\"]", (long long)what->priority);
    add_setting(b, "enabled", enabled ? "true" : "false");
    add_setting(b, "active", active ? "true" : "false");
    if (has_algorithm(what->provider))
        add_setting(b, "algorithm", what->algorithm);
    if (creates)
        add_material(what, b);
    buf_append_text(b, "}}");
}

/* --- the answer ----------------------------------------------------------------------------- */

/* ERR_NONE where the realm is as the write wanted it. */
static void judge(struct feed *f, const struct http_response *response, struct err *ret)
{
    const struct write *w = &f->admin->write;
    int status = response->err.class == ERR_NONE ? response->status : 0;
    bool done = (status >= 200 && status < 300) ||
                (status == 409 && w->what.kind == CHANGE_CREATE) ||
                (status == 404 && w->what.kind == CHANGE_DELETE);
    if (!done)
        words_write(&f->key, f->admin->client_id, &w->what, response, ret);
}

static void on_written(void *ctx, const struct http_response *response)
{
    struct feed *f = ctx;
    struct admin *a = f->admin;
    struct write *w = &a->write;
    struct err err = {0};
    char component[sizeof(w->taken)];
    f->call = NULL;
    int status = response->err.class == ERR_NONE ? response->status : 0;
    if (status == 401 && !a->minted) {
        w->state = WRITE_JOINED;
        admin_mint(f);
        return;
    }
    if (status == 403)
        admin_token_is_old(f);
    judge(f, response, &err);
    bool unknown = status == 0 || status == 408 || status >= 500;
    bool promoted = w->what.kind == CHANGE_PROMOTE && (unknown || err.class == ERR_NONE);
    bool taken = w->what.kind == CHANGE_CREATE && status == 409;
    (void)text_format(component, sizeof(component), "%s", w->what.component);
    end(w, &err);
    w->written.unknown = unknown;
    if (taken)
        memcpy(w->taken, component, sizeof(w->taken));
    a->keys_digest[0] = '\0';
    if (promoted)
        admin_mint(f);
    else
        admin_go_on(f);
}

static int submit(struct feed *f)
{
    const struct source_write *what = &f->admin->write.what;
    struct buf cleanup_buf path = {0};
    struct buf cleanup_buf body = {0};
    bool creates = what->kind == CHANGE_CREATE;
    struct admin_request request = {.method = "PUT",
                                    .timeout_ms = creates ? SOURCE_CREATE_TIMEOUT_MS
                                                          : SOURCE_WRITE_TIMEOUT_MS};
    buf_append_text(&path, "/components");
    if (creates) {
        request.method = "POST";
    } else {
        buf_append_char(&path, '/');
        http_append_escaped(&path, what->component);
    }
    if (what->kind == CHANGE_DELETE)
        request.method = "DELETE";
    else
        add_body(what, &body);
    request.path = buf_text(&path);
    request.body = buf_view(&body);
    return path.failed || body.failed ? -1 : admin_ask(f, &request, on_written);
}

void write_send(struct feed *f)
{
    struct write *w = &f->admin->write;
    struct err err = {0};
    if (w->owner == NULL || !w->what.allowed(w->what.ctx)) {
        end_held_back(w);
    } else if (submit(f) == 0) {
        w->state = WRITE_SENT;
        return;
    } else {
        err_set(&err, ERR_NO_MEMORY, "key component: out of memory, nothing was sent");
        end(w, &err);
    }
    admin_go_on(f);
}
