/* SPDX-License-Identifier: Apache-2.0 */
#include "premise.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/date.h"
#include "base/str.h"
#include "codec/json.h"
#include "codec/realm_export.h"
#include "codec/rotation_codec.h"
#include "codec/yaml.h"
#include "io/file.h"
#include "io/tzdata.h"
#include "keycloak/component.h"
#include "keycloak/lifespan.h"
#include "live.h"
#include "rotation/policy.h"

#define API_VERSION "keyturn.dev/v1alpha1"
#define EXPORT_MAX (16UL << 20)
#define DURATION_MOST_S (365 * 86400LL)
#define SESSION_DEFAULT_S 36000 /* ssoSessionMaxLifespan of a new realm */
#define PRIORITY_OTHERS 100     /* of a new realm's keys */

/* ---- reading ---- */

static int read_input(struct buf *out, struct err *err)
{
    char piece[4096];
    out->max = LIMIT_YAML;
    for (size_t n = fread(piece, 1, sizeof(piece), stdin); n > 0;
         n = fread(piece, 1, sizeof(piece), stdin))
        buf_append(out, piece, n);
    if (ferror(stdin) != 0)
        return err_set(err, ERR_INVALID, "cannot be read");
    return out->failed ? err_set(err, ERR_LIMIT, "larger than %lu bytes", LIMIT_YAML) : 0;
}

static int read_text(const char *path, size_t max, struct buf *out, struct err *err)
{
    if (text_eq(path, "-"))
        return read_input(out, err) == 0 ? 0 : err_wrap(err, "standard input");
    return file_read(path, max, out, err);
}

static int check_kind(const json_t *tree, const char *what, struct err *err)
{
    if (!text_eq(json_text(tree, "kind"), "KeyRotation") ||
        !text_eq(json_text(tree, "apiVersion"), API_VERSION))
        return err_set(err, ERR_INVALID,
                       "%s: write one KeyRotation: apiVersion: " API_VERSION ", kind: KeyRotation",
                       what);
    if (json_text(json_object_get(tree, "metadata"), "name") == NULL)
        return err_set(err, ERR_INVALID, "%s: write metadata.name", what);
    return 0;
}

/* What the API server would add, as far as it is asked for. */
static void complete(json_t *tree)
{
    json_t *meta = json_object_get(tree, "metadata");
    if (json_text(meta, "namespace") == NULL)
        (void)json_object_set_new(meta, "namespace", json_string("default"));
    if (json_text(meta, "resourceVersion") == NULL)
        (void)json_object_set_new(meta, "resourceVersion", json_string("0"));
}

/* The spec of the file, in the place of the one that the cluster has. */
static int take_live(const struct premise_options *options, json_t *tree, struct err *err)
{
    json_t *meta = json_object_get(tree, "metadata");
    json_t *cleanup_json live =
        live_get(options->kubeconfig, json_text(meta, "namespace"), json_text(meta, "name"), err);
    if (live == NULL)
        return -1;
    (void)json_object_set(tree, "metadata", json_object_get(live, "metadata"));
    (void)json_object_del(tree, "status");
    if (json_object_get(live, "status") != NULL)
        (void)json_object_set(tree, "status", json_object_get(live, "status"));
    return 0;
}

static int read_object(const struct premise_options *options, struct premise *ret, struct err *err)
{
    const char *what = text_eq(options->file, "-") ? "standard input" : options->file;
    struct buf cleanup_buf text = {0};
    if (read_text(options->file, LIMIT_YAML, &text, err) != 0)
        return -1;
    json_t *cleanup_json tree = yaml_load(buf_view(&text), what, err);
    if (tree == NULL || check_kind(tree, what, err) != 0 ||
        (options->live && take_live(options, tree, err) != 0))
        return -1;
    complete(tree);
    ret->object = rotation_new(tree, err);
    if (ret->object == NULL)
        return -1;
    return ret->object->spec_error == NULL
               ? 0
               : err_set(err, ERR_INVALID, "%s: %s", what, ret->object->spec_error);
}

static void assume(struct premise *p, const char *text)
{
    if (text != NULL && p->assumptions_count < PREMISE_ASSUMPTIONS_MAX)
        p->assumptions[p->assumptions_count++] = text;
}

/* ---- the realm's keys ---- */

