/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/known.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codec/json.h"

#define RECORD_VERSION 1

static void forget_key(struct known_key *k)
{
    jose_key_unref(k->key);
    *k = (struct known_key){0};
}

void known_release(struct known *known)
{
    for (size_t i = 0; i < known->count; i++)
        forget_key(&known->keys[i]);
    free(known->keys);
    free(known->incomplete_why);
    free(known->reused_kid);
    free(known->duplicate_kid);
    free(known->lost_kid);
    *known = (struct known){0};
}

/* ---- record ---- */

static void append_base64(struct buf *out, const unsigned char *data, size_t len)
{
    if (data == NULL || len == 0 || len > LIMIT_CERT_BYTES) {
        buf_append_text(out, "null");
        return;
    }
    unsigned char *text = malloc(len / 3 * 4 + 5);
    if (text == NULL) {
        out->failed = true;
        return;
    }
    int written = EVP_EncodeBlock(text, data, (int)len);
    buf_append_char(out, '"');
    buf_append(out, text, (size_t)written);
    buf_append_char(out, '"');
    free(text);
}

static int by_kid(const void *a, const void *b)
{
    const struct jose_key *const *left = a, *const *right = b;
    return strcmp((*left)->kid, (*right)->kid);
}

/* Always in the same order: a realm names its keys now in one and now in another. */
void known_encode(const struct known *known, bool certificates, struct buf *out)
{
    const struct jose_key *keys[LIMIT_KEYS];
    for (size_t i = 0; i < known->count; i++)
        keys[i] = known->keys[i].key;
    qsort(keys, known->count, sizeof(keys[0]), by_kid);
    buf_appendf(out, "{\"version\":%d,\"keys\":[", RECORD_VERSION);
    for (size_t i = 0; i < known->count; i++) {
        const struct jose_key *k = keys[i];
        buf_append_text(out, i > 0 ? ",\n {\"kid\":" : "\n {\"kid\":");
        buf_append_json(out, k->kid);
        buf_append_text(out, ",\"alg\":");
        buf_append_json(out, k->alg);
        buf_append_text(out, ",\"spki\":");
        append_base64(out, k->spki, k->spki_len);
        buf_append_text(out, ",\"certificate\":");
        append_base64(out, certificates ? k->cert : NULL, k->cert_len);
        buf_append_char(out, '}');
    }
    buf_append_text(out, "\n]}\n");
}

static const struct key_status *find_status(const struct rotation_status *status,
                                            const struct jose_key *key)
{
    for (size_t i = 0; i < status->keys_count; i++)
        if (text_eq(status->keys[i].kid, key->kid) &&
            text_eq(status->keys[i].spki_sha256, key->spki_sha256))
            return &status->keys[i];
    return NULL;
}

bool known_is_named(const struct known *known, const struct rotation_status *status)
{
    for (size_t i = 0; i < known->count; i++)
        if (find_status(status, known->keys[i].key) == NULL)
            return false;
    return true;
}

static void restore_key(struct known *known, const struct rotation_status *status,
                        const json_t *entry)
{
    const char *kid = json_text(entry, "kid"), *alg = json_text(entry, "alg"),
               *spki = json_text(entry, "spki");
    if (kid == NULL || alg == NULL || spki == NULL || known->count == LIMIT_KEYS)
        return;
    struct jose_key *key =
        jose_key_from_spki(kid, alg, spki, json_text(entry, "certificate"), NULL, NULL);
    if (key == NULL)
        return;
    const struct key_status *said = find_status(status, key);
    bool twice = false;
    for (size_t i = 0; i < known->count; i++)
        twice = twice || text_eq(known->keys[i].key->kid, key->kid);
    struct known_key *more =
        said == NULL || twice ? NULL : reallocarray(known->keys, known->count + 1, sizeof(*more));
    if (more == NULL) {
        jose_key_unref(key);
        return;
    }
    known->keys = more;
    struct known_key *k = &known->keys[known->count++];
    *k = (struct known_key){
        .key = key, .state = said->state, .signs = text_eq(status->active_kid, kid)};
    (void)snprintf(k->component, sizeof(k->component), "%s",
                   said->component != NULL ? said->component : "");
    (void)snprintf(k->provider, sizeof(k->provider), "%s",
                   said->provider != NULL ? said->provider : "");
    known->replaced = known->replaced || said->state == KEY_HELD;
}

static void restore_keys(struct known *known, const struct rotation_status *status,
                         const char *record_text)
{
    json_t *tree cleanup_json = json_load(str_from(record_text), false, "record", NULL);
    if (tree == NULL || json_number(tree, "version", 0) != RECORD_VERSION)
        return;
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(tree, "keys"), i, entry)
    {
        restore_key(known, status, entry);
    }
    if (known->count > 0)
        known->version++;
}

