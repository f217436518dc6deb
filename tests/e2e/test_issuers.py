# SPDX-License-Identifier: Apache-2.0
"""Issuer, address and trust: what discovery proves, private CAs and their rotation, identity providers that are not ours."""
import contextlib
import json

import pytest

import keycloak_proxy as lie
from harness import fresh_namespace
from keycloak_proxy import KeycloakProxy
from keycloak_server import Authority
from operator_process import Operator
from scene import ISSUER, Scene, config_map, until


@pytest.fixture(scope="module")
def fixed(kube, crd, keycloak):
    """A realm of the Keycloak that has a fixed hostname, and an operator for the namespace of all tests here."""
    with fresh_namespace(kube, "issuers") as namespace:
        realm = keycloak.create_realm(namespace)
        with Operator(namespace, resync="1h") as operator:
            scene = Scene(kube, namespace, realm)
            scene.operator = operator
            yield scene
        realm.delete(missing_ok=True)


@pytest.fixture
def own(fixed, own_keycloak):
    """Realm `own` of the Keycloak that follows the Host header, in the same namespace."""
    scene = Scene(fixed.kube, fixed.namespace, own_keycloak.admin().realm("own"), keycloak_url=own_keycloak.url)
    scene.operator = fixed.operator
    return scene


@pytest.fixture
def name(request, fixed):
    """Name of the test's KeyRotation, which goes with it."""
    name = request.node.name.replace("test_", "").replace("_", "-").split("[")[0][:40].strip("-")
    yield name
    with contextlib.suppress(Exception):
        fixed.delete(name)


def declare(scene, name, url=None, **spec):
    """A rotation of the scene's realm, reached at this address; answers its issuer when asked there."""
    url = url or scene.keycloak_url
    login = scene.credentials(f"login-{name}", url=url)
    keycloak = {"url": url, "realm": scene.realm.name, "credentials": {"secret": {"name": login}}}
    scene.rotation(name, [config_map("c", f"{name}-c")], **{"keycloak": keycloak, "issuer": None, **spec})
    return f"{url}/realms/{scene.realm.name}"


def issuer_of(scene, name):
    return json.loads(scene.files("ConfigMap", f"{name}-c")["manifest.json"])["issuer"]


def test_a_public_issuer_is_discovered(fixed, name):
    declare(fixed, name)
    fixed.wait_ready(name)
    found = fixed.wait_condition("IssuerConsistent", "True", "IssuerDiscovered", name)
    assert ISSUER.format(fixed.realm.name) in found["message"]
    assert fixed.status(name)["issuer"]["url"] == ISSUER.format(fixed.realm.name) == issuer_of(fixed, name)


def test_a_keycloak_that_follows_the_host_proves_nothing(own, name):
    issuer = declare(own, name)
    said = own.wait_condition("IssuerConsistent", "Unknown", "IssuerFollowsHost", name)
    assert issuer in said["message"] and "--hostname=https://" in said["message"]
    own.wait_ready(name)
    assert issuer_of(own, name) is None and "url" not in own.status(name).get("issuer", {})
    own.patch(name, {"spec": {"issuer": {"url": ISSUER.format("own")}}})
    own.wait_ready(name)
    assert own.condition("IssuerConsistent", name)["reason"] == "IssuerFollowsHost", "another address is asked, so nothing is refuted"
    assert issuer_of(own, name) == ISSUER.format("own")
    own.patch(name, {"spec": {"issuer": {"url": issuer}}})
    own.wait_condition("IssuerConsistent", "True", "IssuerMatches", name)


