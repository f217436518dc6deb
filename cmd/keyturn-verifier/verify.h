/* SPDX-License-Identifier: Apache-2.0
 *
 * verify: is this token good? The whole judgement, in the order of RFC 8725 and RFC 7519
 * section 7.2: nothing of the payload is believed before the signature is right. */
#ifndef KEYTURN_VERIFIER_VERIFY_H
#define KEYTURN_VERIFIER_VERIFY_H

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "keyring.h"

#define VERIFY_SKEW_S 5

struct verify_rules {
    const char *issuer; /* NULL: any */
    int64_t now_s;      /* since 1970 UTC */
};

/* 0: good, *out gets {"kid":...,"sub":...}. -1: refused, *out gets {"error":sentence}, and err the
 * same sentence. Space around the token is skipped. */
int verify_token(const struct keyring *ring, struct str token, const struct verify_rules *rules,
                 struct buf *out, struct err *err);

#endif
