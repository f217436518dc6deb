/* SPDX-License-Identifier: Apache-2.0 */
#include "codec_data.h"

#include <stdlib.h>
#include "base/limits.h"
#include "codec/base64.h"
#include "codec/frames.h"

static char *dump(json_t *tree)
{
    char *text = json_dumps(tree, JSON_COMPACT);
    assert_non_null(text);
    return text;
}

static void check_load(const char *from, bool strip, const char *wanted)
{
    struct err err = {0};
    json_t *cleanup_json tree = json_load(str_from(from), strip, "test", &err);
    if (tree == NULL) {
        fail_msg("%s: %s", from, err.msg);
    }
    char *text = dump(tree);
    assert_string_equal(text, wanted);
    free(text);
}

static void test_strip_cuts_what_nobody_reads(void **state)
{
    (void)state;
    check_load(
        "{\"metadata\":{\"name\":\"a\",\"managedFields\":[{\"x\":\"]}\\\"\"}],\"uid\":\"u\"}}",
        true, "{\"metadata\":{\"name\":\"a\",\"managedFields\":[],\"uid\":\"u\"}}");
    check_load(
        "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":"
        "{\"a\":\"b\"}} , \"spec\" : {\"c\":[1,{}]} }}}",
        true,
        "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"a\":\"b\"}},\"spec\":{}}}}");
    check_load(
        "{\"annotations\":"
        "{\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"a\\\":1}\",\"b\":\"c\"}}",
        true,
        "{\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"\","
        "\"b\":\"c\"}}");
    /* In every item of a list. */
    check_load("{\"items\":[{\"metadata\":{\"managedFields\":[1]}},{\"metadata\":"
               "{\"managedFields\":[2]}}],\"z\":1}",
               true,
               "{\"items\":[{\"metadata\":{\"managedFields\":[]}},{\"metadata\":"
               "{\"managedFields\":[]}}],\"z\":1}");
}

static void test_strip_leaves_the_rest(void **state)
{
    (void)state;
    static const char *const texts[] = {
        /* The same names elsewhere: data of a ConfigMap, a spec, a value, an array after such a
           key. */
        "{\"data\":{\"managedFields\":\"mine\",\"spec\":\"s\"}}",
        "{\"spec\":{\"replicas\":2}}",
        "{\"metadata\":{\"name\":\"managedFields\"}}",
        "{\"template\":[{\"spec\":1}],\"metadata\":[{\"managedFields\":[1]}]}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        check_load(texts[i], true, texts[i]);
    }
    check_load("{\"metadata\":{\"managedFields\":[1]}}", false,
               "{\"metadata\":{\"managedFields\":[1]}}");
}

