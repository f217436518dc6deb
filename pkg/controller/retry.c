/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/retry.h"

#include "workqueue/workqueue.h"

#define ASKED_MAX_MS 60000

int64_t retry_delay_ms(struct controller *c, unsigned tries, int64_t cap_ms, const struct err *err)
{
    int64_t delay_ms = workqueue_backoff_ms(tries, cap_ms, controller_random(c));
    int64_t asked_ms = (int64_t)err->retry_after_s * 1000;
    if (asked_ms > ASKED_MAX_MS)
        asked_ms = ASKED_MAX_MS;
    return delay_ms > asked_ms ? delay_ms : asked_ms;
}
