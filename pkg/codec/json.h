/* SPDX-License-Identifier: Apache-2.0
 *
 * json: outside bytes to jansson trees, within bounds, and texts out of trees. jansson is seeded once by
 * json_setup. Depth is at most LIMIT_JSON_DEPTH (checked before parsing); duplicate keys are refused;
 * invalid UTF-8 is refused. `json_load` skips the value of "managedFields" (with `strip_managed`): it is the
 * larger half of most objects and nobody here reads it. */
#ifndef KEYTURN_CODEC_JSON_H
#define KEYTURN_CODEC_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

void json_setup(uint32_t seed);
/* what: named in the error ("JWKS"). The caller owns the tree (json_decref, or cleanup_json). */
json_t *json_load(struct str text, bool strip_managed, const char *what, struct err *err);

/* NULL-safe walks: json_path(root, "metadata", "labels", NULL). Borrowed, NULL when absent or not an object. */
json_t *json_path(const json_t *root, ...) __attribute__((sentinel));
const char *json_text(const json_t *object, const char *key);   /* NULL when absent or no string */
int64_t json_number(const json_t *object, const char *key, int64_t otherwise);
bool json_flag(const json_t *object, const char *key);          /* false when absent */

void json_cleanup(json_t **tree);
#define cleanup_json __attribute__((cleanup(json_cleanup)))

#endif
