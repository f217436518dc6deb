/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "codec/json.h"
#include "flags.h"
#include "io/loop.h"
#include "io/sandbox.h"
#include "keyring.h"
#include "obs/log.h"
#include "serve.h"
#include "verify.h"

enum { EXIT_GOOD = 0, EXIT_REFUSED = 1, EXIT_TROUBLE = 2 };

static int trouble(const struct err *err)
{
    (void)fprintf(stderr, "keyturn-verifier: %s\n", err->msg);
    return EXIT_TROUBLE;
}

static int read_token(const char *path, struct buf *out, struct err *err)
{
    char piece[4096];
    size_t got = 0;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL) {
        return err_set(err, ERR_NOT_FOUND, "token file %s: %s", path, strerror(errno));
    }
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy of the token that is not wiped */
    out->secret = true;
    out->max = JOSE_TOKEN_MAX + 1024; /* with some space around it */
    while (!out->failed && (got = fread(piece, 1, sizeof(piece), file)) > 0) {
        buf_append(out, piece, got);
    }
    explicit_bzero(piece, sizeof(piece));
    int failed = ferror(file);
    (void)fclose(file);
    if (failed != 0) {
        return err_set(err, ERR_INVALID, "token file %s cannot be read: %s", path, strerror(errno));
    }
    if (out->failed) {
        return err_set(err, ERR_LIMIT, "token file %s has more than %lu bytes: it holds no token",
                       path, JOSE_TOKEN_MAX);
    }
    return 0;
}

static int check(const struct flags *flags, const struct keyring *ring)
{
    struct buf cleanup_buf token = {0};
    struct buf cleanup_buf verdict = {0};
    struct err err = {0};
    struct verify_rules rules = {flags->issuer, loop_wall_us() / 1000000};
    if (read_token(flags->check, &token, &err) != 0) {
        return trouble(&err);
    }
    int result = verify_token(ring, buf_view(&token), &rules, &verdict, &err);
    (void)fputs(buf_text(&verdict), stdout);
    return result == 0 ? EXIT_GOOD : EXIT_REFUSED;
}

int main(int argc, char **argv)
{
    struct flags flags;
    struct keyring ring = {0};
    struct err err = {0};
    uint32_t seed = 0;
    int status = EXIT_TROUBLE;

    if (sandbox_early(&err) != 0) { /* tokens pass through this memory */
        return trouble(&err);
    }
    if (flags_parse(argc, argv, &flags, &status) != 0) {
        return status;
    }
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) {
        err_set(&err, ERR_BUG, "the kernel gives no random bytes");
        return trouble(&err);
    }
    json_setup(seed);
    log_setup(&(struct log_sink){.now_us = loop_wall_us, .level = LOG_INFO});
    if (keyring_load(flags.keys, &ring, &err) != 0) {
        return trouble(&err);
    }
    if (flags.check != NULL) {
        status = check(&flags, &ring);
        keyring_release(&ring);
        return status;
    }
    return serve(&flags, &ring, &err) == 0 ? EXIT_GOOD : trouble(&err);
}
