/* SPDX-License-Identifier: Apache-2.0
 *
 * live: one KeyRotation as the API server has it now: one GET, by a kubeconfig, with 15 s to
 * answer. Nothing is written. */
#ifndef KEYTURN_CMD_LIVE_H
#define KEYTURN_CMD_LIVE_H

#include <jansson.h>
#include "base/err.h"

/* kubeconfig: NULL is $KUBECONFIG, else ~/.kube/config. namespace: NULL is the context's. The
 * caller owns the tree. NULL: the sentence in err. */
json_t *live_get(const char *kubeconfig, const char *namespace, const char *name, struct err *err);

#endif
