/* SPDX-License-Identifier: Apache-2.0
 *
 * informer: the list-watch automaton of client-go's reflector, without I/O, store or clock. It says
 * which request to make next and learns what came of it; kube/watcher.h does the requests and keeps
 * the objects. Sources: Kubernetes "API concepts" (efficient detection of changes, WatchList), KEP
 * 3157. */
#ifndef KEYTURN_INFORMER_INFORMER_H
#define KEYTURN_INFORMER_INFORMER_H

#include <stdbool.h>
#include <stdint.h>

enum informer_request {
    INFORMER_WATCH_LIST, /* watch with sendInitialEvents: objects, then a marked bookmark, then
                            changes */
    INFORMER_LIST,       /* a page; continue_token "" for the first */
    INFORMER_WATCH,      /* from resource_version */
};

struct informer_step {
    enum informer_request request;
    int64_t delay_ms; /* wait this long first */
};

/* How a request ended. */
enum informer_end {
    INFORMER_END_OK,          /* LIST: page read; streams: closed by the server */
    INFORMER_END_GONE,        /* 410 by status or ERROR event, or "too large resource version" */
    INFORMER_END_UNSUPPORTED, /* WATCH_LIST answered 400 or 422: not served here */
    INFORMER_END_RETRY,       /* 429, 5xx, lost connection */
    INFORMER_END_REFUSED,     /* 401, 403, 404: keep trying slowly */
};

struct informer {
    bool watch_list_refused;
    bool synced;               /* a whole list has been seen once */
    char resource_version[32]; /* of the last event, bookmark or list; "" = none */
    char continue_token[4096];
    bool listing; /* a list (or initial events) is under way: objects belong to a new generation */
    unsigned failures; /* in a row, for the backoff: 200 ms doubling up to 8 s, jittered */
    bool refused;      /* last end was REFUSED: backoff up to 30 s */
    int64_t delay_ms;  /* before the next request; set by informer_ended */
    uint32_t random;   /* state of the jitter */
    enum informer_request current;
};

void informer_init(struct informer *i, uint32_t seed);
/* The next request. Sets `current` and, for a new list, `listing`. Resource versions are "" for a
 * list (the newest state; never back in time). After three failures in a row a list is asked for as
 * LIST even where WATCH_LIST is served. A lost connection or REFUSED keeps the place (page or
 * version); GONE starts a new list. */
void informer_next(struct informer *i, struct informer_step *ret);
/* A page of a LIST was read whole; token "" or NULL = last page: returns true when the list is
 * complete (the store drops what was not in it). The version of the first page counts. A page
 * without a usable version, or with a token longer than we keep, spoils the list: it starts again
 * after a delay. */
bool informer_page(struct informer *i, const char *resource_version, const char *continue_token);
/* An event of a stream other than ERROR: its object's resourceVersion. initial_end: the bookmark
 * with annotation k8s.io/initial-events-end: returns true when that completes the list. */
bool informer_event(struct informer *i, const char *resource_version, bool initial_end);
/* The current request has ended. lived_ms: how long; events: how many came (a watch that dies at
 * once without any counts as a failure). */
void informer_ended(struct informer *i, enum informer_end end, int64_t lived_ms, unsigned events);

#endif
