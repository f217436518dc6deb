/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/kubeconfig.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "base/attr.h"
#include "base/buf.h"
#include "codec/base64.h"

#define FILE_MAX (1UL << 20)
#define DEPTH_MAX 16
#define KEY_MAX 64
#define FACTS_MAX 4096 /* some five hundred contexts */

/* The places of a kubeconfig that are looked at. */
enum field {
    CURRENT_CONTEXT,
    CONTEXT_NAME,
    CONTEXT_CLUSTER,
    CONTEXT_USER,
    CONTEXT_NAMESPACE,
    CLUSTER_NAME,
    CLUSTER_SERVER,
    CLUSTER_CA_DATA,
    CLUSTER_CA_FILE,
    CLUSTER_TLS_NAME,
    CLUSTER_INSECURE,
    CLUSTER_PROXY,
    USER_NAME,
    USER_CERT_DATA,
    USER_CERT_FILE,
    USER_KEY_DATA,
    USER_KEY_FILE,
    USER_TOKEN,
    USER_TOKEN_FILE,
    USER_LOGIN,
    USER_AS,
    USER_EXEC,
    USER_EXEC_COMMAND,
    USER_PROVIDER,
    USER_PROVIDER_NAME,
    FIELD_COUNT,
};

static const char *const places[FIELD_COUNT] = {
    [CURRENT_CONTEXT] = "current-context",
    [CONTEXT_NAME] = "contexts/*/name",
    [CONTEXT_CLUSTER] = "contexts/*/context/cluster",
    [CONTEXT_USER] = "contexts/*/context/user",
    [CONTEXT_NAMESPACE] = "contexts/*/context/namespace",
    [CLUSTER_NAME] = "clusters/*/name",
    [CLUSTER_SERVER] = "clusters/*/cluster/server",
    [CLUSTER_CA_DATA] = "clusters/*/cluster/certificate-authority-data",
    [CLUSTER_CA_FILE] = "clusters/*/cluster/certificate-authority",
    [CLUSTER_TLS_NAME] = "clusters/*/cluster/tls-server-name",
    [CLUSTER_INSECURE] = "clusters/*/cluster/insecure-skip-tls-verify",
    [CLUSTER_PROXY] = "clusters/*/cluster/proxy-url",
    [USER_NAME] = "users/*/name",
    [USER_CERT_DATA] = "users/*/user/client-certificate-data",
    [USER_CERT_FILE] = "users/*/user/client-certificate",
    [USER_KEY_DATA] = "users/*/user/client-key-data",
    [USER_KEY_FILE] = "users/*/user/client-key",
    [USER_TOKEN] = "users/*/user/token",
    [USER_TOKEN_FILE] = "users/*/user/tokenFile",
    [USER_LOGIN] = "users/*/user/username",
    [USER_AS] = "users/*/user/as",
    [USER_EXEC] = "users/*/user/exec",
    [USER_EXEC_COMMAND] = "users/*/user/exec/command",
    [USER_PROVIDER] = "users/*/user/auth-provider",
    [USER_PROVIDER_NAME] = "users/*/user/auth-provider/name",
};

struct fact {
    enum field field;
    size_t item; /* which of contexts, clusters, users */
    char *value; /* malloc'ed; "" for a mapping or list; NULL once taken */
};

struct level {
    bool mapping;
    bool has_key; /* mapping: the value of key comes next */
    size_t index; /* list: items so far */
    char key[KEY_MAX];
};

struct reader {
    struct level levels[DEPTH_MAX];
    size_t depth;
    size_t documents;
    struct fact *facts;
    size_t count;
};

static void wipe_text(char **text)
{
    if (*text != NULL) {
        explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

static void reader_release(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        wipe_text(&r->facts[i].value);
    }
    free(r->facts);
    r->facts = NULL;
    r->count = 0;
}

/* Where the value at hand stands, as in places. */
static void place_of(const struct reader *r, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < r->depth && len + 1 < size; i++) {
        const char *part = r->levels[i].mapping ? r->levels[i].key : "*";
        if (!text_format(out + len, size - len, "%s%s", i > 0 ? "/" : "", part)) {
            break;
        }
        len = strlen(out);
    }
}

