/* SPDX-License-Identifier: Apache-2.0
 *
 * crds/keyrotation.yaml and the code say the same: every property of spec and status is known here
 * with its bound, nothing else is, enums are those of the model, and the seed that other tests
 * decode and encode holds every one of them. */
#include "codec_data.h"

#include <stdlib.h>
#include <yaml.h>
#include "base/attr.h"
#include "codec/rotation_bounds.h"
#include "rotation/cron.h"

#define ROWS_MAX 192
#define NAME LIMIT_NAME

struct row {
    char path[96]; /* items of a list as [] */
    long bound;    /* maxLength, or maxItems of a list; 0: none */
    yaml_node_t *schema;
};

struct rows {
    yaml_document_t document;
    struct row list[ROWS_MAX];
    size_t count;
};

/* What the codec reads and writes. Bounds are those it keeps to. */
static const struct {
    const char *path;
    long bound;
} known[] = {
    {"spec.issuer.url", LIMIT_URL},
    {"spec.issuer.jwksURL", LIMIT_URL},
    {"spec.issuer.caBundle.configMap.name", NAME},
    {"spec.issuer.caBundle.configMap.key", NAME},
    {"spec.keycloak.url", LIMIT_URL},
    {"spec.keycloak.realm", BOUND_REALM},
    {"spec.keycloak.credentials.secret.name", NAME},
    {"spec.refreshInterval", BOUND_DURATION},
    {"spec.wrapper.warnBefore", LIMIT_WARN_THRESHOLDS},
    {"spec.wrapper.warnBefore[]", BOUND_DURATION},
    {"spec.suspend", 0},
    {"spec.key.algorithm", 0},
    {"spec.key.size", 0},
    {"spec.key.standby", 0},
    {"spec.key.adopt", 0},
    {"spec.key.takeOver", 0},
    {"spec.schedule.every", BOUND_DURATION},
    {"spec.schedule.window.cron", LIMIT_CRON},
    {"spec.schedule.window.duration", BOUND_DURATION},
    {"spec.schedule.window.timeZone", LIMIT_ZONE_NAME},
    {"spec.overlap.publish", BOUND_DURATION},
    {"spec.overlap.retire", BOUND_DURATION},
    {"spec.overlap.delete", BOUND_DURATION},
    {"spec.approval.promote", 0},
    {"spec.approval.retire", 0},
    {"spec.approval.twoPerson", 0},
    {"spec.deletionPolicy", 0},
    {"spec.consumers", LIMIT_CONSUMERS},
    {"spec.consumers[].name", BOUND_CONSUMER_NAME},
    {"spec.consumers[].publish.secret.name", NAME},
    {"spec.consumers[].publish.configMap.name", NAME},
    {"spec.consumers[].publish.formats", 3},
    {"spec.consumers[].publish.formats[]", 0},
    {"spec.consumers[].publish.keepX5c", 0},
    {"spec.consumers[].reload.restart", LIMIT_RESTARTS},
    {"spec.consumers[].reload.restart[].kind", 0},
    {"spec.consumers[].reload.restart[].name", NAME},
    {"spec.consumers[].proof.type", 0},
    {"spec.consumers[].proof.delay", BOUND_DURATION},
    {"status.observedGeneration", 0},
    {"status.phase", 0},
    {"status.realm", BOUND_TEXT},
    {"status.activeKid", BOUND_TEXT},
    {"status.issuer.url", BOUND_TEXT},
    {"status.issuer.jwksURL", BOUND_TEXT},
    {"status.certExpires", 0},
    {"status.refreshed", BOUND_TEXT},
    {"status.consumersUpToDate", BOUND_READY_COUNT},
    {"status.keys", LIMIT_KEYS},
    {"status.keys[].kid", BOUND_TEXT},
    {"status.keys[].algorithm", BOUND_ALGORITHM},
    {"status.keys[].state", 0},
    {"status.keys[].component", BOUND_COMPONENT},
    {"status.keys[].provider", BOUND_COMPONENT},
    {"status.keys[].notAfter", 0},
    {"status.keys[].spkiSHA256", BOUND_SPKI},
    {"status.keys[].announced", LIMIT_WARN_THRESHOLDS + 1},
    {"status.keys[].announced[]", BOUND_ANNOUNCED},
    {"status.keys[].rotation", 0},
    {"status.keys[].lifecycle", 0},
    {"status.keys[].publishedAt", 0},
    {"status.keys[].readyAt", 0},
    {"status.keys[].activeAt", 0},
    {"status.keys[].retiredAt", 0},
    {"status.keys[].removedAt", 0},
    {"status.keys[].retiredBy", 0},
    {"status.keys[].retireApproved", 0},
    {"status.keys[].removableAt", 0},
    {"status.keys[].tokensLiveSeconds", 0},
    {"status.consumers", LIMIT_CONSUMERS},
    {"status.consumers[].name", BOUND_CONSUMER_NAME},
    {"status.consumers[].object", BOUND_OBJECT},
    {"status.consumers[].trustHash", BOUND_TRUST_HASH},
    {"status.consumers[].state", 0},
    {"status.consumers[].pods", BOUND_PODS},
    {"status.consumers[].message", BOUND_TEXT},
    {"status.nextKid", LIMIT_KID},
    {"status.rotation.number", 0},
    {"status.rotation.reason", 0},
    {"status.rotation.kid", LIMIT_KID},
    {"status.rotation.from", LIMIT_KID},
    {"status.rotation.startedAt", 0},
    {"status.rotation.requestedAt", 0},
    {"status.rotation.requestedBy", BOUND_PERSON},
    {"status.rotation.note", BOUND_NOTE},
    {"status.rotation.standbyAt", 0},
    {"status.rotation.approvedAt", 0},
    {"status.rotation.approvedBy", BOUND_PERSON},
    {"status.rotation.promotedAt", 0},
    {"status.rotation.confirmedAt", 0},
    {"status.rotation.doneAt", 0},
    {"status.rotation.abortedAt", 0},
    {"status.rotation.aborting", 0},
    {"status.change.kind", 0},
    {"status.change.number", 0},
    {"status.change.kid", LIMIT_KID},
    {"status.change.at", 0},
    {"status.change.priority", 0},
    {"status.operation.operation", 0},
    {"status.operation.number", 0},
    {"status.operation.kid", LIMIT_KID},
    {"status.operation.by", BOUND_PERSON},
    {"status.operation.note", BOUND_NOTE},
    {"status.operation.at", 0},
    {"status.operation.refused", BOUND_TEXT},
    {"status.operation.cleared", 0},
    {"status.nextTransition.step", BOUND_WORD},
    {"status.nextTransition.at", 0},
    {"status.nextTransition.blockedBy", BOUND_TEXT},
    {"status.nextTransition.command", BOUND_TEXT},
    {"status.history", LIMIT_HISTORY},
    {"status.history[].number", 0},
    {"status.history[].reason", 0},
    {"status.history[].kid", LIMIT_KID},
    {"status.history[].requestedBy", BOUND_PERSON},
    {"status.history[].startedAt", 0},
    {"status.history[].endedAt", 0},
    {"status.history[].outcome", BOUND_WORD},
    {"status.conditions[].status", 0},
    {"status.conditions[].observedGeneration", 0},
    {"status.conditions[].lastTransitionTime", 0},
};

