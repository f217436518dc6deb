/* SPDX-License-Identifier: Apache-2.0
 *
 * encoding: the two base64 alphabets of RFC 4648 (section 4 with padding, section 5 without), read
 * strictly: what can be read has exactly one way to be written. No allocation, no state. Encoding
 * of base64url is jose_base64url in jose/key.h. */
#ifndef KEYTURN_JOSE_ENCODING_H
#define KEYTURN_JOSE_ENCODING_H

#include <stdbool.h>
#include <stddef.h>
#include "base/str.h"

/* Bytes that `len` characters can hold at most. */
#define JOSE_DECODED_MAX(len) ((len) / 4 * 3 + 3)

/* No padding, no space, unused bits zero (RFC 7515 section 2). false: not base64url, or longer than
 * size; out is undefined then. An empty text is zero bytes. */
bool jose_base64url_decode(struct str text, unsigned char *out, size_t size, size_t *ret_len);
/* Padding needed; space, tab, CR, LF skipped. Same results. */
bool jose_base64_decode(struct str text, unsigned char *out, size_t size, size_t *ret_len);
/* Standard base64 with padding; out holds at least (len + 2) / 3 * 4 + 1 bytes. */
void jose_base64(const unsigned char *data, size_t len, char *out);

#endif
