/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdbool.h>

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* The second byte decides about overlong forms, surrogates and the upper end. */
static bool is_second(unsigned char first, unsigned char second)
{
    switch (first) {
    case 0xE0: return second >= 0xA0 && second <= 0xBF;
    case 0xED: return second >= 0x80 && second <= 0x9F;
    case 0xF0: return second >= 0x90 && second <= 0xBF;
    case 0xF4: return second >= 0x80 && second <= 0x8F;
    default: return is_tail(second);
    }
}

size_t utf8_char_len(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80)
        return 1;
    size_t need = p[0] >= 0xC2 && p[0] <= 0xDF ? 2 : (p[0] & 0xF0) == 0xE0 ? 3 : 0;
    if (p[0] >= 0xF0 && p[0] <= 0xF4)
        need = 4;
    if (need == 0 || len < need || !is_second(p[0], p[1]))
        return 0;
    for (size_t i = 2; i < need; i++)
        if (!is_tail(p[i]))
            return 0;
    return need;
}

size_t utf8_cut(const char *text, size_t len)
{
    size_t back = 0;
    while (back < len && back < 3 && is_tail((unsigned char)text[len - 1 - back]))
        back++;
    if (back == len)
        return len;
    unsigned char lead = (unsigned char)text[len - 1 - back];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return need > back + 1 ? len - 1 - back : len;
}
