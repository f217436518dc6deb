/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/fence.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/limits.h"
#include "codec/kube_codec.h"

/* Whether a POST to /secrets would have gone through is asked with this name; a dry run makes
 * nothing. */
#define PROBE_NAME "keyturn-fence-probe"
#define RETRY_MS 5000
#define BEING_PROVEN "the fence is being proven"

static const struct fence_class {
    const char *what;
    const char *parts[4]; /* behind the name; the probe is the first one's */
    size_t parts_count;
    bool probes;
    const char *so, *install; /* where it is not there */
} classes[] = {
    [FENCE_OPERATOR] = {.what = "the fence",
                        .parts = {"-secrets", "-configmaps", "-workloads", "-keyrotations"},
                        .parts_count = 4,
                        .probes = true,
                        .so = "Keyturn touches no Secret",
                        .install = "install the chart with fence.enabled=true, or run with "
                                   "--without-fence"},
    [FENCE_COMMANDS] = {.what = "the fence for commands",
                        .parts = {""},
                        .parts_count = 1,
                        .so = "nobody vouches for keyturn.dev/operation-by and no command is taken",
                        .install = "install the chart with operations.enabled=true, or run with "
                                   "--without-operations-policy"},
};

struct fence {
    struct kube *kube;
    struct loop *loop;
    struct fence_options options;
    const struct fence_class *class;
    char *namespace, *prefix;
    struct loop_timer timer; /* of the next round */
    struct kube_call *call;
    size_t step;               /* one request: policy and binding of each part, then the probe */
    char name[LIMIT_NAME + 1]; /* of the policy this step is about, and of its binding */
    struct err err;            /* of the last round */
    uint64_t round, ended;     /* begun and ended so far */
    uint64_t wanted;           /* the last that was asked for; 0 none */
    bool proven;
};

static void step_send(struct fence *f);

static void round_end(struct fence *f, const struct err *err)
{
    bool good = err->class == ERR_NONE;
    bool proven = good || (f->proven && err_is_transient(err->class));
    bool news =
        f->ended == 0 || f->wanted != 0 || proven != f->proven || !text_eq(err->msg, f->err.msg);
    f->err = *err;
    f->proven = proven;
    f->ended = f->round;
    if (f->wanted <= f->round)
        f->wanted = 0;
    loop_timer_in(f->loop, &f->timer, f->wanted != 0 ? 0 : good ? f->options.again_ms : RETRY_MS);
    if (news)
        f->options.changed(f->options.ctx, proven, &f->err);
}

/* --- what is there --------------------------------------------------------------------------- */

static void judge_get(const struct fence *f, const char *kind, const struct err *answer,
                      struct err *ret)
{
    if (answer->class == ERR_NOT_FOUND) {
        err_set(ret, ERR_FORBIDDEN, "%s stands open: there is no %s %s, so %s; %s", f->class->what,
                kind, f->name, f->class->so, f->class->install);
    } else if (answer->class == ERR_FORBIDDEN) {
        err_set(ret, ERR_FORBIDDEN,
                "%s cannot be proven: the ServiceAccount may not get %s %s; restore the chart's "
                "ClusterRole for the fence, or upgrade the chart",
                f->class->what, kind, f->name);
    } else {
        *ret = *answer;
        err_wrap(ret, "%s (%s) is not proven", f->class->what, f->name);
    }
}

static void judge_policy(const struct fence *f, struct str body, struct err *ret)
{
    struct admission_policy policy;
    if (admission_policy_decode(body, &policy, ret) != 0)
        return;
    if (policy.rules < FENCE_RULES)
        err_set(ret, ERR_FORBIDDEN,
                "%s is older than Keyturn: policy %s has rules %lld, this version needs %d; "
                "upgrade the chart",
                f->class->what, f->name, (long long)policy.rules, FENCE_RULES);
    else if (!policy.fails_closed)
        err_set(ret, ERR_FORBIDDEN,
                "%s stands open: policy %s has another failurePolicy than Fail; restore the "
                "chart's",
                f->class->what, f->name);
}

