/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../lib/fake_kube.h"
#include "codec/kube_codec.h"
#include "kube/lease.h"

static struct fake_kube k;
static struct lease *lease;
static char story[256]; /* L leading, l not, r released */

static void changed(void *ctx, bool leading)
{
    (void)ctx;
    strcat(story, leading ? "L" : "l");
    assert_int_equal(lease_leading(lease), leading);
}

static void released(void *ctx)
{
    (void)ctx;
    strcat(story, "r");
}

static int setup(void **state)
{
    (void)state;
    fake_kube_start(&k);
    story[0] = '\0';
    struct lease_options options = {
        .namespace = "ns", .name = "keyturn", .identity = "me", .changed = changed};
    lease = lease_new(k.kube, k.loop, &options, NULL);
    assert_non_null(lease);
    fake_loop_advance(k.loop, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lease_free(lease);
    fake_kube_stop(&k);
    return 0;
}

static struct fake_request *last(void)
{
    return fake_http_last(k.http);
}

static const char *lease_json(const char *holder, int seconds, int transitions, int version)
{
    static char text[512];
    snprintf(text, sizeof(text),
             "{\"metadata\":{\"resourceVersion\":\"%d\"},\"spec\":{\"holderIdentity\":\"%s\","
             "\"leaseDurationSeconds\":%d,\"leaseTransitions\":%d,"
             "\"renewTime\":\"2023-11-14T22:13:%02d.000000Z\"}}",
             version, holder, seconds, transitions, version % 60);
    return text;
}

/* What the server stores is what it was sent, under a new version. */
static void store(int version)
{
    struct leader_record r;
    assert_int_equal(last()->state, FAKE_OPEN);
    char text[1024];
    const char *spec = strstr(last()->body, "\"spec\"");
    assert_non_null(spec);
    snprintf(text, sizeof(text), "{\"metadata\":{\"resourceVersion\":\"%d\"},%s", version, spec);
    assert_int_equal(lease_decode(str_from(text), &r, NULL), 0);
    fake_answer(last(), 200, text);
}

static void lead(void)
{
    fake_answer(last(), 404, "{\"kind\":\"Status\",\"code\":404,\"reason\":\"NotFound\"}");
    fake_loop_advance(k.loop, 0);
    assert_string_equal(last()->method, "POST");
    store(1);
    assert_string_equal(story, "L");
}

static void creates_a_lease_where_there_is_none(void **state)
{
    (void)state;
    assert_string_equal(last()->method, "GET");
    assert_string_equal(last()->url, "https://api.test:6443/apis/coordination.k8s.io/v1/namespaces/"
                                     "ns/leases/keyturn");
    assert_int_equal(last()->lane, HTTP_LANE_LEASE);
    assert_int_equal(last()->timeout_ms, 5000);
    assert_false(lease_leading(lease));
    lead();
    assert_string_equal(last()->url,
                        "https://api.test:6443/apis/coordination.k8s.io/v1/namespaces/ns/leases");
    assert_non_null(strstr(last()->body, "\"me\""));
    /* A MicroTime has six digits, always. */
    const char *time = strstr(last()->body, "\"renewTime\":\"");
    assert_non_null(time);
    time += strlen("\"renewTime\":\"");
    assert_int_equal(strcspn(time, "\""), strlen("2006-01-02T15:04:05.000000Z"));
    assert_int_equal(time[19], '.');
    assert_true(lease_may_write(lease, 9000));
    assert_false(lease_may_write(lease, 10000));
}

static void renews_on_the_version_it_holds(void **state)
{
    (void)state;
    lead();
    for (int i = 2; i < 12; i++) {
        fake_loop_advance(k.loop, 2000);
        assert_string_equal(last()->method, "PUT");
        char version[32];
        snprintf(version, sizeof(version), "\"resourceVersion\":\"%d\"", i - 1);
        assert_non_null(strstr(last()->body, version));
        store(i);
    }
    assert_string_equal(story, "L");
    assert_int_equal(fake_http_count(k.http), 12);
}

static void another_holder_is_waited_for(void **state)
{
    (void)state;
    int64_t looks = 0;
    fake_answer(last(), 200, lease_json("other", 15, 3, 5));
    for (int t = 0; t < 14000; t += 100) {
        fake_loop_advance(k.loop, 100);
        if (last()->state != FAKE_OPEN)
            continue;
        assert_string_equal(last()->method, "GET");
        fake_answer(last(), 200, lease_json("other", 15, 3, 5));
        looks++;
    }
    assert_in_range(looks, 12, 18);
    assert_string_equal(story, "");
    /* It never changed: after its time it is taken, with the next number. */
    for (int t = 0; t < 3000 && strcmp(last()->method, "PUT") != 0; t += 100) {
        fake_loop_advance(k.loop, 100);
        if (last()->state == FAKE_OPEN && strcmp(last()->method, "GET") == 0)
            fake_answer(last(), 200, lease_json("other", 15, 3, 5));
    }
    assert_string_equal(last()->method, "PUT");
    assert_non_null(strstr(last()->body, "\"leaseTransitions\":4"));
    store(6);
    assert_string_equal(story, "L");
}

static void released_lease_is_taken_within_a_second(void **state)
{
    (void)state;
    /* The worst case: it is released just after we looked, again and again with another jitter. */
    for (int round = 0; round < 20; round++) {
        fake_answer(last(), 200, lease_json("other", 15, 3, 100 + round));
        int64_t free_ms = loop_clock_ms();
        while (last()->state != FAKE_OPEN)
            fake_loop_advance(k.loop, 10);
        assert_true(loop_clock_ms() - free_ms < 1020);
    }
    fake_answer(last(), 200, lease_json("", 1, 3, 99));
    fake_loop_advance(k.loop, 0);
    assert_string_equal(last()->method, "PUT");
}

static void lost_race_is_no_leadership(void **state)
{
    (void)state;
    fake_answer(last(), 404, "{}");
    fake_loop_advance(k.loop, 0);
    fake_answer(last(), 409, "{\"kind\":\"Status\",\"code\":409,\"reason\":\"AlreadyExists\"}");
    fake_loop_advance(k.loop, 2500);
    assert_string_equal(last()->method, "GET");
    fake_answer(last(), 200, lease_json("other", 15, 0, 2));
    fake_loop_advance(k.loop, 0);
    assert_string_equal(story, "");
    assert_false(lease_may_write(lease, 0));
}

static void failed_renewal_is_tried_until_the_deadline(void **state)
{
    (void)state;
    lead();
    fake_loop_advance(k.loop, 2000);
    fake_fail(last(), ERR_TIMEOUT);
    assert_string_equal(story, "L");
    fake_loop_advance(k.loop, 2000);
    assert_string_equal(last()->method, "GET");
    fake_answer(last(), 200, lease_json("me", 15, 0, 1));
    fake_loop_advance(k.loop, 0);
    assert_string_equal(last()->method, "PUT");
    store(2);
    fake_loop_advance(k.loop, 9000);
    assert_string_equal(story, "L");
}

static void deadline_ends_leading(void **state)
{
    (void)state;
    lead();
    fake_loop_advance(k.loop, 9999);
    assert_string_equal(story, "L");
    assert_true(lease_may_write(lease, 0));
    fake_loop_advance(k.loop, 1);
    assert_string_equal(story, "Ll");
    assert_false(lease_leading(lease));
    /* The renewal of 8 s ago arrives: it counts from when it was sent. */
    store(2);
    assert_string_equal(story, "LlL");
    fake_loop_advance(k.loop, 1999);
    assert_true(lease_may_write(lease, 0));
    fake_loop_advance(k.loop, 1);
    assert_string_equal(story, "LlLl");
}

static void answer_later_than_its_deadline_proves_nothing(void **state)
{
    (void)state;
    lead();
    fake_loop_advance(k.loop, 2000);
    fake_loop_freeze(11000);
    store(2);
    assert_string_equal(story, "Ll");
    assert_false(lease_may_write(lease, 0));
    /* Written anew on the version just seen: nobody had it meanwhile. */
    assert_string_equal(last()->method, "PUT");
    assert_non_null(strstr(last()->body, "\"resourceVersion\":\"2\""));
    store(3);
    assert_string_equal(story, "LlL");
}

static void stopped_process_knows_at_once(void **state)
{
    (void)state;
    lead();
    fake_loop_freeze(60000);
    assert_false(lease_may_write(lease, 0));
    assert_false(lease_leading(lease));
    assert_string_equal(story, "L"); /* the loop has not run yet */
    fake_loop_advance(k.loop, 0);
    assert_string_equal(story, "Ll");
    /* Nothing is claimed before a look. */
    assert_string_equal(last()->method, "GET");
    fake_answer(last(), 200, lease_json("other", 15, 1, 9));
    fake_loop_advance(k.loop, 0);
    assert_string_equal(story, "Ll");
}

static void taken_lease_ends_leading(void **state)
{
    (void)state;
    lead();
    fake_loop_advance(k.loop, 2000);
    fake_answer(last(), 409, "{\"kind\":\"Status\",\"code\":409,\"reason\":\"Conflict\"}");
    fake_loop_advance(k.loop, 2000);
    fake_answer(last(), 200, lease_json("other", 15, 1, 9));
    assert_string_equal(story, "Ll");
}

static void unreadable_answers_are_failures(void **state)
{
    (void)state;
    fake_answer(last(), 200, "<html>");
    fake_loop_advance(k.loop, 0);
    size_t before = fake_http_count(k.http);
    fake_loop_advance(k.loop, 700);
    assert_int_equal(fake_http_count(k.http), before);
    fake_loop_advance(k.loop, 400);
    assert_int_equal(fake_http_count(k.http), before + 1);
    fake_answer(last(), 404, "{}");
    fake_loop_advance(k.loop, 0);
    fake_answer(last(), 201, "{}");
    assert_string_equal(story, "");
}

static void release_gives_the_lease_back(void **state)
{
    (void)state;
    lead();
    lease_release(lease, released, NULL);
    assert_false(lease_may_write(lease, 0));
    assert_string_equal(last()->method, "PUT");
    assert_non_null(strstr(last()->body, "\"leaseDurationSeconds\":1,"));
    assert_null(strstr(last()->body, "\"me\""));
    assert_string_equal(story, "L");
    store(2);
    assert_string_equal(story, "Lr");
    fake_loop_advance(k.loop, 60000);
    assert_int_equal(fake_http_open(k.http), 0);
    assert_string_equal(story, "Lr");
}

static void release_waits_for_a_write_under_way(void **state)
{
    (void)state;
    lead();
    fake_loop_advance(k.loop, 2000);
    lease_release(lease, released, NULL);
    store(2);
    assert_non_null(strstr(last()->body, "\"resourceVersion\":\"2\""));
    assert_non_null(strstr(last()->body, "\"leaseDurationSeconds\":1,"));
    fake_answer(last(), 409, "{}");
    assert_string_equal(story, "Lr");
}

static void release_takes_2_s_at_most(void **state)
{
    (void)state;
    lead();
    fake_loop_advance(k.loop, 2000);
    lease_release(lease, released, NULL);
    fake_loop_advance(k.loop, 1999);
    assert_string_equal(story, "L");
    fake_loop_advance(k.loop, 1);
    assert_string_equal(story, "Lr");
    assert_int_equal(fake_http_open(k.http), 0);
}

static void release_without_leading_is_at_once(void **state)
{
    (void)state;
    fake_answer(last(), 200, lease_json("other", 15, 0, 2));
    lease_release(lease, released, NULL);
    assert_string_equal(story, "r");
    fake_loop_advance(k.loop, 60000);
    assert_int_equal(fake_http_open(k.http), 0);
}

static void past_the_deadline_nothing_is_written(void **state)
{
    (void)state;
    lead();
    fake_loop_freeze(11000);
    size_t before = fake_http_count(k.http);
    lease_release(lease, released, NULL);
    assert_int_equal(fake_http_count(k.http), before);
    assert_string_equal(story, "Lr");
}

static void without_memory_it_tries_again(void **state)
{
    (void)state;
    fake_http_no_memory(k.http, 2);
    fake_answer(last(), 404, "{}");
    fake_loop_advance(k.loop, 0);
    assert_int_equal(fake_http_open(k.http), 0);
    fake_loop_advance(k.loop, 8000);
    assert_int_equal(fake_http_open(k.http), 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(creates_a_lease_where_there_is_none),
        CASE(renews_on_the_version_it_holds),
        CASE(another_holder_is_waited_for),
        CASE(released_lease_is_taken_within_a_second),
        CASE(lost_race_is_no_leadership),
        CASE(failed_renewal_is_tried_until_the_deadline),
        CASE(deadline_ends_leading),
        CASE(answer_later_than_its_deadline_proves_nothing),
        CASE(stopped_process_knows_at_once),
        CASE(taken_lease_ends_leading),
        CASE(unreadable_answers_are_failures),
        CASE(release_gives_the_lease_back),
        CASE(release_waits_for_a_write_under_way),
        CASE(release_takes_2_s_at_most),
        CASE(release_without_leading_is_at_once),
        CASE(past_the_deadline_nothing_is_written),
        CASE(without_memory_it_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
