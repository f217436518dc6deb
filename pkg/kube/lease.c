/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/lease.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/date.h"
#include "base/jitter.h"
#include "codec/kube_codec.h"
#include "leader/leader.h"

#define TIMEOUT_MS 5000
/* A released Lease lies there for both together. With the time that a leader takes to end its work
 * before, and on a busy machine, that stays below the 2 s promised after a SIGTERM. */
#define LOOK_MS 800
#define LOOK_JITTER_MS 200
#define RELEASE_MS 2000

struct lease {
    struct kube *kube;
    struct loop *loop;
    struct lease_options options;
    char *namespace, *name;
    struct leader leader;
    struct loop_timer timer;    /* the next request */
    struct loop_timer deadline; /* of leading; after lease_release: of that */
    struct kube_call *call;
    int64_t sent_ms; /* of the call */
    int64_t
        look_ms; /* not before: the next READ after one that failed; at the latest: as follower */
    bool look_failed;
    bool announced; /* what changed() said last */
    bool releasing;
    uint32_t random;
    void (*released)(void *ctx);
    void *released_ctx;
};

static void act(struct lease *lease);
static void release_now(struct lease *lease);

static int64_t retry_ms(struct lease *lease)
{
    return LOOK_MS + (int64_t)(jitter_next(&lease->random) % (LOOK_JITTER_MS + 1));
}

/* Tells a change of leadership, and wakes when the deadline will have passed. */
static void announce(struct lease *lease)
{
    if (lease->releasing)
        return;
    int64_t now_ms = loop_clock_ms();
    bool leading = leader_may_write(&lease->leader, now_ms, 0);
    if (leading)
        loop_timer_at(lease->loop, &lease->deadline, lease->leader.renewed_ms + LEADER_RENEW_MS);
    else
        loop_timer_cancel(lease->loop, &lease->deadline);
    if (leading == lease->announced)
        return;
    lease->announced = leading;
    lease->options.changed(lease->options.ctx, leading);
}

static void release_done(struct lease *lease)
{
    loop_timer_cancel(lease->loop, &lease->deadline);
    kube_cancel(lease->call);
    lease->call = NULL;
    void (*done)(void *ctx) = lease->released;
    lease->released = NULL;
    if (done != NULL)
        done(lease->released_ctx);
}

static void on_deadline(void *ctx)
{
    struct lease *lease = ctx;
    if (lease->releasing)
        release_done(lease);
    else
        announce(lease);
}

/* The answer is in and the automaton knows it. */
static void after_answer(struct lease *lease)
{
    if (lease->releasing) {
        release_now(lease);
        return;
    }
    /* The owner may release from inside changed(). */
    announce(lease);
    if (!lease->releasing)
        act(lease);
}

static void on_read(void *ctx, const struct kube_answer *answer)
{
    struct lease *lease = ctx;
    lease->call = NULL;
    int64_t now_ms = loop_clock_ms();
    struct leader_record record;
    lease->look_failed = false;
    if (answer->err.class == ERR_NOT_FOUND)
        leader_saw(&lease->leader, NULL, now_ms);
    else if (answer->err.class == ERR_NONE && lease_decode(answer->body, &record, NULL) == 0)
        leader_saw(&lease->leader, &record, now_ms);
    else
        lease->look_failed = true;
    lease->look_ms = now_ms + retry_ms(lease);
    after_answer(lease);
}

static void on_written(void *ctx, const struct kube_answer *answer)
{
    struct lease *lease = ctx;
    lease->call = NULL;
    int64_t now_ms = loop_clock_ms();
    struct leader_record stored;
    bool good = answer->err.class == ERR_NONE && lease_decode(answer->body, &stored, NULL) == 0;
    leader_wrote(&lease->leader, good ? &stored : NULL, lease->sent_ms, now_ms);
    after_answer(lease);
}

static void on_released(void *ctx, const struct kube_answer *answer)
{
    struct lease *lease = ctx;
    (void)answer; /* whatever it says, nobody waits longer than the Lease's own time */
    lease->call = NULL;
    release_done(lease);
}

static void path_of(const struct lease *lease, bool with_name, struct buf *out)
{
    kube_path(out, "/apis/coordination.k8s.io/v1", lease->namespace, "leases",
              with_name ? lease->name : NULL);
}

static struct kube_call *send_read(struct lease *lease)
{
    struct buf cleanup_buf path = {0};
    path_of(lease, true, &path);
    struct kube_request request = {
        .method = "GET",
        .path = buf_text(&path),
        .lane = HTTP_LANE_LEASE,
        .timeout_ms = TIMEOUT_MS,
    };
    return path.failed ? NULL : kube_submit(lease->kube, &request, on_read, lease);
}

