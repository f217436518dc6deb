/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: frames_feed, watch_frame_decode and every object of kube_codec. The bytes are a watch
 * stream, cut into pieces whose length is the first byte; then the same bytes as a Lease and as an
 * error answer. */
#include <stdint.h>
#include <stdlib.h>
#include "codec/frames.h"
#include "codec/json.h"
#include "codec/kube_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_objects(const json_t *object)
{
    struct err err;
    struct pod_object *pod = pod_new(object, &err);
    struct config_map_object *map = config_map_new(object, &err);
    for (enum workload_kind kind = 0; kind < WORKLOAD_KIND_COUNT; kind++) {
        struct workload_object *workload = workload_new(object, kind, &err);
        if (workload != NULL && pod != NULL) {
            struct buf cleanup_buf patch = {0};
            (void)selector_matches(workload, pod);
            restart_patch_encode(&workload->meta, pod->hash, &patch);
        }
        workload_free(workload);
    }
    pod_free(pod);
    config_map_free(map);
}

static int on_frame(void *ctx, struct str frame, struct err *err)
{
    (void)ctx;
    struct watch_frame event;
    json_t *cleanup_json tree = NULL;
    if (watch_frame_decode(frame, &tree, &event, err) == 0) {
        try_objects(event.object);
    }
    return 0; /* what cannot be read is reported, the stream goes on */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frames frames = {0};
    struct leader_record lease;
    struct err err = {0};
    struct str all = {(const char *)data, size};
    size_t step = size > 0 && data[0] != '{' ? 1 + data[0] % 64U : size + 1;

    for (size_t at = 0; at < size; at += step) {
        struct str piece = {all.data + at, size - at < step ? size - at : step};
        if (frames_feed(&frames, piece, on_frame, NULL, &err) != 0) {
            break;
        }
    }
    frames_release(&frames);
    if (lease_decode(all, &lease, &err) == 0) {
        struct buf cleanup_buf out = {0};
        struct leader_record again;
        lease_encode("ns", "name", &lease, &out);
        if (lease_decode(buf_view(&out), &again, &err) != 0) {
            abort();
        }
    }
    kube_error_decode(all, 500, &err);
    return 0;
}
