/* SPDX-License-Identifier: Apache-2.0
 *
 * check: what must hold all the time. Whoever changes the realm, or what a verifier accepts, says
 * so, and then every key that may have signed a token that lives is looked for in every set that a
 * verifier goes by: those of the cluster, and those of verifiers that keep a copy of the JWKS for
 * as long as overlap.publish allows. A key that signs is taken to mint a token in each moment, so
 * that no token is missed. */
#ifndef KEYTURN_TESTS_SIM_CHECK_H
#define KEYTURN_TESTS_SIM_CHECK_H

#include <jansson.h>
#include "policy.h"
#include "realm.h"

struct check *check_new(struct sim *s, const struct policy *p);
void check_start(struct sim *s);
void check_free(struct check *c);

/* Before and after each change of the realm; the latter also when a verifier has loaded keys. */
void check_before(struct sim *s);
void check_tokens(struct sim *s, const char *why);

/* The KeyRotation as the API server holds it now. */
void check_status(struct sim *s, const json_t *rotation);
/* Writes of the operator, before they are done. */
void check_create(struct sim *s, const char *name, int64_t sent_ms);
void check_update(struct sim *s, const struct realm_key_view *was, const struct realm_key_view *is,
                  int64_t sent_ms);
void check_delete(struct sim *s, const struct realm_key_view *was, int64_t sent_ms);
void check_restart(struct sim *s, const char *deployment, const json_t *old, const json_t *new);
/* A person has named this kid in a retire. */
void check_named(struct sim *s, const char *kid);
void check_suspend(struct sim *s, bool suspended);

#endif
