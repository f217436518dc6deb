/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster: the Deployments of the consumers, rolled out pod by pod, and what their programs have
 * loaded: a pod reads its mounted object when it starts, a program without a Deployment looks by
 * itself now and then. The kubelet may show a pod what an object held a few seconds ago. */
#ifndef KEYTURN_TESTS_SIM_CLUSTER_H
#define KEYTURN_TESTS_SIM_CLUSTER_H

#include <jansson.h>
#include "api.h"
#include "policy.h"

struct cluster *cluster_new(struct sim *s, const struct policy *p);
void cluster_start(struct sim *s); /* the Deployments and their pods are there */
void cluster_free(struct cluster *c);
/* An object was stored; old NULL: it is new. */
void cluster_changed(struct sim *s, enum api_kind kind, const char *name, const json_t *old,
                     const json_t *new);
/* Those who verify tokens now: size_t it = 0. *ret_loaded: the keys that it accepts. */
bool cluster_next_verifier(const struct cluster *c, size_t *it, const char **ret_name,
                           uint64_t *ret_loaded);
/* How often what a consumer reads has had another hash. */
uint64_t cluster_contents(const struct cluster *c, const char *deployment);

#endif
