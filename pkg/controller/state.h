/* SPDX-License-Identifier: Apache-2.0
 *
 * state: what the controller remembers of one KeyRotation between passes. Everything here may be
 * lost at any moment (a restart, another leader): a pass rebuilds it from the world. Each room of
 * the controller works on its own part; the structs stand here together because a pass walks all of
 * them. */
#ifndef KEYTURN_CONTROLLER_STATE_H
#define KEYTURN_CONTROLLER_STATE_H

#include "base/arena.h"
#include "base/map.h"
#include "controller/neighbours.h"
#include "controller/world.h"
#include "keycloak/source.h"
#include "rotation/keyset.h"
#include "trust/trust.h"

struct controller;

/* One trusted key. */
struct known_key {
    struct jose_key *key; /* a reference */
    enum key_state state;
    bool signs;
    bool certificate_unreadable;
    bool withheld; /* leaving the consumers: in no trust set; see rotate.h */
    unsigned misses;
    int64_t missed_ms;
    char component[64], provider[64];
};

/* What was last said about the keys; owned by known.c. */
struct known {
    struct known_key *keys; /* malloc'ed */
    size_t count;
    bool loaded;      /* the memory of an earlier process was read, or there is none */
    uint64_t version; /* grows with each change */
    uint64_t seen[SOURCE_KIND_COUNT]; /* numbers of the readings that were folded in */
    bool replaced, disagrees, incomplete;
    int64_t disagrees_ms; /* when the first reading of this disagreement was taken; 0: none */
    size_t overflow;
    char *incomplete_why, *reused_kid, *duplicate_kid; /* malloc'ed or NULL */
    char *lost_kid; /* a key that had left the realm, and is not in the record; or NULL */
    char acknowledge[TRUST_HASH_TEXT]; /* what acknowledges the last reading */
};

/* One combination of formats, made once for each version of the set. */
struct rendering {
    bool made, too_large;
    char hash[TRUST_HASH_TEXT];
    char digest[JOSE_HASH_TEXT];
    struct trust_files files; /* see state_files */
};

enum object_step { OBJECT_PUT, OBJECT_POST, OBJECT_LOOK, OBJECT_ADOPT };

/* One published object, or the record; owned by publish.c. */
struct object_slot {
    struct rotation_state *state;
    char *consumer; /* NULL: the record */
    enum object_kind kind;
    char *name;
    struct neighbour neighbour; /* of those that publish an object of this name */
    size_t place;               /* among spec.consumers */
    unsigned formats;
    struct kube_call *call;
    enum object_step step;
    char sent_digest[JOSE_HASH_TEXT], sent_hash[TRUST_HASH_TEXT];
    char acked_digest[JOSE_HASH_TEXT]; /* "" = nothing acknowledged by this process */
    int64_t acked_ms;   /* when content of the acknowledged digest was first acknowledged */
    int64_t resync_ms;  /* Secrets: to be written again then */
    char version[32];   /* resourceVersion of the last acknowledged write, "" unknown */
    int64_t sent_ms;    /* of the write under way */
    int64_t checked_ms; /* when the last acknowledged write was sent: it was as wanted since then */
    bool checking;      /* it is as wanted, and written once more only to be sure */
    bool foreign, adopted;
    bool repairing;   /* the write under way undoes somebody's edit */
    unsigned repairs; /* in a row; who edits it again and again is answered ever more slowly */
    int64_t repaired_ms;
    char *failure;
    unsigned tries;
    int64_t retry_ms;
};

/* One workload to restart; owned by restart.c. */
struct workload_slot {
    struct rotation_state *state;
    enum workload_kind kind;
    char *name;
    struct neighbour neighbour; /* of those that restart this workload */
    struct kube_call *call;
    char sent_hash[TRUST_HASH_TEXT];
    char acked_hash[TRUST_HASH_TEXT]; /* of our last acknowledged patch */
    char version[32];
    int64_t acked_ms;
    char uid[64];     /* of the workload that all of this is about */
    unsigned reverts; /* times that somebody took the annotation off, in a row */
    size_t *objects;  /* indices of the objects it reads, into state->objects; part of readers */
    size_t objects_count;
    char rolled_version[32]; /* resourceVersion at which the rollout of rolled_hash was seen
                                finished */
    char rolled_hash[TRUST_HASH_TEXT];
    char *failure;
    unsigned tries;
    int64_t retry_ms;
};

struct issuer_links { /* owned by issuer.c */
    struct source *sources[SOURCE_KIND_COUNT];
    char *idents[SOURCE_KIND_COUNT];
    char *ca_pem, *ca_name; /* ca_name: "name/key" that ca_pem was read from */
    struct kube_call *ca_call;
    struct err ca_err;
    bool ca_read;
    int64_t ca_due_ms;
    char *refresh;                       /* annotation value that polls were asked for */
    uint64_t awaited[SOURCE_KIND_COUNT]; /* number of the poll that serves it */
};

struct kept_change {      /* a change that outlives its pass */
    struct change change; /* but its kid */
    char *kid;
};

