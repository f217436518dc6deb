/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shell.h"

#include <string.h>

static bool is_plain(const char *text)
{
    return text[0] != '\0' &&
           text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                             "._@%+=:,/-")] == '\0';
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            return false;
    return true;
}

bool shell_word(const char *text, char *out, size_t size)
{
    static const char quote[] = "'\\''"; /* out of the quotes, one that is escaped, in again */
    bool quoted = !is_plain(text);
    size_t len = 0;
    out[0] = '\0';
    if (!is_printable(text) || size < SHELL_WORD_SIZE(strlen(text)))
        return false;
    if (quoted)
        out[len++] = '\'';
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            memcpy(out + len, quote, sizeof(quote) - 1);
            len += sizeof(quote) - 1;
        } else {
            out[len++] = *text;
        }
    }
    if (quoted)
        out[len++] = '\'';
    out[len] = '\0';
    return true;
}
