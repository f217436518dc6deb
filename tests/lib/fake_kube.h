/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_kube: a kube client over fake_http and fake_loop, with a kubeconfig, token and CA in a
 * folder of its own. To be included by exactly one file of a test program (see fake_loop.h). */
#ifndef KEYTURN_TESTS_FAKE_KUBE_H
#define KEYTURN_TESTS_FAKE_KUBE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "fake_http.h"
#include "fake_loop.h"
#include "kube/kube.h"

struct fake_kube {
    char dir[64];
    struct loop *loop;
    struct fake_http *http;
    struct kube *kube;
};

static inline void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline void remove_file(const char *dir, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    (void)unlink(path);
}

static inline void make_dir(char dir[64])
{
    strcpy(dir, "/tmp/keyturn-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static inline void remove_dir(const char *dir)
{
    static const char *const names[] = {"config", "token", "ca.crt", "namespace", "key", "cert"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        remove_file(dir, names[i]);
    assert_int_equal(rmdir(dir), 0);
}

#define FAKE_CONFIG                                                           \
    "apiVersion: v1\nkind: Config\ncurrent-context: c\n"                      \
    "contexts: [{name: c, context: {cluster: k, user: u, namespace: own}}]\n" \
    "clusters: [{name: k, cluster: {server: 'https://api.test:6443/', "       \
    "certificate-authority: ca.crt}}]\n"                                      \
    "users: [{name: u, user: {tokenFile: token}}]\n"

static inline void fake_kube_start(struct fake_kube *k)
{
    struct err err = {0};
    make_dir(k->dir);
    write_file(k->dir, "config", FAKE_CONFIG);
    write_file(k->dir, "token", "first\n");
    write_file(k->dir, "ca.crt", "CA-1\n");
    char path[128];
    snprintf(path, sizeof(path), "%s/config", k->dir);
    k->loop = loop_new(&err);
    k->http = fake_http_new();
    struct kube_options options = {.kubeconfig = path, .user_agent = "keyturn/test"};
    k->kube = kube_new(fake_http_port(k->http), k->loop, &options, &err);
    if (k->kube == NULL)
        fail_msg("%s", err.msg);
}

static inline void fake_kube_stop(struct fake_kube *k)
{
    kube_free(k->kube);
    fake_http_free(k->http);
    loop_free(k->loop);
    remove_dir(k->dir);
}

#endif