static struct rehearsal_key *add_key(struct premise *p, size_t *count, const char *kid,
                                     enum key_standing standing)
{
    struct rehearsal_key *k = &p->start.keys[(*count)++];
    *k = (struct rehearsal_key){.present = true,
                                .standing = standing,
                                .priority = PRIORITY_OTHERS,
                                .loaded = standing != STANDING_DISABLED};
    (void)snprintf(k->kid, sizeof(k->kid), "%s", kid);
    return k;
}

static int too_many(struct err *err)
{
    return err_set(
        err, ERR_LIMIT,
        "the realm has more than %d keys of the algorithm, which is more than is planned "
        "with: delete old ones first",
        REHEARSAL_KEYS - 4);
}

/* As remembered; priorities are not. */
static int start_from_status(struct premise *p, struct err *err)
{
    const struct rotation_status *status = &p->object->status;
    struct rehearsal *r = &p->start;
    size_t count = 0;
    r->keys[0] = (struct rehearsal_key){0};
    for (size_t i = 0; i < status->keys_count; i++) {
        const struct key_status *k = &status->keys[i];
        if (!text_eq(k->algorithm, p->object->spec.key.algorithm))
            continue;
        if (count == REHEARSAL_KEYS - 4)
            return too_many(err);
        enum key_standing standing = k->state == KEY_ACTIVE     ? STANDING_ACTIVE
                                     : k->state == KEY_DISABLED ? STANDING_DISABLED
                                                                : STANDING_PASSIVE;
        struct rehearsal_key *new = add_key(p, &count, k->kid, standing);
        new->number = k->rotation;
        new->record = k->record;
        new->priority += text_eq(k->kid, status->active_kid);
    }
    r->record = status->rotation;
    r->intent = status->change;
    r->taken = status->operation;
    if (r->record.number != 0 && r->record.done_s == 0)
        r->changed_s = r->now_s; /* what is under way may not be proven */
    assume(p, "the keys, and what has been done so far, are as status says");
    return 0;
}

static const char *name_for(struct premise *p, const struct realm_export_key *k, size_t place)
{
    if (k->kid[0] != '\0')
        return k->kid;
    for (size_t i = 0; i < place; i++)
        if (text_eq(p->start.keys[i].kid, k->name))
            return arena_printf(&p->arena, "%s-%s", k->name, k->id);
    return k->name;
}

/* A component that a KeyRotation made: this one's, or another's. */
static void claim(struct premise *p, const struct realm_export_key *k, struct rehearsal_key *new)
{
    const char *uid = p->object->meta.uid;
    bool mine = false;
    uint64_t number = 0;
    if (!component_parse(k->name, uid, &mine, &number))
        return;
    if (*uid == '\0')
        assume(p, arena_printf(&p->arena, "component %s was made by this KeyRotation", k->name));
    if (mine || *uid == '\0')
        new->number = number;
    else
        p->start.foreign_claim = arena_strdup(&p->arena, k->name);
}

/* The key that signs was promoted by the last rotation, which is over. */
static void remember_rotation(struct rehearsal *r)
{
    const struct rehearsal_key *signer = rehearsal_signer(r);
    for (size_t i = 0; i < REHEARSAL_KEYS; i++)
        if (signer == NULL || r->keys[i].number > signer->number)
            return; /* its own is not: the engine makes of it what it can */
    if (signer->number > 0)
        r->record = (struct rotation_record){.number = signer->number,
                                             .reason = REASON_REQUEST,
                                             .kid = signer->kid,
                                             .started_s = r->now_s,
                                             .requested_s = r->now_s,
                                             .promoted_s = r->now_s,
                                             .confirmed_s = r->now_s,
                                             .done_s = r->now_s};
}

static int start_from_export(struct premise *p, const struct realm_export *e, struct err *err)
{
    const char *algorithm = p->object->spec.key.algorithm;
    size_t count = 0;
    p->start.keys[0] = (struct rehearsal_key){0};
    for (size_t i = 0; i < e->count; i++) {
        const struct realm_export_key *k = &e->keys[i];
        if (!text_eq(k->algorithm, algorithm))
            continue;
        if (count == REHEARSAL_KEYS - 4)
            return too_many(err);
        enum key_standing standing = !k->enabled ? STANDING_DISABLED
                                     : k->active ? STANDING_ACTIVE
                                                 : STANDING_PASSIVE;
        struct rehearsal_key *new = add_key(p, &count, name_for(p, k, count), standing);
        new->priority = k->priority;
        claim(p, k, new);
    }
    const struct rehearsal_key *signer = rehearsal_signer(&p->start);
    remember_rotation(&p->start);
    assume(p, arena_printf(
                  &p->arena,
                  "the realm's %s keys are those of the export: %zu, %s%s; they are called by "
                  "the names of their components, since an export has no kids",
                  algorithm, count, signer != NULL ? "signing with " : "none that signs",
                  signer != NULL ? signer->kid : ""));
    return 0;
}