/* A key that had left the realm, which status names and the set has not; or NULL. Keys that the
 * realm still has come back with its next reading. */
static const char *missing_kid(const struct known *known, const struct rotation_status *status)
{
    for (size_t i = 0; i < status->keys_count; i++) {
        bool there = false;
        if (status->keys[i].state != KEY_HELD && status->keys[i].state != KEY_LEAVING)
            continue;
        for (size_t k = 0; k < known->count; k++)
            there = there || text_eq(known->keys[k].key->kid, status->keys[i].kid);
        if (!there)
            return status->keys[i].kid;
    }
    return NULL;
}

bool known_has_named(const struct known *known, const struct rotation_status *status)
{
    return missing_kid(known, status) == NULL;
}

void known_restore(struct known *known, const struct rotation_status *status,
                   const char *record_text)
{
    known->loaded = true;
    if (record_text != NULL && status->keys_count > 0)
        restore_keys(known, status, record_text);
    state_text(&known->lost_kid, missing_kid(known, status));
}

/* ---- readings ---- */

struct seen { /* a reading as keyset wants it */
    struct keyset_seen keys[LIMIT_KEYS];
    const struct realm_key *from[LIMIT_KEYS];
    size_t count;
};

static void see(const struct realm_keys *keys, struct seen *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < keys->count && ret->count < LIMIT_KEYS; i++) {
        const struct realm_key *k = &keys->keys[i];
        if (k->status == REALM_KEY_DISABLED)
            continue;
        ret->keys[ret->count] =
            (struct keyset_seen){k->key->kid, k->key->spki_sha256, k->status == REALM_KEY_ACTIVE};
        ret->from[ret->count++] = k;
    }
}

static void describe(struct known_key *k, const struct realm_key *from,
                     const struct realm_keys *keys)
{
    k->signs = realm_keys_sign(keys, from->key);
    k->certificate_unreadable = from->certificate_unreadable;
    (void)snprintf(k->component, sizeof(k->component), "%s", from->component);
    (void)snprintf(k->provider, sizeof(k->provider), "%s", from->provider);
}

static bool same_key(const struct known_key *a, const struct known_key *b)
{
    return a->state == b->state && a->signs == b->signs && text_eq(a->key->kid, b->key->kid) &&
           text_eq(a->key->spki_sha256, b->key->spki_sha256) &&
           text_eq(a->key->x5t_s256, b->key->x5t_s256) && text_eq(a->key->alg, b->key->alg) &&
           text_eq(a->component, b->component) && text_eq(a->provider, b->provider) &&
           a->certificate_unreadable == b->certificate_unreadable;
}

/* The key of an entry. A certificate that cannot be read now costs nobody the one read before. */
static struct jose_key *key_of(const struct known *known, const struct keyset_entry *e,
                               const struct seen *seen)
{
    struct jose_key *old = e->known >= 0 ? known->keys[e->known].key : NULL;
    if (e->seen < 0)
        return old;
    const struct realm_key *from = seen->from[e->seen];
    bool lost = from->certificate_unreadable && from->key->cert == NULL;
    bool keeps = lost && old != NULL && text_eq(old->spki_sha256, from->key->spki_sha256);
    return keeps ? old : from->key;
}

/* The decided set takes the place of the known one; true when they differ in anything shown. */
static bool adopt(struct known *known, const struct keyset_result *result, const struct seen *seen,
                  const struct realm_keys *keys)
{
    static const struct known_key nothing;
    struct known_key *next = calloc(result->count + 1, sizeof(*next));
    bool changed = result->count != known->count;
    if (next == NULL)
        return false;
    for (size_t i = 0; i < result->count; i++) {
        const struct keyset_entry *e = &result->keys[i];
        struct known_key *k = &next[i];
        *k = e->known >= 0 ? known->keys[e->known] : nothing;
        k->key = jose_key_ref(key_of(known, e, seen));
        if (e->seen >= 0)
            describe(k, seen->from[e->seen], keys);
        else
            k->signs = false;
        k->state = e->state;
        k->misses = e->misses;
        k->missed_ms = e->missed_ms;
        changed = changed || e->known < 0 || !same_key(k, &known->keys[e->known]);
    }
    for (size_t i = 0; i < known->count; i++)
        forget_key(&known->keys[i]);
    free(known->keys);
    known->keys = next;
    known->count = result->count;
    return changed;
}

