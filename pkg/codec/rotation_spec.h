/* SPDX-License-Identifier: Apache-2.0
 *
 * rotation_spec: what the parts of the spec half of rotation_codec share. Internal to
 * rotation_spec*.c: addresses and times (rotation_spec.c), the planned rotation
 * (rotation_spec_plan.c), consumers (rotation_spec_consumers.c). */
#ifndef KEYTURN_CODEC_ROTATION_SPEC_H
#define KEYTURN_CODEC_ROTATION_SPEC_H

#include "base/attr.h"
#include "codec/rotation_bounds.h"

struct spec_decoder {
    struct arena *arena;
    char error[320]; /* the first; "" none */
};

/* The sentence that says what to write instead. The first counts. */
void spec_reject(struct spec_decoder *d, const char *fmt, ...) ATTR_PRINTF(2, 3);

/* parent.key; where names the parent in sentences. NULL when absent, and when it is of another type
 * or out of its bounds, which is refused. */
const json_t *spec_object(struct spec_decoder *d, const json_t *parent, const char *where,
                          const char *key);
const json_t *spec_array(struct spec_decoder *d, const json_t *parent, const char *key, size_t max,
                         const char *where);
const char *spec_text(struct spec_decoder *d, const json_t *parent, const char *where,
                      const char *key, size_t max);
/* False when absent. */
bool spec_flag(struct spec_decoder *d, const json_t *parent, const char *where, const char *key);
/* Seconds, never negative; otherwise when absent, 0 when refused. */
int64_t spec_duration(struct spec_decoder *d, const json_t *parent, const char *where,
                      const char *key, int64_t otherwise);
/* parent.key.name, required: the name of an object of this namespace. NULL when refused. */
const char *spec_reference(struct spec_decoder *d, const json_t *parent, const char *where,
                           const char *key);
/* RFC 1123, as the API server asks of names; more: "-." for a subdomain, "-" for a label. */
bool spec_is_dns(const char *text, const char *more);
/* Seconds, or -1 when it is no duration of the API. */
int64_t spec_duration_of(const char *text);

/* spec.key, schedule, overlap and approval. After spec.keycloak. */
void spec_plan_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret);
void spec_consumers_decode(struct spec_decoder *d, const json_t *spec, struct rotation_spec *ret);
/* No two consumers alike, and none that publishes into what the KeyRotation called name reads or
 * keeps for itself. */
void spec_consumers_check(struct spec_decoder *d, const char *name,
                          const struct rotation_spec *spec);

#endif
