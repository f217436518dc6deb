/* SPDX-License-Identifier: Apache-2.0
 * What the sandbox takes away, seen in a child of our own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <errno.h>
#include "io/sandbox.h"

/* Runs act in a child behind both steps; the wait status. */
static int behind_sandbox(int (*act)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err = {0};
        if (sandbox_early(&err) != 0 || sandbox_final(&err) != 0)
            _exit(99);
        _exit(act());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int run_program(void)
{
    char *const argv[] = {"true", NULL};
    (void)execv("/bin/true", argv);
    return 1;
}

static int make_folder(void)
{
    return mkdir("/tmp/keyturn-sandbox-test", 0700) != 0 && errno == EPERM ? 7 : 1;
}

static int look_around(void)
{
    struct rlimit core;
    bool none = getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0;
    return none && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 &&
                   prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
               ? 7
               : 1;
}

static void a_program_cannot_be_started(void **state)
{
    (void)state;
    int status = behind_sandbox(run_program);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void files_cannot_be_changed(void **state)
{
    (void)state;
    int status = behind_sandbox(make_folder);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void nothing_is_dumped(void **state)
{
    (void)state;
    int status = behind_sandbox(look_around);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_cannot_be_started),
        cmocka_unit_test(files_cannot_be_changed),
        cmocka_unit_test(nothing_is_dumped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
