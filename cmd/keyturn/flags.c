/* SPDX-License-Identifier: Apache-2.0 */
#include "flags.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/date.h"
#include "base/str.h"
#include "version.h"

/* Said in words where they are refused, and by the chart. */
#define SETTLE_LEAST_S 0
#define SETTLE_MOST_S 3600
#define RESYNC_LEAST_S 5
#define RESYNC_MOST_S 86400
#define NAMESPACE_MAX 63 /* a DNS label */

enum flag {
    FLAG_HELP = 1,
    FLAG_VERSION,
    FLAG_KUBECONFIG,
    FLAG_NAMESPACE,
    FLAG_WATCH_NAMESPACES,
    FLAG_LISTEN,
    FLAG_LEADER_ELECT,
    FLAG_LEASE_NAME,
    FLAG_IDENTITY,
    FLAG_FENCE,
    FLAG_WITHOUT_FENCE,
    FLAG_OPERATIONS_POLICY,
    FLAG_WITHOUT_OPERATIONS_POLICY,
    FLAG_SETTLE,
    FLAG_RESYNC,
    FLAG_LOG_FORMAT,
    FLAG_LOG_LEVEL,
};

static const struct option options[] = {
    {"help", no_argument, NULL, FLAG_HELP},
    {"version", no_argument, NULL, FLAG_VERSION},
    {"kubeconfig", required_argument, NULL, FLAG_KUBECONFIG},
    {"namespace", required_argument, NULL, FLAG_NAMESPACE},
    {"watch-namespaces", required_argument, NULL, FLAG_WATCH_NAMESPACES},
    {"listen", required_argument, NULL, FLAG_LISTEN},
    {"leader-elect", required_argument, NULL, FLAG_LEADER_ELECT},
    {"lease-name", required_argument, NULL, FLAG_LEASE_NAME},
    {"identity", required_argument, NULL, FLAG_IDENTITY},
    {"fence", required_argument, NULL, FLAG_FENCE},
    {"without-fence", no_argument, NULL, FLAG_WITHOUT_FENCE},
    {"operations-policy", required_argument, NULL, FLAG_OPERATIONS_POLICY},
    {"without-operations-policy", no_argument, NULL, FLAG_WITHOUT_OPERATIONS_POLICY},
    {"settle", required_argument, NULL, FLAG_SETTLE},
    {"resync", required_argument, NULL, FLAG_RESYNC},
    {"log-format", required_argument, NULL, FLAG_LOG_FORMAT},
    {"log-level", required_argument, NULL, FLAG_LOG_LEVEL},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "keyturn: rotates the signing keys of Keycloak realms without one rejected token\n"
    "\n"
    "Usage: keyturn run [flags]\n"
    "       keyturn plan -f FILE        what the operator would do with a KeyRotation, see its own help\n"
    "       keyturn simulate [flags]    plays a rotation that changes nothing anywhere, see its own help\n"
    "\n"
    "Watches KeyRotation objects, compares the keys of their realms with what consumers trust, publishes\n"
    "public keys into Secrets and ConfigMaps, restarts the workloads that read them, and warns before a\n"
    "certificate expires. Usually installed by its Helm chart; by hand:\n"
    "\n"
    "  keyturn run --kubeconfig ~/.kube/config --without-fence --without-operations-policy\n"
    "\n"
    "Where it works\n"
    "  --kubeconfig FILE          use this kubeconfig; without it the pod's ServiceAccount\n"
    "  --namespace NS             its own namespace, for the Lease and the proof of the fence\n"
    "  --watch-namespaces A,B     only these namespaces, at most 64; without it all\n"
    "  --listen ADDR:PORT         /healthz, /readyz and /metrics (0.0.0.0:8080)\n"
    "How many\n"
    "  --leader-elect true|false  only the holder of the Lease works (true)\n"
    "  --lease-name NAME          name of that Lease (keyturn)\n"
    "  --identity NAME            how this replica signs the Lease, at most 127 characters\n"
    "                             (host name and a random part)\n"
    "How it works\n"
    "  --settle DURATION          least time between writing an object and restarting its readers,\n"
    "                             0s to 1h (5s)\n"
    "  --resync DURATION          Secrets are written again this often, to repair edits, 5s to 1d (5m)\n"
    "  --fence PREFIX             of the names of the ValidatingAdmissionPolicies that must bind us\n"
    "                             (keyturn-fence)\n"
    "  --without-fence            work without that proof; a stolen token can then do what RBAC allows\n"
    "  --operations-policy NAME   of the ValidatingAdmissionPolicy that says who commands; while it is not\n"
    "                             there no command is taken (keyturn-operations)\n"
    "  --without-operations-policy\n"
    "                             whoever may update a KeyRotation commands, under any name\n"
    "What it says\n"
    "  --log-format json|text     one JSON line for each fact, or text for people (json)\n"
    "  --log-level LEVEL          error, warn, info or debug (info)\n"
    "  --version, --help\n"
    "\n"
    "Durations are parts of d h m s: 90s, 5m, 1h30m; a bare number is seconds.\n"
    "Next: kubectl get keyrotations -A; kubectl describe keyrotation NAME -n NAMESPACE\n";

static int wrong(const char *flag, const char *value, const char *instead)
{
    (void)fprintf(stderr, "keyturn: --%s %s: write %s (keyturn --help)\n", flag, value, instead);
    return 2;
}

static int parse_duration(enum flag flag, const char *value, int64_t *ret_ms)
{
    bool settle = flag == FLAG_SETTLE;
    int64_t least_s = settle ? SETTLE_LEAST_S : RESYNC_LEAST_S;
    int64_t most_s = settle ? SETTLE_MOST_S : RESYNC_MOST_S;
    int64_t seconds;
    uint64_t plain;
    if (str_to_u64(str_from(value), &plain) && plain <= (uint64_t)most_s)
        seconds = (int64_t)plain; /* a bare number is seconds */
    else if (!date_duration_parse(value, &seconds))
        seconds = -1;
    if (seconds < least_s || seconds > most_s)
        return wrong(settle ? "settle" : "resync", value,
                     settle ? "a duration from 0s to 1h, like 5s"
                            : "a duration from 5s to 1d, like 5m");
    *ret_ms = seconds * 1000;
    return -1;
}

static bool is_namespace(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return name[len] == '\0' && len > 0 && len <= NAMESPACE_MAX && name[0] != '-' &&
           name[len - 1] != '-';
}

static int parse_namespaces(char *value, struct flags *ret)
{
    char *rest = value;
    for (char *name = strsep(&rest, ","); name != NULL; name = strsep(&rest, ",")) {
        if (!is_namespace(name))
            return wrong(
                "watch-namespaces", name,
                "names of namespaces with a comma between them and nothing else, like a,b");
        if (ret->watch_namespaces_count == FLAGS_NAMESPACES_MAX)
            return wrong("watch-namespaces", name,
                         "at most 64 namespaces, or leave the flag out for all");
        ret->watch_namespaces[ret->watch_namespaces_count++] = name;
    }
    return -1;
}

/* What does not fit would sign the Lease as another. */
static int parse_identity(const char *value, struct flags *ret)
{
    struct str name = str_from(value);
    if (name.len == 0 || name.len > FLAGS_IDENTITY_MAX || !str_is_visible(name))
        return wrong("identity", value, "1 to 127 characters without spaces");
    ret->identity = value;
    return -1;
}

static int parse_bool(const char *flag, const char *value, bool *ret)
{
    if (!text_eq(value, "true") && !text_eq(value, "false"))
        return wrong(flag, value, "true or false");
    *ret = text_eq(value, "true");
    return -1;
}

static int parse_log(enum flag flag, const char *value, struct flags *ret)
{
    if (flag == FLAG_LOG_LEVEL)
        return log_level_parse(value, &ret->log_level)
                   ? -1
                   : wrong("log-level", value, "error, warn, info or debug");
    if (!text_eq(value, "json") && !text_eq(value, "text"))
        return wrong("log-format", value, "json or text");
    ret->log_text = text_eq(value, "text");
    return -1;
}

static int parse_one(enum flag flag, char *value, struct flags *ret)
{
    switch (flag) {
    case FLAG_HELP: (void)fputs(help, stdout); return 0;
    case FLAG_VERSION: (void)printf("keyturn %s\n", keyturn_version()); return 0;
    case FLAG_KUBECONFIG: ret->kubeconfig = value; return -1;
    case FLAG_NAMESPACE: ret->namespace = value; return -1;
    case FLAG_WATCH_NAMESPACES: return parse_namespaces(value, ret);
    case FLAG_LISTEN: ret->listen = value; return -1;
    case FLAG_LEADER_ELECT: return parse_bool("leader-elect", value, &ret->leader_elect);
    case FLAG_LEASE_NAME: ret->lease_name = value; return -1;
    case FLAG_IDENTITY: return parse_identity(value, ret);
    case FLAG_FENCE: ret->fence = value; return -1;
    case FLAG_WITHOUT_FENCE: ret->fence = NULL; return -1;
    case FLAG_OPERATIONS_POLICY: ret->operations_policy = value; return -1;
    case FLAG_WITHOUT_OPERATIONS_POLICY: ret->operations_policy = NULL; return -1;
    case FLAG_SETTLE: return parse_duration(flag, value, &ret->settle_ms);
    case FLAG_RESYNC: return parse_duration(flag, value, &ret->resync_ms);
    case FLAG_LOG_FORMAT:
    case FLAG_LOG_LEVEL: return parse_log(flag, value, ret);
    }
    return 2;
}

int flags_parse(int argc, char **argv, struct flags *ret)
{
    *ret = (struct flags){.listen = "0.0.0.0:8080",
                          .lease_name = "keyturn",
                          .fence = "keyturn-fence",
                          .operations_policy = "keyturn-operations",
                          .leader_elect = true,
                          .log_level = LOG_INFO,
                          .settle_ms = 5000,
                          .resync_ms = 300000};
    int got;
    while ((got = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (got == '?') {
            (void)fprintf(stderr, "keyturn: see keyturn --help\n");
            return 2;
        }
        int status = parse_one((enum flag)got, optarg, ret);
        if (status >= 0)
            return status;
    }
    if (optind >= argc) {
        (void)fputs(help, stderr);
        return 2;
    }
    if (!text_eq(argv[optind], "run") || optind + 1 < argc) {
        (void)fprintf(
            stderr,
            "keyturn: unknown command %s; write keyturn run, plan or simulate (keyturn --help)\n",
            argv[text_eq(argv[optind], "run") ? optind + 1 : optind]);
        return 2;
    }
    return -1;
}