static int remember(struct reader *r, const char *value, size_t len, struct err *err)
{
    char place[128] = "";
    size_t field = 0;
    place_of(r, place, sizeof(place));
    while (field < FIELD_COUNT && strcmp(places[field], place) != 0) {
        field++;
    }
    if (field == FIELD_COUNT) {
        return 0;
    }
    if (r->count == FACTS_MAX) {
        return err_set(err, ERR_LIMIT, "kubeconfig: more than %d entries", FACTS_MAX);
    }
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        return err_set(err, ERR_NO_MEMORY, "kubeconfig: out of memory");
    }
    memcpy(copy, value, len);
    copy[len] = '\0';
    r->facts[r->count++] = (struct fact){
        .field = (enum field)field, .item = r->depth > 1 ? r->levels[1].index : 0, .value = copy};
    return 0;
}

static bool is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (*text == '\0' || text_eq(text, "~") || text_eq(text, "null") || text_eq(text, "Null") ||
            text_eq(text, "NULL"));
}

/* The value at hand is over. */
static void value_done(struct reader *r)
{
    if (r->depth > 0) {
        struct level *level = &r->levels[r->depth - 1];
        level->has_key = false;
        level->index++;
    }
}

static int bad(const yaml_event_t *event, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID, "kubeconfig: %s (line %zu)", why, event->start_mark.line + 1);
}

static int on_scalar(struct reader *r, const yaml_event_t *event, struct err *err)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    struct level *level = r->depth > 0 ? &r->levels[r->depth - 1] : NULL;
    int result = 0;

    if (level == NULL) {
        return bad(event, "a mapping is expected", err);
    }
    if (strlen(text) != len) {
        return bad(event, "a NUL character", err);
    }
    if (level->mapping && !level->has_key) {
        /* A longer key is none that is looked for. */
        if (!text_format(level->key, sizeof(level->key), "%s", text)) {
            level->key[0] = '\0';
        }
        level->has_key = true;
        return 0;
    }
    if (!is_null(event)) {
        result = remember(r, text, len, err);
    }
    value_done(r);
    return result;
}

static int on_start(struct reader *r, const yaml_event_t *event, bool mapping, struct err *err)
{
    const struct level *level = r->depth > 0 ? &r->levels[r->depth - 1] : NULL;
    if (level == NULL && !mapping) {
        return bad(event, "a mapping is expected", err);
    }
    if (level != NULL && level->mapping && !level->has_key) {
        return bad(event, "a key that is no text", err);
    }
    if (r->depth == DEPTH_MAX) {
        return err_set(err, ERR_LIMIT, "kubeconfig: nested deeper than %d levels (line %zu)",
                       DEPTH_MAX, event->start_mark.line + 1);
    }
    if (level != NULL && remember(r, "", 0, err) != 0) {
        return -1;
    }
    r->levels[r->depth++] = (struct level){.mapping = mapping};
    return 0;
}

static int on_event(struct reader *r, const yaml_event_t *event, struct err *err)
{
    switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return 0;
    case YAML_DOCUMENT_START_EVENT:
        return r->documents++ > 0 ? bad(event, "more than one document", err) : 0;
    case YAML_ALIAS_EVENT: return bad(event, "aliases are refused", err);
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL ? bad(event, "anchors are refused", err)
                                                 : on_scalar(r, event, err);
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL ? bad(event, "anchors are refused", err)
                                                         : on_start(r, event, false, err);
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL ? bad(event, "anchors are refused", err)
                                                        : on_start(r, event, true, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        value_done(r);
        return 0;
    }
    return 0;
}

