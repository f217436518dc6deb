/* SPDX-License-Identifier: Apache-2.0
 *
 * kubeconfig: the current context of a kubeconfig. What codec/yaml.h refuses is refused; exec
 * plugins and auth providers are named in the error. The tree in between is wiped (json_setup).
 * Source: client-go tools/clientcmd/api/v1. */
#ifndef KEYTURN_CODEC_KUBECONFIG_H
#define KEYTURN_CODEC_KUBECONFIG_H

#include "base/err.h"
#include "base/str.h"

/* malloc'ed texts, NULL when absent; *_pem are the decoded *-data members; wiped at release. */
struct kubeconfig {
    char *server;
    char *ca_pem;
    char *ca_file; /* paths as written; relative ones are the caller's to resolve */
    char *client_cert_pem, *client_cert_file;
    char *client_key_pem, *client_key_file;
    char *token, *token_file;
    char *namespace;
    char *tls_server_name;
    _Bool insecure;
};

int kubeconfig_decode(struct str yaml, const char *context /* NULL: current */,
                      struct kubeconfig *ret, struct err *err);
void kubeconfig_release(struct kubeconfig *c);

#endif
