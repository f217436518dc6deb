/* SPDX-License-Identifier: Apache-2.0
 *
 * limits: every bound of the house in one place, with its reason. Bytes and counts. */
#ifndef KEYTURN_BASE_LIMITS_H
#define KEYTURN_BASE_LIMITS_H

#define LIMIT_BUF (16UL << 20)   /* default ceiling of a buffer: a full page of pods fits */
#define LIMIT_ARENA (32UL << 20) /* default ceiling of an arena */
/* One watch event. An object is at most 1.5 MiB in etcd, but Go's JSON writes '<' in six bytes. */
#define LIMIT_WATCH_FRAME (10UL << 20)
#define LIMIT_LIST_PAGE (16UL << 20)      /* one page of a list */
#define LIMIT_ANSWER (2UL << 20)          /* any other answer of the API server */
#define LIMIT_KEYCLOAK_ANSWER (1UL << 20) /* keys, components, JWKS, discovery, token */
#define LIMIT_JSON_DEPTH 64               /* nesting of outside JSON */
#define LIMIT_OBJECT_BYTES \
    (1000UL << 10)                    /* one Secret or ConfigMap of ours; the server's is 1 MiB */
#define LIMIT_KEYS 64                 /* signing keys of one realm */
#define LIMIT_CLAIMS 64               /* components of KeyRotations in one realm */
#define LIMIT_KID 256                 /* bytes of a kid */
#define LIMIT_CERT_BYTES (16UL << 10) /* one DER certificate */
#define LIMIT_CONSUMERS 300           /* spec.consumers */
#define LIMIT_RESTARTS 16             /* reload.restart of one consumer */
#define LIMIT_WARN_THRESHOLDS 8       /* spec.wrapper.warnBefore */
#define LIMIT_HISTORY 10              /* rotations in status.history */
#define LIMIT_NAME 253                /* DNS subdomain */
#define LIMIT_URL 512
#define LIMIT_CA_BUNDLE (512UL << 10)
#define LIMIT_CRON 256               /* bytes of a cron expression */
#define LIMIT_ZONE_NAME 64           /* the longest of 2025 has 32 characters */
#define LIMIT_ZONE_FILE (64UL << 10) /* the largest of 2025 has 4 KiB */
#define LIMIT_ROTATIONS 5000         /* KeyRotations held */
#define LIMIT_WORKLOADS 50000
#define LIMIT_PODS 50000 /* about 1 KiB each, in a container of 128 MiB */

#endif
