/* SPDX-License-Identifier: Apache-2.0
 *
 * access: where the API server is and what we show it, from a kubeconfig or from the
 * ServiceAccount's files. Texts that came from files are kept current: access_refresh reads them
 * again and compares contents (the kubelet swaps symbolic links, so the names stay and nothing else
 * can be watched). Secrets are wiped when they are replaced or released and never get into an
 * error. Source: client-go rest/config.go, transport/token_source.go. */
#ifndef KEYTURN_KUBE_ACCESS_H
#define KEYTURN_KUBE_ACCESS_H

#include <stdbool.h>
#include "base/err.h"

enum access_material { ACCESS_TOKEN, ACCESS_CA, ACCESS_CERT, ACCESS_KEY, ACCESS_MATERIAL_COUNT };

struct access_text {
    char *path; /* NULL: text came inline and stays */
    char *text; /* NULL: none */
};

/* {0} to start; all texts owned. */
struct access {
    char *server; /* "https://host:port", no slash at the end */
    char *namespace;
    char *server_name; /* NULL: the host of server */
    bool insecure;
    struct access_text material[ACCESS_MATERIAL_COUNT];
};

/* kubeconfig: path. On error *a is released. */
int access_load_kubeconfig(struct access *a, const char *kubeconfig, struct err *err);
/* host and port as in KUBERNETES_SERVICE_HOST and _PORT; dir holds token, ca.crt, namespace. */
int access_load_pod(struct access *a, const char *host, const char *port, const char *dir,
                    struct err *err);
/* Reads every file again. A file that cannot be read keeps what was read before and is reported.
 * True when there is anything to read. */
bool access_refresh(struct access *a, struct err *err);
void access_release(struct access *a);

#endif
