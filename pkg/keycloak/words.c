/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/words.h"

#include <stdio.h>
#include <string.h>
#include "base/buf.h"

/* Parts of a sentence are cut so that its end, the repair, is always there. */
#define URL_SHOWN 150
#define NAME_SHOWN 63
#define LINE_MAX_LEN 190

#define URL_OF(key) URL_SHOWN, (key)->url

static const char *host_of(const char *url)
{
    const char *slashes = strstr(url, "://");
    return slashes != NULL ? slashes + 3 : url;
}

static int host_len(const char *url)
{
    size_t len = strcspn(host_of(url), "/?#");
    return (int)(len < URL_SHOWN ? len : URL_SHOWN);
}

static const char *url_field(const struct source_key *key)
{
    switch (key->kind) {
    case SOURCE_JWKS: return "spec.issuer.jwksURL (or the address it comes from)";
    case SOURCE_DISCOVERY: return "spec.issuer.url or spec.keycloak.url";
    case SOURCE_ADMIN: return "spec.keycloak.url";
    case SOURCE_KIND_COUNT: break;
    }
    return "the URL";
}

/* --- no answer ------------------------------------------------------------------------------ */

static void no_answer(const struct source_key *key, const char *what, const struct err *cause,
                      struct err *ret)
{
    const char *host = host_of(key->url);
    int len = host_len(key->url);
    switch (cause->class) {
    case ERR_DNS:
        err_set(ret, ERR_DNS,
                "%s: no address for %.*s (DNS): check the host name in %s, and the cluster's DNS",
                what, len, host, url_field(key));
        return;
    case ERR_REFUSED:
        err_set(ret, ERR_REFUSED,
                "%s: connection to %.*s refused: check that the server runs, that its Service has "
                "endpoints, and the port in %s",
                what, len, host, url_field(key));
        return;
    case ERR_TLS:
        err_set(ret, ERR_TLS,
                "%s: the certificate of %.*s is not trusted (TLS; %.120s): put its CA into the "
                "ConfigMap of spec.issuer.caBundle, or renew the certificate",
                what, len, host, cause->msg);
        return;
    case ERR_TIMEOUT:
        err_set(ret, ERR_TIMEOUT,
                "%s: time-out, no whole answer from %.*s within 10 s: check that the server is "
                "healthy and that NetworkPolicies let Keyturn reach it",
                what, len, host);
        return;
    case ERR_LIMIT:
        err_set(ret, ERR_LIMIT, "%s: the answer of %.*s is larger than 1 MiB: check %s", what, len,
                host, url_field(key));
        return;
    case ERR_NONE:
    case ERR_TRANSIENT:
    case ERR_AUTH:
    case ERR_FORBIDDEN:
    case ERR_NOT_FOUND:
    case ERR_CONFLICT:
    case ERR_EXISTS:
    case ERR_GONE:
    case ERR_INVALID:
    case ERR_CANCELED:
    case ERR_NO_MEMORY:
    case ERR_BUG: break;
    }
    err_set(ret, cause->class, "%s: no answer from %.*s: %.200s", what, len, host, cause->msg);
}

/* --- an answer that is no 200 --------------------------------------------------------------- */

static void bad_status(const struct source_key *key, const char *what, int status, struct err *ret)
{
    if (status >= 300 && status < 400)
        err_set(ret, ERR_INVALID,
                "%s: %.*s answers %d, a redirect, which is not followed: set %s to the address it "
                "leads to",
                what, URL_OF(key), status, url_field(key));
    else if (status == 404 && key->kind == SOURCE_ADMIN)
        err_set(ret, ERR_NOT_FOUND,
                "%s: realm \"%.*s\" is not found at %.*s (404): check spec.keycloak.realm, and "
                "whether the URL needs a path such as /auth",
                what, NAME_SHOWN, key->realm, URL_OF(key));
    else if (status == 404)
        err_set(ret, ERR_NOT_FOUND,
                "%s: nothing at %.*s (404): the realm does not exist, or %s is wrong", what,
                URL_OF(key), url_field(key));
    else if (status == 401 || status == 403) /* neither credentials nor roles of ours are in it */
        err_set(
            ret, ERR_INVALID,
            "%s: %.*s answers %d although it must be public: check that the realm is enabled, %s "
            "and what stands between",
            what, URL_OF(key), status, url_field(key));
    else if (status == 429 || status >= 500)
        err_set(ret, ERR_TRANSIENT,
                "%s: %.*s answers %d: see the server's own log; Keyturn keeps asking", what,
                URL_OF(key), status);
    else
        err_set(ret, ERR_INVALID, "%s: %.*s answers %d: check %s", what, URL_OF(key), status,
                url_field(key));
}

void words_answer(const struct source_key *key, const char *what,
                  const struct http_response *response, struct err *ret)
{
    if (response->err.class != ERR_NONE)
        no_answer(key, what, &response->err, ret);
    else
        bad_status(key, what, response->status, ret);
    ret->http_status = response->status;
    ret->retry_after_s = response->retry_after_s;
}

/* --- an answer that cannot be used ---------------------------------------------------------- */

void words_content(const struct source_key *key, const char *what, const struct err *cause,
                   struct err *ret)
{
    err_set(
        ret, cause->class,
        "%s: the answer of %.*s cannot be used (%.160s): check %s; nothing trusted is withdrawn",
        what, URL_OF(key), cause->msg, url_field(key));
    ret->http_status = 200;
}

