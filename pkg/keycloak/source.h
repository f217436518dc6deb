/* SPDX-License-Identifier: Apache-2.0
 *
 * source: what an issuer says about its keys, polled and shared. One source per (kind, address, CA,
 * and for the Admin API namespace and credentials Secret); KeyRotations subscribe. An answer is a
 * reading, with the time it came; it lives until the next one. A failed poll keeps the last good
 * reading and sets the error.
 *
 * Three kinds: JWKS (each interval), DISCOVERY (hourly, and every interval while it has no good
 * reading), ADMIN (/keys each interval, components only when /keys changed or after a write, one
 * token per lifetime, credentials read again at each mint and after a 401). Interval: the least of
 * the subscribers', up to 10 % longer; after failures backed off up to 8 times the interval but at
 * most 60 s longer. Nothing is sent to a server that the credentials' `url` does not name. */
#ifndef KEYTURN_KEYCLOAK_SOURCE_H
#define KEYTURN_KEYCLOAK_SOURCE_H

#include "codec/keycloak_codec.h"
#include "io/http.h"
#include "rotation/engine.h"

enum source_kind { SOURCE_JWKS, SOURCE_DISCOVERY, SOURCE_ADMIN, SOURCE_KIND_COUNT };

/* Gets the credentials (a GET of that one Secret); done is called once, from the loop: err NULL or
 * a sentence. The credentials are valid during the call only. */
typedef void source_credentials_done_fn(void *ctx, const struct credentials *credentials,
                                        const struct err *err);
struct source_credentials_port {
    /* A handle, NULL out of memory. */
    void *(*get)(void *ctx, const char *namespace, const char *secret,
                 source_credentials_done_fn *done, void *done_ctx);
    void (*cancel)(void *ctx, void *handle);
    void *ctx;
};

/* err.reason where Keycloak was not even asked: the Secret is missing, forbidden or not for it. */
#define SOURCE_CREDENTIALS_REASON "CredentialsUnusable"

struct source_key { /* what makes two sources the same; texts copied */
    enum source_kind kind;
    /* JWKS: the JWKS URL; DISCOVERY: the issuer whose /.well-known/openid-configuration is asked;
     * ADMIN: Keycloak's base URL. */
    const char *url;
    const char *realm;     /* ADMIN */
    const char *namespace; /* ADMIN: of the credentials */
    const char *secret;    /* ADMIN */
    const char *ca_pem;    /* NULL: system */
};

struct reading {
    uint64_t number;             /* grows with each good answer of the source */
    int64_t taken_ms;            /* CLOCK_BOOTTIME when the request was sent */
    struct realm_keys keys;      /* JWKS, ADMIN */
    char *issuer, *jwks_uri;     /* DISCOVERY; malloc'ed */
    char digest[JOSE_HASH_TEXT]; /* of the answer's content: equal digest = nothing new */
};

struct sources; /* all of them */
struct source;  /* one, as seen by one subscriber */

struct sources_options {
    struct http_port *port;
    struct loop *loop;
    struct source_credentials_port credentials;
    /* After each finished poll, good or bad, for each subscriber. */
    void (*polled)(void *ctx, void *subscriber_ctx);
    void *ctx;
    uint32_t seed; /* of the jitter */
};

struct sources *sources_new(const struct sources_options *options);
void sources_free(struct sources *all); /* subscriptions that are left too; NULL is fine */
/* Shares or makes the source (NULL out of memory). A new one is polled at once; its second poll
 * comes after half to all of the interval, so that many spread. Who joins an existing one finds its
 * last reading there. May be called from polled. */
struct source *source_subscribe(struct sources *all, const struct source_key *key,
                                int64_t interval_ms, void *subscriber_ctx);
/* The last one ends the source and what it has under way. NULL is fine; from polled too. */
void source_unsubscribe(struct source *s);
void source_set_interval(struct source *s, int64_t interval_ms);
/* Joins a poll that starts after this call, whose number (see source_polls) is returned. */
uint64_t source_poll_now(struct source *s);
/* Last good reading, borrowed, or NULL. */
struct reading *source_reading(const struct source *s);
/* Error of the last poll; ERR_NONE when it was good. Sentence with the line that repairs it (which
 * role, which kcadm line, which host). */
const struct err *source_err(const struct source *s);
int64_t source_polled_ms(const struct source *s); /* end of the last poll, 0 = none yet */
uint64_t source_polls(const struct source *s);    /* finished polls, good and bad */

