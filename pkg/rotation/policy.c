/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/policy.h"

struct key_policy policy_of(const struct rotation_spec *spec)
{
    return (struct key_policy){.standby = spec->key.standby,
                               .adopt = spec->key.adopt,
                               .take_over = spec->key.take_over,
                               .every_s = spec->schedule.every_s,
                               .publish_s = spec->overlap.publish_s,
                               .retire_s = spec->overlap.retire_s,
                               .delete_s = spec->overlap.delete_s,
                               .promote_manual = spec->approval.promote_manual,
                               .retire_manual = spec->approval.retire_manual,
                               .two_person = spec->approval.two_person,
                               .priority_max = POLICY_PRIORITY_MAX};
}
