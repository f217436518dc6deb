/* SPDX-License-Identifier: Apache-2.0 */
#include "flags.h"

#include <getopt.h>
#include <stdio.h>
#include "version.h"

#define EXIT_USAGE 2
#define LISTEN_DEFAULT "0.0.0.0:8080"

enum flag {
    FLAG_HELP = 1,
    FLAG_VERSION,
    FLAG_KEYS,
    FLAG_LISTEN,
    FLAG_ISSUER,
    FLAG_RELOAD,
    FLAG_CHECK
};

static const struct option options[] = {
    {"help", no_argument, NULL, FLAG_HELP},
    {"version", no_argument, NULL, FLAG_VERSION},
    {"keys", required_argument, NULL, FLAG_KEYS},
    {"listen", required_argument, NULL, FLAG_LISTEN},
    {"issuer", required_argument, NULL, FLAG_ISSUER},
    {"reload", no_argument, NULL, FLAG_RELOAD},
    {"check", required_argument, NULL, FLAG_CHECK},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "keyturn-verifier: checks tokens with the public keys that Keyturn publishes\n"
    "\n"
    "Usage: keyturn-verifier --keys DIR [--listen ADDR:PORT] [--issuer URL] [--reload]\n"
    "       keyturn-verifier --keys DIR [--issuer URL] --check TOKENFILE\n"
    "\n"
    "A small program that trusts what a consumer of Keyturn trusts: an example to copy, a\n"
    "sidecar for programs that cannot check tokens themselves, and a probe. DIR is where the\n"
    "Secret or ConfigMap of a KeyRotation's consumer is mounted, as a whole (a subPath mount\n"
    "is never renewed).\n"
    "\n"
    "  --keys DIR           reads jwks.json; where there is none bundle.pem, else certs.pem,\n"
    "                       both with the kids of manifest.json (without it a kid is the\n"
    "                       SHA-256 of the key, as Keycloak makes it)\n"
    "  --listen ADDR:PORT   serves HTTP there (" LISTEN_DEFAULT
    "); a numeric address, [::1]:8080,\n"
    "                       :8080; port 0 takes a free one and logs it\n"
    "  --issuer URL         a token's `iss` must be exactly this; without it any will do\n"
    "  --reload             reads the keys again when they change; without it they are read\n"
    "                       once, at start, and the pod must be restarted (reload.restart\n"
    "                       of the consumer does that)\n"
    "  --check TOKENFILE    checks one token, prints the verdict and ends; - reads standard\n"
    "                       input\n"
    "  --version, --help\n"
    "\n"
    "What it serves\n"
    "  POST /verify   the body is the token, nothing else\n"
    "                 200 {\"kid\":\"...\",\"sub\":\"...\"} or 401 {\"error\":\"a sentence\"}\n"
    "  GET /keys      what is loaded: kids, algorithms, trust hash of manifest.json\n"
    "  GET /healthz   200 as long as it runs: it does not start without keys, and keeps the\n"
    "                 ones it has when new ones cannot be read\n"
    "\n"
    "A token is good when a key of its kid is loaded, its algorithm is that key's, its\n"
    "signature is right, exp is not past and nbf not ahead (5 s of skew), and its issuer is\n"
    "the one asked for. Audience and scope are for the program behind it. Tokens are never\n"
    "logged.\n"
    "\n"
    "Examples\n"
    "  keyturn-verifier --keys /etc/keys --reload --issuer https://id.example.com/realms/prod\n"
    "  curl -sS --data-binary @token http://localhost:8080/verify\n"
    "  echo \"$TOKEN\" | keyturn-verifier --keys ./keys --check -\n"
    "\n"
    "Exit status: 0 good token, or stopped by a signal; 1 refused token; 2 it could not start\n"
    "or not check.\n";

static int usage(int *ret_exit, const char *problem)
{
    (void)fprintf(stderr, "keyturn-verifier: %s\nSee keyturn-verifier --help\n", problem);
    *ret_exit = EXIT_USAGE;
    return -1;
}

static int check_combination(const struct flags *flags, bool listens, int *ret_exit)
{
    if (flags->keys == NULL || flags->keys[0] == '\0') {
        return usage(ret_exit, "--keys is missing: name the directory where the keys are mounted, "
                               "for example --keys /etc/keys");
    }
    if (flags->issuer != NULL && flags->issuer[0] == '\0') {
        return usage(ret_exit, "--issuer is empty: write what tokens say in iss, or leave it out");
    }
    if (flags->check != NULL && (flags->reload || listens)) {
        return usage(ret_exit,
                     "--check looks at one token and ends: leave --listen and --reload out");
    }
    return 0;
}

int flags_parse(int argc, char **argv, struct flags *ret, int *ret_exit)
{
    bool listens = false;
    *ret = (struct flags){.listen = LISTEN_DEFAULT};
    for (int flag = 0; (flag = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (flag) {
        case FLAG_HELP:
            (void)fputs(help, stdout);
            *ret_exit = 0;
            return -1;
        case FLAG_VERSION:
            (void)printf("keyturn-verifier %s\n", verifier_version());
            *ret_exit = 0;
            return -1;
        case FLAG_KEYS: ret->keys = optarg; break;
        case FLAG_LISTEN:
            ret->listen = optarg;
            listens = true;
            break;
        case FLAG_ISSUER: ret->issuer = optarg; break;
        case FLAG_RELOAD: ret->reload = true; break;
        case FLAG_CHECK: ret->check = optarg; break;
        default: return usage(ret_exit, "the command line above is not understood");
        }
    }
    if (optind < argc) {
        return usage(ret_exit, "words without a flag are not understood");
    }
    return check_combination(ret, listens, ret_exit);
}
