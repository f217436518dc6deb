/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics: counters, gauges and histograms with labels, rendered as Prometheus text (exposition format 0.0.4).
 * A series is named by its family and its label values; series are bounded per family (METRICS_SERIES_MAX, then
 * one series with every label "overflow"). Not thread-safe: the loop's thread only. */
#ifndef KEYTURN_OBS_METRICS_H
#define KEYTURN_OBS_METRICS_H

#include <stdint.h>
#include "base/buf.h"

#define METRICS_SERIES_MAX 20000
#define METRICS_LABELS_MAX 6

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics; /* a registry */
struct metrics_family;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/* labels: names, NULL-terminated array kept by the caller for ever. Histograms: buckets of seconds 5ms..30s. */
struct metrics_family *metrics_family(struct metrics *m, enum metrics_type type, const char *name, const char *help,
                                      const char *const *labels);
/* values: as many as labels. NULL family is a no-op, so that callers need not check for memory. */
void metrics_add(struct metrics_family *f, const char *const *values, double by);
void metrics_set(struct metrics_family *f, const char *const *values, double to);
void metrics_observe(struct metrics_family *f, const char *const *values, double seconds);
/* Removes every series whose first labels equal the given prefix (an object went away). */
void metrics_forget(struct metrics_family *f, const char *const *values, unsigned count);
void metrics_render(const struct metrics *m, struct buf *out);

#endif
