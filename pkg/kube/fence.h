/* SPDX-License-Identifier: Apache-2.0
 *
 * fence: proof that the chart's admission policies bind us: a dry-run POST of an Opaque Secret in
 * our own namespace must be refused by the policy named. Any other answer, also a refusal by RBAC
 * or a lost one, is no proof. */
#ifndef KEYTURN_KUBE_FENCE_H
#define KEYTURN_KUBE_FENCE_H

#include "kube/kube.h"

/* err->class ERR_NONE = proven; else a sentence that says what stands open and what to do. */
typedef void fence_done_fn(void *ctx, const struct err *err);
struct kube_call *fence_prove(struct kube *kube, const char *namespace, const char *policy,
                              fence_done_fn *done, void *ctx);

#endif
