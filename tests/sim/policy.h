/* SPDX-License-Identifier: Apache-2.0
 *
 * policy: what a seed has asked the operator to do: the KeyRotation and its consumers. */
#ifndef KEYTURN_TESTS_SIM_POLICY_H
#define KEYTURN_TESTS_SIM_POLICY_H

#include <jansson.h>
#include "sim.h"

#define CONSUMERS_MAX 3

struct consumer_policy {
    char name[32], object[40];
    bool secret;
    bool restarts; /* a Deployment of the consumer's name; else its program looks by itself */
    int replicas;
    int64_t delay_s; /* proof by delay */
};

struct policy {
    const char *algorithm;
    bool managed; /* spec.key */
    bool standby, adopt, promote_manual, retire_manual, two_person;
    int64_t every_s, window_s;
    int64_t publish_s, retire_s; /* retire_s -1: auto */
    int64_t delete_s, refresh_s;
    int64_t token_s, session_s; /* lifespans of the realm */
    struct consumer_policy consumers[CONSUMERS_MAX];
    size_t consumers_count;
};

void policy_choose(struct sim *s, struct policy *ret);
/* How long a token may live under it, and still be accepted. */
int64_t policy_life_s(const struct policy *p);
json_t *policy_spec(const struct policy *p, bool scheduled);

#endif
