/* SPDX-License-Identifier: Apache-2.0
 *
 * attr: the few compiler attributes the house uses, each behind one name. */
#ifndef KEYTURN_BASE_ATTR_H
#define KEYTURN_BASE_ATTR_H

#define ATTR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ATTR_CLEANUP(fn) __attribute__((cleanup(fn)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
