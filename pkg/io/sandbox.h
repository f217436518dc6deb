/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox: the process gives up what it never needs, in two steps, and never gets it back. Neither
 * step needs a privilege: both work as any user in a container.
 *
 * Not dumpable also means that most of /proc/self belongs to root: mem, maps and environ cannot be
 * read when we are not root; statm, status and fd can (Linux 6.18). */
#ifndef KEYTURN_IO_SANDBOX_H
#define KEYTURN_IO_SANDBOX_H

#include "base/err.h"

/* First thing in main: no core dumps (RLIMIT_CORE 0, PR_SET_DUMPABLE 0), no_new_privs, SIGPIPE
 * ignored, umask 077. */
int sandbox_early(struct err *err);
/* After configuration is read and ports are open: a seccomp filter (libseccomp) for all threads,
 * also those that libraries start later. Allowed is what a program does that reads files and speaks
 * over sockets; files are opened for reading only, no process is started, no signal sent. The rest
 * is refused with EPERM, which libraries cope with; what only an intruder calls (execve, ptrace,
 * mount, bpf, setuid, ...) ends the process at once. Built with AddressSanitizer, ptrace is left
 * alone: the leak check at exit uses it. */
int sandbox_final(struct err *err);

#endif
