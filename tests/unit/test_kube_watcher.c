/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../lib/fake_kube.h"
#include "codec/json.h"
#include "kube/watcher.h"

struct thing {
    struct object_meta meta;
    char texts[4][64];
    int value;
};

static struct fake_kube k;
static struct watcher *w;
static char story[4096]; /* what changed() said */
static int synced, live;

static const char *keep(char place[64], const char *text)
{
    snprintf(place, 64, "%s", text != NULL ? text : "");
    return place;
}

static void *decode(void *ctx, const json_t *object, struct err *err)
{
    (void)ctx;
    if (json_flag(object, "broken")) {
        err_set(err, ERR_INVALID, "broken thing");
        return NULL;
    }
    struct thing *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    const json_t *meta = json_path(object, "metadata", NULL);
    t->meta.namespace = keep(t->texts[0], json_text(meta, "namespace"));
    t->meta.name = keep(t->texts[1], json_text(meta, "name"));
    t->meta.uid = keep(t->texts[2], json_text(meta, "uid"));
    t->meta.resource_version = keep(t->texts[3], json_text(meta, "resourceVersion"));
    t->value = (int)json_number(object, "value", 0);
    live++;
    return t;
}

static void release(void *object)
{
    live--;
    free(object);
}

static void changed(void *ctx, const void *old, const void *new)
{
    (void)ctx;
    const struct thing *t = new != NULL ? new : old;
    size_t len = strlen(story);
    snprintf(story + len, sizeof(story) - len, "%s%s%s ",
             old == NULL   ? "+"
             : new == NULL ? "-"
                           : "~",
             t->meta.name,
             new != NULL &&old !=
                     NULL &&strcmp(((const struct thing *)old)->meta.uid, t->meta.uid) != 0
                 ? "!"
                 : "");
    /* The store is as it is after the change. */
    const struct thing *now = watcher_get(w, t->meta.namespace, t->meta.name);
    assert_ptr_equal(now, new);
}

static int held(void)
{
    size_t it[2] = {0};
    int count = 0;
    while (watcher_next(w, NULL, it) != NULL)
        count++;
    return count;
}

static void on_synced(void *ctx)
{
    (void)ctx;
    synced++;
}

static void start(size_t objects_max, const char *namespace)
{
    fake_kube_start(&k);
    struct watcher_class class = {
        .name = "Thing",
        .prefix = "/apis/t/v1",
        .plural = "things",
        .namespace = namespace,
        .label_selector = "a=b,c",
        .metadata_only = true,
        .objects_max = objects_max,
        .decode = decode,
        .release = release,
        .changed = changed,
        .synced = on_synced,
    };
    story[0] = '\0';
    synced = 0;
    w = watcher_new(k.kube, k.loop, &class);
    assert_non_null(w);
    watcher_start(w);
    fake_loop_advance(k.loop, 0);
}

