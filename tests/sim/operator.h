/* SPDX-License-Identifier: Apache-2.0
 *
 * operator: the controller under test, as cmd/keyturn makes it but for leader election and fence:
 * an instance is made, killed at any moment, and made anew. */
#ifndef KEYTURN_TESTS_SIM_OPERATOR_H
#define KEYTURN_TESTS_SIM_OPERATOR_H

#include "sim.h"

struct operator* operator_new(struct sim *s, const char *kubeconfig);
void operator_free(struct operator* o);
void operator_start(struct sim *s);
/* Ends without a word; started again after a while. Half of what is under way still arrives. */
void operator_kill(struct sim *s);
/* Another takes over at once; all that is under way still arrives within its deadline. */
void operator_replace(struct sim *s);

#endif
