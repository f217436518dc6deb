/* SPDX-License-Identifier: Apache-2.0
 *
 * keycloak_writes: the world of keycloak_data.h for tests of writes. To be included by exactly one
 * file of a test program. */
#ifndef KEYTURN_TESTS_KEYCLOAK_WRITES_H
#define KEYTURN_TESTS_KEYCLOAK_WRITES_H

#include "keycloak_data.h"

#define ADMIN "https://kc.test/auth/admin/realms/r"
#define PUT_PATH "PUT " ADMIN "/components/c-1"
#define POST_PATH "POST " ADMIN "/components"
#define DELETE_PATH "DELETE " ADMIN "/components/c-1"
/* {"alg":"RS256","typ":"JWT","kid":"k-1"}, and the same of ES256 and k-2. */
#define JWS_1 "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImstMSJ9.eyJzdWIiOiJ4In0.c2ln"
#define JWS_2 "eyJhbGciOiJFUzI1NiIsImtpZCI6ImstMiJ9.eyJzdWIiOiJ4In0.c2ln"
#define TOKEN_OF(token) "{\"access_token\":\"" token "\",\"expires_in\":300}"

static bool allowed;
static int asked;

static inline bool may(void *ctx)
{
    asked++;
    assert_ptr_equal(ctx, &allowed);
    return allowed;
}

static inline struct source_write a_write(enum change_kind kind)
{
    allowed = true;
    asked = 0;
    return (struct source_write){
        .kind = kind,
        .component = "c-1",
        .name = kind == CHANGE_CREATE ? "keyturn-00000000-1" : NULL,
        .provider = "rsa",
        .algorithm = "RS256",
        .size = kind == CHANGE_CREATE ? 2048 : 0,
        .priority = 101,
        .allowed = may,
        .ctx = &allowed,
    };
}

static inline void serve(void)
{
    fake_http_on(http, TOKEN_PATH, -1, 200, TOKEN_OF(JWS_1));
    fake_http_on(http, KEYS_PATH, -1, 200, KEYS_A);
    fake_http_on(http, COMPONENTS_PATH, -1, 200, COMPONENTS);
}

/* A source that has read once, with a token. */
static inline struct source *begin(void)
{
    struct source *s = subscribe_admin("r");
    serve();
    pass(0);
    assert_int_equal(source_err(s)->class, ERR_NONE);
    return s;
}

/* Requests from n on, in this order and no more. */
static inline void assert_requests(size_t n, const char *const *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char line[300];
        const struct fake_request *r = fake_http_at(http, n + i);
        snprintf(line, sizeof(line), "%s %s", r->method, r->url);
        assert_string_equal(line, wanted[i]);
    }
    assert_int_equal(fake_http_count(http), n + count);
}

static inline void assert_written(const struct source *s, uint64_t number, enum err_class class,
                                  const char *part)
{
    const struct source_written *w = source_written(s);
    assert_int_equal(w->number, number);
    if (w->err.class != class || strstr(w->err.msg, part) == NULL)
        fail_msg("class %d, wanted %d with \"%s\": %s", w->err.class, class, part, w->err.msg);
    assert_true(strlen(w->err.msg) < sizeof(w->err.msg) - 1); /* not cut */
    assert_null(strstr(w->err.msg, "FOREIGN"));
    assert_false(source_writing(s));
}

#endif
