/* SPDX-License-Identifier: Apache-2.0 */
#include "trust/render.h"

#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/date.h"
#include "jose/encoding.h"
#include "rotation/model.h"

#define FILES_MAX (2 * LIMIT_KEYS + 4)
#define PEM_COLUMNS 64
#define FILE_NAME_MAX 253 /* Kubernetes: a key of a Secret or ConfigMap */

struct rendering {
    const struct trust_set *set;
    struct trust_sorted sorted;
    unsigned formats;
    struct arena *arena;
    const char *stems[LIMIT_KEYS]; /* file names without their ends, by sorted key */
    struct trust_file *files;
    size_t count;
    size_t bytes;
    bool failed; /* out of memory */
};

static bool with_certs(const struct rendering *r)
{
    return (r->formats & (FORMAT_X509 | FORMAT_X5C)) != 0;
}

/* Of a Secret's or ConfigMap's key: [-._a-zA-Z0-9]+, not beginning with ".."; here without its
 * end. */
static bool is_file_name(const char *kid)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    size_t len = strspn(kid, allowed);
    return kid[len] == '\0' && len > 0 && len + strlen(".pem") <= FILE_NAME_MAX && kid[0] != '.' &&
           strcmp(kid, "bundle") != 0 && strcmp(kid, "certs") != 0;
}

/* A kid that is the thumbprint of another key would take that key's name. */
static bool is_thumbprint_of_another(const struct rendering *r, const struct jose_key *key)
{
    for (size_t i = 0; i < r->sorted.count; i++) {
        const char *thumbprint = r->sorted.keys[i]->key->thumbprint;
        if (strcmp(thumbprint, key->kid) == 0 && strcmp(thumbprint, key->thumbprint) != 0) {
            return true;
        }
    }
    return false;
}

static void choose_stems(struct rendering *r)
{
    for (size_t i = 0; i < r->sorted.count; i++) {
        const struct jose_key *key = r->sorted.keys[i]->key;
        bool plain = is_file_name(key->kid) && !is_thumbprint_of_another(r, key);
        r->stems[i] = plain ? key->kid : key->thumbprint;
    }
}

/* Moves the text into the arena as one more file. The first of two with one name stays: they are
 * one key under two kids. */
static void add_file(struct rendering *r, const char *stem, const char *end, struct buf *text)
{
    char name[FILE_NAME_MAX + 1];
    if (text->failed || !text_format(name, sizeof(name), "%s%s", stem, end)) {
        r->failed = true;
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->files[i].name, name) == 0) {
            return;
        }
    }
    r->bytes += strlen(name) + text->len;
    if (r->bytes > LIMIT_OBJECT_BYTES) {
        return; /* said at the end; nothing more is kept */
    }
    char *data = arena_str(r->arena, buf_view(text));
    char *kept = arena_strdup(r->arena, name);
    if (data == NULL || kept == NULL) {
        r->failed = true;
        return;
    }
    r->files[r->count++] = (struct trust_file){kept, {data, text->len}};
}

/* RFC 7468: 64 characters a line. */
static void append_pem(struct rendering *r, struct buf *out, const char *label,
                       const unsigned char *der, size_t len)
{
    char *text = malloc((len + 2) / 3 * 4 + 1);
    if (text == NULL) {
        r->failed = true;
        return;
    }
    jose_base64(der, len, text);
    buf_appendf(out, "-----BEGIN %s-----\n", label);
    for (const char *at = text; *at != '\0';) {
        size_t columns = strnlen(at, PEM_COLUMNS);
        buf_append(out, at, columns);
        buf_append_char(out, '\n');
        at += columns;
    }
    buf_appendf(out, "-----END %s-----\n", label);
    free(text);
}

static void append_member(struct buf *out, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        buf_appendf(out, ",\"%s\":", name);
        buf_append_json(out, text);
    }
}

static void append_x5c(struct rendering *r, struct buf *out, const struct jose_key *key)
{
    char *text = malloc((key->cert_len + 2) / 3 * 4 + 1);
    if (text == NULL) {
        r->failed = true;
        return;
    }
    jose_base64(key->cert, key->cert_len, text);
    buf_appendf(out, ",\"x5c\":[\"%s\"]", text);
    append_member(out, "x5t#S256", key->x5t_s256);
    free(text);
}

static const char *kty_name(enum jose_kty kty)
{
    switch (kty) {
    case JOSE_RSA: return "RSA";
    case JOSE_EC: return "EC";
    case JOSE_OKP: return "OKP";
    }
    return "";
}

/* RFC 7517; one key a line. */
static void render_jwks(struct rendering *r)
{
    struct buf cleanup_buf out = {0};
    buf_append_text(&out, "{\"keys\":[");
    for (size_t i = 0; i < r->sorted.count; i++) {
        const struct jose_key *key = r->sorted.keys[i]->key;
        buf_appendf(&out, "%s\n{\"kty\":\"%s\"", i == 0 ? "" : ",", kty_name(key->kty));
        append_member(&out, "kid", key->kid);
        buf_append_text(&out, ",\"use\":\"sig\"");
        append_member(&out, "alg", key->alg);
        append_member(&out, "n", key->n);
        append_member(&out, "e", key->e);
        append_member(&out, "crv", key->crv);
        append_member(&out, "x", key->x);
        append_member(&out, "y", key->y);
        if ((r->formats & FORMAT_X5C) != 0 && key->cert != NULL) {
            append_x5c(r, &out, key);
        }
        buf_append_char(&out, '}');
    }
    buf_append_text(&out, "\n]}\n");
    add_file(r, "jwks", ".json", &out);
}

