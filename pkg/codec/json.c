/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/limits.h"

/* Members whose value nobody here reads and which make up most of an object's bytes: cut out before
 * the parser sees them. `under` is the member that holds the object that has `name`, so that a key
 * of a ConfigMap's data that happens to be called the same stays. */
struct cut_rule {
    const char *under;
    const char *name;
    const char *instead;
};

static const struct cut_rule cut_rules[] = {
    {"metadata", "managedFields", "[]"},
    {"annotations", "kubectl.kubernetes.io/last-applied-configuration", "\"\""},
    {"template", "spec", "{}"},
};

/* One pass over the bytes before the parser: depth, and what is to be cut. */
struct scan {
    struct str text;
    size_t at;
    size_t depth;
    struct str last_key; /* key whose value comes next; empty in arrays */
    struct str
        opened_by[LIMIT_JSON_DEPTH + 1]; /* by depth: key of the object or array that is open */
    struct buf kept;                     /* text without what was cut; empty: nothing cut so far */
    size_t copied;                       /* bytes of text that are in kept, or were cut */
};

/* Trees may hold tokens and client secrets. A tree does not say which of its pieces are secret, so
 * each one is wiped: a few percent of the cost of parsing. */
static void wiping_free(void *memory)
{
    if (memory != NULL) {
        explicit_bzero(memory, malloc_usable_size(memory));
        free(memory);
    }
}

