/* SPDX-License-Identifier: Apache-2.0
 *
 * flags: the command line of keyturn. */
#ifndef KEYTURN_CMD_FLAGS_H
#define KEYTURN_CMD_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "obs/log.h"

#define FLAGS_NAMESPACES_MAX 64
#define FLAGS_IDENTITY_MAX 127

struct flags {
    const char *kubeconfig;
    const char *namespace; /* NULL: the ServiceAccount's or the kubeconfig's */
    const char *watch_namespaces[FLAGS_NAMESPACES_MAX];
    size_t watch_namespaces_count;
    const char *listen;
    const char *lease_name;
    const char *identity;          /* NULL: host name and a random part */
    const char *fence;             /* prefix of the policies' names; NULL: without */
    const char *operations_policy; /* its name; NULL: without */
    bool leader_elect;
    bool log_text;
    enum log_level log_level;
    int64_t settle_ms;
    int64_t resync_ms;
};

/* Reads argv into *ret. Returns -1 to go on, else the status to exit with (help and version print
 * to standard output, mistakes to standard error with what to write instead). Changes argv's texts.
 */
int flags_parse(int argc, char **argv, struct flags *ret);

#endif
