/* SPDX-License-Identifier: Apache-2.0
 *
 * feed: one polled address, shared by its subscribers: when to ask, what came of it, and who is
 * told. Asks for JWKS and discovery itself; the Admin API's questions are admin.h's. Internal to
 * keycloak. */
#ifndef KEYTURN_KEYCLOAK_FEED_H
#define KEYTURN_KEYCLOAK_FEED_H

#include "base/buf.h"
#include "base/map.h"
#include "io/loop.h"
#include "keycloak/lifespan.h"
#include "keycloak/source.h"
#include "keycloak/write.h"

#define FEED_TIMEOUT_MS 10000 /* of each request but a write */

struct source { /* one subscriber */
    struct feed *feed;
    struct source *prev, *next;
    int64_t interval_ms;
    bool wants_lifespan;
    void *ctx;
};

/* What only an ADMIN feed has. */
struct admin {
    struct buf token; /* secret */
    int64_t token_until_ms;
    char *client_id;         /* of the token, for the line that repairs a missing role */
    void *credentials;       /* handle of a get under way */
    bool minted;             /* in this poll: a token refused after that is refused for good */
    struct reading *pending; /* keys are in, components are asked */
    char keys_digest[JOSE_HASH_TEXT]; /* of the keys whose components are known; "" none */
    struct err components_err;        /* why they are not known */
    bool mint_wanted;                 /* by source_mint, of the next poll */
    struct source_minted header;      /* of the last token minted */
    struct write write;
    struct lifespan lifespan;
};

struct feed {
    struct sources *all;
    struct source_key key; /* texts owned, url without a slash at its end for ADMIN and DISCOVERY */
    char *name;            /* in the map of all feeds */
    char *peer;            /* "host:port" of key.url */
    struct source *subscribers;
    struct source *cursor; /* the next one to be told, while telling */
    bool telling, dropped;
    struct loop_timer timer;
    int64_t interval_ms;
    bool polling, again; /* again: somebody asked while a poll was under way */
    struct http_call *call;
    int64_t sent_ms; /* of the request whose answer becomes a reading */
    struct reading *reading;
    struct err err;
    uint64_t number, polls;
    int64_t polled_ms;
    unsigned failures;   /* in a row */
    struct admin *admin; /* ADMIN, else NULL */
};

struct sources {
    struct sources_options options;
    struct map feeds; /* feed->name -> struct feed */
    size_t counts[SOURCE_KIND_COUNT];
    uint32_t random;
};

/* Texts of key are copied, name is taken. NULL out of memory. The first poll comes at once. */
struct feed *feed_new(struct sources *all, const struct source_key *key, char *name);
void feed_free(struct feed *f); /* cancels what is under way; subscribers are not touched */
/* The least of the subscribers' intervals, after one has come, gone or changed. */
void feed_set_interval(struct feed *f);
void feed_poll_now(struct feed *f);
/* The address without slashes at its end. */
struct str feed_base(const char *url);

/* The end of a poll: exactly one of both, from the loop. Takes the reading. */
void feed_good(struct feed *f, struct reading *reading);
void feed_bad(struct feed *f, const struct err *err);

/* Sends a request of this feed with its trust and ceiling, and FEED_TIMEOUT_MS where it has no
 * deadline; the call is kept in f->call. -1: out of memory. */
int feed_send(struct feed *f, struct http_request *request,
              void (*on_done)(void *ctx, const struct http_response *response));

#endif
