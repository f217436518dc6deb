# SPDX-License-Identifier: Apache-2.0
"""The main job, one operator on this machine against the real API server and Keycloak: publish, follow, restart once, warn, repair, and take
nothing away when a source fails."""
import json
import time

import pytest
import requests

import realm as keycloak_client
from operator_process import Operator
from scene import config_map, deployment, secret, until

DAY_S = 86400


def kids(realm):
    return {key["kid"] for key in realm.signing_keys() if key["status"] != "DISABLED"}


def test_publishes_both_kinds_and_is_ready(scene):
    scene.rotation(consumers=[secret("api"), config_map("web", formats=["JWKS", "PEM"])])
    with Operator(scene.namespace):
        status = scene.wait_kids(kids(scene.realm))
        files = scene.files("Secret", "api-keys")
        kid = next(iter(kids(scene.realm)))
        assert {"jwks.json", "bundle.pem", "certs.pem", "manifest.json", f"{kid}.pem", f"{kid}.crt"} == set(files)
        assert "certs.pem" not in scene.files("ConfigMap", "web-keys")
        key = json.loads(files["jwks.json"])["keys"][0]
        assert key["use"] == "sig" and key["kid"] == kid and "d" not in key and "x5c" not in key
        assert "PRIVATE" not in "".join(files.values())
        published = scene.kube.core.read_namespaced_secret("api-keys", scene.namespace)
        assert published.type == "keyturn.dev/public-keys"
        assert published.metadata.annotations["keyturn.dev/trust-hash"] == status["consumers"][0]["trustHash"]
        assert status["activeKid"] == kid and status["phase"] == "Steady"
        assert json.loads(files["manifest.json"])["trustHash"] == status["consumers"][0]["trustHash"]


def test_a_rotation_by_hand_is_followed_and_restarts_once(scene):
    scene.pause("api")
    scene.rotation(consumers=[secret("api", restart=[deployment("api")])])
    with Operator(scene.namespace) as operator:
        scene.wait_kids(kids(scene.realm))
        before = scene.read_workload("Deployment", "api")
        scene.realm.add_rsa_generated(name="next", priority=200, active=False)
        scene.wait_kids(kids(scene.realm))
        after = scene.read_workload("Deployment", "api")
        assert after.metadata.generation == before.metadata.generation + 1
        assert scene.template_hash("Deployment", "api") == scene.status()["consumers"][0]["trustHash"]
        operator.restart()
        scene.annotate("prod", refresh="again")
        until(lambda: scene.status().get("refreshed") == "again", "the refresh is served")
        scene.wait_ready()
        assert scene.read_workload("Deployment", "api").metadata.generation == after.metadata.generation
        until(lambda: len(scene.events("ConsumerRestarted")) == 2, "an Event for each")


def test_algorithms_but_never_symmetric_or_encryption_keys(scene):
    scene.realm.add_ecdsa_generated(name="ec")
    scene.realm.add_eddsa_generated(name="ed")
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace):
        scene.wait_kids(kids(scene.realm))
        keys = json.loads(scene.files("ConfigMap", "web-keys")["jwks.json"])["keys"]
        assert {key["kty"] for key in keys} == {"RSA", "EC", "OKP"}
        assert all(key["use"] == "sig" for key in keys)


def test_a_disabled_key_leaves_after_two_readings(scene):
    extra = scene.realm.add_rsa_generated(name="extra", priority=50, active=False)
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace):
        scene.wait_kids(kids(scene.realm))
        kid = scene.realm.kid(extra)
        scene.realm.delete_component(extra)
        until(lambda: any(k["kid"] == kid and k["state"] == "LEAVING" for k in scene.status()["keys"])
              or kid not in scene.jwks_kids("ConfigMap", "web-keys"), "the key is leaving")
        scene.wait_kids(kids(scene.realm))
        assert kid not in scene.jwks_kids("ConfigMap", "web-keys")


