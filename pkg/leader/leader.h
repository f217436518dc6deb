/* SPDX-License-Identifier: Apache-2.0
 *
 * leader: who leads, decided from a Lease (coordination.k8s.io/v1) as client-go's leaderelection
 * does: only a *change* of the record seen on our own clock counts, never the wall clock inside it.
 * Pure. Times are milliseconds of CLOCK_BOOTTIME. */
#ifndef KEYTURN_LEADER_LEADER_H
#define KEYTURN_LEADER_LEADER_H

#include <stdbool.h>
#include <stdint.h>

#define LEADER_LEASE_MS 15000 /* others wait this long after the last change they saw */
#define LEADER_RENEW_MS \
    10000 /* we stop leading this long after the start of our last good renewal */
#define LEADER_RETRY_MS 2000
#define LEADER_LEASE_MAX_MS \
    300000 /* an absurd leaseDurationSeconds does not keep everybody out for ever */

struct leader_record { /* the parts of LeaseSpec that decide */
    char holder[256];  /* "" = released */
    char renew_time[32];
    char acquire_time[32];
    int64_t duration_ms;
    int64_t transitions;
    char resource_version[32];
};

struct leader {
    char identity[256];
    bool record_known; /* false: READ comes next; record is what we last saw all the same */
    struct leader_record record; /* resource_version "": there is no Lease */
    int64_t observed_ms;         /* when record last changed before our eyes */
    int64_t seen_ms;             /* when we last looked */
    int64_t not_before_ms;       /* next request after a failed write */
    int64_t renewed_ms;          /* start of our last successful write; meaningful while leading */
    bool leading;
};

enum leader_action {
    LEADER_WAIT,   /* look again at next_ms */
    LEADER_READ,   /* GET the Lease */
    LEADER_CREATE, /* POST it */
    LEADER_WRITE,  /* PUT it with record.resource_version: acquire or renew */
};

struct leader_step {
    enum leader_action action;
    struct leader_record
        write; /* for CREATE and WRITE; renew_time and acquire_time left to the caller if "" */
    int64_t next_ms; /* WAIT: ask again then. Others: ask again then when no answer has come */
};

void leader_init(struct leader *l, const char *identity);
/* What to do now. A holder is waited for as long as its record says, yet LEADER_LEASE_MS at least
 * (we stop leading by LEADER_RENEW_MS whatever somebody wrote into our record) and
 * LEADER_LEASE_MAX_MS at most. */
void leader_next(const struct leader *l, int64_t now_ms, struct leader_step *ret);
/* An answer to READ: record, or NULL for 404. Ends `leading` when another holds the Lease, when it
 * is gone, or when our time is over (then it must be won anew). A READ that failed is not told: ask
 * leader_next again at next_ms. */
void leader_saw(struct leader *l, const struct leader_record *record, int64_t now_ms);
/* An answer to CREATE or WRITE that was sent at sent_ms: success with the stored record, or NULL
 * for a failure (conflict or lost answer: the record is forgotten and read again). */
void leader_wrote(struct leader *l, const struct leader_record *stored, int64_t sent_ms,
                  int64_t now_ms);
/* True while a write may be sent: leading and within LEADER_RENEW_MS of the last renewal. To be
 * asked before each send; margin_ms is the deadline of the request about to be sent. */
bool leader_may_write(const struct leader *l, int64_t now_ms, int64_t margin_ms);
/* The record to write for a release (holder "", duration 1 s; renew_time left to the caller). False
 * when not leading. From then on nothing may be written, and leader_next is not asked any more. */
bool leader_release(struct leader *l, struct leader_record *ret_write);

#endif
