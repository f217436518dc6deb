/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "base/attr.h"
#include "codec/json.h"

#define KEY_MAX 320 /* bytes; the name of an annotation has at most 317 */
#define NUMBER_MAX 64

struct level {
    json_t *container; /* borrowed: the tree owns it */
    bool has_key;      /* mapping: the value of key comes next */
    char key[KEY_MAX + 1];
};

struct reader {
    const char *what;
    json_t *root; /* owned */
    struct level levels[YAML_DEPTH_MAX];
    size_t depth;
    size_t documents;
};

static int bad(const struct reader *r, const yaml_event_t *event, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s: line %zu: %s", r->what, event->start_mark.line + 1, why);
}

static int no_memory(const struct reader *r, struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "%s: out of memory", r->what);
}

/* ---- plain scalars ---- */

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Digits with at most one sign before, one point and one exponent: what strtod would take besides
 * ("infinity", "0x1p3", blanks) is text. */
static bool looks_like_number(const char *text)
{
    size_t len = strlen(text);
    size_t sign = text[0] == '-' || text[0] == '+' ? 1 : 0;
    return len < NUMBER_MAX && strspn(text + sign, "0123456789.eE+-") == len - sign &&
           strpbrk(text, "0123456789") != NULL && text[sign] != 'e' && text[sign] != 'E';
}

/* NULL: it is no number. */
static json_t *number_of(const char *text)
{
    char *end = NULL;
    bool prefixed = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (!prefixed && !looks_like_number(text))
        return NULL;
    errno = 0;
    long long whole = strtoll(text, &end, 0); /* 0x1f and 017 as kubectl reads them */
    if (*end == '\0' && errno == 0)
        return json_integer(whole);
    if (prefixed)
        return NULL;
    double real = strtod(text, &end);
    return *end == '\0' && isfinite(real) ? json_real(real) : NULL;
}

static json_t *plain(const char *text, size_t len)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES",
                                      "on",   "On",   "ON",   "y",   "Y"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No", "NO",
                                     "off",   "Off",   "OFF",   "n",  "N"};
    if (is_one_of(text, nulls, ARRAY_LEN(nulls)))
        return json_null();
    if (is_one_of(text, yes, ARRAY_LEN(yes)))
        return json_true();
    if (is_one_of(text, no, ARRAY_LEN(no)))
        return json_false();
    json_t *number = number_of(text);
    return number != NULL ? number : json_stringn(text, len);
}

/* ---- the tree ---- */

/* Puts a value where it belongs, and takes it over. */
static int place(struct reader *r, const yaml_event_t *event, json_t *value, struct err *err)
{
    struct level *level = r->depth > 0 ? &r->levels[r->depth - 1] : NULL;
    int failed = 0;
    if (value == NULL)
        return no_memory(r, err);
    if (level == NULL)
        r->root = value;
    else if (json_is_array(level->container))
        failed = json_array_append_new(level->container, value);
    else if (!level->has_key) {
        json_decref(value);
        return bad(r, event, "a key that is no text", err);
    } else {
        failed = json_object_set_new(level->container, level->key, value);
        level->has_key = false;
    }
    return failed == 0 ? 0 : no_memory(r, err);
}

static int on_key(struct reader *r, const yaml_event_t *event, struct err *err)
{
    struct level *level = &r->levels[r->depth - 1];
    const char *text = (const char *)event->data.scalar.value;
    if (!text_format(level->key, sizeof(level->key), "%s", text))
        return bad(r, event, "a key that is too long", err);
    if (json_object_get(level->container, text) != NULL)
        return bad(r, event, "a key that was there before in the same mapping", err);
    level->has_key = true;
    return 0;
}

static int on_scalar(struct reader *r, const yaml_event_t *event, struct err *err)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    struct level *level = r->depth > 0 ? &r->levels[r->depth - 1] : NULL;
    if (strlen(text) != len)
        return bad(r, event, "a NUL character", err);
    if (level == NULL)
        return bad(r, event, "a mapping is expected, with members like kind: KeyRotation", err);
    if (json_is_object(level->container) && !level->has_key)
        return on_key(r, event, err);
    bool is_plain =
        event->data.scalar.tag == NULL && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return place(r, event, is_plain ? plain(text, len) : json_stringn(text, len), err);
}

static int on_start(struct reader *r, const yaml_event_t *event, json_t *container, struct err *err)
{
    if (r->depth == YAML_DEPTH_MAX) {
        json_decref(container);
        return err_set(err, ERR_LIMIT, "%s: line %zu: nested deeper than %d levels", r->what,
                       event->start_mark.line + 1, YAML_DEPTH_MAX);
    }
    if (place(r, event, container, err) != 0)
        return -1;
    r->levels[r->depth++] = (struct level){.container = container};
    return 0;
}

static int on_document(struct reader *r, const yaml_event_t *event, struct err *err)
{
    return r->documents++ == 0 ? 0 : bad(r, event, "a second document: write one object", err);
}

/* What may stand before a value; NULL: nothing does. */
static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        return event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return event->data.sequence_start.anchor;
    return event->type == YAML_MAPPING_START_EVENT ? event->data.mapping_start.anchor : NULL;
}

static const yaml_char_t *tag_of(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        return event->data.scalar.tag;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return event->data.sequence_start.tag;
    return event->type == YAML_MAPPING_START_EVENT ? event->data.mapping_start.tag : NULL;
}

static int on_event(struct reader *r, const yaml_event_t *event, struct err *err)
{
    if (event->type == YAML_ALIAS_EVENT || anchor_of(event) != NULL)
        return bad(r, event, "anchors and aliases are not supported: write the value out", err);
    const char *tag = (const char *)tag_of(event);
    if (tag != NULL && (event->type != YAML_SCALAR_EVENT || strcmp(tag, YAML_STR_TAG) != 0))
        return bad(r, event, "tags are not supported: write the value without", err);
    switch (event->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_DOCUMENT_END_EVENT: return 0;
    case YAML_DOCUMENT_START_EVENT: return on_document(r, event, err);
    case YAML_SCALAR_EVENT: return on_scalar(r, event, err);
    case YAML_SEQUENCE_START_EVENT: return on_start(r, event, json_array(), err);
    case YAML_MAPPING_START_EVENT: return on_start(r, event, json_object(), err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: r->depth--; return 0;
    }
    return 0;
}

static int read_all(struct reader *r, struct str text, struct err *err)
{
    yaml_parser_t parser;
    int result = 0;
    bool ended = false;
    if (yaml_parser_initialize(&parser) == 0)
        return no_memory(r, err);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
    while (result == 0 && !ended) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            result = parser.error == YAML_MEMORY_ERROR
                         ? no_memory(r, err)
                         : err_set(err, ERR_INVALID, "%s: line %zu: no valid YAML (%s)", r->what,
                                   parser.problem_mark.line + 1,
                                   parser.problem != NULL ? parser.problem : "bad bytes");
            break;
        }
        result = on_event(r, &event, err);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return result;
}

json_t *yaml_load(struct str text, const char *what, struct err *err)
{
    struct reader r = {.what = what};
    if (text.len > LIMIT_YAML) {
        (void)err_set(err, ERR_LIMIT, "%s: larger than %lu bytes", what, LIMIT_YAML);
        return NULL;
    }
    /* libyaml takes no NULL, which an empty text may be. */
    if (text.len > 0 && read_all(&r, text, err) != 0) {
        json_decref(r.root);
        return NULL;
    }
    if (r.root == NULL)
        (void)err_set(err, ERR_INVALID, "%s: there is nothing in it", what);
    return r.root;
}
