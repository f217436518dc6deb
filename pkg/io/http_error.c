/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_call.h"

#include <errno.h>
#include <string.h>

/* libcurl's own words for this failure ("SSL certificate problem: ..."), else the general ones. */
static const char *curl_words(const struct http_call *call, CURLcode result)
{
    return call->curl_text[0] != '\0' ? call->curl_text : curl_easy_strerror(result);
}

/* A peer that goes away in the middle of a handshake (a restart, a proxy) has the same code as one
 * that talks bad TLS, and libcurl 7.88 keeps no errno for it: only its words tell them apart. */
static bool is_lost_handshake(const struct http_call *call, CURLcode result)
{
    static const char *const words[] = {"SSL_ERROR_SYSCALL", "unexpected eof", "reset by peer",
                                        "Broken pipe"};
    for (size_t i = 0; result == CURLE_SSL_CONNECT_ERROR && i < ARRAY_LEN(words); i++)
        if (strstr(call->curl_text, words[i]) != NULL)
            return true;
    return false;
}

/* TLS 1.3 finishes the handshake before the server has judged our certificate: its refusal comes as
 * a failed read, again told apart by words alone. */
static bool is_late_refusal(const struct http_call *call, CURLcode result)
{
    return (result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR) &&
           strstr(call->curl_text, "SSL routines") != NULL &&
           strstr(call->curl_text, " alert ") != NULL;
}

static void explain_connect(const struct http_call *call, struct err *err)
{
    long os_error = 0;
    curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os_error);
    if (os_error == ETIMEDOUT)
        err_set(err, ERR_TIMEOUT, "%s to %s: no connection: %s", call->method, call->peer,
                strerror((int)os_error));
    else
        err_set(err, ERR_REFUSED, "%s to %s: no connection: %s; is it up, and may we reach it?",
                call->method, call->peer,
                os_error == 0 ? "could not connect" : strerror((int)os_error));
}

static bool is_tls(CURLcode result)
{
    /* Of about a hundred codes only these matter here: not a switch over the enum. */
    static const CURLcode codes[] = {
        CURLE_SSL_CONNECT_ERROR,     CURLE_PEER_FAILED_VERIFICATION,
        CURLE_SSL_CERTPROBLEM,       CURLE_SSL_CIPHER,
        CURLE_SSL_CACERT_BADFILE,    CURLE_SSL_ISSUER_ERROR,
        CURLE_SSL_ENGINE_NOTFOUND,   CURLE_SSL_ENGINE_SETFAILED,
        CURLE_USE_SSL_FAILED,        CURLE_SSL_PINNEDPUBKEYNOTMATCH,
        CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT,
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i] == result)
            return true;
    return false;
}

static bool is_lost(CURLcode result)
{
    return result == CURLE_GOT_NOTHING || result == CURLE_RECV_ERROR ||
           result == CURLE_SEND_ERROR || result == CURLE_PARTIAL_FILE ||
           result == CURLE_SEND_FAIL_REWIND || result == CURLE_AGAIN;
}

static bool is_nonsense(CURLcode result)
{
    return result == CURLE_UNSUPPORTED_PROTOCOL || result == CURLE_WEIRD_SERVER_REPLY ||
           result == CURLE_BAD_CONTENT_ENCODING || result == CURLE_HTTP2 ||
           result == CURLE_URL_MALFORMAT;
}

void http_error_explain(const struct http_call *call, CURLcode result, struct err *err)
{
    const char *words = curl_words(call, result);
    if (result == CURLE_COULDNT_RESOLVE_HOST)
        err_set(err, ERR_DNS, "%s to %s: %s; check the name and the DNS servers", call->method,
                call->peer, words);
    else if (result == CURLE_COULDNT_CONNECT)
        explain_connect(call, err);
    else if (result == CURLE_OPERATION_TIMEDOUT)
        err_set(err, ERR_TIMEOUT, "%s to %s: %s", call->method, call->peer, words);
    else if ((is_lost(result) && !is_late_refusal(call, result)) || is_lost_handshake(call, result))
        err_set(err, ERR_TRANSIENT, "%s to %s: connection lost before the whole answer: %s",
                call->method, call->peer, words);
    else if (is_tls(result) || is_late_refusal(call, result))
        err_set(err, ERR_TLS, "%s to %s: TLS: %s; check CA bundle, certificate and name",
                call->method, call->peer, words);
    else if (is_nonsense(result))
        err_set(err, ERR_INVALID, "%s to %s: no valid HTTP answer: %s; is the URL right?",
                call->method, call->peer, words);
    else if (result == CURLE_OUT_OF_MEMORY)
        err_set(err, ERR_NO_MEMORY, "%s to %s: out of memory", call->method, call->peer);
    else
        err_set(err, ERR_TRANSIENT, "%s to %s: %s (libcurl %d)", call->method, call->peer, words,
                (int)result);
}
