/* SPDX-License-Identifier: Apache-2.0 */
#include "codec_data.h"

#include <stdlib.h>
#include "codec/frames.h"
#include "codec/kube_codec.h"

#define HASH "v1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

/* The object of the wanted event of a seed; the tree is the caller's. */
struct wanted {
    size_t index;
    size_t at;
    json_t *tree;
    struct watch_frame frame;
};

static int on_frame(void *ctx, struct str frame, struct err *err)
{
    struct wanted *w = ctx;
    if (w->at++ != w->index) {
        return 0;
    }
    return watch_frame_decode(frame, &w->tree, &w->frame, err);
}

static void load_event(const char *seed, size_t index, struct wanted *ret)
{
    struct buf cleanup_buf text = {0};
    struct frames frames = {0};
    struct err err = {0};
    *ret = (struct wanted){.index = index};
    read_seed(seed, &text);
    if (frames_feed(&frames, buf_view(&text), on_frame, ret, &err) != 0) {
        fail_msg("%s", err.msg);
    }
    frames_release(&frames);
    assert_non_null(ret->tree);
}

static void test_deployment(void **state)
{
    (void)state;
    struct wanted w;
    struct err err = {0};
    load_event("watch/events.txt", 0, &w);
    assert_int_equal(w.frame.event, WATCH_ADDED);
    assert_string_equal(w.frame.resource_version, "101");
    struct workload_object *d = workload_new(w.frame.object, WORKLOAD_DEPLOYMENT, &err);
    json_decref(w.tree); /* nothing of the tree is kept */
    assert_non_null(d);
    assert_string_equal(d->meta.namespace, "auth");
    assert_string_equal(d->meta.name, "api");
    assert_string_equal(d->meta.uid, "0b0e7d4e-1111-4222-8333-444455556666");
    assert_string_equal(d->meta.resource_version, "101");
    assert_int_equal(d->meta.generation, 2);
    assert_int_equal(d->meta.created_s, 1782896400);
    assert_false(d->meta.deleting);
    assert_string_equal(d->template_hash, HASH);
    assert_int_equal(d->selector_count, 3);
    assert_int_equal(d->desired, 2);
    assert_int_equal(d->total, 2);
    assert_int_equal(d->updated, 2);
    assert_int_equal(d->ready, 1);
    assert_int_equal(d->available, 1);
    assert_int_equal(d->observed_generation, 2);
    assert_true(d->deadline_exceeded);
    assert_false(d->paused || d->on_delete || d->revisions_equal);
    workload_free(d);
}

static void test_stateful_and_daemon_set(void **state)
{
    (void)state;
    struct wanted w;
    struct err err = {0};
    load_event("watch/events.txt", 1, &w);
    struct workload_object *s = workload_new(w.frame.object, WORKLOAD_STATEFUL_SET, &err);
    json_decref(w.tree);
    assert_non_null(s);
    assert_int_equal(s->desired, 1); /* replicas absent */
    assert_int_equal(s->total, 3);
    assert_int_equal(s->partition, 1);
    assert_false(s->revisions_equal);
    assert_null(s->template_hash);
    workload_free(s);

    load_event("watch/events.txt", 2, &w);
    struct workload_object *d = workload_new(w.frame.object, WORKLOAD_DAEMON_SET, &err);
    json_decref(w.tree);
    assert_non_null(d);
    assert_int_equal(d->desired, 3);
    assert_int_equal(d->total, 2);
    assert_int_equal(d->updated, 1);
    assert_int_equal(d->ready, 2);
    assert_int_equal(d->available, 2);
    assert_true(d->on_delete);
    workload_free(d);
}

#define META "'metadata':{'namespace':'a','name':'w','resourceVersion':'1'}"

