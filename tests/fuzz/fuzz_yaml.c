/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: yaml_load. A tree within the bounds, or a sentence that names the file. */
#include <stdint.h>
#include <stdlib.h>
#include "codec/json.h"
#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static size_t depth_of(const json_t *value)
{
    size_t most = 0;
    size_t i;
    json_t *item;
    const char *key;
    if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            size_t depth = depth_of(item);
            most = depth > most ? depth : most;
        }
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            size_t depth = depth_of(item);
            most = depth > most ? depth : most;
        }
    } else {
        return 0;
    }
    return most + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    json_t *cleanup_json tree = yaml_load((struct str){(const char *)data, size}, "input", &err);
    if (tree == NULL) {
        require(err.class == ERR_INVALID || err.class == ERR_LIMIT);
        require(text_starts_with(err.msg, "input: "));
        return 0;
    }
    require(json_is_array(tree) || json_is_object(tree));
    require(depth_of(tree) <= YAML_DEPTH_MAX);
    return 0;
}