/* Bounds of the file that the codec stays below. */
static const struct {
    const char *path;
    long least;
} roomy[] = {
    {"status.conditions", CONDITION_COUNT},
    {"status.conditions[].type", 32},
    {"status.conditions[].reason", BOUND_REASON},
    {"status.conditions[].message", BOUND_TEXT},
};

static yaml_node_t *member(struct rows *r, yaml_node_t *map, const char *key)
{
    if (map == NULL || map->type != YAML_MAPPING_NODE) {
        return NULL;
    }
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        yaml_node_t *name = yaml_document_get_node(&r->document, p->key);
        if (text_eq((const char *)name->data.scalar.value, key)) {
            return yaml_document_get_node(&r->document, p->value);
        }
    }
    return NULL;
}

static const char *scalar(const yaml_node_t *node)
{
    return node != NULL && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value
                                                          : NULL;
}

static long number(struct rows *r, yaml_node_t *schema, const char *key)
{
    const char *text = scalar(member(r, schema, key));
    return text == NULL ? 0 : strtol(text, NULL, 10);
}

static void add(struct rows *r, const char *path, yaml_node_t *schema)
{
    assert_true(r->count < ROWS_MAX);
    struct row *row = &r->list[r->count++];
    assert_true(text_format(row->path, sizeof(row->path), "%s", path));
    row->bound = number(r, schema, "maxLength") + number(r, schema, "maxItems");
    row->schema = schema;
}

