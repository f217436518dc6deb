/* SPDX-License-Identifier: Apache-2.0 */
#include "rotation/model.h"

const char *object_kind_name(enum object_kind kind)
{
    switch (kind) {
    case KIND_SECRET: return "Secret";
    case KIND_CONFIG_MAP: return "ConfigMap";
    }
    return "Unknown";
}

const char *workload_kind_name(enum workload_kind kind)
{
    switch (kind) {
    case WORKLOAD_DEPLOYMENT: return "Deployment";
    case WORKLOAD_STATEFUL_SET: return "StatefulSet";
    case WORKLOAD_DAEMON_SET: return "DaemonSet";
    case WORKLOAD_KIND_COUNT: break;
    }
    return "Unknown";
}

const char *condition_type_name(enum condition_type type)
{
    switch (type) {
    case CONDITION_READY: return "Ready";
    case CONDITION_RECONCILING: return "Reconciling";
    case CONDITION_STALLED: return "Stalled";
    case CONDITION_CONSUMERS_UP_TO_DATE: return "ConsumersUpToDate";
    case CONDITION_CERTIFICATES_VALID: return "CertificatesValid";
    case CONDITION_ISSUER_CONSISTENT: return "IssuerConsistent";
    case CONDITION_KEYS_AS_EXPECTED: return "KeysAsExpected";
    case CONDITION_COUNT: break;
    }
    return "Unknown";
}

const char *key_state_name(enum key_state state)
{
    switch (state) {
    case KEY_ACTIVE: return "ACTIVE";
    case KEY_PASSIVE: return "PASSIVE";
    case KEY_LEAVING: return "LEAVING";
    case KEY_HELD: return "HELD";
    case KEY_DISABLED: return "DISABLED";
    }
    return "UNKNOWN";
}

const char *consumer_state_name(enum consumer_state state)
{
    switch (state) {
    case CONSUMER_APPLYING: return "Applying";
    case CONSUMER_ROLLING: return "Rolling";
    case CONSUMER_UP_TO_DATE: return "UpToDate";
    case CONSUMER_FAILED: return "Failed";
    case CONSUMER_STATE_COUNT: break;
    }
    return "Unknown";
}

const char *rotation_phase_name(enum rotation_phase phase)
{
    switch (phase) {
    case PHASE_PENDING: return "Pending";
    case PHASE_PUBLISHING: return "Publishing";
    case PHASE_ROLLING: return "Rolling";
    case PHASE_STEADY: return "Steady";
    case PHASE_BLOCKED: return "Blocked";
    case PHASE_AWAITING_PROMOTION: return "AwaitingPromotion";
    case PHASE_PROMOTING: return "Promoting";
    case PHASE_OVERLAP: return "Overlap";
    case PHASE_AWAITING_RETIREMENT: return "AwaitingRetirement";
    case PHASE_RETIRING: return "Retiring";
    case PHASE_COUNT: break;
    }
    return "Unknown";
}
