/* SPDX-License-Identifier: Apache-2.0
 *
 * serve: HTTP by libwebsockets on the loop, and the keys read again when they change. One thread,
 * at most 128 connections; a body has at most JOSE_TOKEN_MAX bytes and 10 s to arrive. */
#ifndef KEYTURN_VERIFIER_SERVE_H
#define KEYTURN_VERIFIER_SERVE_H

#include "base/err.h"
#include "flags.h"
#include "keyring.h"

/* Serves until SIGTERM or SIGINT. ring is taken over and released. -1: it could not start. */
int serve(const struct flags *flags, struct keyring *ring, struct err *err);

#endif
