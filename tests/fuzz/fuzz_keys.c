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
    if (components_decode(body, &keys, &err) != 0 && keys.claims_known) {
        abort();
    }
    if (keys.claims_count > LIMIT_CLAIMS) {
        abort();
    }
    realm_keys_release(&keys);
}

static void try_lifespans(struct str body)
{
    struct realm_lifespans lifespans = {0};
    struct err err = {0};
    size_t clients = 0;
    if (realm_lifespans_decode(body, &lifespans, &err) == 0 &&
        (lifespans.access_s < 0 || lifespans.implicit_s < 0 || lifespans.session_s <= 0)) {
        abort();
    }
    if (client_lifespans_decode(body, &lifespans, &clients, &err) == 0 &&
        (lifespans.client_s > 0) != (lifespans.client_setting != NULL)) {
        abort();
    }
}

static void try_header(struct str body)
{
    char kid[LIMIT_KID + 1];
    char alg[16];
    struct err err = {0};
    if ((token_header_decode(body, kid, alg, &err) == 0) == (err.class != ERR_NONE)) {
        abort();
    }
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
    try_lifespans(body);
    try_header(body);
    (void)token_decode(body, &token, &expires_s, &err);
    token_error_decode(body, 401, &err);
    if (credentials_decode(body, &credentials, &err) == 0 && !credentials.client_secret.secret) {
        abort();
    }
    credentials_release(&credentials);
    (void)config_map_value_decode(body, "ca.crt", &value, &err);
    return 0;
}