@pytest.mark.parametrize("written", [True, False], ids=["written", "absent"])
def test_an_in_cluster_alias_is_no_issuer(fixed, name, written):
    """A Keycloak that answers with the alias it is asked by: no token that people bring will say it."""
    alias = f"http://keycloak.keycloak.svc:8080/realms/{fixed.realm.name}"
    with KeycloakProxy(fixed.keycloak_url) as proxy:
        proxy.faults = {"discovery": lie.edited(lambda tree: tree.update(issuer=alias))}
        declare(fixed, name, proxy.url, issuer={"url": alias} if written else None)
        said = fixed.wait_condition("IssuerConsistent", "False", "InClusterIssuer", name)
        assert alias in said["message"] and "spec.issuer.url" in said["message"] and "spec.issuer.jwksURL" in said["message"]
        uid = fixed.get(name)["metadata"]["uid"]
        until(lambda: any(e.involved_object.uid == uid for e in fixed.events("InClusterIssuer", name)), "an Event says so")
        proxy.faults = {}
        fixed.patch(name, {"spec": {"issuer": {"url": ISSUER.format(fixed.realm.name)}}, "metadata": {"annotations": {
            "keyturn.dev/refresh": "now"}}})
        fixed.wait_condition("IssuerConsistent", "True", "IssuerMatches", name)
        fixed.wait_ready(name)


def test_a_slash_too_many_is_another_issuer(fixed, name):
    declare(fixed, name, issuer={"url": ISSUER.format(fixed.realm.name) + "/"})
    said = fixed.wait_condition("Ready", "False", "IssuerMismatch", name)
    assert "byte for byte" in said["message"]
    until(lambda: fixed.events("IssuerMismatch", name), "an Event says so")


def test_any_issuer_by_discovery_alone(own, own_keycloak, name):
    issuer = f"{own_keycloak.url}/realms/own"
    declare(own, name, keycloak=None, issuer={"url": issuer})
    own.wait_ready(name)
    assert own.status(name)["issuer"] == {"url": issuer, "jwksURL": f"{issuer}/protocol/openid-connect/certs"}
    assert own.jwks_kids("ConfigMap", f"{name}-c") == {key["kid"] for key in own.realm.signing_keys()}


def test_keys_of_another_issuer_are_not_believed(own, own_keycloak, name):
    """Discovery names another issuer all at once: what it leads to changes nothing."""
    with KeycloakProxy(own_keycloak.url) as proxy:
        issuer = f"{proxy.url}/realms/own"
        declare(own, name, keycloak=None, issuer={"url": issuer})
        own.wait_ready(name)
        before = own.files("ConfigMap", f"{name}-c")
        proxy.faults["discovery"] = lie.edited(lambda tree: tree.update(issuer="https://other.example/realms/own"))
        own.annotate(name, refresh="now")
        own.wait_condition("Ready", "False", "IssuerMismatch", name)
        proxy.faults["jwks"] = lie.edited(lambda tree: tree["keys"].__delitem__(0))
        asked = proxy.asked("jwks")
        until(lambda: proxy.asked("jwks") >= asked + 3, "three more readings of the keys")
        assert own.files("ConfigMap", f"{name}-c") == before
        proxy.faults = {}
        own.annotate(name, refresh="again")
        own.wait_ready(name)
        assert own.files("ConfigMap", f"{name}-c") == before


def test_a_discovered_issuer_outlives_the_operator(fixed, name):
    """Nobody answers when the operator starts: what is published still says what discovery said before."""
    with KeycloakProxy(fixed.keycloak_url) as proxy:
        declare(fixed, name, proxy.url)
        fixed.wait_ready(name)
        before = fixed.kube.core.read_namespaced_config_map(f"{name}-c", fixed.namespace)
        assert issuer_of(fixed, name) == ISSUER.format(fixed.realm.name)
        fixed.operator.stop()
        proxy.faults = {route: lie.reset() for route in lie.ROUTES}
        fixed.operator.start()
        fixed.wait_condition("Ready", "False", "ServerFailed", name)
        asked = proxy.asked()
        until(lambda: proxy.asked() >= asked + 2, "it is asked again")
        after = fixed.kube.core.read_namespaced_config_map(f"{name}-c", fixed.namespace)
        assert (after.data, after.metadata.resource_version) == (before.data, before.metadata.resource_version)
        assert fixed.status(name)["issuer"]["url"] == ISSUER.format(fixed.realm.name)


# -- TLS --

def bundle(scene, name, **data):
    """ConfigMap with certificates; what was in it before goes."""
    body = {"metadata": {"name": name}, "data": data}
    maps = [item.metadata.name for item in scene.kube.core.list_namespaced_config_map(scene.namespace).items]
    if name in maps:
        return scene.kube.core.replace_namespaced_config_map(name, scene.namespace, body)
    return scene.kube.core.create_namespaced_config_map(scene.namespace, body)


