/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/base64.h"

#include <openssl/evp.h>
#include <string.h>

#define CHUNK_BYTES 768 /* a multiple of 3 */
#define CHUNK_CHARS (CHUNK_BYTES / 3 * 4)

void base64_encode(struct str bytes, struct buf *out)
{
    unsigned char chars[CHUNK_CHARS + 1];
    while (bytes.len > 0) {
        size_t len = bytes.len < CHUNK_BYTES ? bytes.len : CHUNK_BYTES;
        int made = EVP_EncodeBlock(chars, (const unsigned char *)bytes.data, (int)len);
        buf_append(out, chars, (size_t)made);
        bytes.data += len;
        bytes.len -= len;
    }
    explicit_bzero(chars, sizeof(chars));
}

static bool is_digit64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

struct decoder {
    unsigned char chars[CHUNK_CHARS];
    unsigned char bytes[CHUNK_BYTES];
    size_t len;     /* of chars */
    size_t padding; /* '=' seen */
    bool ended;     /* a padded group was decoded: nothing may follow */
};

static int flush(struct decoder *d, struct buf *out)
{
    if (d->len == 0) {
        return 0;
    }
    if (d->len % 4 != 0 || d->padding > 2) {
        return -1;
    }
    int made = EVP_DecodeBlock(d->bytes, d->chars, (int)d->len);
    if (made < (int)d->padding) {
        return -1;
    }
    buf_append(out, d->bytes, (size_t)made - d->padding);
    d->ended = d->padding > 0;
    d->len = 0;
    return 0;
}

static int decode(struct decoder *d, struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            continue;
        }
        if (c == '=') {
            d->padding++;
        } else if (!is_digit64(c) || d->padding > 0) {
            return -1;
        }
        if (d->ended) {
            return -1;
        }
        d->chars[d->len++] = (unsigned char)c;
        if (d->len == sizeof(d->chars) && flush(d, out) != 0) {
            return -1;
        }
    }
    return flush(d, out);
}

int base64_decode(struct str text, struct buf *out)
{
    struct decoder d = {.len = 0};
    int result = decode(&d, text, out);
    explicit_bzero(&d, sizeof(d));
    return result;
}
