/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/kubeconfig.h"

#include <stdlib.h>
#include <string.h>
#include "base/attr.h"
#include "base/buf.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/yaml.h"

#define PEM_MAX (1UL << 20)

static void wipe_text(char **text)
{
    if (*text != NULL) {
        explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

/* ---- members ---- */

static bool has(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL && !json_is_null(value);
}

/* A copy of a member; *ret stays NULL when it is absent or empty. Something else than a text would
 * read as absent, so it is refused. */
static int take(const json_t *object, const char *key, char **ret, struct err *err)
{
    const char *text = json_text(object, key);
    if (has(object, key) && text == NULL)
        return err_set(err, ERR_INVALID, "kubeconfig: %s: write a text, in quotes", key);
    if (text == NULL || *text == '\0')
        return 0;
    *ret = strdup(text);
    return *ret != NULL ? 0 : err_set(err, ERR_NO_MEMORY, "kubeconfig: out of memory");
}

/* A *-data member: base64 of PEM. */
static int take_pem(const json_t *object, const char *key, char **ret, struct err *err)
{
    struct buf cleanup_buf pem = {.secret = true, .max = PEM_MAX};
    char *text = NULL;
    int result = take(object, key, &text, err);
    if (result != 0 || text == NULL)
        return result;
    if (base64_decode(str_from(text), &pem) != 0 || strlen(buf_text(&pem)) != pem.len ||
        strstr(buf_text(&pem), "-----BEGIN ") == NULL) {
        result = err_set(err, ERR_INVALID, "kubeconfig: %s is no base64 of PEM", key);
    } else {
        *ret = buf_take(&pem);
        result = *ret != NULL ? 0 : err_set(err, ERR_NO_MEMORY, "kubeconfig: out of memory");
    }
    wipe_text(&text);
    return result;
}

/* What the item of that name in a list has under `member`; NULL when there is no such item. */
static const json_t *find(const json_t *tree, const char *list, const char *name,
                          const char *member)
{
    const json_t *items = json_object_get(tree, list);
    for (size_t i = 0; name != NULL && i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        if (text_eq(json_text(item, "name"), name)) {
            const json_t *found = json_object_get(item, member);
            return found != NULL ? found : item; /* none of its members is there then */
        }
    }
    return NULL;
}

/* ---- cluster and user ---- */

static int take_cluster(const json_t *cluster, const char *name, struct kubeconfig *ret,
                        struct err *err)
{
    if (take(cluster, "server", &ret->server, err) != 0)
        return -1;
    if (!text_starts_with(ret->server, "https://") && !text_starts_with(ret->server, "http://"))
        return err_set(err, ERR_INVALID,
                       "kubeconfig: cluster %s: server is no http:// or https:// address", name);
    if (has(cluster, "proxy-url"))
        return err_set(err, ERR_INVALID, "kubeconfig: cluster %s: proxy-url is not supported",
                       name);
    ret->insecure = json_flag(cluster, "insecure-skip-tls-verify");
    if (take(cluster, "certificate-authority", &ret->ca_file, err) != 0 ||
        take(cluster, "tls-server-name", &ret->tls_server_name, err) != 0)
        return -1;
    return take_pem(cluster, "certificate-authority-data", &ret->ca_pem, err);
}

static int refuse_login(const json_t *user, const char *name, struct err *err)
{
    const json_t *exec = json_object_get(user, "exec");
    const json_t *provider = json_object_get(user, "auth-provider");
    const char *command = json_text(exec, "command");
    const char *called = json_text(provider, "name");
    if (has(user, "exec"))
        return err_set(
            err, ERR_INVALID,
            "kubeconfig: user %s logs in by the exec plugin %s, which is not supported: use a "
            "token or a client certificate",
            name, command == NULL ? "(no command)" : command);
    if (has(user, "auth-provider"))
        return err_set(
            err, ERR_INVALID,
            "kubeconfig: user %s logs in by the auth provider %s, which is not supported: use a "
            "token or a client certificate",
            name, called == NULL ? "(no name)" : called);
    if (has(user, "as") || has(user, "username"))
        return err_set(
            err, ERR_INVALID,
            "kubeconfig: user %s: passwords and impersonation are not supported: use a token or a "
            "client certificate",
            name);
    return 0;
}

static int take_user(const json_t *user, const char *name, struct kubeconfig *ret, struct err *err)
{
    if (refuse_login(user, name, err) != 0 || take(user, "token", &ret->token, err) != 0 ||
        take(user, "tokenFile", &ret->token_file, err) != 0 ||
        take(user, "client-certificate", &ret->client_cert_file, err) != 0 ||
        take(user, "client-key", &ret->client_key_file, err) != 0 ||
        take_pem(user, "client-certificate-data", &ret->client_cert_pem, err) != 0)
        return -1;
    return take_pem(user, "client-key-data", &ret->client_key_pem, err);
}

/* ---- the context ---- */

static int resolve(const json_t *tree, const char *name, struct kubeconfig *ret, struct err *err)
{
    name = name != NULL ? name : json_text(tree, "current-context");
    if (name == NULL || *name == '\0')
        return err_set(err, ERR_INVALID,
                       "kubeconfig: no current-context: set one with kubectl config "
                       "use-context");
    const json_t *context = find(tree, "contexts", name, "context");
    if (context == NULL)
        return err_set(err, ERR_INVALID, "kubeconfig: no context %s", name);
    const char *cluster_name = json_text(context, "cluster");
    const char *user_name = json_text(context, "user");
    const json_t *cluster = find(tree, "clusters", cluster_name, "cluster");
    const json_t *user = find(tree, "users", user_name, "user");
    if (cluster == NULL)
        return err_set(err, ERR_INVALID, "kubeconfig: context %s: no cluster %s", name,
                       cluster_name == NULL ? "named" : cluster_name);
    if (take_cluster(cluster, cluster_name, ret, err) != 0 ||
        take(context, "namespace", &ret->namespace, err) != 0)
        return -1;
    if (!has(context, "user") || text_eq(user_name, ""))
        return 0;
    if (user == NULL)
        return err_set(err, ERR_INVALID, "kubeconfig: context %s: no user %s", name,
                       user_name == NULL ? "named" : user_name);
    return take_user(user, user_name, ret, err);
}

int kubeconfig_decode(struct str yaml, const char *context, struct kubeconfig *ret, struct err *err)
{
    *ret = (struct kubeconfig){.server = NULL};
    json_t *cleanup_json tree = yaml_load(yaml, "kubeconfig", err);
    if (tree == NULL)
        return -1;
    int result = json_is_object(tree)
                     ? resolve(tree, context, ret, err)
                     : err_set(err, ERR_INVALID, "kubeconfig: a mapping is expected");
    if (result != 0)
        kubeconfig_release(ret);
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
