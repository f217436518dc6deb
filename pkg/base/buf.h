/* SPDX-License-Identifier: Apache-2.0
 *
 * buf: growing bytes with a ceiling. `struct buf cleanup_buf b = {0};` is empty and has the default
 * ceiling LIMIT_BUF. Appending past the ceiling or out of memory sets `failed`, drops nothing that
 * is there and makes every later append a no-op, so that a chain of appends is checked once, at its
 * end. data is always NUL-terminated when not NULL. What is appended must not lie inside the buf
 * itself. */
#ifndef KEYTURN_BASE_BUF_H
#define KEYTURN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include "base/attr.h"
#include "base/str.h"

struct buf {
    char *data; /* owned */
    size_t len;
    size_t cap;
    size_t max; /* 0 = LIMIT_BUF */
    bool failed;
    bool secret; /* wiped whenever memory is given back, at growth too; set before the first append
                  */
};

void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_str(struct buf *b, struct str s);
void buf_append_text(struct buf *b, const char *text); /* NULL appends nothing */
void buf_append_char(struct buf *b, char c);
void buf_appendf(struct buf *b, const char *fmt, ...) ATTR_PRINTF(2, 3);
/* JSON string with its quotes (RFC 8259); invalid UTF-8 becomes U+FFFD. NULL appends null. */
void buf_append_json(struct buf *b, const char *text);
void buf_append_json_str(struct buf *b, struct str s);
void buf_clear(struct buf *b);   /* empty again, memory and ceiling kept */
void buf_release(struct buf *b); /* gives memory back (wiped when secret); {0} again */
struct str buf_view(const struct buf *b);
const char *buf_text(const struct buf *b); /* "" when empty; never NULL */
/* Takes the bytes out as a malloc'ed string (NULL only when failed, the bytes are gone then); b is
 * empty afterwards, its ceiling and secrecy kept. The caller wipes a secret before free. */
char *buf_take(struct buf *b);

#define cleanup_buf ATTR_CLEANUP(buf_release)

#endif
