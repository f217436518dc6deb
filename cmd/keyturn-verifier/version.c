/* SPDX-License-Identifier: Apache-2.0 */
#include "version.h"

#ifndef KEYTURN_VERSION
#define KEYTURN_VERSION "unknown"
#endif

const char *verifier_version(void)
{
    return KEYTURN_VERSION;
}
