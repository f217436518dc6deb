# SPDX-License-Identifier: Apache-2.0
"""What people do to a realm, its client and its keys: what is published stays until readings agree, and each mistake is named with its repair."""
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import realm as keycloak_client
from harness import fresh_namespace
from operator_process import Operator
from scene import ISSUER, Scene, config_map, deployment, secret, until


@pytest.fixture
def scene(kube, crd, keycloak):
    """A realm with a rotation that is Ready, and its operator."""
    with fresh_namespace(kube, "realm") as namespace:
        realm = keycloak.create_realm(namespace)
        scene = Scene(kube, namespace, realm)
        scene.rotation(consumers=[secret("api"), config_map("web")])
        with Operator(namespace) as operator:
            scene.operator = operator
            scene.wait_ready()
            scene.before = published(scene)
            yield scene
        realm.delete(missing_ok=True)


def published(scene):
    return scene.files("Secret", "api-keys"), scene.files("ConfigMap", "web-keys")


def polls(scene):
    return scene.operator.metric("keyturn_http_requests_total", lane="keycloak")


def hold(scene, times=3):
    """Some more polls; a pass follows each."""
    for i in range(times):
        before = polls(scene)
        value = f"hold-{i}-{before}"
        scene.annotate("prod", refresh=value)
        until(lambda: polls(scene) > before and scene.status().get("refreshed") == value, "one more poll")


def test_a_realm_is_renamed(scene):
    old = scene.realm.name
    scene.realm.rename(f"{old}-new")
    until(lambda: f'realm "{old}" is not found' in scene.wait_condition("Ready", "False", "RealmMissing")["message"], "it is named")
    assert "spec.keycloak.realm" in scene.condition("Ready")["message"]
    hold(scene)
    assert published(scene) == scene.before
    scene.patch("prod", {"spec": {"keycloak": {"realm": scene.realm.name}, "issuer": {"url": ISSUER.format(scene.realm.name)}}})
    scene.wait_ready()
    assert scene.jwks_kids("ConfigMap", "web-keys") == {key["kid"] for key in json.loads(scene.before[0]["jwks.json"])["keys"]}
    assert json.loads(scene.files("ConfigMap", "web-keys")["manifest.json"])["issuer"] == ISSUER.format(scene.realm.name)


def test_a_realm_is_deleted(scene):
    scene.realm.delete()
    said = scene.wait_condition("Ready", "False", "RealmMissing")
    assert scene.realm.name in said["message"]
    until(lambda: scene.events("RealmMissing"), "an Event says so")
    hold(scene)
    assert published(scene) == scene.before


def test_a_realm_is_disabled(scene):
    scene.realm.put(enabled=False)
    said = scene.wait_condition("Ready", "False")
    # The JWKS is refused first as long as a token lives; where it has just ended, its renewal is.
    assert said["reason"] == "RealmDisabled" or "check that the realm is enabled" in said["message"]
    scene.operator.restart()
    said = scene.wait_condition("Ready", "False", "RealmDisabled")
    assert "enable the realm" in said["message"] and scene.realm.name in said["message"]
    hold(scene)
    assert published(scene) == scene.before
    scene.realm.put(enabled=True)
    scene.wait_ready()
    assert published(scene) == scene.before


def test_the_clients_secret_is_rotated(scene):
    """A token lives on in the operator; the next one is refused until the Secret is renewed too, and then nobody is asked."""
    scene.realm.set_client_secret("keyturn", "another-secret")
    scene.operator.restart()  # its token is forgotten
    said = scene.wait_condition("Ready", "False", "CredentialsRefused")
    assert f"{scene.namespace}/keyturn-keycloak" in said["message"] and "client-secret" in said["message"]
    assert published(scene) == scene.before
    scene.credentials(client_secret="another-secret")
    scene.wait_ready()
    assert published(scene) == scene.before
    assert "another-secret" not in json.dumps(scene.operator.lines) + json.dumps(scene.get())