struct rotate_links {          /* owned by rotate.c */
    struct kept_change intent; /* as last seen in status */
    int64_t intent_ms;         /* when it was first seen there */
    int64_t verify_ms;       /* objects whose last good write is older are written again; 0: none */
    int64_t asked_ms;        /* readings asked for */
    int64_t seen_ms;         /* the Admin reading of the last pass */
    unsigned late;           /* so many have come too old, one after the other */
    int64_t mint_ms;         /* a token asked for */
    int64_t minting_ms;      /* the first one for the promotion that is to be confirmed; 0: none */
    struct kept_change sent; /* under way */
    uint64_t written;        /* number of the last write that was noted */
    char *vouch_for;         /* the command of which it was asked whether it may be believed */
    uint64_t vouch;          /* and what fences_ask() returned */
    char *trouble;           /* why it failed */
    bool hopeless;           /* and will again, until somebody mends it */
    unsigned tries;
    int64_t retry_ms;
};

/* An object that a consumer left behind, with deletionPolicy Delete; owned by lifecycle.c. */
struct leaving_slot {
    struct rotation_state *state;
    enum object_kind kind;
    char *name;
    struct kube_call *call;
    bool gone;
    char *failure;
    int64_t retry_ms;
    struct leaving_slot *next;
};

void leaving_free(struct leaving_slot *l); /* cancels its call */

struct rotation_state {
    struct controller *controller;
    char *key; /* "namespace/name" */
    char *namespace, *name, *uid;
    struct neighbour neighbour; /* of those in its namespace */
    struct neighbour rival;     /* of those that rotate the same realm */
    char realm[JOSE_HASH_TEXT]; /* which that is, "" none */
    int64_t created_s;
    bool inherited;     /* a leader before us has written for it */
    int64_t generation; /* of the spec that the slots follow */
    bool indexed;
    struct issuer_links issuer;
    struct known known;
    struct rotate_links rotate;
    struct rendering *renderings[16]; /* by bits of enum publish_format; those in use */
    uint64_t renderings_version;
    char *renderings_issuer;
    struct arena renderings_arena;
    struct object_slot **objects; /* as spec.consumers */
    size_t objects_count;
    struct workload_slot **workloads; /* distinct */
    size_t workloads_count;
    size_t *uses;              /* workload indices of all consumers, one after another */
    size_t *uses_start;        /* objects_count + 1 entries */
    size_t *readers;           /* the inverse: object indices of all workloads */
    struct map workload_index; /* "Kind/name" to workload_slot */
    struct object_slot *record;
    uint64_t record_version; /* of known, that record_digest is of */
    char record_digest[JOSE_HASH_TEXT];
    struct leaving_slot *leaving;
    struct kube_call *lifecycle_call;
    int64_t lifecycle_retry_ms;
    struct kube_call *operation_call; /* takes a command off; owned by operation.c */
    int64_t operation_retry_ms;
    struct kube_call *status_call;
    int64_t status_ms;     /* when the last status write was sent */
    unsigned status_tries; /* failed ones in a row */
    int64_t status_retry_ms;
    char status_version[32]; /* resourceVersion of our last status write */
    struct map
        events; /* names of Events said by this process: value is EVENT_SENDING or EVENT_SAID */
    size_t events_under_way;
    bool rolling;    /* last plan waited for pods */
    unsigned writes; /* under way */
    uint64_t turn; /* place in the line of those with more to write than there was room for, or 0 */
};

/* Where the KeyRotations of a namespace, or of one realm, meet: slots are their states. Borrow the
 * text. */
struct place state_place(const char *namespace);
struct place state_realm_place(const char *realm);
/* An older KeyRotation of the namespace that publishes the same object, which is then its; NULL
 * none. */
struct rotation_state *state_owner_of(const struct object_slot *o);
/* What status says of this key; NULL: nothing. */
const struct key_status *status_key(const struct rotation_status *status, const char *kid);
/* What status says of the consumer that publishes this object; NULL: nothing. */
const struct consumer_status *status_consumer(const struct rotation_status *status,
                                              const struct object_slot *o);
/* Makes slots follow spec.consumers, keeping what is known of objects that stay. -1 out of memory.
 */
int state_index(struct rotation_state *s, const struct rotation_object *object);
struct rotation_state *state_new(struct controller *c, const struct rotation_object *object);
void state_free(struct rotation_state *s); /* cancels every call of it */
/* What the files for these formats of the present trust set are like, made when needed; NULL when
 * there is no set or no memory. */
const struct rendering *state_rendering(struct rotation_state *s, unsigned formats,
                                        const char *issuer);
/* The files themselves, which are kept until state_drop_files: who has nothing to write needs only
 * their digest. NULL: there are none. */
const struct trust_files *state_files(struct rotation_state *s, unsigned formats);
void state_drop_files(struct rotation_state *s);
/* Replaces a malloc'ed text; NULL clears. */
void state_text(char **slot, const char *text);

#endif
