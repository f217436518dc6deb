/* SPDX-License-Identifier: Apache-2.0
 *
 * The planned rotation in the status, there and back, and the annotations by which people command
 * one. */
#include "codec_data.h"

#include "base/attr.h"
#include "codec/rotation_bounds.h"
#include "codec/rotation_codec.h"

#define OLD_KID "TqqtE2bUDcYUDhRYeTFuYhA9iR4RDXEWcIta2zmL5M4"
#define NEW_KID "pASL8cDvHPIaF4C2Rksc2RP7uL_hK2ematsWCf_NvuA"

static void test_status_of_keys(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/whole.json");
    const struct rotation_status *s = &r->status;
    const struct key_status *old = &s->keys[0];
    assert_int_equal(old->rotation, 2);
    assert_int_equal(old->record.lifecycle, LIFECYCLE_RETIRED);
    assert_int_equal(old->record.published_s, 1780272000);
    assert_int_equal(old->record.ready_s, 1780272000 + 3600);
    assert_int_equal(old->record.active_s, 1780272000 + 7200);
    assert_int_equal(old->record.retired_s, 1782874800);
    assert_int_equal(old->record.retired_by, 3);
    assert_true(old->record.retire_approved);
    assert_int_equal(old->removable_s, 1782874800 + 86400);
    assert_int_equal(s->keys[1].record.lifecycle, LIFECYCLE_ACTIVE);
    assert_int_equal(s->keys[1].record.active_s, 0);
    assert_int_equal(s->keys[2].state, KEY_DISABLED);
    assert_int_equal(s->keys[2].record.removed_s, 1781913600);
    rotation_free(r);
}

static void test_status_of_a_rotation(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/whole.json");
    const struct rotation_status *s = &r->status;
    assert_string_equal(s->next_kid, "next-kid");
    const struct rotation_record record = {
        .number = 3,
        .reason = REASON_REQUEST,
        .kid = NEW_KID,
        .from = OLD_KID,
        .started_s = 1782864000,
        .requested_s = 1782864000 + 600,
        .requested_by = "alice@example.com",
        .note = "ticket 4711",
        .standby_s = 1782864000 + 300,
        .approved_s = 1782864000 + 7200,
        .approved_by = "bob@example.com",
        .promoted_s = 1782864000 + 9000,
        .confirmed_s = 1782864000 + 9060,
        .done_s = 1782864000 + 10800,
        .aborted_s = 1782864000 + 7200,
        .aborting = true,
    };
    assert_true(rotation_record_equal(&s->rotation, &record));
    const struct change change = {CHANGE_PROMOTE, 3, NEW_KID, 1782864000 + 9000, -101};
    assert_true(change_equal(&s->change, &change));
    const struct operation taken = {.kind = OPERATION_PROMOTE,
                                    .number = 3,
                                    .kid = NEW_KID,
                                    .by = "bob@example.com",
                                    .note = "go",
                                    .at_s = 1782864000 + 7200,
                                    .refused = "its key signs already",
                                    .cleared = true};
    assert_true(operation_equal(&s->operation, &taken));
    assert_string_equal(s->next.step, "Retire");
    assert_int_equal(s->next.at_s, 1782874800 + 86400);
    assert_non_null(strstr(s->next.blocked_by, "is trusted until"));
    assert_non_null(strstr(s->next.command, "operation-for=3"));
    assert_int_equal(s->history_count, 2);
    assert_int_equal(s->history[0].number, 2);
    assert_int_equal(s->history[0].reason, REASON_SCHEDULE);
    assert_string_equal(s->history[0].kid, OLD_KID);
    assert_string_equal(s->history[0].requested_by, "schedule");
    assert_int_equal(s->history[0].ended_s - s->history[0].started_s, 7800);
    assert_string_equal(s->history[1].outcome, "RolledBack");
    rotation_free(r);
}

