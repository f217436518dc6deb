# SPDX-License-Identifier: Apache-2.0
"""Published objects that cannot be what they should: another's type, frozen by somebody, too large, in a namespace that goes."""
import datetime
import json

import kubernetes
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from harness import FINALIZER, fresh_namespace, installed
from operator_process import Operator
from scene import Scene, config_map, secret, until

PREFIX = "objects"
HOLD = "keyturn.test/hold"


def consumer(scene, name):
    return next(c for c in scene.status()["consumers"] if c["name"] == name)


def states(scene):
    return {c["name"]: c["state"] for c in scene.status()["consumers"]}


def add_key(scene, name="next"):
    scene.realm.add_rsa_generated(name, priority=50, active=False)
    scene.annotate("prod", refresh=name)
    return {key["kid"] for key in scene.realm.signing_keys()}


@pytest.mark.alone
def test_what_an_owner_gives(scene, kube, helm, kubectl, tmp_path):
    """Behind the fence, by the chart's account: an Opaque Secret and a ConfigMap are taken over with all that is in them; a Secret
    of another type cannot be, with and without the annotation."""
    given = {"annotations": {"keyturn.dev/adopt": "true"}}
    tls = {"tls.crt": "x", "tls.key": "y"}
    scene.kube.core.create_namespaced_secret(scene.namespace, {"metadata": {"name": "opaque", **given}, "stringData": {"mine": "x"}})
    scene.kube.core.create_namespaced_secret(scene.namespace, {"metadata": {"name": "tls", **given}, "type": "kubernetes.io/tls",
                                                               "stringData": tls})
    scene.kube.core.create_namespaced_secret(scene.namespace, {"metadata": {"name": "kept"}, "stringData": {"mine": "x"}})
    scene.kube.core.create_namespaced_config_map(scene.namespace, {"metadata": {"name": "map", **given}, "data": {"mine": "x"}})
    values = {"replicaCount": 0, "credentialSecrets": [{"namespace": scene.namespace, "name": "keyturn-keycloak"}]}
    with installed(kube, helm, PREFIX, values) as release:
        scene.rotation(consumers=[secret(name, name) for name in ("opaque", "tls", "kept")] + [config_map("map", "map")])
        config = release.kubeconfig(kubectl, tmp_path)
        with Operator(release.namespace, kubeconfig=config, **release.flags):
            until(lambda: states(scene) == {"opaque": "UpToDate", "tls": "Failed", "kept": "Failed", "map": "UpToDate"}, "all are tried")
            for name in ("tls", "kept"):
                said = consumer(scene, name)["message"]
                assert "keyturn.dev/adopt=true" in said and "of type Opaque" in said and f"Secret {name}" in said
            assert scene.files("Secret", "tls") == tls and scene.files("Secret", "kept") == {"mine": "x"}
            assert "mine" not in scene.files("Secret", "opaque") and "jwks.json" in scene.files("Secret", "opaque")
            assert "mine" not in scene.files("ConfigMap", "map") and "jwks.json" in scene.files("ConfigMap", "map")
            assert scene.kube.core.read_namespaced_secret("opaque", scene.namespace).type == "Opaque"
            for name in ("tls", "kept"):
                scene.kube.core.delete_namespaced_secret(name, scene.namespace)
            scene.patch("prod", {"metadata": {"annotations": {"keyturn.dev/refresh": "they are gone"}}})
            scene.wait_ready()
            assert scene.kube.core.read_namespaced_secret("tls", scene.namespace).type == "keyturn.dev/public-keys"


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_an_object_that_somebody_froze(scene, kind):
    """immutable: true cannot be taken back. It is said, nobody else waits, and once it is deleted it is made anew."""
    make = config_map if kind == "ConfigMap" else secret
    core, word = scene.kube.core, {"ConfigMap": "config_map", "Secret": "secret"}[kind]
    scene.rotation(consumers=[make("frozen"), make("free")])
    with Operator(scene.namespace):
        scene.wait_ready()
        before = scene.files(kind, "frozen-keys")
        getattr(core, f"patch_namespaced_{word}")("frozen-keys", scene.namespace, {"immutable": True})
        kids = add_key(scene)
        until(lambda: states(scene) == {"frozen": "Failed", "free": "UpToDate"} and scene.jwks_kids(kind, "free-keys") == kids, "it is refused")
        said = consumer(scene, "frozen")["message"]
        assert f"{kind} frozen-keys" in said and "immutable" in said and f"kubectl delete {kind} frozen-keys" in said, said
        scene.wait_condition("Ready", "False", "ConsumerFailed")
        assert scene.files(kind, "frozen-keys") == before
        getattr(core, f"delete_namespaced_{word}")("frozen-keys", scene.namespace)
        scene.wait_ready()
        assert scene.jwks_kids(kind, "frozen-keys") == kids


