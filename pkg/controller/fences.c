/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/fences.h"

#include "obs/log.h"

static void changed(struct fences *f, const char *name, bool proven, const struct err *err)
{
    bool good = err->class == ERR_NONE;
    log_at(good     ? LOG_INFO
           : proven ? LOG_WARN
                    : LOG_ERROR,
           good     ? "the fence stands"
           : proven ? "the fence is taken to stand as before"
                    : "the fence is not proven",
           LOG_TEXT("fence", name), LOG_TEXT("error", err->msg));
    f->changed(f->ctx);
}

static void own_changed(void *ctx, bool proven, const struct err *err)
{
    struct fences *f = ctx;
    changed(f, f->own_name, proven, err);
}

static void commands_changed(void *ctx, bool proven, const struct err *err)
{
    struct fences *f = ctx;
    changed(f, f->commands_name, proven, err);
}

int fences_init(struct fences *f, struct kube *kube, struct loop *loop,
                const struct controller_options *options)
{
    struct fence_options own = {.kind = FENCE_OPERATOR,
                                .namespace = options->own_namespace,
                                .name = options->fence,
                                .again_ms = options->resync_ms,
                                .changed = own_changed,
                                .ctx = f};
    struct fence_options commands = {.kind = FENCE_COMMANDS,
                                     .name = options->operations_policy,
                                     .again_ms = options->resync_ms,
                                     .changed = commands_changed,
                                     .ctx = f};
    f->own_name = own.name;
    f->commands_name = commands.name;
    if (own.name != NULL && (f->own = fence_new(kube, loop, &own, NULL)) == NULL)
        return -1;
    if (commands.name != NULL && (f->commands = fence_new(kube, loop, &commands, NULL)) == NULL)
        return -1;
    return 0;
}

void fences_free(struct fences *f)
{
    fence_free(f->own);
    fence_free(f->commands);
}

bool fences_stand(const struct fences *f, const char **why)
{
    if (f->own != NULL)
        return fence_proven(f->own, why);
    if (why != NULL)
        *why = NULL;
    return true;
}

bool fences_refused(const struct fences *f, const struct err *err)
{
    return f->own != NULL && fence_refused(f->own, err);
}

uint64_t fences_ask(const struct fences *f)
{
    return f->commands != NULL ? fence_ask(f->commands) : 1;
}

enum fence_state fences_said(const struct fences *f, uint64_t asked, const char **why)
{
    *why = NULL;
    return f->commands != NULL ? fence_said(f->commands, asked, why) : FENCE_PROVEN;
}

bool fences_vouch(const struct fences *f, const char **why)
{
    return f->commands == NULL || fence_proven(f->commands, why);
}
