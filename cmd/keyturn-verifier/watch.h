/* SPDX-License-Identifier: Apache-2.0
 *
 * watch: says when files of a directory may have changed: by inotify soon after, and in any case
 * every 5 s, since inotify misses a directory that is replaced and may be used up on a node. */
#ifndef KEYTURN_VERIFIER_WATCH_H
#define KEYTURN_VERIFIER_WATCH_H

#include "base/err.h"
#include "io/loop.h"

struct watch;

/* changed comes from the loop, also when nothing has changed. dir outlives the watch. Never fails
 * for want of inotify: NULL means out of memory. */
struct watch *watch_new(struct loop *loop, const char *dir, void (*changed)(void *ctx), void *ctx);
void watch_free(struct watch *watch); /* NULL is fine */

#endif
