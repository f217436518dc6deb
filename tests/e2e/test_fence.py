# SPDX-License-Identifier: Apache-2.0
"""The fence: what a stolen token of the operator is good for.

With the operator's own ServiceAccount token every forbidden thing is tried on a real API server. Each must be refused by
name: RBAC's sentence, the admission policy, or the API server's own immutability. A 404 is no refusal: every object exists,
and the administrator sends each request too (writes as dry run), so that none is refused for being malformed.
Positive controls by the same token show that the refusals are not those of a token that can do nothing.
"""
import base64
import json
import re
import types

import pytest

from fence_cases import (ACCEPTS, ADMISSION, ADOPT, APPS, CANARY, CASES, COMMAND, CONFIGURATIONS, CORE, CUSTOM, EVENTS, HASH, JSON,
                         KINDS, OURS, PREFIX, TYPE, config_map, event, holding, meta, pod_spec, rotation, secret, workload)
from harness import FINALIZER, MERGE, Http, eventually, fresh_namespace, installed

pytestmark = pytest.mark.alone

POLICIES = ("secrets", "configmaps", "workloads", "keyrotations")


# --- the scene ------------------------------------------------------------------------------------

def filled(value, scene):
    text = json.dumps(value)
    return json.loads(text.replace("{ns}", scene.ns).replace("{own}", scene.own))


def collection(scene, item):
    plural = {"Secret": "secrets", "ConfigMap": "configmaps", "Pod": "pods", **KINDS}.get(item["kind"])
    if item["kind"] == "KeyRotation":
        return CUSTOM.replace("{ns}", scene.ns)
    return (APPS if item["kind"] in KINDS else CORE).replace("{ns}", scene.ns) + "/" + plural


def make(http, scene, item):
    answer = http("POST", collection(scene, item), item)
    assert answer.status_code == 201, f"{item['kind']} {item['metadata']['name']}: {answer.status_code} {answer.text}"
    return answer.json()


def policy_name(what):
    return f"{PREFIX}-fence-{what}"


@pytest.fixture(scope="module")
def scene(kube, helm, kubectl, crd, admin):
    """The chart's rights and policies in force, no operator running, and objects of every kind to attack."""
    # Without the policy for commands, which holds for everybody: of two that refuse, the API server names either.
    values = {"replicaCount": 0, "operations": {"enabled": False}}
    with installed(kube, helm, PREFIX, values) as release, fresh_namespace(kube, "attacked") as ns:
        token = kubectl("create", "token", PREFIX, "--namespace", release.namespace, "--duration=1h").stdout.strip()
        scene = types.SimpleNamespace(ns=ns, own=release.namespace, admin=admin, thief=Http(token))
        for item in [secret("foreign"), secret("login"), secret("adopted", annotations={ADOPT: "true"}),
                     secret("maybe", annotations={ADOPT: "yes"}), config_map("foreign"),
                     config_map("adopted", annotations={ADOPT: "true"}), *map(workload, KINDS), rotation(),
                     rotation("commanded", annotations={**COMMAND, "kept": "yes"}),
                     {"apiVersion": "v1", "kind": "Pod", "metadata": meta("lone"), "spec": pod_spec()}]:
            make(admin, scene, item)
        ok(admin("POST", filled(EVENTS, scene), filled(event("said"), scene)), 201)
        probes = {
            "secrets": ("POST", CORE + "/secrets?dryRun=All", secret("probe"), JSON),
            "configmaps": ("POST", CORE + "/configmaps?dryRun=All", config_map("probe"), JSON),
            "workloads": ("PATCH", APPS + "/daemonsets/api?dryRun=All", {"spec": {"minReadySeconds": 1}}, MERGE),
            "keyrotations": ("PATCH", CUSTOM + "/prod?dryRun=All", {"metadata": {"labels": {"probe": "x"}}}, MERGE),
        }
        for what, (method, path, body, kind) in probes.items():
            eventually(f"policy {what} in force", lambda: policy_name(what) in scene.thief(
                method, filled(path, scene), body, content_type=kind).text, seconds=60)
        for item in (secret("ours", TYPE, labels=OURS), config_map("ours", labels=OURS)):
            make(scene.thief, scene, item)
        yield scene
        for plural in KINDS.values():
            admin("PATCH", f"{APPS}/{plural}/api".replace("{ns}", ns), {"metadata": {"finalizers": None}}, content_type=MERGE)
        scene.thief.session.close()


def send(http, scene, one, dry=False):
    path, more = filled(one.path, scene), dict(one.more)
    if dry and one.method != "GET" and "dryRun" not in path:
        path += ("&" if "?" in path else "?") + "dryRun=All"
    if dry:
        more = {k: v for k, v in more.items() if not k.startswith("Impersonate")}
    return http(one.method, path, None if one.body is None else filled(one.body, scene), **more)