static int read_all(struct reader *r, struct str yaml, struct err *err)
{
    yaml_parser_t parser;
    int result = 0;
    bool ended = false;
    if (yaml_parser_initialize(&parser) == 0) {
        return err_set(err, ERR_NO_MEMORY, "kubeconfig: out of memory");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.data, yaml.len);
    while (result == 0 && !ended) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            result = parser.error == YAML_MEMORY_ERROR
                         ? err_set(err, ERR_NO_MEMORY, "kubeconfig: out of memory")
                         : err_set(err, ERR_INVALID, "kubeconfig: no valid YAML (line %zu)",
                                   parser.problem_mark.line + 1);
            break;
        }
        result = on_event(r, &event, err);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return result;
}

static struct fact *find(const struct reader *r, enum field field, size_t item)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->facts[i].field == field && r->facts[i].item == item) {
            return &r->facts[i];
        }
    }
    return NULL;
}

static const char *peek(const struct reader *r, enum field field, size_t item)
{
    const struct fact *fact = find(r, field, item);
    return fact == NULL || fact->value == NULL || *fact->value == '\0' ? NULL : fact->value;
}

static char *take(const struct reader *r, enum field field, size_t item)
{
    struct fact *fact = find(r, field, item);
    if (fact == NULL || fact->value == NULL || *fact->value == '\0') {
        return NULL;
    }
    char *value = fact->value;
    fact->value = NULL;
    return value;
}

static bool find_item(const struct reader *r, enum field field, const char *name, size_t *ret)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->facts[i].field == field && text_eq(r->facts[i].value, name)) {
            *ret = r->facts[i].item;
            return true;
        }
    }
    return false;
}

/* A *-data member: base64 of PEM. *ret stays NULL when absent. */
static int take_pem(const struct reader *r, enum field field, size_t item, char **ret,
                    struct err *err)
{
    struct buf cleanup_buf pem = {.secret = true, .max = FILE_MAX};
    const char *text = peek(r, field, item);
    if (text == NULL) {
        return 0;
    }
    if (base64_decode(str_from(text), &pem) != 0 || strlen(buf_text(&pem)) != pem.len ||
        strstr(buf_text(&pem), "-----BEGIN ") == NULL) {
        return err_set(err, ERR_INVALID, "kubeconfig: %s is no base64 of PEM",
                       strrchr(places[field], '/') + 1);
    }
    *ret = buf_take(&pem);
    return *ret == NULL ? err_set(err, ERR_NO_MEMORY, "kubeconfig: out of memory") : 0;
}

static int take_cluster(const struct reader *r, size_t item, struct kubeconfig *ret,
                        struct err *err)
{
    const char *name = peek(r, CLUSTER_NAME, item);
    const char *insecure = peek(r, CLUSTER_INSECURE, item);

    ret->server = take(r, CLUSTER_SERVER, item);
    if (!text_starts_with(ret->server, "https://") && !text_starts_with(ret->server, "http://")) {
        return err_set(err, ERR_INVALID,
                       "kubeconfig: cluster %s: server is no http:// or https:// address", name);
    }
    if (find(r, CLUSTER_PROXY, item) != NULL) {
        return err_set(err, ERR_INVALID, "kubeconfig: cluster %s: proxy-url is not supported",
                       name);
    }
    ret->ca_file = take(r, CLUSTER_CA_FILE, item);
    ret->tls_server_name = take(r, CLUSTER_TLS_NAME, item);
    ret->insecure =
        text_eq(insecure, "true") || text_eq(insecure, "True") || text_eq(insecure, "TRUE");
    return take_pem(r, CLUSTER_CA_DATA, item, &ret->ca_pem, err);
}