def test_edits_and_deletions_are_repaired(scene):
    scene.rotation(consumers=[config_map("web"), secret("api")])
    with Operator(scene.namespace):
        scene.wait_ready()
        good = scene.files("ConfigMap", "web-keys")
        scene.kube.core.patch_namespaced_config_map("web-keys", scene.namespace, {"data": {"jwks.json": "{}", "evil.pem": "x"}})
        until(lambda: scene.files("ConfigMap", "web-keys") == good, "the ConfigMap is repaired", 30)
        scene.kube.core.delete_namespaced_config_map("web-keys", scene.namespace)
        until(lambda: scene.files("ConfigMap", "web-keys") == good, "the ConfigMap is back", 30)
        secret_files = scene.files("Secret", "api-keys")
        scene.kube.core.patch_namespaced_secret("api-keys", scene.namespace, {"stringData": {"jwks.json": "{}"}})
        until(lambda: scene.files("Secret", "api-keys") == secret_files, "the Secret is repaired at resync", 60)
        until(lambda: scene.events("DriftRepaired"), "an Event tells", 30)


def test_foreign_objects_are_refused(scene):
    scene.kube.core.create_namespaced_config_map(scene.namespace, {"metadata": {"name": "web-keys"}, "data": {"mine": "x"}})
    scene.kube.core.create_namespaced_secret(scene.namespace, {"metadata": {"name": "api-keys"}, "stringData": {"mine": "x"}})
    scene.rotation(consumers=[config_map("web"), secret("api")])
    with Operator(scene.namespace):
        ready = scene.wait_condition("Ready", status="False", reason="ConsumerFailed")
        assert "keyturn.dev/adopt" in ready["message"]
        until(lambda: all(c["state"] == "Failed" for c in scene.status()["consumers"]), "both are refused")
        assert scene.files("ConfigMap", "web-keys") == {"mine": "x"}
        assert scene.files("Secret", "api-keys") == {"mine": "x"}


def test_a_passive_key_that_expires_soon_warns_once(scene):
    component = scene.realm.add_rsa(name="old", priority=50, active=False, valid_s=5 * DAY_S)
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace) as operator:
        kid = scene.realm.kid(component)
        event = until(lambda: scene.events("CertificateExpiring"), "the warning")[0]
        assert kid in event.message and "PASSIVE" in event.message and event.type == "Warning"
        announced = until(lambda: next(k for k in scene.status()["keys"] if k["kid"] == kid).get("announced"), "announced")
        assert set(announced) == {"30d", "14d", "7d"}
        assert scene.condition("CertificatesValid")["reason"] == "CertificateExpiring"
        assert operator.metric("keyturn_certificate_not_after_seconds", kid=kid) > time.time()
        operator.restart()
        scene.annotate("prod", refresh="again")
        until(lambda: scene.status().get("refreshed") == "again", "the new process has looked")
        assert len(scene.events("CertificateExpiring")) == 1


def test_a_realm_that_goes_takes_nothing_away(scene):
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace):
        scene.wait_ready()
        good = scene.files("ConfigMap", "web-keys")
        scene.realm.delete()
        scene.wait_condition("Ready", status="False")
        assert scene.files("ConfigMap", "web-keys") == good
        before = {key["kid"] for key in json.loads(good["jwks.json"])["keys"]}
        scene.realm.keycloak.create_realm(scene.realm.name)  # wholly new keys
        replaced = scene.wait_condition("KeysAsExpected", status="False", reason="KeysReplaced")
        until(lambda: scene.jwks_kids("ConfigMap", "web-keys") == before | kids(scene.realm), "both sets are published")
        value = replaced["message"].rsplit("=", 1)[1]
        scene.annotate("prod", acknowledge=value)
        scene.wait_kids(kids(scene.realm))
        assert scene.jwks_kids("ConfigMap", "web-keys") == kids(scene.realm)


def test_the_record_outlives_the_operator(scene):
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace) as operator:
        scene.wait_ready()
        until(lambda: scene.files("ConfigMap", "prod-keyturn-record"), "the record")
        good = scene.files("ConfigMap", "web-keys")
        operator.stop()
        scene.realm.delete()
        scene.kube.core.delete_namespaced_config_map("web-keys", scene.namespace)
        operator.start()
        until(lambda: scene.files("ConfigMap", "web-keys")["jwks.json"] == good["jwks.json"], "published from the record")


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_deletion_policy(scene, policy):
    scene.rotation(consumers=[config_map("web"), secret("api")], deletionPolicy=policy)
    with Operator(scene.namespace):
        scene.wait_ready()
        if policy == "Delete":
            until(lambda: scene.get()["metadata"].get("finalizers"), "the finalizer")
        scene.delete()
        if policy == "Retain":
            until(lambda: scene.events("KeysRetained"), "an Event says what stays")
            assert scene.files("ConfigMap", "web-keys") and scene.files("Secret", "api-keys")
        else:
            def gone():
                maps = [m.metadata.name for m in scene.kube.core.list_namespaced_config_map(scene.namespace).items]
                secrets = [s.metadata.name for s in scene.kube.core.list_namespaced_secret(scene.namespace).items]
                return "web-keys" not in maps and "api-keys" not in secrets
            until(gone, "published objects are deleted")