static void judge_binding(const struct fence *f, struct str body, struct err *ret)
{
    struct admission_binding binding;
    if (admission_binding_decode(body, &binding, ret) != 0)
        return;
    const char *wrong = !text_eq(binding.policy, f->name) ? "binds another policy"
                        : !binding.denies                 ? "does not deny"
                        : binding.narrowed ? "has matchResources or a paramRef, so it may not hold "
                                             "everywhere"
                                           : NULL;
    if (wrong != NULL)
        err_set(ret, ERR_FORBIDDEN,
                "%s stands open: ValidatingAdmissionPolicyBinding %s %s; restore the chart's",
                f->class->what, f->name, wrong);
}

static void on_got(void *ctx, const struct kube_answer *answer)
{
    struct fence *f = ctx;
    struct err err = {0};
    bool binding = f->step % 2 != 0;
    f->call = NULL;
    if (answer->err.class != ERR_NONE)
        judge_get(f, binding ? "ValidatingAdmissionPolicyBinding" : "ValidatingAdmissionPolicy",
                  &answer->err, &err);
    else if (binding)
        judge_binding(f, answer->body, &err);
    else
        judge_policy(f, answer->body, &err);
    if (err.class != ERR_NONE) {
        round_end(f, &err);
        return;
    }
    f->step++;
    if (f->step < 2 * f->class->parts_count || f->class->probes)
        step_send(f);
    else
        round_end(f, &err);
}

/* --- what is in force ------------------------------------------------------------------------ */

/* The policy that the API server's sentence names, cut out of it into name; false when none is. */
static bool refusing_policy(const struct err *answer, char name[LIMIT_NAME + 1])
{
    static const char before[] = "ValidatingAdmissionPolicy '";
    const char *start = strstr(answer->msg, before);
    if (start == NULL || answer->http_status < 400 || answer->http_status >= 500)
        return false;
    start += strlen(before);
    size_t len = strcspn(start, "'");
    return text_starts_with(start + len, "' with binding") &&
           text_format(name, LIMIT_NAME + 1, "%.*s", (int)len, start);
}

static void judge_probe(const struct fence *f, const struct err *answer, struct err *ret)
{
    char name[LIMIT_NAME + 1];
    bool named = refusing_policy(answer, name);
    /* Our policies refuse with 422. */
    if (named && answer->http_status == 422 && text_eq(name, f->name))
        return;
    if (answer->class == ERR_NONE) {
        err_set(ret, ERR_FORBIDDEN,
                "the fence stands open: policy %s let a foreign Secret pass, so Keyturn touches no "
                "Secret; %s",
                f->name, f->class->install);
    } else if (named && !text_eq(name, f->name)) {
        err_set(ret, ERR_TRANSIENT,
                "policy %s refused the Secret that proves the fence before %s was heard; exempt "
                "Secrets named " PROBE_NAME " from it",
                name, f->name);
    } else if (answer->class == ERR_FORBIDDEN) {
        err_set(ret, ERR_FORBIDDEN,
                "the fence cannot be proven: the ServiceAccount may not create Secrets in its own "
                "namespace, so policy %s was not asked; restore the chart's Role",
                f->name);
    } else {
        *ret = *answer;
        err_wrap(ret, "the fence (policy %s) is not proven", f->name);
    }
}

static void on_probed(void *ctx, const struct kube_answer *answer)
{
    struct fence *f = ctx;
    struct err err = {0};
    f->call = NULL;
    judge_probe(f, &answer->err, &err);
    round_end(f, &err);
}

/* --- a round --------------------------------------------------------------------------------- */

