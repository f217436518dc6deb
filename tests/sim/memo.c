/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that were read once are not read again: the same texts give the same key, and OpenSSL takes
 * most of a seed's time for it otherwise. The linker puts these before jose's own. */
#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "jose/key.h"
#include "sim.h"

static struct map known; /* for the life of the process */

struct jose_key *__real_jose_key_from_jwk(const struct jose_jwk *jwk, struct err *err);
struct jose_key *__wrap_jose_key_from_jwk(const struct jose_jwk *jwk, struct err *err);
struct jose_key *__real_jose_key_from_spki(const char *kid, const char *alg, const char *spki64,
                                           const char *cert64, struct err *ret_cert_err,
                                           struct err *err);
struct jose_key *__wrap_jose_key_from_spki(const char *kid, const char *alg, const char *spki64,
                                           const char *cert64, struct err *ret_cert_err,
                                           struct err *err);

static void keep(const struct buf *texts, struct jose_key *key)
{
    if (key != NULL && !texts->failed)
        (void)map_put(&known, buf_text(texts), jose_key_ref(key), NULL);
}

struct jose_key *__wrap_jose_key_from_jwk(const struct jose_jwk *jwk, struct err *err)
{
    const char *const texts[] = {jwk->kid, jwk->kty, jwk->alg, jwk->crv, jwk->n,
                                 jwk->e,   jwk->x,   jwk->y,   jwk->x5c};
    struct buf cleanup_buf all = {0};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        buf_append_text(&all, texts[i]);
        buf_append_char(&all, '\n');
    }
    struct jose_key *key = map_get(&known, buf_text(&all));
    if (key != NULL)
        return jose_key_ref(key);
    key = __real_jose_key_from_jwk(jwk, err);
    keep(&all, key);
    return key;
}

struct jose_key *__wrap_jose_key_from_spki(const char *kid, const char *alg, const char *spki64,
                                           const char *cert64, struct err *ret_cert_err,
                                           struct err *err)
{
    struct buf cleanup_buf all = {0};
    struct err cert_err = {0};
    buf_appendf(&all, "%s\n%s\n", kid, alg);
    buf_append_text(&all, spki64);
    buf_append_char(&all, '\n');
    buf_append_text(&all, cert64);
    struct jose_key *key = map_get(&known, buf_text(&all));
    if (key != NULL)
        return jose_key_ref(key);
    key = __real_jose_key_from_spki(kid, alg, spki64, cert64, &cert_err, err);
    if (ret_cert_err != NULL)
        *ret_cert_err = cert_err;
    if (cert_err.class == ERR_NONE)
        keep(&all, key);
    return key;
}
