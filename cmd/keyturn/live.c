/* SPDX-License-Identifier: Apache-2.0 */
#include "live.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/str.h"
#include "codec/json.h"
#include "io/loop.h"
#include "io/sandbox.h"
#include "kube/kube.h"
#include "version.h"

struct asking {
    struct loop *loop;
    struct http_port *port;
    struct kube *kube;
    json_t *tree; /* owned */
    struct err *err;
};

static void on_answer(void *ctx, const struct kube_answer *answer)
{
    struct asking *a = ctx;
    if (answer->err.class != ERR_NONE)
        *a->err = answer->err;
    else
        a->tree = json_load(answer->body, true, "KeyRotation", a->err);
    loop_stop(a->loop);
}

static int ask(struct asking *a, const char *namespace, const char *name)
{
    struct buf cleanup_buf path = {0};
    kube_path(&path, "/apis/keyturn.dev/v1alpha1",
              namespace != NULL ? namespace : kube_namespace(a->kube), "keyrotations", name);
    const struct kube_request request = {.method = "GET", .path = buf_text(&path)};
    if (path.failed || kube_submit(a->kube, &request, on_answer, a) == NULL)
        return err_set(a->err, ERR_NO_MEMORY, "out of memory");
    loop_run(a->loop);
    return a->tree != NULL ? 0 : -1;
}

static int open_all(struct asking *a, const char *kubeconfig, struct err *err)
{
    char user_agent[64];
    (void)snprintf(user_agent, sizeof(user_agent), "keyturn/%s", keyturn_version());
    const struct http_curl_options http = {.user_agent = user_agent};
    const struct kube_options kube = {.kubeconfig = kubeconfig, .user_agent = user_agent};
    if (sandbox_early(err) != 0 || (a->loop = loop_new(err)) == NULL ||
        (a->port = http_curl_new(a->loop, &http, err)) == NULL)
        return -1;
    a->kube = kube_new(a->port, a->loop, &kube, err);
    return a->kube != NULL ? 0 : -1;
}

static void close_all(struct asking *a)
{
    kube_free(a->kube);
    if (a->port != NULL)
        http_curl_free(a->port);
    if (a->loop != NULL)
        loop_free(a->loop);
}

json_t *live_get(const char *kubeconfig, const char *namespace, const char *name, struct err *err)
{
    struct asking a = {.err = err};
    char path[PATH_MAX];
    const char *set = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (kubeconfig == NULL && set != NULL && *set != '\0')
        kubeconfig = set;
    if (kubeconfig == NULL && home != NULL && *home != '\0' &&
        text_format(path, sizeof(path), "%s/.kube/config", home))
        kubeconfig = path;
    if (kubeconfig == NULL)
        (void)err_set(err, ERR_INVALID,
                      "there is no home folder with .kube/config: write --kubeconfig");
    else if (open_all(&a, kubeconfig, err) == 0 && ask(&a, namespace, name) != 0)
        (void)err_wrap(err, "--live");
    close_all(&a);
    return a.tree;
}