static int fill_keys(struct premise *p, const struct realm_export *e, struct err *err)
{
    const struct rotation_status *status = &p->object->status;
    bool remembers = status->rotation.number != 0;
    for (size_t i = 0; i < status->keys_count; i++)
        remembers = remembers || status->keys[i].record.lifecycle != LIFECYCLE_UNKNOWN;
    if (remembers)
        return start_from_status(p, err);
    if (e != NULL && e->has_keys)
        return start_from_export(p, e, err);
    assume(p, arena_printf(&p->arena,
                           "the realm has one %s key, called old here, that signs and that it had "
                           "before Keyturn%s",
                           p->object->spec.key.algorithm,
                           e != NULL ? ": the export has no keys in it"
                                     : " (--realm-export FILE reads what it has)"));
    return 0;
}

/* ---- times ---- */

/* The longest that the operator has found in the realm's settings; 0: none. */
static int64_t said_to_live_s(const struct premise *p)
{
    const struct rotation_status *status = &p->object->status;
    int64_t most_s = 0;
    for (size_t i = 0; i < status->keys_count; i++)
        if (status->keys[i].record.tokens_live_s > most_s)
            most_s = status->keys[i].record.tokens_live_s;
    return most_s;
}

static void fill_retire(struct premise *p, const struct realm_export *e)
{
    struct rehearsal *r = &p->start;
    struct source_lifespan life = {0};
    char words[DATE_TEXT_MAX];
    r->retire_why = "spec.overlap.retire";
    if (r->policy.retire_s >= 0)
        return;
    if (e != NULL && e->has_lifespans) {
        lifespan_longest(&e->lifespans, &life);
        r->policy.retire_s = life.seconds + POLICY_SKEW_S;
        r->retire_why = arena_strdup(&p->arena, life.why);
        date_duration_words(r->policy.retire_s, words);
        assume(p, arena_printf(&p->arena,
                               "an old key is trusted for %s after it signed last (overlap.retire: "
                               "auto): %s, and %ds for clocks that differ",
                               words, life.why, POLICY_SKEW_S));
        return;
    }
    r->policy.retire_s = said_to_live_s(p);
    if (r->policy.retire_s > 0) {
        r->retire_why = "as status says that tokens live";
        return;
    }
    r->policy.retire_s = SESSION_DEFAULT_S + POLICY_SKEW_S;
    r->retire_why = "10h assumed, ssoSessionMaxLifespan of a new realm";
    date_duration_words(r->policy.retire_s, words);
    assume(p,
           arena_printf(&p->arena,
                        "an old key is trusted for %s after it signed last (overlap.retire: auto): "
                        "ssoSessionMaxLifespan of a new realm, and %ds for clocks that differ; "
                        "longer lifespans of the realm and its clients make it longer "
                        "(--realm-export FILE reads them)",
                        words, POLICY_SKEW_S));
}

/* As long as the slowest consumer takes. */
static void fill_load(struct premise *p, int64_t load_s)
{
    const struct rotation_spec *spec = &p->object->spec;
    bool said = load_s >= 0;
    int64_t rollout_s = said ? load_s : PREMISE_LOAD_S;
    char words[DATE_TEXT_MAX];
    p->start.load_s = 0;
    for (size_t i = 0; i < spec->consumers_count; i++) {
        const struct consumer_spec *c = &spec->consumers[i];
        int64_t takes_s = c->proof == PROOF_DELAY ? c->proof_delay_s : rollout_s;
        if (takes_s > p->start.load_s)
            p->start.load_s = takes_s;
    }
    date_duration_words(p->start.load_s, words);
    assume(p,
           spec->consumers_count == 0
               ? "there are no consumers, so nobody has to prove anything"
               : arena_printf(&p->arena,
                              "every consumer has loaded a changed trust set, and proven it, after "
                              "%s%s",
                              words, said ? "" : " (--load says how long a rollout takes)"));
}

