/* SPDX-License-Identifier: Apache-2.0
 *
 * The other half of keycloak_codec: discovery, tokens, and what the Kubernetes API holds for them.
 */
#include "codec/keycloak_codec.h"

#include <string.h>
#include <strings.h>
#include "base/str.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "jose/jwt.h"

#define TOKEN_MAX (64UL << 10)
#define TOKEN_LIFETIME_DEFAULT_S 60 /* RFC 6749 5.1: expires_in is only recommended */
#define TOKEN_LIFETIME_MAX_S 86400
#define CLIENT_ID_MAX 255
#define CLIENT_SECRET_MAX 4096

static int copy_url(char *dst, size_t size, const json_t *tree, const char *key, struct err *err)
{
    const char *url = json_text(tree, key);
    if (url == NULL) {
        return err_set(err, ERR_INVALID,
                       "discovery: no %s in the answer: is this an OIDC issuer's address?", key);
    }
    if ((!text_starts_with(url, "https://") && !text_starts_with(url, "http://")) ||
        !str_is_visible(str_from(url))) {
        return err_set(err, ERR_INVALID, "discovery: %s is no http:// or https:// address", key);
    }
    if (!text_format(dst, size, "%s", url)) {
        return err_set(err, ERR_LIMIT, "discovery: %s is longer than %zu characters", key,
                       size - 1);
    }
    return 0;
}

int discovery_decode(struct str body, struct discovery *ret, struct err *err)
{
    *ret = (struct discovery){.issuer = ""};
    json_t *cleanup_json tree = json_load(body, false, "discovery", err);
    if (tree == NULL || copy_url(ret->issuer, sizeof(ret->issuer), tree, "issuer", err) != 0 ||
        copy_url(ret->jwks_uri, sizeof(ret->jwks_uri), tree, "jwks_uri", err) != 0) {
        *ret = (struct discovery){.issuer = ""};
        return -1;
    }
    return 0;
}

int token_decode(struct str body, struct buf *out, long *ret_expires_s, struct err *err)
{
    json_t *cleanup_json tree = json_load(body, false, "token answer", err);
    if (tree == NULL) {
        return -1;
    }
    const char *token = json_text(tree, "access_token");
    const char *type = json_text(tree, "token_type");
    int64_t lifetime_s = json_number(tree, "expires_in", TOKEN_LIFETIME_DEFAULT_S);

    if (type != NULL && strcasecmp(type, "Bearer") != 0) {
        return err_set(err, ERR_INVALID, "token answer: the token is not of type Bearer");
    }
    /* It goes into a header line. */
    if (token == NULL || *token == '\0' || strlen(token) > TOKEN_MAX ||
        !str_is_visible(str_from(token))) {
        return err_set(err, ERR_INVALID, "token answer: no usable access_token");
    }
    if (lifetime_s < 0 || lifetime_s > TOKEN_LIFETIME_MAX_S) {
        lifetime_s = lifetime_s < 0 ? 0 : TOKEN_LIFETIME_MAX_S;
    }
    out->secret = true;
    buf_append_text(out, token);
    if (out->failed) {
        return err_set(err, ERR_NO_MEMORY, "token answer: out of memory");
    }
    *ret_expires_s = (long)lifetime_s;
    return 0;
}

int token_header_decode(struct str token, char kid[LIMIT_KID + 1], char alg[16], struct err *err)
{
    struct jose_jws jws;
    kid[0] = '\0';
    alg[0] = '\0';
    if (jose_jws_read(token, &jws, err) != 0) {
        return -1;
    }
    json_t *cleanup_json tree = json_load(buf_view(&jws.header), false, "token header", err);
    jose_jws_release(&jws);
    if (tree == NULL) {
        return -1;
    }
    const char *kid_text = json_text(tree, "kid");
    const char *alg_text = json_text(tree, "alg");
    if (kid_text == NULL || alg_text == NULL || !text_format(kid, LIMIT_KID + 1, "%s", kid_text) ||
        !text_format(alg, 16, "%s", alg_text)) {
        kid[0] = '\0';
        alg[0] = '\0';
        return err_set(err, ERR_INVALID, "token header: no kid and alg that can be used");
    }
    return 0;
}

/* RFC 6749 4.1.2.1 and 5.2, RFC 6750 3.1. */
static const char *registered_error(const char *code)
{
    static const char *const known[] = {
        "invalid_request", "invalid_client", "invalid_grant",           "unauthorized_client",
        "access_denied",   "invalid_scope",  "insufficient_scope",      "unsupported_grant_type",
        "server_error",    "invalid_token",  "temporarily_unavailable",
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (text_eq(code, known[i])) {
            return known[i];
        }
    }
    return "";
}

