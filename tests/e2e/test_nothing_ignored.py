# SPDX-License-Identifier: Apache-2.0
"""The audit: each field of the CRD, annotation, chart value and flag is named with the test that fails when it is ignored.

Whoever adds one adds its line here, and its test. Needs the built programs, no cluster.
"""
import ast
import json
import re
import subprocess

import pytest
import yaml

from harness import CHART, ROOT
from operator_process import binary

FIELDS = {
    "approval.promote": "e2e/test_rotation_rules.py::test_approvals_by_the_line_that_status_shows",
    "approval.retire": "e2e/test_rotation_rules.py::test_approvals_by_the_line_that_status_shows",
    "approval.twoPerson": "e2e/test_rotation_rules.py::test_approvals_by_the_line_that_status_shows",
    "consumers[].name": "e2e/test_fields.py::test_names_of_a_consumer",
    "consumers[].proof.delay": "e2e/test_rotation_rules.py::test_a_proof_by_delay",
    "consumers[].proof.type": "e2e/test_rotation_rules.py::test_a_proof_by_delay",
    "consumers[].publish.configMap.name": "e2e/test_fields.py::test_names_of_a_consumer",
    "consumers[].publish.formats[]": "e2e/test_fields.py::test_formats_and_x5c",
    "consumers[].publish.keepX5c": "e2e/test_fields.py::test_formats_and_x5c",
    "consumers[].publish.secret.name": "e2e/test_fields.py::test_names_of_a_consumer",
    "consumers[].reload.restart[].kind": "e2e/test_workloads.py::test_every_kind_is_restarted_once",
    "consumers[].reload.restart[].name": "e2e/test_workloads.py::test_no_reload_means_no_restart",
    "deletionPolicy": "e2e/test_main_job.py::test_deletion_policy",
    "issuer.caBundle.configMap.key": "e2e/test_issuers.py::test_a_private_ca_is_trusted_where_it_is_named",
    "issuer.caBundle.configMap.name": "e2e/test_issuers.py::test_a_private_ca_is_trusted_where_it_is_named",
    "issuer.jwksURL": "e2e/test_main_job.py::test_any_oidc_issuer_without_admin_api",
    "issuer.url": "e2e/test_issuers.py::test_a_slash_too_many_is_another_issuer",
    "key.adopt": "e2e/test_rotation.py::test_a_whole_rotation_rejects_no_token",
    "key.algorithm": "e2e/test_rotation.py::test_es256_on_a_realm_that_signs_es256",
    "key.size": "e2e/test_rotation_rules.py::test_edits_of_spec_key_change_no_key_that_is_there",
    "key.standby": "e2e/test_rotation_rules.py::test_a_standby_is_promoted_at_once_and_a_key_of_ours_is_deleted",
    "key.takeOver": "e2e/test_rotation_rules.py::test_a_realm_has_one_owner",
    "keycloak.credentials.secret.name": "e2e/test_faults_keycloak.py::test_status_tells_them_apart",
    "keycloak.realm": "e2e/test_realm_changes.py::test_a_realm_is_renamed",
    "keycloak.url": "e2e/test_main_job.py::test_mistakes_are_told_apart",
    "overlap.delete": "e2e/test_rotation_rules.py::test_a_standby_is_promoted_at_once_and_a_key_of_ours_is_deleted",
    "overlap.publish": "e2e/test_rotation.py::test_a_whole_rotation_rejects_no_token",
    "overlap.retire": "e2e/test_rotation.py::test_a_whole_rotation_rejects_no_token",
    "refreshInterval": "e2e/test_fields.py::test_refresh_interval",
    "schedule.every": "e2e/test_rotation_rules.py::test_a_schedule_waits_for_its_window",
    "schedule.window.cron": "e2e/test_rotation_rules.py::test_a_schedule_waits_for_its_window",
    "schedule.window.duration": "e2e/test_rotation_rules.py::test_a_schedule_waits_for_its_window",
    "schedule.window.timeZone": "e2e/test_rotation_rules.py::test_a_schedule_waits_for_its_window",
    "suspend": "e2e/test_rotation_rules.py::test_suspend_freezes_every_write_at_each_phase",
    "wrapper.warnBefore[]": "e2e/test_certificates.py::test_thresholds",
}
ANNOTATIONS = {  # what people write on our objects, and we on theirs
    "keyturn.dev/acknowledge": "e2e/test_main_job.py::test_a_realm_that_goes_takes_nothing_away",
    "keyturn.dev/adopt": "e2e/test_objects.py::test_what_an_owner_gives",
    "keyturn.dev/consumer": "e2e/test_fields.py::test_names_of_a_consumer",
    "keyturn.dev/operation": "e2e/test_operations.py::test_each_operation_needs_its_verb",
    "keyturn.dev/operation-by": "e2e/test_operations.py::test_the_name_is_the_true_one",
    "keyturn.dev/operation-for": "e2e/test_operations.py::test_a_command_is_whole_or_refused",
    "keyturn.dev/reason": "e2e/test_operations.py::test_every_change_is_a_command",
    "keyturn.dev/fence-rules": "e2e/test_fence_proof.py::test_a_damaged_fence_is_named_and_a_whole_one_is_proven_again",
    "keyturn.dev/refresh": "e2e/test_fields.py::test_refresh_interval",
    "keyturn.dev/trust-hash": "e2e/test_workloads.py::test_every_kind_is_restarted_once",
}
FLAGS = {
    "--fence": "e2e/test_fence_proof.py::test_a_damaged_fence_is_named_and_a_whole_one_is_proven_again",
    "--help": "e2e/test_flags.py::test_version_and_help",
    "--identity": "e2e/test_flags.py::test_where_it_works_and_who_it_is",
    "--kubeconfig": "e2e/test_flags.py::test_kubeconfig",
    "--leader-elect": "e2e/test_flags.py::test_where_it_works_and_who_it_is",
    "--lease-name": "e2e/test_flags.py::test_where_it_works_and_who_it_is",
    "--listen": "e2e/test_flags.py::test_listen",
    "--log-format": "e2e/test_flags.py::test_log_format_and_level",
    "--log-level": "e2e/test_flags.py::test_log_format_and_level",
    "--namespace": "e2e/test_flags.py::test_where_it_works_and_who_it_is",
    "--operations-policy": "e2e/test_fence_proof.py::test_no_command_is_taken_under_a_name_that_nobody_vouches_for",
    "--resync": "e2e/test_main_job.py::test_edits_and_deletions_are_repaired",
    "--settle": "e2e/test_flags.py::test_settle",
    "--version": "e2e/test_flags.py::test_version_and_help",
    "--watch-namespaces": "e2e/test_flags.py::test_where_it_works_and_who_it_is",
    "--without-fence": "e2e/test_main_job.py::test_publishes_both_kinds_and_is_ready",
    "--without-operations-policy": "e2e/test_rotation.py::test_a_whole_rotation_rejects_no_token",
}
VERIFIER_FLAGS = {
    "--check": "verifier/test_verifier.py::test_check",
    "--help": "verifier/test_verifier.py::test_help_and_version",
    "--issuer": "verifier/test_verifier.py::test_issuer",
    "--keys": "verifier/test_verifier.py::test_keys_flag_chooses_the_directory",
    "--listen": "verifier/test_verifier.py::test_listen",
    "--reload": "verifier/test_verifier.py::test_reload",
    "--version": "verifier/test_verifier.py::test_help_and_version",
}
# Values have a table of their own, one row each with what it changes, beside the test that walks it.
VALUES_TEST = "chart/test_values.py::test_value_does_something"


