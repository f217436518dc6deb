/* SPDX-License-Identifier: Apache-2.0
 *
 * serve: HTTP by web/server.h, and the keys read again when they change. One thread, at most 128
 * connections; a body has at most JOSE_TOKEN_MAX bytes and some space, and 10 s to arrive; an
 * answer has 60 s to be taken. */
#ifndef KEYTURN_VERIFIER_SERVE_H
#define KEYTURN_VERIFIER_SERVE_H

#include "base/err.h"
#include "flags.h"
#include "keyring.h"

/* Serves until SIGTERM or SIGINT. ring is taken over and released. -1: it could not start. */
int serve(const struct flags *flags, struct keyring *ring, struct err *err);

#endif
