/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/credentials.h"

#include <stdlib.h>

struct credentials_call {
    struct kube_call *call;
    source_credentials_done_fn *done;
    void *done_ctx;
};

static void credentials_read(void *ctx, const struct kube_answer *answer)
{
    struct credentials_call *r = ctx;
    struct credentials credentials = {0};
    struct err err = answer->err;
    if (err.class == ERR_NONE && credentials_decode(answer->body, &credentials, &err) == 0)
        r->done(r->done_ctx, &credentials, NULL);
    else
        r->done(r->done_ctx, NULL, &err);
    credentials_release(&credentials);
    free(r);
}

static void *get(void *ctx, const char *namespace, const char *secret,
                 source_credentials_done_fn *done, void *done_ctx)
{
    struct kube *kube = ctx;
    struct buf cleanup_buf path = {0};
    struct credentials_call *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->done = done;
    r->done_ctx = done_ctx;
    kube_path(&path, "/api/v1", namespace, "secrets", secret);
    r->call = kube_submit(
        kube, &(struct kube_request){.method = "GET", .path = buf_text(&path), .secret = true},
        credentials_read, r);
    if (r->call == NULL) {
        free(r);
        return NULL;
    }
    return r;
}

static void cancel(void *ctx, void *handle)
{
    struct credentials_call *r = handle;
    (void)ctx;
    kube_cancel(r->call);
    free(r);
}

struct source_credentials_port credentials_port(struct kube *kube)
{
    return (struct source_credentials_port){get, cancel, kube};
}
