/* SPDX-License-Identifier: Apache-2.0
 *
 * source: what an issuer says about its keys, polled and shared. One source per (kind, address, CA,
 * and for the Admin API namespace and credentials Secret); KeyRotations subscribe. An answer is a
 * reading, with the time it came; it lives until the next one. A failed poll keeps the last good
 * reading and sets the error.
 *
 * Three kinds: JWKS (each interval), DISCOVERY (hourly, and every interval while it has no good
 * reading), ADMIN (/keys each interval, components only when /keys changed, one token per lifetime,
 * credentials read again at each mint and after a 401). Interval: the least of the subscribers', up
 * to 10 % longer; after failures backed off up to 8 times the interval but at most 60 s longer.
 * Nothing is sent to a server that the credentials' `url` does not name. */
#ifndef KEYTURN_KEYCLOAK_SOURCE_H
#define KEYTURN_KEYCLOAK_SOURCE_H

#include "codec/keycloak_codec.h"
#include "io/http.h"

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
    struct discovery discovery;  /* DISCOVERY */
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
size_t sources_count(const struct sources *all, enum source_kind kind);
/* "host:port" of each source, as http's observer is told it; NULL at the end. size_t it = 0. */
const char *sources_next_peer(const struct sources *all, size_t *it);

#endif
