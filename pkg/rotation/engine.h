/* SPDX-License-Identifier: Apache-2.0
 *
 * engine: the planned rotation of one algorithm of one realm: which single change to Keycloak comes
 * next, what it waits for, and what is remembered. Total and pure: no I/O, clock, allocation, log
 * or randomness. Pre-publication after RFC 7583, stricter than Keycloak's own advice: a key signs
 * only after every consumer has been proven to trust it, and leaves only after its last signature
 * can have expired.
 *
 * What is true of a key is what /keys says. What is remembered (struct rotation_record, struct
 * key_record) only adds times and wishes, and is checked against /keys at each pass, since a server
 * may step back. Unknown age counts as zero. A key whose past is unknown counts as having signed.
 *
 * Intent first: a change is put into the plan only when the same change stands in the view's
 * intent, which is what the API server has acknowledged. So every write to Keycloak is in status
 * before it is sent, and a successor knows what may have happened.
 *
 * Times are seconds since 1970 UTC, 0 = unknown or never. Texts of the plan are the view's, or
 * written into the plan. */
#ifndef KEYTURN_ROTATION_ENGINE_H
#define KEYTURN_ROTATION_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/limits.h"

#define ENGINE_TEXT_MAX 512
#define ENGINE_COMMAND_MAX 1024 /* as much as status takes */

/* After RFC 7583. Removed: disabled in Keycloak, deleted after a grace where it is ours. */
enum key_lifecycle {
    LIFECYCLE_UNKNOWN,
    LIFECYCLE_GENERATED,
    LIFECYCLE_PUBLISHED,
    LIFECYCLE_READY,
    LIFECYCLE_ACTIVE,
    LIFECYCLE_RETIRED,
    LIFECYCLE_RETIRING,
    LIFECYCLE_REMOVED,
};
const char *key_lifecycle_name(enum key_lifecycle lifecycle);
bool key_lifecycle_parse(const char *text, enum key_lifecycle *ret);
/* Not in any trust set, while it is not ACTIVE in Keycloak. */
bool key_lifecycle_untrusted(enum key_lifecycle lifecycle);

struct key_record {
    enum key_lifecycle lifecycle;
    int64_t published_s; /* first seen served and trusted */
    int64_t ready_s;     /* every consumer proven, and overlap.publish over */
    int64_t active_s;    /* may have signed since; 0: never signed */
    int64_t retired_s;   /* first seen not ACTIVE after it was */
    int64_t removed_s;   /* first seen DISABLED after it left the consumers */
    uint64_t retired_by; /* number of the rotation that demoted it; 0: somebody else did */
    bool retire_approved;
    int64_t tokens_live_s; /* the longest that the realm's settings made it while tokens of the key
                              were about; 0 unless overlap.retire is auto */
};

enum key_standing { STANDING_ACTIVE, STANDING_PASSIVE, STANDING_DISABLED }; /* in /keys */

struct engine_key {
    const char *kid;
    uint64_t number; /* of the rotation whose component it is; 0: found in the realm */
    enum key_standing standing;
    bool signs;           /* /keys.active of the algorithm */
    bool served;          /* the JWKS shows it */
    bool trusted;         /* it is in the trust set */
    bool wrapper_expired; /* its provider then takes no write without a certificate */
    int64_t priority;
    struct key_record record;
};

enum change_kind {
    CHANGE_NONE,
    CHANGE_CREATE,  /* enabled, not active, under the component of `number` */
    CHANGE_PROMOTE, /* active, with `priority` */
    CHANGE_DEMOTE,  /* not active */
    CHANGE_DISABLE, /* not enabled */
    CHANGE_DELETE,
};
const char *change_kind_name(enum change_kind kind);
bool change_kind_parse(const char *text, enum change_kind *ret);

struct change { /* one write to Keycloak */
    enum change_kind kind;
    uint64_t number; /* CREATE */
    const char *kid; /* the others */
    int64_t at_s;    /* when it was first intended */
    int64_t priority;
};