def trusting(config_map_name, **more):
    return {"caBundle": {"configMap": {"name": config_map_name, **more}}}


def test_a_private_ca_is_trusted_where_it_is_named(own, own_keycloak, name):
    issuer = declare(own, name, own_keycloak.https_url)
    refused = own.wait_condition("Ready", "False", "TLSFailed", name)
    assert "127.0.0.1" in refused["message"] and "spec.issuer.caBundle" in refused["message"]
    until(lambda: own.events("TLSFailed", name), "an Event says so")
    bundle(own, "corp-ca", **{"ca.crt": own_keycloak.authority.pem, "roots.pem": Authority().pem})
    own.patch(name, {"spec": {"issuer": trusting("corp-ca", key="roots.pem")}})
    until(lambda: own.status(name)["observedGeneration"] == own.get(name)["metadata"]["generation"], "the other root is in force")
    own.wait_condition("Ready", "False", "TLSFailed", name)
    own.patch(name, {"spec": {"issuer": {"url": issuer, **trusting("corp-ca", key="ca.crt")}}})
    own.wait_ready(name)
    assert own.jwks_kids("ConfigMap", f"{name}-c") == {key["kid"] for key in own.realm.signing_keys()}
    own.patch(name, {"spec": {"issuer": {"caBundle": None}}})
    own.wait_condition("Ready", "False", "TLSFailed", name)
    assert own.jwks_kids("ConfigMap", f"{name}-c"), "what is published stays"


def test_a_ca_is_rotated(fixed, name):
    """The server gets a certificate of a new CA, then the ConfigMap the new CA: followed without a touch of the KeyRotation."""
    old, new = Authority("old CA"), Authority("new CA")
    with KeycloakProxy(fixed.keycloak_url, tls=old.context()) as proxy:
        bundle(fixed, "rotating-ca", **{"ca.crt": old.pem})
        declare(fixed, name, proxy.url, issuer=trusting("rotating-ca"))
        fixed.wait_ready(name)
        before = fixed.files("ConfigMap", f"{name}-c")
        proxy.tls = new.context()
        proxy.faults = {"jwks": lie.reset(), "keys": lie.reset()}  # connections that are open end here, one after the other
        fixed.wait_condition("Ready", "False", "TLSFailed", name)
        proxy.faults = {}
        bundle(fixed, "rotating-ca", **{"ca.crt": old.pem + new.pem})
        fixed.wait_ready(name)
        assert fixed.files("ConfigMap", f"{name}-c") == before


@pytest.mark.parametrize("mistake, words", [("missing", "mistake-ca"), ("key", "has no key ca.crt"), ("text", "spec.issuer.caBundle")])
def test_mistakes_in_a_ca_bundle(fixed, name, mistake, words):
    authority = Authority()
    with KeycloakProxy(fixed.keycloak_url, tls=authority.context()) as proxy:
        if mistake != "missing":
            bundle(fixed, "mistake-ca", **({"ca.pem": authority.pem} if mistake == "key" else {"ca.crt": "no certificate"}))
        declare(fixed, name, proxy.url, issuer=trusting("mistake-ca"))
        said = fixed.wait_condition("Ready", "False", "TLSFailed" if mistake == "text" else "CABundleUnusable", name)
        assert words in said["message"]
        assert proxy.asked() == 0, "nothing is asked with another trust than the one named"
        bundle(fixed, "mistake-ca", **{"ca.crt": authority.pem})
        fixed.wait_ready(name)
        assert proxy.asked() > 0
        fixed.kube.core.delete_namespaced_config_map("mistake-ca", fixed.namespace)


def test_a_certificate_of_another_host_is_refused(fixed, name):
    authority = Authority()
    with KeycloakProxy(fixed.keycloak_url, tls=authority.context("other.example")) as proxy:
        bundle(fixed, "host-ca", **{"ca.crt": authority.pem})
        declare(fixed, name, proxy.url, issuer=trusting("host-ca"))
        fixed.wait_condition("Ready", "False", "TLSFailed", name)
        assert proxy.asked() == 0
        proxy.tls = authority.context()
        fixed.wait_ready(name)