/* Objects are known by their members; lists and values are rows. */
static void walk(struct rows *r, const char *path, yaml_node_t *schema)
{
    yaml_node_t *properties = member(r, schema, "properties");
    yaml_node_t *items = member(r, schema, "items");
    char inner[128];
    if (items != NULL) {
        add(r, path, schema);
        assert_true(text_format(inner, sizeof(inner), "%s[]", path));
        walk(r, inner, items);
        return;
    }
    if (properties == NULL) {
        add(r, path, schema);
        return;
    }
    for (yaml_node_pair_t *p = properties->data.mapping.pairs.start;
         p < properties->data.mapping.pairs.top; p++) {
        const char *name = scalar(yaml_document_get_node(&r->document, p->key));
        assert_true(
            text_format(inner, sizeof(inner), "%s%s%s", path, *path == '\0' ? "" : ".", name));
        walk(r, inner, yaml_document_get_node(&r->document, p->value));
    }
}

static int load(void **state)
{
    static struct rows rows;
    struct buf cleanup_buf text = {0};
    yaml_parser_t parser;
    read_file("crds/keyrotation.yaml", &text);
    assert_int_equal(yaml_parser_initialize(&parser), 1);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
    assert_int_equal(yaml_parser_load(&parser, &rows.document), 1);
    yaml_parser_delete(&parser);
    yaml_node_t *at = yaml_document_get_root_node(&rows.document);
    at = member(&rows, member(&rows, at, "spec"), "versions");
    assert_non_null(at);
    at = yaml_document_get_node(&rows.document, at->data.sequence.items.start[0]);
    at = member(&rows, member(&rows, at, "schema"), "openAPIV3Schema");
    at = member(&rows, at, "properties");
    walk(&rows, "spec", member(&rows, at, "spec"));
    walk(&rows, "status", member(&rows, at, "status"));
    *state = &rows;
    return 0;
}

static int unload(void **state)
{
    struct rows *r = *state;
    yaml_document_delete(&r->document);
    return 0;
}

static const struct row *find(const struct rows *r, const char *path)
{
    for (size_t i = 0; i < r->count; i++) {
        if (text_eq(r->list[i].path, path)) {
            return &r->list[i];
        }
    }
    fail_msg("crds/keyrotation.yaml has no %s", path);
    return NULL;
}

static void test_known_is_in_schema(void **state)
{
    const struct rows *r = *state;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const struct row *row = find(r, known[i].path);
        if (row->bound != known[i].bound) {
            fail_msg("%s: %ld in the schema, %ld here", row->path, row->bound, known[i].bound);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(roomy); i++) {
        assert_true(find(r, roomy[i].path)->bound >= roomy[i].least);
    }
}

static void test_schema_is_known(void **state)
{
    const struct rows *r = *state;
    for (size_t i = 0; i < r->count; i++) {
        bool found = false;
        for (size_t k = 0; k < ARRAY_LEN(known); k++) {
            found = found || text_eq(r->list[i].path, known[k].path);
        }
        for (size_t k = 0; k < ARRAY_LEN(roomy); k++) {
            found = found || text_eq(r->list[i].path, roomy[k].path);
        }
        if (!found) {
            fail_msg("%s of the schema is unknown to the codec", r->list[i].path);
        }
    }
    assert_int_equal(r->count, ARRAY_LEN(known) + ARRAY_LEN(roomy));
}

/* True when the tree has a value at path, in any item of the lists on the way. */
static bool has(const json_t *tree, const char *path)
{
    char name[64];
    size_t len = strcspn(path, ".[");
    (void)text_format(name, sizeof(name), "%.*s", (int)len, path);
    const json_t *value = len == 0 ? tree : json_object_get(tree, name);
    const char *rest = path + len;
    if (value == NULL || *rest == '\0') {
        return value != NULL;
    }
    if (*rest == '.') {
        return has(value, rest + 1);
    }
    rest += rest[2] == '.' ? 3 : 2; /* "[]" */
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (*rest == '\0' || has(json_array_get(value, i), rest)) {
            return true;
        }
    }
    return false;
}

