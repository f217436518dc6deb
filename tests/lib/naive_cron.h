/* SPDX-License-Identifier: Apache-2.0
 *
 * naive_cron: what a cron expression names, found by asking each minute, for tests. Reads only
 * numbers, *, a-b, steps and lists, and only good ones; days as Vixie's manual has them. */
#ifndef KEYTURN_TESTS_NAIVE_CRON_H
#define KEYTURN_TESTS_NAIVE_CRON_H

#include <stdbool.h>
#include <stdint.h>

struct naive_cron {
    bool minute[60], hour[24], day[32], month[13], weekday[7];
    bool any_day, any_weekday; /* the field begins with * */
};

void naive_cron_read(const char *text, struct naive_cron *ret);
/* The minute of a wall clock, counted since 1970-01-01 00:00 of that clock. */
bool naive_cron_names(const struct naive_cron *cron, int64_t wall_minute);

#endif
