/* SPDX-License-Identifier: Apache-2.0
 *
 * version: what this binary was built from (git describe, given by the Makefile to version.c
 * alone). */
#ifndef KEYTURN_VERIFIER_VERSION_H
#define KEYTURN_VERIFIER_VERSION_H

const char *verifier_version(void);

#endif
