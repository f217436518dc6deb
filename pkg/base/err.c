/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/utf8.h"

int err_set(struct err *err, enum err_class class, const char *fmt, ...)
{
    if (err == NULL)
        return -1;
    /* Formatted aside first: an argument may be a text of this very err. */
    char text[sizeof(err->msg)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    *err = (struct err){.class = class};
    err_clean_text(err->msg, sizeof(err->msg), text);
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (err == NULL)
        return -1;
    char text[2 * sizeof(err->msg)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(err->msg), fmt, args);
    va_end(args);
    size_t head = utf8_cut(text, strlen(text));
    snprintf(text + head, sizeof(text) - head, ": %s", err->msg);
    err_clean_text(err->msg, sizeof(err->msg), text);
    return -1;
}

void err_clear(struct err *err)
{
    if (err != NULL)
        *err = (struct err){0};
}

bool err_is_transient(enum err_class class)
{
    switch (class) {
    case ERR_TRANSIENT:
    case ERR_TIMEOUT:
    case ERR_DNS:
    case ERR_REFUSED:
    case ERR_NO_MEMORY: return true;
    case ERR_NONE:
    case ERR_TLS:
    case ERR_AUTH:
    case ERR_FORBIDDEN:
    case ERR_NOT_FOUND:
    case ERR_CONFLICT:
    case ERR_EXISTS:
    case ERR_GONE:
    case ERR_INVALID:
    case ERR_LIMIT:
    case ERR_CANCELED:
    case ERR_BUG: return false;
    }
    return false;
}

/* C0, DEL, and C1 (two bytes, C2 80..C2 9F). */
static bool is_control(const unsigned char *p, size_t len)
{
    return p[0] < 0x20 || p[0] == 0x7F || (len == 2 && p[0] == 0xC2 && p[1] < 0xA0);
}

void err_clean_text(char *dst, unsigned long size, const char *text)
{
    if (size == 0)
        return;
    size_t out = 0;
    size_t left = text == NULL ? 0 : strlen(text);
    while (left > 0) {
        size_t len = utf8_char_len(text, left);
        bool bad = len == 0 || is_control((const unsigned char *)text, len);
        size_t step = len == 0 ? 1 : len;
        size_t need = bad ? 1 : len;
        if (out + need >= size)
            break;
        if (bad)
            dst[out] = '?';
        else
            memmove(dst + out, text, len);
        out += need;
        text += step;
        left -= step;
    }
    dst[out] = '\0';
}