static void acknowledge_value(const struct seen *seen, char out[TRUST_HASH_TEXT])
{
    struct trust_key keys[LIMIT_KEYS];
    for (size_t i = 0; i < seen->count; i++)
        keys[i] = (struct trust_key){seen->from[i]->key, ""};
    struct trust_set set = {.keys = keys, .count = seen->count};
    out[0] = '\0';
    if (seen->count > 0)
        trust_hash(&set, FORMAT_JWKS, out);
}

/* Says nothing that can be followed: which key a kid means, or which of too many are meant. */
static bool is_unusable(const struct realm_keys *keys)
{
    return keys->duplicate_kid[0] != '\0' || keys->overflow > 0;
}

/* The two are read one after the other, so that each change of the realm makes them differ for a
 * moment: only what lasts for an interval is worth telling. */
static void follow_disagreement(struct known *known, bool disagrees, const struct keyset_reading *r)
{
    if (!disagrees)
        known->disagrees_ms = 0;
    else if (known->disagrees_ms == 0)
        known->disagrees_ms = r->until_ms;
    known->disagrees = disagrees && r->from_ms - known->disagrees_ms >= r->interval_ms;
}

static bool fold(struct known *known, const struct known_input *in, struct reading *main)
{
    struct seen *seen = calloc(2, sizeof(*seen)), *served;
    if (seen == NULL)
        return false;
    served = &seen[1];
    see(&main->keys, seen);
    if (in->by_admin && in->jwks != NULL && in->jwks_ok)
        see(&in->jwks->keys, served);
    struct keyset_reading r = {
        .keys = seen->keys,
        .count = seen->count,
        .by_admin = in->by_admin,
        .unusable = is_unusable(&main->keys) || (in->blocked && !in->by_admin),
        .partial = main->keys.unreadable > 0,
        .served = in->by_admin && in->jwks != NULL && in->jwks_ok ? served->keys : NULL,
        .served_count = served->count,
        .from_ms = main->taken_ms,
        .until_ms = main->taken_ms,
        .interval_ms = in->interval_ms};
    if (r.served != NULL && in->jwks->taken_ms < r.from_ms)
        r.from_ms = in->jwks->taken_ms;
    if (r.served != NULL && in->jwks->taken_ms > r.until_ms)
        r.until_ms = in->jwks->taken_ms;
    acknowledge_value(seen, known->acknowledge);
    r.acknowledged = known->acknowledge[0] != '\0' && text_eq(in->acknowledge, known->acknowledge);
    struct keyset_key before[LIMIT_KEYS];
    for (size_t i = 0; i < known->count; i++)
        before[i] = (struct keyset_key){known->keys[i].key->kid, known->keys[i].key->spki_sha256,
                                        known->keys[i].state, known->keys[i].misses,
                                        known->keys[i].missed_ms};
    struct keyset_result result;
    keyset_follow(before, known->count, &r, &result);
    known->replaced = result.replaced;
    follow_disagreement(known, result.disagrees, &r);
    known->overflow = result.overflow + main->keys.overflow;
    known->incomplete = main->keys.unreadable > 0;
    state_text(&known->incomplete_why, known->incomplete ? main->keys.unreadable_why : NULL);
    state_text(&known->duplicate_kid,
               main->keys.duplicate_kid[0] != '\0' ? main->keys.duplicate_kid : NULL);
    state_text(&known->reused_kid,
               result.reused >= 0 && !r.acknowledged ? r.keys[result.reused].kid : NULL);
    bool changed = adopt(known, &result, seen, &main->keys);
    free(seen);
    return changed;
}

size_t known_given(const struct known *known)
{
    size_t given = 0;
    for (size_t i = 0; i < known->count; i++)
        given += !known->keys[i].withheld;
    return given;
}

bool known_follow(struct known *known, const struct known_input *in)
{
    struct reading *main = in->by_admin ? in->admin : in->jwks;
    uint64_t admin = in->admin != NULL ? in->admin->number : 0,
             jwks = in->jwks != NULL ? in->jwks->number : 0;
    bool pending = known->replaced ||
                   known->reused_kid != NULL; /* an acknowledgement may come between readings */
    if (!known->loaded || main == NULL)
        return false;
    if (!pending && known->seen[SOURCE_ADMIN] == admin && known->seen[SOURCE_JWKS] == jwks)
        return false;
    if (in->by_admin && in->jwks == NULL && known->count > 0 &&
        known->seen[SOURCE_ADMIN] == admin && !pending)
        return false;
    known->seen[SOURCE_ADMIN] = admin;
    known->seen[SOURCE_JWKS] = jwks;
    if (!fold(known, in, main))
        return false;
    known->version++;
    return true;
}
