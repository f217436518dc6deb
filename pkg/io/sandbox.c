/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sandbox.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
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

/* Whatever their arguments. Generous on purpose: libraries choose their calls by version and
 * kernel, and each of these only reads, or touches what is ours already. */
static const char *const allowed[] = {
    /* memory */
    "brk", "mmap", "mmap2", "munmap", "mprotect", "mremap", "madvise", "mincore", "msync", "mlock",
    "mlock2", "munlock", "membarrier", "get_mempolicy",
    /* threads, and the end */
    "futex", "futex_waitv", "futex_time64", "set_robust_list", "get_robust_list", "rseq",
    "set_tid_address", "arch_prctl", "gettid", "getpid", "getppid", "exit", "exit_group", "wait4",
    "waitid", "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
    "sched_get_priority_max", "sched_get_priority_min", "getcpu", "getpriority",
    /* signals to ourselves and from outside */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend",
    "rt_sigtimedwait", "sigaltstack", "signalfd4", "restart_syscall", "pause",
    /* time */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "nanosleep",
    "gettimeofday", "time", "times", "alarm", "getitimer", "setitimer", "timerfd_create",
    "timerfd_settime", "timerfd_gettime",
    /* files, without opening any */
    "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "close",
    "close_range", "lseek", "fstat", "stat", "lstat", "newfstatat", "statx", "statfs", "fstatfs",
    "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "fcntl",
    "flock", "fadvise64", "dup", "dup2", "dup3", "pipe", "pipe2", "eventfd2", "fsync", "fdatasync",
    "sendfile", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    /* waiting */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
    "poll", "ppoll", "select", "pselect6",
    /* sockets, without making any; our ports are open by now */
    "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername", "getsockopt",
    "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
    /* who and where we are, and chance */
    "getuid", "geteuid", "getresuid", "getgid", "getegid", "getresgid", "getgroups", "getpgrp",
    "getpgid", "getsid", "capget", "uname", "sysinfo", "getrusage", "getrlimit", "umask",
    "getrandom"};

/* An intruder's next steps. None of the libraries below us does any of it, so the process ends. */
static const char *const deadly[] = {"execve",
                                     "execveat",
                                     "process_vm_readv",
                                     "process_vm_writev",
                                     "pidfd_getfd",
                                     "mount",
                                     "umount2",
                                     "pivot_root",
                                     "chroot",
                                     "setns",
                                     "unshare",
                                     "move_mount",
                                     "open_tree",
                                     "fsopen",
                                     "fsmount",
                                     "open_by_handle_at",
                                     "kexec_load",
                                     "kexec_file_load",
                                     "init_module",
                                     "finit_module",
                                     "delete_module",
                                     "bpf",
                                     "perf_event_open",
                                     "userfaultfd",
                                     "io_uring_setup",
                                     "reboot",
                                     "swapon",
                                     "swapoff",
                                     "acct",
                                     "quotactl",
                                     "add_key",
                                     "request_key",
                                     "keyctl",
                                     "settimeofday",
                                     "clock_settime",
                                     "adjtimex",
                                     "clock_adjtime",
                                     "mknod",
                                     "mknodat",
                                     "setuid",
                                     "setgid",
                                     "setreuid",
                                     "setregid",
                                     "setresuid",
                                     "setresgid",
                                     "setgroups",
                                     "capset",
                                     "sethostname",
                                     "setdomainname",
                                     "personality"};

/* The leak check of AddressSanitizer traces the process from a clone of it. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif
static const char *const tracing[] = {"ptrace"};

/* Allowed when (argument & mask) == value. */
struct condition {
    const char *name;
    unsigned argument;
    scmp_datum_t mask;
    scmp_datum_t value;
};

#define LOW_32 0xFFFFFFFFU
#define OPEN_FOR_WRITING ((scmp_datum_t)(O_ACCMODE | O_CREAT | O_TRUNC))

static const struct condition conditions[] = {
    /* Threads, no processes. */
    {"clone", 0, CLONE_THREAD, CLONE_THREAD},
    {"open", 1, OPEN_FOR_WRITING, O_RDONLY},
    {"openat", 2, OPEN_FOR_WRITING, O_RDONLY},
    {"socket", 0, LOW_32, AF_INET},
    {"socket", 0, LOW_32, AF_INET6},
    {"socket", 0, LOW_32, AF_UNIX},
    {"socketpair", 0, LOW_32, AF_UNIX},
    /* Reading limits, not setting them. */
    {"prlimit64", 2, ~(scmp_datum_t)0, 0},
    {"ioctl", 1, LOW_32, FIONREAD},
    {"ioctl", 1, LOW_32, FIONBIO},
    {"ioctl", 1, LOW_32, FIOCLEX},
    {"ioctl", 1, LOW_32, TCGETS},
    {"ioctl", 1, LOW_32, TIOCGWINSZ},
    {"prctl", 0, LOW_32, PR_SET_NAME},
    {"prctl", 0, LOW_32, PR_GET_NAME},
    {"prctl", 0, LOW_32, PR_GET_DUMPABLE},
    {"prctl", 0, LOW_32, PR_GET_NO_NEW_PRIVS},
    {"prctl", 0, LOW_32, PR_GET_SECCOMP},
    {"prctl", 0, LOW_32, PR_CAPBSET_READ},
#if SANITIZED
    {"clone", 0, CLONE_VM, CLONE_VM},
    {"prctl", 0, LOW_32, PR_SET_DUMPABLE},
    {"prctl", 0, LOW_32, PR_SET_PTRACER},
#endif
};

/* Their flags are behind a pointer, where no filter can look: glibc takes the old call instead. */
static const char *const absent[] = {"clone3", "openat2"};

static int add_rules(scmp_filter_ctx filter, uint32_t action, const char *const *names,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        /* Below zero: this machine or libseccomp has no such call. */
        int result = number < 0 ? 0 : seccomp_rule_add(filter, action, number, 0);
        if (result != 0)
            return result;
    }
    return 0;
}

static int add_conditions(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        const struct condition *c = &conditions[i];
        int number = seccomp_syscall_resolve_name(c->name);
        struct scmp_arg_cmp same = SCMP_CMP(c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->value);
        int result =
            number < 0 ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &same);
        if (result != 0)
            return result;
    }
    /* abort() and raise(): only to ourselves. */
    struct scmp_arg_cmp self = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0);
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &self);
}

static int set_attributes(scmp_filter_ctx filter)
{
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (result == 0) /* threads that are there already */
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == 0) /* a binary tree over the numbers: the filter runs at each call */
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return result;
}

int sandbox_final(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int result = -ENOMEM;
    if (filter == NULL)
        goto out;
    result = set_attributes(filter);
    if (result == 0)
        result = add_rules(filter, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed));
    if (result == 0)
        result = add_rules(filter, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_LEN(deadly));
    if (result == 0)
        result = add_rules(filter, SANITIZED ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS, tracing,
                           ARRAY_LEN(tracing));
    if (result == 0)
        result = add_rules(filter, SCMP_ACT_ERRNO(ENOSYS), absent, ARRAY_LEN(absent));
    if (result == 0)
        result = add_conditions(filter);
    if (result == 0)
        result = seccomp_load(filter);
out:
    if (filter != NULL)
        seccomp_release(filter);
    if (result != 0)
        return err_set(err, ERR_BUG, "the seccomp filter cannot be loaded: %s", strerror(-result));
    return 0;
}