/* ---- writing, ADMIN only ---- */

/* Deadline of the request, with look-up and connecting. Nothing is sent later than this, but a
 * server that has the request may go on: making an RSA key takes a busy one longer. */
#define SOURCE_WRITE_TIMEOUT_MS 5000
/* Of a CREATE: a busy server takes its time to make a key. One that comes late does no harm: it
 * does not sign, and a retry finds it by its id. */
#define SOURCE_CREATE_TIMEOUT_MS 30000

/* One write to a key component of the realm (POST, PUT, DELETE of components). It rides on a poll:
 * token, write, then /keys and components, so that the reading of the same poll is younger than the
 * write. A PUT always names provider, priority, enabled, active, and the algorithm where the
 * provider has that setting (RSA), and never size, curve or kid: a cached component may be wrong
 * after a 500, and a size makes another key. The name stays as it is. A write is never repeated by
 * itself, but once after a 401 with a fresh token, when it is still allowed. (libcurl sends a PUT
 * or DELETE once more, within the deadline, when a kept connection turns out to be dead;
 * io/http.h.) A write whose subscriber leaves before it is sent is not sent. */
struct source_write {           /* texts are copied */
    enum change_kind kind;      /* CREATE is a POST, DELETE a DELETE, the others a PUT */
    const char *component;      /* id, <= 63 characters */
    const char *name;           /* CREATE */
    const char *provider;       /* providerId, as read; CREATE: component_provider(); not DELETE */
    const char *algorithm;      /* "RS256"; not DELETE */
    int64_t size;               /* CREATE: bits of an RSA key, 0 otherwise */
    int64_t priority;           /* of the key afterwards */
    bool (*allowed)(void *ctx); /* asked right before it is sent, each time */
    void *ctx;
};
/* Joins the poll that begins next, at once. -1: another write waits or is under way, something of
 * the above is missing (a PUT without provider would spoil the server's cache), no Admin API, or no
 * memory. */
int source_write(struct source *s, const struct source_write *write);
bool source_writing(const struct source *s);

struct source_written { /* what became of the last write */
    uint64_t number;    /* of writes that ended; 0: none yet */
    int64_t ended_ms;   /* a reading with taken_ms >= ended_ms shows what it did */
    enum change_kind kind;
    struct err err; /* ERR_NONE: done, or it was done before (409 to a CREATE of that id, 404 to a
                       DELETE). A sentence with the line that repairs it otherwise: the role
                       manage-realm that is missing, a certificate that has expired. ERR_EXISTS: the
                       id of a CREATE is taken outside this realm. Why there was no token: then it
                       was not sent */
    bool unknown;   /* no answer, 408 or 5xx came: it may have been done, or be done yet */
    bool held_back; /* not sent: it was not allowed any more, or its subscriber has left */
};
const struct source_written *source_written(const struct source *s);

/* The poll that begins next, at once, mints a fresh token first. One is minted after each PROMOTE
 * too, in the same poll, unless it was refused. */
void source_mint(struct source *s);
struct source_minted { /* the header of the last token minted (RFC 7515 4.1) */
    char kid[LIMIT_KID + 1];
    char alg[16];     /* both "" when the token's header cannot be read */
    int64_t asked_ms; /* when the request was sent; 0: none yet */
};
const struct source_minted *source_minted(const struct source *s);

/* How long a signature can matter: the longest of the realm's and its clients' lifespans of what is
 * signed by a realm key (which: keycloak/lifespan.h). Read with the next poll and hourly while
 * wanted, each minute after a failure; not in a poll that writes. Needs view-realm and
 * view-clients. */
struct source_lifespan {
    bool known;      /* a failure that may pass by itself leaves what was known */
    int64_t seconds; /* without skew */
    char why[192];   /* the setting that dominates: "client batch: access.token.lifespan 1d" */
    struct err err;  /* of the last try, with the line that repairs it */
    int64_t read_ms; /* when the last good one began */
};
/* Of this subscriber; the source reads while one wants it. */
void source_want_lifespan(struct source *s, bool wanted);
const struct source_lifespan *source_lifespan(const struct source *s);

/* Why the last reading's claims are not known (realm_keys.claims_known), a sentence. */
const struct err *source_components_err(const struct source *s);

size_t sources_count(const struct sources *all, enum source_kind kind);
/* "host:port" of each source, as http's observer is told it; NULL at the end. size_t it = 0. */
const char *sources_next_peer(const struct sources *all, size_t *it);

#endif