/* Whatever somebody made of it: what is not understood is unknown, the rest is kept. */
static void test_odd_status(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/odd-rotation.json");
    const struct rotation_status *s = &r->status;
    static const struct change no_change;
    static const struct operation no_operation;
    assert_null(r->spec_error);
    assert_int_equal(s->phase, PHASE_PROMOTING);
    assert_null(s->next_kid);
    assert_int_equal(s->keys_count, 2);
    assert_int_equal(s->keys[0].record.lifecycle, LIFECYCLE_READY);
    assert_int_equal(s->keys[0].rotation, 0);
    assert_int_equal(s->keys[0].record.retired_by, 0);
    assert_false(s->keys[0].record.retire_approved);
    assert_int_equal(s->keys[0].record.published_s, 0);
    assert_int_equal(s->keys[0].record.active_s, 1780272000 + 7200);
    assert_int_equal(s->keys[1].record.lifecycle, LIFECYCLE_UNKNOWN);
    assert_int_equal(s->keys[1].rotation, 0);
    assert_int_equal(s->rotation.number, 4);
    assert_int_equal(s->rotation.reason, REASON_STANDBY);
    assert_null(s->rotation.kid);
    assert_null(s->rotation.from);
    assert_int_equal(s->rotation.started_s, 0);
    assert_int_equal(strlen(s->rotation.requested_by), 256);
    assert_int_equal(strlen(s->rotation.note), 256);
    assert_false(s->rotation.aborting);
    assert_true(change_equal(&s->change, &no_change));
    assert_true(operation_equal(&s->operation, &no_operation));
    assert_null(s->next.step);
    assert_null(s->next.command);
    assert_int_equal(s->history_count, LIMIT_HISTORY);
    assert_int_equal(s->history[0].number, 20);
    assert_int_equal(s->history[0].reason, REASON_STANDBY);
    assert_null(s->history[0].outcome);
    rotation_free(r);
    r = from_seed("rotation/no-number.json");
    assert_null(r->spec_error);
    assert_int_equal(r->status.rotation.number, 0);
    assert_null(r->status.rotation.kid);
    assert_int_equal(r->status.operation.kind, OPERATION_UNKNOWN);
    assert_int_equal(r->status.history_count, 0);
    rotation_free(r);
}

static void test_patch_takes_members_away(void **state)
{
    (void)state;
    const struct object_meta meta = {.resource_version = "12"};
    struct key_status key = {.kid = "k", .record.lifecycle = LIFECYCLE_READY};
    struct rotation_status status = {.rotation = {.number = 7, .kid = "k"},
                                     .change = {.kind = CHANGE_CREATE, .number = 8},
                                     .operation = {.kind = OPERATION_UNKNOWN},
                                     .next = {.step = "Ready"},
                                     .keys = &key,
                                     .keys_count = 1,
                                     .history = &(struct past_rotation){.number = 6},
                                     .history_count = 1};
    struct buf cleanup_buf out = {0};
    rotation_status_patch(&meta, &status, &out);
    static const char *const parts[] = {
        "\"keys\":[{\"kid\":\"k\",\"state\":\"ACTIVE\",\"lifecycle\":\"Ready\"}],",
        "\"rotation\":{\"number\":7,\"reason\":\"Standby\",\"kid\":\"k\",\"from\":null,"
        "\"startedAt\":null,\"requestedAt\":null,\"requestedBy\":null,\"note\":null,"
        "\"standbyAt\":null,\"approvedAt\":null,\"approvedBy\":null,\"promotedAt\":null,"
        "\"confirmedAt\":null,\"doneAt\":null,\"abortedAt\":null,\"aborting\":null},",
        "\"change\":{\"kind\":\"Create\",\"number\":8,\"kid\":null,\"at\":null,"
        "\"priority\":null},",
        "\"operation\":{\"operation\":\"unknown\",\"number\":null,\"kid\":null,\"by\":null,"
        "\"note\":null,\"at\":null,\"refused\":null,\"cleared\":null},",
        "\"nextTransition\":{\"step\":\"Ready\",\"at\":null,\"blockedBy\":null,"
        "\"command\":null},",
        "\"history\":[{\"number\":6,\"reason\":\"Standby\"}],",
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (strstr(buf_text(&out), parts[i]) == NULL) {
            fail_msg("%s\nis not in\n%s", parts[i], buf_text(&out));
        }
    }
}

