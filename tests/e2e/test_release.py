# SPDX-License-Identifier: Apache-2.0
"""The chart's own operator, two replicas in pods behind the fence: tokens verify, no Secret is read, leadership moves, uninstalling takes nothing."""
import json
import os

import pytest
import requests

import realm as keycloak_client
from harness import eventually, fresh_namespace, installed
from scene import Scene, deployment, secret, until

pytestmark = pytest.mark.alone

KEYCLOAK_URL = "http://keycloak.keycloak.svc:8080"
NAME = "keyturn"


@pytest.fixture(scope="module")
def team(kube, crd):
    with fresh_namespace(kube, "team") as name:
        yield name


@pytest.fixture(scope="module")
def release(kube, helm, crd, image, team):
    repository, tag = image.rsplit(":", 1)
    values = {"image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}, "settle": 1, "resync": "20s",
              "credentialSecrets": [{"namespace": team, "name": "keyturn-keycloak"}]}
    with installed(kube, helm, NAME, values) as done:
        yield done


@pytest.fixture(scope="module")
def scene(kube, team, release):
    keycloak = keycloak_client.Keycloak.from_env()
    keycloak.wait_ready()
    realm = keycloak.create_realm(team, token_lifespan_s=900)
    scene = Scene(kube, team, realm, keycloak_url=KEYCLOAK_URL)
    scene.rotation(consumers=[secret("api", restart=[deployment("api")])])
    scene.verifier("api", secret="api-keys")
    scene.wait_ready(seconds=180)
    yield scene
    realm.delete(missing_ok=True)


def leader(kube, release):
    return kube.leases.read_namespaced_lease(NAME, release.namespace).spec.holder_identity or ""


def verify(scene, token):
    """What a running pod of the consumer answers."""
    pod = until(lambda: scene.pods("api"), "a pod of the consumer")[0]
    try:
        answer = requests.post(f"http://{pod.status.pod_ip}:8080/verify", data=token, timeout=10, proxies={"http": None})
    except requests.RequestException:
        return None  # not there yet, which is no answer
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def test_a_rotation_rejects_no_token(scene):
    old = scene.realm.mint()
    until(lambda: verify(scene, old), "a pod accepts a token of the realm", 30)
    assert verify(scene, keycloak_client.foreign_token(old)) is False
    component = scene.realm.add_rsa_generated(name="next", priority=200, active=False)
    scene.wait_kids({key["kid"] for key in scene.realm.signing_keys()}, seconds=150)
    scene.realm.update(component, active=True)
    new = scene.realm.mint()
    until(lambda: verify(scene, new), "a pod with the new key answers", 30)
    assert verify(scene, old)
    assert verify(scene, keycloak_client.foreign_token(new)) is False


def test_an_adopted_secret_is_taken_over_and_a_foreign_one_is_not(scene):
    for name, annotations in (("given", {"keyturn.dev/adopt": "true"}), ("kept", {})):
        scene.kube.core.create_namespaced_secret(scene.namespace, {"metadata": {"name": name, "annotations": annotations},
                                                                   "stringData": {"mine": "x"}})
    scene.rotation("other", consumers=[secret("given", "given"), secret("kept", "kept")])
    until(lambda: "jwks.json" in scene.files("Secret", "given"), "the Secret its owner gave is written")
    until(lambda: {c["name"]: c["state"] for c in scene.status("other")["consumers"]} == {"given": "UpToDate", "kept": "Failed"},
          "the other is refused")
    assert scene.files("Secret", "kept") == {"mine": "x"}
    assert scene.kube.core.read_namespaced_secret("given", scene.namespace).type == "Opaque"
    scene.delete("other")


def test_no_answer_carried_a_secret(scene, release):
    """The API server's audit log, with answers: the operator saw the data of its credentials and of nothing else."""
    user = f"system:serviceaccount:{release.namespace}:{NAME}"
    seen = {"credentials": 0, "others": 0}
    with open(os.environ["KEYTURN_AUDIT_LOG"], encoding="utf-8") as log:
        for line in log:
            entry = json.loads(line)
            if entry["user"]["username"] != user or entry["objectRef"]["resource"] != "secrets":
                continue
            answer = entry.get("responseObject") or {}
            if entry["objectRef"].get("name") == "keyturn-keycloak":
                seen["credentials"] += 1
                assert entry["verb"] == "get"
                continue
            seen["others"] += 1
            assert "data" not in answer and "stringData" not in answer, entry["auditID"]
    assert seen["credentials"] > 0 and seen["others"] > 3, seen


def test_leadership_moves_when_the_leader_ends(scene, release, kube):
    first = eventually("a leader", lambda: leader(kube, release))
    pods = [p.metadata.name for p in kube.core.list_namespaced_pod(release.namespace).items]
    pod = next(p for p in pods if first.startswith(p))
    kube.core.delete_namespaced_pod(pod, release.namespace)
    eventually("another leader", lambda: leader(kube, release) not in ("", first), 40)
    scene.annotate("prod", refresh=f"after {pod}")
    until(lambda: scene.status().get("refreshed") == f"after {pod}", "the new leader works")
    scene.wait_ready()


def test_uninstalling_takes_nothing_away(scene, release):
    token = scene.realm.mint()
    before = scene.kube.core.read_namespaced_secret("api-keys", scene.namespace)
    release.uninstall()
    for pod in scene.pods("api"):
        scene.kube.core.delete_namespaced_pod(pod.metadata.name, scene.namespace)
    until(lambda: verify(scene, token), "new pods verify with what stays", 60)
    assert scene.kube.core.read_namespaced_secret("api-keys", scene.namespace).data == before.data
