/* SPDX-License-Identifier: Apache-2.0
 *
 * date: texts of time <-> numbers. Seconds since 1970 UTC unless said otherwise. RFC 3339 for
 * times; durations as the API writes them: parts of d h m s in any order, at most 64 characters
 * ("30d", "1h30m"). No clock is read here. */
#ifndef KEYTURN_BASE_DATE_H
#define KEYTURN_BASE_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATE_TEXT_MAX 32 /* enough for every text made here, NUL included */

void date_rfc3339(int64_t time_s, char out[DATE_TEXT_MAX]); /* 2006-01-02T15:04:05Z */
void date_micro(int64_t time_us, char out[DATE_TEXT_MAX]); /* ...05.000000Z, Kubernetes MicroTime */
bool date_parse(const char *text, int64_t *ret_s);         /* any RFC 3339 offset and fraction */
bool date_duration_parse(const char *text, int64_t *ret_s);
/* "3d 4h", "25m", "59s": the two largest parts, for sentences. Negative is written as its absolute.
 */
void date_duration_words(int64_t seconds, char out[DATE_TEXT_MAX]);

#endif
