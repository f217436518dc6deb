/* SPDX-License-Identifier: Apache-2.0
 *
 * The planned rotation in the spec: spec.key and what goes with it, and the consumers' proofs. */
#include "codec_data.h"

#include "base/attr.h"
#include "codec/rotation_codec.h"

/* A spec in a realm of Keycloak: members to add, JSON with ' for ". */
static struct rotation_object *with(const char *members)
{
    char text[4096];
    struct err err = {0};
    assert_true(text_format(
        text, sizeof(text),
        "{'metadata':{'name':'prod','namespace':'a','resourceVersion':'1'},'spec':{'keycloak':{"
        "'url':'https://k','realm':'r','credentials':{'secret':{'name':'s'}}}%s%s}}",
        *members == '\0' ? "" : ",", members));
    json_t *cleanup_json tree = tree_of(text);
    struct rotation_object *r = rotation_new(tree, &err);
    assert_non_null(r);
    return r;
}

static void refused(const char *members, const char *words)
{
    static const struct rotation_spec zero;
    struct rotation_object *r = with(members);
    if (r->spec_error == NULL || strstr(r->spec_error, words) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", members,
                 r->spec_error == NULL ? "" : r->spec_error, words);
    }
    assert_memory_equal(&r->spec, &zero, sizeof(zero));
    rotation_free(r);
}

static struct rotation_object *accepted(const char *members)
{
    struct rotation_object *r = with(members);
    if (r->spec_error != NULL) {
        fail_msg("%s: %s", members, r->spec_error);
    }
    return r;
}

static void test_whole_spec(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/whole.json");
    const struct rotation_spec *s = &r->spec;
    assert_null(r->spec_error);
    assert_true(s->suspend);
    assert_true(s->key.managed);
    assert_string_equal(s->key.algorithm, "PS256");
    assert_int_equal(s->key.size, 3072);
    assert_true(s->key.standby && s->key.adopt && s->key.take_over);
    assert_int_equal(s->schedule.every_s, 90 * 86400);
    assert_string_equal(s->schedule.cron, "0 2 * * 6");
    assert_int_equal(s->schedule.window_s, 4 * 3600);
    assert_string_equal(s->schedule.zone, "Europe/Amsterdam");
    assert_int_equal(s->overlap.publish_s, 2 * 3600);
    assert_int_equal(s->overlap.retire_s, 86400);
    assert_int_equal(s->overlap.delete_s, 14 * 86400);
    assert_true(s->approval.promote_manual && s->approval.two_person);
    assert_false(s->approval.retire_manual);
    assert_int_equal(s->consumers[0].proof, PROOF_ROLLOUT);
    assert_int_equal(s->consumers[0].proof_delay_s, 0);
    assert_int_equal(s->consumers[2].proof, PROOF_DELAY);
    assert_int_equal(s->consumers[2].proof_delay_s, 180);
    rotation_free(r);
}

static void test_defaults(void **state)
{
    (void)state;
    static const char *const written[] = {
        "", "'suspend':null,'key':null,'overlap':null", "'key':{}",
        "'key':{'algorithm':null,'size':null,'adopt':false},'overlap':{},'approval':{}"};
    for (size_t i = 0; i < ARRAY_LEN(written); i++) {
        struct rotation_object *r = accepted(written[i]);
        const struct rotation_spec *s = &r->spec;
        bool managed = i >= 2;
        assert_int_equal(s->key.managed, managed);
        assert_int_equal(s->key.size, managed ? 2048 : 0);
        assert_true(managed ? text_eq(s->key.algorithm, "RS256") : s->key.algorithm == NULL);
        assert_false(s->suspend || s->key.standby || s->key.adopt || s->key.take_over);
        assert_int_equal(s->schedule.every_s, 0);
        assert_null(s->schedule.cron);
        assert_int_equal(s->overlap.publish_s, 3600);
        assert_int_equal(s->overlap.retire_s, -1);
        assert_int_equal(s->overlap.delete_s, 7 * 86400);
        assert_false(s->approval.promote_manual || s->approval.retire_manual ||
                     s->approval.two_person);
        rotation_free(r);
    }
    struct rotation_object *r = accepted(
        "'key':{},'schedule':{'every':'10m','window':{'cron':'* * * * *','duration':'1m'}},"
        "'overlap':{'delete':'1h'}");
    assert_string_equal(r->spec.schedule.zone, "UTC");
    assert_int_equal(r->spec.schedule.every_s, 600);
    assert_int_equal(r->spec.schedule.window_s, 60);
    rotation_free(r);
}