enum rotation_reason { REASON_STANDBY, REASON_SCHEDULE, REASON_REQUEST, REASON_ROLLBACK };
const char *rotation_reason_name(enum rotation_reason reason);
bool rotation_reason_parse(const char *text, enum rotation_reason *ret);

struct rotation_record {
    uint64_t number; /* 0: none yet */
    enum rotation_reason reason;
    const char *kid;  /* of the key that is to sign; NULL until it is there */
    const char *from; /* that signed when it began, then when the promotion was intended */
    int64_t started_s;
    int64_t requested_s; /* 0: only a standby is being prepared */
    const char *requested_by;
    const char *note;  /* the person's reason */
    int64_t standby_s; /* it was Ready before anybody asked for it */
    int64_t approved_s;
    const char *approved_by;
    int64_t promoted_s;  /* the promotion was intended: kid counts as signing */
    int64_t confirmed_s; /* a fresh token proved it */
    int64_t done_s;      /* nothing else is ACTIVE; or aborted, or lost */
    bool aborting;
    int64_t aborted_s; /* the last abort: a schedule counts from then */
};

enum operation_kind {
    OPERATION_NONE,
    OPERATION_ROTATE,
    OPERATION_PROMOTE,
    OPERATION_RETIRE,
    OPERATION_ROLLBACK,
    OPERATION_ABORT,
    OPERATION_UNKNOWN, /* the annotation says something else */
};
const char *operation_kind_name(enum operation_kind kind);
bool operation_kind_parse(const char *text, enum operation_kind *ret);

struct operation { /* what a person commands, as an annotation */
    enum operation_kind kind;
    uint64_t number;
    const char *kid; /* NULL: none named */
    const char *by, *note;
    int64_t at_s;        /* taken then; 0: not yet */
    const char *refused; /* why it was; NULL: accepted */
    bool cleared;        /* seen taken off since: the same once more is a new command */
};

struct key_policy { /* spec.key, schedule, overlap and approval, as far as they decide */
    bool standby, adopt, take_over;
    int64_t every_s;   /* 0: only on request */
    int64_t publish_s; /* overlap.publish */
    int64_t retire_s;  /* overlap.retire, computed; -1 unknown */
    bool retire_auto;  /* it comes from settings that may have been longer before */
    int64_t delete_s;  /* from disabled to deleted */
    bool promote_manual, retire_manual, two_person;
    int64_t priority_max; /* largest that the server and SAML sort well */
};

struct engine_view {
    int64_t now_s;
    const char *name, *namespace; /* for commands in messages */
    struct key_policy policy;
    bool suspended;
    const char *owner;         /* an older KeyRotation of this realm, NULL none */
    const char *foreign_claim; /* a component of another KeyRotation's uid, NULL none */
    bool misplaced;            /* the key of the last rotation is there, of another algorithm */
    bool readable;             /* the last readings are good and complete */
    const char *unreadable_why;
    bool fresh;    /* they were taken after our last write was answered, and are young */
    bool slow;     /* they come too old, time and again */
    bool recorded; /* status as seen holds our last status write */
    bool window_open;
    int64_t window_opens_s;     /* INT64_MAX: never */
    const char *window_trouble; /* a window that cannot be computed, NULL none */
    const char *retire_why;     /* what retire_s comes from, or why it is unknown */
    bool proven;                /* every consumer's pods have loaded the present trust set */
    const char *unproven;       /* the first consumer that has not, and why */
    int64_t proven_at_s;        /* when it will be, by time alone; INT64_MAX unknown */
    bool verified; /* each consumer's object was read back or written since the promotion was
                      intended */
    const char *minted_kid;      /* of a token asked for since then; NULL none */
    bool minted_other_algorithm; /* it was signed by another algorithm: it proves nothing */
    const char *change_trouble;  /* why the intended change failed, NULL it did not */
    bool change_hopeless;        /* and that trying again will not mend it */
    int64_t change_retry_s;
    uint64_t highest_number; /* among our components' names */
    const char *gone_kid;    /* trusted, not ours to remove yet, and not in /keys; NULL none */
    struct rotation_record record;
    struct change intent;
    struct operation operation;    /* the annotation */
    struct operation taken;        /* the last that was taken */
    const char *unvouched;         /* why nobody vouches for who commands, NULL else */
    bool vouch_unknown;            /* whether somebody does; the command waits */
    const struct engine_key *keys; /* of the algorithm, DISABLED ones too */
    size_t keys_count;
};

