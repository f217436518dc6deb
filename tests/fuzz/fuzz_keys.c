/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: what Keycloak's Admin API and token endpoint answer, and the Secret and ConfigMap that
 * lead there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "codec/keycloak_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_keys(struct str body)
{
    struct realm_keys keys = {.count = 0};
    struct err err = {0};
    if (realm_keys_decode(body, &keys, &err) == 0) {
        if (keys.count > LIMIT_KEYS) {
            abort();
        }
        for (size_t i = 0; i < keys.count; i++) {
            if (strlen(keys.keys[i].key->kid) > LIMIT_KID) {
                abort();
            }
        }
    } else if (keys.keys != NULL || keys.active != NULL || err.class == ERR_NONE) {
        abort();
    }
    (void)components_decode(body, &keys, &err);
    realm_keys_release(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = {(const char *)data, size};
    struct buf cleanup_buf token = {0};
    struct buf cleanup_buf value = {0};
    struct credentials credentials;
    struct err err = {0};
    long expires_s = 0;

    try_keys(body);
    (void)token_decode(body, &token, &expires_s, &err);
    token_error_decode(body, 401, &err);
    if (credentials_decode(body, &credentials, &err) == 0 && !credentials.client_secret.secret) {
        abort();
    }
    credentials_release(&credentials);
    (void)config_map_value_decode(body, "ca.crt", &value, &err);
    return 0;
}
