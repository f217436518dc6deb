/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/component.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/str.h"
#include "jose/alg.h"

#define UID_SHOWN 8
#define SHA1_LEN 20

/* Of our own, drawn once: 8f1c7e1b-9d53-4c0e-a6a4-2f0d3b5c6e71. Never to be changed: another one
 * would make a second key beside each that was created. */
static const unsigned char namespace_uuid[16] = {0x8f, 0x1c, 0x7e, 0x1b, 0x9d, 0x53, 0x4c, 0x0e,
                                                 0xa6, 0xa4, 0x2f, 0x0d, 0x3b, 0x5c, 0x6e, 0x71};

void component_id(const char *uid, uint64_t number, char out[COMPONENT_ID_TEXT])
{
    struct buf cleanup_buf name = {0};
    unsigned char h[SHA1_LEN];
    buf_append(&name, namespace_uuid, sizeof(namespace_uuid));
    buf_appendf(&name, "%s/%llu", uid, (unsigned long long)number);
    /* An id made of less would be another key's, or nobody's: out of memory ends the process. */
    if (name.failed || EVP_Digest(name.data, name.len, h, NULL, EVP_sha1(), NULL) != 1)
        abort();
    h[6] = (unsigned char)((h[6] & 0x0f) | 0x50); /* version 5 */
    h[8] = (unsigned char)((h[8] & 0x3f) | 0x80); /* variant of RFC 9562 */
    (void)snprintf(out, COMPONENT_ID_TEXT,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", h[0],
                   h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11], h[12], h[13],
                   h[14], h[15]);
}

void component_name(const char *uid, uint64_t number, char *out, size_t size)
{
    (void)snprintf(out, size, COMPONENT_PREFIX "%.*s-%llu", UID_SHOWN, uid,
                   (unsigned long long)number);
}

static bool is_foreign_uid(struct str text)
{
    size_t i = 0;
    while (i < text.len && strchr("0123456789abcdef", text.data[i]) != NULL)
        i++;
    return text.len == UID_SHOWN && i == text.len;
}

bool component_parse(const char *name, const char *uid, bool *ret_mine, uint64_t *ret_number)
{
    const char *dash = strrchr(name, '-');
    size_t prefix = strlen(COMPONENT_PREFIX);
    if (!text_starts_with(name, COMPONENT_PREFIX) || dash < name + prefix)
        return false;
    struct str middle = {name + prefix, (size_t)(dash - name) - prefix};
    struct str shown = {uid, strnlen(uid, UID_SHOWN)};
    bool mine = str_eq(middle, shown);
    /* One number has one name. */
    if ((!mine && !is_foreign_uid(middle)) || dash[1] == '0' ||
        !str_to_u64(str_from(dash + 1), ret_number))
        return false;
    *ret_mine = mine;
    return true;
}

const char *component_provider(const char *algorithm)
{
    const struct jose_alg *alg = jose_alg_find(algorithm);
    if (alg == NULL)
        return NULL;
    switch (alg->kty) {
    case JOSE_RSA: return "rsa-generated";
    case JOSE_EC: return "ecdsa-generated";
    case JOSE_OKP: return "eddsa-generated";
    }
    return NULL;
}
