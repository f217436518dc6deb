/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/limits.h"
#include "jose_vectors.h"
#include "rotation/model.h"
#include "trust/trust.h"

#define FORMATS_DEFAULT (FORMAT_JWKS | FORMAT_PEM | FORMAT_X509)

static struct jose_key *rsa(const char *kid, const char *cert64)
{
    struct err err = {0};
    struct jose_key *key = jose_key_from_spki(kid, "RS256", VEC_RSA_SPKI, cert64, NULL, &err);
    assert_non_null(key);
    return key;
}

static struct jose_key *p384(const char *kid, const char *cert64)
{
    struct err err = {0};
    struct jose_key *key = jose_key_from_spki(kid, NULL, VEC_P384_SPKI, cert64, NULL, &err);
    assert_non_null(key);
    return key;
}

static struct jose_key *ed25519(const char *kid)
{
    struct jose_key *key = jose_key_from_jwk(
        &(struct jose_jwk){.kid = kid, .kty = "OKP", .crv = "Ed25519", .x = RFC8037_X}, NULL);
    assert_non_null(key);
    return key;
}

/* Three keys of three types; the middle one without a certificate. */
struct fixture {
    struct jose_key *keys[3];
    struct trust_key entries[3];
    struct trust_set set;
    struct arena arena;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->keys[0] = rsa("first", VEC_RSA_CERT_V1);
    f->keys[1] = ed25519("second");
    f->keys[2] = p384("third", VEC_P384_CERT);
    static const char *const lifecycles[] = {"Active", "Held", "Retired"};
    for (size_t i = 0; i < 3; i++) {
        f->entries[i] = (struct trust_key){f->keys[i], lifecycles[i]};
    }
    f->set = (struct trust_set){f->entries, 3, "https://id.example.com/realms/prod"};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 3; i++) {
        jose_key_unref(f->keys[i]);
    }
    arena_release(&f->arena);
    free(f);
    return 0;
}

static struct trust_files render(struct fixture *f, unsigned formats)
{
    struct trust_files files = {0};
    struct err err = {0};
    assert_int_equal(trust_render(&f->set, formats, &f->arena, &files, &err), 0);
    assert_string_equal(err.msg, "");
    return files;
}

/* NULL when there is no such file. */
static const struct trust_file *find(const struct trust_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->files[i].name, name) == 0) {
            return &files->files[i];
        }
    }
    return NULL;
}

static const char *content(const struct trust_files *files, const char *name)
{
    const struct trust_file *file = find(files, name);
    assert_non_null(file);
    assert_int_equal(strlen(file->data.data), file->data.len);
    return file->data.data;
}

/* These never change: another value would restart every consumer at an upgrade. */
static void test_golden_hash(void **state)
{
    struct fixture *f = *state;
    static const struct {
        unsigned formats;
        const char *hash;
    } golden[] = {
        {FORMAT_JWKS, "v1-ZewCWjdYoSv_QNVn9zucAfELdvpGP2KDKRMn_dbkl08"},
        {FORMAT_PEM, "v1-JvsOWWd86apZ3PGQcs0AcQuHAfEeGC5wJmR_UMRrijY"},
        {FORMATS_DEFAULT, "v1-fq7RVRcAwwziHPlJy-sZSmYnyhUTTYMpNy2diSg0t6I"},
        {FORMAT_JWKS | FORMAT_X5C, "v1-VCb_5sSPepSUBsP5yfkfxr-LARSsTMldqtHDKMtWdNo"},
        {FORMATS_DEFAULT | FORMAT_X5C, "v1-ehLR1-YZ2gWEMf8PhgRSSGFmpzGoBRBrd1Yv1DchXA8"},
    };
    char hash[TRUST_HASH_TEXT];
    for (size_t i = 0; i < ARRAY_LEN(golden); i++) {
        trust_hash(&f->set, golden[i].formats, hash);
        assert_string_equal(hash, golden[i].hash);
    }
}

