/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/kube_codec.h"

#include <string.h>
#include "base/date.h"
#include "codec/base64.h"

#define NOTE_MAX 1024    /* events.k8s.io/v1: note */
#define INSTANCE_MAX 128 /* reportingInstance */
#define LEASE_LEAST_S 1  /* leaseDurationSeconds must be greater than 0 */

/* One member, with a comma where one is before it. NULL or "": left out. */
static void member(struct buf *out, const char *key, const char *value)
{
    if (value == NULL || *value == '\0') {
        return;
    }
    if (out->len > 0 && out->data[out->len - 1] != '{') {
        buf_append_char(out, ',');
    }
    buf_append_json(out, key);
    buf_append_char(out, ':');
    buf_append_json(out, value);
}

void lease_encode(const char *namespace, const char *name, const struct leader_record *record,
                  struct buf *out)
{
    int64_t seconds = record->duration_ms / 1000;
    buf_append_text(out,
                    "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{");
    member(out, "name", name);
    member(out, "namespace", namespace);
    member(out, "resourceVersion", record->resource_version);
    buf_append_text(out, "},\"spec\":{");
    member(out, "holderIdentity", record->holder);
    member(out, "acquireTime", record->acquire_time);
    member(out, "renewTime", record->renew_time);
    buf_appendf(out, "%s\"leaseDurationSeconds\":%lld,\"leaseTransitions\":%lld}}",
                out->len > 0 && out->data[out->len - 1] != '{' ? "," : "",
                (long long)(seconds < LEASE_LEAST_S ? LEASE_LEAST_S : seconds),
                (long long)record->transitions);
}

void published_encode(const struct published_object *object, struct buf *out)
{
    bool secret = object->kind == KIND_SECRET;
    const char *type = object->secret_type == NULL ? SECRET_TYPE : object->secret_type;

    buf_appendf(out, "{\"apiVersion\":\"v1\",\"kind\":\"%s\"", object_kind_name(object->kind));
    if (secret) {
        member(out, "type", type);
    }
    buf_append_text(out, ",\"metadata\":{");
    member(out, "name", object->name);
    member(out, "namespace", object->namespace);
    member(out, "uid", object->uid);
    member(out, "resourceVersion", object->resource_version);
    buf_append_text(out, ",\"labels\":{");
    member(out, LABEL_MANAGED_BY, "keyturn");
    member(out, LABEL_ROTATION, object->rotation);
    member(out, LABEL_RECORD, object->record ? "true" : NULL);
    buf_append_text(out, "},\"annotations\":{");
    member(out, ANNOTATION_HASH, object->hash);
    member(out, ANNOTATION_CONSUMER, object->consumer);
    member(out, ANNOTATION_ADOPT, object->adopt ? "true" : NULL);
    buf_append_text(out, "}},\"data\":{");
    for (size_t i = 0; object->files != NULL && i < object->files->count; i++) {
        const struct trust_file *file = &object->files->files[i];
        buf_append_text(out, i > 0 ? "," : "");
        buf_append_json(out, file->name);
        buf_append_char(out, ':');
        if (secret) {
            buf_append_char(out, '"');
            base64_encode(file->data, out);
            buf_append_char(out, '"');
        } else {
            buf_append_json_str(out, file->data);
        }
    }
    buf_append_text(out, "}}");
}

void event_encode(const struct event_object *event, struct buf *out)
{
    char time[DATE_TEXT_MAX];
    char note[NOTE_MAX + 1];
    char instance[INSTANCE_MAX + 1];

    date_micro(event->time_us, time);
    err_clean_text(note, sizeof(note), event->note);
    err_clean_text(instance, sizeof(instance), event->instance);
    buf_append_text(out, "{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{");
    member(out, "name", event->name);
    member(out, "namespace", event->namespace);
    buf_append_char(out, '}');
    member(out, "eventTime", time);
    member(out, "reportingController", "keyturn.dev/keyturn");
    member(out, "reportingInstance", instance);
    member(out, "action", event->action);
    member(out, "reason", event->reason);
    buf_append_text(out, ",\"regarding\":{");
    member(out, "apiVersion", "keyturn.dev/v1alpha1");
    member(out, "kind", "KeyRotation");
    member(out, "namespace", event->namespace);
    member(out, "name", event->regarding_name);
    member(out, "uid", event->regarding_uid);
    member(out, "resourceVersion", event->regarding_resource_version);
    buf_append_char(out, '}');
    member(out, "note", note);
    member(out, "type", event->warning ? "Warning" : "Normal");
    buf_append_char(out, '}');
}

void restart_patch_encode(const struct object_meta *meta, const char *hash, struct buf *out)
{
    buf_append_text(out, "{\"metadata\":{");
    member(out, "uid", meta->uid);
    member(out, "resourceVersion", meta->resource_version);
    buf_append_text(out, "},\"spec\":{\"template\":{\"metadata\":{\"annotations\":{");
    member(out, ANNOTATION_HASH, hash);
    buf_append_text(out, "}}}}}");
}
