/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: the public answers of an OIDC issuer: JWKS and discovery. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "codec/keycloak_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = {(const char *)data, size};
    struct realm_keys keys = {.count = 0};
    struct discovery discovery;
    struct err err = {0};

    if (jwks_decode(body, &keys, &err) != 0 && (keys.keys != NULL || err.class == ERR_NONE)) {
        abort();
    }
    for (size_t i = 0; i < keys.count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(keys.keys[i].key->kid, keys.keys[k].key->kid) == 0) {
                abort();
            }
        }
    }
    realm_keys_release(&keys);
    (void)discovery_decode(body, &discovery, &err);
    return 0;
}