static enum err_class token_class(int status, const char *code)
{
    if (status == 401 || text_eq(code, "invalid_client") || text_eq(code, "unauthorized_client")) {
        return ERR_AUTH;
    }
    if (status == 403) {
        return ERR_FORBIDDEN;
    }
    if (status == 404) {
        return ERR_NOT_FOUND;
    }
    if (status == 408) {
        return ERR_TIMEOUT;
    }
    return status == 429 || status >= 500 ? ERR_TRANSIENT : ERR_INVALID;
}

void token_error_decode(struct str body, int status, struct err *ret)
{
    json_t *cleanup_json tree = json_load(body, false, "token error", NULL);
    const char *code = registered_error(json_text(tree, "error"));
    enum err_class class = token_class(status, code);
    const char *repair = class == ERR_AUTH
                             ? ": check client-id and client-secret in the credentials Secret, and "
                               "that the client has service accounts enabled"
                         : class == ERR_FORBIDDEN ? ": is the realm enabled?"
                         : class == ERR_NOT_FOUND ? ": is the realm's name right?"
                                                  : "";
    err_set(ret, class, "token endpoint answered %d%s%s%s", status, *code != '\0' ? " " : "", code,
            repair);
    ret->http_status = status;
    err_clean_text(ret->reason, sizeof(ret->reason), code);
}

/* data[key], decoded and without spaces and line breaks at its ends, which come from files and
 * editors. */
static int secret_value(const json_t *data, const char *key, size_t max, struct buf *out,
                        struct err *err)
{
    struct buf cleanup_buf whole = {.secret = true, .max = 2 * CLIENT_SECRET_MAX};
    const char *text = json_text(data, key);
    out->secret = true;
    if (text == NULL) {
        return err_set(
            err, ERR_INVALID,
            "credentials Secret has no key %s: it needs url, client-id and client-secret", key);
    }
    if (base64_decode(str_from(text), &whole) != 0) {
        return err_set(err, ERR_INVALID, "credentials Secret: %s is no base64", key);
    }
    struct str value = str_trim(buf_view(&whole));
    if (whole.failed || value.len > max) {
        return err_set(err, ERR_LIMIT, "credentials Secret: %s is longer than %zu bytes", key, max);
    }
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.data[i] < ' ' || value.data[i] == 0x7f) {
            return err_set(err, ERR_INVALID, "credentials Secret: %s holds a control character",
                           key);
        }
    }
    if (value.len == 0) {
        return err_set(err, ERR_INVALID, "credentials Secret: %s is empty", key);
    }
    buf_append_str(out, value);
    return out->failed ? err_set(err, ERR_NO_MEMORY, "credentials Secret: out of memory") : 0;
}

int credentials_decode(struct str body, struct credentials *ret, struct err *err)
{
    *ret = (struct credentials){.url = {0}};
    json_t *cleanup_json tree = json_load(body, false, "credentials Secret", err);
    const json_t *data = json_object_get(tree, "data");
    if (tree == NULL || secret_value(data, "url", LIMIT_URL, &ret->url, err) != 0 ||
        secret_value(data, "client-id", CLIENT_ID_MAX, &ret->client_id, err) != 0 ||
        secret_value(data, "client-secret", CLIENT_SECRET_MAX, &ret->client_secret, err) != 0) {
        credentials_release(ret);
        return -1;
    }
    return 0;
}

void credentials_release(struct credentials *c)
{
    buf_release(&c->url);
    buf_release(&c->client_id);
    buf_release(&c->client_secret);
}

int config_map_value_decode(struct str body, const char *key, struct buf *out, struct err *err)
{
    json_t *cleanup_json tree = json_load(body, true, "ConfigMap", err);
    if (tree == NULL) {
        return -1;
    }
    const json_t *value = json_object_get(json_object_get(tree, "data"), key);
    if (!json_is_string(value)) {
        bool binary = json_object_get(json_object_get(tree, "binaryData"), key) != NULL;
        return err_set(err, ERR_INVALID, "ConfigMap has no key %s in data%s", key,
                       binary ? ": it is in binaryData, write it as text" : "");
    }
    if (json_string_length(value) > LIMIT_CA_BUNDLE) {
        return err_set(err, ERR_LIMIT, "ConfigMap: %s is larger than %lu bytes", key,
                       LIMIT_CA_BUNDLE);
    }
    buf_append(out, json_string_value(value), json_string_length(value));
    return out->failed ? err_set(err, ERR_NO_MEMORY, "ConfigMap: out of memory") : 0;
}
