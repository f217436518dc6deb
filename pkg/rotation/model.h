/* SPDX-License-Identifier: Apache-2.0
 *
 * model: a KeyRotation as plain data: what is asked (spec) and what is remembered and shown
 * (status). Texts are NUL-terminated and belong to whoever made the struct (an arena of the
 * decoder, or of a pass); optional texts are NULL when absent. Times are seconds since 1970 UTC, 0
 * = unknown. The API is described in crds/keyrotation.yaml; codec/rotation_codec.h turns bytes into
 * these. */
#ifndef KEYTURN_ROTATION_MODEL_H
#define KEYTURN_ROTATION_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/limits.h"
#include "rotation/engine.h"

enum object_kind { KIND_SECRET, KIND_CONFIG_MAP };
enum workload_kind {
    WORKLOAD_DEPLOYMENT,
    WORKLOAD_STATEFUL_SET,
    WORKLOAD_DAEMON_SET,
    WORKLOAD_KIND_COUNT
};
enum deletion_policy { DELETION_RETAIN, DELETION_DELETE };

const char *object_kind_name(enum object_kind kind);     /* "Secret", "ConfigMap" */
const char *workload_kind_name(enum workload_kind kind); /* "Deployment", ... */

/* What a consumer's object contains; a set of bits. */
enum publish_format {
    FORMAT_JWKS = 1,
    FORMAT_PEM = 2,
    FORMAT_X509 = 4,
    FORMAT_X5C = 8 /* x5c kept in jwks.json */
};

struct restart_spec {
    enum workload_kind kind;
    const char *name;
};

/* What shows that the pods of a consumer have loaded what was published. */
enum proof_type {
    PROOF_ROLLOUT, /* each workload of reload.restart has finished its rollout */
    PROOF_DELAY,   /* and so much time has passed since the object was written */
};

struct consumer_spec {
    const char *name;
    enum object_kind object_kind;
    const char *object_name;
    unsigned formats; /* bits of enum publish_format */
    const struct restart_spec *restarts;
    size_t restarts_count;
    enum proof_type proof;
    int64_t proof_delay_s; /* PROOF_DELAY */
};

struct key_spec {
    bool managed;          /* spec.key is there: the realm's signing key is ours to rotate */
    const char *algorithm; /* "RS256" */
    int64_t size;          /* bits of an RSA key; 0: the algorithm says it */
    bool standby, adopt, take_over;
};

struct schedule_spec {
    int64_t every_s;  /* 0: only on request */
    const char *cron; /* NULL: at any time */
    int64_t window_s;
    const char *zone; /* as written, "UTC" by default */
};

struct overlap_spec {
    int64_t publish_s;
    int64_t retire_s; /* -1: auto */
    int64_t delete_s;
};

struct approval_spec {
    bool promote_manual, retire_manual, two_person;
};

struct threshold_spec {
    const char *text; /* as written: "30d" */
    int64_t seconds;
};

struct rotation_spec {
    const char *issuer_url;    /* NULL: discovery's */
    const char *jwks_url;      /* NULL: from keycloak, else discovery's */
    const char *ca_config_map; /* NULL: the system's bundle */
    const char *ca_key;
    const char *keycloak_url; /* NULL: read-only, no Admin API */
    const char *realm;
    const char *credentials_secret;
    int64_t refresh_interval_s;
    bool suspend;
    struct key_spec key;
    struct schedule_spec schedule;
    struct overlap_spec overlap;
    struct approval_spec approval;
    struct threshold_spec warn_before[LIMIT_WARN_THRESHOLDS]; /* largest first */
    size_t warn_before_count;
    enum deletion_policy deletion_policy;
    const struct consumer_spec *consumers;
    size_t consumers_count;
};

enum condition_status { CONDITION_UNKNOWN, CONDITION_TRUE, CONDITION_FALSE };

enum condition_type {
    CONDITION_READY,
    CONDITION_RECONCILING,
    CONDITION_STALLED,
    CONDITION_CONSUMERS_UP_TO_DATE,
    CONDITION_CERTIFICATES_VALID,
    CONDITION_ISSUER_CONSISTENT,
    CONDITION_KEYS_AS_EXPECTED,
    CONDITION_COUNT,
};
const char *condition_type_name(enum condition_type type); /* "Ready", ... */

struct condition {
    enum condition_status status;
    const char *reason;  /* CamelCase, <= 128; NULL: the condition is absent */
    const char *message; /* <= 1024 bytes */
    int64_t last_transition_s;
    int64_t observed_generation;
};

