/* SPDX-License-Identifier: Apache-2.0
 *
 * decide: from a view of the world to a plan. Total and pure: no I/O, clock, allocation, log or
 * randomness; the same view gives the same plan. A table of named checks, of which the first that
 * applies gives phase, reason and message; it is the documentation of what Ready means. Arrays of
 * the plan are the caller's, as large as the view's. Messages are written into the plan. Times are
 * seconds since 1970 UTC. */
#ifndef KEYTURN_ROTATION_DECIDE_H
#define KEYTURN_ROTATION_DECIDE_H

#include "base/err.h"
#include "rotation/model.h"

#define PLAN_MESSAGE_MAX 640
#define WARN_EXPIRED (-1) /* as a threshold index */

struct view_source {     /* a poll: Admin API, JWKS or discovery */
    bool used;           /* this KeyRotation needs it */
    bool read;           /* a good answer has been seen */
    bool polled;         /* the first poll has ended */
    enum err_class err;  /* of the last poll; ERR_NONE when it was good */
    const char *reason;  /* word for the Ready condition, NULL: what the class says */
    const char *message; /* its sentence */
};

enum issuer_finding {
    ISSUER_UNCHECKED,    /* no discovery yet, or nothing to compare */
    ISSUER_MATCHES,      /* discovery says what spec.issuer.url says */
    ISSUER_DISCOVERED,   /* taken from discovery, which names a public host */
    ISSUER_FOLLOWS_HOST, /* the server echoes the address it is asked at */
    ISSUER_IN_CLUSTER,   /* an in-cluster alias is used as the issuer */
    ISSUER_DIFFERS,
};

struct view_key {
    const char *kid;
    const char *algorithm;
    enum key_state state;
    bool signs; /* the key that signs for its algorithm, as /keys.active says */
    bool certificate_unreadable;
    bool withheld;                /* leaving the consumers: published no more */
    int64_t not_after_s;          /* 0: no certificate */
    const char *const *announced; /* texts of thresholds announced for this certificate */
    size_t announced_count;
};

enum object_finding {
    OBJECT_UNKNOWN, /* has to be written to be known: a Secret that was never written */
    OBJECT_MISSING,
    OBJECT_STALE,   /* ours, with other content than wanted */
    OBJECT_CURRENT, /* ours, and as wanted */
    OBJECT_FOREIGN, /* exists and is not ours */
    OBJECT_TAKEN,   /* an older KeyRotation publishes it */
    OBJECT_TOO_LARGE,
};

struct view_consumer {
    const struct consumer_spec *spec;
    enum object_finding object;
    bool writing;            /* a write is under way */
    int64_t resync_at_s;     /* a CURRENT one is written again then, to repair edits; INT64_MAX
                                never */
    int64_t retry_at_s;      /* after a failed write: not before; 0 = no failure */
    const char *failure;     /* sentence of the last failed write, or NULL */
    const char *owner;       /* TAKEN: name of the KeyRotation */
    const size_t *workloads; /* indices into view.workloads */
    size_t workloads_count;
};

struct view_workload {
    enum workload_kind kind;
    const char *name;
    bool exists;
    bool annotated;     /* its pod template has the wanted hash */
    bool annotating;    /* a patch is under way */
    int64_t ready_at_s; /* when its objects have all been written long enough to restart; INT64_MAX:
                           not all are */
    const char *waits_for;    /* the object that is not written yet, NULL none */
    int64_t reverted_until_s; /* somebody took our annotation away: not again before; 0 = no */
    int64_t retry_at_s;
    const char *failure;
    int64_t pods_ready, pods_wanted; /* of the new template */
    bool rolled; /* rollout of this template is finished and no pod lacks the hash */
    const char
        *stuck; /* sentence why it cannot roll by itself (paused, OnDelete, deadline), or NULL */
};

struct rotation_view {
    int64_t now_s;
    const struct rotation_spec *spec;
    const char *name, *namespace;
    const char *spec_error;
    struct view_source admin, jwks, discovery, ca;
    bool fence_needed; /* a Secret is among the consumers and the fence is not waived */
    bool fence_proven;
    const char *fence_message;
    enum issuer_finding issuer;
    const char *issuer_wanted, *issuer_found;
    const struct view_key *keys;
    size_t keys_count;
    bool memory_loaded;      /* what was trusted before is known (or known to be nothing) */
    bool noted;              /* a process after this one would know the same keys */
    bool replaced;           /* keys are held */
    const char *acknowledge; /* the value that acknowledges the reading */
    bool disagrees;
    bool incomplete; /* the reading has a signing key that cannot be read */
    const char *incomplete_why;
    size_t overflow;
    const char *reused_kid;
    const char *duplicate_kid;
    const char *lost_kid; /* trusted before a restart, and gone with the record */
    const struct view_consumer *consumers;
    size_t consumers_count;
    const struct view_workload *workloads;
    size_t workloads_count;
};

/* What there is to say about a consumer; plan_consumer_says makes the sentence. */
enum consumer_say {
    SAY_NOTHING,
    SAY_FOREIGN,
    SAY_TAKEN,
    SAY_TOO_LARGE,
    SAY_WRITE_FAILED,
    SAY_NO_KEYS,
    SAY_NO_FENCE,
    /* of a workload */
    SAY_MISSING,
    SAY_PATCH_FAILED,
    SAY_REVERTED,
    SAY_STUCK,
    SAY_ROLLING,
};

struct plan_consumer {
    bool write;
    enum consumer_state state;
    enum consumer_say say;
    size_t workload; /* it is about, an index into view.workloads */
    int64_t pods_ready, pods_wanted;
};

struct plan_warning {
    size_t key;
    int threshold; /* index into spec.warn_before, or WARN_EXPIRED */
};

struct plan_condition {
    enum condition_status status;
    const char *reason;
    char message[PLAN_MESSAGE_MAX];
};

struct rotation_plan {
    enum rotation_phase phase;
    struct plan_condition conditions[CONDITION_COUNT];
    const char *active_kid; /* of the view's keys */
    int64_t cert_expires_s;
    size_t up_to_date; /* consumers */
    /* The first consumer in each state; view.consumers_count: none. */
    size_t first[CONSUMER_STATE_COUNT];
    int64_t again_at_s; /* something becomes due then; INT64_MAX: nothing */
    bool premature;     /* what was said before stands: keys are remembered, and a source is still
                           unread */
    struct plan_consumer *consumers; /* caller's, view.consumers_count */
    bool *restart;                   /* caller's, view.workloads_count */
    struct plan_warning
        *warnings; /* caller's, view.keys_count: the nearest threshold of each key counts */
    size_t warnings_count;
};

void rotation_decide(const struct rotation_view *view, struct rotation_plan *plan);

/* False: there is nothing to say, and out is "". */
bool plan_consumer_says(const struct rotation_view *view, const struct rotation_plan *plan,
                        size_t consumer, char out[PLAN_MESSAGE_MAX]);

/* The table of checks, for docs and tests: names in order, NULL past the end. */
const char *rotation_check_name(size_t i);

#endif