@pytest.fixture(scope="module")
def refusals(tell):
    """Titles of what was refused, by what refused it."""
    found = {}
    yield found
    parts = ", ".join(f"{len(titles)} by {by}" for by, titles in sorted(found.items()))
    tell(f"fence: {sum(map(len, found.values()))} of {len(CASES)} forbidden things refused: {parts}")


@pytest.mark.parametrize("one", CASES, ids=[c.title for c in CASES])
def test_forbidden(scene, refusals, one):
    answer = send(scene.thief, scene, one)
    # One line, quoted as in plain text, whatever the media type.
    said = " ".join(answer.content.decode("utf-8", "replace").split()).replace('\\"', '"').replace("''", "'")
    assert CANARY not in said and base64.b64decode(CANARY).decode() not in said, "the refusal holds the Secret"
    assert answer.status_code in (403, 422), f"{answer.status_code}: {said[:600]}"
    if one.by == "rbac":
        wanted = f'User "system:serviceaccount:{scene.own}:{PREFIX}" cannot '
        assert wanted in said, said[:600]
    elif one.by == "immutable":
        assert "field is immutable" in said or "updates to statefulset spec for fields other than" in said, said[:600]
    else:
        name = policy_name(one.by)
        assert f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: " in said, said[:600]
        assert "failed to eval" not in said and "no such" not in said, f"refused by an error of the rule: {said[:600]}"
    if one.admin:
        allowed = send(scene.admin, scene, one, dry=True)
        assert allowed.status_code in (200, 201, 202), \
            f"the request itself is wrong: the administrator gets {allowed.status_code}: {allowed.text[:600]}"
    refusals.setdefault(one.by, []).append(one.title)


def test_enough_is_tried():
    titles = [c.title for c in CASES]
    assert len(titles) == len(set(titles))
    assert len(titles) >= 30


# --- what the same token may do -------------------------------------------------------------------

def ok(answer, code=200):
    assert answer.status_code == code, f"{answer.status_code}: {answer.text[:600]}"
    return answer.json()


@pytest.mark.parametrize("plural, item", [("secrets", lambda name, **m: secret(name, TYPE, **m)), ("configmaps", config_map)],
                         ids=["Secret", "ConfigMap"])
def test_allowed_own_object(scene, plural, item):
    path = f"{CORE}/{plural}".replace("{ns}", scene.ns)
    answer = ok(scene.thief("POST", path, item("mine", labels=OURS), accept=ACCEPTS["metadata"]), 201)
    assert answer["kind"] == "PartialObjectMetadata" and "data" not in answer
    changed = item("mine", labels={**OURS, "keyturn.dev/rotation": "prod"}, annotations={HASH: "v1"})
    answer = ok(scene.thief("PUT", f"{path}/mine", changed, accept=ACCEPTS["metadata"]))
    assert answer["metadata"]["annotations"] == {HASH: "v1"}
    if plural == "configmaps":
        assert ok(scene.thief("GET", f"{path}/mine"))["data"] == {"jwks.json": "b"}
        assert ok(scene.thief("GET", f"{path}/foreign"))["data"] == {"jwks.json": "b"}
        assert ok(scene.thief("GET", f"{path}?labelSelector=app.kubernetes.io/managed-by%3Dkeyturn"))["items"]
    ok(scene.thief("DELETE", f"{path}/mine", accept=ACCEPTS["metadata"]))


FILES = ["manifest.json", "jwks.json", "bundle.pem", "certs.pem", "Kx_-9.0.pem", "n3bZ.crt"]


@pytest.mark.parametrize("title", CONFIGURATIONS)
def test_allowed_same_object_with_our_files(scene, title):
    """What refuses those objects is what they hold: name, namespace and labels alone would pass, with every file that we write."""
    policy, namespace, item = CONFIGURATIONS[title]
    files = FILES if policy == "secrets" else [*FILES, "record.json"]
    path = filled(f"/api/v1/namespaces/{namespace}/{policy}?dryRun=All", scene)
    ok(scene.thief("POST", path, holding(item, {name: CANARY for name in files}), accept=ACCEPTS["metadata"]), 201)


