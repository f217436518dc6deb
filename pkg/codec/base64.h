/* SPDX-License-Identifier: Apache-2.0
 *
 * base64: standard base64 with padding (RFC 4648 section 4) of Secret data and kubeconfig, over
 * OpenSSL's block coder. Intermediate bytes are wiped, so secrets may pass. */
#ifndef KEYTURN_CODEC_BASE64_H
#define KEYTURN_CODEC_BASE64_H

#include "base/buf.h"
#include "base/str.h"

void base64_encode(struct str bytes, struct buf *out);
/* Spaces and line breaks between the characters are skipped, anything else foreign is refused: -1,
 * with part of the bytes in out. Check out->failed too. */
int base64_decode(struct str text, struct buf *out);

#endif
