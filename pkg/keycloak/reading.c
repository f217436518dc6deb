/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/reading.h"

#include <stdlib.h>
#include <string.h>

struct reading *reading_new(int64_t taken_ms)
{
    struct reading *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->taken_ms = taken_ms;
    return r;
}

void reading_free(struct reading *r)
{
    if (r == NULL)
        return;
    realm_keys_release(&r->keys);
    free(r->issuer);
    free(r->jwks_uri);
    free(r);
}

size_t reading_usable(const struct realm_keys *keys)
{
    size_t usable = 0;
    for (size_t i = 0; i < keys->count; i++)
        usable += keys->keys[i].status != REALM_KEY_DISABLED;
    return usable;
}

bool reading_copy_providers(struct realm_keys *into, const struct realm_keys *from)
{
    bool whole = true;
    for (size_t i = 0; i < into->count; i++) {
        struct realm_key *key = &into->keys[i];
        for (size_t n = 0; n < from->count && key->provider[0] == '\0'; n++) {
            if (strcmp(from->keys[n].component, key->component) == 0)
                memcpy(key->provider, from->keys[n].provider, sizeof(key->provider));
        }
        whole = whole && key->provider[0] != '\0';
    }
    return whole;
}

int reading_copy_claims(struct realm_keys *into, const struct realm_keys *from)
{
    size_t size = from->claims_count * sizeof(*from->claims);
    struct realm_claim *copy = size > 0 ? malloc(size) : NULL;
    if (size > 0 && copy == NULL)
        return -1;
    if (size > 0)
        memcpy(copy, from->claims, size);
    free(into->claims);
    into->claims = copy;
    into->claims_count = from->claims_count;
    return 0;
}

/* The hashes stand for all that is derived from the key and from its certificate. */
static bool same_key(const struct jose_key *a, const struct jose_key *b)
{
    return strcmp(a->spki_sha256, b->spki_sha256) == 0 && strcmp(a->x5t_s256, b->x5t_s256) == 0 &&
           strcmp(a->kid, b->kid) == 0 && strcmp(a->alg, b->alg) == 0;
}

void reading_share_keys(struct realm_keys *new, const struct realm_keys *old)
{
    for (size_t i = 0; i < new->count; i++) {
        for (size_t n = 0; n < old->count; n++) {
            if (!same_key(new->keys[i].key, old->keys[n].key))
                continue;
            jose_key_unref(new->keys[i].key);
            new->keys[i].key = jose_key_ref(old->keys[n].key);
            break;
        }
    }
}

/* --- digests -------------------------------------------------------------------------------- */

struct line {
    char hash[JOSE_HASH_TEXT];
};

static int compare_lines(const void *a, const void *b)
{
    return strcmp(((const struct line *)a)->hash, ((const struct line *)b)->hash);
}

/* Each field ends with a byte that is in none of them. */
static void add_field(struct buf *b, const char *text)
{
    buf_append_text(b, text);
    buf_append_char(b, '\n');
}

static int key_line(const struct realm_key *key, bool with_provider, struct line *ret)
{
    struct buf cleanup_buf b = {0};
    add_field(&b, key->key->kid);
    add_field(&b, key->key->alg);
    add_field(&b, key->key->spki_sha256);
    add_field(&b, key->key->x5t_s256);
    add_field(&b, key->component);
    add_field(&b, with_provider ? key->provider : "");
    buf_appendf(&b, "%d %d %lld", (int)key->status, key->certificate_unreadable,
                (long long)key->priority);
    jose_sha256(buf_text(&b), b.len, ret->hash);
    return b.failed ? -1 : 0;
}

static int active_line(const struct realm_active *active, struct line *ret)
{
    struct buf cleanup_buf b = {0};
    add_field(&b, "active");
    add_field(&b, active->alg);
    add_field(&b, active->kid);
    jose_sha256(buf_text(&b), b.len, ret->hash);
    return b.failed ? -1 : 0;
}

static int claim_line(const struct realm_claim *claim, struct line *ret)
{
    struct buf cleanup_buf b = {0};
    add_field(&b, "claim");
    add_field(&b, claim->component);
    add_field(&b, claim->name);
    add_field(&b, claim->provider);
    jose_sha256(buf_text(&b), b.len, ret->hash);
    return b.failed ? -1 : 0;
}

int reading_keys_digest(const struct realm_keys *keys, bool with_components,
                        char out[JOSE_HASH_TEXT])
{
    size_t claims = with_components ? keys->claims_count : 0;
    size_t count = keys->count + keys->active_count + claims;
    struct line *lines = calloc(count + 1, sizeof(*lines));
    if (lines == NULL)
        return -1;
    int result = 0;
    for (size_t i = 0; i < keys->count; i++)
        result |= key_line(&keys->keys[i], with_components, &lines[i]);
    for (size_t i = 0; i < keys->active_count; i++)
        result |= active_line(&keys->active[i], &lines[keys->count + i]);
    for (size_t i = 0; i < claims; i++)
        result |= claim_line(&keys->claims[i], &lines[keys->count + keys->active_count + i]);
    qsort(lines, count, sizeof(*lines), compare_lines);
    struct buf cleanup_buf b = {0};
    for (size_t i = 0; i < count; i++)
        add_field(&b, lines[i].hash);
    free(lines);
    add_field(&b, keys->duplicate_kid);
    add_field(&b, keys->unreadable_why);
    buf_appendf(&b, "%zu %zu %zu %d", keys->skipped, keys->unreadable, keys->overflow,
                with_components && keys->claims_known);
    jose_sha256(buf_text(&b), b.len, out);
    return result != 0 || b.failed ? -1 : 0;
}

void reading_discovery_digest(const struct discovery *discovery, char out[JOSE_HASH_TEXT])
{
    char text[sizeof(*discovery) + 2];
    (void)text_format(text, sizeof(text), "%s\n%s", discovery->issuer, discovery->jwks_uri);
    jose_sha256(text, strlen(text), out);
}
