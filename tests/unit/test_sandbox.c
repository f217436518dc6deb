/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sandbox takes away, and that everything the program does still works behind it: seen in
 * children of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../lib/http_client.h"
#include "../lib/tiny_server.h"
#include "io/sandbox.h"

#define GOOD 7 /* exit status of a child whose checks all held */
#define NOBODY 65534

/* Starts act in a child behind both steps. */
static pid_t start_behind_sandbox(int (*act)(void *ctx), void *ctx, bool as_root)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err = {0};
        if (!as_root && geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(98);
        if (sandbox_early(&err) != 0 || sandbox_final(&err) != 0)
            _exit(99);
        _exit(act(ctx));
    }
    return child;
}

/* Runs act there; the wait status. */
static int behind_sandbox(int (*act)(void *ctx), void *ctx, bool as_root)
{
    pid_t child = start_behind_sandbox(act, ctx, as_root);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void expect_good(int (*act)(void *ctx), void *ctx)
{
    int status = behind_sandbox(act, ctx, false);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

/* Also as root: a capability must not help. */
static void expect_death(int (*act)(void *ctx))
{
    for (int as_root = 0; as_root < 2; as_root++) {
        int status = behind_sandbox(act, NULL, as_root != 0);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

/* --- what ends it --- */

static int act_exec(void *ctx)
{
    char *const argv[] = {"true", NULL};
    (void)ctx;
    (void)execv("/bin/true", argv);
    return 1;
}

static int act_setuid(void *ctx)
{
    (void)ctx;
    return setuid(1) == 0 ? 1 : 2;
}

static int act_unshare(void *ctx)
{
    (void)ctx;
    return unshare(CLONE_NEWUSER) == 0 ? 1 : 2;
}

static void test_deadly_calls(void **state)
{
    (void)state;
    expect_death(act_exec);
    expect_death(act_setuid);
    expect_death(act_unshare);
}

/* --- what is refused --- */

static bool refused(long result)
{
    return result == -1 && errno == EPERM;
}

static int act_change_files(void *ctx)
{
    (void)ctx;
    return refused(mkdir("/tmp/keyturn-sandbox-test", 0700)) && refused(unlink("/tmp/none")) &&
                   refused(rename("/tmp/none", "/tmp/other")) && refused(chmod("/tmp", 0700)) &&
                   refused(open("/tmp/keyturn-sandbox-test", O_WRONLY | O_CREAT, 0600)) &&
                   refused(open("/dev/null", O_RDWR)) && refused(truncate("/dev/null", 0)) &&
                   fopen("/dev/null", "w") == NULL
               ? GOOD
               : 1;
}

static int act_reach_others(void *ctx)
{
    struct rlimit limit = {0, 0};
    char c = 'x';
    (void)ctx;
    return refused(fork()) && refused(kill(getppid(), SIGTERM)) && refused(kill(getpid(), 0)) &&
                   refused(socket(AF_NETLINK, SOCK_RAW, 0)) &&
                   refused(socket(AF_PACKET, SOCK_RAW, 0)) && refused(ioctl(0, TIOCSTI, &c)) &&
                   refused(setrlimit(RLIMIT_NOFILE, &limit)) &&
                   refused(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0))
               ? GOOD
               : 1;
}

static void test_refused_calls(void **state)
{
    (void)state;
    expect_good(act_change_files, NULL);
    expect_good(act_reach_others, NULL);
}

/* --- what stays --- */

static int act_look_around(void *ctx)
{
    struct rlimit core;
    struct rlimit files;
    char line[64] = "";
    (void)ctx;
    FILE *f = fopen("/proc/self/statm", "re"); /* memory, for the metrics */
    bool read_statm =
        f != NULL && fgets(line, sizeof(line), f) != NULL && strtol(line, NULL, 10) > 0;
    if (f != NULL)
        (void)fclose(f);
    bool no_core = getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0;
    return no_core && read_statm && getrlimit(RLIMIT_NOFILE, &files) == 0 && getuid() != 0 &&
                   prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 &&
                   prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && access("/etc/hosts", R_OK) == 0
               ? GOOD
               : 1;
}

static void *thread_main(void *ctx)
{
    int *value = ctx;
    struct timespec nap = {.tv_nsec = 1000000};
    (void)nanosleep(&nap, NULL);
    *value = GOOD;
    return NULL;
}

static int act_thread(void *ctx)
{
    pthread_t thread;
    int value = 0;
    (void)ctx;
    if (pthread_create(&thread, NULL, thread_main, &value) != 0)
        return 2;
    return pthread_join(thread, NULL) == 0 ? value : 3;
}

static int act_make_keys(void *ctx)
{
    (void)ctx;
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    bool made = rsa != NULL && ec != NULL;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    return made ? GOOD : 1;
}

static int act_abort(void *ctx)
{
    (void)ctx;
    abort();
}

static void test_everyday_life(void **state)
{
    (void)state;
    expect_good(act_look_around, NULL);
    expect_good(act_thread, NULL);
    expect_good(act_make_keys, NULL);
    int status = behind_sandbox(act_abort, NULL, false);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

struct servers {
    int ports_fd; /* where the child reads the two ports, TLS first */
    const char *ca_pem;
};

/* One request by the real port; its status. */
static int ask(struct http_port *http, struct loop *loop, const char *url, const char *ca_pem)
{
    struct fetch f = {0};
    const struct http_tls tls = {.ca_pem = ca_pem};
    struct http_request request = {
        .method = "POST", .url = url, .body = str_from("{}"), .timeout_ms = 5000, .tls = &tls};
    fetch_start(&f, http, loop, &request);
    fetch_wait(&f);
    int status = f.err.class == ERR_DNS ? 53 : f.status;
    fetch_release(&f);
    return status;
}

/* Loop, TLS, names and a look-up that fails: all made behind the filter. */
static int act_requests(void *ctx)
{
    const struct servers *s = ctx;
    int ports[2];
    char url[64];
    /* The discard port of a machine that nobody has: no answer from DNS. */
    const struct http_curl_options options = {.dns_servers = "127.0.0.1:9",
                                              .resolve_timeout_ms = 200};
    struct loop *loop = loop_new(NULL);
    struct http_port *http = loop == NULL ? NULL : http_curl_new(loop, &options, NULL);
    if (http == NULL || read(s->ports_fd, ports, sizeof(ports)) != sizeof(ports))
        return 1;
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/ok", ports[0]);
    if (ask(http, loop, url, s->ca_pem) != 200)
        return 2;
    snprintf(url, sizeof(url), "http://localhost:%d/ok", ports[1]);
    if (ask(http, loop, url, NULL) != 200)
        return 3;
    if (ask(http, loop, "http://missing.example.test/", NULL) != 53)
        return 4;
    http_curl_free(http);
    loop_free(loop);
    return GOOD;
}

static void test_requests_behind_it(void **state)
{
    (void)state;
    struct tiny_cert ca = tiny_cert_make(NULL, "test CA", NULL);
    struct tiny_cert cert = tiny_cert_make(&ca, "server", "IP:127.0.0.1");
    int fds[2];
    int status = 0;
    assert_int_equal(pipe(fds), 0);
    struct servers servers = {.ports_fd = fds[0], .ca_pem = ca.cert_pem};
    /* Before there are threads: a lock that one of them holds would stay locked in the child. */
    pid_t child = start_behind_sandbox(act_requests, &servers, false);
    struct tiny_server *tls = tiny_server_start(&cert, NULL);
    struct tiny_server *plain = tiny_server_start(NULL, NULL);
    int ports[2] = {tiny_server_port(tls), tiny_server_port(plain)};
    assert_int_equal(write(fds[1], ports, sizeof(ports)), sizeof(ports));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GOOD);
    close(fds[0]);
    close(fds[1]);
    tiny_server_stop(tls);
    tiny_server_stop(plain);
    tiny_cert_free(&cert);
    tiny_cert_free(&ca);
}

/* Threads that were there before are bound as well. */
static void *late_exec(void *ctx)
{
    int *go = ctx;
    char byte = 0;
    if (read(*go, &byte, 1) == 1)
        (void)mkdir("/tmp/keyturn-sandbox-thread", 0700);
    return NULL;
}

static void test_threads_of_before_are_bound(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fds[2];
        pthread_t thread;
        if (pipe(fds) != 0 || pthread_create(&thread, NULL, late_exec, &fds[0]) != 0 ||
            sandbox_early(NULL) != 0 || sandbox_final(NULL) != 0 || write(fds[1], "g", 1) != 1 ||
            pthread_join(thread, NULL) != 0)
            _exit(1);
        _exit(access("/tmp/keyturn-sandbox-thread", F_OK) != 0 ? GOOD : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    (void)rmdir("/tmp/keyturn-sandbox-thread");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadly_calls),
        cmocka_unit_test(test_refused_calls),
        cmocka_unit_test(test_everyday_life),
        cmocka_unit_test(test_requests_behind_it),
        cmocka_unit_test(test_threads_of_before_are_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
