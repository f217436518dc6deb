/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/date.h"
#include "base/str.h"
#include "rotation/rehearsal.h"

#define START_S 1767225600 /* any day: what is printed is the time since then */
#define PASSES_MAX 50
#define STEPS_MAX 200 /* a rotation has some twenty */
#define ASKS "ann"
#define APPROVES "bob"

enum { PUBLISH = 1, RETIRE, LOAD, STANDBY, ADOPT, MANUAL, ROLLBACK, HELP };

static const struct option options[] = {
    {"publish", required_argument, NULL, PUBLISH},
    {"retire", required_argument, NULL, RETIRE},
    {"load", required_argument, NULL, LOAD},
    {"standby", no_argument, NULL, STANDBY},
    {"adopt", no_argument, NULL, ADOPT},
    {"manual", no_argument, NULL, MANUAL},
    {"rollback", no_argument, NULL, ROLLBACK},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "keyturn simulate: a rotation of a realm that does not exist, decided as the operator decides\n"
    "\n"
    "Usage: keyturn simulate [flags]\n"
    "\n"
    "Prints each step, when it comes, what it waits for, and what a person has to say to it. The realm\n"
    "has one key that signs. Nothing is read from a cluster or from Keycloak, and nothing is written.\n"
    "\n"
    "  --publish DURATION   least time in the realm's JWKS before a key signs (1h)\n"
    "  --retire DURATION    how long a key stays trusted after it signed last (10h)\n"
    "  --load DURATION      how long consumers take to load a changed trust set (2m)\n"
    "  --standby            a key is kept ready for the next rotation\n"
    "  --adopt              the key that the realm had may be retired like our own\n"
    "  --manual             a person approves the promotion and the retirement\n"
    "  --rollback           an hour after the promotion somebody rolls it back\n"
    "\n"
    "Durations are parts of d h m s: 90s, 5m, 1h30m.\n";

struct play {
    struct rehearsal r;
    char said[ENGINE_TEXT_MAX];
    bool rolls_back;
};

static void print_time(const struct play *p)
{
    char text[DATE_TEXT_MAX];
    date_duration_words(p->r.now_s - START_S, text);
    printf("%10s  ", p->r.now_s == START_S ? "0s" : text);
}

static void print_plan(struct play *p)
{
    const struct engine_plan *plan = &p->r.plan;
    if (plan->change.kind != CHANGE_NONE) {
        print_time(p);
        printf("%-18s  %s%s%s\n", "  to Keycloak", change_kind_name(plan->change.kind),
               plan->change.kid != NULL ? " " : "",
               plan->change.kid != NULL ? plan->change.kid : "");
    }
    if (plan->message[0] == '\0' || strcmp(plan->message, p->said) == 0)
        return;
    (void)snprintf(p->said, sizeof(p->said), "%s", plan->message);
    print_time(p);
    printf("%-18s  %s\n", engine_phase_name(plan->phase), plan->message);
}

static void settle(struct play *p)
{
    for (unsigned i = 0; i < PASSES_MAX; i++) {
        bool wrote = rehearsal_pass(&p->r);
        print_plan(p);
        if (!wrote)
            return;
    }
}

static void say(struct play *p, enum operation_kind kind, const char *kid, const char *by)
{
    uint64_t number = p->r.record.number;
    if (kind == OPERATION_ROTATE && (number == 0 || p->r.record.done_s != 0))
        number++;
    p->r.operation = (struct operation){.kind = kind, .number = number, .kid = kid, .by = by};
    print_time(p);
    printf("%-18s  %s says: %s %" PRIu64 "%s%s\n", "  a person", by, operation_kind_name(kind),
           number, kid != NULL ? "/" : "", kid != NULL ? kid : "");
    settle(p);
}

static const char *retired_kid(const struct play *p)
{
    for (size_t i = 0; i < REHEARSAL_KEYS; i++)
        if (p->r.keys[i].present && p->r.keys[i].record.lifecycle == LIFECYCLE_RETIRED)
            return p->r.keys[i].kid;
    return NULL;
}

/* What the rotation waits for a person to say; false when it waits for nobody. */
static bool answer(struct play *p)
{
    enum engine_phase phase = p->r.plan.phase;
    if (phase == ENGINE_AWAITING_PROMOTION)
        say(p, OPERATION_PROMOTE, NULL, APPROVES);
    else if (phase == ENGINE_AWAITING_RETIREMENT)
        say(p, OPERATION_RETIRE, retired_kid(p), APPROVES);
    else
        return false;
    return p->r.taken.refused == NULL;
}

static void advance(struct play *p, int64_t to_s)
{
    p->r.now_s = to_s;
    settle(p);
}

/* Until nothing comes by itself and nobody is waited for. */
static void run_out(struct play *p)
{
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        int64_t due_s = rehearsal_due_s(&p->r);
        if (p->rolls_back && p->r.record.done_s != 0 && p->r.record.confirmed_s != 0) {
            p->rolls_back = false;
            advance(p, p->r.now_s + 3600);
            say(p, OPERATION_ROLLBACK, NULL, ASKS);
        } else if (due_s != INT64_MAX) {
            advance(p, due_s);
        } else if (!answer(p)) {
            return;
        }
    }
}

