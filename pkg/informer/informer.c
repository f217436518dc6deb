/* SPDX-License-Identifier: Apache-2.0 */
#include "informer/informer.h"

#include <string.h>
#include "base/jitter.h"

#define BACKOFF_BASE_MS 200
#define BACKOFF_MAX_MS 8000
#define BACKOFF_REFUSED_MAX_MS 30000
#define SHORT_WATCH_MS 1000   /* client-go calls a watch "very short" below this */
#define LIST_AFTER_FAILURES 3 /* then WATCH_LIST is not insisted on */
#define STABLE_WATCH_MS 10000 /* a stream that lived so long ends a row of failures */

void informer_init(struct informer *i, uint32_t seed)
{
    *i = (struct informer){.random = seed != 0 ? seed : 1};
}

/* Between half of the step and all of it. */
static int64_t backoff_ms(struct informer *i)
{
    int64_t max = i->refused ? BACKOFF_REFUSED_MAX_MS : BACKOFF_MAX_MS;
    int64_t step = BACKOFF_BASE_MS;
    for (unsigned n = 1; n < i->failures && step < max; n++)
        step *= 2;
    if (step > max)
        step = max;
    return step / 2 + (int64_t)(jitter_next(&i->random) % (uint32_t)(step / 2 + 1));
}

static void note_failure(struct informer *i)
{
    if (i->failures < UINT32_MAX)
        i->failures++;
    i->delay_ms = backoff_ms(i);
}

static void start_again(struct informer *i)
{
    i->resource_version[0] = '\0';
    i->continue_token[0] = '\0';
    i->listing = false;
}

/* "0" would mean "any state, however old", so it is no place to go on from. */
static bool version_is_usable(const struct informer *i, const char *version)
{
    return version != NULL && version[0] != '\0' && strcmp(version, "0") != 0 &&
           strlen(version) < sizeof(i->resource_version);
}

static void keep_version(struct informer *i, const char *version)
{
    memcpy(i->resource_version, version, strlen(version) + 1);
}

void informer_next(struct informer *i, struct informer_step *ret)
{
    ret->delay_ms = i->delay_ms;
    i->delay_ms = 0;
    if (i->listing && i->continue_token[0] != '\0') {
        i->current = INFORMER_LIST;
    } else if (!i->listing && i->resource_version[0] != '\0') {
        i->current = INFORMER_WATCH;
    } else {
        start_again(i);
        i->listing = true;
        bool plain = i->watch_list_refused || i->failures >= LIST_AFTER_FAILURES;
        i->current = plain ? INFORMER_LIST : INFORMER_WATCH_LIST;
    }
    ret->request = i->current;
}

bool informer_page(struct informer *i, const char *resource_version, const char *continue_token)
{
    if (i->current != INFORMER_LIST || !i->listing)
        return false;
    const char *token = continue_token != NULL ? continue_token : "";
    bool first = i->continue_token[0] == '\0';
    bool usable = strlen(token) < sizeof(i->continue_token) &&
                  (!first || version_is_usable(i, resource_version));
    if (!usable) {
        /* listing stays true without a token: informer_ended takes that for a failed list. */
        i->resource_version[0] = '\0';
        i->continue_token[0] = '\0';
        return false;
    }
    if (first)
        keep_version(i, resource_version);
    memcpy(i->continue_token, token, strlen(token) + 1);
    if (token[0] != '\0')
        return false;
    i->listing = false;
    i->synced = true;
    return true;
}

bool informer_event(struct informer *i, const char *resource_version, bool initial_end)
{
    if (i->current == INFORMER_LIST || !version_is_usable(i, resource_version))
        return false;
    /* Initial objects come in no order of version: only the bookmark after them is a place to go on
     * from. */
    if (i->listing && !initial_end)
        return false;
    keep_version(i, resource_version);
    bool completes = i->listing;
    i->listing = false;
    i->synced = i->synced || completes;
    return completes;
}

static void ended_ok(struct informer *i, int64_t lived_ms, unsigned events)
{
    if (i->listing && (i->current == INFORMER_WATCH_LIST || i->continue_token[0] == '\0')) {
        start_again(i); /* the list ended before it was whole */
        note_failure(i);
    } else if (i->current == INFORMER_LIST) {
        /* No end to a row of failures: a list that works and a watch that never does must not spin.
         */
        i->delay_ms = 0;
    } else if (lived_ms < SHORT_WATCH_MS && (events == 0 || i->current == INFORMER_WATCH_LIST)) {
        note_failure(i); /* events of a WATCH_LIST are its list: no sign that watching works */
    } else {
        i->failures = 0;
        i->delay_ms = 0;
    }
}

void informer_ended(struct informer *i, enum informer_end end, int64_t lived_ms, unsigned events)
{
    bool watched = i->current != INFORMER_LIST && !i->listing;
    bool moved = i->current == INFORMER_WATCH && events > 0;
    if (watched && (moved || lived_ms >= STABLE_WATCH_MS))
        i->failures = 0;
    i->refused = end == INFORMER_END_REFUSED;
    switch (end) {
    case INFORMER_END_OK: ended_ok(i, lived_ms, events); break;
    case INFORMER_END_UNSUPPORTED:
        start_again(i);
        if (i->current == INFORMER_WATCH_LIST) {
            i->watch_list_refused = true;
            i->delay_ms = 0;
        } else {
            note_failure(i);
        }
        break;
    case INFORMER_END_GONE:
        start_again(i);
        note_failure(i);
        break;
    case INFORMER_END_RETRY:
    case INFORMER_END_REFUSED: note_failure(i); break;
    }
}
