/* SPDX-License-Identifier: Apache-2.0
 *
 * workqueue: keys that are due, each at most once, after client-go's workqueue: a key added while
 * it is being worked on comes back once after workqueue_done. Pure: time is passed in (milliseconds
 * on any monotonic clock). A key taken is the queue's until workqueue_done; at most one worker has
 * a key. */
#ifndef KEYTURN_WORKQUEUE_WORKQUEUE_H
#define KEYTURN_WORKQUEUE_WORKQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/attr.h"

struct workqueue;

struct workqueue *workqueue_new(void); /* NULL out of memory */
void workqueue_free(struct workqueue *q);
/* Due at due_ms, or earlier if it already was. -1 out of memory. */
int workqueue_add(struct workqueue *q, const char *key, int64_t due_ms);
/* The longest-due key, or NULL. Valid until workqueue_done(key). */
const char *workqueue_take(struct workqueue *q, int64_t now_ms);
void workqueue_done(struct workqueue *q, const char *key);
/* Forgets a waiting key; one that is being worked on is not added again. */
void workqueue_drop(struct workqueue *q, const char *key);
/* When the next key is due; INT64_MAX when none waits. */
int64_t workqueue_next_due_ms(const struct workqueue *q);
size_t workqueue_depth(const struct workqueue *q); /* waiting and due or not */

/* Exponential delay with jitter: base 250 ms doubled per try up to cap_ms, plus up to a quarter by
 * `random`. */
int64_t workqueue_backoff_ms(unsigned tries, int64_t cap_ms, uint32_t random);

#endif
