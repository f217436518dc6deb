/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base64.h"

#include <stdlib.h>
#include <string.h>
#include "jose/encoding.h"

#define CHUNK_BYTES 768 /* a multiple of 3 */

void base64_encode(struct str bytes, struct buf *out)
{
    char chars[CHUNK_BYTES / 3 * 4 + 1];
    while (bytes.len > 0) {
        size_t len = bytes.len < CHUNK_BYTES ? bytes.len : CHUNK_BYTES;
        jose_base64((const unsigned char *)bytes.data, len, chars);
        buf_append_text(out, chars);
        bytes.data += len;
        bytes.len -= len;
    }
    explicit_bzero(chars, sizeof(chars));
}

int base64_decode(struct str text, struct buf *out)
{
    size_t size = JOSE_DECODED_MAX(text.len);
    size_t len = 0;
    unsigned char *bytes = malloc(size);
    if (bytes == NULL) {
        return -1;
    }
    bool good = jose_base64_decode(text, bytes, size, &len);
    if (good) {
        buf_append(out, bytes, len);
    }
    explicit_bzero(bytes, size);
    free(bytes);
    return good ? 0 : -1;
}
