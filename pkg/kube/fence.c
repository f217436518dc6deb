/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/fence.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "kube/call.h"

/* Whether a POST to /secrets would have gone through is asked with this name; a dry run makes
 * nothing. */
#define PROBE_NAME "keyturn-fence-probe"

struct proof {
    char *needle; /* how the API server names the policy that refused */
    char *policy;
    fence_done_fn *done;
    void *ctx;
};

static void proof_free(void *ctx)
{
    struct proof *proof = ctx;
    if (proof == NULL)
        return;
    free(proof->needle);
    free(proof->policy);
    free(proof);
}

static struct proof *proof_new(const char *policy, fence_done_fn *done, void *ctx)
{
    struct proof *proof = calloc(1, sizeof(*proof));
    if (proof == NULL)
        return NULL;
    struct buf cleanup_buf needle = {0};
    buf_appendf(&needle, "ValidatingAdmissionPolicy '%s' with binding", policy);
    proof->needle = buf_take(&needle);
    proof->policy = strdup(policy);
    proof->done = done;
    proof->ctx = ctx;
    if (proof->needle == NULL || proof->policy == NULL) {
        proof_free(proof);
        return NULL;
    }
    return proof;
}

static void judge(const struct proof *proof, const struct err *answer, struct err *ret)
{
    const char *policy = proof->policy;
    /* A refusal by admission is 422; the name of a Secret nobody could read is in no 403. */
    if (answer->http_status == 422 && strstr(answer->msg, proof->needle) != NULL)
        return;
    if (answer->class == ERR_NONE) {
        err_set(ret, ERR_FORBIDDEN,
                "the fence stands open: policy %s let a foreign Secret pass, so Keyturn touches no "
                "Secret; install the chart with fence.enabled=true, or run with --without-fence",
                policy);
    } else if (answer->class == ERR_FORBIDDEN) {
        err_set(ret, ERR_FORBIDDEN,
                "the fence cannot be proven: the ServiceAccount may not create Secrets in its own "
                "namespace, so policy %s was not asked; restore the chart's Role",
                policy);
    } else {
        *ret = *answer;
        err_wrap(ret, "the fence (policy %s) is not proven", policy);
    }
    ret->http_status = answer->http_status;
}

static void on_done(void *ctx, const struct kube_answer *answer)
{
    struct proof *proof = ctx;
    struct err err = {0};
    judge(proof, &answer->err, &err);
    fence_done_fn *done = proof->done;
    void *done_ctx = proof->ctx;
    proof_free(proof);
    done(done_ctx, &err);
}

struct kube_call *fence_prove(struct kube *kube, const char *namespace, const char *policy,
                              fence_done_fn *done, void *ctx)
{
    static const char body[] = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\","
                               "\"metadata\":{\"name\":\"" PROBE_NAME "\"}}";
    struct buf cleanup_buf path = {0};
    kube_path(&path, "/api/v1", namespace, "secrets", NULL);
    buf_append_text(&path, "?dryRun=All");
    struct proof *proof = path.failed ? NULL : proof_new(policy, done, ctx);
    if (proof == NULL)
        return NULL;
    struct kube_request request = {
        .method = "POST",
        .path = buf_text(&path),
        .metadata_only = true,
        .body = str_from(body),
        .lane = HTTP_LANE_API,
    };
    struct kube_extra extra = {.on_cancel = proof_free};
    struct kube_call *call = kube_start(kube, &request, &extra, on_done, proof);
    if (call == NULL)
        proof_free(proof);
    return call;
}