static void test_seed_is_maximal(void **state)
{
    const struct rows *r = *state;
    struct buf cleanup_buf text = {0};
    struct err err = {0};
    read_seed("rotation/whole.json", &text);
    json_t *cleanup_json tree = json_load(buf_view(&text), false, "seed", &err);
    assert_non_null(tree);
    for (size_t i = 0; i < r->count; i++) {
        if (!has(tree, r->list[i].path)) {
            fail_msg("tests/fuzz/corpus/rotation/whole.json has no %s", r->list[i].path);
        }
    }
    assert_false(has(tree, "spec.consumers[].nothing"));
}

/* names: NULL-terminated. */
static void check_enum(struct rows *r, const char *path, const char *const *names)
{
    yaml_node_t *list = member(r, find(r, path)->schema, "enum");
    size_t count = 0;
    assert_non_null(list);
    while (names[count] != NULL) {
        bool found = false;
        for (yaml_node_item_t *i = list->data.sequence.items.start;
             i < list->data.sequence.items.top; i++) {
            found =
                found || text_eq(scalar(yaml_document_get_node(&r->document, *i)), names[count]);
        }
        if (!found) {
            fail_msg("%s: the schema does not allow %s", path, names[count]);
        }
        count++;
    }
    assert_int_equal(list->data.sequence.items.top - list->data.sequence.items.start, (long)count);
}

static void test_enums(void **state)
{
    struct rows *r = *state;
    const char *names[PHASE_COUNT + 1] = {NULL};
    for (enum rotation_phase p = PHASE_PENDING; p < PHASE_COUNT; p++) {
        names[p] = rotation_phase_name(p);
    }
    check_enum(r, "status.phase", names);
    memset(names, 0, sizeof(names));
    for (enum key_state s = KEY_ACTIVE; s <= KEY_DISABLED; s++) {
        names[s] = key_state_name(s);
    }
    check_enum(r, "status.keys[].state", names);
    memset(names, 0, sizeof(names));
    for (enum consumer_state s = CONSUMER_APPLYING; s <= CONSUMER_FAILED; s++) {
        names[s] = consumer_state_name(s);
    }
    check_enum(r, "status.consumers[].state", names);
    memset(names, 0, sizeof(names));
    for (enum workload_kind k = 0; k < WORKLOAD_KIND_COUNT; k++) {
        names[k] = workload_kind_name(k);
    }
    check_enum(r, "spec.consumers[].reload.restart[].kind", names);
    check_enum(r, "spec.deletionPolicy", (const char *const[]){"Retain", "Delete", NULL});
    check_enum(r, "status.conditions[].status",
               (const char *const[]){"True", "False", "Unknown", NULL});
    check_enum(r, "spec.consumers[].publish.formats[]",
               (const char *const[]){"JWKS", "PEM", "X509", NULL});
}

static void test_enums_of_a_rotation(void **state)
{
    struct rows *r = *state;
    const char *names[OPERATION_UNKNOWN + LIFECYCLE_REMOVED + 1] = {NULL};
    for (enum key_lifecycle l = LIFECYCLE_GENERATED; l <= LIFECYCLE_REMOVED; l++) {
        names[l - LIFECYCLE_GENERATED] = key_lifecycle_name(l);
    }
    check_enum(r, "status.keys[].lifecycle", names);
    memset(names, 0, sizeof(names));
    for (enum change_kind c = CHANGE_CREATE; c <= CHANGE_DELETE; c++) {
        names[c - CHANGE_CREATE] = change_kind_name(c);
    }
    check_enum(r, "status.change.kind", names);
    memset(names, 0, sizeof(names));
    for (enum operation_kind o = OPERATION_ROTATE; o <= OPERATION_UNKNOWN; o++) {
        names[o - OPERATION_ROTATE] = operation_kind_name(o);
    }
    check_enum(r, "status.operation.operation", names);
    memset(names, 0, sizeof(names));
    for (enum rotation_reason w = REASON_STANDBY; w <= REASON_ROLLBACK; w++) {
        names[w] = rotation_reason_name(w);
    }
    check_enum(r, "status.rotation.reason", names);
    check_enum(r, "status.history[].reason", names);
    check_enum(r, "spec.key.algorithm",
               (const char *const[]){"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
                                     "ES384", "ES512", "EdDSA", NULL});
    check_enum(r, "spec.key.size", (const char *const[]){"2048", "3072", "4096", NULL});
    check_enum(r, "spec.approval.promote", (const char *const[]){"Automatic", "Manual", NULL});
    check_enum(r, "spec.approval.retire", (const char *const[]){"Automatic", "Manual", NULL});
    check_enum(r, "spec.consumers[].proof.type", (const char *const[]){"Rollout", "Delay", NULL});
}

