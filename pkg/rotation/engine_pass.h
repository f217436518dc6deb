/* SPDX-License-Identifier: Apache-2.0
 *
 * engine_pass: what the parts of the engine share during one call of engine_decide. Internal to
 * engine*.c: the table and what is observed (engine.c), the way to a new signer (engine_forward.c),
 * the way out of an old one (engine_retire.c), what people command (engine_command.c), and what no
 * write may break (engine_safety.c). */
#ifndef KEYTURN_ROTATION_ENGINE_PASS_H
#define KEYTURN_ROTATION_ENGINE_PASS_H

#include "base/attr.h"
#include "rotation/engine.h"

/* Indices are into the view's keys, -1 none. */
struct pass {
    const struct engine_view *v;
    struct engine_plan *p;
    int target; /* the key that the rotation under way wants to sign */
    int signer;
    bool described; /* a check has said what the rotation waits for */
};

enum verdict {
    NO,   /* does not apply */
    WAIT, /* says what is waited for; later checks may still act */
    ACT,  /* changed the record, or intends a change: nothing more in this pass */
    STOP, /* nothing may be done */
};

/* The first to say something says it. */
void pass_describe(struct pass *s, enum engine_phase phase, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* Why keys are not as expected; the first counts. */
void pass_find(struct pass *s, const char *reason, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* The line that lets it go on; kid NULL where none has to be named. */
void pass_command(struct pass *s, enum operation_kind kind, uint64_t number, const char *kid);
void pass_next(struct pass *s, const char *step, int64_t at_s);

const struct engine_key *pass_key(const struct pass *s, int i); /* NULL for -1 */
struct key_record *pass_record(struct pass *s, int i);
int pass_find_number(const struct engine_view *v, uint64_t number);
int pass_find_kid(const struct engine_view *v, const char *kid);
void pass_find_target(struct pass *s);

bool pass_is_idle(const struct rotation_record *r);
/* A key is being prepared, or is ready, that nobody has asked for yet. */
bool pass_is_standby(const struct rotation_record *r);
uint64_t pass_due_number(const struct rotation_record *r); /* what a command to rotate names */
bool pass_is_forward(const struct rotation_record *r);
bool pass_may_remove(const struct pass *s, size_t i);

bool pass_same_change(const struct change *a, const struct change *b);
/* Recorded first; sent once the record is acknowledged and the readings are newer than our last
 * write, and this change is allowed now. */
enum verdict pass_intend(struct pass *s, struct change want, bool allowed);
enum verdict pass_change_key(struct pass *s, enum change_kind kind, int i);
void pass_end(struct pass *s, const char *how); /* the rotation under way is over */
void pass_request(struct pass *s, enum rotation_reason reason);
void pass_listen(struct pass *s); /* takes the command that is there */

enum verdict check_suspended(struct pass *s);
enum verdict check_owned_by_other(struct pass *s);
enum verdict check_claimed(struct pass *s);
enum verdict check_unreadable(struct pass *s);
enum verdict check_misplaced(struct pass *s);
enum verdict check_aborting(struct pass *s);
enum verdict check_lost(struct pass *s);
enum verdict check_uncreated(struct pass *s);
enum verdict check_target_disabled(struct pass *s);
enum verdict check_unserved(struct pass *s);
enum verdict check_unproven(struct pass *s);
enum verdict check_overlapping_before(struct pass *s);
enum verdict check_unapproved(struct pass *s);
enum verdict check_window_shut(struct pass *s);
enum verdict check_unconfirmed(struct pass *s);
enum verdict check_unfinished(struct pass *s);
enum verdict check_promotable(struct pass *s);
enum verdict check_retiring(struct pass *s);
enum verdict check_deletable(struct pass *s);
enum verdict check_retired(struct pass *s);
enum verdict check_signer_changed(struct pass *s);
enum verdict check_due(struct pass *s);
enum verdict check_standby_missing(struct pass *s);
enum verdict check_steady(struct pass *s);

#endif
