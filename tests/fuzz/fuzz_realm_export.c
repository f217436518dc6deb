/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: realm_export_decode. What is taken is in bounds and in order. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "codec/realm_export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct realm_export e;
    struct err err = {0};
    if (realm_export_decode((struct str){(const char *)data, size}, "prod", &e, &err) != 0) {
        require(err.class != ERR_NONE && err.msg[0] != '\0');
        return 0;
    }
    require(e.count <= LIMIT_KEYS && (e.has_keys || e.count == 0));
    for (size_t i = 0; i < e.count; i++) {
        require(i == 0 || strcmp(e.keys[i - 1].id, e.keys[i].id) <= 0);
    }
    require(!e.has_lifespans || (e.lifespans.session_s > 0 && e.lifespans.client_s >= 0));
    return 0;
}
