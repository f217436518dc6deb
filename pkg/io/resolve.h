/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve: host names to addresses without waiting (c-ares on the loop), A and AAAA, /etc/hosts and
 * the search domains of resolv.conf included. Inside io only: http_curl gives the addresses to
 * libcurl, whose own resolver would block when a request is canceled during a look-up.
 *
 * A good answer is kept for 30 s. When the servers do not answer at all, one up to 5 minutes old
 * still serves: idle connections stay usable while DNS is down. The answer "no such name" is always
 * believed. */
#ifndef KEYTURN_IO_RESOLVE_H
#define KEYTURN_IO_RESOLVE_H

#include "base/err.h"
#include "io/loop.h"

struct resolver;
struct resolve_wait; /* somebody who waits for an answer; gone after its call or its cancel */

/* addresses: "10.0.0.1,[fd00::1]", what CURLOPT_RESOLVE takes, or NULL and err says why (ERR_DNS).
 */
typedef void resolve_fn(void *ctx, const char *addresses, const struct err *err);

/* servers: "addr[:port],..." instead of resolv.conf's, or NULL. loop outlives the resolver. */
struct resolver *resolver_new(struct loop *loop, int timeout_ms, const char *servers,
                              struct err *err);
void resolver_free(struct resolver *r); /* nobody may wait any more */

/* fn is called once, by the loop, never from inside this call. NULL when out of memory. */
struct resolve_wait *resolve_start(struct resolver *r, const char *host, resolve_fn *fn, void *ctx);
void resolve_cancel(struct resolve_wait *wait); /* NULL is fine */

#endif
