/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox: the process gives up what it never needs, in two steps, and never gets it back. */
#ifndef KEYTURN_IO_SANDBOX_H
#define KEYTURN_IO_SANDBOX_H

#include "base/err.h"

/* First thing in main: no core dumps (RLIMIT_CORE 0, PR_SET_DUMPABLE 0), no_new_privs, SIGPIPE
 * ignored, umask 077. */
int sandbox_early(struct err *err);
/* After configuration is read: a seccomp filter (libseccomp) that ends the process at calls only an
 * intruder makes (execve, ptrace, mount, bpf, setuid, ...) and refuses with EPERM those that change
 * files. */
int sandbox_final(struct err *err);

#endif