@pytest.mark.parametrize("mistake,reason", [("secret", "CredentialsRefused"), ("role", "RoleMissing"), ("url", None), ("missing", None),
                                             ("refused", "ConnectionRefused"), ("dns", "NameNotResolved")])
def test_mistakes_are_told_apart(scene, mistake, reason):
    keycloak = {"url": scene.keycloak_url, "realm": scene.realm.name, "credentials": {"secret": {"name": "keyturn-keycloak"}}}
    if mistake == "refused":
        keycloak["url"] = "http://127.0.0.1:9"
    if mistake == "dns":
        keycloak["url"] = "http://no-such-host.invalid:8080"
    scene.rotation(consumers=[config_map("web")], keycloak=keycloak)
    scene.credentials(url=keycloak["url"])
    if mistake == "secret":
        scene.credentials(client_secret="wrong")
    if mistake == "role":
        for role in keycloak_client.KEYTURN_ROLES:
            scene.realm.drop_role(role)
    if mistake == "url":
        scene.credentials(url="http://elsewhere.example")
    if mistake == "missing":
        scene.kube.core.delete_namespaced_secret("keyturn-keycloak", scene.namespace)
    with Operator(scene.namespace):
        ready = scene.wait_condition("Ready", status="False", reason=reason) if reason else until(
            lambda: scene.condition("KeysAsExpected")["reason"] not in ("NoKeys",) and scene.condition("Ready"), "a reason")
        assert ready["status"] == "False"
        word = {"secret": "keyturn-keycloak", "role": "view-realm", "url": "nothing was sent", "missing": "keyturn-keycloak",
                "refused": "127.0.0.1", "dns": "no-such-host"}[mistake]
        assert word in ready["message"] or word in scene.condition("KeysAsExpected")["message"]


def test_issuers(scene):
    scene.rotation(consumers=[config_map("web")], issuer={"url": "https://other.example/realms/x"})
    with Operator(scene.namespace):
        scene.wait_condition("IssuerConsistent", status="False", reason="IssuerMismatch")
        scene.patch("prod", {"spec": {"issuer": {"url": scene.realm.issuer()}}})
        scene.wait_condition("IssuerConsistent", status="True", reason="IssuerMatches")
        scene.wait_ready()


def test_any_oidc_issuer_without_admin_api(scene):
    jwks = f"{scene.keycloak_url}/realms/{scene.realm.name}/protocol/openid-connect/certs"
    scene.rotation(consumers=[config_map("web")], keycloak=None, issuer={"jwksURL": jwks})
    with Operator(scene.namespace):
        until(lambda: scene.jwks_kids("ConfigMap", "web-keys") == kids(scene.realm), "the JWKS is published")


def test_steady_means_no_writes(scene):
    scene.rotation(consumers=[config_map("web"), secret("api")])
    with Operator(scene.namespace, resync="1h") as operator:
        scene.wait_ready()
        polls = operator.metric("keyturn_http_requests_total", lane="keycloak")
        until(lambda: operator.metric("keyturn_http_requests_total", lane="keycloak") >= polls + 4, "two more polls")
        version = scene.get()["metadata"]["resourceVersion"]
        writes = operator.metric("keyturn_http_requests_total", lane="api")
        polls = operator.metric("keyturn_http_requests_total", lane="keycloak")
        until(lambda: operator.metric("keyturn_http_requests_total", lane="keycloak") >= polls + 6, "three more polls")
        assert scene.get()["metadata"]["resourceVersion"] == version
        assert operator.metric("keyturn_http_requests_total", lane="api") <= writes + 1  # credentials, once a token


def test_sigterm_ends_it_well(scene):
    with Operator(scene.namespace) as operator:
        assert operator.stop() == 0
        until(lambda: operator.logged("stopped"), "its last line is read")


def test_a_flag_that_is_wrong_is_refused(scene):
    operator = Operator(scene.namespace, wait=False, log_level="loud").start()
    assert operator.process.wait(10) == 2
    with pytest.raises(requests.RequestException):
        operator.get("/healthz")
