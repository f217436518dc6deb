/* SPDX-License-Identifier: Apache-2.0
 *
 * log: one line per fact on standard error: JSON by default, or text for people (times of day in
 * UTC). Keys are lower_snake_case; "ts" (RFC 3339, milliseconds) and "level", "msg" come first.
 * Values are cleaned of control characters and cut at 1 KiB. Secrets are never given to it. The
 * wall clock comes from the sink's now_us; without one there are no times. Before log_setup: JSON,
 * level info, standard error. A line over 256 KiB is replaced by one that says so. */
#ifndef KEYTURN_OBS_LOG_H
#define KEYTURN_OBS_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_field {
    const char *key;
    const char *text; /* NULL: the number counts */
    int64_t number;
};

#define LOG_TEXT(k, v) ((struct log_field){.key = (k), .text = (v) != NULL ? (v) : ""})
#define LOG_NUMBER(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v)})

struct log_sink {
    void (*write)(void *ctx, const char *line, unsigned long len); /* NULL: standard error */
    void *ctx;
    int64_t (*now_us)(void);
    bool text;
    enum log_level level;
};

void log_setup(const struct log_sink *sink); /* copied; before the first line */
bool log_level_parse(const char *text, enum log_level *ret);
void log_fields(enum log_level level, const char *msg, const struct log_field *fields,
                unsigned long count);
/* log_info("published", LOG_TEXT("consumer", name), LOG_NUMBER("bytes", n)); */
#define log_at(level, msg, ...)                                         \
    log_fields((level), (msg), (const struct log_field[]){__VA_ARGS__}, \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
#define log_error(msg, ...) log_at(LOG_ERROR, msg, __VA_ARGS__)
#define log_warn(msg, ...) log_at(LOG_WARN, msg, __VA_ARGS__)
#define log_info(msg, ...) log_at(LOG_INFO, msg, __VA_ARGS__)
#define log_debug(msg, ...) log_at(LOG_DEBUG, msg, __VA_ARGS__)

#endif
