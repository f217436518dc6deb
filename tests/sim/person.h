/* SPDX-License-Identifier: Apache-2.0
 *
 * person: those who command rotations by annotations, approve or call them off, mostly as status
 * tells them to and at times otherwise; and what befalls the world from outside at no request. */
#ifndef KEYTURN_TESTS_SIM_PERSON_H
#define KEYTURN_TESTS_SIM_PERSON_H

#include "policy.h"

struct person *person_new(struct sim *s, const struct policy *p);
void person_start(struct sim *s); /* the KeyRotation is there */
void person_free(struct person *p);
/* From here on nothing new is asked for; what waits for a person gets its approval. */
void person_rest(struct sim *s);
const char *person_phase(const struct sim *s); /* status.phase, "" none */
const char *person_why(const struct sim *s);   /* what status says it waits for */

#endif