void json_setup(uint32_t seed)
{
    json_set_alloc_funcs(malloc, wiping_free);
    json_object_seed(seed);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* at: behind the opening quote. Returns the position of the closing one, or len. */
static size_t string_end(struct str text, size_t at)
{
    while (at < text.len) {
        const char *quote = memchr(text.data + at, '"', text.len - at);
        if (quote == NULL) {
            return text.len;
        }
        size_t end = (size_t)(quote - text.data);
        size_t slashes = 0;
        while (end - slashes > at && text.data[end - slashes - 1] == '\\') {
            slashes++;
        }
        if (slashes % 2 == 0) {
            return end;
        }
        at = end + 1;
    }
    return text.len;
}

/* at: somewhere before a value. Returns the position behind it; inside, only strings and nesting
 * are looked at. */
static size_t value_end(struct str text, size_t at)
{
    size_t depth = 0;
    while (at < text.len && is_space(text.data[at])) {
        at++;
    }
    for (; at < text.len; at++) {
        switch (text.data[at]) {
        case '"':
            at = string_end(text, at + 1);
            if (at == text.len) {
                return at;
            }
            if (depth == 0) {
                return at + 1;
            }
            break;
        case '{':
        case '[': depth++; break;
        case '}':
        case ']':
            if (depth == 0) {
                return at;
            }
            if (--depth == 0) {
                return at + 1;
            }
            break;
        case ',':
            if (depth == 0) {
                return at;
            }
            break;
        default: break;
        }
    }
    return at;
}

static const struct cut_rule *find_rule(struct str under, struct str key)
{
    for (size_t i = 0; i < ARRAY_LEN(cut_rules); i++) {
        if (str_is(key, cut_rules[i].name) && str_is(under, cut_rules[i].under)) {
            return &cut_rules[i];
        }
    }
    return NULL;
}

/* s->at: the opening quote of a string. Remembers a key, cuts its value where a rule says so. */
static void scan_string(struct scan *s, bool cut)
{
    size_t start = s->at + 1;
    size_t end = string_end(s->text, start);
    s->at = end < s->text.len ? end + 1 : end;
    size_t colon = s->at;
    while (colon < s->text.len && is_space(s->text.data[colon])) {
        colon++;
    }
    if (colon == s->text.len || s->text.data[colon] != ':') {
        return;
    }
    s->last_key = (struct str){s->text.data + start, end - start};
    s->at = colon + 1;
    const struct cut_rule *rule = cut ? find_rule(s->opened_by[s->depth], s->last_key) : NULL;
    if (rule != NULL) {
        buf_append(&s->kept, s->text.data + s->copied, s->at - s->copied);
        buf_append_text(&s->kept, rule->instead);
        s->at = value_end(s->text, s->at);
        s->copied = s->at;
    }
}

/* -1 when the nesting is too deep. What is malformed otherwise is the parser's to refuse. */
static int scan_text(struct scan *s, bool cut)
{
    while (s->at < s->text.len) {
        switch (s->text.data[s->at]) {
        case '"': scan_string(s, cut); continue;
        case '{':
        case '[':
            if (s->depth == LIMIT_JSON_DEPTH) {
                return -1;
            }
            s->opened_by[++s->depth] = s->last_key;
            s->last_key = (struct str){0};
            break;
        case '}':
        case ']':
            s->depth -= s->depth > 0;
            s->last_key = (struct str){0};
            break;
        default: break;
        }
        s->at++;
    }
    if (s->copied > 0) {
        buf_append(&s->kept, s->text.data + s->copied, s->text.len - s->copied);
    }
    return 0;
}

/* jansson's own text quotes the input, which may be a secret: only its code and position are told.
 */
static int parse_failed(const json_error_t *why, const char *what, struct err *err)
{
    enum json_error_code code = json_error_code(why);
    const char *text = "this is no valid JSON";
    if (code == json_error_out_of_memory) {
        return err_set(err, ERR_NO_MEMORY, "%s: out of memory while reading JSON", what);
    }
    if (code == json_error_premature_end_of_input) {
        text = "the JSON text ends early";
    } else if (code == json_error_duplicate_key) {
        text = "a key stands twice in one JSON object";
    } else if (code == json_error_invalid_utf8) {
        text = "the text is not UTF-8";
    } else if (code == json_error_end_of_input_expected) {
        text = "something follows behind the JSON text";
    } else if (code == json_error_null_character) {
        text = "a string holds a NUL character";
    } else if (code == json_error_numeric_overflow) {
        text = "a number is too large";
    }
    return err_set(err, ERR_INVALID, "%s: %s (line %d, column %d)", what, text, why->line,
                   why->column);
}

json_t *json_load(struct str text, bool strip_managed, const char *what, struct err *err)
{
    struct scan scan = {.text = text};
    json_error_t why = {0};
    json_t *tree = NULL;

    if (text.len == 0) {
        err_set(err, ERR_INVALID, "%s: empty, where JSON was expected", what);
        return NULL;
    }
    scan.kept.max = 2 * text.len + 2; /* what stands instead may be one byte longer */
    if (scan_text(&scan, strip_managed) != 0) {
        err_set(err, ERR_LIMIT, "%s: JSON nested deeper than %d levels", what, LIMIT_JSON_DEPTH);
        goto out;
    }
    if (scan.kept.failed) {
        err_set(err, ERR_NO_MEMORY, "%s: out of memory while reading JSON", what);
        goto out;
    }
    struct str rest = scan.copied > 0 ? buf_view(&scan.kept) : text;
    size_t flags = JSON_REJECT_DUPLICATES | (strip_managed ? JSON_ALLOW_NUL : 0);
    tree = json_loadb(rest.data, rest.len, flags, &why);
    if (tree == NULL) {
        parse_failed(&why, what, err);
    }
out:
    buf_release(&scan.kept);
    return tree;
}

json_t *json_path(const json_t *root, ...)
{
    const json_t *at = root;
    va_list keys;
    va_start(keys, root);
    for (const char *key = va_arg(keys, const char *); key != NULL && at != NULL;
         key = va_arg(keys, const char *)) {
        at = json_object_get(at, key);
    }
    va_end(keys);
    /* Borrowed from a tree that the caller may change anyway. */
    return (json_t *)(uintptr_t)at;
}

const char *json_text(const json_t *object, const char *key)
{
    return json_text_of(json_object_get(object, key));
}

const char *json_text_of(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

int64_t json_number(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value)) {
        return json_integer_value(value);
    }
    if (json_is_real(value)) {
        double real = json_real_value(value);
        if (real > -9e15 && real < 9e15) {
            return (int64_t)real;
        }
    }
    return otherwise;
}

bool json_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

void json_cleanup(json_t **tree)
{
    json_decref(*tree);
    *tree = NULL;
}