static void render_pem(struct rendering *r)
{
    struct buf cleanup_buf all = {0};
    for (size_t i = 0; i < r->sorted.count; i++) {
        const struct jose_key *key = r->sorted.keys[i]->key;
        struct buf cleanup_buf one = {0};
        append_pem(r, &one, "PUBLIC KEY", key->spki, key->spki_len);
        buf_append_str(&all, buf_view(&one));
        add_file(r, r->stems[i], ".pem", &one);
    }
    add_file(r, "bundle", ".pem", &all);
}

/* certs.pem is there even when no key has a certificate: a program that is told to read it starts.
 */
static void render_certs(struct rendering *r)
{
    struct buf cleanup_buf all = {0};
    for (size_t i = 0; i < r->sorted.count; i++) {
        const struct jose_key *key = r->sorted.keys[i]->key;
        if (key->cert != NULL) {
            struct buf cleanup_buf one = {0};
            append_pem(r, &one, "CERTIFICATE", key->cert, key->cert_len);
            buf_append_str(&all, buf_view(&one));
            add_file(r, r->stems[i], ".crt", &one);
        }
    }
    add_file(r, "certs", ".pem", &all);
}

static void append_validity(struct buf *out, const struct jose_key *key)
{
    char not_before[DATE_TEXT_MAX];
    char not_after[DATE_TEXT_MAX];
    if (key->cert == NULL) {
        buf_append_text(out, ",\"x5tS256\":null,\"notBefore\":null,\"notAfter\":null");
        return;
    }
    date_rfc3339(key->not_before_s, not_before);
    date_rfc3339(key->not_after_s, not_after);
    append_member(out, "x5tS256", key->x5t_s256);
    append_member(out, "notBefore", not_before);
    append_member(out, "notAfter", not_after);
}

static void render_manifest(struct rendering *r)
{
    struct buf cleanup_buf out = {0};
    char hash[TRUST_HASH_TEXT];
    trust_hash(r->set, r->formats, hash);
    if (hash[0] == '\0') {
        r->failed = true;
        return;
    }
    buf_appendf(&out, "{\"trustHash\":\"%s\",\"issuer\":", hash);
    buf_append_json(&out, r->set->issuer);
    buf_append_text(&out, ",\"keys\":[");
    for (size_t i = 0; i < r->sorted.count; i++) {
        const struct trust_key *entry = r->sorted.keys[i];
        buf_appendf(&out, "%s\n{\"kid\":", i == 0 ? "" : ",");
        buf_append_json(&out, entry->key->kid);
        append_member(&out, "alg", entry->key->alg);
        append_member(&out, "lifecycle", entry->lifecycle);
        append_member(&out, "spkiSHA256", entry->key->spki_sha256);
        if (with_certs(r)) {
            append_validity(&out, entry->key);
        }
        buf_append_char(&out, '}');
    }
    buf_append_text(&out, "\n]}\n");
    add_file(r, "manifest", ".json", &out);
}

static int by_name(const void *a, const void *b)
{
    const struct trust_file *left = a;
    const struct trust_file *right = b;
    return strcmp(left->name, right->name);
}

static int check_set(const struct trust_set *set, struct trust_sorted *sorted, struct err *err)
{
    if (!trust_sort(set, sorted)) {
        return err_set(err, set->count == 0 ? ERR_INVALID : ERR_LIMIT,
                       "a trust set has 1 to %d keys, not %zu", LIMIT_KEYS, set->count);
    }
    for (size_t i = 1; i < sorted->count; i++) {
        if (strcmp(sorted->keys[i - 1]->key->kid, sorted->keys[i]->key->kid) == 0) {
            return err_set(err, ERR_INVALID, "the trust set holds kid %s twice",
                           sorted->keys[i]->key->kid);
        }
    }
    return 0;
}

int trust_render(const struct trust_set *set, unsigned formats, struct arena *arena,
                 struct trust_files *ret, struct err *err)
{
    struct rendering r = {.set = set, .formats = formats, .arena = arena};
    *ret = (struct trust_files){0};
    if (check_set(set, &r.sorted, err) != 0) {
        return -1;
    }
    r.files = arena_array(arena, FILES_MAX, sizeof(*r.files));
    if (r.files == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory while rendering %zu keys", set->count);
    }
    choose_stems(&r);
    if ((formats & FORMAT_JWKS) != 0) {
        render_jwks(&r);
    }
    if ((formats & FORMAT_PEM) != 0) {
        render_pem(&r);
    }
    if ((formats & FORMAT_X509) != 0) {
        render_certs(&r);
    }
    render_manifest(&r);
    if (r.failed) {
        return err_set(err, ERR_NO_MEMORY, "out of memory while rendering %zu keys", set->count);
    }
    if (r.bytes > LIMIT_OBJECT_BYTES) {
        return err_set(
            err, ERR_LIMIT,
            "%zu keys make more than the %lu bytes that one object may hold: publish fewer formats",
            set->count, LIMIT_OBJECT_BYTES);
    }
    qsort(r.files, r.count, sizeof(*r.files), by_name);
    *ret = (struct trust_files){r.files, r.count, r.bytes};
    return 0;
}