def leaves(schema, path=""):
    """Paths of everything that a person can write."""
    if schema.get("type") == "array":
        yield from leaves(schema["items"], path + "[]")
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path


def spec_schema():
    crd = yaml.safe_load((ROOT / "crds" / "keyrotation.yaml").read_text())
    assert len(crd["spec"]["versions"]) == 1
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def flags_of(program):
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    return {flag for line in said.splitlines() if line.startswith("  --") for flag in re.findall(r"(?:^|, )(--[a-z-]+)", line.strip())}


def flags_in(source):
    return {"--" + name for name in re.findall(r'\{"([a-z-]+)", (?:no|required|optional)_argument', (ROOT / source).read_text())}


def tree(path):
    return ast.parse((ROOT / "tests" / path).read_text())


def exists(test):
    path, name = test.split("::")
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree(path).body)


def test_every_field_has_its_test():
    assert set(leaves(spec_schema())) == set(FIELDS)


def test_every_annotation_has_its_test():
    header = (ROOT / "pkg" / "codec" / "kube_codec.h").read_text()
    assert set(re.findall(r'#define ANNOTATION_\w+ "([^"]+)"', header)) == set(ANNOTATIONS)


@pytest.mark.parametrize("program, source, table", [("keyturn", "cmd/keyturn/flags.c", FLAGS),
                                                    ("keyturn-verifier", "cmd/keyturn-verifier/flags.c", VERIFIER_FLAGS)],
                         ids=["keyturn", "keyturn-verifier"])
def test_every_flag_has_its_test_and_stands_in_the_help(program, source, table):
    assert flags_of(binary().removesuffix("keyturn") + program) == flags_in(source) == set(table)


def test_every_value_has_its_row():
    """Leaves of values.yaml, and no other in the schema: rotations are held against the CRD below."""
    assert exists(VALUES_TEST)
    rows = next(node.value for node in tree("chart/test_values.py").body
                if isinstance(node, ast.Assign) and node.targets[0].id == "ROWS")
    listed = [row.elts[0].value for row in rows.elts]
    schema = json.loads((CHART / "values.schema.json").read_text())
    written = set()
    for path in leaves({"properties": {k: v for k, v in schema["properties"].items() if k not in ("rotations", "resources")}}):
        written.add(path.split("[]")[0])
    assert len(listed) == len(set(listed))
    assert written | {"rotations", "resources"} == set(listed)


def test_rotations_of_the_chart_have_every_field_of_the_crd():
    """Each field arrives as it is written: the example that the chart test renders has all but those for another kind of issuer."""
    spec, schema = spec_schema(), json.loads((CHART / "values.schema.json").read_text())["definitions"]["rotation"]
    assert set(schema["properties"]) == set(spec["properties"]) | {"name", "namespace", "labels", "annotations"}
    assert exists("chart/test_rotations.py::test_every_field_of_a_rotation_arrives")

    def paths(value, path=""):
        if isinstance(value, list):
            return {p for item in value for p in paths(item, path + "[]")}
        if isinstance(value, dict):
            return {p for name, inner in value.items() for p in paths(inner, f"{path}.{name}" if path else name)}
        return {path}
    example = yaml.safe_load((ROOT / "crds" / "examples" / "keycloak.yaml").read_text())["spec"]
    assert set(leaves(spec)) - paths(example) == set()


@pytest.mark.parametrize("test", sorted({*FIELDS.values(), *ANNOTATIONS.values(), *FLAGS.values(), *VERIFIER_FLAGS.values()}))
def test_the_test_exists(test):
    assert exists(test)
