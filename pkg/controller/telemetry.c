/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/telemetry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/map.h"
#include "io/file.h"
#include "obs/log.h"

struct controller_telemetry {
    struct metrics *registry;
    struct map hosts; /* of sources, with requests counted; values mean nothing */
    struct metrics_family *passes, *pass_seconds, *requests, *request_seconds;
    struct metrics_family *leading, *queue, *lag, *rss, *rotations, *sources;
    struct metrics_family *poll_age, *keys, *not_after, *consumers, *ready;
};

static const char *const no_labels[] = {NULL};
static const char *const result_labels[] = {"result", NULL};
static const char *const request_labels[] = {"host", "lane", "code", NULL};
static const char *const host_labels[] = {"host", "lane", NULL};
static const char *const poll_labels[] = {"namespace", "rotation", "source", NULL};
static const char *const state_labels[] = {"namespace", "rotation", "state", NULL};
static const char *const key_labels[] = {"namespace", "rotation", "kid",
                                         "algorithm", "state",    NULL};
static const char *const rotation_labels[] = {"namespace", "rotation", NULL};

struct controller_telemetry *controller_telemetry_new(void)
{
    struct controller_telemetry *t = calloc(1, sizeof(*t));
    struct metrics *m = metrics_new();
    if (t == NULL || m == NULL) {
        metrics_free(m);
        free(t);
        return NULL;
    }
    t->registry = m;
    t->passes = metrics_family(m, METRICS_COUNTER, "keyturn_reconciles_total",
                               "Passes over a KeyRotation.", result_labels);
    t->pass_seconds = metrics_family(m, METRICS_HISTOGRAM, "keyturn_reconcile_seconds",
                                     "Time of one pass.", no_labels);
    t->requests = metrics_family(m, METRICS_COUNTER, "keyturn_http_requests_total",
                                 "Finished requests by host, lane and status; code 0: no answer.",
                                 request_labels);
    t->request_seconds = metrics_family(m, METRICS_HISTOGRAM, "keyturn_http_request_seconds",
                                        "Time from sending to the end of the answer.", host_labels);
    t->leading = metrics_family(m, METRICS_GAUGE, "keyturn_leader",
                                "1 while this replica holds the Lease.", no_labels);
    t->queue = metrics_family(m, METRICS_GAUGE, "keyturn_workqueue_depth",
                              "KeyRotations waiting for a pass.", no_labels);
    t->lag = metrics_family(m, METRICS_GAUGE, "keyturn_loop_lag_seconds",
                            "Largest delay of a timer since the last scrape.", no_labels);
    t->rss = metrics_family(m, METRICS_GAUGE, "keyturn_resident_memory_bytes", "Resident memory.",
                            no_labels);
    t->rotations =
        metrics_family(m, METRICS_GAUGE, "keyturn_rotations", "KeyRotations held.", no_labels);
    t->sources =
        metrics_family(m, METRICS_GAUGE, "keyturn_sources", "Addresses polled.", no_labels);
    t->poll_age = metrics_family(m, METRICS_GAUGE, "keyturn_poll_age_seconds",
                                 "Time since the last finished poll.", poll_labels);
    t->keys =
        metrics_family(m, METRICS_GAUGE, "keyturn_keys", "Trusted keys by state.", state_labels);
    t->not_after = metrics_family(m, METRICS_GAUGE, "keyturn_certificate_not_after_seconds",
                                  "End of a key's certificate, seconds since 1970.", key_labels);
    t->consumers =
        metrics_family(m, METRICS_GAUGE, "keyturn_consumers", "Consumers by state.", state_labels);
    t->ready = metrics_family(m, METRICS_GAUGE, "keyturn_ready",
                              "1 while the KeyRotation is Ready.", rotation_labels);
    return t;
}

void controller_telemetry_free(struct controller_telemetry *t)
{
    if (t == NULL)
        return;
    metrics_free(t->registry);
    map_release(&t->hosts);
    free(t);
}

static const char *lane_name(enum http_lane lane)
{
    switch (lane) {
    case HTTP_LANE_API: return "api";
    case HTTP_LANE_WATCH: return "watch";
    case HTTP_LANE_LEASE: return "lease";
    case HTTP_LANE_EVENT: return "event";
    case HTTP_LANE_KEYCLOAK: return "keycloak";
    case HTTP_LANE_COUNT: break;
    }
    return "";
}