static void check_refused(struct str text, enum err_class class, const char *word)
{
    struct err err = {0};
    json_t *cleanup_json tree = json_load(text, true, "thing", &err);
    assert_null(tree);
    if (err.class != class) {
        fail_msg("%.*s: %s", (int)text.len, text.data, err.msg);
    }
    if (strstr(err.msg, word) == NULL || strstr(err.msg, "thing") == NULL) {
        fail_msg("\"%s\" does not say %s", err.msg, word);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    check_refused(str_from(""), ERR_INVALID, "empty");
    check_refused(str_from("{\"a\":1,\"a\":2}"), ERR_INVALID, "twice");
    check_refused(str_from("{\"a\":1"), ERR_INVALID, "early");
    check_refused(str_from("{\"a\":1}{"), ERR_INVALID, "follows");
    check_refused(str_from("{\"a\":\"\xff\"}"), ERR_INVALID, "UTF-8");
    check_refused(str_from("{\"a\":99999999999999999999}"), ERR_INVALID, "large");
    check_refused(str_from("\"text alone\""), ERR_INVALID, "JSON");
    check_refused((struct str){"{\"a\0\":1}", 8}, ERR_INVALID, "line 1");
    /* Cut where a rule applies: never read beyond the end. */
    check_refused(str_from("{\"metadata\":{\"managedFields\":[{\"a"), ERR_INVALID, "early");
    check_refused(str_from("{\"metadata\":{\"managedFields\":"), ERR_INVALID, "early");
    check_refused(str_from("{\"metadata\":{\"managedFields\""), ERR_INVALID, "early");
    check_refused(str_from("{\"metadata\":{\"managedFields\\\""), ERR_INVALID, "early");
}

static void test_error_does_not_quote(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(json_load(str_from("{\"access_token\": S3CRET}"), false, "token", &err));
    assert_null(strstr(err.msg, "S3CRET"));
    assert_null(json_load(str_from("{\"S3CRET\":1,\"S3CRET\":2}"), false, "token", &err));
    assert_null(strstr(err.msg, "S3CRET"));
    assert_null(json_load(str_from("x"), false, "token", NULL));
}

static void test_depth(void **state)
{
    (void)state;
    char text[2 * LIMIT_JSON_DEPTH + 3];
    memset(text, '[', LIMIT_JSON_DEPTH);
    memset(text + LIMIT_JSON_DEPTH, ']', LIMIT_JSON_DEPTH);
    struct err err = {0};
    json_t *cleanup_json tree =
        json_load((struct str){text, 2 * LIMIT_JSON_DEPTH}, true, "x", &err);
    assert_non_null(tree);
    memset(text, '[', LIMIT_JSON_DEPTH + 1);
    memset(text + LIMIT_JSON_DEPTH + 1, ']', LIMIT_JSON_DEPTH + 1);
    assert_null(json_load((struct str){text, 2 * LIMIT_JSON_DEPTH + 2}, true, "x", &err));
    assert_int_equal(err.class, ERR_LIMIT);
}

static void test_walks(void **state)
{
    (void)state;
    json_t *cleanup_json t =
        tree_of("{'a':{'b':{'c':'d','n':7,'r':2.9,'h':1e300,'t':true,'f':false}}}");
    json_t *b = json_path(t, "a", "b", NULL);
    assert_string_equal(json_text(b, "c"), "d");
    assert_null(json_text(b, "n"));
    assert_null(json_text(NULL, "n"));
    assert_null(json_path(t, "a", "x", "c", NULL));
    assert_null(json_path(t, "a", "b", "c", "d", NULL));
    assert_null(json_path(NULL, "a", NULL));
    assert_int_equal(json_number(b, "n", -1), 7);
    assert_int_equal(json_number(b, "r", -1), 2);
    assert_int_equal(json_number(b, "h", -1), -1);
    assert_int_equal(json_number(b, "c", -1), -1);
    assert_true(json_flag(b, "t"));
    assert_false(json_flag(b, "f"));
    assert_false(json_flag(b, "c"));
    assert_false(json_flag(NULL, "c"));
}

static void test_a_nul_spoils_its_own_string_only(void **state)
{
    (void)state;
    struct err err = {0};
    json_t *t = json_load(str_from("{\"a\":\"x\\u0000y\",\"b\":\"z\"}"), true, "thing", &err);
    assert_non_null(t);
    assert_null(json_text(t, "a"));
    assert_string_equal(json_text(t, "b"), "z");
    json_decref(t);
    /* Where the text is not the API server's there is no reason to let one pass. */
    assert_null(json_load(str_from("{\"a\":\"\\u0000\"}"), false, "thing", &err));
    assert_non_null(strstr(err.msg, "NUL"));
}

/* --- frames -------------------------------------------------------------------------------------
 */

struct seen {
    struct buf text; /* frames, each in angle brackets */
    size_t fail_at;  /* 0: never */
    size_t count;
};

static int on_frame(void *ctx, struct str frame, struct err *err)
{
    struct seen *seen = ctx;
    buf_append_char(&seen->text, '<');
    buf_append_str(&seen->text, frame);
    buf_append_char(&seen->text, '>');
    return ++seen->count == seen->fail_at ? err_set(err, ERR_INVALID, "enough") : 0;
}

static void test_frames_any_cut(void **state)
{
    (void)state;
    const char *stream = "{\"a\":\"x\\ny\"}\n\n{\"b\":2}\r\n{\"c\"";
    size_t len = strlen(stream);
    for (size_t step = 1; step <= len; step++) {
        struct frames frames = {0};
        struct seen seen = {.count = 0};
        struct err err = {0};
        for (size_t at = 0; at < len; at += step) {
            struct str piece = {stream + at, len - at < step ? len - at : step};
            assert_int_equal(frames_feed(&frames, piece, on_frame, &seen, &err), 0);
        }
        assert_string_equal(buf_text(&seen.text), "<{\"a\":\"x\\ny\"}><{\"b\":2}>");
        assert_string_equal(buf_text(&frames.pending), "{\"c\"");
        frames_release(&frames);
        buf_release(&seen.text);
    }
}

static void test_frames_stop(void **state)
{
    (void)state;
    struct frames frames = {0};
    struct seen seen = {.fail_at = 2};
    struct err err = {0};
    assert_int_equal(frames_feed(&frames, str_from("1\n2\n3\n"), on_frame, &seen, &err), -1);
    assert_int_equal(seen.count, 2);
    assert_string_equal(err.msg, "enough");
    frames_release(&frames);
    buf_release(&seen.text);
}

static void test_frames_limit(void **state)
{
    (void)state;
    struct frames frames = {0};
    struct seen seen = {.count = 0};
    struct err err = {0};
    size_t half = LIMIT_WATCH_FRAME / 2;
    char *text = malloc(half + 2);
    assert_non_null(text);
    memset(text, 'x', half + 1);
    text[half + 1] = '\n';
    /* Exactly the limit passes, in two pieces, and the large buffer is given back. */
    assert_int_equal(frames_feed(&frames, (struct str){text, half}, on_frame, &seen, &err), 0);
    assert_int_equal(frames_feed(&frames, (struct str){text + 1, half + 1}, on_frame, &seen, &err),
                     0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(frames.pending.cap, 0);
    assert_int_equal(frames_feed(&frames, (struct str){text, half}, on_frame, &seen, &err), 0);
    assert_int_equal(frames_feed(&frames, (struct str){text, half + 2}, on_frame, &seen, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
    assert_int_equal(seen.count, 1);
    free(text);
    frames_release(&frames);
    buf_release(&seen.text);
}

/* --- base64 -------------------------------------------------------------------------------------
 */

static void test_base64_round_trip(void **state)
{
    (void)state;
    char bytes[2000];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)(i * 7);
    }
    static const size_t lengths[] = {0,   1,   2,   3,    4,    766,  767,
                                     768, 769, 770, 1535, 1536, 1537, 2000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct buf cleanup_buf text = {0};
        struct buf cleanup_buf back = {0};
        base64_encode((struct str){bytes, lengths[i]}, &text);
        assert_int_equal(text.len, (lengths[i] + 2) / 3 * 4);
        assert_int_equal(base64_decode(buf_view(&text), &back), 0);
        assert_int_equal(back.len, lengths[i]);
        assert_memory_equal(buf_text(&back), bytes, lengths[i]);
    }
}

static void test_base64_refuses(void **state)
{
    (void)state;
    static const char
        *const bad[] = {"A",     "AA",       "AAA",        "AA=",  "A===", "====",
                        "=AAA",  "AA=A",     "AA==AAAA",   "AA-_", "AA$A", "AAA=A",
                        "AAAA=", "AAAA====", "\x80\x80==", "AB==" /* a bit that reaches no byte */};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf cleanup_buf out = {0};
        if (base64_decode(str_from(bad[i]), &out) == 0) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    struct buf cleanup_buf out = {0};
    assert_int_equal(base64_decode(str_from(" aGV\nsbG8 \r\n="), &out), 0);
    assert_string_equal(buf_text(&out), "hello");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strip_cuts_what_nobody_reads),
        cmocka_unit_test(test_strip_leaves_the_rest),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_error_does_not_quote),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_walks),
        cmocka_unit_test(test_a_nul_spoils_its_own_string_only),
        cmocka_unit_test(test_frames_any_cut),
        cmocka_unit_test(test_frames_stop),
        cmocka_unit_test(test_frames_limit),
        cmocka_unit_test(test_base64_round_trip),
        cmocka_unit_test(test_base64_refuses),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
