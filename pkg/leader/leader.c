/* SPDX-License-Identifier: Apache-2.0 */
#include "leader/leader.h"

#include <string.h>
#include "base/str.h"

#define RELEASE_MS 1000 /* the shortest leaseDurationSeconds the API takes */

void leader_init(struct leader *l, const char *identity)
{
    *l = (struct leader){0};
    /* A name cut short is still our own as long as it is compared with itself. */
    (void)text_format(l->identity, sizeof(l->identity), "%s", identity);
}

static int64_t wait_ms(const struct leader_record *r)
{
    if (r->duration_ms < LEADER_LEASE_MS)
        return LEADER_LEASE_MS;
    return r->duration_ms > LEADER_LEASE_MAX_MS ? LEADER_LEASE_MAX_MS : r->duration_ms;
}

static bool holds(const struct leader *l, const struct leader_record *r)
{
    return r->holder[0] != '\0' && strcmp(r->holder, l->identity) == 0;
}

static bool is_over(const struct leader *l, int64_t now_ms)
{
    return now_ms - l->renewed_ms >= LEADER_RENEW_MS;
}

/* Everything but resource_version, which changes for reasons that are no renewal (a label, an
 * annotation). */
static bool same_content(const struct leader_record *a, const struct leader_record *b)
{
    return strcmp(a->holder, b->holder) == 0 && strcmp(a->renew_time, b->renew_time) == 0 &&
           strcmp(a->acquire_time, b->acquire_time) == 0 && a->duration_ms == b->duration_ms &&
           a->transitions == b->transitions;
}

static void fill_write(const struct leader *l, struct leader_record *ret)
{
    *ret = l->record;
    ret->renew_time[0] = '\0';
    ret->duration_ms = LEADER_LEASE_MS;
    bool exists = l->record.resource_version[0] != '\0';
    if (!exists || !holds(l, &l->record)) {
        ret->acquire_time[0] = '\0';
        /* leaseTransitions is an int32 of somebody's making. */
        int64_t former = exists && ret->transitions >= 0 ? ret->transitions : -1;
        ret->transitions = former < INT32_MAX ? former + 1 : INT32_MAX;
    }
    (void)text_format(ret->holder, sizeof(ret->holder), "%s", l->identity);
}

static void set_wait(struct leader_step *ret, int64_t until_ms)
{
    ret->action = LEADER_WAIT;
    ret->next_ms = until_ms;
}

static void next_as_leader(const struct leader *l, int64_t now_ms, struct leader_step *ret)
{
    if (is_over(l, now_ms))
        ret->action = LEADER_READ; /* stopped for too long: look before anything is claimed */
    else if (now_ms < l->renewed_ms + LEADER_RETRY_MS)
        set_wait(ret, l->renewed_ms + LEADER_RETRY_MS);
    else
        ret->action = LEADER_WRITE;
}

static void next_as_follower(const struct leader *l, int64_t now_ms, struct leader_step *ret)
{
    const struct leader_record *r = &l->record;
    int64_t look_ms = l->seen_ms + LEADER_RETRY_MS;
    int64_t expiry_ms = l->observed_ms + wait_ms(r);
    bool free = r->holder[0] == '\0' || holds(l, r) || now_ms >= expiry_ms;
    if (now_ms >= look_ms)
        ret->action = LEADER_READ;
    else if (r->resource_version[0] == '\0')
        ret->action = LEADER_CREATE;
    else if (free)
        ret->action = LEADER_WRITE;
    else
        set_wait(ret, look_ms < expiry_ms ? look_ms : expiry_ms);
}

void leader_next(const struct leader *l, int64_t now_ms, struct leader_step *ret)
{
    *ret = (struct leader_step){.next_ms = now_ms + LEADER_RETRY_MS};
    if (now_ms < l->not_before_ms)
        set_wait(ret, l->not_before_ms);
    else if (!l->record_known)
        ret->action = LEADER_READ;
    else if (l->leading)
        next_as_leader(l, now_ms, ret);
    else
        next_as_follower(l, now_ms, ret);
    if (ret->action == LEADER_CREATE || ret->action == LEADER_WRITE)
        fill_write(l, &ret->write);
}

void leader_saw(struct leader *l, const struct leader_record *record, int64_t now_ms)
{
    l->seen_ms = now_ms;
    l->record_known = true;
    if (record == NULL) {
        /* Whoever creates it now leads: that may be another. */
        l->record = (struct leader_record){0};
        l->observed_ms = now_ms;
        l->leading = false;
        return;
    }
    if (!same_content(&l->record, record))
        l->observed_ms = now_ms;
    l->record = *record;
    if (!holds(l, record) || is_over(l, now_ms))
        l->leading = false;
}

void leader_wrote(struct leader *l, const struct leader_record *stored, int64_t sent_ms,
                  int64_t now_ms)
{
    if (stored == NULL) {
        /* The content is kept to be compared: a lost answer must not prolong the wait for a dead
         * holder. */
        l->record_known = false;
        l->not_before_ms = sent_ms + LEADER_RETRY_MS;
        return;
    }
    leader_saw(l, stored, now_ms);
    l->not_before_ms = 0;
    if (!holds(l, stored))
        return;
    /* An answer that took too long proves that we led once, not that we do. */
    l->renewed_ms = sent_ms;
    l->leading = !is_over(l, now_ms);
}

bool leader_may_write(const struct leader *l, int64_t now_ms, int64_t margin_ms)
{
    return l->leading && now_ms - l->renewed_ms < LEADER_RENEW_MS - margin_ms;
}

bool leader_release(struct leader *l, struct leader_record *ret_write)
{
    if (!l->leading)
        return false;
    *ret_write = l->record;
    ret_write->holder[0] = '\0';
    ret_write->renew_time[0] = '\0';
    ret_write->duration_ms = RELEASE_MS;
    l->leading = false;
    l->record_known = false;
    return true;
}