def test_a_role_is_taken_and_given_back(scene):
    for role in keycloak_client.KEYTURN_ROLES:
        scene.realm.drop_role(role)
    scene.operator.restart()
    said = scene.wait_condition("Ready", "False", "RoleMissing")
    assert (f"kcadm.sh add-roles -r {scene.realm.name} --uusername service-account-keyturn --cclientid realm-management"
            " --rolename view-realm") in said["message"]
    assert published(scene) == scene.before
    scene.realm.add_role("view-realm")
    scene.wait_ready()
    scene.realm.add_rsa_generated("next", priority=50, active=False)
    scene.wait_kids({key["kid"] for key in scene.realm.signing_keys()})


def test_one_key_in_two_components_is_one_key(scene):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    one = scene.realm.add_rsa("one", priority=60, active=False, private_key=key)
    scene.wait_kids({key["kid"] for key in scene.realm.signing_keys()})
    generation = scene.status()["keys"]
    two = scene.realm.add_rsa("two", priority=50, active=False, private_key=key)
    kid = scene.realm.kid(one)
    assert scene.realm.kid(two) == kid
    hold(scene)
    assert {k["kid"] for k in scene.status()["keys"]} == {k["kid"] for k in generation}
    assert scene.condition("Ready")["status"] == "True"
    files = scene.files("ConfigMap", "web-keys")
    assert [k["kid"] for k in json.loads(files["jwks.json"])["keys"]].count(kid) == 1
    scene.realm.delete_component(one)
    hold(scene)
    assert kid in scene.jwks_kids("ConfigMap", "web-keys"), "the other component has it still"
    scene.wait_ready()


def test_two_keys_under_one_kid_change_nothing(scene):
    """Keycloak takes a kid as it is given, also twice."""
    config = {"active": "false", "enabled": "true", "algorithm": "RS256", "keySize": 2048, "kid": "one-name"}
    scene.operator.stop()  # it would take the first on trust before there is a second
    components = [scene.realm.add_component("rsa-generated", f"twin-{i}", {**config, "priority": 50 + i}) for i in range(2)]
    assert [scene.realm.kid(component) for component in components] == ["one-name", "one-name"]
    scene.operator.start()
    said = scene.wait_condition("Ready", "False", "KidDuplicate")
    assert "one-name" in said["message"] and "delete one of the two components" in said["message"]
    hold(scene)
    assert published(scene) == scene.before, "neither is taken on trust"
    scene.realm.delete_component(components[1])
    scene.wait_kids({key["kid"] for key in scene.realm.signing_keys()})
    assert scene.files("ConfigMap", "web-keys")["one-name.pem"]


def test_more_keys_than_can_be_held(scene):
    """64 fit. One more changes nothing, and is said; when one goes, the rest is followed."""
    had = len(scene.realm.signing_keys())
    components = [scene.realm.add_ecdsa_generated(f"ec-{i}", priority=10, active=False) for i in range(64 - had)]
    scene.wait_kids({key["kid"] for key in scene.realm.signing_keys()})
    full = published(scene)
    last = scene.realm.add_ecdsa_generated("one-too-many", priority=10, active=False)
    said = scene.wait_condition("Ready", "False", "TooManyKeys")
    assert "more than 64 signing keys" in said["message"]
    until(lambda: scene.events("TooManyKeys"), "an Event says so")
    hold(scene)
    assert published(scene) == full
    scene.realm.delete_component(components[0])
    left = {key["kid"] for key in scene.realm.signing_keys()}
    assert scene.realm.kid(last) in left
    scene.wait_kids(left)


def test_a_key_that_leaves_and_one_that_comes_restart_once_each(scene):
    scene.pause("api")
    scene.patch("prod", {"spec": {"consumers": [secret("api", restart=[deployment("api")]), config_map("web")]}})
    scene.wait_ready()
    generation = lambda: scene.read_workload("Deployment", "api").metadata.generation
    first = generation()
    component = scene.realm.add_rsa_generated("next", priority=50, active=False)
    scene.wait_kids({key["kid"] for key in scene.realm.signing_keys()})
    assert generation() == first + 1
    scene.realm.set_enabled(component, False)
    scene.wait_kids({key["kid"] for key in scene.realm.signing_keys() if key["status"] != "DISABLED"})
    assert generation() == first + 2
    assert published(scene)[0]["jwks.json"] == scene.before[0]["jwks.json"]