void words_no_keys(const struct source_key *key, const char *what, const struct realm_keys *keys,
                   struct err *ret)
{
    if (keys->unreadable > 0)
        err_set(
            ret, ERR_INVALID,
            "%s: no usable signing keys at %.*s: %zu could not be read (%.120s); nothing trusted "
            "is withdrawn",
            what, URL_OF(key), keys->unreadable, keys->unreadable_why);
    else
        err_set(ret, ERR_INVALID,
                "%s: no usable signing keys at %.*s (%zu of other use or kind): give the realm an "
                "enabled RSA, EC or EdDSA key of use SIG; nothing trusted is withdrawn",
                what, URL_OF(key), keys->skipped);
    ret->http_status = 200;
}

/* --- credentials and roles ------------------------------------------------------------------ */

void words_token(const struct source_key *key, const struct err *cause, struct err *ret)
{
    const char *reason = cause->reason[0] != '\0' ? cause->reason : "no reason given";
    if (cause->class == ERR_AUTH)
        err_set(ret, ERR_AUTH,
                "token: realm \"%.*s\" refuses the client (%d, %s): correct client-id and "
                "client-secret in Secret %.*s/%.*s, and let the client have a service account",
                NAME_SHOWN, key->realm, cause->http_status, reason, NAME_SHOWN, key->namespace,
                NAME_SHOWN, key->secret);
    else if (cause->class == ERR_FORBIDDEN)
        err_set(ret, ERR_FORBIDDEN,
                "token: realm \"%.*s\" at %.*s gives no tokens (403, %s): enable the realm",
                NAME_SHOWN, key->realm, URL_OF(key), reason);
    else
        bad_status(key, "token", cause->http_status, ret);
    ret->http_status = cause->http_status;
    memcpy(ret->reason, cause->reason, sizeof(ret->reason));
}

static bool is_plain(const char *text)
{
    return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                             "._@%+=:,/-")] == '\0';
}

/* A word for a POSIX shell. False when the text has characters that no terminal should be given. */
static bool append_word(struct buf *out, const char *prefix, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            return false;
    }
    bool plain = is_plain(text) && text[0] != '\0';
    buf_append_text(out, plain ? "" : "'");
    buf_append_text(out, prefix);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            buf_append_text(out, "'\\''");
        else
            buf_append_char(out, *c);
    }
    buf_append_text(out, plain ? "" : "'");
    return true;
}

/* The line that gives the role; names that do not fit or do not print are left to the reader. */
static void append_kcadm(struct buf *out, const char *realm, const char *client_id)
{
    struct buf cleanup_buf line = {0};
    buf_append_text(&line, "kcadm.sh add-roles -r ");
    /* A word that starts with a dash would be taken for an option. */
    bool good = realm[0] != '-' && append_word(&line, "", realm);
    buf_append_text(&line, " --uusername ");
    good = good && client_id != NULL && append_word(&line, "service-account-", client_id);
    buf_append_text(&line, " --cclientid realm-management --rolename view-realm");
    if (good && !line.failed && line.len <= LINE_MAX_LEN)
        buf_append_str(out, buf_view(&line));
    else
        buf_append_text(out, "kcadm.sh add-roles -r REALM --uusername service-account-CLIENT "
                             "--cclientid realm-management --rolename view-realm");
}

static void role_missing(const struct source_key *key, const char *client_id, struct err *ret)
{
    struct buf cleanup_buf line = {0};
    append_kcadm(&line, key->realm, client_id);
    err_set(ret, ERR_FORBIDDEN,
            "realm keys: 403, the client of Secret %.*s/%.*s lacks the role view-realm or "
            "manage-realm of client realm-management in its realm: %s",
            NAME_SHOWN, key->namespace, NAME_SHOWN, key->secret, buf_text(&line));
}

void words_admin(const struct source_key *key, const char *client_id, int status, struct err *ret)
{
    if (status == 403)
        role_missing(key, client_id, ret);
    else if (status == 401)
        err_set(ret, ERR_AUTH,
                "realm keys: %.*s refuses a token it has just issued (401): spec.keycloak.url must "
                "lead to one Keycloak, by the same address for tokens and the Admin API",
                URL_OF(key));
    else
        bad_status(key, "realm keys", status, ret);
    ret->http_status = status;
}

void words_credentials(const struct source_key *key, const struct err *cause, struct err *ret)
{
    if (cause->class == ERR_NOT_FOUND)
        err_set(ret, ERR_NOT_FOUND,
                "credentials: Secret %.*s/%.*s does not exist: create it with the keys url, "
                "client-id and client-secret",
                NAME_SHOWN, key->namespace, NAME_SHOWN, key->secret);
    else if (cause->class == ERR_FORBIDDEN)
        err_set(
            ret, ERR_FORBIDDEN,
            "credentials: Keyturn may not read Secret %.*s/%.*s: create a Role with get on this "
            "one name (resourceNames) and bind Keyturn's ServiceAccount to it (README, section "
            "Credentials)",
            NAME_SHOWN, key->namespace, NAME_SHOWN, key->secret);
    else
        err_set(ret, cause->class != ERR_NONE ? cause->class : ERR_BUG,
                "credentials: Secret %.*s/%.*s: %.260s", NAME_SHOWN, key->namespace, NAME_SHOWN,
                key->secret, cause->msg);
    ret->http_status = cause->http_status;
    ret->retry_after_s = cause->retry_after_s;
    (void)snprintf(ret->reason, sizeof(ret->reason), "%s", SOURCE_CREDENTIALS_REASON);
}

void words_other_server(const struct source_key *key, struct err *ret)
{
    err_set(ret, ERR_INVALID,
            "credentials: Secret %.*s/%.*s is not meant for %.*s: its key url must equal "
            "spec.keycloak.url; nothing was sent there",
            NAME_SHOWN, key->namespace, NAME_SHOWN, key->secret, URL_OF(key));
    (void)snprintf(ret->reason, sizeof(ret->reason), "%s", SOURCE_CREDENTIALS_REASON);
}
