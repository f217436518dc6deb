/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/date.h"
#include "base/str.h"
#include "codec/json.h"
#include "premise.h"
#include "rotation/policy.h"
#include "timeline.h"

#define START_S 1767225600 /* 2026-01-01T00:00:00Z: any day */
#define WAIT_SAID_S 2      /* longer waits are announced */
#define SPEED_MOST 1000000000000ULL

enum {
    PUBLISH = 1,
    RETIRE,
    LOAD,
    STANDBY,
    ADOPT,
    MANUAL,
    ROLLBACK,
    REALM_EXPORT,
    FROM,
    SPEED,
    HELP
};

static const struct option options[] = {
    {"publish", required_argument, NULL, PUBLISH},
    {"retire", required_argument, NULL, RETIRE},
    {"load", required_argument, NULL, LOAD},
    {"standby", no_argument, NULL, STANDBY},
    {"adopt", no_argument, NULL, ADOPT},
    {"manual", no_argument, NULL, MANUAL},
    {"rollback", no_argument, NULL, ROLLBACK},
    {"file", required_argument, NULL, 'f'},
    {"realm-export", required_argument, NULL, REALM_EXPORT},
    {"from", required_argument, NULL, FROM},
    {"speed", required_argument, NULL, SPEED},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "keyturn simulate: a rotation of a realm that does not exist, decided as the operator decides\n"
    "\n"
    "Usage: keyturn simulate [flags]\n"
    "\n"
    "Prints each step as it comes, what it waits for, and what a person has to say to it. The realm has\n"
    "one key that signs. Nothing is read from a cluster or from Keycloak, and nothing is written.\n"
    "\n"
    "  --publish DURATION   least time in the realm's JWKS before a key signs (1h)\n"
    "  --retire DURATION    how long a key stays trusted after it signed last (10h)\n"
    "  --load DURATION      how long consumers take to load a changed trust set (2m)\n"
    "  --standby            a key is kept ready for the next rotation\n"
    "  --adopt              the key that the realm had may be retired like our own\n"
    "  --manual             a person approves the promotion and the retirement\n"
    "  --rollback           an hour after the promotion somebody rolls it back\n"
    "  -f, --file FILE      a KeyRotation says all that, but what the flags above say otherwise\n"
    "  --realm-export FILE  with -f: keys and lifespans of a realm that Keycloak exported as JSON\n"
    "  --from TIME          it begins then (2026-01-01T00:00:00Z)\n"
    "  --speed N            N seconds of it take one second, 1 to 1000000000000; without, no time at all\n"
    "\n"
    "Durations are parts of d h m s: 90s, 5m, 1h30m.\n"
    "\n"
    "  keyturn simulate --adopt --rollback\n"
    "  keyturn simulate -f rotation.yaml --speed 3600      # an hour each second\n"
    "\n"
    "Exit status: 0, 1 where it gets stuck or no key that consumers trust signs at its end, 2 a mistake\n"
    "in the command line or in a file. keyturn plan prints the same with its dates and what it assumes.\n";

/* What the flags say; -1 and false: nothing. */
struct wish {
    struct premise_options premise;
    int64_t publish_s, retire_s, load_s;
    bool standby, adopt, manual, rollback;
    uint64_t speed; /* 0: no time passes */
};

struct play {
    struct timeline t;
    uint64_t speed;
};

static const char command[] = "keyturn simulate";

/* ---- playing ---- */

static void on_step(void *ctx, const struct timeline_step *step)
{
    const struct play *p = ctx;
    timeline_print(&p->t, step);
}

static void on_wait(void *ctx, int64_t seconds)
{
    const struct play *p = ctx;
    uint64_t whole_s = (uint64_t)seconds / p->speed, rest_s = (uint64_t)seconds % p->speed;
    struct timespec left = {.tv_sec = (time_t)whole_s,
                            .tv_nsec = (long)((double)rest_s / (double)p->speed * 1e9)};
    if (whole_s >= WAIT_SAID_S) {
        char words[DATE_TEXT_MAX];
        date_duration_words(seconds, words);
        (void)fprintf(stderr, "  ... %s pass: %" PRIu64 " s at this speed (--speed)\n", words,
                      whole_s);
    }
    (void)fflush(stdout);
    while (nanosleep(&left, &left) != 0) { /* a signal came; the rest is in left */
    }
}

static void start_plain(const struct wish *wish, struct rehearsal *r)
{
    static const struct key_policy policy = {.publish_s = 3600,
                                             .retire_s = 10 * 3600,
                                             .delete_s = 7 * 86400,
                                             .priority_max = POLICY_PRIORITY_MAX};
    rehearsal_init(r, &policy, wish->premise.from_s);
    r->load_s = PREMISE_LOAD_S;
    r->retire_why = "--retire";
}

static void override(const struct wish *wish, struct rehearsal *r)
{
    struct key_policy *policy = &r->policy;
    if (wish->publish_s >= 0)
        policy->publish_s = wish->publish_s;
    if (wish->retire_s >= 0) {
        policy->retire_s = wish->retire_s;
        r->retire_why = "--retire";
    }
    if (wish->load_s >= 0)
        r->load_s = wish->load_s;
    policy->standby = policy->standby || wish->standby;
    policy->adopt = policy->adopt || wish->adopt;
    policy->promote_manual = policy->promote_manual || wish->manual;
    policy->retire_manual = policy->retire_manual || wish->manual;
    r->changed_s = r->now_s - r->load_s;
}

static int play(const struct wish *wish, const struct rehearsal *start, const struct zone *zone)
{
    struct play p = {.t = {.r = *start,
                           .asks = "ann",
                           .approves = "bob",
                           .commands = wish->premise.file != NULL,
                           .rolls_back = wish->rollback,
                           .zone = zone,
                           .on_step = on_step,
                           .on_wait = wish->speed > 0 ? on_wait : NULL},
                     .speed = wish->speed};
    p.t.ctx = &p;
    override(wish, &p.t.r);
    bool complete = timeline_play(&p.t);
    timeline_print_end(&p.t);
    const struct rehearsal_key *signer = rehearsal_signer(&p.t.r);
    return complete && signer != NULL && signer->loaded ? 0 : 1;
}

static int begin(const struct wish *wish)
{
    static struct premise p; /* too large for the stack of a small container */
    struct err err = {0};
    int status = 2;
    if (wish->premise.file == NULL) {
        start_plain(wish, &p.start);
        zone_set_utc(&p.zone);
        return play(wish, &p.start, &p.zone);
    }
    if (premise_read(&wish->premise, &p, &err) != 0) {
        (void)fprintf(stderr, "%s: %s\n", command, err.msg);
    } else if (!p.object->spec.key.managed) {
        printf("%s\n", p.assumptions[0]);
        status = 0;
    } else {
        status = play(wish, &p.start, &p.zone);
    }
    premise_release(&p);
    return status;
}

/* ---- the command line ---- */

static bool hear_speed(const char *value, uint64_t *ret)
{
    if (str_to_u64(str_from(value), ret) && *ret > 0 && *ret <= SPEED_MOST)
        return true;
    (void)fprintf(stderr, "%s: --speed %s: write a number from 1 to %llu (%s --help)\n", command,
                  value, SPEED_MOST, command);
    return false;
}

/* A flag with a value; false: it is wrong, which has been said. */
static bool hear_value(int got, const char *value, struct wish *wish)
{
    switch (got) {
    case PUBLISH: return (wish->publish_s = premise_duration(command, "publish", value)) >= 0;
    case RETIRE: return (wish->retire_s = premise_duration(command, "retire", value)) >= 0;
    case LOAD: return (wish->load_s = premise_duration(command, "load", value)) >= 0;
    case FROM: return (wish->premise.from_s = premise_time(command, "from", value)) >= 0;
    case SPEED: return hear_speed(value, &wish->speed);
    case 'f': wish->premise.file = value; return true;
    case REALM_EXPORT: wish->premise.realm_export = value; return true;
    default: (void)fprintf(stderr, "keyturn: see %s --help\n", command); return false;
    }
}

int simulate(int argc, char **argv)
{
    struct wish wish = {.premise = {.load_s = -1, .from_s = START_S},
                        .publish_s = -1,
                        .retire_s = -1,
                        .load_s = -1};
    int got;
    while ((got = getopt_long(argc, argv, "f:", options, NULL)) != -1) {
        switch (got) {
        case STANDBY: wish.standby = true; break;
        case ADOPT: wish.adopt = true; break;
        case MANUAL: wish.manual = true; break;
        case ROLLBACK: wish.rollback = true; break;
        case HELP: (void)fputs(help, stdout); return 0;
        default:
            if (!hear_value(got, optarg, &wish))
                return 2;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "%s: unknown word %s (%s --help)\n", command, argv[optind], command);
        return 2;
    }
    if (wish.premise.realm_export != NULL && wish.premise.file == NULL) {
        (void)fprintf(stderr, "%s: write -f too: the file says which realm and algorithm\n",
                      command);
        return 2;
    }
    json_setup(0);
    return begin(&wish);
}
