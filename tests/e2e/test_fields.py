# SPDX-License-Identifier: Apache-2.0
"""Fields of a KeyRotation that no other test would miss: each changes what is asked, published or restarted."""
import json
import os


from keycloak_proxy import KeycloakProxy
from operator_process import Operator
from scene import config_map, deployment, secret, until


def test_refresh_interval(scene):
    with KeycloakProxy(os.environ["KEYCLOAK_URL"]) as often, KeycloakProxy(os.environ["KEYCLOAK_URL"]) as seldom:
        for name, proxy, interval in (("often", often, "5s"), ("seldom", seldom, "1h")):
            login = scene.credentials(f"login-{name}", url=proxy.url)
            scene.rotation(name, [config_map(name)], refreshInterval=interval,
                           keycloak={"url": proxy.url, "realm": scene.realm.name, "credentials": {"secret": {"name": login}}})
        with Operator(scene.namespace):
            scene.wait_ready("often")
            scene.wait_ready("seldom")
            until(lambda: often.asked("jwks") >= 4 and often.asked("keys") >= 4, "it is asked every few seconds")
            assert seldom.asked("jwks") == seldom.asked("keys") == 1
            scene.annotate("seldom", refresh="now")
            until(lambda: seldom.asked("jwks") == 2, "and at once when somebody says so")
            scene.patch("seldom", {"spec": {"refreshInterval": "5s"}})
            until(lambda: seldom.asked("jwks") >= 4, "a shorter interval begins at once")


def test_names_of_a_consumer(scene):
    scene.rotation(consumers=[secret("shop", "its-secret"), config_map("bank", "its-map")])
    with Operator(scene.namespace):
        status = scene.wait_ready()
        assert [(c["name"], c["object"]) for c in status["consumers"]] == [("shop", "Secret/its-secret"), ("bank", "ConfigMap/its-map")]
        published = [scene.kube.core.read_namespaced_secret("its-secret", scene.namespace),
                     scene.kube.core.read_namespaced_config_map("its-map", scene.namespace)]
        assert [item.metadata.annotations["keyturn.dev/consumer"] for item in published] == ["shop", "bank"]
        told = lambda: {event.message.split(":")[0] for event in scene.events("KeysPublished")}
        until(lambda: told() == {"consumer shop", "consumer bank"}, "an Event for each")


def test_formats_and_x5c(scene):
    """A renewed wrapper is no change for who looks at keys alone, and one for who looks at certificates."""
    component = scene.realm.add_rsa("own", priority=50, active=False)
    consumers = {"jwks": {"formats": ["JWKS"]}, "pem": {"formats": ["PEM"]}, "certs": {"formats": ["X509"]},
                 "kept": {"formats": ["JWKS"], "keepX5c": True}}
    for name in consumers:
        scene.pause(name, replicas=0)
    scene.rotation(consumers=[config_map(name, restart=[deployment(name)], **more) for name, more in consumers.items()])
    kid = scene.realm.kid(component)
    with Operator(scene.namespace):
        scene.wait_ready()
        files = {name: scene.files("ConfigMap", f"{name}-keys") for name in consumers}
        assert set(files["jwks"]) == set(files["kept"]) == {"jwks.json", "manifest.json"}
        assert {"bundle.pem", f"{kid}.pem"} < set(files["pem"]) and not {"jwks.json", "certs.pem"} & set(files["pem"])
        assert {"certs.pem", f"{kid}.crt"} < set(files["certs"]) and not {"jwks.json", "bundle.pem"} & set(files["certs"])
        key = lambda name: next(k for k in json.loads(scene.files("ConfigMap", f"{name}-keys")["jwks.json"])["keys"] if k["kid"] == kid)
        before = key("kept")["x5c"]
        assert "x5c" not in key("jwks") and key("kept")["x5t#S256"]
        generations = lambda: {name: scene.read_workload("Deployment", name).metadata.generation for name in consumers}
        first = generations()
        scene.realm.update(component, cert="")  # the server makes a new one
        until(lambda: key("kept")["x5c"] != before, "the new certificate")
        scene.wait_ready()
        until(lambda: generations() == {**first, "certs": first["certs"] + 1, "kept": first["kept"] + 1}, "two are restarted")
        assert scene.files("ConfigMap", "jwks-keys") == files["jwks"] and scene.files("ConfigMap", "pem-keys") == files["pem"]
