/* SPDX-License-Identifier: Apache-2.0
 *
 * patch: JSON merge patch (RFC 7386) and JSON patch (RFC 6902: add, remove, replace, test) on
 * jansson trees. */
#ifndef KEYTURN_TESTS_SIM_PATCH_H
#define KEYTURN_TESTS_SIM_PATCH_H

#include <jansson.h>
#include <stdbool.h>

/* What target, an object, becomes; what stays as it was is shared with it. */
json_t *patch_merge(const json_t *target, const json_t *patch);
/* False: a test failed or a path is not there; target may be changed in part then. */
bool patch_json(json_t *target, const json_t *operations);

#endif
