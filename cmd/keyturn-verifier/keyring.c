/* SPDX-License-Identifier: Apache-2.0 */
#include "keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/buf.h"
#include "codec/json.h"
#include "codec/keycloak_codec.h"
#include "io/file.h"
#include "jose/encoding.h"

/* Opens the directory that holds one version of all files: what ..data points to, where it is
 * there.
 */
static int open_version(const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        err_set(err, ERR_NOT_FOUND,
                "directory %s: %s: mount the consumer's Secret or ConfigMap there", dir,
                strerror(errno));
        return -1;
    }
    int inner = openat(fd, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (inner < 0) {
        return fd;
    }
    close(fd);
    return inner;
}

/* 1 read, 0 there is none, -1. */
static int read_file(int dir, const char *name, struct buf *out, struct err *err)
{
    struct err why = {0};
    if (file_read_at(dir, name, LIMIT_OBJECT_BYTES, out, &why) == 0) {
        return 1;
    }
    if (why.class == ERR_NOT_FOUND) {
        return 0;
    }
    *err = why;
    return -1;
}

/* NULL in *ret when there is none. */
static int read_manifest(int dir, json_t **ret, struct err *err)
{
    struct buf cleanup_buf text = {0};
    int found = read_file(dir, "manifest.json", &text, err);
    *ret = NULL;
    if (found <= 0) {
        return found;
    }
    *ret = json_load(buf_view(&text), false, "manifest.json", err);
    return *ret == NULL ? -1 : 0;
}

/* Takes the reference. */
static int add_key(struct keyring *ring, struct jose_key *key, struct err *err)
{
    for (size_t i = 0; i < ring->count; i++) {
        if (strcmp(ring->keys[i]->kid, key->kid) == 0) {
            bool same = strcmp(ring->keys[i]->spki_sha256, key->spki_sha256) == 0;
            int result =
                same ? 0 : err_set(err, ERR_INVALID, "kid %s stands for two keys", key->kid);
            jose_key_unref(key);
            return result;
        }
    }
    if (ring->count == LIMIT_KEYS) {
        jose_key_unref(key);
        return err_set(err, ERR_LIMIT, "more than %d keys", LIMIT_KEYS);
    }
    ring->keys[ring->count++] = key;
    return 0;
}

static int load_jwks(struct str text, struct keyring *ring, struct err *err)
{
    struct realm_keys keys = {0};
    int result = jwks_decode(text, &keys, err);
    if (result == 0 && keys.unreadable > 0) {
        /* Half a trust set would refuse good tokens without a word. */
        result = err_set(err, ERR_INVALID, "%s", keys.unreadable_why);
    }
    if (result == 0 && keys.duplicate_kid[0] != '\0') {
        result = err_set(err, ERR_INVALID, "kid %s stands for two keys", keys.duplicate_kid);
    }
    if (result == 0 && keys.overflow > 0) {
        result = err_set(err, ERR_LIMIT, "more than %d keys", LIMIT_KEYS);
    }
    for (size_t i = 0; result == 0 && i < keys.count; i++) {
        result = add_key(ring, jose_key_ref(keys.keys[i].key), err);
    }
    realm_keys_release(&keys);
    return result;
}

/* One key of a PEM file under each kid that the manifest has for it. */
static int add_pem_key(struct keyring *ring, const json_t *manifest, const char *spki64,
                       struct err *err)
{
    const json_t *entries = json_object_get(manifest, "keys");
    struct jose_key *plain = jose_key_from_spki("unnamed", NULL, spki64, NULL, NULL, err);
    char kid[JOSE_HASH_TEXT];
    bool named = false;
    if (plain == NULL) {
        return -1;
    }
    memcpy(kid, plain->spki_sha256, sizeof(kid));
    jose_key_unref(plain);
    if (manifest == NULL) {
        struct jose_key *key = jose_key_from_spki(kid, NULL, spki64, NULL, NULL, err);
        return key == NULL ? -1 : add_key(ring, key, err);
    }
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        if (!text_eq(json_text(entry, "spkiSHA256"), kid)) {
            continue;
        }
        struct jose_key *key = jose_key_from_spki(json_text(entry, "kid"), json_text(entry, "alg"),
                                                  spki64, NULL, NULL, err);
        if (key == NULL || add_key(ring, key, err) != 0) {
            return -1;
        }
        named = true;
    }
    if (!named) {
        return err_set(
            err, ERR_INVALID,
            "manifest.json has no kid for the key with SHA-256 %s: the two do not belong "
            "together",
            kid);
    }
    return 0;
}

static char *base64_of(const unsigned char *der, size_t len)
{
    char *text = malloc((len + 2) / 3 * 4 + 1);
    if (text != NULL) {
        jose_base64(der, len, text);
    }
    return text;
}

