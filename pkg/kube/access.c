/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/access.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/limits.h"
#include "codec/kubeconfig.h"
#include "io/file.h"
#include "io/http.h"

#define KUBECONFIG_MAX (1UL << 20)
#define TOKEN_MAX (64UL << 10)

static size_t size_max(enum access_material which)
{
    return which == ACCESS_TOKEN ? TOKEN_MAX : LIMIT_CA_BUNDLE;
}

static void secret_free(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

static int material_read(struct access *a, enum access_material which, struct err *err)
{
    struct access_text *m = &a->material[which];
    struct buf cleanup_buf file = {.secret = true};
    if (file_read(m->path, size_max(which), &file, err) != 0)
        return -1;
    struct str text = str_trim(buf_view(&file));
    if (text.len == 0)
        return err_set(err, ERR_INVALID, "%s is empty", m->path);
    if (memchr(text.data, '\0', text.len) != NULL ||
        (which == ACCESS_TOKEN && !str_is_visible(text)))
        return err_set(err, ERR_INVALID, "%s holds characters that do not belong there", m->path);
    if (m->text != NULL && str_is(text, m->text))
        return 0;
    char *copy = strndup(text.data, text.len);
    if (copy == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", m->path);
    secret_free(m->text);
    m->text = copy;
    return 0;
}

bool access_refresh(struct access *a, struct err *err)
{
    bool any = false;
    struct err first = {0};
    for (int i = 0; i < ACCESS_MATERIAL_COUNT; i++) {
        if (a->material[i].path == NULL)
            continue;
        any = true;
        struct err one = {0};
        if (material_read(a, (enum access_material)i, &one) != 0 && first.class == ERR_NONE)
            first = one;
    }
    if (err != NULL)
        *err = first;
    return any;
}

/* Everything must be readable at the start; later a file may be away for a moment. */
static int first_read(struct access *a, struct err *err)
{
    struct err local = {0};
    access_refresh(a, &local);
    if (local.class == ERR_NONE)
        return 0;
    if (err != NULL)
        *err = local;
    return -1;
}

void access_release(struct access *a)
{
    for (int i = 0; i < ACCESS_MATERIAL_COUNT; i++) {
        free(a->material[i].path);
        secret_free(a->material[i].text);
    }
    free(a->server);
    free(a->namespace);
    free(a->server_name);
    *a = (struct access){0};
}

static char *server_text(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '/')
        len--;
    return strndup(text, len);
}

/* Takes the text out of the kubeconfig, so that it is freed once. */
static char *take(char **from)
{
    char *text = *from;
    *from = NULL;
    return text;
}

/* A path as written, relative to the folder of the kubeconfig. */
static char *resolve(const char *kubeconfig, const char *path)
{
    const char *slash = strrchr(kubeconfig, '/');
    if (path[0] == '/' || slash == NULL)
        return strdup(path);
    struct buf cleanup_buf out = {0};
    buf_append(&out, kubeconfig, (size_t)(slash - kubeconfig) + 1);
    buf_append_text(&out, path);
    return buf_take(&out);
}

/* Inline data wins over a file, but a token file over a token: it is the one that is renewed. */
static int take_material(struct access *a, struct kubeconfig *kc, const char *kubeconfig,
                         struct err *err)
{
    const struct {
        char **text;
        char **file;
    } from[ACCESS_MATERIAL_COUNT] = {
        [ACCESS_TOKEN] = {&kc->token, &kc->token_file},
        [ACCESS_CA] = {&kc->ca_pem, &kc->ca_file},
        [ACCESS_CERT] = {&kc->client_cert_pem, &kc->client_cert_file},
        [ACCESS_KEY] = {&kc->client_key_pem, &kc->client_key_file},
    };
    for (int i = 0; i < ACCESS_MATERIAL_COUNT; i++) {
        bool use_file = *from[i].file != NULL && (i == ACCESS_TOKEN || *from[i].text == NULL);
        if (!use_file) {
            a->material[i].text = take(from[i].text);
            continue;
        }
        a->material[i].path = resolve(kubeconfig, *from[i].file);
        if (a->material[i].path == NULL)
            return err_set(err, ERR_NO_MEMORY, "no memory for the kubeconfig");
    }
    const char *token = a->material[ACCESS_TOKEN].text;
    if (token != NULL && !str_is_visible(str_from(token)))
        return err_set(err, ERR_INVALID, "the token holds characters that do not belong there");
    return 0;
}

static int take_kubeconfig(struct access *a, struct kubeconfig *kc, const char *path,
                           struct err *err)
{
    if (kc->server == NULL || !http_url_is_plain(kc->server))
        return err_set(err, ERR_INVALID,
                       "cluster.server must be an http or https URL without user, query or "
                       "fragment");
    a->server = server_text(kc->server);
    a->namespace = kc->namespace != NULL ? take(&kc->namespace) : strdup("default");
    a->server_name = take(&kc->tls_server_name);
    a->insecure = kc->insecure;
    if (a->server == NULL || a->namespace == NULL)
        return err_set(err, ERR_NO_MEMORY, "no memory for the kubeconfig");
    if (take_material(a, kc, path, err) != 0)
        return -1;
    return first_read(a, err);
}

int access_load_kubeconfig(struct access *a, const char *kubeconfig, struct err *err)
{
    struct buf cleanup_buf text = {.secret = true};
    struct kubeconfig kc = {0};
    if (file_read(kubeconfig, KUBECONFIG_MAX, &text, err) != 0)
        return err_wrap(err, "kubeconfig");
    int result = kubeconfig_decode(buf_view(&text), NULL, &kc, err);
    if (result == 0) {
        result = take_kubeconfig(a, &kc, kubeconfig, err);
        kubeconfig_release(&kc);
    }
    if (result != 0) {
        access_release(a);
        err_wrap(err, "kubeconfig %s", kubeconfig);
    }
    return result;
}

static char *in_dir(const char *dir, const char *name)
{
    struct buf cleanup_buf out = {0};
    buf_appendf(&out, "%s/%s", dir, name);
    return buf_take(&out);
}

/* Absent is no error: then it is "default", as everywhere. */
static char *pod_namespace(const char *dir)
{
    char *path = in_dir(dir, "namespace");
    struct buf cleanup_buf file = {0};
    struct str text = {0};
    if (path != NULL && file_read(path, LIMIT_NAME, &file, NULL) == 0)
        text = str_trim(buf_view(&file));
    free(path);
    return text.len > 0 && str_is_visible(text) ? strndup(text.data, text.len) : strdup("default");
}

int access_load_pod(struct access *a, const char *host, const char *port, const char *dir,
                    struct err *err)
{
    if (host == NULL || *host == '\0' || port == NULL || *port == '\0')
        return err_set(err, ERR_INVALID,
                       "no API server: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not "
                       "set, as they are in every pod; elsewhere give --kubeconfig");
    struct buf cleanup_buf server = {0};
    bool v6 = strchr(host, ':') != NULL;
    buf_appendf(&server, v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
    a->server = buf_take(&server);
    a->namespace = pod_namespace(dir);
    a->material[ACCESS_TOKEN].path = in_dir(dir, "token");
    a->material[ACCESS_CA].path = in_dir(dir, "ca.crt");
    if (a->server == NULL || a->namespace == NULL || a->material[ACCESS_TOKEN].path == NULL ||
        a->material[ACCESS_CA].path == NULL) {
        access_release(a);
        return err_set(err, ERR_NO_MEMORY, "no memory for the ServiceAccount's files");
    }
    int result = 0;
    if (!http_url_is_plain(a->server))
        result = err_set(err, ERR_INVALID, "KUBERNETES_SERVICE_HOST and _PORT give no usable URL");
    else if (first_read(a, err) != 0)
        result = err_wrap(err, "ServiceAccount (automountServiceAccountToken must be true)");
    if (result != 0)
        access_release(a);
    return result;
}
