/* SPDX-License-Identifier: Apache-2.0
 *
 * tiny_cert: throw-away certificates for tests, P-256, valid for a day. Failures end the test
 * program. The texts are owned by the struct; tiny_cert_free gives them back. */
#ifndef KEYTURN_TESTS_TINY_CERT_H
#define KEYTURN_TESTS_TINY_CERT_H

struct tiny_cert {
    char *cert_pem;
    char *key_pem;
};

/* ca NULL: self-signed CA. alt_names: "DNS:example.test,IP:127.0.0.1", or NULL. */
struct tiny_cert tiny_cert_make(const struct tiny_cert *ca, const char *name,
                                const char *alt_names);
void tiny_cert_free(struct tiny_cert *cert);

#endif
