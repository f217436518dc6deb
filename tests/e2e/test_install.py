# SPDX-License-Identifier: Apache-2.0
"""The chart on a real API server: accepted as it stands, upgraded, uninstalled without taking anything from consumers.

No operator runs here (replicaCount 0): this is about what helm makes and leaves.
"""
import json
import re

import pytest
import yaml

from harness import CHART, ROOT, eventually, fresh_namespace, installed, run

pytestmark = pytest.mark.alone

PREFIX = "inst"
KEYCLOAK = {"url": "http://keycloak.auth.svc:8080", "realm": "prod", "credentials": {"secret": {"name": "login"}}}


@pytest.fixture
def team(kube):
    """A namespace of somebody who uses the operator."""
    with fresh_namespace(kube, "team") as name:
        yield name


@pytest.fixture
def values(team):
    return {"replicaCount": 0, "rotations": [
        {"name": "stays", "namespace": team, "keycloak": KEYCLOAK, "deletionPolicy": "Delete",
         "consumers": [{"name": "api", "publish": {"secret": {"name": "api-keys"}}}]},
        {"name": "goes", "namespace": team, "issuer": {"url": "https://login.example.org"}}]}


def test_every_manifest_is_accepted_under_strict_validation(helm, kubectl, namespace, crd, tmp_path):
    file = tmp_path / "values.json"
    file.write_text(json.dumps({
        "fullnameOverride": "strict", "podLabels": {"a": "b"}, "podAnnotations": {"a": "b"}, "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}], "priorityClassName": "system-cluster-critical", "imagePullSecrets": [{"name": "a"}],
        "affinity": {"nodeAffinity": {}}, "watchNamespaces": [namespace], "serviceAccount": {"annotations": {"a": "b"}},
        "service": {"annotations": {"a": "b"}}, "credentialSecrets": [{"namespace": namespace, "name": "login"}],
        "rotations": [{"name": "prod", "keycloak": KEYCLOAK}], "runAsUser": None, "networkPolicy": {
            "enabled": True, "from": [{"namespaceSelector": {}}],
            "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}], "ports": [{"port": 6443}]}]}}))
    for more in (["--values", file], ["--set", "fullnameOverride=strict"]):
        rendered = helm("template", "strict", CHART, "--namespace", namespace, *more).stdout
        said = kubectl("apply", "--dry-run=server", "--validate=strict", "--namespace", namespace, "-f", "-", input=rendered)
        assert len(said.stdout.splitlines()) == len([o for o in yaml.safe_load_all(rendered) if o])
        assert "Warning" not in said.stderr, said.stderr


def can(kubectl, user, what, where):
    return kubectl("auth", "can-i", "--as", user, *what.split(), "-n", where, check=False).stdout.strip() == "yes"


def test_rights_in_the_whole_cluster_or_in_watched_namespaces(kube, helm, kubectl, crd, values, team):
    """can-i of the API server itself: what, where, in the whole cluster, with watchNamespaces."""
    with installed(kube, helm, PREFIX, values) as release:
        user, own = f"system:serviceaccount:{release.namespace}:{PREFIX}", release.namespace
        rows = [
            ("create secrets", team, True, True), ("create secrets", "default", True, False), ("create secrets", own, True, True),
            ("get secrets", team, False, False), ("patch secrets", team, False, False), ("get secrets/login", team, True, True),
            ("get secrets/other", team, False, False), ("get secrets/login", "default", False, False),
            ("patch deployments.apps", team, True, True), ("patch deployments.apps", "default", True, False),
            ("patch pods", team, False, False), ("list keyrotations.keyturn.dev", "default", True, False),
            ("list keyrotations.keyturn.dev", team, True, True),
            (f"update leases.coordination.k8s.io/{PREFIX}", own, True, True),
            (f"update leases.coordination.k8s.io/{PREFIX}", team, False, False),
            ("update leases.coordination.k8s.io/other", own, False, False),
        ]
        for column, more in ((2, {}), (3, {"watchNamespaces": [team]})):
            release.install({"fullnameOverride": PREFIX, **values, **more})
            # A binding takes a second or two to be in force, and to be gone.
            wrong = lambda: [row[:2] for row in rows if can(kubectl, user, *row[:2]) is not row[column]]
            eventually("all rights", lambda: not wrong())


def test_upgrade_and_uninstall_take_nothing_from_consumers(kube, helm, kubectl, crd, values, team):
    kube.core.create_namespaced_secret(team, {
        "metadata": {"name": "api-keys", "labels": {"app.kubernetes.io/managed-by": "keyturn", "keyturn.dev/rotation": "stays"}},
        "type": "keyturn.dev/public-keys", "stringData": {"jwks.json": "{}"}})
    kube.core.create_namespaced_config_map(team, {
        "metadata": {"name": "api-keys", "labels": {"app.kubernetes.io/managed-by": "keyturn", "keyturn.dev/rotation": "goes"}}})
    with installed(kube, helm, PREFIX, values) as release:
        before = kube.rotation(team, "goes")["metadata"]["uid"]
        changed = {**values, "rotations": [values["rotations"][0], {**values["rotations"][1], "refreshInterval": "1m"}]}
        release.install({"fullnameOverride": PREFIX, **changed})
        now = kube.rotation(team, "goes")
        assert (now["metadata"]["uid"], now["spec"]["refreshInterval"]) == (before, "1m")
    assert kube.core.read_namespaced_secret("api-keys", team).data
    assert kube.core.read_namespaced_config_map("api-keys", team)
    kubectl("get", "crd", "keyrotations.keyturn.dev")
    left = kubectl("get", "keyrotations", "-n", team, "-o", "name").stdout.split()
    assert left == ["keyrotation.keyturn.dev/stays"], "with deletionPolicy Delete it would take its objects along"
    for kind in ("clusterrole", "clusterrolebinding", "validatingadmissionpolicy", "validatingadmissionpolicybinding", "flowschema"):
        assert PREFIX not in kubectl("get", kind, "-o", "name", "-l", f"app.kubernetes.io/instance={PREFIX}").stdout
    kubectl("delete", "keyrotation", "stays", "-n", team)


def documented(text, chart):
    """The command for the CRD out of a text, ready to run from the top of the tree."""
    return re.search(r"((helm show crds CHART \| )?kubectl apply [^`\n]*)", text)[1].replace("CHART", str(chart))


@pytest.mark.parametrize("where", ["README.md", "charts/keyturn/templates/NOTES.txt", "charts/keyturn/values.yaml"])
def test_the_crd_is_upgraded_as_written(kubectl, crd, where):
    """Helm made the CRD, so that fields are Helm's when an upgrade changes them."""
    older = yaml.safe_load((ROOT / "crds" / "keyrotation.yaml").read_text())
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    wanted, schema["description"] = schema["description"], "older"
    kubectl("apply", "--server-side", "--field-manager=helm", "--force-conflicts", "-f", "-", input=json.dumps(older))
    command = documented((ROOT / where).read_text().replace("<this chart>", "CHART"), CHART)
    plain = run("bash", "-ec", "-o", "pipefail", command.replace(" --force-conflicts", ""), cwd=ROOT, check=False)
    assert plain.returncode != 0 and 'conflict with "helm"' in plain.stderr, "the control: without the flag it is refused"
    run("bash", "-ec", "-o", "pipefail", command, cwd=ROOT)
    now = json.loads(kubectl("get", "crd", "keyrotations.keyturn.dev", "-o", "json").stdout)
    assert now["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] == wanted


def test_two_releases_live_side_by_side(kube, helm, kubectl, crd):
    with installed(kube, helm, "one", {"replicaCount": 0}), installed(kube, helm, "two", {"replicaCount": 0}):
        names = kubectl("get", "validatingadmissionpolicy", "-o", "name").stdout
        assert "one-fence-secrets" in names and "two-fence-secrets" in names
