/* SPDX-License-Identifier: Apache-2.0
 *
 * credentials: reads one Secret with Keycloak credentials, by its name, for keycloak/source.h. The
 * bytes live as long as the call that hands them over. */
#ifndef KEYTURN_CONTROLLER_CREDENTIALS_H
#define KEYTURN_CONTROLLER_CREDENTIALS_H

#include "keycloak/source.h"
#include "kube/kube.h"

/* kube outlives whatever uses the port. */
struct source_credentials_port credentials_port(struct kube *kube);

#endif
