/* SPDX-License-Identifier: Apache-2.0
 *
 * json: outside bytes to jansson trees, within bounds, and texts out of trees. jansson is seeded
 * once by json_setup. Depth is at most LIMIT_JSON_DEPTH (checked before parsing); duplicate keys
 * are refused; invalid UTF-8 is refused. Errors never quote the text. With `strip_managed`,
 * `json_load` skips what makes up most of an object and nobody here reads: metadata.managedFields
 * reads as [], the pod spec of a template as {}, kubectl's last-applied-configuration as "". Then a
 * string may also hold a NUL: whoever may annotate a pod can write one, and it must not spoil the
 * list that the pod is in. Such a string reads as absent (json_text).
 * json_setup also makes jansson wipe memory that it gives back, because trees may hold tokens. */
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

/* NULL-safe walks: json_path(root, "metadata", "labels", NULL). Borrowed, NULL when absent or not
 * an object. */
json_t *json_path(const json_t *root, ...) __attribute__((sentinel));
/* NULL when absent, no string, or one with a NUL inside. */
const char *json_text(const json_t *object, const char *key);
const char *json_text_of(const json_t *value); /* the same of a value */
int64_t json_number(const json_t *object, const char *key, int64_t otherwise);
bool json_flag(const json_t *object, const char *key); /* false when absent */

void json_cleanup(json_t **tree);
#define cleanup_json __attribute__((cleanup(json_cleanup)))

#endif
