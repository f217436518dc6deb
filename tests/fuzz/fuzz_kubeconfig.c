/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: kubeconfig_decode, by the current context and by a name. */
#include <stdint.h>
#include <stdlib.h>
#include "codec/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const contexts[] = {NULL, "by-token", "by-plugin"};
    struct str text = {(const char *)data, size};
    for (size_t i = 0; i < sizeof(contexts) / sizeof(contexts[0]); i++) {
        struct kubeconfig config;
        struct err err = {0};
        int result = kubeconfig_decode(text, contexts[i], &config, &err);
        if ((result == 0) != (config.server != NULL) || (result != 0 && err.class == ERR_NONE)) {
            abort();
        }
        kubeconfig_release(&config);
    }
    return 0;
}