static void check_matches(const char *selector, const char *labels, bool wanted)
{
    char text[1024];
    struct err err = {0};
    assert_true(text_format(text, sizeof(text), "{" META ",'spec':{'selector':%s}}", selector));
    json_t *cleanup_json workload = tree_of(text);
    assert_true(text_format(
        text, sizeof(text),
        "{'metadata':{'namespace':'a','name':'p','resourceVersion':'1','labels':%s}}", labels));
    json_t *cleanup_json pod = tree_of(text);
    struct workload_object *w = workload_new(workload, WORKLOAD_DEPLOYMENT, &err);
    struct pod_object *p = pod_new(pod, &err);
    assert_non_null(w);
    assert_non_null(p);
    if (selector_matches(w, p) != wanted) {
        fail_msg("%s on %s", selector, labels);
    }
    p->meta.namespace = "other";
    assert_false(selector_matches(w, p));
    workload_free(w);
    pod_free(p);
}

static void test_selectors(void **state)
{
    (void)state;
    check_matches("{'matchLabels':{'a':'1'}}", "{'a':'1','b':'2'}", true);
    check_matches("{'matchLabels':{'a':'1','b':'3'}}", "{'a':'1','b':'2'}", false);
    check_matches("{'matchLabels':{'a':'1'}}", "{}", false);
    check_matches("{}", "{'a':'1'}", false);
    check_matches("{'matchExpressions':[{'key':'a','operator':'In','values':['1','2']}]}",
                  "{'a':'2'}", true);
    check_matches("{'matchExpressions':[{'key':'a','operator':'In','values':['1','2']}]}",
                  "{'a':'3'}", false);
    check_matches("{'matchExpressions':[{'key':'a','operator':'NotIn','values':['1']}]}",
                  "{'a':'1'}", false);
    check_matches("{'matchExpressions':[{'key':'a','operator':'NotIn','values':['1']}]}",
                  "{'b':'1'}", true);
    check_matches("{'matchExpressions':[{'key':'a','operator':'Exists'}]}", "{'a':''}", true);
    check_matches("{'matchExpressions':[{'key':'a','operator':'Exists'}]}", "{'b':''}", false);
    check_matches("{'matchExpressions':[{'key':'a','operator':'DoesNotExist'}]}", "{'b':''}", true);
    check_matches("{'matchExpressions':[{'key':'a','operator':'DoesNotExist'}]}", "{'a':''}",
                  false);
    check_matches("{'matchLabels':{'a':'1'},'matchExpressions':[{'key':'b','operator':'Exists'}]}",
                  "{'a':'1'}", false);
}

static void test_unknown_selector_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{" META ",'spec':{'selector':{'matchExpressions':[{'key':'a','operator':'Near'}]}}}",
        "{" META ",'spec':{'selector':{'matchExpressions':[{'operator':'Exists'}]}}}",
        "{" META ",'spec':{'selector':{'matchExpressions':['x']}}}",
        "{" META
        ",'spec':{'selector':{'matchExpressions':[{'key':'a','operator':'In','values':[1]}]}}}",
        "{" META ",'spec':{'selector':{'matchLabels':{'a':1}}}}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        json_t *cleanup_json tree = tree_of(bad[i]);
        assert_null(workload_new(tree, WORKLOAD_DAEMON_SET, &err));
        assert_int_equal(err.class, ERR_INVALID);
        assert_non_null(strstr(err.msg, "DaemonSet a/w"));
    }
}

static void test_meta_refuses(void **state)
{
    (void)state;
    char text[1024];
    char name[300];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_true(
        text_format(text, sizeof(text), "{'metadata':{'name':'%s','resourceVersion':'1'}}", name));
    const char *const bad[] = {"{}",
                               "[]",
                               "{'metadata':[]}",
                               "{'metadata':{'name':'a'}}",
                               "{'metadata':{'name':'','resourceVersion':'1'}}",
                               "{'metadata':{'name':7,'resourceVersion':'1'}}",
                               "{'metadata':{'name':'a','resourceVersion':''}}",
                               text};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        json_t *cleanup_json tree = tree_of(bad[i]);
        assert_null(pod_new(tree, &err));
        assert_int_equal(err.class, ERR_INVALID);
        assert_null(config_map_new(tree, NULL));
        assert_null(workload_new(tree, WORKLOAD_DEPLOYMENT, NULL));
    }
    pod_free(NULL);
    config_map_free(NULL);
    workload_free(NULL);
}

