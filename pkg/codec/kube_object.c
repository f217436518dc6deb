/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/kube_codec.h"

#include <stdlib.h>
#include <string.h>
#include "base/date.h"
#include "codec/json.h"

#define NAMESPACE_MAX 63
#define UID_MAX 128
#define RESOURCE_VERSION_MAX 64
#define RECORD_MAX (1UL << 20)

/* An object and what its texts live in: given back together. The object comes first, so that a
 * pointer to it is one to its holder. */
struct workload_holder {
    struct workload_object object;
    struct arena arena;
};

struct pod_holder {
    struct pod_object object;
    struct arena arena;
};

struct config_map_holder {
    struct config_map_object object;
    struct arena arena;
};

static size_t piece_bytes(size_t len)
{
    return (len + 1 + 15) / 16 * 16;
}

/* What the copied texts of one object of strings take in an arena: tens of thousands of pods are
 * held, so the arena's only block is made to measure. */
static size_t texts_bytes(const json_t *object)
{
    size_t bytes = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bytes += piece_bytes(strlen(key)) + piece_bytes(json_string_length(value));
    }
    return bytes;
}

static size_t meta_bytes(const json_t *meta)
{
    static const char *const keys[] = {"namespace", "name", "uid", "resourceVersion"};
    size_t bytes = 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        bytes += piece_bytes(json_string_length(json_object_get(meta, keys[i])));
    }
    return bytes;
}

int kube_meta_decode(const json_t *object, struct arena *arena, struct object_meta *ret,
                     struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const char *name = json_text(meta, "name");
    const char *namespace = json_text(meta, "namespace");
    const char *uid = json_text(meta, "uid");
    const char *version = json_text(meta, "resourceVersion");

    if (name == NULL || *name == '\0' || strlen(name) > LIMIT_NAME) {
        return err_set(err, ERR_INVALID, "object without a usable metadata.name");
    }
    if (version == NULL || *version == '\0' || strlen(version) > RESOURCE_VERSION_MAX) {
        return err_set(err, ERR_INVALID, "object %s: no usable metadata.resourceVersion", name);
    }
    if ((namespace != NULL && strlen(namespace) > NAMESPACE_MAX) ||
        (uid != NULL && strlen(uid) > UID_MAX)) {
        return err_set(err, ERR_INVALID, "object %s: metadata.namespace or uid is too long", name);
    }
    *ret = (struct object_meta){
        .namespace = arena_strdup(arena, namespace == NULL ? "" : namespace),
        .name = arena_strdup(arena, name),
        .uid = arena_strdup(arena, uid == NULL ? "" : uid),
        .resource_version = arena_strdup(arena, version),
        .generation = json_number(meta, "generation", 0),
        .deleting = json_text(meta, "deletionTimestamp") != NULL,
    };
    if (!date_parse(json_text(meta, "creationTimestamp"), &ret->created_s)) {
        ret->created_s = 0;
    }
    return arena->failed ? err_set(err, ERR_NO_MEMORY, "object %s: out of memory", name) : 0;
}

static int no_memory(struct err *err, const char *what, const struct object_meta *meta)
{
    return err_set(err, ERR_NO_MEMORY, "%s %s/%s: out of memory", what, meta->namespace,
                   meta->name);
}

static bool selector_operator(const char *text, enum selector_operator *ret)
{
    static const char *const names[] = {
        [SELECTOR_IN] = "In",
        [SELECTOR_NOT_IN] = "NotIn",
        [SELECTOR_EXISTS] = "Exists",
        [SELECTOR_DOES_NOT_EXIST] = "DoesNotExist",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (text_eq(text, names[i])) {
            *ret = (enum selector_operator)i;
            return true;
        }
    }
    return false;
}

/* One item of matchExpressions. */
static bool term_decode(const json_t *item, struct arena *arena, struct selector_term *ret)
{
    const json_t *from = json_object_get(item, "values");
    size_t count = json_array_size(from);
    const char **values = count == 0 ? NULL : arena_array(arena, count, sizeof(*values));
    const char *key = json_text(item, "key");

    if (key == NULL || !selector_operator(json_text(item, "operator"), &ret->op)) {
        return false;
    }
    for (size_t i = 0; values != NULL && i < count; i++) {
        values[i] = arena_strdup(arena, json_text_of(json_array_get(from, i)));
        if (values[i] == NULL) {
            return false;
        }
    }
    ret->key = arena_strdup(arena, key);
    ret->values = values;
    ret->values_count = values == NULL ? 0 : count;
    return true;
}

/* metav1.LabelSelector. False for one that this code does not understand: it must not select less
 * or more. */