static void test_hash_by_the_letter(void **state)
{
    struct fixture *f = *state;
    char expected[JOSE_HASH_TEXT];
    char hash[TRUST_HASH_TEXT];
    char text[1024];
    f->set.count = 2;
    snprintf(text, sizeof(text),
             "keyturn trust v1 formats=7\nfirst\nRS256\n%s\n%s\nsecond\nEdDSA\n%s\n-\n",
             VEC_RSA_SPKI_SHA256, VEC_RSA_CERT_V1_SHA256, f->keys[1]->spki_sha256);
    jose_sha256(text, strlen(text), expected);
    trust_hash(&f->set, FORMATS_DEFAULT, hash);
    assert_memory_equal(hash, "v1-", 3);
    assert_string_equal(hash + 3, expected);
}

static void test_hash_of_what_the_formats_contain(void **state)
{
    struct fixture *f = *state;
    char before[TRUST_HASH_TEXT];
    char after[TRUST_HASH_TEXT];
    /* Order, lifecycle and issuer are not in it. */
    trust_hash(&f->set, FORMATS_DEFAULT, before);
    struct trust_key swapped = f->entries[0];
    f->entries[0] = f->entries[2];
    f->entries[2] = swapped;
    f->entries[1].lifecycle = "Active";
    f->set.issuer = NULL;
    trust_hash(&f->set, FORMATS_DEFAULT, after);
    assert_string_equal(after, before);
    /* A renewed wrapper counts only where it is published. */
    struct jose_key *renewed = rsa("first", VEC_RSA_CERT_RENEWED);
    for (unsigned formats = 1; formats < 16; formats++) {
        f->entries[2].key = f->keys[0];
        trust_hash(&f->set, formats, before);
        f->entries[2].key = renewed;
        trust_hash(&f->set, formats, after);
        bool published = (formats & (FORMAT_X509 | FORMAT_X5C)) != 0;
        assert_int_equal(strcmp(before, after) != 0, published);
    }
    jose_key_unref(renewed);
    f->entries[2].key = f->keys[0];
}

static void test_hash_changes_with_each_part(void **state)
{
    struct fixture *f = *state;
    struct jose_key *other_kid = rsa("firsu", VEC_RSA_CERT_V1);
    struct jose_key *other_alg =
        jose_key_from_spki("first", "PS256", VEC_RSA_SPKI, VEC_RSA_CERT_V1, NULL, NULL);
    struct jose_key *other_key = p384("first", NULL);
    assert_non_null(other_alg);
    char hashes[6][TRUST_HASH_TEXT];
    trust_hash(&f->set, FORMAT_JWKS, hashes[0]);
    trust_hash(&f->set, FORMAT_JWKS | FORMAT_PEM, hashes[1]);
    f->entries[0].key = other_kid;
    trust_hash(&f->set, FORMAT_JWKS, hashes[2]);
    f->entries[0].key = other_alg;
    trust_hash(&f->set, FORMAT_JWKS, hashes[3]);
    f->entries[0].key = other_key;
    trust_hash(&f->set, FORMAT_JWKS, hashes[4]);
    f->set.count = 2;
    f->entries[0].key = f->keys[0];
    trust_hash(&f->set, FORMAT_JWKS, hashes[5]);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(strlen(hashes[i]), 46);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(hashes[i], hashes[j]);
        }
    }
    jose_key_unref(other_kid);
    jose_key_unref(other_alg);
    jose_key_unref(other_key);
    f->set.count = 0;
    trust_hash(&f->set, FORMAT_JWKS, hashes[0]);
    assert_string_equal(hashes[0], "");
}