/* The largest status that there can be: as long as every bound lets it be. */
static void fill(struct rotation_status *status, struct key_status *keys,
                 struct consumer_status *consumers, char kids[][LIMIT_KID + 1], const char *text)
{
    const struct key_record record = {LIFECYCLE_PUBLISHED, 1, 1, 1, 1, 1, BOUND_COUNT, true,
                                      (int64_t)BOUND_COUNT};
    static char said[LIMIT_WARN_THRESHOLDS + 1][BOUND_ANNOUNCED + 1];
    for (size_t k = 0; k < ARRAY_LEN(said); k++) {
        memset(said[k], (int)('a' + k), BOUND_ANNOUNCED);
    }
    for (size_t i = 0; i < LIMIT_KEYS; i++) {
        memset(kids[i], 'k', LIMIT_KID);
        kids[i][0] = (char)('0' + i);
        keys[i] = (struct key_status){.kid = kids[i],
                                      .algorithm = text,
                                      .state = KEY_DISABLED,
                                      .component = text,
                                      .provider = text,
                                      .not_after_s = 1,
                                      .spki_sha256 = text,
                                      .announced_count = LIMIT_WARN_THRESHOLDS + 1,
                                      .record = record,
                                      .rotation = BOUND_COUNT,
                                      .removable_s = 1};
        for (size_t k = 0; k < keys[i].announced_count; k++) {
            keys[i].announced[k] = said[k];
        }
    }
    for (size_t i = 0; i < LIMIT_CONSUMERS; i++) {
        consumers[i] = (struct consumer_status){text, text, text, CONSUMER_UP_TO_DATE, text, text};
    }
    static struct past_rotation history[LIMIT_HISTORY];
    for (size_t i = 0; i < LIMIT_HISTORY; i++) {
        history[i] =
            (struct past_rotation){BOUND_COUNT, REASON_SCHEDULE, kids[0], text, 1, 1, text};
    }
    status->history = history;
    for (size_t i = 0; i < CONDITION_COUNT; i++) {
        status->conditions[i] = (struct condition){.reason = text, .message = text};
    }
    status->realm = status->active_kid = status->issuer_url = status->jwks_url = text;
    status->refreshed = status->consumers_up_to_date = text;
    status->next_kid = kids[1];
    status->keys_count = LIMIT_KEYS;
    status->consumers_count = LIMIT_CONSUMERS;
    status->history_count = LIMIT_HISTORY;
    status->rotation = (struct rotation_record){.number = BOUND_COUNT,
                                                .kid = kids[0],
                                                .from = kids[1],
                                                .requested_by = text,
                                                .note = text,
                                                .approved_by = text};
    status->change = (struct change){CHANGE_PROMOTE, BOUND_COUNT, kids[0], 1, INT64_MIN};
    status->operation =
        (struct operation){OPERATION_UNKNOWN, BOUND_COUNT, kids[0], text, text, 1, text, true};
    status->next = (struct transition_status){text, 1, text, text};
}

/* etcd takes 1.5 MiB for spec, status and metadata together. */
#define STATUS_BYTES_MOST (768UL << 10)

static void test_the_largest_status(void **state)
{
    (void)state;
    static struct key_status keys[LIMIT_KEYS];
    static struct consumer_status consumers[LIMIT_CONSUMERS];
    static char kids[LIMIT_KEYS][LIMIT_KID + 1];
    struct rotation_status status = {.keys = keys, .consumers = consumers};
    const struct object_meta meta = {.resource_version = "12"};
    struct buf cleanup_buf out = {0};
    struct buf cleanup_buf again = {0};
    struct arena cleanup_arena arena = {0};
    struct err err = {0};
    char text[2001];
    memset(text, 'x', 2000);
    text[2000] = '\0';
    fill(&status, keys, consumers, kids, text);
    rotation_status_patch(&meta, &status, &out);
    assert_false(out.failed);
    assert_in_range(out.len, 500UL << 10, STATUS_BYTES_MOST);
    json_t *cleanup_json tree = json_load(buf_view(&out), false, "status", &err);
    assert_non_null(tree);
    struct rotation_status back;
    rotation_status_decode(json_object_get(tree, "status"), &arena, &back);
    assert_false(arena.failed);
    assert_int_equal(back.keys_count, LIMIT_KEYS);
    assert_int_equal(back.consumers_count, LIMIT_CONSUMERS);
    assert_int_equal(back.history_count, LIMIT_HISTORY);
    assert_true(change_equal(&back.change, &status.change));
    assert_true(key_record_equal(&back.keys[63].record, &keys[63].record));
    assert_int_equal(back.rotation.number, BOUND_COUNT);
    assert_int_equal(strlen(back.rotation.note), BOUND_NOTE);
    assert_int_equal(strlen(back.next.command), BOUND_TEXT);
    rotation_status_patch(&meta, &back, &again);
    assert_true(str_eq(buf_view(&out), buf_view(&again)));
}

/* A kid that is too long, and a number that is none, are left out: half of one names another. */
static void test_no_half_kid_is_written(void **state)
{
    (void)state;
    char long_kid[LIMIT_KID + 2];
    struct buf cleanup_buf out = {0};
    memset(long_kid, 'k', sizeof(long_kid) - 1);
    long_kid[sizeof(long_kid) - 1] = '\0';
    struct rotation_status status = {
        .next_kid = long_kid,
        .rotation = {.number = BOUND_COUNT + 1, .kid = "k"},
        .change = {.kind = CHANGE_DELETE, .kid = long_kid},
        .history = (struct past_rotation[]){{.number = 0}, {.number = UINT64_MAX}},
        .history_count = 2};
    rotation_status_encode(&status, &out);
    assert_string_equal(buf_text(&out), "{\"phase\":\"Pending\",\"change\":{\"kind\":\"Delete\"},"
                                        "\"history\":[],\"conditions\":[]}");
}

