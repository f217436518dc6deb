/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include <math.h>
#include "base/date.h"
#include "codec/json.h"

/* Seconds of a NumericDate (RFC 7519 section 2), which may have a fraction; false when it is none.
 */
static bool numeric_date(const json_t *claims, const char *name, double *ret)
{
    const json_t *value = json_object_get(claims, name);
    if (!json_is_number(value)) {
        return false;
    }
    *ret = json_number_value(value);
    return isfinite(*ret) != 0;
}

static void in_words(double seconds, char out[DATE_TEXT_MAX])
{
    date_duration_words(seconds < 1e12 ? (int64_t)seconds : 1000000000000, out);
}

static int check_times(const json_t *claims, int64_t now_s, struct err *err)
{
    double exp = 0;
    double nbf = 0;
    double now = (double)now_s;
    char words[DATE_TEXT_MAX];
    if (!numeric_date(claims, "exp", &exp)) {
        return err_set(err, ERR_AUTH, "the token has no exp: one that never ends is not accepted");
    }
    if (now >= exp + VERIFY_SKEW_S) {
        in_words(now - exp, words);
        return err_set(err, ERR_AUTH, "the token expired %s ago", words);
    }
    if (json_object_get(claims, "nbf") == NULL) {
        return 0;
    }
    if (!numeric_date(claims, "nbf", &nbf)) {
        return err_set(err, ERR_AUTH, "the token's nbf is no number");
    }
    if (now + VERIFY_SKEW_S < nbf) {
        in_words(nbf - now, words);
        return err_set(err, ERR_AUTH, "the token is valid only in %s: compare the clocks", words);
    }
    return 0;
}

static int check_issuer(const json_t *claims, const char *expected, struct err *err)
{
    const char *issuer = json_text(claims, "iss");
    char shown[200];
    if (expected == NULL || text_eq(issuer, expected)) {
        return 0;
    }
    err_clean_text(shown, sizeof(shown), issuer == NULL ? "" : issuer);
    return err_set(err, ERR_AUTH, "the token is issued by \"%s\", expected is %s", shown, expected);
}

/* The key that the header names. The header's texts are foreign until the signature is checked:
 * they choose among our keys, and nothing else. */
static const struct jose_key *key_of_header(const struct keyring *ring, const json_t *header,
                                            struct err *err)
{
    struct jose_keys keys = keyring_view(ring);
    if (!json_is_object(header)) {
        err_set(err, ERR_AUTH, "the token's header is no JSON object");
        return NULL;
    }
    if (json_object_get(header, "crit") != NULL) {
        err_set(err, ERR_AUTH,
                "the token's header has \"crit\": it asks for what is not known here");
        return NULL;
    }
    return jose_key_for_token(&keys, json_text(header, "kid"), json_text(header, "alg"), err);
}

static int judge(const struct keyring *ring, const struct jose_jws *jws,
                 const struct verify_rules *rules, struct buf *out, struct err *err)
{
    json_t *cleanup_json claims = NULL;
    json_t *cleanup_json header =
        json_load(buf_view(&jws->header), false, "the token's header", err);
    const struct jose_key *key = header == NULL ? NULL : key_of_header(ring, header, err);
    if (key == NULL || jose_jws_verify(jws, key, err) != 0) {
        return -1;
    }
    claims = json_load(buf_view(&jws->payload), false, "the token's payload", err);
    if (claims == NULL) {
        return -1;
    }
    if (!json_is_object(claims)) {
        return err_set(err, ERR_AUTH, "the token's payload is no JSON object");
    }
    if (check_times(claims, rules->now_s, err) != 0 ||
        check_issuer(claims, rules->issuer, err) != 0) {
        return -1;
    }
    buf_append_text(out, "{\"kid\":");
    buf_append_json(out, key->kid);
    buf_append_text(out, ",\"sub\":");
    buf_append_json(out, json_text(claims, "sub"));
    buf_append_text(out, "}\n");
    return out->failed ? err_set(err, ERR_NO_MEMORY, "out of memory") : 0;
}

int verify_token(const struct keyring *ring, struct str token, const struct verify_rules *rules,
                 struct buf *out, struct err *err)
{
    struct jose_jws jws = {0};
    struct err why = {0};
    int result = jose_jws_read(str_trim(token), &jws, &why);
    if (result == 0) {
        result = judge(ring, &jws, rules, out, &why);
    }
    jose_jws_release(&jws);
    if (result != 0) {
        buf_clear(out);
        buf_append_text(out, "{\"error\":");
        buf_append_json(out, why.msg);
        buf_append_text(out, "}\n");
    }
    *err = why;
    return result;
}
