/* SPDX-License-Identifier: Apache-2.0
 *
 * flags: the command line. Texts are those of argv. */
#ifndef KEYTURN_VERIFIER_FLAGS_H
#define KEYTURN_VERIFIER_FLAGS_H

#include <stdbool.h>

struct flags {
    const char *keys;   /* a mounted directory */
    const char *listen; /* never NULL */
    const char *issuer; /* NULL: any */
    const char *check;  /* a file with one token, "-" for standard input; NULL: serve */
    bool reload;
};

/* 0: go on. Else *ret_exit is the exit status: help and version are printed, and so is what is
 * wrong with the command line, with the line that would be right. */
int flags_parse(int argc, char **argv, struct flags *ret, int *ret_exit);

#endif