static void test_union(void **state)
{
    (void)state;
    char a[TRUST_HASH_TEXT];
    char b[TRUST_HASH_TEXT];
    const char *one[] = {"v1-x"};
    trust_hash_union(one, 1, a);
    assert_string_equal(a, "v1-x");
    const char *twice[] = {"v1-x", NULL, "v1-x"};
    trust_hash_union(twice, 3, a);
    assert_string_equal(a, "v1-x");
    const char *some[] = {"v1-b", "v1-a", "v1-c"};
    const char *turned[] = {"v1-c", "v1-b", "v1-a", "v1-b"};
    trust_hash_union(some, 3, a);
    trust_hash_union(turned, 4, b);
    assert_string_equal(a, b);
    assert_string_equal(a, "v1-ikxqpw4jgo700nNjgSMXCPBu6rlD46K2Rq7vfe1-k2Q"); /* golden */
    trust_hash_union(some, 2, b);
    assert_string_not_equal(a, b);
    trust_hash_union(NULL, 0, a);
    assert_string_equal(a, "");
}

static void test_names_of_files(void **state)
{
    struct fixture *f = *state;
    static const char *const all[] = {"bundle.pem", "certs.pem", "first.crt",
                                      "first.pem",  "jwks.json", "manifest.json",
                                      "second.pem", "third.crt", "third.pem"};
    struct trust_files files = render(f, FORMATS_DEFAULT);
    assert_int_equal(files.count, ARRAY_LEN(all));
    size_t bytes = 0;
    for (size_t i = 0; i < files.count; i++) {
        assert_string_equal(files.files[i].name, all[i]);
        bytes += strlen(all[i]) + files.files[i].data.len;
    }
    assert_int_equal(files.bytes, bytes);
    files = render(f, FORMAT_JWKS);
    assert_int_equal(files.count, 2);
    assert_non_null(find(&files, "jwks.json"));
    assert_non_null(find(&files, "manifest.json"));
    files = render(f, FORMAT_X509);
    assert_int_equal(files.count, 4);
    assert_null(find(&files, "bundle.pem"));
}