static int setup(void **state)
{
    (void)state;
    start(10, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    watcher_free(w);
    fake_kube_stop(&k);
    assert_int_equal(live, 0);
    return 0;
}

static struct fake_request *last(void)
{
    return fake_http_last(k.http);
}

#define META(ns, name, uid, rv)                                                   \
    "\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\",\"uid\":\"" uid \
    "\",\"resourceVersion\":\"" rv "\"}"
#define EVENT(type, ns, name, uid, rv) \
    "{\"type\":\"" type "\",\"object\":{\"kind\":\"Thing\"," META(ns, name, uid, rv) "}}\n"
#define BOOKMARK(rv) \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" rv "\"}}}\n"
#define INITIAL_END(rv)                                                          \
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" rv \
    "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define ERROR_EVENT(code, reason)                                                                 \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":" #code ",\"reason\":\"" reason \
    "\",\"message\":\"m\"}}\n"

static void sync_two(void)
{
    fake_chunk(last(), EVENT("ADDED", "n", "a", "1", "10") EVENT("ADDED", "n", "b", "2", "11"));
    fake_chunk(last(), INITIAL_END("20"));
    assert_true(watcher_synced(w));
}

static void first_request_is_a_watch_list(void **state)
{
    (void)state;
    const char *url = last()->url;
    assert_non_null(strstr(url, "https://api.test:6443/apis/t/v1/things?watch=1&"));
    assert_non_null(strstr(url, "allowWatchBookmarks=true"));
    assert_non_null(strstr(url, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
    assert_non_null(strstr(url, "resourceVersion=&"));
    assert_non_null(strstr(url, "labelSelector=a%3Db%2Cc"));
    const char *seconds = strstr(url, "timeoutSeconds=") + strlen("timeoutSeconds=");
    assert_in_range(strtol(seconds, NULL, 10), 300, 600);
    assert_int_equal(last()->lane, HTTP_LANE_WATCH);
    assert_int_equal(last()->idle_timeout_ms, 90000);
    assert_true(fake_header_is(last(), "Accept",
                               "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"));
}

static void initial_events_then_bookmark_then_changes(void **state)
{
    (void)state;
    fake_chunk(last(), EVENT("ADDED", "n", "a", "1", "10"));
    assert_false(watcher_synced(w));
    assert_int_equal(synced, 0);
    fake_chunk(last(), INITIAL_END("20"));
    assert_int_equal(synced, 1);
    /* Cut anywhere. */
    const char *text = EVENT("MODIFIED", "n", "a", "1", "21") EVENT("ADDED", "m", "c", "3", "22")
        EVENT("DELETED", "n", "a", "1", "23");
    for (const char *c = text; *c != '\0'; c++)
        fake_chunk(last(), (char[2]){*c, 0});
    assert_string_equal(story, "+a ~a +c -a ");
    assert_int_equal(held(), 1);
    assert_null(watcher_get(w, "n", "a"));
    assert_non_null(watcher_get(w, "m", "c"));
    assert_int_equal(synced, 1);
    assert_int_equal(watcher_heard_ms(w), loop_clock_ms());
}

static void closed_stream_goes_on_where_it_was(void **state)
{
    (void)state;
    sync_two();
    fake_chunk(last(), BOOKMARK("30"));
    fake_loop_advance(k.loop, 300000);
    fake_answer(last(), 200, "");
    fake_loop_advance(k.loop, 0);
    assert_int_equal(fake_http_count(k.http), 2);
    assert_non_null(strstr(last()->url, "resourceVersion=30&"));
    assert_null(strstr(last()->url, "sendInitialEvents"));
    assert_string_equal(story, "+a +b ");
    assert_int_equal(watcher_err(w)->class, ERR_NONE);
}

static void lost_connection_keeps_objects_and_is_told(void **state)
{
    (void)state;
    sync_two();
    fake_fail(last(), ERR_TIMEOUT);
    assert_int_equal(watcher_err(w)->class, ERR_TIMEOUT);
    assert_int_equal(held(), 2);
    assert_true(watcher_synced(w));
    fake_loop_advance(k.loop, 10000);
    assert_non_null(strstr(last()->url, "resourceVersion=20&"));
    fake_chunk(last(), BOOKMARK("31"));
    assert_int_equal(watcher_err(w)->class, ERR_NONE);
}

static void gone_lists_again_and_deletes_what_is_not_there(void **state)
{
    (void)state;
    sync_two();
    story[0] = '\0';
    fake_chunk(last(), ERROR_EVENT(410, "Expired"));
    assert_int_equal(watcher_err(w)->class, ERR_GONE);
    fake_loop_advance(k.loop, 10000);
    assert_int_equal(fake_http_at(k.http, 0)->state, FAKE_CANCELED);
    assert_non_null(strstr(last()->url, "sendInitialEvents"));
    /* b is unchanged and not told again, a is another one of the same name. */
    fake_chunk(last(), EVENT("ADDED", "n", "b", "2", "11") EVENT("ADDED", "n", "a", "9", "40"));
    assert_string_equal(story, "~a! ");
    assert_int_equal(held(), 2);
    fake_chunk(last(), INITIAL_END("50"));
    assert_string_equal(story, "~a! ");
    fake_chunk(last(), ERROR_EVENT(410, "Gone"));
    fake_loop_advance(k.loop, 10000);
    fake_chunk(last(), EVENT("ADDED", "n", "b", "2", "11"));
    assert_int_equal(held(), 2);
    fake_chunk(last(), INITIAL_END("60"));
    assert_string_equal(story, "~a! -a ");
    assert_int_equal(held(), 1);
    assert_int_equal(synced, 1);
}

static void half_a_list_deletes_nothing(void **state)
{
    (void)state;
    sync_two();
    fake_chunk(last(), ERROR_EVENT(410, "Expired"));
    fake_loop_advance(k.loop, 10000);
    fake_chunk(last(), EVENT("ADDED", "n", "b", "2", "11"));
    fake_fail(last(), ERR_TRANSIENT);
    fake_loop_advance(k.loop, 10000);
    assert_int_equal(held(), 2);
    assert_non_null(strstr(last()->url, "sendInitialEvents"));
    sync_two();
    assert_int_equal(held(), 2);
    assert_string_equal(story, "+a +b ");
}

static void unsupported_watch_list_falls_back_to_pages(void **state)
{
    (void)state;
    fake_answer(last(), 422, "{\"kind\":\"Status\",\"code\":422,\"reason\":\"Invalid\"}");
    fake_loop_advance(k.loop, 1000);
    assert_non_null(strstr(last()->url, "/things?limit=500&labelSelector="));
    assert_true(fake_header_is(last(), "Accept",
                               "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"));
    assert_int_equal(last()->body_max, 16 << 20);
    fake_answer(last(), 200,
                "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"a/b=\"},\"items\":[{" META(
                    "n", "a", "1", "5") "}]}");
    assert_false(watcher_synced(w));
    fake_loop_advance(k.loop, 1000);
    assert_non_null(strstr(last()->url, "&continue=a%2Fb%3D&"));
    assert_null(strstr(last()->url, "resourceVersion"));
    fake_answer(
        last(), 200,
        "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[{" META("n", "b", "2", "6") "}]}");
    assert_true(watcher_synced(w));
    assert_int_equal(synced, 1);
    fake_loop_advance(k.loop, 1000);
    assert_non_null(strstr(last()->url, "resourceVersion=7&"));
    assert_string_equal(story, "+a +b ");
}

/* Leads to a list of pages, relisting what sync_two left. */
static void relist_by_pages(void)
{
    sync_two();
    fake_chunk(last(), ERROR_EVENT(410, "Expired"));
    fake_loop_advance(k.loop, 10000);
    fake_chunk(last(), ERROR_EVENT(400, "BadRequest"));
    fake_loop_advance(k.loop, 10000);
    assert_non_null(strstr(last()->url, "limit=500"));
}

static void expired_page_starts_the_list_again(void **state)
{
    (void)state;
    relist_by_pages();
    fake_answer(last(), 200,
                "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"t\"},\"items\":[]}");
    fake_loop_advance(k.loop, 1000);
    fake_answer(last(), 410, "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}");
    assert_int_equal(held(), 2);
    fake_loop_advance(k.loop, 10000);
    assert_null(strstr(last()->url, "continue="));
    fake_answer(last(), 200, "{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":null}");
    assert_int_equal(held(), 0);
}

static void answers_that_are_no_list_delete_nothing(void **state)
{
    (void)state;
    static const char *const bodies[] = {"",
                                         "<html>",
                                         "[]",
                                         "{\"items\":[]}",
                                         "{\"metadata\":{},\"items\":[]}",
                                         "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":{}}"};
    relist_by_pages();
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        size_t before = fake_http_count(k.http);
        fake_answer(last(), 200, bodies[i]);
        assert_int_equal(held(), 2);
        fake_loop_advance(k.loop, 40000);
        assert_int_equal(fake_http_count(k.http), before + 1);
    }
    fake_fail(last(), ERR_LIMIT);
    fake_loop_advance(k.loop, 40000);
    assert_non_null(strstr(last()->url, "limit=250"));
}

static void refused_is_told_and_asked_again(void **state)
{
    (void)state;
    fake_answer(last(), 403,
                "{\"kind\":\"Status\",\"code\":403,\"message\":\"things is forbidden\"}");
    assert_int_equal(watcher_err(w)->class, ERR_FORBIDDEN);
    assert_non_null(strstr(watcher_err(w)->msg, "things is forbidden"));
    assert_false(watcher_synced(w));
    fake_loop_advance(k.loop, 40000);
    assert_int_equal(fake_http_open(k.http), 1);
    sync_two();
    assert_int_equal(watcher_err(w)->class, ERR_NONE);
}

static void a_server_that_asks_for_time_gets_it(void **state)
{
    (void)state;
    struct http_response busy = {.status = 429, .content_type = "", .retry_after_s = 5};
    fake_answer_with(last(), &busy);
    fake_loop_advance(k.loop, 4900);
    assert_int_equal(fake_http_open(k.http), 0);
    fake_loop_advance(k.loop, 200);
    assert_int_equal(fake_http_open(k.http), 1);
    busy.retry_after_s = 100000; /* nobody stays away for a day */
    fake_answer_with(last(), &busy);
    fake_loop_advance(k.loop, 61000);
    assert_int_equal(fake_http_open(k.http), 1);
    sync_two();
}

static void bytes_that_are_no_event_end_the_stream(void **state)
{
    (void)state;
    static const char *const pieces[] = {"<html>\n", "{\"type\":\"ADDED\"}\n", "{}\n"};
    sync_two();
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct fake_request *r = last();
        fake_chunk(r, pieces[i]);
        assert_int_equal(r->state, FAKE_OPEN); /* never cancelled from inside its callback */
        fake_chunk(r, EVENT("ADDED", "n", "late", "7", "70"));
        assert_int_not_equal(watcher_err(w)->class, ERR_NONE);
        fake_loop_advance(k.loop, 20000);
        assert_int_equal(r->state, FAKE_CANCELED);
        assert_non_null(strstr(last()->url, "resourceVersion=20&"));
    }
    assert_null(watcher_get(w, "n", "late"));
    /* Broken, then ended by the server before the loop came to it. */
    fake_chunk(last(), "nonsense\n");
    fake_answer(last(), 200, "");
    fake_loop_advance(k.loop, 20000);
    assert_int_equal(fake_http_open(k.http), 1);
}

static void version_from_the_future_lists_again(void **state)
{
    (void)state;
    sync_two();
    fake_loop_advance(k.loop, 20000);
    fake_answer(last(), 200, "");
    fake_loop_advance(k.loop, 1000);
    fake_answer(last(), 504, "{\"kind\":\"Status\",\"code\":504,\"reason\":\"Timeout\"}");
    fake_loop_advance(k.loop, 10000);
    assert_non_null(strstr(last()->url, "sendInitialEvents"));
}

static void unreadable_object_keeps_its_former_state(void **state)
{
    (void)state;
    sync_two();
    fake_chunk(last(),
               "{\"type\":\"MODIFIED\",\"object\":{\"broken\":true," META(
                   "n", "a", "1", "21") "}}\n"
                                        "{\"type\":\"ADDED\",\"object\":{\"broken\":true," META(
                                            "n", "x", "5", "22") "}}\n");
    assert_string_equal(story, "+a +b ");
    assert_string_equal(watcher_err(w)->msg, "Thing n/x: broken thing");
    assert_non_null(watcher_get(w, "n", "a"));
    assert_null(watcher_get(w, "n", "x"));
    assert_int_equal(held(), 2);
    size_t it[2] = {0};
    size_t seen = 0;
    while (watcher_next(w, NULL, it) != NULL)
        seen++;
    assert_int_equal(seen, 2);
    /* A good event of another object does not hide it; its own does. */
    fake_chunk(last(), EVENT("MODIFIED", "n", "b", "2", "23"));
    assert_int_equal(watcher_err(w)->class, ERR_INVALID);
    fake_chunk(last(), EVENT("DELETED", "n", "x", "5", "24"));
    assert_int_equal(watcher_err(w)->class, ERR_INVALID);
    fake_chunk(last(), EVENT("MODIFIED", "n", "a", "1", "25"));
    assert_int_equal(watcher_err(w)->class, ERR_NONE);
    assert_string_equal(story, "+a +b ~b ~a ");
}

static void foreign_kinds_are_skipped(void **state)
{
    (void)state;
    fake_chunk(
        last(),
        "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Table\"," META(
            "n", "a", "1",
            "1") "}}\n"
                 "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"2\"}}}\n");
    fake_chunk(last(), INITIAL_END("20"));
    assert_int_equal(held(), 0);
    assert_int_equal(watcher_err(w)->class, ERR_NONE);
}

static void objects_are_bounded(void **state)
{
    (void)state;
    teardown(state);
    start(2, "only");
    assert_non_null(strstr(last()->url, "/namespaces/only/things?"));
    fake_chunk(last(), EVENT("ADDED", "n", "a", "1", "1") EVENT("ADDED", "n", "b", "2", "2")
                           EVENT("ADDED", "n", "c", "3", "3") INITIAL_END("9"));
    assert_true(watcher_synced(w));
    assert_int_equal(held(), 2);
    assert_int_equal(watcher_err(w)->class, ERR_LIMIT);
    assert_non_null(strstr(watcher_err(w)->msg, "more than 2 "));
    /* Those that are held are followed; room is used again. */
    fake_chunk(last(), EVENT("DELETED", "n", "a", "1", "10"));
    fake_chunk(last(), EVENT("MODIFIED", "n", "c", "3", "11"));
    assert_non_null(watcher_get(w, "n", "c"));
}

static void walks_by_namespace_and_over_all(void **state)
{
    (void)state;
    fake_chunk(last(), EVENT("ADDED", "m", "a", "1", "1") EVENT("ADDED", "n", "b", "2", "2")
                           EVENT("ADDED", "n", "c", "3", "3") EVENT("ADDED", "o", "d", "4", "4"));
    size_t it[2] = {0};
    int sum = 0;
    const struct thing *t;
    while ((t = watcher_next(w, "n", it)) != NULL) {
        assert_string_equal(t->meta.namespace, "n");
        sum += t->meta.name[0];
    }
    assert_int_equal(sum, 'b' + 'c');
    size_t all[2] = {0};
    sum = 0;
    while ((t = watcher_next(w, NULL, all)) != NULL)
        sum += t->meta.name[0];
    assert_int_equal(sum, 'a' + 'b' + 'c' + 'd');
    size_t none[2] = {0};
    assert_null(watcher_next(w, "absent", none));
    fake_chunk(last(), EVENT("DELETED", "m", "a", "1", "5") EVENT("DELETED", "m", "a", "1", "6"));
    assert_int_equal(held(), 3);
}

static void without_memory_it_tries_again(void **state)
{
    (void)state;
    fake_http_no_memory(k.http, 1);
    fake_answer(last(), 500, "");
    fake_loop_advance(k.loop, 500);
    assert_int_equal(watcher_err(w)->class, ERR_NO_MEMORY);
    fake_loop_advance(k.loop, 20000);
    assert_int_equal(fake_http_open(k.http), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(first_request_is_a_watch_list),
        CASE(initial_events_then_bookmark_then_changes),
        CASE(closed_stream_goes_on_where_it_was),
        CASE(lost_connection_keeps_objects_and_is_told),
        CASE(gone_lists_again_and_deletes_what_is_not_there),
        CASE(half_a_list_deletes_nothing),
        CASE(unsupported_watch_list_falls_back_to_pages),
        CASE(expired_page_starts_the_list_again),
        CASE(answers_that_are_no_list_delete_nothing),
        CASE(refused_is_told_and_asked_again),
        CASE(a_server_that_asks_for_time_gets_it),
        CASE(bytes_that_are_no_event_end_the_stream),
        CASE(version_from_the_future_lists_again),
        CASE(unreadable_object_keeps_its_former_state),
        CASE(foreign_kinds_are_skipped),
        CASE(objects_are_bounded),
        CASE(walks_by_namespace_and_over_all),
        CASE(without_memory_it_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
