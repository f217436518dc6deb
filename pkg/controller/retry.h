/* SPDX-License-Identifier: Apache-2.0
 *
 * retry: how long to wait before a request that failed is sent again. */
#ifndef KEYTURN_CONTROLLER_RETRY_H
#define KEYTURN_CONTROLLER_RETRY_H

#include "base/err.h"
#include "controller/internal.h"

/* Longer with each try up to cap_ms, and as long as the server asked for, up to a minute. */
int64_t retry_delay_ms(struct controller *c, unsigned tries, int64_t cap_ms, const struct err *err);

#endif
