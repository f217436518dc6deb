/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny_cert.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "tiny_cert: %s failed\n", what);
        abort();
    }
}

static char *take(BIO *bio)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    need(len >= 0, "BIO_get_mem_data");
    char *text = malloc((size_t)len + 1); /* the BIO's bytes have no NUL at their end */
    need(text != NULL, "malloc");
    memcpy(text, data, (size_t)len);
    text[len] = '\0';
    BIO_free(bio);
    return text;
}

static void extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    need(e != NULL && X509_add_ext(cert, e, -1), value);
    X509_EXTENSION_free(e);
}

static X509 *read_cert(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    need(cert != NULL, "reading the CA");
    BIO_free(bio);
    return cert;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    need(key != NULL, "reading the CA's key");
    BIO_free(bio);
    return key;
}

struct tiny_cert tiny_cert_make(const struct tiny_cert *ca, const char *name, const char *alt_names)
{
    static long serial = 1;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    need(key != NULL && cert != NULL, "key");
    X509 *issuer = ca == NULL ? cert : read_cert(ca->cert_pem);
    EVP_PKEY *issuer_key = ca == NULL ? key : read_key(ca->key_pem);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    extension(cert, issuer, NID_basic_constraints, ca == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    extension(cert, issuer, NID_subject_key_identifier, "hash");
    if (alt_names != NULL)
        extension(cert, issuer, NID_subject_alt_name, alt_names);
    need(X509_sign(cert, issuer_key, EVP_sha256()) > 0, "signing");

    BIO *cert_out = BIO_new(BIO_s_mem());
    BIO *key_out = BIO_new(BIO_s_mem());
    need(PEM_write_bio_X509(cert_out, cert), "writing the certificate");
    need(PEM_write_bio_PKCS8PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL), "writing the key");
    struct tiny_cert made = {.cert_pem = take(cert_out), .key_pem = take(key_out)};
    if (ca != NULL) {
        X509_free(issuer);
        EVP_PKEY_free(issuer_key);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return made;
}

void tiny_cert_free(struct tiny_cert *cert)
{
    free(cert->cert_pem);
    free(cert->key_pem);
    *cert = (struct tiny_cert){0};
}
