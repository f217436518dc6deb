/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/words.h"

#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/shell.h"
#include "base/str.h"
#include "keycloak/feed.h"

/* Parts of a sentence are cut so that its end, the repair, is always there. */
#define URL_SHOWN 150
#define NAME_SHOWN 63
#define ROLE_LINE_MAX 190
#define REWRAP_LINE_MAX 220

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
                      int timeout_ms, struct err *ret)
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
                "%s: time-out, no whole answer from %.*s within %d s: check that the server is "
                "healthy and that NetworkPolicies let Keyturn reach it",
                what, len, host, timeout_ms / 1000);
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
        no_answer(key, what, &response->err, FEED_TIMEOUT_MS, ret);
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

/* False when it cannot be given as a word of a command. */
static bool append_word(struct buf *out, const char *prefix, const char *text)
{
    char whole[REWRAP_LINE_MAX], word[SHELL_WORD_SIZE(REWRAP_LINE_MAX)];
    if (!text_format(whole, sizeof(whole), "%s%s", prefix, text) ||
        !shell_word(whole, word, sizeof(word)))
        return false;
    buf_append_text(out, word);
    return true;
}

/* The line that gives the role; names that do not fit or do not print are left to the reader. */
static void append_kcadm(struct buf *out, const char *realm, const char *client_id,
                         const char *role)
{
    struct buf cleanup_buf line = {0};
    buf_append_text(&line, "kcadm.sh add-roles -r ");
    /* A word that starts with a dash would be taken for an option. */
    bool good = realm[0] != '-' && append_word(&line, "", realm);
    buf_append_text(&line, " --uusername ");
    good = good && client_id != NULL && append_word(&line, "service-account-", client_id);
    buf_appendf(&line, " --cclientid realm-management --rolename %s", role);
    if (good && !line.failed && line.len <= ROLE_LINE_MAX)
        buf_append_str(out, buf_view(&line));
    else
        buf_appendf(out,
                    "kcadm.sh add-roles -r REALM --uusername service-account-CLIENT --cclientid "
                    "realm-management --rolename %s",
                    role);
}

/* roles: those of which one is enough. */
static void role_missing(const struct source_key *key, const char *what, const char *roles,
                         const char *kcadm, struct err *ret)
{
    err_set(ret, ERR_FORBIDDEN,
            "%s: 403, the client of Secret %.*s/%.*s lacks the role %s of client realm-management "
            "in its realm: %s",
            what, NAME_SHOWN, key->namespace, NAME_SHOWN, key->secret, roles, kcadm);
}

static void token_refused(const struct source_key *key, const char *what, struct err *ret)
{
    err_set(ret, ERR_AUTH,
            "%s: %.*s refuses a token it has just issued (401): spec.keycloak.url must lead to one "
            "Keycloak, by the same address for tokens and the Admin API",
            what, URL_OF(key));
}

void words_role(const struct source_key *key, const char *client_id, int status, const char *what,
                const char *role, struct err *ret)
{
    struct buf cleanup_buf line = {0};
    append_kcadm(&line, key->realm, client_id, role);
    if (status == 401)
        token_refused(key, what, ret);
    else
        role_missing(key, what, role, buf_text(&line), ret);
    ret->http_status = status;
}

void words_admin(const struct source_key *key, const char *client_id, int status, struct err *ret)
{
    struct buf cleanup_buf line = {0};
    append_kcadm(&line, key->realm, client_id, "view-realm");
    if (status == 403)
        role_missing(key, "realm keys", "view-realm or manage-realm", buf_text(&line), ret);
    else if (status == 401)
        token_refused(key, "realm keys", ret);
    else
        bad_status(key, "realm keys", status, ret);
    ret->http_status = status;
}

/* --- writes --------------------------------------------------------------------------------- */

static const char *verb_of(enum change_kind kind)
{
    switch (kind) {
    case CHANGE_CREATE: return "create";
    case CHANGE_PROMOTE: return "promote";
    case CHANGE_DEMOTE: return "demote";
    case CHANGE_DISABLE: return "disable";
    case CHANGE_DELETE: return "delete";
    case CHANGE_NONE: break;
    }
    return "write";
}

/* Imported keys are checked against their certificate at each write; others have one that is not
 * looked at. Keycloak's own sentence is translated, so its words are no more than a hint. */
static bool is_expired(const struct source_write *write, struct str body)
{
    static const char hint[] = "Certificate is not valid";
    bool said =
        body.len >= sizeof(hint) && memmem(body.data, body.len, hint, sizeof(hint) - 1) != NULL;
    return write->kind != CHANGE_DELETE &&
           (said || text_eq(write->provider, "rsa") || text_eq(write->provider, "java-keystore"));
}

/* The line that makes Keycloak issue a new certificate over the same key. A key with a good one is
 * what its configuration says, so one that is to sign no more would come back as ACTIVE. */
