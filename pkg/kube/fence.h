/* SPDX-License-Identifier: Apache-2.0
 *
 * fence: proof that the chart's admission policies are there, asked for at once and then again and
 * again. Those of FENCE_OPERATOR bind us; the one of FENCE_COMMANDS binds whoever commands a
 * rotation. One round is
 *   - a GET of each policy and of its binding: it is there, its rules are no older than
 *     FENCE_RULES, and it denies whatever it does not understand;
 *   - of FENCE_OPERATOR, a dry-run POST of an Opaque Secret in our own namespace, which the policy
 *     for Secrets must refuse by its name: so that it is in force, and for our account.
 * What the others say is taken from what is there; only that of Secrets is ever seen at work. Any
 * other answer, also a refusal by RBAC, is no proof. fence_proven() keeps a former proof while the
 * question gets lost: no answer, or another policy that refused the Secret before ours was heard
 * (the API server names one, in no order). */
#ifndef KEYTURN_KUBE_FENCE_H
#define KEYTURN_KUBE_FENCE_H

#include <stdbool.h>
#include "kube/kube.h"

/* What the chart writes into ANNOTATION_FENCE_RULES; raised in both when a rule changes. */
#define FENCE_RULES 2

struct fence;

enum fence_kind { FENCE_OPERATOR, FENCE_COMMANDS };

struct fence_options {
    enum fence_kind kind;
    const char *namespace; /* our own; FENCE_OPERATOR only */
    const char *name;      /* of the policy; FENCE_OPERATOR: NAME-secrets and so on */
    int64_t again_ms;      /* from a proof to the next round; without one it is 5 s */
    /* After the first round and one that was asked for, and whenever the proof or the sentence
     * about it changed. err: ERR_NONE, or what stands open and what to do; beside a proof, why it
     * could not be renewed. */
    void (*changed)(void *ctx, bool proven, const struct err *err);
    void *ctx;
};

/* Texts are copied. The first round begins in the loop's next turn. */
struct fence *fence_new(struct kube *kube, struct loop *loop, const struct fence_options *options,
                        struct err *err);
void fence_free(struct fence *fence); /* NULL is fine */
/* why (may be NULL): NULL, or a sentence that lives until the next round. */
bool fence_proven(const struct fence *fence, const char **why);

/* For what must not rest on a former proof: a round begins at once, or right after the one under
 * way. Returns its number. */
uint64_t fence_ask(struct fence *fence);
enum fence_state {
    FENCE_UNKNOWN, /* that round has not ended, or its question got lost; it is asked again */
    FENCE_OPEN,
    FENCE_PROVEN,
};
/* What the last round said, when it is that one or a later one. *why as above. */
enum fence_state fence_said(const struct fence *fence, uint64_t round, const char **why);

/* FENCE_OPERATOR: true when the policy for Secrets is what refused this request. */
bool fence_refused(const struct fence *fence, const struct err *answer);

#endif
