/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "base/attr.h"

int sandbox_early(struct err *err)
{
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_set(err, ERR_BUG, "core dumps cannot be switched off: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set(err, ERR_BUG, "no_new_privs cannot be set: %s", strerror(errno));
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return err_set(err, ERR_BUG, "SIGPIPE cannot be ignored: %s", strerror(errno));
    (void)umask(077);
    return 0;
}

/* What a program that only speaks over sockets never does. Each would be an intruder's next step,
 * so that the process ends at once. An allow list would be tighter, but the libraries below us
 * choose their calls by version and kernel, and a killed operator rotates nothing. */
static const char *const forbidden[] = {
    "execve",
    "execveat",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "bpf",
    "delete_module",
    "perf_event_open",
    "userfaultfd",
    "reboot",
    "swapon",
    "swapoff",
    "keyctl",
    "add_key",
    "request_key",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "acct",
    "quotactl",
    "mknod",
    "mknodat",
    "open_by_handle_at",
    "name_to_handle_at",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "pidfd_getfd",
    "io_uring_setup",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "capset",
    "sethostname",
    "personality",
};

/* What it never needs but a library may try: refused without harm. */
static const char *const refused[] = {"unlink", "unlinkat", "rename",  "renameat",  "renameat2",
                                      "link",   "linkat",   "symlink", "symlinkat", "chmod",
                                      "fchmod", "fchmodat", "chown",   "fchown",    "fchownat",
                                      "lchown", "truncate", "mkdir",   "mkdirat",   "rmdir"};

static int add_rules(scmp_filter_ctx filter, uint32_t action, const char *const *names,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number == __NR_SCMP_ERROR)
            continue; /* this libseccomp or machine has no such call */
        int result = seccomp_rule_add(filter, action, number, 0);
        if (result != 0)
            return result;
    }
    return 0;
}

int sandbox_final(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int result = -ENOMEM;
    if (filter == NULL)
        goto out;
    result = add_rules(filter, SCMP_ACT_KILL_PROCESS, forbidden, ARRAY_LEN(forbidden));
    if (result == 0)
        result = add_rules(filter, SCMP_ACT_ERRNO(EPERM), refused, ARRAY_LEN(refused));
    if (result == 0)
        result = seccomp_load(filter);
out:
    if (filter != NULL)
        seccomp_release(filter);
    if (result != 0)
        return err_set(err, ERR_BUG, "the seccomp filter cannot be loaded: %s", strerror(-result));
    return 0;
}
