/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_cert: keys and certificates as Keycloak and issuers give them. Each input is tried
 *   as DER of the certificate of a fixed key, and as its base64 text,
 *   as DER of a SubjectPublicKeyInfo,
 *   cut at line breaks, as the members kid, kty, alg, crv, n, e, x, y, x5c of a JWK.
 * What is read must be whole, must read back as itself, and must render. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/limits.h"
#include "jose/encoding.h"
#include "jose/key.h"
#include "rotation/model.h"
#include "trust/trust.h"

#define INPUT_MAX (64UL << 10)
#define MEMBERS 9

static const char fixed_spki[] = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth) {
        abort();
    }
}

/* malloc'ed base64 of DER, NULL for none. */
static char *base64_of(const unsigned char *der, size_t len)
{
    if (der == NULL) {
        return NULL;
    }
    char *text = malloc((len + 2) / 3 * 4 + 1);
    require(text != NULL);
    jose_base64(der, len, text);
    return text;
}

/* Its own SPKI and certificate give the same key; a set of it renders. */
static void check_key(struct jose_key *key)
{
    require(key->kid[0] != '\0' && strlen(key->kid) <= LIMIT_KID && key->alg[0] != '\0');
    require(strlen(key->thumbprint) == 43 && strlen(key->spki_sha256) == 43);
    require((key->cert == NULL) == (key->x5t_s256[0] == '\0') && key->cert_len <= LIMIT_CERT_BYTES);
    char *spki = base64_of(key->spki, key->spki_len);
    char *cert = base64_of(key->cert, key->cert_len);
    struct err cert_err = {0};
    struct jose_key *again = jose_key_from_spki(key->kid, key->alg, spki, cert, &cert_err, NULL);
    require(again != NULL && cert_err.class == ERR_NONE);
    require(strcmp(again->thumbprint, key->thumbprint) == 0);
    require(strcmp(again->x5t_s256, key->x5t_s256) == 0);
    jose_key_unref(again);
    free(spki);
    free(cert);
    struct arena arena = {0};
    struct trust_key entry = {key, "Active"};
    struct trust_set set = {&entry, 1, NULL};
    struct trust_files files = {0};
    require(trust_render(&set, FORMAT_JWKS | FORMAT_PEM | FORMAT_X509 | FORMAT_X5C, &arena, &files,
                         NULL) == 0);
    require(files.count >= 5);
    arena_release(&arena);
}

static void try_spki(const char *spki, const char *cert)
{
    struct err cert_err = {0};
    struct err err = {0};
    struct jose_key *key = jose_key_from_spki("kid", NULL, spki, cert, &cert_err, &err);
    require((key == NULL) == (err.class != ERR_NONE));
    if (key != NULL) {
        require(cert == NULL || (key->cert == NULL) == (cert_err.class != ERR_NONE));
        check_key(key);
    }
    jose_key_unref(key);
}

/* text is changed: line breaks become ends. An empty line is an absent member. */
static void try_jwk(char *text)
{
    const char *members[MEMBERS] = {NULL};
    char *at = text;
    for (size_t i = 0; i < MEMBERS && at != NULL; i++) {
        char *end = strchr(at, '\n');
        if (end != NULL) {
            *end++ = '\0';
        }
        members[i] = *at == '\0' ? NULL : at;
        at = end;
    }
    struct jose_jwk jwk = {members[0], members[1], members[2], members[3], members[4],
                           members[5], members[6], members[7], members[8]};
    struct err err = {0};
    struct jose_key *key = jose_key_from_jwk(&jwk, &err);
    require((key == NULL) == (err.class != ERR_NONE));
    if (key != NULL) {
        check_key(key);
    }
    jose_key_unref(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX) {
        return 0;
    }
    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    char *der = base64_of((const unsigned char *)text, size);
    try_spki(fixed_spki, text);
    try_spki(fixed_spki, der);
    try_spki(der, NULL);
    try_spki(der, text);
    try_jwk(text);
    free(der);
    free(text);
    return 0;
}
