/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/limits.h"
#include "base/utf8.h"

#define FIRST_CAP 64

static void wipe(const struct buf *b, char *from, size_t len)
{
    if (b->secret && from != NULL)
        explicit_bzero(from, len);
}

/* Moves to memory of cap bytes. A secret is never left behind by realloc. */
static char *move(const struct buf *b, size_t cap)
{
    if (!b->secret)
        return realloc(b->data, cap);
    char *data = malloc(cap);
    if (data == NULL)
        return NULL;
    if (b->data != NULL) {
        memcpy(data, b->data, b->len + 1);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    return data;
}

/* Room for more bytes and the NUL; sets failed when there is none to be had. */
static bool reserve(struct buf *b, size_t more)
{
    size_t max = b->max == 0 ? LIMIT_BUF : b->max;
    if (b->failed)
        return false;
    if (b->len > max || more > max - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap == 0 ? FIRST_CAP : b->cap;
    while (cap < need)
        cap *= 2;
    if (cap > max + 1)
        cap = max + 1;
    char *data = move(b, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_append_str(struct buf *b, struct str s)
{
    buf_append(b, s.data, s.len);
}

void buf_append_text(struct buf *b, const char *text)
{
    if (text != NULL)
        buf_append(b, text, strlen(text));
}

void buf_append_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_appendf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    size_t room = b->failed || b->data == NULL ? 0 : b->cap - b->len;
    int len = vsnprintf(room == 0 ? NULL : b->data + b->len, room, fmt, args);
    va_end(args);
    if (len >= 0 && (size_t)len < room && reserve(b, (size_t)len)) {
        b->len += (size_t)len;
    } else {
        /* What a too small room got is no content: take it back before growing. */
        if (room > 0) {
            wipe(b, b->data + b->len, room);
            b->data[b->len] = '\0';
        }
        if (len < 0)
            b->failed = true;
        else if (reserve(b, (size_t)len)) {
            vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
            b->len += (size_t)len;
        }
    }
    va_end(again);
}

static void append_json_special(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"': buf_append(b, "\\\"", 2); break;
    case '\\': buf_append(b, "\\\\", 2); break;
    case '\b': buf_append(b, "\\b", 2); break;
    case '\f': buf_append(b, "\\f", 2); break;
    case '\n': buf_append(b, "\\n", 2); break;
    case '\r': buf_append(b, "\\r", 2); break;
    case '\t': buf_append(b, "\\t", 2); break;
    default: buf_appendf(b, "\\u%04x", c); break;
    }
}

void buf_append_json_str(struct buf *b, struct str s)
{
    size_t plain = 0; /* start of the run that needs no change */
    size_t i = 0;
    buf_append_char(b, '"');
    while (i < s.len) {
        unsigned char c = (unsigned char)s.data[i];
        size_t len = utf8_char_len(s.data + i, s.len - i);
        if (len > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += len;
            continue;
        }
        buf_append(b, s.data + plain, i - plain);
        if (len == 0)
            buf_append_text(b, "\xEF\xBF\xBD"); /* U+FFFD */
        else
            append_json_special(b, c);
        plain = ++i;
    }
    if (i > plain)
        buf_append(b, s.data + plain, i - plain);
    buf_append_char(b, '"');
}

void buf_append_json(struct buf *b, const char *text)
{
    if (text == NULL)
        buf_append_text(b, "null");
    else
        buf_append_json_str(b, str_from(text));
}

void buf_clear(struct buf *b)
{
    wipe(b, b->data, b->cap);
    b->len = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

void buf_release(struct buf *b)
{
    if (b == NULL)
        return;
    wipe(b, b->data, b->cap);
    free(b->data);
    *b = (struct buf){0};
}

struct str buf_view(const struct buf *b)
{
    return (struct str){.data = buf_text(b), .len = b->len};
}

const char *buf_text(const struct buf *b)
{
    return b->data == NULL ? "" : b->data;
}

char *buf_take(struct buf *b)
{
    if (b->data == NULL)
        reserve(b, 0);
    struct buf empty = {.max = b->max, .secret = b->secret};
    char *data = NULL;
    if (b->failed) {
        buf_release(b);
    } else if (b->data != NULL) {
        data = b->data;
        data[b->len] = '\0';
    }
    *b = empty;
    return data;
}
