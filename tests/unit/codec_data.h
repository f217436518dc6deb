/* SPDX-License-Identifier: Apache-2.0
 *
 * codec_data: what the codec tests share: the seeds of the fuzz targets as test data, and trees
 * from texts. Tests run in the root of the tree. */
#ifndef KEYTURN_TESTS_CODEC_DATA_H
#define KEYTURN_TESTS_CODEC_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/err.h"
#include "codec/json.h"
#include "codec/rotation_codec.h"

/* A file of the tree, whole. */
static inline void read_file(const char *path, struct buf *out)
{
    char piece[4096];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
    } else {
        for (size_t n = fread(piece, 1, sizeof(piece), file); n > 0;
             n = fread(piece, 1, sizeof(piece), file)) {
            buf_append(out, piece, n);
        }
        fclose(file);
    }
    assert_false(out->failed);
}

static inline void read_seed(const char *name, struct buf *out)
{
    char path[256];
    assert_true(text_format(path, sizeof(path), "tests/fuzz/corpus/%s", name));
    read_file(path, out);
}

/* JSON with ' for ". */
static inline json_t *tree_of(const char *text)
{
    struct buf cleanup_buf json = {0};
    struct err err = {0};
    for (const char *c = text; *c != '\0'; c++) {
        buf_append_char(&json, *c == '\'' ? '"' : *c);
    }
    json_t *tree = json_load(buf_view(&json), true, "test", &err);
    if (tree == NULL) {
        fail_msg("%s", err.msg);
    }
    return tree;
}

/* A KeyRotation of the seeds; the caller frees it. */
static inline struct rotation_object *from_seed(const char *seed)
{
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    read_seed(seed, &text);
    json_t *cleanup_json tree = json_load(buf_view(&text), true, "x", &err);
    struct rotation_object *r = rotation_new(tree, &err);
    if (r == NULL) {
        fail_msg("%s: %s", seed, err.msg);
    }
    return r;
}

#endif