static int fill_window(struct premise *p, struct err *err)
{
    const struct schedule_spec *spec = &p->object->spec.schedule;
    struct rehearsal *r = &p->start;
    struct err cause = {0};
    zone_set_utc(&p->zone);
    if (spec->cron == NULL)
        return 0;
    r->window_open = false;
    r->window_opens_s = INT64_MAX;
    /* As the operator words it: there it is a condition, since only its own tzdata decides. */
    if (tzdata_read(spec->zone, r->now_s, &p->zone, &cause) != 0) {
        zone_set_utc(&p->zone);
        r->window_trouble = arena_printf(&p->arena, "spec.schedule.window: %s", cause.msg);
        return 0;
    }
    if (window_rule_init(&p->rule, spec->cron, spec->window_s, &p->zone, &cause) != 0)
        return err_set(err, ERR_INVALID, "spec.schedule.window: %s", cause.msg);
    if (cron_never(&p->rule.cron))
        r->window_trouble = POLICY_WINDOW_NEVER;
    r->window = &p->rule;
    return 0;
}

/* ---- all of it ---- */

static int fill(struct premise *p, const struct premise_options *options,
                const struct realm_export *e, struct err *err)
{
    const struct rotation_object *o = p->object;
    struct key_policy policy = policy_of(&o->spec);
    rehearsal_init(&p->start, &policy, options->from_s);
    p->start.name = o->meta.name;
    p->start.namespace = o->meta.namespace;
    p->start.suspended = o->spec.suspend;
    p->start.operation = o->operation;
    fill_load(p, options->load_s);
    p->start.changed_s = options->from_s - p->start.load_s;
    fill_retire(p, e);
    return fill_window(p, err) == 0 ? fill_keys(p, e, err) : -1;
}

int premise_read(const struct premise_options *options, struct premise *ret, struct err *err)
{
    struct buf cleanup_buf text = {.secret = true};
    struct realm_export *e = NULL;
    int result = -1;
    memset(ret, 0, sizeof(*ret));
    zone_set_utc(&ret->zone);
    if (read_object(options, ret, err) != 0)
        return -1;
    if (!ret->object->spec.key.managed) {
        assume(ret, "spec.key is not there, so nothing is rotated: the realm's keys are followed, "
                    "published and watched");
        return 0;
    }
    if (options->realm_export != NULL) {
        e = calloc(1, sizeof(*e));
        if (e == NULL)
            return err_set(err, ERR_NO_MEMORY, "out of memory");
        if (file_read(options->realm_export, EXPORT_MAX, &text, err) != 0)
            goto out;
        if (realm_export_decode(buf_view(&text), ret->object->spec.realm, e, err) != 0) {
            (void)err_wrap(err, "%s", options->realm_export);
            goto out;
        }
    }
    if (fill(ret, options, e, err) != 0)
        goto out;
    assume(ret,
           "people say what is waited for as soon as it is, and requests take no time: each step "
           "can come later, by spec.refreshInterval and more");
    assume(ret,
           "only kubectl apply --dry-run=server judges the whole object: names that the API does "
           "not know are passed over here");
    result = ret->arena.failed ? err_set(err, ERR_NO_MEMORY, "out of memory") : 0;
out:
    free(e);
    return result;
}

void premise_release(struct premise *p)
{
    rotation_free(p->object);
    arena_release(&p->arena);
    p->object = NULL;
}

/* ---- values of flags ---- */

int64_t premise_duration(const char *command, const char *flag, const char *value)
{
    int64_t seconds = 0;
    if (date_duration_parse(value, &seconds) && seconds <= DURATION_MOST_S)
        return seconds;
    (void)fprintf(stderr,
                  "%s: --%s %s: write a duration like 90s, 5m or 1h30m, at most 365d (%s --help)\n",
                  command, flag, value, command);
    return -1;
}

int64_t premise_time(const char *command, const char *flag, const char *value)
{
    int64_t seconds = 0;
    if (date_parse(value, &seconds) && seconds > 0)
        return seconds;
    (void)fprintf(stderr,
                  "%s: --%s %s: write a time like 2027-03-28T00:00:00Z, after 1970 (%s --help)\n",
                  command, flag, value, command);
    return -1;
}
