/* SPDX-License-Identifier: Apache-2.0 */
#include "keycloak/source.h"

#include <stdlib.h>
#include <string.h>
#include "keycloak/feed.h"

struct sources *sources_new(const struct sources_options *options)
{
    struct sources *all = calloc(1, sizeof(*all));
    if (all == NULL)
        return NULL;
    all->options = *options;
    all->random = options->seed != 0 ? options->seed : 1;
    return all;
}

void sources_free(struct sources *all)
{
    if (all == NULL)
        return;
    size_t it = 0;
    void *value;
    while (map_next(&all->feeds, &it, NULL, &value)) {
        struct feed *f = value;
        while (f->subscribers != NULL) {
            struct source *s = f->subscribers;
            f->subscribers = s->next;
            free(s);
        }
        feed_free(f);
    }
    map_release(&all->feeds);
    free(all);
}

static void add_part(struct buf *b, const char *text)
{
    if (text != NULL)
        buf_append_json(b, text); /* quoted: no two lists of parts give one text */
    buf_append_char(b, '\n');
}

/* What makes two sources the same, as one malloc'ed text. NULL out of memory. */
static char *name_of(const struct source_key *key)
{
    struct buf cleanup_buf b = {0};
    char hash[JOSE_HASH_TEXT];
    struct str base = key->kind == SOURCE_JWKS ? str_from(key->url) : feed_base(key->url);
    bool admin = key->kind == SOURCE_ADMIN;
    buf_appendf(&b, "%d\n", (int)key->kind);
    buf_append_json_str(&b, base);
    add_part(&b, admin ? key->realm : NULL);
    add_part(&b, admin ? key->namespace : NULL);
    add_part(&b, admin ? key->secret : NULL);
    add_part(&b, key->ca_pem);
    if (b.failed)
        return NULL;
    jose_sha256(b.data, b.len, hash);
    return strdup(hash);
}

/* The feed of that key, made where there is none. NULL out of memory. */
static struct feed *find_feed(struct sources *all, const struct source_key *key)
{
    char *name = name_of(key);
    struct feed *f = name != NULL ? map_get(&all->feeds, name) : NULL;
    if (f != NULL || name == NULL) {
        free(name);
        return f;
    }
    f = feed_new(all, key, name);
    if (f == NULL)
        return NULL;
    if (map_put(&all->feeds, f->name, f, NULL) != 0) {
        feed_free(f);
        return NULL;
    }
    all->counts[key->kind]++;
    return f;
}

static void drop_feed(struct feed *f)
{
    map_remove(&f->all->feeds, f->name);
    f->all->counts[f->key.kind]--;
    if (f->telling)
        f->dropped = true; /* whoever tells frees it */
    else
        feed_free(f);
}

struct source *source_subscribe(struct sources *all, const struct source_key *key,
                                int64_t interval_ms, void *subscriber_ctx)
{
    struct source *s = calloc(1, sizeof(*s));
    struct feed *f = s != NULL ? find_feed(all, key) : NULL;
    if (f == NULL) {
        free(s);
        return NULL;
    }
    s->feed = f;
    s->interval_ms = interval_ms;
    s->ctx = subscriber_ctx;
    s->next = f->subscribers;
    if (s->next != NULL)
        s->next->prev = s;
    f->subscribers = s;
    feed_set_interval(f);
    return s;
}

void source_unsubscribe(struct source *s)
{
    if (s == NULL)
        return;
    struct feed *f = s->feed;
    if (f->admin != NULL)
        write_owner_left(f, s);
    if (f->cursor == s)
        f->cursor = s->next;
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        f->subscribers = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    free(s);
    if (f->subscribers == NULL)
        drop_feed(f);
    else
        feed_set_interval(f);
}

void source_set_interval(struct source *s, int64_t interval_ms)
{
    if (s->interval_ms == interval_ms)
        return;
    s->interval_ms = interval_ms;
    feed_set_interval(s->feed);
}

uint64_t source_poll_now(struct source *s)
{
    uint64_t under_way = s->feed->polling ? 1 : 0;
    feed_poll_now(s->feed);
    return s->feed->polls + under_way + 1;
}

struct reading *source_reading(const struct source *s)
{
    return s->feed->reading;
}

const struct err *source_err(const struct source *s)
{
    return &s->feed->err;
}

int64_t source_polled_ms(const struct source *s)
{
    return s->feed->polled_ms;
}

uint64_t source_polls(const struct source *s)
{
    return s->feed->polls;
}

/* --- writing -----------------------------------------------------------------------------------
 */

int source_write(struct source *s, const struct source_write *write)
{
    if (s->feed->admin == NULL || write_submit(s->feed, s, write) != 0)
        return -1;
    feed_poll_now(s->feed);
    return 0;
}

bool source_writing(const struct source *s)
{
    return s->feed->admin != NULL && s->feed->admin->write.state != WRITE_NONE;
}

const struct source_written *source_written(const struct source *s)
{
    static const struct source_written none;
    return s->feed->admin != NULL ? &s->feed->admin->write.written : &none;
}

void source_mint(struct source *s)
{
    if (s->feed->admin == NULL)
        return;
    s->feed->admin->mint_wanted = true;
    feed_poll_now(s->feed);
}

const struct source_minted *source_minted(const struct source *s)
{
    static const struct source_minted none;
    return s->feed->admin != NULL ? &s->feed->admin->header : &none;
}

void source_want_lifespan(struct source *s, bool wanted)
{
    s->wants_lifespan = wanted;
}

const struct source_lifespan *source_lifespan(const struct source *s)
{
    static const struct source_lifespan none;
    return s->feed->admin != NULL ? &s->feed->admin->lifespan.result : &none;
}

const struct err *source_components_err(const struct source *s)
{
    static const struct err none;
    return s->feed->admin != NULL ? &s->feed->admin->components_err : &none;
}

/* --- all of them -------------------------------------------------------------------------------
 */

size_t sources_count(const struct sources *all, enum source_kind kind)
{
    return all->counts[kind];
}

const char *sources_next_peer(const struct sources *all, size_t *it)
{
    void *value;
    if (!map_next(&all->feeds, it, NULL, &value))
        return NULL;
    const struct feed *f = value;
    return f->peer != NULL ? f->peer : "";
}