static char *spki_of_cert(const unsigned char *der, long len)
{
    const unsigned char *at = der;
    unsigned char *spki = NULL;
    X509 *cert = d2i_X509(NULL, &at, len);
    int spki_len = cert == NULL ? 0 : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);
    char *text = spki_len > 0 ? base64_of(spki, (size_t)spki_len) : NULL;
    OPENSSL_free(spki);
    X509_free(cert);
    return text;
}

/* The next block of the wanted kind as base64 of its SPKI: 1, 0 at the end, -1. Blocks of other
 * kinds are skipped. */
static int next_pem(BIO *bio, bool certificates, char **ret_spki64, struct err *err)
{
    const char *wanted = certificates ? PEM_STRING_X509 : PEM_STRING_PUBLIC;
    unsigned char *der = NULL;
    char *name = NULL;
    char *header = NULL;
    long len = 0;
    bool found = false;
    while (!found && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        found = strcmp(name, wanted) == 0;
        if (found) {
            *ret_spki64 = certificates ? spki_of_cert(der, len) : base64_of(der, (size_t)len);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    unsigned long why = ERR_peek_last_error();
    ERR_clear_error();
    if (found && *ret_spki64 != NULL) {
        return 1;
    }
    if (!found && ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE) {
        return 0;
    }
    return err_set(err, ERR_INVALID, "a block is damaged, or is no %s", wanted);
}

static int load_pem(const struct buf *text, bool certificates, const json_t *manifest,
                    struct keyring *ring, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(buf_text(text), (int)text->len);
    char *spki64 = NULL;
    int more = bio == NULL ? err_set(err, ERR_NO_MEMORY, "out of memory") : 1;
    while (more > 0) {
        more = next_pem(bio, certificates, &spki64, err);
        if (more > 0 && add_pem_key(ring, manifest, spki64, err) != 0) {
            more = -1;
        }
        free(spki64);
        spki64 = NULL;
    }
    BIO_free(bio);
    return more;
}

static int load_files(int dir, const json_t *manifest, struct keyring *ring, struct err *err)
{
    static const char *const sources[] = {"jwks.json", "bundle.pem", "certs.pem"};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        struct buf cleanup_buf text = {0};
        int found = read_file(dir, sources[i], &text, err);
        if (found == 0) {
            continue;
        }
        ring->source = sources[i];
        int result = found < 0 ? -1
                     : i == 0  ? load_jwks(buf_view(&text), ring, err)
                               : load_pem(&text, i == 2, manifest, ring, err);
        if (found > 0 && result != 0) {
            err_wrap(err, "%s", sources[i]);
        }
        if (result == 0 && ring->count == 0) {
            result = err_set(err, ERR_INVALID, "%s holds no key", sources[i]);
        }
        return result;
    }
    return err_set(err, ERR_NOT_FOUND, "there is no jwks.json, bundle.pem or certs.pem");
}

int keyring_load(const char *dir, struct keyring *ret, struct err *err)
{
    json_t *cleanup_json manifest = NULL;
    int fd = open_version(dir, err);
    *ret = (struct keyring){0};
    if (fd < 0) {
        return -1;
    }
    int result = read_manifest(fd, &manifest, err);
    if (result == 0) {
        result = load_files(fd, manifest, ret, err);
    }
    close(fd);
    if (result != 0) {
        err_wrap(err, "directory %s", dir);
        keyring_release(ret);
        return -1;
    }
    err_clean_text(ret->trust_hash, sizeof(ret->trust_hash), json_text(manifest, "trustHash"));
    return 0;
}

void keyring_release(struct keyring *ring)
{
    for (size_t i = 0; i < ring->count; i++) {
        jose_key_unref(ring->keys[i]);
    }
    *ring = (struct keyring){0};
}

bool keyring_equal(const struct keyring *a, const struct keyring *b)
{
    bool equal = a->count == b->count && text_eq(a->source, b->source) &&
                 strcmp(a->trust_hash, b->trust_hash) == 0;
    for (size_t i = 0; equal && i < a->count; i++) {
        equal = strcmp(a->keys[i]->kid, b->keys[i]->kid) == 0 &&
                strcmp(a->keys[i]->alg, b->keys[i]->alg) == 0 &&
                strcmp(a->keys[i]->spki_sha256, b->keys[i]->spki_sha256) == 0;
    }
    return equal;
}

struct jose_keys keyring_view(const struct keyring *ring)
{
    return (struct jose_keys){(const struct jose_key *const *)ring->keys, ring->count};
}

void keyring_kids(const struct keyring *ring, char *out, size_t size)
{
    struct buf cleanup_buf text = {0};
    for (size_t i = 0; i < ring->count; i++) {
        buf_appendf(&text, "%s%s", i == 0 ? "" : ", ", ring->keys[i]->kid);
    }
    err_clean_text(out, size, buf_text(&text));
}
