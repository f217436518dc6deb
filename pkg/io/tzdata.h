/* SPDX-License-Identifier: Apache-2.0
 *
 * tzdata: a time zone by its name, from the system's tzdata (/usr/share/zoneinfo). */
#ifndef KEYTURN_IO_TZDATA_H
#define KEYTURN_IO_TZDATA_H

#include "base/err.h"
#include "base/zone.h"

/* The zone is right from from_s on, see base/zone.h. UTC is read from no file. -1: the sentence in
 * err says what to write, or what is missing; *ret is untouched. */
int tzdata_read(const char *name, int64_t from_s, struct zone *ret, struct err *err);

#endif