/* The numbers of rotations in status are bounded as the codec bounds them. */
static void test_numbers_are_bounded(void **state)
{
    struct rows *r = *state;
    static const char *const paths[] = {"status.keys[].rotation",  "status.keys[].retiredBy",
                                        "status.rotation.number",  "status.change.number",
                                        "status.operation.number", "status.history[].number"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        assert_int_equal(number(r, find(r, paths[i])->schema, "maximum"), BOUND_COUNT);
    }
}

/* The first CEL rule of a value. */
static const char *first_rule(struct rows *r, const char *path)
{
    yaml_node_t *rules = member(r, find(r, path)->schema, "x-kubernetes-validations");
    assert_non_null(rules);
    yaml_node_t *rule = yaml_document_get_node(&r->document, rules->data.sequence.items.start[0]);
    return scalar(member(r, rule, "rule"));
}

/* What the API server lets through is what cron_parse takes, but for ranges that end before they
 * begin, which the next rule refuses. */
static void test_cron_pattern_is_the_parsers(void **state)
{
    struct rows *r = *state;
    assert_string_equal(first_rule(r, "spec.schedule.window.cron"),
                        "self.matches('" CRON_PATTERN "')");
}

static void check_default(struct rows *r, const char *path, const char *wanted)
{
    assert_string_equal(scalar(member(r, find(r, path)->schema, "default")), wanted);
}

/* Absent objects get no defaults from the schema: the code has the same for them. */
static void test_defaults_of_a_rotation(void **state)
{
    struct rows *r = *state;
    check_default(r, "spec.suspend", "false");
    check_default(r, "spec.key.algorithm", "RS256");
    check_default(r, "spec.key.standby", "false");
    check_default(r, "spec.key.adopt", "false");
    check_default(r, "spec.key.takeOver", "false");
    check_default(r, "spec.schedule.window.timeZone", "UTC");
    check_default(r, "spec.overlap.publish", "60m");
    check_default(r, "spec.overlap.retire", "auto");
    check_default(r, "spec.overlap.delete", "7d");
    check_default(r, "spec.approval.promote", "Automatic");
    check_default(r, "spec.approval.retire", "Automatic");
    check_default(r, "spec.approval.twoPerson", "false");
    static const char *const bare[] = {"spec.key.size", "spec.schedule.every",
                                       "spec.consumers[].proof.type",
                                       "spec.consumers[].proof.delay"};
    for (size_t i = 0; i < ARRAY_LEN(bare); i++) {
        assert_null(member(r, find(r, bare[i])->schema, "default"));
    }
}

static void test_defaults_are_the_codecs(void **state)
{
    struct rows *r = *state;
    assert_string_equal(scalar(member(r, find(r, "spec.refreshInterval")->schema, "default")),
                        "30s");
    assert_string_equal(scalar(member(r, find(r, "spec.deletionPolicy")->schema, "default")),
                        "Retain");
    assert_string_equal(
        scalar(member(r, find(r, "spec.issuer.caBundle.configMap.key")->schema, "default")),
        "ca.crt");
    yaml_node_t *list = member(r, find(r, "spec.wrapper.warnBefore")->schema, "default");
    static const char *const wanted[] = {"30d", "14d", "7d", "1d"};
    assert_non_null(list);
    assert_int_equal(list->data.sequence.items.top - list->data.sequence.items.start,
                     ARRAY_LEN(wanted));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        yaml_node_t *item =
            yaml_document_get_node(&r->document, list->data.sequence.items.start[i]);
        assert_string_equal(scalar(item), wanted[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_is_in_schema),
        cmocka_unit_test(test_schema_is_known),
        cmocka_unit_test(test_seed_is_maximal),
        cmocka_unit_test(test_enums),
        cmocka_unit_test(test_enums_of_a_rotation),
        cmocka_unit_test(test_numbers_are_bounded),
        cmocka_unit_test(test_cron_pattern_is_the_parsers),
        cmocka_unit_test(test_defaults_of_a_rotation),
        cmocka_unit_test(test_defaults_are_the_codecs),
    };
    json_setup(7);
    return cmocka_run_group_tests(tests, load, unload);
}
