/* SPDX-License-Identifier: Apache-2.0
 *
 * premise: what a plan starts from: a KeyRotation in a file, with its status where it has one or as
 * a cluster has it, the realm as an export shows it, and what is assumed of everything else, in
 * words. */
#ifndef KEYTURN_CMD_PREMISE_H
#define KEYTURN_CMD_PREMISE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/zone.h"
#include "rotation/model.h"
#include "rotation/rehearsal.h"
#include "rotation/schedule.h"

#define PREMISE_LOAD_S 120 /* a rollout, where nothing is said */
#define PREMISE_ASSUMPTIONS_MAX 16

struct premise_options {
    const char *file;         /* "-" is standard input */
    const char *realm_export; /* NULL none */
    bool live;                /* status and uid as the cluster has them */
    const char *kubeconfig;   /* with live; NULL: where kubectl looks */
    int64_t load_s;           /* how long a rollout takes; -1: not said */
    int64_t from_s;
};

struct premise {
    struct rotation_object *object; /* owned */
    struct rehearsal start; /* its texts belong to the premise, and the zone and window too */
    struct zone zone;       /* of spec.schedule.window; UTC otherwise */
    struct window_rule rule;
    const char *assumptions[PREMISE_ASSUMPTIONS_MAX];
    size_t assumptions_count;
    struct arena arena;
};

/* Zeroed and filled; not to be moved afterwards. Where spec.key is absent, `start` is not filled.
 * -1: a sentence that says what is wrong with the file or the export. Release it in any case. */
int premise_read(const struct premise_options *options, struct premise *ret, struct err *err);
void premise_release(struct premise *p);

/* The value of a flag that is a duration; -1 when it is none, which has been said. command: as
 * called, "keyturn plan". */
int64_t premise_duration(const char *command, const char *flag, const char *value);
/* The same of a time, RFC 3339. */
int64_t premise_time(const char *command, const char *flag, const char *value);

#endif