static int play(struct key_policy *policy, int64_t load_s, bool rolls_back)
{
    struct play p = {.rolls_back = rolls_back};
    rehearsal_init(&p.r, policy, START_S);
    p.r.load_s = load_s;
    p.r.changed_s = START_S - load_s;
    p.r.retire_why = "--retire";
    settle(&p);
    if (policy->standby)
        while (p.r.record.standby_s == 0 && rehearsal_due_s(&p.r) != INT64_MAX)
            advance(&p, rehearsal_due_s(&p.r));
    say(&p, OPERATION_ROTATE, NULL, ASKS);
    run_out(&p);
    const struct rehearsal_key *signer = rehearsal_signer(&p.r);
    print_time(&p);
    printf("%-18s  key %s signs; %" PRIu64 " writes to Keycloak\n", "end",
           signer != NULL ? signer->kid : "(none)", p.r.writes);
    return signer != NULL && signer->loaded ? 0 : 1;
}

static int wrong(const char *flag, const char *value)
{
    (void)fprintf(stderr,
                  "keyturn simulate: --%s %s: write a duration like 90s, 5m or 1h30m, at most 365d "
                  "(keyturn simulate --help)\n",
                  flag, value);
    return 2;
}

int simulate(int argc, char **argv)
{
    struct key_policy policy = {.publish_s = 3600,
                                .retire_s = 10 * 3600,
                                .delete_s = 7 * 86400,
                                .priority_max = INT32_MAX - 1};
    int64_t load_s = 120;
    bool rolls_back = false;
    int got, place = 0;
    while ((got = getopt_long(argc, argv, "", options, &place)) != -1) {
        int64_t seconds = 0;
        bool timed = got == PUBLISH || got == RETIRE || got == LOAD;
        if (timed && (!date_duration_parse(optarg, &seconds) || seconds > 365 * 86400LL))
            return wrong(options[place].name, optarg);
        switch (got) {
        case PUBLISH: policy.publish_s = seconds; break;
        case RETIRE: policy.retire_s = seconds; break;
        case LOAD: load_s = seconds; break;
        case STANDBY: policy.standby = true; break;
        case ADOPT: policy.adopt = true; break;
        case MANUAL: policy.promote_manual = policy.retire_manual = true; break;
        case ROLLBACK: rolls_back = true; break;
        case HELP: (void)fputs(help, stdout); return 0;
        default: (void)fprintf(stderr, "keyturn: see keyturn simulate --help\n"); return 2;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "keyturn simulate: unknown word %s (keyturn simulate --help)\n",
                      argv[optind]);
        return 2;
    }
    return play(&policy, load_s, rolls_back);
}
