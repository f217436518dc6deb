/* SPDX-License-Identifier: Apache-2.0 */
#include "jose/encoding.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <string.h>
#include "jose/key.h"

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Value of a character, or -1. plus, slash: the two that differ between the alphabets. */
static int digit(char c, char plus, char slash)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == plus ? 62 : c == slash ? 63 : -1;
}

struct decoder {
    unsigned char *out;
    size_t size;
    size_t len;
    uint32_t bits; /* the last `held` of them are not written yet */
    unsigned held; /* 0, 2, 4 or 6 */
    size_t chars;  /* taken so far */
};

static bool take(struct decoder *d, int value)
{
    if (value < 0) {
        return false;
    }
    d->bits = (d->bits << 6 | (uint32_t)value) & 0x3fff;
    d->held += 6;
    d->chars++;
    if (d->held >= 8) {
        d->held -= 8;
        if (d->len == d->size) {
            return false;
        }
        d->out[d->len++] = (unsigned char)(d->bits >> d->held & 0xff);
    }
    return true;
}

/* A lone last character holds no byte, and bits that reach no byte are zero. */
static bool ends_well(const struct decoder *d)
{
    return d->chars % 4 != 1 && (d->bits & ((1U << d->held) - 1)) == 0;
}

bool jose_base64url_decode(struct str text, unsigned char *out, size_t size, size_t *ret_len)
{
    struct decoder d = {.out = out, .size = size};
    for (size_t i = 0; i < text.len; i++) {
        if (!take(&d, digit(text.data[i], '-', '_'))) {
            return false;
        }
    }
    *ret_len = d.len;
    return ends_well(&d);
}

bool jose_base64_decode(struct str text, unsigned char *out, size_t size, size_t *ret_len)
{
    struct decoder d = {.out = out, .size = size};
    size_t padding = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            continue;
        }
        if (c == '=') {
            padding++;
        } else if (padding > 0 || !take(&d, digit(c, '+', '/'))) {
            return false;
        }
    }
    *ret_len = d.len;
    return ends_well(&d) && padding == (4 - d.chars % 4) % 4;
}

void jose_base64(const unsigned char *data, size_t len, char *out)
{
    /* EVP_EncodeBlock counts in int. */
    size_t done = 0;
    out[0] = '\0';
    while (done < len) {
        size_t piece = len - done < 3072 ? len - done : 3072;
        out += EVP_EncodeBlock((unsigned char *)out, data + done, (int)piece);
        done += piece;
    }
}

void jose_base64url(const unsigned char *data, size_t len, char *out)
{
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | data[i]) & 0xffff;
        held += 8;
        while (held >= 6) {
            held -= 6;
            *out++ = url_alphabet[bits >> held & 0x3f];
        }
    }
    if (held > 0) {
        *out++ = url_alphabet[bits << (6 - held) & 0x3f];
    }
    *out = '\0';
}

void jose_sha256(const void *data, size_t len, char out[JOSE_HASH_TEXT])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    out[0] = '\0';
    if (SHA256(data, len, digest) != NULL) {
        jose_base64url(digest, sizeof(digest), out);
    }
}