static bool selector_decode(const json_t *selector, struct arena *arena, struct workload_object *w)
{
    const json_t *labels = json_object_get(selector, "matchLabels");
    const json_t *expressions = json_object_get(selector, "matchExpressions");
    size_t count = json_object_size(labels) + json_array_size(expressions);
    struct selector_term *terms = NULL;
    const char *key = NULL;
    json_t *value = NULL;
    size_t made = 0;

    if (count == 0) {
        return true;
    }
    terms = arena_array(arena, count, sizeof(*terms));
    if (terms == NULL) {
        return true; /* arena->failed tells */
    }
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        const char **one = arena_alloc(arena, sizeof(*one));
        if (one == NULL || json_text_of(value) == NULL) {
            return false;
        }
        one[0] = arena_strdup(arena, json_text_of(value));
        terms[made++] = (struct selector_term){arena_strdup(arena, key), SELECTOR_IN, one, 1};
    }
    for (size_t i = 0; i < json_array_size(expressions); i++) {
        if (!term_decode(json_array_get(expressions, i), arena, &terms[made++])) {
            return false;
        }
    }
    w->selector = terms;
    w->selector_count = made;
    return true;
}

static void rollout_decode(const json_t *spec, const json_t *status, struct workload_object *w)
{
    const json_t *strategy = json_object_get(spec, "updateStrategy");
    const json_t *conditions = json_object_get(status, "conditions");
    const char *current = json_text(status, "currentRevision");
    bool daemon = w->kind == WORKLOAD_DAEMON_SET;

    w->observed_generation = json_number(status, "observedGeneration", 0);
    w->desired = daemon ? json_number(status, "desiredNumberScheduled", 0)
                        : json_number(spec, "replicas", 1);
    w->total = json_number(status, daemon ? "currentNumberScheduled" : "replicas", 0);
    w->updated = json_number(status, daemon ? "updatedNumberScheduled" : "updatedReplicas", 0);
    w->ready = json_number(status, daemon ? "numberReady" : "readyReplicas", 0);
    w->available = json_number(status, daemon ? "numberAvailable" : "availableReplicas", 0);
    w->partition = json_number(json_object_get(strategy, "rollingUpdate"), "partition", 0);
    w->paused = json_flag(spec, "paused");
    w->on_delete = text_eq(json_text(strategy, "type"), "OnDelete");
    w->revisions_equal = current != NULL && text_eq(current, json_text(status, "updateRevision"));
    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *condition = json_array_get(conditions, i);
        if (text_eq(json_text(condition, "type"), "Progressing") &&
            text_eq(json_text(condition, "reason"), "ProgressDeadlineExceeded")) {
            w->deadline_exceeded = true;
        }
    }
}

struct workload_object *workload_new(const json_t *object, enum workload_kind kind, struct err *err)
{
    const json_t *spec = json_object_get(object, "spec");
    const json_t *selector = json_object_get(spec, "selector");
    struct workload_holder *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        err_set(err, ERR_NO_MEMORY, "workload: out of memory");
        return NULL;
    }
    const json_t *labels = json_object_get(selector, "matchLabels");
    /* Each label is a term and a pointer besides its texts; 80 for the trust hash. */
    h->arena.block_bytes = meta_bytes(json_object_get(object, "metadata")) + texts_bytes(labels) +
                           json_object_size(labels) * (sizeof(struct selector_term) + 16) + 80;
    h->object.kind = kind;
    if (kube_meta_decode(object, &h->arena, &h->object.meta, err) != 0) {
        goto fail;
    }
    const json_t *annotations = json_path(spec, "template", "metadata", "annotations", NULL);
    h->object.template_hash = arena_strdup(&h->arena, json_text(annotations, ANNOTATION_HASH));
    if (!selector_decode(selector, &h->arena, &h->object) && !h->arena.failed) {
        err_set(err, ERR_INVALID, "%s %s/%s: spec.selector cannot be read",
                workload_kind_name(kind), h->object.meta.namespace, h->object.meta.name);
        goto fail;
    }
    rollout_decode(spec, json_object_get(object, "status"), &h->object);
    if (h->arena.failed) {
        no_memory(err, workload_kind_name(kind), &h->object.meta);
        goto fail;
    }
    return &h->object;
fail:
    workload_free(&h->object);
    return NULL;
}

void workload_free(struct workload_object *w)
{
    struct workload_holder *h = (struct workload_holder *)w;
    if (h != NULL) {
        arena_release(&h->arena);
        free(h);
    }
}

struct pod_object *pod_new(const json_t *object, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *from = json_object_get(meta, "labels");
    size_t count = json_object_size(from);
    struct pod_holder *h = calloc(1, sizeof(*h));
    const char *key = NULL;
    json_t *value = NULL;
    if (h == NULL) {
        err_set(err, ERR_NO_MEMORY, "pod: out of memory");
        return NULL;
    }
    const char *hash = json_text(json_object_get(meta, "annotations"), ANNOTATION_HASH);
    h->arena.block_bytes = meta_bytes(meta) + texts_bytes(from) + count * sizeof(struct label) +
                           (hash == NULL ? 0 : piece_bytes(strlen(hash)));
    if (kube_meta_decode(object, &h->arena, &h->object.meta, err) != 0) {
        goto fail;
    }
    h->object.hash = arena_strdup(&h->arena, hash);
    struct label *labels = count == 0 ? NULL : arena_array(&h->arena, count, sizeof(*labels));
    h->object.labels = labels;
    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        if (labels != NULL && json_text_of(value) != NULL) {
            labels[h->object.labels_count++] = (struct label){
                arena_strdup(&h->arena, key), arena_strdup(&h->arena, json_text_of(value))};
        }
    }
    if (h->arena.failed) {
        no_memory(err, "Pod", &h->object.meta);
        goto fail;
    }
    return &h->object;