/* How a person sees it. */
enum engine_phase {
    ENGINE_STEADY,
    ENGINE_PUBLISHING,
    ENGINE_AWAITING_PROMOTION,
    ENGINE_PROMOTING,
    ENGINE_OVERLAP,
    ENGINE_AWAITING_RETIREMENT,
    ENGINE_RETIRING,
    ENGINE_BLOCKED,
};
const char *engine_phase_name(enum engine_phase phase);

struct engine_plan {
    enum engine_phase phase;
    const char *check; /* name of the check that decided */
    uint32_t fired;    /* bits of all checks that applied, by their place in the table */
    char message[ENGINE_TEXT_MAX];
    char command[ENGINE_COMMAND_MAX]; /* what a person can do about it, or begin in Steady; ""
                                         nothing */
    struct operation wanted;          /* the same, where it is a command; NONE else */
    const char *next_step;            /* what comes next */
    int64_t next_at_s;                /* earliest, INT64_MAX unknown */
    const char *finding;              /* reason why keys are not as expected, NULL they are */
    char finding_text[ENGINE_TEXT_MAX];
    struct rotation_record record;
    struct key_record keys[LIMIT_KEYS]; /* as the view's */
    struct change intent;               /* to be recorded */
    struct change change;               /* to be sent now */
    bool mint;                          /* a fresh token is wanted */
    struct operation taken;             /* to be recorded */
    bool clear_operation;               /* the annotation has been taken */
    const char *ended; /* a rotation ends with this pass: "Promoted", "RolledBack", "Aborted",
                          "KeyLost"; NULL none */
    int64_t again_at_s;
};

/* Member by member: texts by content. */
bool key_record_equal(const struct key_record *a, const struct key_record *b);
bool change_equal(const struct change *a, const struct change *b);
bool rotation_record_equal(const struct rotation_record *a, const struct rotation_record *b);
bool operation_equal(const struct operation *a, const struct operation *b);
/* The same command: what, for which rotation and key, by whom. */
bool operation_is_same(const struct operation *a, const struct operation *b);

/* The line by which a person gives a command; kid NULL where none is named. Words are quoted for a
 * POSIX shell: whoever may make keys chooses their kids; one that cannot be a word is KID. "" where
 * the line does not fit. */
void operation_line(const char *namespace, const char *name, const struct operation *operation,
                    char out[ENGINE_COMMAND_MAX]);

void engine_decide(const struct engine_view *view, struct engine_plan *plan);

/* NULL, or the invariant that sending plan->change in this view would break. Asked at the end of
 * engine_decide, and by the model. */
const char *engine_unsafe(const struct engine_view *view, const struct engine_plan *plan);

/* When removal of a retired key is due; INT64_MAX unknown. */
int64_t engine_removable_s(const struct key_policy *policy, const struct key_record *record);

/* When the schedule wants the key that signs (its place among the view's keys) to be rotated. */
int64_t engine_rotates_s(const struct engine_view *view, const struct rotation_record *rotation,
                         const struct key_record *record, int signer);

/* The table of checks: names in order, NULL past the end. */
const char *engine_check_name(size_t i);
/* When it applies, in a few words. */
const char *engine_check_means(size_t i);

#endif
