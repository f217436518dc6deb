/* SPDX-License-Identifier: Apache-2.0
 *
 * YAML as kubectl reads it, and what is refused. */
#include "codec_data.h"

#include "base/attr.h"
#include "codec/yaml.h"

static void same(const char *yaml, const char *json)
{
    struct err err = {0};
    json_t *cleanup_json tree = yaml_load(str_from(yaml), "x.yaml", &err);
    json_t *cleanup_json expected = tree_of(json);
    if (tree == NULL || !json_equal(tree, expected)) {
        char *text = tree != NULL ? json_dumps(tree, JSON_SORT_KEYS) : NULL;
        fail_msg("%s: is %s, not %s", yaml, text != NULL ? text : err.msg, json);
    }
}

static void refused(const char *yaml, enum err_class class, const char *words)
{
    struct err err = {0};
    json_t *cleanup_json tree = yaml_load(str_from(yaml), "x.yaml", &err);
    yaml = yaml != NULL ? yaml : "";
    if (tree != NULL || err.class != class || strstr(err.msg, words) == NULL ||
        !text_starts_with(err.msg, "x.yaml: ")) {
        fail_msg("%s: \"%s\" does not say \"%s\"", yaml, err.msg, words);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    same("a: {b: [1, x], c: []}\nd:\n- e: f\n- - g\n",
         "{'a':{'b':[1,'x'],'c':[]},'d':[{'e':'f'},['g']]}");
    same("---\n# a comment\na: |\n  two\n  lines\nb: >\n  one\n  line\n...\n",
         "{'a':'two\\nlines\\n','b':'one line\\n'}");
    same("{\"a\": [true, null, \"x\"]}", "{'a':[true,null,'x']}");
    same("- a\n- b: {}\n", "['a',{'b':{}}]");
}

static void test_scalars(void **state)
{
    (void)state;
    same(
        "a: 90d\nb: 0 2 * * 6\nc: 2027-03-28\nd: 1.5.2\ne: +\nf: infinity\ng: 1e3x\n",
        "{'a':'90d','b':'0 2 * * 6','c':'2027-03-28','d':'1.5.2','e':'+','f':'infinity','g':'1e3x'}");
    same("a: 2048\nb: -7\nc: 1.5\nd: 0x10\ne: 1e3\n",
         "{'a':2048,'b':-7,'c':1.5,'d':16,'e':1000.0}");
    same("a: true\nb: Yes\nc: off\nd: \"true\"\ne: '8'\nf: !!str 8\n",
         "{'a':true,'b':true,'c':false,'d':'true','e':'8','f':'8'}");
    same("a:\nb: ~\nc: null\nd: ''\n", "{'a':null,'b':null,'c':null,'d':''}");
}

static void test_refused(void **state)
{
    (void)state;
    refused("", ERR_INVALID, "nothing in it");
    refused(NULL, ERR_INVALID, "nothing in it");
    refused("just words", ERR_INVALID, "line 1: a mapping is expected");
    refused("a: b\na: c\n", ERR_INVALID, "line 2: a key that was there before");
    refused("a: &x b\n", ERR_INVALID, "anchors and aliases");
    refused("a: &x {b: c}\nd: *x\n", ERR_INVALID, "anchors and aliases");
    refused("a: [b, *x]\n", ERR_INVALID, "anchors and aliases");
    refused("a: !!binary aGk=\n", ERR_INVALID, "tags");
    refused("a: !thing {}\n", ERR_INVALID, "tags");
    refused("? [a]\n: b\n", ERR_INVALID, "a key that is no text");
    refused("a: b\n---\nc: d\n", ERR_INVALID, "line 2: a second document");
    refused("a: \"\\0\"\n", ERR_INVALID, "NUL");
    refused("a: [b\n", ERR_INVALID, "no valid YAML");
    refused("a: b\n c: d\n", ERR_INVALID, "line 2: no valid YAML");
    refused("a: \xff\n", ERR_INVALID, "no valid YAML");
}

static void test_bounds(void **state)
{
    (void)state;
    char deep[2 * (YAML_DEPTH_MAX + 1) + 1] = "";
    memset(deep, '[', YAML_DEPTH_MAX + 1);
    memset(deep + YAML_DEPTH_MAX + 1, ']', YAML_DEPTH_MAX + 1);
    refused(deep, ERR_LIMIT, "nested deeper than 32 levels");
    deep[YAML_DEPTH_MAX] = ']'; /* one less, and its ends */
    deep[2 * YAML_DEPTH_MAX] = '\0';
    struct err err = {0};
    json_t *cleanup_json tree = yaml_load(str_from(deep), "x.yaml", &err);
    assert_non_null(tree);

    struct buf cleanup_buf large = {.max = LIMIT_YAML + 64};
    buf_append_text(&large, "a: ");
    while (large.len <= LIMIT_YAML)
        buf_append_text(&large, "0123456789abcdef");
    assert_false(large.failed);
    refused(buf_text(&large), ERR_LIMIT, "larger than");

    struct buf cleanup_buf key = {0};
    for (int i = 0; i < 321; i++)
        buf_append_char(&key, 'k');
    buf_append_text(&key, ": v");
    refused(buf_text(&key), ERR_INVALID, "a key that is too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
    };
    json_setup(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
