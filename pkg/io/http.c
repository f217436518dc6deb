/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/limits.h"

struct http_call *http_submit(struct http_port *port, const struct http_request *request,
                              const struct http_sink *sink)
{
    return port->submit(port, request, sink);
}

void http_cancel(struct http_port *port, struct http_call *call)
{
    if (call != NULL)
        port->cancel(port, call);
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void http_append_escaped(struct buf *out, const char *text)
{
    for (const char *p = text == NULL ? "" : text; *p != '\0'; p++) {
        if (is_unreserved(*p))
            buf_append_char(out, *p);
        else
            buf_appendf(out, "%%%02X", (unsigned)(unsigned char)*p);
    }
}

/* libcurl's parser forgives much (missing slashes, spaces, odd numbers): what is not plain to a
 * reader is refused before it is asked. */
static bool looks_plain(const char *url)
{
    size_t len = strnlen(url, LIMIT_URL + 1);
    const char *host = strstr(url, "://");
    if (len > LIMIT_URL || host == NULL ||
        (strncmp(url, "https:", 6) != 0 && strncmp(url, "http:", 5) != 0))
        return false;
    for (size_t i = 0; i < len; i++)
        if (url[i] <= ' ' || url[i] >= 0x7F || strchr("?#\\\"<>^`{|}", url[i]) != NULL)
            return false;
    host += 3;
    size_t host_len = strcspn(host, "/");
    return host_len > 0 && host[0] != ':' && memchr(host, '@', host_len) == NULL &&
           memchr(host, '%', host_len) == NULL;
}

bool http_url_is_plain(const char *url)
{
    if (url == NULL || !looks_plain(url))
        return false;
    CURLU *parsed = curl_url();
    bool plain = parsed != NULL &&
                 curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK;
    curl_url_cleanup(parsed);
    return plain;
}

bool http_url_peer(const char *url, char *out, size_t size)
{
    char *host = NULL;
    char *port = NULL;
    CURLU *parsed = curl_url();
    bool good = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                text_format(out, size, "%s:%s", host, port);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
    return good;
}
