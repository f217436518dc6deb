/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/buf.h"
#include "base/date.h"
#include "base/err.h"
#include "base/str.h"

#define VALUE_BYTES_MAX 1024
#define LINE_BYTES_MAX (256UL << 10)

/* The one setting of the process that everybody shares, like the registry of metrics. */
static struct log_sink current = {.level = LOG_INFO};

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

void log_setup(const struct log_sink *sink)
{
    current = *sink;
}

bool log_level_parse(const char *text, enum log_level *ret)
{
    for (size_t n = 0; n < ARRAY_LEN(level_names); n++) {
        if (text_eq(text, level_names[n])) {
            *ret = (enum log_level)n;
            return true;
        }
    }
    return false;
}

/* One write for a line, so that lines of several processes on one pipe do not mix. A log that
 * cannot be written has nowhere to say so. */
static void put_line(const char *line, size_t len)
{
    if (current.write != NULL) {
        current.write(current.ctx, line, len);
        return;
    }
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line += n;
        len -= (size_t)n;
    }
}

static void append_json_value(struct buf *b, const struct log_field *f)
{
    char clean[VALUE_BYTES_MAX + 1];
    if (f->text == NULL) {
        buf_appendf(b, "%lld", (long long)f->number);
        return;
    }
    err_clean_text(clean, sizeof(clean), f->text);
    buf_append_json(b, clean);
}

static void append_json(struct buf *b, enum log_level level, const char *msg,
                        const struct log_field *fields, unsigned long count)
{
    char clean[VALUE_BYTES_MAX + 1];
    buf_append_char(b, '{');
    if (current.now_us != NULL) {
        char text[DATE_TEXT_MAX];
        date_micro(current.now_us(), text);
        char *dot = strchr(text, '.');
        buf_appendf(b, "\"ts\":\"%.*sZ\",", dot != NULL ? (int)(dot - text) + 4 : 0, text);
    }
    buf_appendf(b, "\"level\":\"%s\",\"msg\":", level_names[level]);
    err_clean_text(clean, sizeof(clean), msg);
    buf_append_json(b, clean);
    for (unsigned long n = 0; n < count; n++) {
        buf_append_char(b, ',');
        buf_append_json(b, fields[n].key);
        buf_append_char(b, ':');
        append_json_value(b, &fields[n]);
    }
    buf_append_text(b, "}\n");
}

/* Bare where that is clear, else between quotes. */
static void append_text_value(struct buf *b, const struct log_field *f)
{
    char clean[VALUE_BYTES_MAX + 1];
    if (f->text == NULL) {
        buf_appendf(b, "%lld", (long long)f->number);
        return;
    }
    err_clean_text(clean, sizeof(clean), f->text);
    if (clean[0] != '\0' && strpbrk(clean, " \"=\\") == NULL)
        buf_append_text(b, clean);
    else
        buf_append_json(b, clean);
}

static void append_text(struct buf *b, enum log_level level, const char *msg,
                        const struct log_field *fields, unsigned long count)
{
    char clean[VALUE_BYTES_MAX + 1];
    if (current.now_us != NULL) {
        char text[DATE_TEXT_MAX];
        date_micro(current.now_us(), text);
        const char *clock = strchr(text, 'T');
        buf_appendf(b, "%.8s ", clock != NULL ? clock + 1 : text);
    }
    err_clean_text(clean, sizeof(clean), msg);
    buf_appendf(b, "%-5s %s", level_names[level], clean);
    for (unsigned long n = 0; n < count; n++) {
        buf_appendf(b, "%s%s=", n == 0 ? "  " : " ", fields[n].key);
        append_text_value(b, &fields[n]);
    }
    buf_append_char(b, '\n');
}

void log_fields(enum log_level level, const char *msg, const struct log_field *fields,
                unsigned long count)
{
    static const char lost[] =
        "{\"level\":\"error\",\"msg\":\"a log line was lost: too long, or out of memory\"}\n";
    if (level > current.level)
        return;
    struct buf cleanup_buf b = {.max = LINE_BYTES_MAX};
    if (current.text)
        append_text(&b, level, msg, fields, count);
    else
        append_json(&b, level, msg, fields, count);
    if (b.failed)
        put_line(lost, sizeof(lost) - 1);
    else
        put_line(b.data, b.len);
}
