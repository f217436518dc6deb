/* SPDX-License-Identifier: Apache-2.0 */
#include "patch.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *patch_merge(const json_t *target, const json_t *patch)
{
    const char *key;
    json_t *value;
    json_t *merged =
        json_is_object(target) ? json_copy((json_t *)(uintptr_t)target) : json_object();
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (json_is_null(value))
            (void)json_object_del(merged, key);
        else if (json_is_object(value))
            (void)json_object_set_new(merged, key,
                                      patch_merge(json_object_get(target, key), value));
        else
            (void)json_object_set(merged, key, value);
    }
    return merged;
}

/* One step of a pointer (RFC 6901), unescaped. */
static const char *next_step(const char *path, char *step, size_t size)
{
    size_t used = 0;
    path++;
    for (; *path != '\0' && *path != '/' && used + 1 < size; path++) {
        bool escaped = path[0] == '~' && (path[1] == '0' || path[1] == '1');
        step[used++] = !escaped ? path[0] : path[1] == '0' ? '~' : '/';
        path += escaped;
    }
    step[used] = '\0';
    return path;
}

static json_t *child_of(json_t *parent, const char *step)
{
    return json_is_array(parent) ? json_array_get(parent, strtoul(step, NULL, 10))
                                 : json_object_get(parent, step);
}

static bool put(json_t *parent, const char *step, json_t *value, bool add)
{
    if (value == NULL)
        return false;
    if (json_is_object(parent))
        return json_object_set(parent, step, value) == 0;
    size_t at = strcmp(step, "-") == 0 ? json_array_size(parent) : strtoul(step, NULL, 10);
    return add ? json_array_insert(parent, at, value) == 0 : json_array_set(parent, at, value) == 0;
}

static bool apply(json_t *target, const json_t *operation)
{
    const char *op = json_string_value(json_object_get(operation, "op"));
    const char *path = json_string_value(json_object_get(operation, "path"));
    json_t *value = json_object_get(operation, "value");
    char step[256];
    json_t *parent = target;
    if (op == NULL || path == NULL || path[0] != '/')
        return false;
    for (path = next_step(path, step, sizeof(step)); *path == '/';
         path = next_step(path, step, sizeof(step)))
        parent = child_of(parent, step);
    json_t *there = child_of(parent, step);
    if (strcmp(op, "test") == 0)
        return there != NULL && json_equal(there, value) == 1;
    if (strcmp(op, "add") == 0)
        return put(parent, step, value, true);
    if (there == NULL)
        return false;
    if (strcmp(op, "replace") == 0)
        return put(parent, step, value, false);
    if (strcmp(op, "remove") != 0)
        return false;
    return json_is_array(parent) ? json_array_remove(parent, strtoul(step, NULL, 10)) == 0
                                 : json_object_del(parent, step) == 0;
}

bool patch_json(json_t *target, const json_t *operations)
{
    size_t i;
    json_t *operation;
    json_array_foreach(operations, i, operation)
    {
        if (!apply(target, operation))
            return false;
    }
    return true;
}