static void test_pod(void **state)
{
    (void)state;
    struct wanted w;
    struct err err = {0};
    load_event("watch/events.txt", 3, &w);
    assert_int_equal(w.frame.event, WATCH_DELETED);
    struct pod_object *p = pod_new(w.frame.object, &err);
    json_decref(w.tree);
    assert_non_null(p);
    assert_true(p->meta.deleting);
    assert_string_equal(p->hash, HASH);
    assert_int_equal(p->labels_count, 2);
    assert_string_equal(p->labels[1].key, "pod-template-hash");
    assert_string_equal(p->labels[1].value, "7c9");
    pod_free(p);
}

static void test_config_map(void **state)
{
    (void)state;
    struct wanted w;
    struct err err = {0};
    load_event("watch/events.txt", 4, &w);
    struct config_map_object *c = config_map_new(w.frame.object, &err);
    json_decref(w.tree);
    assert_non_null(c);
    assert_string_equal(c->rotation, "prod");
    assert_string_equal(c->consumer, "api");
    assert_string_equal(c->hash, HASH);
    assert_string_equal(c->record, "{\"keys\":[]}");
    assert_false(c->adopt || c->finalizers_or_owners);
    struct trust_file file = {"record.json", {"{\"keys\":[]}", 11}};
    struct trust_files files = {.files = &file, .count = 1};
    char digest[JOSE_HASH_TEXT];
    trust_files_digest(&files, digest);
    assert_string_equal(c->digest, digest);
    config_map_free(c);
}

static void check_config_map(const char *text, bool adopt, bool owned, bool digest)
{
    struct err err = {0};
    json_t *cleanup_json tree = tree_of(text);
    struct config_map_object *c = config_map_new(tree, &err);
    assert_non_null(c);
    assert_int_equal(c->adopt, adopt);
    assert_int_equal(c->finalizers_or_owners, owned);
    assert_int_equal(c->digest[0] != '\0', digest);
    assert_null(c->record); /* never without the label */
    config_map_free(c);
}

static void test_config_map_of_others(void **state)
{
    (void)state;
#define M "'name':'c','resourceVersion':'1'"
    check_config_map("{'metadata':{" M ",'annotations':{'keyturn.dev/adopt':'true'}}}", true, false,
                     true);
    check_config_map("{'metadata':{" M ",'annotations':{'keyturn.dev/adopt':'yes'}}}", false, false,
                     true);
    check_config_map("{'metadata':{" M ",'finalizers':['a']},'data':{'record.json':'x'}}", false,
                     true, true);
    check_config_map("{'metadata':{" M ",'ownerReferences':[{}]}}", false, true, true);
    check_config_map("{'metadata':{" M "},'data':{'a':'b'},'binaryData':{'c':'AA=='}}", false,
                     false, false);
    check_config_map("{'metadata':{" M "},'data':{'a':1}}", false, false, false);
    check_config_map("{'metadata':{" M "},'data':[]}", false, false, false);
}

/* The order of the members changes nothing: trust_render sorts by name, and so does the decoder. */
static void test_digest_is_sorted(void **state)
{
    (void)state;
    struct err err = {0};
    json_t *cleanup_json one = tree_of("{'metadata':{" M "},'data':{'a':'1','b':'2'}}");
    json_t *cleanup_json two = tree_of("{'metadata':{" M "},'data':{'b':'2','a':'1'}}");
    json_t *cleanup_json other = tree_of("{'metadata':{" M "},'data':{'b':'1','a':'2'}}");
    struct config_map_object *x = config_map_new(one, &err);
    struct config_map_object *y = config_map_new(two, &err);
    struct config_map_object *z = config_map_new(other, &err);
    assert_string_equal(x->digest, y->digest);
    assert_string_not_equal(x->digest, z->digest);
    config_map_free(x);
    config_map_free(y);
    config_map_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deployment),       cmocka_unit_test(test_stateful_and_daemon_set),
        cmocka_unit_test(test_selectors),        cmocka_unit_test(test_unknown_selector_is_refused),
        cmocka_unit_test(test_meta_refuses),     cmocka_unit_test(test_pod),
        cmocka_unit_test(test_config_map),       cmocka_unit_test(test_config_map_of_others),
        cmocka_unit_test(test_digest_is_sorted),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
