/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/kube_codec.h"

#include <string.h>
#include "codec/json.h"

#define RETRY_AFTER_MAX_S 3600
#define LEASE_DURATION_MAX_S (24L * 3600)

static enum err_class class_of(int status, const char *reason)
{
    if (text_eq(reason, "Expired") || text_eq(reason, "Gone") || status == 410) {
        return ERR_GONE;
    }
    switch (status) {
    case 401: return ERR_AUTH;
    case 403: return ERR_FORBIDDEN;
    case 404: return ERR_NOT_FOUND;
    case 408: return ERR_TIMEOUT;
    case 409: return text_eq(reason, "AlreadyExists") ? ERR_EXISTS : ERR_CONFLICT;
    case 413: return ERR_LIMIT;
    case 429: return ERR_TRANSIENT;
    default: return status >= 500 ? ERR_TRANSIENT : ERR_INVALID;
    }
}

/* A v1 Status; tree NULL when the body was none. */
static void status_decode(const json_t *tree, int status, struct err *ret)
{
    const json_t *details = json_object_get(tree, "details");
    const char *message = json_text(tree, "message");
    const char *reason = json_text(tree, "reason");
    int64_t code = json_number(tree, "code", 0);
    int64_t retry = json_number(details, "retryAfterSeconds", 0);

    if (status == 0 && code >= 100 && code <= 599) {
        status = (int)code;
    }
    if (message != NULL && *message != '\0') {
        err_set(ret, class_of(status, reason), "API server answered %d: %s", status, message);
    } else {
        err_set(ret, class_of(status, reason), "API server answered %d without saying why", status);
    }
    ret->http_status = status;
    ret->retry_after_s = retry < 0 ? 0 : retry > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (int)retry;
    err_clean_text(ret->reason, sizeof(ret->reason), reason);
}

void kube_error_decode(struct str body, int status, struct err *ret)
{
    /* A proxy's page, or none: the number alone tells then. */
    json_t *cleanup_json tree = json_load(body, true, "error answer", NULL);
    status_decode(tree, status, ret);
}

static bool event_of(const char *type, enum watch_event *ret)
{
    static const char *const names[] = {
        [WATCH_ADDED] = "ADDED",       [WATCH_MODIFIED] = "MODIFIED", [WATCH_DELETED] = "DELETED",
        [WATCH_BOOKMARK] = "BOOKMARK", [WATCH_ERROR] = "ERROR",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (text_eq(type, names[i])) {
            *ret = (enum watch_event)i;
            return true;
        }
    }
    return false;
}

int watch_frame_decode(struct str frame, json_t **ret_tree, struct watch_frame *ret,
                       struct err *err)
{
    *ret = (struct watch_frame){.object = NULL};
    *ret_tree = NULL;
    json_t *cleanup_json tree = json_load(frame, true, "watch event", err);
    if (tree == NULL) {
        return -1;
    }
    if (!event_of(json_text(tree, "type"), &ret->event)) {
        return err_set(err, ERR_INVALID, "watch event: unknown type");
    }
    ret->object = json_object_get(tree, "object");
    if (!json_is_object(ret->object)) {
        return err_set(err, ERR_INVALID, "watch event: no object in it");
    }
    if (ret->event == WATCH_ERROR) {
        status_decode(ret->object, 0, &ret->error);
    } else {
        const json_t *meta = json_object_get(ret->object, "metadata");
        const char *end =
            json_text(json_object_get(meta, "annotations"), "k8s.io/initial-events-end");
        ret->resource_version = json_text(meta, "resourceVersion");
        if (ret->resource_version == NULL || *ret->resource_version == '\0') {
            return err_set(err, ERR_INVALID, "watch event: object without resourceVersion");
        }
        ret->initial_end = ret->event == WATCH_BOOKMARK && text_eq(end, "true");
    }
    *ret_tree = tree;
    tree = NULL;
    return 0;
}

/* False when the text is longer than its place: half a holder's name would be another holder. */
static bool copy_member(char *dst, size_t size, const json_t *object, const char *key)
{
    const char *text = json_text(object, key);
    return text_format(dst, size, "%s", text == NULL ? "" : text);
}

int admission_policy_decode(struct str body, struct admission_policy *ret, struct err *err)
{
    *ret = (struct admission_policy){.rules = 0};
    json_t *cleanup_json tree = json_load(body, true, "ValidatingAdmissionPolicy", err);
    if (tree == NULL) {
        return -1;
    }
    const char *failure = json_text(json_object_get(tree, "spec"), "failurePolicy");
    const char *rules =
        json_text(json_path(tree, "metadata", "annotations", NULL), ANNOTATION_FENCE_RULES);
    uint64_t number;
    if (str_to_u64(str_from(rules), &number) && number <= INT64_MAX) {
        ret->rules = (int64_t)number;
    }
    ret->fails_closed = failure == NULL || text_eq(failure, "Fail");
    return 0;
}

int admission_binding_decode(struct str body, struct admission_binding *ret, struct err *err)
{
    *ret = (struct admission_binding){.denies = false};
    json_t *cleanup_json tree = json_load(body, true, "ValidatingAdmissionPolicyBinding", err);
    if (tree == NULL) {
        return -1;
    }
    const json_t *spec = json_object_get(tree, "spec");
    const json_t *actions = json_object_get(spec, "validationActions");
    for (size_t i = 0; i < json_array_size(actions); i++) {
        ret->denies = ret->denies || text_eq(json_string_value(json_array_get(actions, i)), "Deny");
    }
    ret->narrowed = json_object_get(spec, "matchResources") != NULL ||
                    json_object_get(spec, "paramRef") != NULL;
    (void)copy_member(ret->policy, sizeof(ret->policy), spec, "policyName");
    return 0;
}

int lease_decode(struct str body, struct leader_record *ret, struct err *err)
{
    *ret = (struct leader_record){.duration_ms = 0};
    json_t *cleanup_json tree = json_load(body, true, "Lease", err);
    if (tree == NULL) {
        return -1;
    }
    const json_t *spec = json_object_get(tree, "spec");
    if (!copy_member(ret->resource_version, sizeof(ret->resource_version),
                     json_object_get(tree, "metadata"), "resourceVersion") ||
        ret->resource_version[0] == '\0') {
        return err_set(err, ERR_INVALID, "Lease: no usable metadata.resourceVersion");
    }
    if (!copy_member(ret->holder, sizeof(ret->holder), spec, "holderIdentity") ||
        !copy_member(ret->renew_time, sizeof(ret->renew_time), spec, "renewTime") ||
        !copy_member(ret->acquire_time, sizeof(ret->acquire_time), spec, "acquireTime")) {
        return err_set(
            err, ERR_INVALID,
            "Lease: holderIdentity, renewTime or acquireTime is too long: delete this Lease, "
            "it is not one of ours");
    }
    int64_t seconds = json_number(spec, "leaseDurationSeconds", 0);
    seconds = seconds < 0 ? 0 : seconds > LEASE_DURATION_MAX_S ? LEASE_DURATION_MAX_S : seconds;
    ret->duration_ms = seconds * 1000;
    ret->transitions = json_number(spec, "leaseTransitions", 0);
    return 0;
}
