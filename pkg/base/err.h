/* SPDX-License-Identifier: Apache-2.0
 *
 * err: what went wrong, where, and what to do, in one fixed-size struct (no allocation on the
 * error path). The class decides how a caller goes on; the text is for people and is not matched,
 * but where nothing else tells: kube/fence.c takes the name of the policy that refused out of the
 * API server's sentence, controller/publish.c a type that cannot change; io/http_error.c tells some
 * TLS failures apart by libcurl's words.
 *
 * A function that can fail takes `struct err *err` last and returns 0 or -1. `err` may be NULL for
 * a caller that does not care. Texts are UTF-8, never hold a secret, and are cut at a character. */
#ifndef KEYTURN_BASE_ERR_H
#define KEYTURN_BASE_ERR_H

#include <stdbool.h>
#include "base/attr.h"

enum err_class {
    ERR_NONE,
    ERR_TRANSIENT, /* lost connection, 5xx, 429: the same request may work later */
    ERR_TIMEOUT,
    ERR_DNS,       /* the name has no address, or nobody answered for it */
    ERR_REFUSED,   /* connection refused or no route */
    ERR_TLS,       /* handshake or certificate check failed */
    ERR_AUTH,      /* 401, invalid_client */
    ERR_FORBIDDEN, /* 403 */
    ERR_NOT_FOUND, /* 404 */
    ERR_CONFLICT,  /* 409 Conflict: read again, decide again */
    ERR_EXISTS,    /* 409 AlreadyExists */
    ERR_GONE,      /* 410: list again */
    ERR_INVALID,   /* refused content: 400, 422, or bytes that cannot be read */
    ERR_LIMIT,     /* larger than a bound of ours */
    ERR_CANCELED,
    ERR_NO_MEMORY,
    ERR_BUG,
};

struct err {
    enum err_class class;
    int http_status;   /* 0 where no answer came */
    int retry_after_s; /* from a 429 or 503, else 0 */
    char reason[48];   /* Kubernetes Status.reason or OAuth error, else "" */
    char msg[448];     /* one sentence */
};

/* Sets *err (when not NULL; status, reason and retry are cleared) and returns -1, so that
 * `return err_set(...)` reads well. Control characters of the text become '?'. */
int err_set(struct err *err, enum err_class class, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* Puts "text: " before the message that is there. Returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) ATTR_PRINTF(2, 3);
void err_clear(struct err *err);
/* True for classes where the same request may succeed later without anybody's help. */
bool err_is_transient(enum err_class class);
/* Copies text into dst of size bytes: control characters become '?', cut at a UTF-8 boundary.
 * For every foreign text on its way to a log, a status or an Event. */
void err_clean_text(char *dst, unsigned long size, const char *text);

#endif
