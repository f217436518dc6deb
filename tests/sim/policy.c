/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include <stdio.h>
#include "realm.h"

static int64_t pick(struct sim *s, const int64_t *values, size_t count)
{
    return values[sim_below(s, count)];
}

static void choose_consumer(struct sim *s, size_t i, struct consumer_policy *ret)
{
    *ret = (struct consumer_policy){.secret = sim_chance(s, 50),
                                    .restarts = sim_chance(s, 75),
                                    .replicas = (int)sim_between(s, 1, 3),
                                    .delay_s = 120};
    (void)snprintf(ret->name, sizeof(ret->name), "api-%zu", i);
    (void)snprintf(ret->object, sizeof(ret->object), "api-%zu-keys", i);
}

void policy_choose(struct sim *s, struct policy *ret)
{
    static const int64_t publish[] = {0, 30, 120, 300}, retire[] = {-1, 300, 600},
                         removed[] = {0, 60, 600}, refresh[] = {30, 45, 60},
                         every[] = {0, 0, 1200, 2400}, window[] = {0, 0, 300},
                         token[] = {60, 120, 240}, session[] = {300, 480};
    *ret = (struct policy){.algorithm = sim_chance(s, 60) ? "RS256" : "ES256",
                           .managed = true,
                           .standby = sim_chance(s, 40),
                           .adopt = sim_chance(s, 50),
                           .promote_manual = sim_chance(s, 40),
                           .retire_manual = sim_chance(s, 40),
                           .every_s = pick(s, every, ARRAY_LEN(every)),
                           .window_s = pick(s, window, ARRAY_LEN(window)),
                           .publish_s = pick(s, publish, ARRAY_LEN(publish)),
                           .retire_s = pick(s, retire, ARRAY_LEN(retire)),
                           .delete_s = pick(s, removed, ARRAY_LEN(removed)),
                           .refresh_s = pick(s, refresh, ARRAY_LEN(refresh)),
                           .token_s = pick(s, token, ARRAY_LEN(token)),
                           .session_s = pick(s, session, ARRAY_LEN(session)),
                           .consumers_count = (size_t)sim_between(s, 1, CONSUMERS_MAX)};
    ret->two_person = (ret->promote_manual || ret->retire_manual) && sim_chance(s, 30);
    for (size_t i = 0; i < ret->consumers_count; i++)
        choose_consumer(s, i, &ret->consumers[i]);
}

int64_t policy_life_s(const struct policy *p)
{
    return p->retire_s >= 0 ? p->retire_s : p->session_s;
}

static json_t *consumer_spec(const struct consumer_policy *c)
{
    json_t *spec = json_pack("{sss{s{ss}}}", "name", c->name, "publish",
                             c->secret ? "secret" : "configMap", "name", c->object);
    if (c->restarts)
        (void)json_object_set_new(
            spec, "reload",
            json_pack("{s[{ssss}]}", "restart", "kind", "Deployment", "name", c->name));
    else
        (void)json_object_set_new(spec, "proof", json_pack("{ssss}", "type", "Delay", "delay", ""));
    if (!c->restarts)
        (void)json_object_set_new(json_object_get(spec, "proof"), "delay",
                                  json_sprintf("%llds", (long long)c->delay_s));
    return spec;
}

static void add_seconds(json_t *object, const char *key, int64_t seconds)
{
    (void)json_object_set_new(object, key, json_sprintf("%llds", (long long)seconds));
}

static void add_plan(const struct policy *p, bool scheduled, json_t *spec)
{
    json_t *overlap = json_pack("{ss}", "retire", "auto");
    add_seconds(overlap, "publish", p->publish_s);
    add_seconds(overlap, "delete", p->delete_s);
    if (p->retire_s >= 0)
        add_seconds(overlap, "retire", p->retire_s);
    (void)json_object_set_new(spec, "overlap", overlap);
    (void)json_object_set_new(
        spec, "key",
        json_pack("{sssbsb}", "algorithm", p->algorithm, "standby", p->standby, "adopt", p->adopt));
    (void)json_object_set_new(
        spec, "approval",
        json_pack("{sssssb}", "promote", p->promote_manual ? "Manual" : "Automatic", "retire",
                  p->retire_manual ? "Manual" : "Automatic", "twoPerson", p->two_person));
    if (!scheduled || p->every_s == 0)
        return;
    json_t *schedule = json_object();
    add_seconds(schedule, "every", p->every_s);
    if (p->window_s > 0) {
        json_t *window = json_pack("{ssss}", "cron", "*/15 * * * *", "timeZone", "UTC");
        add_seconds(window, "duration", p->window_s);
        (void)json_object_set_new(schedule, "window", window);
    }
    (void)json_object_set_new(spec, "schedule", schedule);
}

json_t *policy_spec(const struct policy *p, bool scheduled)
{
    json_t *consumers = json_array();
    for (size_t i = 0; i < p->consumers_count; i++)
        (void)json_array_append_new(consumers, consumer_spec(&p->consumers[i]));
    json_t *spec = json_pack("{s{ss}s{sssss{s{ss}}}so}", "issuer", "url", REALM_ISSUER, "keycloak",
                             "url", REALM_URL, "realm", REALM_NAME, "credentials", "secret", "name",
                             "keyturn-keycloak", "consumers", consumers);
    add_seconds(spec, "refreshInterval", p->refresh_s);
    if (p->managed)
        add_plan(p, scheduled, spec);
    return spec;
}
