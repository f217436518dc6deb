/* SPDX-License-Identifier: Apache-2.0 */
#include "trust/trust.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/date.h"
#include "base/limits.h"
#include "rotation/model.h"
#include "trust/render.h"

/* The bits are written into the trust hash: another value would restart every consumer. */
_Static_assert(FORMAT_JWKS == 1 && FORMAT_PEM == 2 && FORMAT_X509 == 4 && FORMAT_X5C == 8,
               "formats of the trust hash");

static int by_kid(const void *a, const void *b)
{
    const struct trust_key *const *left = a;
    const struct trust_key *const *right = b;
    return strcmp((*left)->key->kid, (*right)->key->kid);
}

bool trust_sort(const struct trust_set *set, struct trust_sorted *ret)
{
    ret->count = set->count;
    if (set->count == 0 || set->count > LIMIT_KEYS) {
        return false;
    }
    for (size_t i = 0; i < set->count; i++) {
        ret->keys[i] = &set->keys[i];
    }
    qsort(ret->keys, ret->count, sizeof(ret->keys[0]), by_kid);
    return true;
}

static void versioned_hash(const struct buf *canonical, char out[TRUST_HASH_TEXT])
{
    char hash[JOSE_HASH_TEXT];
    out[0] = '\0';
    jose_sha256(canonical->data, canonical->len, hash);
    if (!canonical->failed && hash[0] != '\0') {
        text_format(out, TRUST_HASH_TEXT, "v1-%s", hash);
    }
}

/* Canonical form v1: the line "keyturn trust v1 formats=F", then for each key in the order of the
 * kids' bytes the lines kid, alg, SHA-256 of the SPKI and, with X509 or X5C, SHA-256 of the
 * certificate ("-" when there is none). No value holds a line break: jose_key sees to the kid. */
void trust_hash(const struct trust_set *set, unsigned formats, char out[TRUST_HASH_TEXT])
{
    struct trust_sorted sorted;
    struct buf cleanup_buf text = {0};
    out[0] = '\0';
    if (!trust_sort(set, &sorted)) {
        return;
    }
    buf_appendf(&text, "keyturn trust v1 formats=%u\n", formats);
    for (size_t i = 0; i < sorted.count; i++) {
        const struct jose_key *key = sorted.keys[i]->key;
        buf_appendf(&text, "%s\n%s\n%s\n", key->kid, key->alg, key->spki_sha256);
        if ((formats & (FORMAT_X509 | FORMAT_X5C)) != 0) {
            buf_appendf(&text, "%s\n", key->cert == NULL ? "-" : key->x5t_s256);
        }
    }
    versioned_hash(&text, out);
}

/* The least hash that is greater than `after`; NULL when there is none. */
static const char *next_hash(const char *const *hashes, size_t count, const char *after)
{
    const char *least = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *hash = hashes[i];
        if (hash != NULL && strcmp(hash, after) > 0 && (least == NULL || strcmp(hash, least) < 0)) {
            least = hash;
        }
    }
    return least;
}

void trust_hash_union(const char *const *hashes, size_t count, char out[TRUST_HASH_TEXT])
{
    struct buf cleanup_buf text = {0};
    const char *first = next_hash(hashes, count, "");
    const char *hash = first == NULL ? NULL : next_hash(hashes, count, first);
    out[0] = '\0';
    if (first == NULL) {
        return;
    }
    if (hash == NULL) {
        /* Cut in no case: hashes are shorter. */
        text_format(out, TRUST_HASH_TEXT, "%s", first);
        return;
    }
    buf_appendf(&text, "keyturn union v1\n%s\n", first);
    for (; hash != NULL; hash = next_hash(hashes, count, hash)) {
        buf_appendf(&text, "%s\n", hash);
    }
    versioned_hash(&text, out);
}

/* Length before content, so that no two lists of files have the same bytes. */
static bool digest_piece(EVP_MD_CTX *ctx, const void *data, size_t len)
{
    unsigned char prefix[8];
    uint64_t rest = len;
    for (size_t i = sizeof(prefix); i-- > 0; rest >>= 8) {
        prefix[i] = (unsigned char)(rest & 0xff);
    }
    return EVP_DigestUpdate(ctx, prefix, sizeof(prefix)) == 1 &&
           (len == 0 || EVP_DigestUpdate(ctx, data, len) == 1);
}

void trust_files_digest(const struct trust_files *files, char out[JOSE_HASH_TEXT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; good && i < files->count; i++) {
        const struct trust_file *file = &files->files[i];
        good = digest_piece(ctx, file->name, strlen(file->name)) &&
               digest_piece(ctx, file->data.data, file->data.len);
    }
    out[0] = '\0';
    if (good && EVP_DigestFinal_ex(ctx, digest, &len) == 1) {
        jose_base64url(digest, len, out);
    }
    EVP_MD_CTX_free(ctx);
}