static void test_sizes_of_algorithms(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t size;
    } rows[] = {{"'algorithm':'RS512'", 2048},
                {"'algorithm':'PS384','size':4096", 4096},
                {"'algorithm':'ES256'", 0},
                {"'algorithm':'EdDSA','size':null", 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[128];
        assert_true(text_format(text, sizeof(text), "'key':{%s}", rows[i].key));
        struct rotation_object *r = accepted(text);
        assert_int_equal(r->spec.key.size, rows[i].size);
        rotation_free(r);
    }
    refused("'key':{'algorithm':'ES256','size':2048}", "leave size out");
    refused("'key':{'algorithm':'EdDSA','size':256}", "leave size out");
    refused("'key':{'size':1024}", "write 2048, 3072 or 4096");
    refused("'key':{'size':'2048'}", "write 2048, 3072 or 4096");
    refused("'key':{'size':2048.0}", "write 2048, 3072 or 4096");
    refused("'key':{'algorithm':'HS256'}", "spec.key.algorithm: write RS256");
    refused("'key':{'algorithm':7}", "spec.key.algorithm: write a text");
    refused("'key':{'standby':'yes'}", "spec.key.standby: write true or false");
    refused("'key':{'adopt':1}", "spec.key.adopt: write true or false");
    refused("'key':{'takeOver':[]}", "spec.key.takeOver: write true or false");
    refused("'key':true", "spec.key: write an object");
    refused("'suspend':'true'", "spec.suspend: write true or false");
}

static void test_schedule_errors(void **state)
{
    (void)state;
    refused("'schedule':{'every':'90d'}", "write spec.key too");
    refused("'overlap':{}", "write spec.key too");
    refused("'approval':{}", "write spec.key too");
    refused("'key':{},'schedule':{}", "spec.schedule.every: write how often");
    refused("'key':{},'schedule':{'every':'9m59s'}", "at least 10m");
    refused("'key':{},'schedule':{'every':'quarterly'}", "write a duration");
    refused("'key':{},'schedule':{'every':'5h'}", "more than 32 keys would wait");
    refused("'key':{},'schedule':{'every':'1d'},'overlap':{'retire':'20d','delete':'13d'}",
            "write a longer every, or a shorter delete");
    refused("'key':{},'schedule':{'every':'99999999d'}", "write a duration");
    refused("'key':{},'schedule':{'window':{'cron':'0 2 * * 6','duration':'4h'}}",
            "spec.schedule.every");
    refused("'key':{},'schedule':'daily'", "spec.schedule: write an object");
#define WINDOW(members) "'key':{},'schedule':{'every':'90d','window':{" members "}}"
    refused(WINDOW("'duration':'4h'"), "spec.schedule.window.cron: write when it opens");
    refused(WINDOW("'cron':'0 2 * * 6'"), "spec.schedule.window.duration: write a duration");
    refused(WINDOW("'cron':'0 2 * * 6','duration':'59s'"), "1m to 7d");
    refused(WINDOW("'cron':'0 2 * * 6','duration':'7d1s'"), "1m to 7d");
    refused(WINDOW("'cron':'@daily','duration':'4h'"), "write five fields");
    refused(WINDOW("'cron':'0 2 * * 5-1','duration':'4h'"), "ends before it begins");
    refused(WINDOW("'cron':'0 2 * * 6','duration':'4h','timeZone':'../etc'"),
            "spec.schedule.window.timeZone");
    refused(WINDOW("'cron':'0 2 * * 6','duration':'4h','timeZone':''"), "timeZone: write a text");
    struct err err = {0};
    json_t *cleanup_json tree = tree_of("{'metadata':{'name':'a','resourceVersion':'1'},'spec':{"
                                        "'issuer':{'url':'https://i'},'key':{}}}");
    struct rotation_object *r = rotation_new(tree, &err);
    assert_non_null(strstr(r->spec_error, "write spec.keycloak too"));
    rotation_free(r);
}