def large_certificate(key, padding):
    """With a private extension that nobody reads."""
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "large")])
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x04\x82" + padding.to_bytes(2, "big") + b"k" * padding)
    return (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=365)).add_extension(extension, critical=False).sign(key, hashes.SHA256()))


def test_an_object_that_would_be_too_large(scene):
    """Many keys with large certificates: who wants them in every form is told; who wants the keys alone gets them."""
    scene.rotation(consumers=[config_map("all", keepX5c=True), config_map("keys", formats=["JWKS", "PEM"])])
    with Operator(scene.namespace):
        scene.wait_ready()
        before = scene.files("ConfigMap", "all-keys")
        components = []
        for i in range(24):
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            components.append(scene.realm.add_rsa(f"large-{i}", priority=10, active=False, private_key=key, cert=large_certificate(key, 14000)))
        scene.annotate("prod", refresh="all are there")
        kids = {key["kid"] for key in scene.realm.signing_keys()}
        until(lambda: states(scene) == {"all": "Failed", "keys": "UpToDate"} and scene.jwks_kids("ConfigMap", "keys-keys") == kids, "it is said")
        said = consumer(scene, "all")["message"]
        assert "ConfigMap all-keys would be larger than 1 MiB" in said and "publish fewer formats" in said
        scene.wait_condition("Ready", "False", "ConsumerFailed")
        assert scene.files("ConfigMap", "all-keys").keys() >= before.keys(), "what is published stays"
        size = len(json.dumps(scene.files("ConfigMap", "all-keys")))
        scene.patch("prod", {"spec": {"consumers": [config_map("all", formats=["X509"]), config_map("keys", formats=["JWKS", "PEM"])]}})
        scene.wait_ready()
        assert len(json.dumps(scene.files("ConfigMap", "all-keys"))) != size
        assert len([name for name in scene.files("ConfigMap", "all-keys") if name.endswith(".crt")]) == len(kids)


def test_a_namespace_that_goes(scene, kube):
    """Deleted, and held by something else for a while: it does not wait for us, and nobody else waits for it."""
    with fresh_namespace(kube, "going") as going:
        other = Scene(kube, going, scene.realm)
        other.rotation("deletes", [config_map("a")], deletionPolicy="Delete")
        other.rotation("retains", [secret("b")])
        hold = {"metadata": {"name": "hold", "finalizers": [HOLD]}}
        kube.core.create_namespaced_config_map(going, hold)
        scene.rotation(consumers=[config_map("web")])
        with Operator(scene.namespace, watch_namespaces=f"{scene.namespace},{going}") as operator:
            for one, name in ((other, "deletes"), (other, "retains"), (scene, "prod")):
                one.wait_ready(name)
            until(lambda: other.get("deletes")["metadata"].get("finalizers") == [FINALIZER], "the finalizer")
            kube.core.delete_namespace(going)
            left = lambda: [m.metadata.name for m in kube.core.list_namespaced_config_map(going).items]
            until(lambda: left() == ["hold"], "all but what is held is gone")
            assert kube.core.read_namespace(going).status.phase == "Terminating"
            kids = add_key(scene)
            scene.wait_kids(kids)
            assert scene.jwks_kids("ConfigMap", "web-keys") == kids
            refusals = operator.logged("event not written") + operator.logged("object not written")
            assert len(refusals) < 30, "what cannot be written there is not tried without end"
            kube.core.patch_namespaced_config_map("hold", going, {"metadata": {"finalizers": None}})

            def gone():
                try:
                    kube.core.read_namespace(going)
                except kubernetes.client.ApiException as error:
                    return error.status == 404
                return False
            until(gone, "the namespace is gone")
            operator.until(operator.ready, "the operator is ready still")
            scene.wait_kids(add_key(scene, "last"))
        kube.core.create_namespace({"metadata": {"name": going}})  # for the fixture to delete
