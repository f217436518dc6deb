/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml: one YAML document to a jansson tree, as kubectl reads it: plain scalars are null, booleans
 * (yes and on too), numbers or texts by their look; quoted and block scalars are texts; JSON is
 * YAML. Bounds: LIMIT_YAML bytes, depth YAML_DEPTH_MAX. Refused, with the line: anchors and
 * aliases, tags but !!str, keys that are no plain text, a key twice in one mapping, a second
 * document. Errors never quote the text. */
#ifndef KEYTURN_CODEC_YAML_H
#define KEYTURN_CODEC_YAML_H

#include <jansson.h>
#include "base/err.h"
#include "base/str.h"

#define LIMIT_YAML (1UL << 20)
#define YAML_DEPTH_MAX 32

/* what: named in the error ("rotation.yaml"). A mapping or list at the top; the caller owns it
 * (json_decref, or cleanup_json). */
json_t *yaml_load(struct str text, const char *what, struct err *err);

#endif