@pytest.mark.parametrize("plural, item", [("secrets", secret), ("configmaps", config_map)], ids=["Secret", "ConfigMap"])
def test_allowed_adopted_object(scene, plural, item):
    path = f"{CORE}/{plural}".replace("{ns}", scene.ns)
    given = make(scene.admin, scene, item("given", annotations={ADOPT: "true"}))
    changed = item("given", labels=OURS, annotations={ADOPT: "true", HASH: "v1"})
    ok(scene.thief("PUT", f"{path}/given", changed))
    assert ok(scene.admin("GET", f"{path}/given"))["metadata"]["uid"] == given["metadata"]["uid"]
    ok(scene.thief("DELETE", f"{path}/given", accept=ACCEPTS["metadata"]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("annotations", [{"kept": "yes"}, None], ids=["beside another", "alone"])
def test_allowed_restart(scene, kind, annotations):
    item = workload(kind, "free" if annotations else "bare")
    item["metadata"].pop("finalizers")
    item["spec"]["template"]["metadata"]["annotations"] = annotations
    made = make(scene.admin, scene, item)
    everything = f"{APPS}/{KINDS[kind]}".replace("{ns}", scene.ns)
    path = f"{everything}/{made['metadata']['name']}"

    def listed():
        return next(o for o in ok(scene.thief("GET", everything))["items"] if o["metadata"]["uid"] == made["metadata"]["uid"])

    def restarted(value):
        """By uid and resourceVersion; the kind's controller may write between reading and patching."""
        now = listed()["metadata"]
        patch = {"metadata": {"uid": made["metadata"]["uid"], "resourceVersion": now["resourceVersion"]},
                 "spec": {"template": {"metadata": {"annotations": {HASH: value}}}}}
        answer = scene.thief("PATCH", path + "?fieldManager=keyturn", patch, content_type=MERGE)
        return None if answer.status_code == 409 else (answer,)

    for value in ("v1", "v2"):
        got = ok(*eventually("patch without conflict", lambda: restarted(value)))
        assert got["spec"]["template"]["metadata"]["annotations"] == {**(annotations or {}), HASH: value}
    ok(scene.admin("DELETE", path))


def test_allowed_pods_are_listed(scene):
    listed = ok(scene.thief("GET", (CORE + "/pods").replace("{ns}", scene.ns), accept=ACCEPTS["metadata-list"]))
    assert "lone" in [p["metadata"]["name"] for p in listed["items"]]


def test_allowed_keyrotation(scene):
    path = (CUSTOM + "/prod").replace("{ns}", scene.ns)
    for finalizers in ([FINALIZER], None):
        patch = {"metadata": {"finalizers": finalizers}}
        got = ok(scene.thief("PATCH", path, patch, content_type=MERGE))
        assert got["metadata"].get("finalizers") == finalizers
    status = {"status": {"observedGeneration": 1, "phase": "Pending"}}
    assert ok(scene.thief("PATCH", path + "/status", status, content_type=MERGE))["status"]["phase"] == "Pending"
    assert ok(scene.thief("GET", CUSTOM.replace("/namespaces/{ns}", "")))["items"]
    # The status subresource is no way round the fence: it leaves everything else as it is.
    sneaky = {"metadata": {"labels": {"more": "x"}}, "spec": {"refreshInterval": "1h"}, "status": {"phase": "Steady"}}
    got = scene.thief("PATCH", path + "/status", sneaky, content_type=MERGE)
    now = ok(scene.admin("GET", path))
    assert now["spec"]["refreshInterval"] == "30s" and "more" not in now["metadata"].get("labels", {}), got.text


@pytest.mark.parametrize("there", [COMMAND, dict(list(COMMAND.items())[:1]), {}], ids=["whole", "one annotation", "none"])
@pytest.mark.parametrize("others", [{"kept": "yes"}, {}], ids=["beside another", "alone"])
def test_allowed_command_is_taken_off(scene, there, others):
    """As operation.c asks for it: all four at once, of the version that was seen."""
    item = make(scene.admin, scene, rotation("taken", annotations={**there, **others}))
    path = (CUSTOM + "/taken").replace("{ns}", scene.ns)
    patch = {"metadata": {"resourceVersion": item["metadata"]["resourceVersion"], "annotations": dict.fromkeys(COMMAND)}}
    ok(scene.admin("PATCH", path, {"spec": {"refreshInterval": "1m"}}, content_type=MERGE))
    late = scene.thief("PATCH", path + "?fieldManager=keyturn", patch, content_type=MERGE)
    assert late.status_code == 409, "a command given meanwhile would be lost"
    patch["metadata"]["resourceVersion"] = ok(scene.admin("GET", path))["metadata"]["resourceVersion"]
    got = ok(scene.thief("PATCH", path + "?fieldManager=keyturn", patch, content_type=MERGE, accept=ACCEPTS["metadata"]))
    assert got["metadata"].get("annotations", {}) == others
    ok(scene.admin("DELETE", path))


def test_allowed_keyrotation_is_let_go_when_it_is_deleted(scene):
    item = rotation("leaving")
    item["metadata"]["finalizers"] = [FINALIZER]
    make(scene.admin, scene, item)
    path = (CUSTOM + "/leaving").replace("{ns}", scene.ns)
    ok(scene.admin("DELETE", path))
    ok(scene.thief("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE))
    assert scene.admin("GET", path).status_code == 404


def test_allowed_lease_and_events(scene):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{scene.own}/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta(PREFIX), "spec": {"holderIdentity": "a"}}
    ok(scene.thief("POST", path, lease), 201)
    held = ok(scene.thief("GET", f"{path}/{PREFIX}"))
    held["spec"]["holderIdentity"] = "b"
    ok(scene.thief("PUT", f"{path}/{PREFIX}", held))
    ok(scene.thief("POST", filled(EVENTS, scene), filled(event("prod.1"), scene)), 201)


@pytest.mark.parametrize("policy", POLICIES)
def test_allowed_own_fence_is_read(scene, policy):
    for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        assert ok(scene.thief("GET", f"{ADMISSION}/{plural}/{policy_name(policy)}"))["spec"]


def test_everybody_else_is_free(scene):
    """The policies look at the operator alone."""
    for what, path, body, kind in [
            ("secrets", CORE + "/secrets/foreign", {"metadata": {"labels": {"free": "yes"}}}, MERGE),
            ("configmaps", CORE + "/configmaps/foreign", {"data": {"c": "d"}}, MERGE),
            ("deployments", APPS + "/deployments/api", {"spec": {"replicas": 0}}, MERGE),
            ("keyrotations", CUSTOM + "/prod", {"spec": {"refreshInterval": "1m"}}, MERGE)]:
        ok(scene.admin("PATCH", path.replace("{ns}", scene.ns) + "?dryRun=All", body, content_type=kind))


def fenced(one):
    """The policy that still stands where RBAC is wide open, for writes that RBAC refuses today; None: reading is RBAC's alone."""
    connects = re.search(r"/pods/lone/(exec|attach|portforward)", one.path)
    if one.by != "rbac" or (one.method == "GET" and not connects):
        return None
    # A put of the same content changes nothing; an invalid patch never reaches admission, so there is no right to patch Secrets.
    if re.search(": (status )?put$", one.title) or one.title.startswith("invalid patch") or "/configmaps/ours" in one.path:
        return None
    resource = re.search(r"/(secrets|configmaps|deployments|statefulsets|daemonsets|pods|keyrotations)(/|\?|$)", one.path)
    if not resource or "fieldSelector" in one.path:
        return None
    return resource[1] if resource[1] in ("secrets", "configmaps", "keyrotations") else "workloads"


def test_fence_stands_where_rbac_is_wide_open(scene, kubectl, kube, tell):
    """Somebody binds the operator to cluster-admin: the policies still refuse every write, each rule of theirs at least once."""
    said, wrong = [], []
    kubectl("create", "clusterrolebinding", "fence-wide-open", "--clusterrole=cluster-admin",
            f"--serviceaccount={scene.own}:{PREFIX}")
    try:
        eventually("cluster-admin", lambda: scene.thief("DELETE", "/api/v1/nodes/none").status_code == 404)
        tried = [(one, fenced(one) or one.by) for one in CASES if fenced(one) or one.by not in ("rbac", "immutable")]
        for one, policy in tried:
            answer = send(scene.thief, scene, one, dry=not re.search("exec|attach|portforward", one.path))
            said.append(answer.content.decode("utf-8", "replace"))
            if answer.status_code not in (403, 422) or f"ValidatingAdmissionPolicy '{policy_name(policy)}'" not in \
                    said[-1].replace("''", "'"):
                wrong.append((one.title, answer.status_code, said[-1][:300]))
    finally:
        kubectl("delete", "clusterrolebinding", "fence-wide-open")
    assert not wrong, "\n".join(map(str, wrong))
    text = " ".join(" ".join(said).split())
    unseen = [v.message for what in POLICIES for v in
              kube.admission.read_validating_admission_policy(policy_name(what)).spec.validations if v.message not in text]
    assert not unseen, f"rules that refused nothing: {unseen}"
    tell(f"fence: {len(tried)} writes refused by policies alone, with the operator bound to cluster-admin")


def test_policies_are_understood(scene, kube):
    """The API server's type checker has nothing to say about the rules."""
    for what in POLICIES:
        def checked():
            status = kube.admission.read_validating_admission_policy(policy_name(what)).status
            return status if status and status.type_checking else None
        status = eventually(f"type check of {what}", checked)
        assert not status.type_checking.expression_warnings, status.type_checking.expression_warnings