static struct operation operation_of(struct arena *arena, const char *annotations)
{
    json_t *cleanup_json tree = tree_of(annotations);
    struct operation o;
    rotation_operation_decode(tree, arena, &o);
    return o;
}

#define KIND "keyturn.dev/operation"
#define FOR "keyturn.dev/operation-for"

static void test_operations(void **state)
{
    (void)state;
    static const struct {
        const char *annotations;
        enum operation_kind kind;
        uint64_t number;
        const char *kid;
    } rows[] = {
        {"{}", OPERATION_NONE, 0, NULL},
        {"{'" FOR "':'7','keyturn.dev/operation-by':'a'}", OPERATION_NONE, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':'7'}", OPERATION_ROTATE, 7, NULL},
        {"{'" KIND "':'promote','" FOR "':'007'}", OPERATION_PROMOTE, 7, NULL},
        {"{'" KIND "':'retire','" FOR "':'0/a/b'}", OPERATION_RETIRE, 0, "a/b"},
        {"{'" KIND "':'rollback','" FOR "':'1'}", OPERATION_ROLLBACK, 1, NULL},
        {"{'" KIND "':'abort','" FOR "':'999999999999999'}", OPERATION_ABORT, BOUND_COUNT, NULL},
        {"{'" KIND "':'Rotate','" FOR "':'7/k'}", OPERATION_UNKNOWN, 7, "k"},
        {"{'" KIND "':'','" FOR "':'7'}", OPERATION_UNKNOWN, 7, NULL},
        {"{'" KIND "':'unknown','" FOR "':'7'}", OPERATION_UNKNOWN, 7, NULL},
        {"{'" KIND "':['rotate'],'" FOR "':'7'}", OPERATION_UNKNOWN, 7, NULL},
        {"{'" KIND "':'rotate'}", OPERATION_UNKNOWN, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':''}", OPERATION_UNKNOWN, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':' 7'}", OPERATION_UNKNOWN, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':'-7'}", OPERATION_UNKNOWN, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':'7/'}", OPERATION_UNKNOWN, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':'/k'}", OPERATION_UNKNOWN, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':'next'}", OPERATION_UNKNOWN, 0, NULL},
        {"{'" KIND "':'rotate','" FOR "':'1000000000000000'}", OPERATION_UNKNOWN, 0, NULL},
    };
    struct arena cleanup_arena arena = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct operation o = operation_of(&arena, rows[i].annotations);
        const struct operation wanted = {
            .kind = rows[i].kind, .number = rows[i].number, .kid = rows[i].kid};
        if (!operation_equal(&o, &wanted)) {
            fail_msg("%s: %s %llu %s", rows[i].annotations, operation_kind_name(o.kind),
                     (unsigned long long)o.number, o.kid == NULL ? "" : o.kid);
        }
    }
}

static void test_operation_texts_are_cut(void **state)
{
    (void)state;
    struct rotation_object *r = from_seed("rotation/whole.json");
    const struct operation wanted = {.kind = OPERATION_RETIRE,
                                     .number = 3,
                                     .kid = OLD_KID,
                                     .by = "bob@example.com",
                                     .note = "ticket 4712"};
    assert_true(operation_equal(&r->operation, &wanted));
    rotation_free(r);
    r = from_seed("rotation/least.json");
    assert_int_equal(r->operation.kind, OPERATION_NONE);
    rotation_free(r);

    struct arena cleanup_arena arena = {0};
    struct buf cleanup_buf text = {0};
    buf_append_text(&text, "{'" KIND "':'rotate','" FOR "':'1/");
    for (size_t i = 0; i <= LIMIT_KID; i++) {
        buf_append_char(&text, 'k');
    }
    buf_append_text(&text, "','keyturn.dev/operation-by':'x");
    for (size_t i = 0; i < 200; i++) {
        buf_append_text(&text, "é");
    }
    buf_append_text(&text, "','keyturn.dev/reason':'");
    for (size_t i = 0; i < 300; i++) {
        buf_append_char(&text, 'r');
    }
    buf_append_text(&text, "'}");
    struct operation o = operation_of(&arena, buf_text(&text));
    assert_int_equal(o.kind, OPERATION_UNKNOWN); /* half a kid would name another key */
    assert_null(o.kid);
    assert_int_equal(strlen(o.by), 255); /* 256 is in the middle of a character */
    assert_int_equal(strlen(o.note), 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_of_keys),     cmocka_unit_test(test_status_of_a_rotation),
        cmocka_unit_test(test_odd_status),         cmocka_unit_test(test_patch_takes_members_away),
        cmocka_unit_test(test_the_largest_status), cmocka_unit_test(test_no_half_kid_is_written),
        cmocka_unit_test(test_operations),         cmocka_unit_test(test_operation_texts_are_cut),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
