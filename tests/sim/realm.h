/* SPDX-License-Identifier: Apache-2.0
 *
 * realm: the simulated Keycloak: key components of one realm and who signs, the token endpoint, the
 * Admin API and what the public sees. After what was measured on Keycloak 26.7: the highest
 * priority signs, the smaller component id among equals; an id that is there is answered 409; where
 * no key is ACTIVE the next token makes a fallback key. Keys come from data/keys.json. */
#ifndef KEYTURN_TESTS_SIM_REALM_H
#define KEYTURN_TESTS_SIM_REALM_H

#include "net.h"

#define REALM_NAME "prod"
#define REALM_URL "http://keycloak.sim:8080"
#define REALM_ISSUER "https://auth.example.com/realms/prod"

struct realm;

struct realm_key_view { /* for checks and people; texts live until the next write */
    int key;            /* its place in the pool, as sets of keys have it */
    const char *kid, *component, *name;
    int64_t priority;
    bool enabled, active;
};

int realm_load_keys(const char *path); /* once; -1: the file is not there */
struct realm *realm_new(struct sim *s, const char *algorithm, int64_t token_s, int64_t session_s);
void realm_free(struct realm *r);
void realm_serve(struct sim *s, const struct net_request *q, struct net_answer *ret);

uint64_t realm_served(const struct realm *r); /* the JWKS as a set of keys */
int realm_signer(const struct realm *r);      /* -1: none is ACTIVE */
const char *realm_kid(int key);
int realm_key_of(const char *kid); /* -1 unknown */
/* Every component: size_t it = 0. */
bool realm_next(const struct realm *r, size_t *it, struct realm_key_view *ret);
/* Somebody changes a component by hand, past the operator. */
void realm_edit(struct sim *s, const char *component, bool active, int64_t priority);

#endif
