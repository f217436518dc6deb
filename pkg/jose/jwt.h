/* SPDX-License-Identifier: Apache-2.0
 *
 * jwt: a compact JWS (RFC 7515 section 3.1) cut into its bytes, and its signature checked with one
 * jose_key. No JSON: the caller reads `alg` and `kid` out of the header's bytes and the claims out
 * of the payload's; it must refuse a header with "crit" (RFC 7515 4.1.11) and judge exp, nbf, iss.
 *
 * In this order, and no other (RFC 8725 3.1): jose_jws_read, read the header, jose_key_for_token,
 * jose_jws_verify, and only then look at the payload. What a key may be used for is said by the
 * key, never by the token: `alg` only has to agree with it.
 *
 * Errors never hold a part of the token but its kid and alg. */
#ifndef KEYTURN_JOSE_JWT_H
#define KEYTURN_JOSE_JWT_H

#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "jose/key.h"

#define JOSE_TOKEN_MAX \
    (64UL << 10) /* characters; what HTTP servers take as a header is below that */

struct jose_jws {
    struct buf header;       /* decoded, as sent: foreign bytes */
    struct buf payload;      /* decoded; means nothing before jose_jws_verify said 0; secret */
    struct buf signature;    /* decoded */
    struct str signed_bytes; /* "header.payload" in the token of the caller, who keeps it */
};

/* {0} before. ERR_LIMIT above JOSE_TOKEN_MAX, ERR_INVALID for what is no compact JWS; then *ret is
 * released. token must outlive *ret. */
int jose_jws_read(struct str token, struct jose_jws *ret, struct err *err);
void jose_jws_release(struct jose_jws *jws);

struct jose_keys { /* borrowed */
    const struct jose_key *const *keys;
    size_t count;
};

/* The key that the token names, when it is there and `alg` is that key's own. Else NULL and
 * ERR_AUTH (NULL or empty kid, unknown kid, other alg, "none"). */
const struct jose_key *jose_key_for_token(const struct jose_keys *keys, const char *kid,
                                          const char *alg, struct err *err);
/* 0: key signed these bytes with key->alg. ERR_AUTH: it did not. ERR_BUG: OpenSSL cannot use the
 * key. */
int jose_jws_verify(const struct jose_jws *jws, const struct jose_key *key, struct err *err);

#endif
