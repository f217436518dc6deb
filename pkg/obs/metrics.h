/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics: counters, gauges and histograms with labels, rendered as Prometheus text (exposition
 * format 0.0.4). A series is named by its family and its label values; series are bounded per
 * family (METRICS_SERIES_MAX, then one series with every label "overflow"). Families come in the
 * order they were made, series sorted by label values. Label values are cleaned of control
 * characters and cut at METRICS_VALUE_BYTES_MAX. Not thread-safe: the loop's thread only. */
#ifndef KEYTURN_OBS_METRICS_H
#define KEYTURN_OBS_METRICS_H

#include <stdint.h>
#include "base/buf.h"

#define METRICS_SERIES_MAX 20000
#define METRICS_LABELS_MAX 6
#define METRICS_VALUE_BYTES_MAX 512 /* a URL fits */

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics; /* a registry */
struct metrics_family;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/* name, help and labels (names, NULL-terminated array; NULL for none) are kept by the caller for
 * ever. The same name again gives the same family. Histograms have buckets of seconds, 5 ms to 30
 * s. A counter or histogram without labels shows 0 from the start. NULL: out of memory, more than
 * METRICS_LABELS_MAX labels, or the name is taken by another type. */
struct metrics_family *metrics_family(struct metrics *m, enum metrics_type type, const char *name,
                                      const char *help, const char *const *labels);
/* values: as many as labels (NULL for none; a NULL value is ""). A NULL family is a no-op, so that
 * callers need not check for memory. What a type cannot do is a no-op too: a counter does not go
 * down, only histograms observe, and they take no number that is not finite. metrics_set on a
 * counter is for totals that somebody else counts (CPU seconds). */
void metrics_add(struct metrics_family *f, const char *const *values, double by);
void metrics_set(struct metrics_family *f, const char *const *values, double to);
void metrics_observe(struct metrics_family *f, const char *const *values, double seconds);
/* Removes every series whose first count labels equal values (an object went away). */
void metrics_forget(struct metrics_family *f, const char *const *values, unsigned count);
void metrics_render(const struct metrics *m, struct buf *out);

#endif
