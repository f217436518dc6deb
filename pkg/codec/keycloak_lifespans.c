/* SPDX-License-Identifier: Apache-2.0
 *
 * The lifespans of keycloak_codec: what a realm and its clients say of them. */
#include "codec/keycloak_codec.h"

#include "base/str.h"
#include "codec/json.h"

#define CLIENTS_MAX 10000             /* in one answer */
#define SECONDS_MAX ((1LL << 31) - 1) /* Keycloak's are 32 bits wide */
#define SESSION_DEFAULT_S 36000       /* what Keycloak takes for a session of 0 */

static bool seconds_of(const json_t *tree, const char *key, int64_t *ret)
{
    int64_t seconds = json_number(tree, key, INT64_MIN);
    if (seconds == INT64_MIN)
        return false;
    *ret = seconds < 0 ? 0 : seconds > SECONDS_MAX ? SECONDS_MAX : seconds;
    return true;
}

int realm_lifespans_decode(struct str body, struct realm_lifespans *ret, struct err *err)
{
    *ret = (struct realm_lifespans){0};
    json_t *cleanup_json tree = json_load(body, false, "realm", err);
    if (tree == NULL)
        return -1;
    if (!json_is_object(tree))
        return err_set(err, ERR_INVALID, "realm: no object in the answer");
    if (!seconds_of(tree, "accessTokenLifespan", &ret->access_s) ||
        !seconds_of(tree, "ssoSessionMaxLifespan", &ret->session_s)) {
        *ret = (struct realm_lifespans){0};
        return err_set(err, ERR_FORBIDDEN, "realm: its lifespans are not shown");
    }
    if (ret->session_s == 0)
        ret->session_s = SESSION_DEFAULT_S;
    (void)seconds_of(tree, "accessTokenLifespanForImplicitFlow", &ret->implicit_s);
    int64_t remembered_s = 0;
    if (json_flag(tree, "rememberMe") &&
        seconds_of(tree, "ssoSessionMaxLifespanRememberMe", &remembered_s) &&
        remembered_s > ret->session_s) {
        ret->session_s = remembered_s;
        ret->remembered = true;
    }
    return 0;
}

static void client_decode(const json_t *client, struct realm_lifespans *into)
{
    /* Of tokens, and of SAML assertions, which are signed by the same keys. */
    static const char *const settings[] = {"access.token.lifespan", "saml.assertion.lifespan"};
    const json_t *attributes = json_object_get(client, "attributes");
    into->implicit = into->implicit || json_flag(client, "implicitFlowEnabled");
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        uint64_t seconds = 0;
        const char *text = json_text(attributes, settings[i]);
        /* "-1" stands for the session's, which counts anyway. */
        if (text == NULL || !str_to_u64(str_trim(str_from(text)), &seconds) ||
            seconds > (uint64_t)SECONDS_MAX || (int64_t)seconds <= into->client_s)
            continue;
        into->client_s = (int64_t)seconds;
        into->client_setting = settings[i];
        err_clean_text(into->client, sizeof(into->client), json_text(client, "clientId"));
    }
}

int client_lifespans_decode(struct str body, struct realm_lifespans *into, size_t *ret_clients,
                            struct err *err)
{
    *ret_clients = 0;
    json_t *cleanup_json tree = json_load(body, false, "clients", err);
    if (tree == NULL)
        return -1;
    if (!json_is_array(tree))
        return err_set(err, ERR_INVALID, "clients: no list in the answer");
    if (json_array_size(tree) > CLIENTS_MAX)
        return err_set(err, ERR_LIMIT, "clients: more than %d in one answer", CLIENTS_MAX);
    for (size_t i = 0; i < json_array_size(tree); i++)
        client_decode(json_array_get(tree, i), into);
    *ret_clients = json_array_size(tree);
    return 0;
}