static int take_user(const struct reader *r, size_t item, struct kubeconfig *ret, struct err *err)
{
    const char *name = peek(r, USER_NAME, item);
    const char *command = peek(r, USER_EXEC_COMMAND, item);
    const char *provider = peek(r, USER_PROVIDER_NAME, item);

    if (find(r, USER_EXEC, item) != NULL) {
        return err_set(
            err, ERR_INVALID,
            "kubeconfig: user %s logs in by the exec plugin %s, which is not supported: use a "
            "token or a client certificate",
            name, command == NULL ? "(no command)" : command);
    }
    if (find(r, USER_PROVIDER, item) != NULL) {
        return err_set(
            err, ERR_INVALID,
            "kubeconfig: user %s logs in by the auth provider %s, which is not supported: use a "
            "token or a client certificate",
            name, provider == NULL ? "(no name)" : provider);
    }
    if (find(r, USER_AS, item) != NULL || find(r, USER_LOGIN, item) != NULL) {
        return err_set(
            err, ERR_INVALID,
            "kubeconfig: user %s: passwords and impersonation are not supported: use a token or a "
            "client certificate",
            name);
    }
    ret->token = take(r, USER_TOKEN, item);
    ret->token_file = take(r, USER_TOKEN_FILE, item);
    ret->client_cert_file = take(r, USER_CERT_FILE, item);
    ret->client_key_file = take(r, USER_KEY_FILE, item);
    if (take_pem(r, USER_CERT_DATA, item, &ret->client_cert_pem, err) != 0 ||
        take_pem(r, USER_KEY_DATA, item, &ret->client_key_pem, err) != 0) {
        return -1;
    }
    return 0;
}

static int resolve(const struct reader *r, const char *context, struct kubeconfig *ret,
                   struct err *err)
{
    size_t item = 0;
    size_t other = 0;
    context = context != NULL ? context : peek(r, CURRENT_CONTEXT, 0);
    if (context == NULL) {
        return err_set(err, ERR_INVALID,
                       "kubeconfig: no current-context: set one with kubectl config "
                       "use-context");
    }
    if (!find_item(r, CONTEXT_NAME, context, &item)) {
        return err_set(err, ERR_INVALID, "kubeconfig: no context %s", context);
    }
    const char *cluster = peek(r, CONTEXT_CLUSTER, item);
    const char *user = peek(r, CONTEXT_USER, item);
    if (cluster == NULL || !find_item(r, CLUSTER_NAME, cluster, &other)) {
        return err_set(err, ERR_INVALID, "kubeconfig: context %s: no cluster %s", context,
                       cluster == NULL ? "named" : cluster);
    }
    if (take_cluster(r, other, ret, err) != 0) {
        return -1;
    }
    ret->namespace = take(r, CONTEXT_NAMESPACE, item);
    if (user == NULL) {
        return 0;
    }
    if (!find_item(r, USER_NAME, user, &other)) {
        return err_set(err, ERR_INVALID, "kubeconfig: context %s: no user %s", context, user);
    }
    return take_user(r, other, ret, err);
}

int kubeconfig_decode(struct str yaml, const char *context, struct kubeconfig *ret, struct err *err)
{
    struct reader r = {.depth = 0};
    *ret = (struct kubeconfig){.server = NULL};
    if (yaml.len > FILE_MAX) {
        return err_set(err, ERR_LIMIT, "kubeconfig: larger than %lu bytes", FILE_MAX);
    }
    r.facts = calloc(FACTS_MAX, sizeof(*r.facts));
    if (r.facts == NULL) {
        return err_set(err, ERR_NO_MEMORY, "kubeconfig: out of memory");
    }
    int result = read_all(&r, yaml, err);
    if (result == 0) {
        result = resolve(&r, context, ret, err);
    }
    if (result != 0) {
        kubeconfig_release(ret);
    }
    reader_release(&r);
    return result;
}

void kubeconfig_release(struct kubeconfig *c)
{
    char **texts[] = {
        &c->server,           &c->ca_pem,         &c->ca_file,         &c->client_cert_pem,
        &c->client_cert_file, &c->client_key_pem, &c->client_key_file, &c->token,
        &c->token_file,       &c->namespace,      &c->tls_server_name};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        wipe_text(texts[i]);
    }
    *c = (struct kubeconfig){.server = NULL};
}