static struct kube_call *send_get(struct fence *f)
{
    struct buf cleanup_buf path = {0};
    kube_path(&path, "/apis/admissionregistration.k8s.io/v1", NULL,
              f->step % 2 != 0 ? "validatingadmissionpolicybindings"
                               : "validatingadmissionpolicies",
              f->name);
    struct kube_request request = {.method = "GET", .path = buf_text(&path)};
    return path.failed ? NULL : kube_submit(f->kube, &request, on_got, f);
}

static struct kube_call *send_probe(struct fence *f)
{
    static const char body[] = "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\","
                               "\"metadata\":{\"name\":\"" PROBE_NAME "\"}}";
    struct buf cleanup_buf path = {0};
    kube_path(&path, "/api/v1", f->namespace, "secrets", NULL);
    buf_append_text(&path, "?dryRun=All");
    struct kube_request request = {
        .method = "POST", .path = buf_text(&path), .metadata_only = true, .body = str_from(body)};
    return path.failed ? NULL : kube_submit(f->kube, &request, on_probed, f);
}

static void step_send(struct fence *f)
{
    bool probe = f->step == 2 * f->class->parts_count;
    (void)text_format(f->name, sizeof(f->name), "%s%s", f->prefix,
                      f->class->parts[probe ? 0 : f->step / 2]);
    f->call = probe ? send_probe(f) : send_get(f);
    if (f->call == NULL) {
        struct err err = {0};
        err_set(&err, ERR_NO_MEMORY, "no memory to prove %s", f->class->what);
        round_end(f, &err);
    }
}

static void round_begin(void *ctx)
{
    struct fence *f = ctx;
    f->step = 0;
    f->round++;
    step_send(f);
}

struct fence *fence_new(struct kube *kube, struct loop *loop, const struct fence_options *options,
                        struct err *err)
{
    struct fence *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        err_set(err, ERR_NO_MEMORY, "no memory for the fence");
        return NULL;
    }
    f->kube = kube;
    f->loop = loop;
    f->options = *options;
    f->class = &classes[options->kind];
    f->namespace = strdup(options->namespace != NULL ? options->namespace : "");
    f->prefix = strdup(options->name);
    f->timer = (struct loop_timer){.fire = round_begin, .ctx = f};
    if (f->namespace == NULL || f->prefix == NULL) {
        fence_free(f);
        err_set(err, ERR_NO_MEMORY, "no memory for the fence");
        return NULL;
    }
    loop_timer_in(loop, &f->timer, 0);
    return f;
}

void fence_free(struct fence *f)
{
    if (f == NULL)
        return;
    loop_timer_cancel(f->loop, &f->timer);
    kube_cancel(f->call);
    free(f->namespace);
    free(f->prefix);
    free(f);
}

bool fence_proven(const struct fence *f, const char **why)
{
    if (why != NULL)
        *why = f->proven ? NULL : f->ended != 0 ? f->err.msg : BEING_PROVEN;
    return f->proven;
}

uint64_t fence_ask(struct fence *f)
{
    f->wanted = f->round + 1;
    if (f->call == NULL)
        loop_timer_in(f->loop, &f->timer, 0);
    return f->wanted;
}

enum fence_state fence_said(const struct fence *f, uint64_t round, const char **why)
{
    bool heard = f->ended != 0 && f->ended >= round;
    *why = heard && f->err.class == ERR_NONE ? NULL : heard ? f->err.msg : BEING_PROVEN;
    if (heard && f->err.class == ERR_NONE)
        return FENCE_PROVEN;
    /* What is judged here is ERR_FORBIDDEN; all else was never heard. */
    return heard && f->err.class == ERR_FORBIDDEN ? FENCE_OPEN : FENCE_UNKNOWN;
}

bool fence_refused(const struct fence *f, const struct err *answer)
{
    char ours[LIMIT_NAME + 1];
    char name[LIMIT_NAME + 1];
    return text_format(ours, sizeof(ours), "%s%s", f->prefix, f->class->parts[0]) &&
           refusing_policy(answer, name) && text_eq(name, ours);
}