static struct kube_call *send_write(struct lease *lease, struct leader_record *record, bool create,
                                    kube_done_fn *done)
{
    struct buf cleanup_buf path = {0};
    struct buf cleanup_buf body = {0};
    char now[DATE_TEXT_MAX];
    date_micro(loop_wall_us(), now);
    if (record->renew_time[0] == '\0')
        (void)text_format(record->renew_time, sizeof(record->renew_time), "%s", now);
    if (record->acquire_time[0] == '\0')
        (void)text_format(record->acquire_time, sizeof(record->acquire_time), "%s", now);
    lease_encode(lease->namespace, lease->name, record, &body);
    path_of(lease, !create, &path);
    struct kube_request request = {
        .method = create ? "POST" : "PUT",
        .path = buf_text(&path),
        .body = buf_view(&body),
        .lane = HTTP_LANE_LEASE,
        .timeout_ms = TIMEOUT_MS,
    };
    lease->sent_ms = loop_clock_ms();
    return path.failed || body.failed ? NULL : kube_submit(lease->kube, &request, done, lease);
}

/* One request at a time; each answer and each timer leads here. */
static void act(struct lease *lease)
{
    int64_t now_ms = loop_clock_ms();
    struct leader_step step;
    leader_next(&lease->leader, now_ms, &step);
    int64_t wait_until_ms = step.next_ms;
    bool following = !leader_may_write(&lease->leader, now_ms, 0);
    if (step.action == LEADER_READ && lease->look_failed && now_ms < lease->look_ms) {
        step.action = LEADER_WAIT;
        wait_until_ms = lease->look_ms;
    } else if (step.action == LEADER_WAIT && following) {
        /* A follower looks a little more often than it must. */
        if (now_ms >= lease->look_ms)
            step.action = LEADER_READ;
        else if (lease->look_ms < wait_until_ms)
            wait_until_ms = lease->look_ms;
    }
    switch (step.action) {
    case LEADER_WAIT: loop_timer_at(lease->loop, &lease->timer, wait_until_ms); return;
    case LEADER_READ: lease->call = send_read(lease); break;
    case LEADER_CREATE:
    case LEADER_WRITE:
        lease->call = send_write(lease, &step.write, step.action == LEADER_CREATE, on_written);
        break;
    }
    if (lease->call == NULL) /* out of memory */
        loop_timer_in(lease->loop, &lease->timer, retry_ms(lease));
}

static void on_timer(void *ctx)
{
    act(ctx);
}

struct lease *lease_new(struct kube *kube, struct loop *loop, const struct lease_options *options,
                        struct err *err)
{
    struct lease *lease = calloc(1, sizeof(*lease));
    if (lease != NULL) {
        lease->namespace = strdup(options->namespace);
        lease->name = strdup(options->name);
    }
    if (lease == NULL || lease->namespace == NULL || lease->name == NULL) {
        if (lease != NULL) {
            free(lease->namespace);
            free(lease->name);
        }
        free(lease);
        err_set(err, ERR_NO_MEMORY, "no memory for the Lease");
        return NULL;
    }
    lease->kube = kube;
    lease->loop = loop;
    lease->options = *options;
    lease->options.namespace = lease->options.name = lease->options.identity = NULL;
    leader_init(&lease->leader, options->identity);
    lease->random = jitter_seed(loop_wall_us(), options->identity, options->name);
    lease->timer = (struct loop_timer){.fire = on_timer, .ctx = lease};
    lease->deadline = (struct loop_timer){.fire = on_deadline, .ctx = lease};
    loop_timer_in(loop, &lease->timer, 0);
    return lease;
}

void lease_free(struct lease *lease)
{
    if (lease == NULL)
        return;
    loop_timer_cancel(lease->loop, &lease->timer);
    loop_timer_cancel(lease->loop, &lease->deadline);
    kube_cancel(lease->call);
    free(lease->namespace);
    free(lease->name);
    free(lease);
}

bool lease_leading(const struct lease *lease)
{
    return lease_may_write(lease, 0);
}

bool lease_may_write(const struct lease *lease, int64_t margin_ms)
{
    return !lease->releasing && leader_may_write(&lease->leader, loop_clock_ms(), margin_ms);
}

static void release_now(struct lease *lease)
{
    struct leader_record record;
    /* Past its deadline the Lease may be another's already: it must not be written then. */
    bool ours = leader_may_write(&lease->leader, loop_clock_ms(), 0);
    if (ours && leader_release(&lease->leader, &record))
        lease->call = send_write(lease, &record, false, on_released);
    if (lease->call == NULL)
        release_done(lease);
}

void lease_release(struct lease *lease, void (*done)(void *ctx), void *ctx)
{
    lease->released = done;
    lease->released_ctx = ctx;
    if (lease->releasing)
        return;
    lease->releasing = true;
    loop_timer_cancel(lease->loop, &lease->timer);
    loop_timer_in(lease->loop, &lease->deadline, RELEASE_MS);
    /* A write under way may make us the holder, or change the version to be written on: its answer
     * comes first. */
    if (lease->call == NULL)
        release_now(lease);
}
