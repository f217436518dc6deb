/* SPDX-License-Identifier: Apache-2.0
 *
 * base64: the standard base64 of jose/encoding.h for buffers: Secret data and kubeconfig.
 * Intermediate bytes are wiped, so secrets may pass. */
#ifndef KEYTURN_CODEC_BASE64_H
#define KEYTURN_CODEC_BASE64_H

#include "base/buf.h"
#include "base/str.h"

void base64_encode(struct str bytes, struct buf *out);
/* Spaces and line breaks between the characters are skipped, anything else foreign is refused: -1,
 * also out of memory, with nothing added to out. Check out->failed too. */
int base64_decode(struct str text, struct buf *out);

#endif