fail:
    pod_free(&h->object);
    return NULL;
}

void pod_free(struct pod_object *p)
{
    struct pod_holder *h = (struct pod_holder *)p;
    if (h != NULL) {
        arena_release(&h->arena);
        free(h);
    }
}

static const char *label_value(const struct pod_object *p, const char *key)
{
    for (size_t i = 0; i < p->labels_count; i++) {
        if (strcmp(p->labels[i].key, key) == 0) {
            return p->labels[i].value;
        }
    }
    return NULL;
}

/* labels.Requirement.Matches of apimachinery: NotIn holds for a pod without the label, too. */
static bool term_matches(const struct selector_term *term, const char *value)
{
    bool listed = false;
    for (size_t i = 0; value != NULL && i < term->values_count; i++) {
        listed = listed || strcmp(value, term->values[i]) == 0;
    }
    switch (term->op) {
    case SELECTOR_IN: return listed;
    case SELECTOR_NOT_IN: return !listed;
    case SELECTOR_EXISTS: return value != NULL;
    case SELECTOR_DOES_NOT_EXIST: return value == NULL;
    }
    return false;
}

bool selector_matches(const struct workload_object *w, const struct pod_object *p)
{
    if (w->selector_count == 0 || !text_eq(w->meta.namespace, p->meta.namespace)) {
        return false;
    }
    for (size_t i = 0; i < w->selector_count; i++) {
        if (!term_matches(&w->selector[i], label_value(p, w->selector[i].key))) {
            return false;
        }
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct trust_file *left = a;
    const struct trust_file *right = b;
    return strcmp(left->name, right->name);
}

/* Digest of data; "" for what we would never have written, so that it never equals ours. */
static void data_digest(const json_t *object, char out[JOSE_HASH_TEXT])
{
    struct arena cleanup_arena arena = {0};
    json_t *data = json_object_get(object, "data");
    size_t count = json_object_size(data);
    struct trust_files all = {.count = 0};
    const char *key = NULL;
    json_t *value = NULL;

    out[0] = '\0';
    struct trust_file *files = count == 0 ? NULL : arena_array(&arena, count, sizeof(*files));
    if (json_object_size(json_object_get(object, "binaryData")) > 0 ||
        (data != NULL && !json_is_object(data)) || (count > 0 && files == NULL)) {
        return;
    }
    json_object_foreach(data, key, value)
    {
        if (!json_is_string(value) || files == NULL) {
            return;
        }
        files[all.count++] = (struct trust_file){
            .name = key, .data = {json_string_value(value), json_string_length(value)}};
        all.bytes += strlen(key) + json_string_length(value);
    }
    if (count > 0) {
        qsort(files, count, sizeof(*files), by_name);
    }
    all.files = files;
    trust_files_digest(&all, out);
}

struct config_map_object *config_map_new(const json_t *object, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const json_t *labels = json_object_get(meta, "labels");
    const json_t *annotations = json_object_get(meta, "annotations");
    struct config_map_holder *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        err_set(err, ERR_NO_MEMORY, "ConfigMap: out of memory");
        return NULL;
    }
    struct config_map_object *c = &h->object;
    h->arena.block_bytes = 320;
    if (kube_meta_decode(object, &h->arena, &c->meta, err) != 0) {
        goto fail;
    }
    c->rotation = arena_strdup(&h->arena, json_text(labels, LABEL_ROTATION));
    c->consumer = arena_strdup(&h->arena, json_text(annotations, ANNOTATION_CONSUMER));
    c->hash = arena_strdup(&h->arena, json_text(annotations, ANNOTATION_HASH));
    c->adopt = text_eq(json_text(annotations, ANNOTATION_ADOPT), "true");
    c->finalizers_or_owners = json_array_size(json_object_get(meta, "finalizers")) > 0 ||
                              json_array_size(json_object_get(meta, "ownerReferences")) > 0;
    data_digest(object, c->digest);
    if (text_eq(json_text(labels, LABEL_RECORD), "true")) {
        const json_t *record = json_path(object, "data", "record.json", NULL);
        if (json_string_length(record) <= RECORD_MAX) {
            c->record = arena_strdup(&h->arena, json_text_of(record));
        }
    }
    if (h->arena.failed) {
        no_memory(err, "ConfigMap", &c->meta);
        goto fail;
    }
    return c;
fail:
    config_map_free(c);
    return NULL;
}

void config_map_free(struct config_map_object *c)
{
    struct config_map_holder *h = (struct config_map_holder *)c;
    if (h != NULL) {
        arena_release(&h->arena);
        free(h);
    }
}
