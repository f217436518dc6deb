/* SPDX-License-Identifier: Apache-2.0
 *
 * kube: requests to one API server: address, trust and credentials in one place. The bearer token
 * and the CA are read again from their files at most 50 s after they changed and at once after a
 * 401 or a TLS failure; the request is then repeated once. One deadline for each request, its
 * repetition included. Answers come from the loop. Redirects are not followed. Lists and watches
 * are kube/watcher.h's. */
#ifndef KEYTURN_KUBE_KUBE_H
#define KEYTURN_KUBE_KUBE_H

#include "base/err.h"
#include "base/str.h"
#include "io/http.h"

struct kube;

struct kube_options {
    const char *kubeconfig; /* path; NULL: in-cluster (KUBERNETES_SERVICE_HOST and the
                               ServiceAccount's files) */
    const char *user_agent;
};

struct kube *kube_new(struct http_port *port, struct loop *loop, const struct kube_options *options,
                      struct err *err);
void kube_free(struct kube *kube); /* cancels everything under way */
/* Namespace of the kubeconfig's context or of the ServiceAccount; "default" otherwise. */
const char *kube_namespace(const struct kube *kube);

struct kube_request {
    const char *method;       /* GET, POST, PUT, PATCH, DELETE */
    const char *path;         /* with query, already escaped: "/api/v1/namespaces/a/secrets/b" */
    const char *content_type; /* of body; NULL: application/json */
    bool metadata_only;       /* Accept PartialObjectMetadata */
    bool secret;              /* bodies are wiped */
    struct str body;
    enum http_lane lane;
    int timeout_ms; /* 0 = 15 s */
};

struct kube_answer {
    struct err err;  /* ERR_NONE for 2xx; else class, http_status, reason, sentence */
    struct str body; /* of a 2xx; valid during the call */
};

struct kube_call;
typedef void kube_done_fn(void *ctx, const struct kube_answer *answer);
/* NULL only out of memory. */
struct kube_call *kube_submit(struct kube *kube, const struct kube_request *request,
                              kube_done_fn *done, void *ctx);
void kube_cancel(struct kube_call *call); /* done is not called; NULL is fine */

/* "/apis/apps/v1/namespaces/NS/deployments/NAME": names are escaped. namespace or name NULL: left
 * out. */
struct buf;
void kube_path(struct buf *out, const char *prefix, const char *namespace, const char *plural,
               const char *name);

#endif
