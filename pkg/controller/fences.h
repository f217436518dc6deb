/* SPDX-License-Identifier: Apache-2.0
 *
 * fences: what the controller works behind: the fence that binds us, without which no Secret is
 * touched, and the one for commands, without which none is taken (kube/fence.h). Either may be
 * waived. */
#ifndef KEYTURN_CONTROLLER_FENCES_H
#define KEYTURN_CONTROLLER_FENCES_H

#include "controller/controller.h"
#include "kube/fence.h"

struct fences {
    struct fence *own, *commands; /* NULL: waived */
    const char *own_name, *commands_name;
    void (*changed)(void *ctx); /* a state, or the sentence about it; it has been logged */
    void *ctx;
};

/* changed and ctx are set. -1 out of memory; then too fences_free() is called. */
int fences_init(struct fences *f, struct kube *kube, struct loop *loop,
                const struct controller_options *options);
void fences_free(struct fences *f);

/* True when Secrets may be touched; *why (may be NULL) gets the sentence when not. */
bool fences_stand(const struct fences *f, const char **why);
/* True when this is what the fence says to a write of a Secret that it does not let pass. */
bool fences_refused(const struct fences *f, const struct err *err);

/* For a command that was just seen: asks whether somebody vouches for who commands. Returns a
 * number for fences_said(). */
uint64_t fences_ask(const struct fences *f);
/* *why gets the sentence when not. */
enum fence_state fences_said(const struct fences *f, uint64_t asked, const char **why);
/* As far as was last heard, for people; *why gets the sentence when not. */
bool fences_vouch(const struct fences *f, const char **why);

#endif
