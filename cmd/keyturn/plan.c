/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include "base/date.h"
#include "base/str.h"
#include "codec/json.h"
#include "premise.h"
#include "timeline.h"

enum { REALM_EXPORT = 1, LIVE, KUBECONFIG, FROM, LOAD, GRAPH, HELP };

static const struct option options[] = {
    {"file", required_argument, NULL, 'f'},
    {"output", required_argument, NULL, 'o'},
    {"realm-export", required_argument, NULL, REALM_EXPORT},
    {"live", no_argument, NULL, LIVE},
    {"kubeconfig", required_argument, NULL, KUBECONFIG},
    {"from", required_argument, NULL, FROM},
    {"load", required_argument, NULL, LOAD},
    {"graph", no_argument, NULL, GRAPH},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "keyturn plan: what the operator would do with a KeyRotation, before it is applied\n"
    "\n"
    "Usage: keyturn plan -f FILE [flags]\n"
    "       keyturn plan --graph\n"
    "\n"
    "Prints each step of the rotation that comes next: when at the earliest, what it waits for, and the\n"
    "line with which a person lets it go on. The operator's own code decides. Keycloak is not asked, the\n"
    "cluster only with --live, and nothing is changed; what is assumed instead is said first.\n"
    "\n"
    "  -f, --file FILE       the KeyRotation, YAML or JSON; - is standard input\n"
    "  --realm-export FILE   a realm that Keycloak exported as JSON: its keys and lifespans are taken\n"
    "                        instead of those of a new realm\n"
    "  --live                go on from where the KeyRotation of that name stands in the cluster: its\n"
    "                        status is read, with the rights of kubectl get\n"
    "  --kubeconfig FILE     with --live: this one instead of $KUBECONFIG or ~/.kube/config\n"
    "  --from TIME           plan from this time on instead of now: 2027-03-28T00:00:00Z\n"
    "  --load DURATION       how long a rollout takes, from a changed trust set to the proof (2m)\n"
    "  -o, --output FORMAT   text, or json: one document with assumptions and steps\n"
    "  --graph               the checks that decide, in their order, as a diagram for Graphviz\n"
    "  --help\n"
    "\n"
    "A file with a status is planned from where it stands too:\n"
    "\n"
    "  keyturn plan -f rotation.yaml\n"
    "  keyturn plan -f rotation.yaml --live\n"
    "  kubectl get keyrotation prod -n auth -o yaml | keyturn plan -f -\n"
    "  keyturn plan -f rotation.yaml --realm-export prod-realm.json --from 2027-03-28T00:00:00Z\n"
    "  keyturn plan -f rotation.yaml -o json | jq '.steps[] | select(.command)'\n"
    "  keyturn plan --graph | dot -Tsvg > checks.svg\n"
    "\n"
    "Exit status: 0 the plan is printed, 1 it gets stuck (the last line says where), 2 a mistake in the\n"
    "command line or in a file. keyturn simulate plays the same step by step.\n";

/* ---- the table of checks ---- */

static int print_graph(void)
{
    printf("// keyturn plan --graph | dot -Tsvg > checks.svg\n"
           "digraph keyturn {\n"
           "  node [shape=box, fontname=\"sans-serif\"];\n"
           "  edge [fontname=\"sans-serif\", fontsize=10];\n"
           "  view [shape=ellipse, label=\"what is seen of realm, consumers, status and clock\"];\n"
           "  end [shape=ellipse, label=\"this pass is over: one change at most\"];\n");
    const char *before = "view";
    for (size_t i = 0; engine_check_name(i) != NULL; i++) {
        const char *name = engine_check_name(i);
        printf("  %s [label=\"%s\\n%s\"];\n", name, name, engine_check_means(i));
        printf("  %s -> %s%s;\n", before, name,
               i > 0 ? " [label=\"does not apply, or only waits\"]" : "");
        printf("  %s -> end [label=\"acts, or stops\", style=dashed, constraint=false];\n", name);
        before = name;
    }
    printf("  %s -> end;\n}\n", before);
    return 0;
}

/* ---- as text ---- */

static void on_step_text(void *ctx, const struct timeline_step *step)
{
    timeline_print(ctx, step);
}

static void print_premise(const struct premise *p, const struct timeline *t)
{
    struct buf cleanup_buf from = {0};
    timeline_date(&p->zone, t->r.now_s, &from);
    printf("KeyRotation %s/%s, realm %s, planned from %s\n\nAssumed:\n", p->object->meta.namespace,
           p->object->meta.name, p->object->spec.realm, buf_text(&from));
    for (size_t i = 0; i < p->assumptions_count; i++)
        printf("- %s\n", p->assumptions[i]);
    printf("\n");
}

static void print_after(struct timeline *t, bool complete)
{
    struct buf cleanup_buf next = {0};
    int64_t next_s = timeline_next_rotation_s(t);
    timeline_print_end(t);
    if (!complete) {
        printf("\nIt is stuck: %s\n", t->r.plan.message);
        return;
    }
    if (next_s == 0) {
        printf("\nNo rotation begins by itself after this: spec.schedule.every is not there.\n");
        return;
    }
    timeline_date(t->zone, next_s, &next);
    printf("\nThe schedule begins the next rotation at %s.\n", buf_text(&next));
}

static int plan_text(struct premise *p, struct timeline *t)
{
    t->on_step = on_step_text;
    t->ctx = t;
    print_premise(p, t);
    timeline_print_head();
    bool complete = timeline_play(t);
    print_after(t, complete);
    return complete ? 0 : 1;
}

/* ---- as JSON ---- */

static void append_time(struct buf *out, int64_t at_s)
{
    char text[DATE_TEXT_MAX];
    date_rfc3339(at_s, text);
    buf_append_json(out, at_s == 0 || at_s == INT64_MAX ? NULL : text);
}

static void append_change(struct buf *out, const struct timeline_step *step)
{
    if (step->change == NULL) {
        buf_append_text(out, "null");
        return;
    }
    buf_append_text(out, "{\"kind\":");
    buf_append_json(out, change_kind_name(step->change->kind));
    buf_append_text(out, ",\"key\":");
    buf_append_json(out, step->key);
    buf_append_char(out, '}');
}

struct json_steps {
    struct buf text;
    size_t count;
};

static void on_step_json(void *ctx, const struct timeline_step *step)
{
    struct json_steps *steps = ctx;
    struct buf *out = &steps->text;
    buf_append_text(out, steps->count++ > 0 ? ",\n  {\"at\":" : "\n  {\"at\":");
    append_time(out, step->at_s);
    buf_appendf(out, ",\"afterSeconds\":%" PRId64 ",\"phase\":", step->after_s);
    buf_append_json(out, step->phase);
    buf_append_text(out, ",\"step\":");
    buf_append_json(out, step->check);
    buf_append_text(out, ",\"message\":");
    buf_append_json(out, step->message);
    buf_append_text(out, ",\"change\":");
    append_change(out, step);
    buf_append_text(out, ",\"waitsFor\":");
    buf_append_json(out, step->waits_for);
    buf_append_text(out, ",\"next\":");
    buf_append_json(out, step->next_step);
    buf_append_text(out, ",\"nextAt\":");
    append_time(out, step->next_step != NULL ? step->next_at_s : 0);
    buf_append_text(out, ",\"command\":");
    buf_append_json(out, step->command);
    buf_append_char(out, '}');
}

static int print_json(const struct premise *p, struct json_steps *steps, int64_t from_s,
                      int64_t next_s, bool complete)
{
    struct buf cleanup_buf out = {0};
    buf_append_text(&out, "{\"namespace\":");
    buf_append_json(&out, p->object->meta.namespace);
    buf_append_text(&out, ",\"name\":");
    buf_append_json(&out, p->object->meta.name);
    buf_append_text(&out, ",\"from\":");
    append_time(&out, from_s);
    buf_append_text(&out, ",\n \"assumptions\":[");
    for (size_t i = 0; i < p->assumptions_count; i++) {
        buf_append_text(&out, i > 0 ? ",\n  " : "\n  ");
        buf_append_json(&out, p->assumptions[i]);
    }
    buf_append_text(&out, "],\n \"steps\":[");
    buf_append_str(&out, buf_view(&steps->text));
    buf_appendf(&out, "],\n \"complete\":%s,\"nextRotationAt\":", complete ? "true" : "false");
    append_time(&out, next_s);
    buf_append_text(&out, "}\n");
    if (out.failed || steps->text.failed) {
        (void)fprintf(stderr, "keyturn plan: out of memory\n");
        return 2;
    }
    (void)fwrite(out.data, 1, out.len, stdout);
    return complete ? 0 : 1;
}

static int plan_json(struct premise *p, struct timeline *t)
{
    struct json_steps steps = {0};
    t->on_step = on_step_json;
    t->ctx = &steps;
    bool complete = timeline_play(t);
    int status =
        print_json(p, &steps, t->start_s, complete ? timeline_next_rotation_s(t) : 0, complete);
    buf_release(&steps.text);
    return status;
}

/* ---- the command ---- */

struct wish {
    struct premise_options premise;
    bool json, graph;
};

static int make_plan(const struct wish *wish)
{
    static struct premise p; /* too large for the stack of a small container */
    struct err err = {0};
    int status = 2;
    if (premise_read(&wish->premise, &p, &err) != 0) {
        (void)fprintf(stderr, "keyturn plan: %s\n", err.msg);
    } else if (p.object->spec.key.managed) {
        struct timeline t = {.r = p.start,
                             .asks = "one person",
                             .approves = "whoever approves",
                             .commands = true,
                             .zone = &p.zone};
        status = wish->json ? plan_json(&p, &t) : plan_text(&p, &t);
    } else if (wish->json) {
        struct json_steps none = {0};
        status = print_json(&p, &none, wish->premise.from_s, 0, true);
    } else {
        printf("KeyRotation %s/%s: %s\n", p.object->meta.namespace, p.object->meta.name,
               p.assumptions[0]);
        status = 0;
    }
    premise_release(&p);
    return status;
}

/* -1 to go on, else the status to exit with. */
static int hear(int got, const char *value, struct wish *wish)
{
    static const char command[] = "keyturn plan";
    switch (got) {
    case 'f': wish->premise.file = value; return -1;
    case REALM_EXPORT: wish->premise.realm_export = value; return -1;
    case LIVE: wish->premise.live = true; return -1;
    case KUBECONFIG: wish->premise.kubeconfig = value; return -1;
    case FROM:
        wish->premise.from_s = premise_time(command, "from", value);
        return wish->premise.from_s < 0 ? 2 : -1;
    case LOAD:
        wish->premise.load_s = premise_duration(command, "load", value);
        return wish->premise.load_s < 0 ? 2 : -1;
    case 'o':
        wish->json = text_eq(value, "json");
        if (wish->json || text_eq(value, "text"))
            return -1;
        (void)fprintf(stderr, "keyturn plan: --output %s: write text or json\n", value);
        return 2;
    case GRAPH: wish->graph = true; return -1;
    case HELP: (void)fputs(help, stdout); return 0;
    default: (void)fprintf(stderr, "keyturn: see keyturn plan --help\n"); return 2;
    }
}

int plan(int argc, char **argv)
{
    struct wish wish = {.premise = {.load_s = -1}};
    int got;
    wish.premise.from_s = time(NULL);
    while ((got = getopt_long(argc, argv, "f:o:", options, NULL)) != -1) {
        int status = hear(got, optarg, &wish);
        if (status >= 0)
            return status;
    }
    bool alone = wish.graph && argc == 2;
    if (optind < argc || (wish.graph ? !alone : wish.premise.file == NULL)) {
        (void)fprintf(stderr,
                      "keyturn plan: write -f and a file with a KeyRotation (or - for standard "
                      "input), or --graph alone (keyturn plan --help)\n");
        return 2;
    }
    if (wish.premise.kubeconfig != NULL && !wish.premise.live) {
        (void)fprintf(stderr, "keyturn plan: --kubeconfig is of use with --live only\n");
        return 2;
    }
    json_setup(0);
    return alone ? print_graph() : make_plan(&wish);
}
