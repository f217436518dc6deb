/* SPDX-License-Identifier: Apache-2.0
 *
 * words: a failed poll as one sentence: what was asked, what came, and the line that repairs it.
 * Nothing of a foreign body is in it, and no secret. Internal to keycloak. */
#ifndef KEYTURN_KEYCLOAK_WORDS_H
#define KEYTURN_KEYCLOAK_WORDS_H

#include "io/http.h"
#include "keycloak/source.h"

/* No usable answer, or one that is not 200. what: "JWKS", "discovery", "realm keys", "token". */
void words_answer(const struct source_key *key, const char *what,
                  const struct http_response *response, struct err *ret);
/* A 200 whose content was refused by the decoder; cause is the decoder's. */
void words_content(const struct source_key *key, const char *what, const struct err *cause,
                   struct err *ret);
void words_no_keys(const struct source_key *key, const char *what, const struct realm_keys *keys,
                   struct err *ret);
/* The token endpoint refused; cause from token_error_decode. */
void words_token(const struct source_key *key, const struct err *cause, struct err *ret);
/* 401, 403, 404 of the Admin API to a token just minted. client_id may be NULL. */
void words_admin(const struct source_key *key, const char *client_id, int status, struct err *ret);
/* 401 or 403 to a request that needs `role`. what: as for words_answer. */
void words_role(const struct source_key *key, const char *client_id, int status, const char *what,
                const char *role, struct err *ret);
/* A write that was refused or lost. client_id may be NULL. */
void words_write(const struct source_key *key, const char *client_id,
                 const struct source_write *write, const struct http_response *response,
                 struct err *ret);
/* The id of a CREATE is taken, and not by a component of this realm. */
void words_taken(const struct source_key *key, const char *component, struct err *ret);
/* The Secret with the credentials: cause from the port. */
void words_credentials(const struct source_key *key, const struct err *cause, struct err *ret);
void words_other_server(const struct source_key *key, struct err *ret);

#endif
