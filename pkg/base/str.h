/* SPDX-License-Identifier: Apache-2.0
 *
 * str: a view of bytes that somebody else owns; not NUL-terminated. */
#ifndef KEYTURN_BASE_STR_H
#define KEYTURN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const char *data;
    size_t len;
};

struct str str_from(const char *text); /* NULL gives the empty view */
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *text);
struct str str_trim(struct str a); /* ASCII space, tab, CR, LF at both ends */
/* Every byte is printable ASCII and no space, as in URLs, tokens and names of headers. */
bool str_is_visible(struct str a);
/* NULL-safe equality of C strings: two NULLs are equal. */
bool text_eq(const char *a, const char *b);
bool text_starts_with(const char *text, const char *prefix);
/* Decimal digits only, the whole view; false on anything else or overflow. */
bool str_to_u64(struct str a, uint64_t *ret);
/* snprintf into dst that says in its result whether all of it fitted. */
bool text_format(char *dst, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