/* Why a key is in the trust set, or that it is not. */
enum key_state {
    KEY_ACTIVE,   /* signs, or may */
    KEY_PASSIVE,  /* enabled, verifies only */
    KEY_LEAVING,  /* missing from a read; trusted until further reads agree */
    KEY_HELD,     /* the whole set was replaced; trusted until a person acknowledges */
    KEY_DISABLED, /* remembered until it is deleted; nobody trusts it */
};
const char *key_state_name(enum key_state state); /* "ACTIVE", ... */

struct key_status {
    const char *kid;
    const char *algorithm;
    enum key_state state;
    const char *component; /* id of the Keycloak component, NULL without Admin API */
    const char *provider;  /* its type: "rsa-generated" */
    int64_t not_after_s;   /* 0: no certificate */
    const char *spki_sha256;
    const char *announced[LIMIT_WARN_THRESHOLDS + 1]; /* thresholds said already, and "Expired" */
    size_t announced_count;
    struct key_record record; /* of a key of spec.key.algorithm, where there is spec.key */
    uint64_t rotation;        /* that made it; 0: the realm had it */
    int64_t removable_s;      /* when it may leave; 0 unknown */
};

enum consumer_state {
    CONSUMER_APPLYING,
    CONSUMER_ROLLING,
    CONSUMER_UP_TO_DATE,
    CONSUMER_FAILED,
    CONSUMER_STATE_COUNT
};
const char *consumer_state_name(enum consumer_state state);

struct consumer_status {
    const char *name;
    const char *object; /* "Secret/nats-keys" */
    const char *trust_hash;
    enum consumer_state state;
    const char *pods;    /* "2/2"; NULL where nothing is restarted */
    const char *message; /* NULL when there is nothing to say */
};

enum rotation_phase {
    PHASE_PENDING,
    PHASE_PUBLISHING,
    PHASE_ROLLING,
    PHASE_STEADY,
    PHASE_BLOCKED,
    /* of a rotation, see engine.h */
    PHASE_AWAITING_PROMOTION,
    PHASE_PROMOTING,
    PHASE_OVERLAP,
    PHASE_AWAITING_RETIREMENT,
    PHASE_RETIRING,
    PHASE_COUNT,
};
const char *rotation_phase_name(enum rotation_phase phase);

struct past_rotation { /* one that has ended */
    uint64_t number;
    enum rotation_reason reason;
    const char *kid;
    const char *requested_by;
    int64_t started_s, ended_s;
    const char *outcome; /* "Promoted", "RolledBack", "Aborted", "KeyLost" */
};

struct transition_status {  /* what comes next */
    const char *step;       /* NULL: nothing */
    int64_t at_s;           /* earliest; 0 unknown */
    const char *blocked_by; /* what it waits for */
    const char *command;    /* the line that lets it go on; NULL none */
};

struct rotation_status {
    int64_t observed_generation;
    enum rotation_phase phase;
    const char *realm;
    const char *active_kid;
    const char *issuer_url;
    const char *jwks_url;
    int64_t cert_expires_s; /* earliest of the enabled keys' wrappers, 0: none */
    const char *refreshed;  /* last annotation value of keyturn.dev/refresh that was served */
    const char *consumers_up_to_date; /* "3/3" */
    const struct key_status *keys;
    size_t keys_count;
    const struct consumer_status *consumers;
    size_t consumers_count;
    const char *next_kid;
    struct rotation_record rotation;
    struct change change;       /* the intent: what is written to Keycloak next, or was last */
    struct operation operation; /* the last that was taken */
    struct transition_status next;
    const struct past_rotation *history; /* the newest first, at most LIMIT_HISTORY */
    size_t history_count;
    struct condition conditions[CONDITION_COUNT];
};

/* metadata common to all objects we hold */
struct object_meta {
    const char *namespace;
    const char *name;
    const char *uid;
    const char *resource_version;
    int64_t generation;
    int64_t created_s;
    bool deleting; /* deletionTimestamp is set */
};

struct rotation_object {
    struct object_meta meta;
    struct rotation_spec spec;
    struct rotation_status status;
    const char *refresh;     /* annotation keyturn.dev/refresh */
    const char *acknowledge; /* annotation keyturn.dev/acknowledge */
    struct operation
        operation;  /* annotations keyturn.dev/operation, operation-for, operation-by, reason */
    bool finalizer; /* has keyturn.dev/published */
    size_t finalizer_index; /* its place among all finalizers, when it has it */
    size_t finalizers_count;
    const char *spec_error; /* not NULL: the spec cannot be used; a sentence that says why */
};

#endif
