/* SPDX-License-Identifier: Apache-2.0
 *
 * shell: words of commands that people paste into a POSIX shell (Shell Command Language 2.2,
 * Quoting), where others have chosen the text: a realm's name, a kid. */
#ifndef KEYTURN_BASE_SHELL_H
#define KEYTURN_BASE_SHELL_H

#include <stdbool.h>
#include <stddef.h>

#define SHELL_WORD_SIZE(len) (4 * (len) + 3) /* enough for any text of this length */

/* text as one word, in single quotes where it needs them. False, and out is "", where size is less
 * than SHELL_WORD_SIZE(strlen(text)), or text has characters outside of printable ASCII, which no
 * terminal should be given. size: at least 1. A word that starts with a dash may still be taken for
 * an option. */
bool shell_word(const char *text, char *out, size_t size);

#endif
