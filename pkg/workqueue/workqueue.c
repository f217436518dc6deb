/* SPDX-License-Identifier: Apache-2.0 */
#include "workqueue/workqueue.h"

#include <stdlib.h>
#include <string.h>
#include "base/map.h"

#define BACKOFF_BASE_MS 250

struct entry {
    int64_t due_ms;
    uint64_t order;    /* first come, first served among equals */
    size_t heap_index; /* 1-based; 0 = not waiting */
    bool taken;
    bool again; /* added while taken: comes back at due_ms */
    char key[];
};

struct workqueue {
    struct map entries;  /* key -> struct entry, waiting or taken */
    struct entry **heap; /* heap[1] is due first; heap[0] is not used */
    size_t heap_count;
    size_t heap_cap; /* room for every entry, so that workqueue_done cannot fail */
    uint64_t order_next;
};

struct workqueue *workqueue_new(void)
{
    return calloc(1, sizeof(struct workqueue));
}

void workqueue_free(struct workqueue *q)
{
    if (q == NULL)
        return;
    size_t it = 0;
    void *value = NULL;
    while (map_next(&q->entries, &it, NULL, &value))
        free(value);
    map_release(&q->entries);
    free(q->heap);
    free(q);
}

static bool is_before(const struct entry *a, const struct entry *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void heap_set(struct workqueue *q, size_t index, struct entry *e)
{
    q->heap[index] = e;
    e->heap_index = index;
}

static void heap_up(struct workqueue *q, struct entry *e)
{
    size_t index = e->heap_index;
    while (index > 1 && is_before(e, q->heap[index / 2])) {
        heap_set(q, index, q->heap[index / 2]);
        index /= 2;
    }
    heap_set(q, index, e);
}

static void heap_down(struct workqueue *q, struct entry *e)
{
    size_t index = e->heap_index;
    for (;;) {
        size_t child = index * 2;
        if (child > q->heap_count)
            break;
        if (child < q->heap_count && is_before(q->heap[child + 1], q->heap[child]))
            child++;
        if (!is_before(q->heap[child], e))
            break;
        heap_set(q, index, q->heap[child]);
        index = child;
    }
    heap_set(q, index, e);
}

static void heap_push(struct workqueue *q, struct entry *e)
{
    e->order = q->order_next++;
    q->heap_count++;
    heap_set(q, q->heap_count, e);
    heap_up(q, e);
}

static void heap_remove(struct workqueue *q, struct entry *e)
{
    size_t index = e->heap_index;
    struct entry *last = q->heap[q->heap_count];
    q->heap_count--;
    e->heap_index = 0;
    if (last == e)
        return;
    heap_set(q, index, last);
    heap_up(q, last);
    heap_down(q, last);
}

static int heap_reserve(struct workqueue *q, size_t count)
{
    if (count < q->heap_cap)
        return 0;
    size_t cap = q->heap_cap == 0 ? 64 : q->heap_cap * 2;
    struct entry **heap = reallocarray(q->heap, cap, sizeof(*heap));
    if (heap == NULL)
        return -1;
    q->heap = heap;
    q->heap_cap = cap;
    return 0;
}

static struct entry *entry_new(struct workqueue *q, const char *key)
{
    if (heap_reserve(q, q->entries.count + 1) != 0)
        return NULL;
    size_t size = strlen(key) + 1;
    struct entry *e = calloc(1, sizeof(*e) + size);
    if (e == NULL)
        return NULL;
    memcpy(e->key, key, size);
    if (map_put(&q->entries, key, e, NULL) != 0) {
        free(e);
        return NULL;
    }
    return e;
}

int workqueue_add(struct workqueue *q, const char *key, int64_t due_ms)
{
    struct entry *e = map_get(&q->entries, key);
    if (e == NULL) {
        e = entry_new(q, key);
        if (e == NULL)
            return -1;
        e->due_ms = due_ms;
        heap_push(q, e);
    } else if (e->taken) {
        if (!e->again || due_ms < e->due_ms)
            e->due_ms = due_ms;
        e->again = true;
    } else if (due_ms < e->due_ms) {
        e->due_ms = due_ms;
        heap_up(q, e);
    }
    return 0;
}

const char *workqueue_take(struct workqueue *q, int64_t now_ms)
{
    if (q->heap_count == 0 || q->heap[1]->due_ms > now_ms)
        return NULL;
    struct entry *e = q->heap[1];
    heap_remove(q, e);
    e->taken = true;
    e->again = false;
    return e->key;
}

/* key may be the entry's own text, so the entry goes last. */
static void entry_free(struct workqueue *q, struct entry *e)
{
    map_remove(&q->entries, e->key);
    free(e);
}

void workqueue_done(struct workqueue *q, const char *key)
{
    struct entry *e = map_get(&q->entries, key);
    if (e == NULL || !e->taken)
        return;
    e->taken = false;
    if (e->again) {
        e->again = false;
        heap_push(q, e);
    } else {
        entry_free(q, e);
    }
}

void workqueue_drop(struct workqueue *q, const char *key)
{
    struct entry *e = map_get(&q->entries, key);
    if (e == NULL)
        return;
    if (e->taken) {
        e->again = false;
    } else {
        heap_remove(q, e);
        entry_free(q, e);
    }
}

int64_t workqueue_next_due_ms(const struct workqueue *q)
{
    return q->heap_count > 0 ? q->heap[1]->due_ms : INT64_MAX;
}

size_t workqueue_depth(const struct workqueue *q)
{
    return q->heap_count;
}

int64_t workqueue_backoff_ms(unsigned tries, int64_t cap_ms, uint32_t random)
{
    int64_t delay = BACKOFF_BASE_MS;
    for (unsigned n = 0; n < tries && delay < cap_ms; n++) {
        if (delay > INT64_MAX / 2)
            break;
        delay *= 2;
    }
    if (delay > cap_ms)
        delay = cap_ms > 0 ? cap_ms : 0;
    int64_t quarter = delay / 4;
    int64_t extra = (int64_t)((double)quarter * ((double)random / (double)UINT32_MAX));
    return delay > INT64_MAX - extra ? INT64_MAX : delay + extra;
}