static void test_overlap_and_approval(void **state)
{
    (void)state;
    refused("'key':{},'overlap':{'retire':'59m'}", "retire is shorter than publish");
    refused("'key':{},'overlap':{'retire':'1d','publish':'25h'}", "retire is shorter than publish");
    refused("'key':{},'overlap':{'retire':'never'}", "spec.overlap.retire: write a duration");
    refused("'key':{},'overlap':{'publish':'auto'}", "spec.overlap.publish: write a duration");
    refused("'key':{},'overlap':{'delete':7}", "spec.overlap.delete: write a duration");
    refused("'key':{},'approval':{'promote':'Sometimes'}", "promote: write Automatic or Manual");
    refused("'key':{},'approval':{'retire':'manual'}", "retire: write Automatic or Manual");
    refused("'key':{},'approval':{'twoPerson':true}", "twoPerson needs something");
    struct rotation_object *r =
        accepted("'key':{},'overlap':{'publish':'0s','retire':'0s','delete':'0s'},"
                 "'approval':{'retire':'Manual','twoPerson':true}");
    assert_int_equal(r->spec.overlap.publish_s, 0);
    assert_int_equal(r->spec.overlap.retire_s, 0);
    assert_int_equal(r->spec.overlap.delete_s, 0);
    assert_true(r->spec.approval.retire_manual && r->spec.approval.two_person);
    rotation_free(r);
    r = accepted("'key':{},'overlap':{'publish':'9999d','retire':'auto'}");
    assert_int_equal(r->spec.overlap.retire_s, -1);
    rotation_free(r);
    r = accepted("'key':{},'overlap':{'publish':'60m','retire':'1h'}");
    assert_int_equal(r->spec.overlap.retire_s, 3600);
    rotation_free(r);
}

static void test_proofs(void **state)
{
    (void)state;
#define ONE(members) "'consumers':[{'name':'c','publish':{'secret':{'name':'t'}}" members "}]"
#define RELOAD ",'reload':{'restart':[{'kind':'Deployment','name':'d'}]}"
    static const struct {
        const char *consumer;
        enum proof_type proof;
        int64_t delay_s;
    } rows[] = {
        {ONE(""), PROOF_DELAY, 120},
        {ONE(",'reload':{'restart':[]}"), PROOF_DELAY, 120},
        {ONE(RELOAD), PROOF_ROLLOUT, 0},
        {ONE(RELOAD ",'proof':{'type':'Rollout'}"), PROOF_ROLLOUT, 0},
        {ONE(RELOAD ",'proof':{'type':'Rollout','delay':null}"), PROOF_ROLLOUT, 0},
        {ONE(RELOAD ",'proof':{'type':'Delay'}"), PROOF_DELAY, 120},
        {ONE(",'proof':{'type':'Delay','delay':'1s'}"), PROOF_DELAY, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rotation_object *r = accepted(rows[i].consumer);
        assert_int_equal(r->spec.consumers[0].proof, rows[i].proof);
        assert_int_equal(r->spec.consumers[0].proof_delay_s, rows[i].delay_s);
        rotation_free(r);
    }
    refused(ONE(",'proof':{'type':'Rollout'}"), "spec.consumers[c].proof: type Rollout needs");
    refused(ONE(RELOAD ",'proof':{'type':'Rollout','delay':'1m'}"), "leave delay out");
    refused(ONE(RELOAD ",'proof':{'delay':'1m'}"), "proof.type: write Rollout or Delay");
    refused(ONE(",'proof':{'type':'Probe'}"), "proof.type: write Rollout or Delay");
    refused(ONE(",'proof':'Delay'"), "spec.consumers[c].proof: write an object");
    refused(ONE(",'proof':{'type':'Delay','delay':'0s'}"), "more than 0s");
    refused(ONE(",'proof':{'type':'Delay','delay':90}"), "proof.delay: write a duration");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_spec),           cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_sizes_of_algorithms),  cmocka_unit_test(test_schedule_errors),
        cmocka_unit_test(test_overlap_and_approval), cmocka_unit_test(test_proofs),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