static void append_rewrap(struct buf *out, const char *realm, const struct source_write *write)
{
    bool leaves = write->kind == CHANGE_DEMOTE || write->kind == CHANGE_DISABLE;
    const char *change = leaves ? " -s 'config.certificate=[]' -s 'config.active=[\"false\"]'"
                                : " -s 'config.certificate=[]'";
    struct buf cleanup_buf line = {0};
    buf_append_text(&line, "kcadm.sh update components/");
    if (!append_word(&line, "", write->component))
        buf_append_text(&line, "ID");
    buf_append_text(&line, " -r ");
    if (realm[0] == '-' || line.len + strlen(realm) + strlen(change) > REWRAP_LINE_MAX ||
        !append_word(&line, "", realm))
        buf_append_text(&line, "REALM");
    buf_append_text(&line, change);
    if (!line.failed && line.len <= REWRAP_LINE_MAX)
        buf_append_str(out, buf_view(&line));
    else
        buf_appendf(out, "kcadm.sh update components/ID -r REALM%s", change);
}

/* 400: what was sent does not pass validation. */
static void write_invalid(const struct source_key *key, const char *what,
                          const struct source_write *write, struct str body, struct err *ret)
{
    struct buf cleanup_buf line = {0};
    append_rewrap(&line, key->realm, write);
    if (write->kind == CHANGE_CREATE)
        err_set(ret, ERR_INVALID,
                "%s: realm \"%.*s\" takes no such key (400): this version of Keycloak may not know "
                "%s%s; choose others in spec.key",
                what, NAME_SHOWN, key->realm, write->algorithm,
                write->size > 0 ? ", or not of that size" : "");
    else if (!is_expired(write, body))
        err_set(
            ret, ERR_INVALID,
            "%s: realm \"%.*s\" refuses the change (400): look at the key in the admin console, "
            "which says what is wrong with it when it is saved there",
            what, NAME_SHOWN, key->realm);
    else if (text_eq(write->provider, "rsa"))
        err_set(ret, ERR_INVALID,
                "%s of a key: realm \"%.*s\" refuses the change (400), most likely because the "
                "certificate of this key has expired: give it a new one: %s",
                verb_of(write->kind), NAME_SHOWN, key->realm, buf_text(&line));
    else
        err_set(ret, ERR_INVALID,
                "%s: realm \"%.*s\" refuses the change (400), most likely because the certificate "
                "of this key has expired: renew it where it comes from, or delete the component",
                what, NAME_SHOWN, key->realm);
}

static void write_refused(const struct source_key *key, const char *what,
                          const struct source_write *write, const struct http_response *response,
                          struct err *ret)
{
    int status = response->status;
    if (status == 400)
        write_invalid(key, what, write, response->body, ret);
    else if (status == 404 && write->kind != CHANGE_CREATE)
        err_set(ret, ERR_NOT_FOUND,
                "%s: realm \"%.*s\" has no such component any more (404): somebody deleted it",
                what, NAME_SHOWN, key->realm);
    else if (status == 409)
        err_set(ret, ERR_CONFLICT,
                "%s: realm \"%.*s\" answers 409: something else wrote at the same time; let one "
                "program alone write the keys of this realm",
                what, NAME_SHOWN, key->realm);
    else if (status >= 500)
        err_set(ret, ERR_TRANSIENT,
                "%s: %.*s answers %d: something else may have written at the same time, or see the "
                "server's own log; Keyturn reads the keys and decides again",
                what, URL_OF(key), status);
    else
        bad_status(key, what, status, ret);
}

void words_write(const struct source_key *key, const char *client_id,
                 const struct source_write *write, const struct http_response *response,
                 struct err *ret)
{
    char key_of[96];
    char what[32]; /* where the sentence has other long parts */
    int status = response->status;
    (void)text_format(key_of, sizeof(key_of), "%s of key component %.63s", verb_of(write->kind),
                      write->component);
    (void)text_format(what, sizeof(what), "%s of a key", verb_of(write->kind));
    if (response->err.class != ERR_NONE)
        no_answer(key, what, &response->err,
                  write->kind == CHANGE_CREATE ? SOURCE_CREATE_TIMEOUT_MS : SOURCE_WRITE_TIMEOUT_MS,
                  ret);
    else if (status == 401 || status == 403)
        words_role(key, client_id, status, what, "manage-realm", ret);
    else
        write_refused(key, key_of, write, response, ret);
    ret->http_status = status;
    ret->retry_after_s = response->retry_after_s;
}

void words_taken(const struct source_key *key, const char *component, struct err *ret)
{
    err_set(
        ret, ERR_EXISTS,
        "create of key component %.63s: the id is taken (409), but not in realm \"%.*s\": another "
        "realm of this Keycloak has it; delete that component there",
        component, NAME_SHOWN, key->realm);
    ret->http_status = 409;
}

/* --- the Secret ----------------------------------------------------------------------------- */

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