void controller_telemetry_request(void *telemetry, const char *host, enum http_lane lane,
                                  int status, int64_t elapsed_ms)
{
    struct controller_telemetry *t = telemetry;
    char code[16];
    (void)snprintf(code, sizeof(code), "%d", status);
    if (lane == HTTP_LANE_KEYCLOAK && map_get(&t->hosts, host) == NULL)
        (void)map_put(&t->hosts, host, t, NULL);
    metrics_add(t->requests, (const char *[]){host, lane_name(lane), code}, 1);
    log_debug("request", LOG_TEXT("host", host), LOG_TEXT("lane", lane_name(lane)),
              LOG_NUMBER("status", status), LOG_NUMBER("elapsed_ms", elapsed_ms));
    if (lane != HTTP_LANE_WATCH)
        metrics_observe(t->request_seconds, (const char *[]){host, lane_name(lane)},
                        (double)elapsed_ms / 1000);
}

void telemetry_pass(struct controller_telemetry *t, const char *result, double seconds)
{
    metrics_add(t->passes, (const char *[]){result}, 1);
    metrics_observe(t->pass_seconds, NULL, seconds);
}

static double resident_bytes(void)
{
    struct buf cleanup_buf text = {0};
    if (file_read("/proc/self/statm", 256, &text, NULL) != 0)
        return 0;
    const char *resident = strchr(buf_text(&text), ' '); /* the second number, in pages */
    return resident != NULL ? (double)strtoul(resident, NULL, 10) * (double)sysconf(_SC_PAGESIZE)
                            : 0;
}

void telemetry_process(struct controller_telemetry *t, const struct telemetry_process *p)
{
    metrics_set(t->leading, NULL, p->leading ? 1 : 0);
    metrics_set(t->queue, NULL, (double)p->queue_depth);
    metrics_set(t->lag, NULL, (double)p->loop_lag_ms / 1000);
    metrics_set(t->rotations, NULL, (double)p->rotations);
    metrics_set(t->sources, NULL, (double)p->sources);
    metrics_set(t->rss, NULL, resident_bytes());
}

void telemetry_forget_rotations(struct controller_telemetry *t)
{
    metrics_forget(t->poll_age, NULL, 0);
    metrics_forget(t->keys, NULL, 0);
    metrics_forget(t->not_after, NULL, 0);
    metrics_forget(t->consumers, NULL, 0);
    metrics_forget(t->ready, NULL, 0);
}

void telemetry_rotation(struct controller_telemetry *t, const struct rotation_state *s,
                        const struct rotation_object *object, int64_t now_ms)
{
    static const char *const sources[SOURCE_KIND_COUNT] = {"jwks", "discovery", "admin"};
    unsigned keys[KEY_DISABLED + 1] = {0}, consumers[CONSUMER_FAILED + 1] = {0};
    for (size_t k = 0; k < SOURCE_KIND_COUNT; k++)
        if (s->issuer.sources[k] != NULL && source_polls(s->issuer.sources[k]) > 0)
            metrics_set(t->poll_age, (const char *[]){s->namespace, s->name, sources[k]},
                        (double)(now_ms - source_polled_ms(s->issuer.sources[k])) / 1000);
    for (size_t i = 0; i < s->known.count; i++) {
        const struct known_key *k = &s->known.keys[i];
        keys[k->state]++;
        if (k->key->cert != NULL)
            metrics_set(t->not_after,
                        (const char *[]){s->namespace, s->name, k->key->kid, k->key->alg,
                                         key_state_name(k->state)},
                        (double)k->key->not_after_s);
    }
    for (unsigned k = 0; k <= KEY_DISABLED; k++)
        metrics_set(t->keys,
                    (const char *[]){s->namespace, s->name, key_state_name((enum key_state)k)},
                    keys[k]);
    if (object == NULL)
        return;
    for (size_t i = 0; i < object->status.consumers_count; i++)
        consumers[object->status.consumers[i].state]++;
    for (unsigned k = 0; k <= CONSUMER_FAILED; k++)
        metrics_set(
            t->consumers,
            (const char *[]){s->namespace, s->name, consumer_state_name((enum consumer_state)k)},
            consumers[k]);
    metrics_set(t->ready, (const char *[]){s->namespace, s->name},
                object->status.conditions[CONDITION_READY].status == CONDITION_TRUE ? 1 : 0);
}

void telemetry_forget_hosts(struct controller_telemetry *t, const struct sources *all)
{
    struct map asked = {0};
    const char *host;
    bool whole = true;
    size_t it = 0;
    while (whole && (host = sources_next_peer(all, &it)) != NULL)
        whole = map_put(&asked, host, t, NULL) == 0;
    it = 0;
    while (whole && map_next(&t->hosts, &it, &host, NULL)) {
        if (map_get(&asked, host) != NULL)
            continue;
        const char *const labels[] = {host, lane_name(HTTP_LANE_KEYCLOAK)};
        metrics_forget(t->requests, labels, ARRAY_LEN(labels));
        metrics_forget(t->request_seconds, labels, ARRAY_LEN(labels));
        map_remove(&t->hosts, host);
    }
    map_release(&asked);
}

void telemetry_render(const struct controller_telemetry *t, struct buf *out)
{
    metrics_render(t->registry, out);
}
