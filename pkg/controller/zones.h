/* SPDX-License-Identifier: Apache-2.0
 *
 * zones: time zones by name, read once from the system's tzdata and kept, whoever asks. Dropped
 * after a day, so that a new tzdata is read. */
#ifndef KEYTURN_CONTROLLER_ZONES_H
#define KEYTURN_CONTROLLER_ZONES_H

#include "base/err.h"
#include "base/map.h"
#include "base/zone.h"

/* Borrowed until the next call with another name. NULL: the sentence in err says what to write, or
 * what is missing. zones: {0} is empty. */
const struct zone *zones_find(struct map *zones, const char *name, int64_t now_s, struct err *err);
void zones_release(struct map *zones);

#endif
