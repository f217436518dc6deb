/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/attr.h"
#include "base/shell.h"
#include "base/str.h"
#include "rotation/engine.h"

static const char *const lifecycles[] = {"Unknown", "Generated", "Published", "Ready",
                                         "Active",  "Retired",   "Retiring",  "Removed"};
static const char *const changes[] = {"None", "Create", "Promote", "Demote", "Disable", "Delete"};
static const char *const reasons[] = {"Standby", "Schedule", "Request", "Rollback"};
static const char *const operations[] = {"",         "rotate", "promote", "retire",
                                         "rollback", "abort",  "unknown"};
static const char *const phases[] = {"Steady",    "Publishing", "AwaitingPromotion",
                                     "Promoting", "Overlap",    "AwaitingRetirement",
                                     "Retiring",  "Blocked"};

static bool parse(const char *const *names, size_t count, const char *text, unsigned *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (text_eq(names[i], text)) {
            *ret = (unsigned)i;
            return true;
        }
    }
    return false;
}

const char *key_lifecycle_name(enum key_lifecycle lifecycle)
{
    return lifecycles[lifecycle];
}

bool key_lifecycle_parse(const char *text, enum key_lifecycle *ret)
{
    unsigned i;
    bool known = parse(lifecycles, ARRAY_LEN(lifecycles), text, &i);
    if (known)
        *ret = (enum key_lifecycle)i;
    return known;
}

bool key_lifecycle_untrusted(enum key_lifecycle lifecycle)
{
    return lifecycle == LIFECYCLE_RETIRING || lifecycle == LIFECYCLE_REMOVED;
}

const char *change_kind_name(enum change_kind kind)
{
    return changes[kind];
}

bool change_kind_parse(const char *text, enum change_kind *ret)
{
    unsigned i;
    bool known = parse(changes, ARRAY_LEN(changes), text, &i);
    if (known)
        *ret = (enum change_kind)i;
    return known;
}

const char *rotation_reason_name(enum rotation_reason reason)
{
    return reasons[reason];
}

bool rotation_reason_parse(const char *text, enum rotation_reason *ret)
{
    unsigned i;
    bool known = parse(reasons, ARRAY_LEN(reasons), text, &i);
    if (known)
        *ret = (enum rotation_reason)i;
    return known;
}

const char *operation_kind_name(enum operation_kind kind)
{
    return operations[kind];
}

bool operation_kind_parse(const char *text, enum operation_kind *ret)
{
    unsigned i;
    bool known = parse(operations, ARRAY_LEN(operations), text, &i) && i != OPERATION_NONE;
    if (known)
        *ret = (enum operation_kind)i;
    return known;
}

const char *engine_phase_name(enum engine_phase phase)
{
    return phases[phase];
}

/* ---- equality ---- */

bool key_record_equal(const struct key_record *a, const struct key_record *b)
{
    return a->lifecycle == b->lifecycle && a->published_s == b->published_s &&
           a->ready_s == b->ready_s && a->active_s == b->active_s && a->retired_s == b->retired_s &&
           a->removed_s == b->removed_s && a->retired_by == b->retired_by &&
           a->retire_approved == b->retire_approved && a->tokens_live_s == b->tokens_live_s;
}

bool change_equal(const struct change *a, const struct change *b)
{
    return a->kind == b->kind && a->number == b->number && text_eq(a->kid, b->kid) &&
           a->at_s == b->at_s && a->priority == b->priority;
}

bool rotation_record_equal(const struct rotation_record *a, const struct rotation_record *b)
{
    bool same_wish = a->number == b->number && a->reason == b->reason &&
                     a->requested_s == b->requested_s &&
                     text_eq(a->requested_by, b->requested_by) && text_eq(a->note, b->note) &&
                     a->approved_s == b->approved_s && text_eq(a->approved_by, b->approved_by);
    return same_wish && text_eq(a->kid, b->kid) && text_eq(a->from, b->from) &&
           a->started_s == b->started_s && a->standby_s == b->standby_s &&
           a->promoted_s == b->promoted_s && a->confirmed_s == b->confirmed_s &&
           a->done_s == b->done_s && a->aborting == b->aborting && a->aborted_s == b->aborted_s;
}

bool operation_is_same(const struct operation *a, const struct operation *b)
{
    return a->kind == b->kind && a->number == b->number && text_eq(a->kid, b->kid) &&
           text_eq(a->by, b->by);
}

bool operation_equal(const struct operation *a, const struct operation *b)
{
    return operation_is_same(a, b) && text_eq(a->note, b->note) && a->at_s == b->at_s &&
           text_eq(a->refused, b->refused) && a->cleared == b->cleared;
}

/* ---- commands ---- */

void operation_line(const char *namespace, const char *name, const struct operation *operation,
                    char out[ENGINE_COMMAND_MAX])
{
    char kid[SHELL_WORD_SIZE(LIMIT_KID)] = "";
    if (operation->kid != NULL && !shell_word(operation->kid, kid, sizeof(kid)))
        memcpy(kid, "KID", sizeof("KID"));
    int len =
        snprintf(out, ENGINE_COMMAND_MAX,
                 "kubectl annotate keyrotation %s -n %s --overwrite keyturn.dev/operation=%s "
                 "keyturn.dev/operation-for=%" PRIu64 "%s%s keyturn.dev/operation-by=$(kubectl "
                 "auth whoami -o jsonpath='{.status.userInfo.username}')",
                 name, namespace, operation_kind_name(operation->kind), operation->number,
                 kid[0] != '\0' ? "/" : "", kid);
    if (len < 0 || len >= ENGINE_COMMAND_MAX)
        out[0] = '\0'; /* half a line would do something else */
}
