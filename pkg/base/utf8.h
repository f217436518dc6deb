/* SPDX-License-Identifier: Apache-2.0
 *
 * utf8: the one place that knows what a well-formed UTF-8 sequence is (Unicode 15, table 3-7: no
 * surrogates, no overlong forms, nothing above U+10FFFF). */
#ifndef KEYTURN_BASE_UTF8_H
#define KEYTURN_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character at text (1..4), or 0 when the bytes there are none. len > 0. */
size_t utf8_char_len(const char *text, size_t len);
/* The largest length <= len that does not end inside a character. */
size_t utf8_cut(const char *text, size_t len);

#endif
