/* SPDX-License-Identifier: Apache-2.0
 *
 * keycloak_codec: what Keycloak and OIDC issuers answer -> structs. Bounds: LIMIT_KEYS usable keys
 * (more are counted), 1000 entries looked at. Unknown kty, alg or use are skipped and counted;
 * private members (d, p, q, ...) make the whole JWKS ERR_INVALID ("publishes a private key").
 * Sources: RFC 7517, OpenID Connect Discovery 1.0, Keycloak Admin REST API
 * KeysMetadataRepresentation and ComponentRepresentation. */
#ifndef KEYTURN_CODEC_KEYCLOAK_CODEC_H
#define KEYTURN_CODEC_KEYCLOAK_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "jose/key.h"

enum realm_key_status { REALM_KEY_ACTIVE, REALM_KEY_PASSIVE, REALM_KEY_DISABLED };

struct realm_key {
    struct jose_key *key;         /* a reference */
    enum realm_key_status status; /* JWKS entries are ACTIVE */
    char component[64];           /* keys[].providerId; "" in a JWKS */
    char provider[64];            /* filled from components; "" unknown */
    int64_t priority;             /* keys[].providerPriority; 0 in a JWKS */
    bool certificate_unreadable;  /* there was one, and it could not be read or holds another key */
};

struct realm_active { /* which key signs for an algorithm */
    char *kid;        /* malloc'ed, at most LIMIT_KID bytes */
    char alg[16];
};

/* A component whose name begins as ours do (see keycloak/component.h), whatever key is in it. */
#define REALM_CLAIM_PREFIX "keyturn-"
struct realm_claim {
    char component[64];
    char name[64];
    char provider[64];
};

/* Arrays are malloc'ed in the size they need: one reading is held for each of up to thousands of
 * rotations. */
struct realm_keys {
    struct realm_key *keys; /* use=sig, asymmetric; DISABLED ones of /keys too; <= LIMIT_KEYS */
    size_t count;
    size_t skipped;           /* symmetric, encryption, unknown: not ours to trust */
    size_t unreadable;        /* signing keys that could not be read: the reading is not complete */
    char unreadable_why[256]; /* of the first */
    size_t overflow;          /* enabled keys beyond LIMIT_KEYS */
    struct realm_active *active; /* /keys "active": kid per algorithm that signs; at most 16 */
    size_t active_count;
    struct realm_claim *claims; /* filled from components; at most LIMIT_CLAIMS */
    size_t claims_count;
    bool claims_known;                 /* the components of just these keys have been read */
    char duplicate_kid[LIMIT_KID + 1]; /* the same kid with different keys; "" none */
};

/* {0} before. On error *ret is released. */
/* GET /admin/realms/R/keys. One key in two components is one entry, under its better status. */
int realm_keys_decode(struct str body, struct realm_keys *ret, struct err *err);
/* Keys without use count as sig when alg or key_ops says so. */
int jwks_decode(struct str body, struct realm_keys *ret, struct err *err);
void realm_keys_release(struct realm_keys *keys);
/* /keys says that this key signs for its algorithm. */
bool realm_keys_sign(const struct realm_keys *keys, const struct jose_key *key);
/* GET /components?type=org.keycloak.keys.KeyProvider: fills provider by component id, and claims;
 * then they are known. ERR_LIMIT: more than LIMIT_CLAIMS; providers are filled, claims are as they
 * were and not known. */
int components_decode(struct str body, struct realm_keys *into, struct err *err);

struct discovery {
    char issuer[513];
    char jwks_uri[513];
};
int discovery_decode(struct str body, struct discovery *ret, struct err *err);

/* access_token into out (secret), lifetime in seconds. */
int token_decode(struct str body, struct buf *out, long *ret_expires_s, struct err *err);
/* The JWS header of a token just minted, which is not verified: it only says which key was taken.
 * The token stays secret. ERR_INVALID for what is no JWS, or has no kid and alg that fit. */
int token_header_decode(struct str token, char kid[LIMIT_KID + 1], char alg[16], struct err *err);
/* OAuth error answer (RFC 6749 5.2): only the registered error codes are copied to err->reason;
 * nothing else of a foreign body is. */
void token_error_decode(struct str body, int status, struct err *ret);

/* What realm and clients say of how long something that a realm key signed is of use; seconds. */
struct realm_lifespans {
    int64_t access_s, implicit_s; /* access and ID tokens; those of the implicit flow */
    int64_t session_s;            /* SSO session, with "remember me" where that is on and longer */
    bool remembered;              /* session_s is that of "remember me" */
    bool implicit;                /* a client has the implicit flow */
    int64_t client_s;             /* the longest that a client has of its own, 0 none */
    const char *client_setting;   /* its attribute, a constant: "access.token.lifespan" */
    char client[64];              /* clientId, cut */
};
/* GET /admin/realms/R. ERR_FORBIDDEN: a realm without these settings, which is all that is shown to
 * who has some other role than view-realm. */
int realm_lifespans_decode(struct str body, struct realm_lifespans *ret, struct err *err);
/* GET /admin/realms/R/clients, one page: adds to *into. Attributes that are no number of seconds
 * are passed over: Keycloak makes no tokens by them. */
int client_lifespans_decode(struct str body, struct realm_lifespans *into, size_t *ret_clients,
                            struct err *err);

/* Credentials Secret (v1 Secret JSON): url, client-id, client-secret, base64-decoded into bufs
 * marked secret. */
struct credentials {
    struct buf url, client_id, client_secret;
};
int credentials_decode(struct str body, struct credentials *ret, struct err *err);
void credentials_release(struct credentials *c);
/* data[key] of a ConfigMap, for the CA bundle. */
int config_map_value_decode(struct str body, const char *key, struct buf *out, struct err *err);

#endif