static void test_golden_files(void **state)
{
    struct fixture *f = *state;
    struct trust_files files = render(f, FORMATS_DEFAULT);
    char expected[8192];
    snprintf(expected, sizeof(expected),
             "{\"keys\":[\n"
             "{\"kty\":\"RSA\",\"kid\":\"first\",\"use\":\"sig\",\"alg\":\"RS256\",\"n\":\"%s\","
             "\"e\":\"AQAB\"},\n"
             "{\"kty\":\"OKP\",\"kid\":\"second\",\"use\":\"sig\",\"alg\":\"EdDSA\","
             "\"crv\":\"Ed25519\",\"x\":\"%s\"},\n"
             "{\"kty\":\"EC\",\"kid\":\"third\",\"use\":\"sig\",\"alg\":\"ES384\","
             "\"crv\":\"P-384\",\"x\":\"%s\",\"y\":\"%s\"}\n]}\n",
             VEC_RSA_N, RFC8037_X, VEC_P384_X, VEC_P384_Y);
    assert_string_equal(content(&files, "jwks.json"), expected);
    char hash[TRUST_HASH_TEXT];
    trust_hash(&f->set, FORMATS_DEFAULT, hash);
    snprintf(expected, sizeof(expected),
             "{\"trustHash\":\"%s\",\"issuer\":\"https://id.example.com/realms/prod\",\"keys\":[\n"
             "{\"kid\":\"first\",\"alg\":\"RS256\",\"lifecycle\":\"Active\",\"spkiSHA256\":\"%s\","
             "\"x5tS256\":\"%s\",\"notBefore\":\"2026-11-24T00:18:31Z\","
             "\"notAfter\":\"2036-11-21T00:18:31Z\"},\n"
             "{\"kid\":\"second\",\"alg\":\"EdDSA\",\"lifecycle\":\"Held\",\"spkiSHA256\":\"%s\","
             "\"x5tS256\":null,\"notBefore\":null,\"notAfter\":null},\n"
             "{\"kid\":\"third\",\"alg\":\"ES384\",\"lifecycle\":\"Retired\",\"spkiSHA256\":\"%s\","
             "\"x5tS256\":\"%s\",\"notBefore\":\"2024-01-02T03:04:05Z\","
             "\"notAfter\":\"2051-01-02T03:04:05Z\"}\n]}\n",
             hash, VEC_RSA_SPKI_SHA256, VEC_RSA_CERT_V1_SHA256, f->keys[1]->spki_sha256,
             f->keys[2]->spki_sha256, f->keys[2]->x5t_s256);
    assert_string_equal(content(&files, "manifest.json"), expected);
    assert_string_equal(content(&files, "second.pem"),
                        "-----BEGIN PUBLIC KEY-----\n"
                        "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                        "-----END PUBLIC KEY-----\n");
    snprintf(expected, sizeof(expected), "%s%s%s", content(&files, "first.pem"),
             content(&files, "second.pem"), content(&files, "third.pem"));
    assert_string_equal(content(&files, "bundle.pem"), expected);
    snprintf(expected, sizeof(expected), "%s%s", content(&files, "first.crt"),
             content(&files, "third.crt"));
    assert_string_equal(content(&files, "certs.pem"), expected);
}

/* What is rendered reads back as the same keys. */
static void test_pem_reads_back(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct err cert_err = {0};
    struct trust_files files = render(f, FORMATS_DEFAULT);
    struct jose_key *key = jose_key_from_spki("first", NULL, content(&files, "first.pem"),
                                              content(&files, "first.crt"), &cert_err, &err);
    assert_non_null(key);
    assert_int_equal(cert_err.class, ERR_NONE);
    assert_string_equal(key->spki_sha256, VEC_RSA_SPKI_SHA256);
    assert_string_equal(key->x5t_s256, VEC_RSA_CERT_V1_SHA256);
    jose_key_unref(key);
}

static void test_x5c_only_where_asked(void **state)
{
    struct fixture *f = *state;
    struct trust_files files = render(f, FORMAT_JWKS);
    assert_null(strstr(content(&files, "jwks.json"), "x5"));
    assert_null(strstr(content(&files, "manifest.json"), "x5tS256"));
    assert_null(strstr(content(&files, "manifest.json"), "notAfter"));
    files = render(f, FORMAT_JWKS | FORMAT_X5C);
    const char *jwks = content(&files, "jwks.json");
    assert_non_null(strstr(jwks, ",\"x5c\":[\"" VEC_RSA_CERT_V1
                                 "\"],\"x5t#S256\":\"" VEC_RSA_CERT_V1_SHA256 "\"}"));
    assert_non_null(strstr(jwks, VEC_P384_CERT));
    assert_non_null(strstr(jwks, "\"x\":\"" RFC8037_X "\"}")); /* no empty x5c */
    assert_non_null(strstr(content(&files, "manifest.json"), "x5tS256"));
}

static void test_no_key_has_a_certificate(void **state)
{
    struct fixture *f = *state;
    f->entries[0].key = f->keys[1];
    f->set.count = 1;
    struct trust_files files = render(f, FORMAT_X509);
    assert_string_equal(content(&files, "certs.pem"), "");
    f->set.issuer = NULL;
    files = render(f, FORMAT_X509);
    assert_non_null(strstr(content(&files, "manifest.json"), "\"issuer\":null"));
    f->entries[0].key = f->keys[0];
}

static void check_stem(struct fixture *f, const char *kid, bool kept)
{
    char name[300];
    struct jose_key *key = ed25519(kid);
    f->entries[0].key = key;
    f->set.count = 1;
    struct trust_files files = render(f, FORMAT_PEM);
    snprintf(name, sizeof(name), "%s.pem", kept ? kid : RFC8037_THUMBPRINT);
    assert_int_equal(files.count, 3);
    assert_non_null(find(&files, name));
    assert_non_null(find(&files, "bundle.pem"));
    f->entries[0].key = f->keys[0];
    jose_key_unref(key);
}

static void test_kids_that_are_no_file_names(void **state)
{
    struct fixture *f = *state;
    char longest[LIMIT_KID + 1];
    check_stem(f, "aZ09-._", true);
    check_stem(f, "a/b", false);
    check_stem(f, "a b", false);
    check_stem(f, "\xc3\xbc", false);
    check_stem(f, "..", false);
    check_stem(f, "..a", false);
    check_stem(f, ".hidden", false);
    check_stem(f, "bundle", false);
    check_stem(f, "certs", false);
    check_stem(f, "jwks", true);
    memset(longest, 'k', sizeof(longest));
    longest[249] = '\0';
    check_stem(f, longest, true);
    longest[249] = 'k';
    longest[250] = '\0';
    check_stem(f, longest, false);
}

static void test_names_never_clash(void **state)
{
    struct fixture *f = *state;
    /* A key that calls itself by the thumbprint of another one. */
    struct jose_key *plain = ed25519("a/b");
    struct jose_key *liar = p384(RFC8037_THUMBPRINT, NULL);
    f->entries[0].key = liar;
    f->entries[1].key = plain;
    f->set.count = 2;
    struct trust_files files = render(f, FORMAT_PEM);
    assert_int_equal(files.count, 4);
    const char *pem = content(&files, RFC8037_THUMBPRINT ".pem");
    assert_non_null(strstr(pem, "MCowBQYDK2VwAyEA"));
    char name[JOSE_HASH_TEXT + 8];
    snprintf(name, sizeof(name), "%s.pem", liar->thumbprint);
    assert_non_null(strstr(content(&files, name), "MHYwEAYHKoZI"));
    /* One key under two kids, neither a file name: one file, two entries in the bundle. */
    struct jose_key *again = ed25519("a/c");
    f->entries[0].key = again;
    files = render(f, FORMAT_PEM);
    assert_int_equal(files.count, 3);
    f->entries[0].key = f->keys[0];
    f->entries[1].key = f->keys[1];
    jose_key_unref(plain);
    jose_key_unref(liar);
    jose_key_unref(again);
}

static void test_kid_is_escaped(void **state)
{
    struct fixture *f = *state;
    struct jose_key *key = ed25519("a\"\\b");
    f->entries[0].key = key;
    f->set.count = 1;
    struct trust_files files = render(f, FORMAT_JWKS);
    assert_non_null(strstr(content(&files, "jwks.json"), "\"kid\":\"a\\\"\\\\b\","));
    assert_non_null(strstr(content(&files, "manifest.json"), "\"kid\":\"a\\\"\\\\b\","));
    f->entries[0].key = f->keys[0];
    jose_key_unref(key);
}

static void test_same_bytes_whatever_the_order(void **state)
{
    struct fixture *f = *state;
    char before[JOSE_HASH_TEXT];
    char after[JOSE_HASH_TEXT];
    struct trust_files files = render(f, FORMATS_DEFAULT | FORMAT_X5C);
    trust_files_digest(&files, before);
    struct trust_key swapped = f->entries[0];
    f->entries[0] = f->entries[2];
    f->entries[2] = swapped;
    files = render(f, FORMATS_DEFAULT | FORMAT_X5C);
    trust_files_digest(&files, after);
    assert_string_equal(before, after);
    f->entries[0].lifecycle = "Leaving";
    files = render(f, FORMATS_DEFAULT | FORMAT_X5C);
    trust_files_digest(&files, after);
    assert_string_not_equal(before, after);
}

static void test_digest_tells_names_from_bytes(void **state)
{
    (void)state;
    char digests[6][JOSE_HASH_TEXT];
    const struct trust_file lists[6][2] = {
        {{"ab", {"c", 1}}, {"d", {"", 0}}},     {{"a", {"bc", 2}}, {"d", {"", 0}}},
        {{"ab", {"c", 1}}, {"", {"d", 1}}},     {{"ab", {"", 0}}, {"c", {"d", 1}}},
        {{"ab", {"c\0", 2}}, {"d", {NULL, 0}}}, {{"ac", {"c", 1}}, {"d", {"", 0}}},
    };
    for (size_t i = 0; i < 6; i++) {
        trust_files_digest(&(struct trust_files){lists[i], 2, 0}, digests[i]);
        assert_int_equal(strlen(digests[i]), 43);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(digests[i], digests[j]);
        }
    }
    trust_files_digest(&(struct trust_files){0}, digests[0]);
    assert_string_equal(digests[0], "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
}

static void test_sets_that_are_refused(void **state)
{
    struct fixture *f = *state;
    struct trust_files files = {.count = 5};
    struct err err = {0};
    f->set.count = 0;
    assert_int_equal(trust_render(&f->set, FORMAT_JWKS, &f->arena, &files, &err), -1);
    assert_int_equal(err.class, ERR_INVALID);
    assert_int_equal(files.count, 0);
    f->set.count = LIMIT_KEYS + 1;
    assert_int_equal(trust_render(&f->set, FORMAT_JWKS, &f->arena, &files, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
    f->set.count = 2;
    f->entries[1].key = f->keys[0];
    assert_int_equal(trust_render(&f->set, FORMAT_JWKS, &f->arena, &files, &err), -1);
    assert_int_equal(err.class, ERR_INVALID);
    assert_non_null(strstr(err.msg, "first twice"));
    f->entries[1].key = f->keys[1];
}

static void test_out_of_memory(void **state)
{
    struct fixture *f = *state;
    struct trust_files files = {0};
    struct err err = {0};
    bool rendered = false;
    for (size_t max = 64; max < 65536 && !rendered; max += 512) {
        struct arena small = {.max = max, .block_bytes = 64};
        rendered = trust_render(&f->set, FORMATS_DEFAULT, &small, &files, &err) == 0;
        assert_true(rendered || (err.class == ERR_NO_MEMORY && files.count == 0));
        assert_true(max > 64 || !rendered);
        arena_release(&small);
    }
    assert_true(rendered);
}

/* 64 of the largest keys with the largest certificates in every format: refused, not cut. */
static void test_object_too_large(void **state)
{
    struct fixture *f = *state;
    struct jose_key keys[LIMIT_KEYS];
    struct trust_key entries[LIMIT_KEYS];
    char kids[LIMIT_KEYS][8];
    struct err err = {0};
    struct trust_files files = {0};
    unsigned char *cert = calloc(1, LIMIT_CERT_BYTES);
    assert_non_null(cert);
    for (size_t i = 0; i < LIMIT_KEYS; i++) {
        snprintf(kids[i], sizeof(kids[i]), "k%zu", i);
        keys[i] = *f->keys[0];
        keys[i].kid = kids[i];
        keys[i].cert = cert;
        keys[i].cert_len = LIMIT_CERT_BYTES;
        entries[i] = (struct trust_key){&keys[i], "Active"};
    }
    struct trust_set set = {entries, LIMIT_KEYS, NULL};
    assert_int_equal(trust_render(&set, FORMATS_DEFAULT, &f->arena, &files, &err), -1);
    assert_int_equal(err.class, ERR_LIMIT);
    assert_non_null(strstr(err.msg, "publish fewer formats"));
    assert_true(f->arena.used_bytes < 2 * LIMIT_OBJECT_BYTES); /* and nothing more was kept */
    assert_int_equal(trust_render(&set, FORMAT_JWKS | FORMAT_PEM, &f->arena, &files, &err), 0);
    assert_int_equal(files.count, LIMIT_KEYS + 3);
    free(cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hash_by_the_letter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hash_of_what_the_formats_contain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hash_changes_with_each_part, setup, teardown),
        cmocka_unit_test(test_union),
        cmocka_unit_test_setup_teardown(test_names_of_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_golden_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pem_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_x5c_only_where_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_key_has_a_certificate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kids_that_are_no_file_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_never_clash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kid_is_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_bytes_whatever_the_order, setup, teardown),
        cmocka_unit_test(test_digest_tells_names_from_bytes),
        cmocka_unit_test_setup_teardown(test_sets_that_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_object_too_large, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
