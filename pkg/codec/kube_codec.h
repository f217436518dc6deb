/* SPDX-License-Identifier: Apache-2.0
 *
 * kube_codec: Kubernetes objects <-> structs. Only the fields that Keyturn needs; everything else
 * is skipped. Every *_new returns one malloc'ed object that *_free gives back whole; its first
 * member is struct object_meta, so that kube/watcher.h can hold any of them. Absent integers are 0
 * as in Go's omitempty, but spec.replicas, which is 1. */
#ifndef KEYTURN_CODEC_KUBE_CODEC_H
#define KEYTURN_CODEC_KUBE_CODEC_H

#include <jansson.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "jose/key.h"
#include "leader/leader.h"
#include "rotation/model.h"
#include "trust/trust.h"

#define LABEL_MANAGED_BY "app.kubernetes.io/managed-by" /* = "keyturn" */
#define LABEL_ROTATION "keyturn.dev/rotation"
#define LABEL_RECORD "keyturn.dev/record"
#define ANNOTATION_HASH "keyturn.dev/trust-hash"
#define ANNOTATION_CONSUMER "keyturn.dev/consumer"
#define ANNOTATION_ADOPT "keyturn.dev/adopt"
#define ANNOTATION_REFRESH "keyturn.dev/refresh"
#define ANNOTATION_ACKNOWLEDGE "keyturn.dev/acknowledge"
#define ANNOTATION_OPERATION "keyturn.dev/operation"
#define ANNOTATION_OPERATION_FOR "keyturn.dev/operation-for"
#define ANNOTATION_OPERATION_BY "keyturn.dev/operation-by"
#define ANNOTATION_REASON "keyturn.dev/reason"
#define ANNOTATION_FENCE_RULES "keyturn.dev/fence-rules"
#define FINALIZER_PUBLISHED "keyturn.dev/published"
#define SECRET_TYPE "keyturn.dev/public-keys"

/* metadata of any object; texts in arena, "" for an absent namespace or uid. ERR_INVALID without
 * name or resourceVersion, and for names longer than any there are. */
int kube_meta_decode(const json_t *object, struct arena *arena, struct object_meta *ret,
                     struct err *err);

struct label {
    const char *key;
    const char *value;
};

enum selector_operator { SELECTOR_IN, SELECTOR_NOT_IN, SELECTOR_EXISTS, SELECTOR_DOES_NOT_EXIST };

struct selector_term { /* matchLabels become IN with one value */
    const char *key;
    enum selector_operator op;
    const char *const *values;
    size_t values_count;
};

/* Deployment, StatefulSet, DaemonSet */
struct workload_object {
    struct object_meta meta;
    enum workload_kind kind;
    const char *template_hash;            /* annotation of the pod template, NULL when absent */
    const struct selector_term *selector; /* NULL with count 0 matches nothing */
    size_t selector_count;
    int64_t observed_generation;
    int64_t desired; /* spec.replicas, or status.desiredNumberScheduled */
    int64_t total;   /* status.replicas, or currentNumberScheduled */
    int64_t updated; /* status.updatedReplicas / updatedNumberScheduled */
    int64_t ready;
    int64_t available;
    int64_t partition;      /* StatefulSet */
    bool paused;            /* Deployment */
    bool on_delete;         /* updateStrategy OnDelete: never rolls by itself */
    bool deadline_exceeded; /* condition Progressing, reason ProgressDeadlineExceeded */
    bool revisions_equal;   /* StatefulSet: currentRevision == updateRevision */
};
struct workload_object *workload_new(const json_t *object, enum workload_kind kind,
                                     struct err *err);
void workload_free(struct workload_object *w);

/* PartialObjectMetadata of a pod */
struct pod_object {
    struct object_meta meta; /* deleting: terminating */
    const char *hash;        /* annotation ANNOTATION_HASH, NULL when absent */
    const struct label *labels;
    size_t labels_count;
};
struct pod_object *pod_new(const json_t *object, struct err *err);
void pod_free(struct pod_object *p);
bool selector_matches(const struct workload_object *w, const struct pod_object *p);

/* A ConfigMap of ours (watched by label) */
struct config_map_object {
    struct object_meta meta;
    const char *rotation; /* label LABEL_ROTATION or NULL */
    const char *consumer; /* annotation */
    const char *hash;     /* annotation ANNOTATION_HASH */
    bool adopt;
    bool finalizers_or_owners;   /* somebody put some */
    char digest[JOSE_HASH_TEXT]; /* trust_files_digest of data; "" when binaryData is there too */
    const char *record; /* data["record.json"], only with LABEL_RECORD and at most 256 KiB */
};
struct config_map_object *config_map_new(const json_t *object, struct err *err);
void config_map_free(struct config_map_object *c);

/* Status of an error answer (v1 Status): fills class from code and reason, reason, and a cleaned
 * message. status: HTTP. */
void kube_error_decode(struct str body, int status, struct err *ret);

/* One watch event. object is borrowed from tree (owned by the caller). */
enum watch_event { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };
struct watch_frame {
    enum watch_event event;
    json_t *object;
    const char *resource_version; /* NULL for ERROR */
    bool initial_end;             /* bookmark with k8s.io/initial-events-end */
    struct err error;             /* for ERROR */
};
int watch_frame_decode(struct str frame, json_t **ret_tree, struct watch_frame *ret,
                       struct err *err);

/* ValidatingAdmissionPolicy and its binding (admissionregistration.k8s.io/v1). */
struct admission_policy {
    int64_t rules;     /* ANNOTATION_FENCE_RULES; 0 when absent or no number */
    bool fails_closed; /* failurePolicy Fail, which is the default */
};
struct admission_binding {
    char policy[LIMIT_NAME + 1];
    bool denies;   /* validationActions holds Deny */
    bool narrowed; /* it has matchResources or a paramRef */
};
int admission_policy_decode(struct str body, struct admission_policy *ret, struct err *err);
int admission_binding_decode(struct str body, struct admission_binding *ret, struct err *err);

int lease_decode(struct str body, struct leader_record *ret, struct err *err);
/* Whole Lease for POST or PUT. */
void lease_encode(const char *namespace, const char *name, const struct leader_record *record,
                  struct buf *out);

/* A published object, for POST (resource_version NULL) or PUT (may be NULL then too:
 * unconditional). */
struct published_object {
    enum object_kind kind;
    const char *namespace, *name, *rotation, *consumer, *hash;
    const char *uid;              /* precondition, or NULL */
    const char *resource_version; /* precondition, or NULL */
    const char *secret_type;      /* NULL = SECRET_TYPE */
    bool adopt;                   /* carries the adopt annotation */
    bool record;                  /* LABEL_RECORD */
    const struct trust_files *files;
};
void published_encode(const struct published_object *object, struct buf *out);

/* events.k8s.io/v1 Event. note is cut to 1024 bytes. */
struct event_object {
    const char *namespace, *name; /* the Event's own */
    bool warning;
    const char *reason, *action, *note;
    const char *regarding_name, *regarding_uid; /* a KeyRotation in namespace */
    const char *regarding_resource_version;
    const char *instance; /* reportingInstance */
    int64_t time_us;
};
void event_encode(const struct event_object *event, struct buf *out);

/* Merge patch that sets the trust hash on a pod template, with uid and resourceVersion as
 * preconditions. */
void restart_patch_encode(const struct object_meta *meta, const char *hash, struct buf *out);

#endif
