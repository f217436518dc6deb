# SPDX-License-Identifier: Apache-2.0
"""One never delays another: a name that nobody answers for, a namespace that is forbidden, 300 consumers, objects that are bad in every way."""
import contextlib
import random
import socket
import time
import uuid

import pytest

from account import Account
from harness import fresh_namespace
from kube_proxy import KubeProxy
from operator_process import Operator
from scene import Scene, config_map, deployment, secret, until

ETCD_BYTES = 1536 << 10


@pytest.fixture(scope="module")
def realm(keycloak):
    realm = keycloak.create_realm(f"others-{uuid.uuid4().hex[:8]}")
    yield realm
    realm.delete(missing_ok=True)


@pytest.fixture
def scene(kube, crd, realm):
    with fresh_namespace(kube, "others") as namespace:
        yield Scene(kube, namespace, realm)


def refreshed(scene, name, value):
    scene.annotate(name, refresh=value)
    until(lambda: scene.status(name).get("refreshed") == value, f"{name}: refresh {value} is served")


def at(scene, url, name):
    """A part of a spec: the realm at another address, with credentials for it."""
    scene.credentials(name, url=url)
    return {"url": url, "realm": scene.realm.name, "credentials": {"secret": {"name": name}}}


# ---- a DNS server that never answers ----

@pytest.fixture
def silent_dns(tmp_path):
    """Words of a program that becomes another one, for which the only DNS server is one that never answers."""
    address = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"  # nobody else's, on a machine with several clusters
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        file = tmp_path / "resolv.conf"
        file.write_text(f"nameserver {address}\n")
        yield server, ("unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /etc/resolv.conf; exec "$@"', file)


def test_a_name_that_nobody_answers_for(scene, kube, silent_dns):
    server, under = silent_dns
    for i in range(5):
        lost = at(scene, f"http://keycloak-{i}.silent.test:8080", f"lost-{i}")
        scene.rotation(f"lost-{i}", consumers=[config_map(f"lost-{i}")], keycloak=lost)
    scene.rotation("good", consumers=[config_map("web")])
    with Operator(scene.namespace, under=under, leader_elect="true", identity="only") as operator:
        scene.wait_ready("good")
        for i in range(5):
            ready = scene.wait_condition("Ready", status="False", reason="NameNotResolved", name=f"lost-{i}")
            assert f"keycloak-{i}.silent.test" in ready["message"]
        server.settimeout(30)
        assert b"silent" in server.recv(512), "it was asked, and did not answer"
        for i in range(4):
            before = kube.leases.read_namespaced_lease("keyturn", scene.namespace).spec.renew_time
            refreshed(scene, "good", f"look-{i}")
            assert operator.get("/healthz").status_code == 200
            until(lambda: kube.leases.read_namespaced_lease("keyturn", scene.namespace).spec.renew_time > before, "the Lease is renewed")
        assert operator.metric("keyturn_leader") == 1 and not operator.logged("following")


# ---- a namespace that is forbidden ----

def test_a_forbidden_namespace_delays_no_other(scene, kube, realm, tmp_path):
    with fresh_namespace(kube, "closed") as closed, KubeProxy(tmp_path, forward_token=True) as proxy:
        other = Scene(kube, closed, realm)
        account = Account(kube, scene.namespace)
        account.allow(scene.namespace)
        proxy.token_file.write_text(account.token())
        scene.rotation(consumers=[config_map("web"), secret("api")])
        other.rotation(consumers=[config_map("web"), secret("api")])
        both = f"{closed},{scene.namespace}"
        with Operator(scene.namespace, kubeconfig=proxy.kubeconfig, wait=False, watch_namespaces=both) as operator:
            scene.wait_ready()
            why = until(lambda: (a := operator.get("/readyz")).status_code == 200 and a, "ready for the other namespace")
            assert "forbidden" in why.text and closed in why.text, why.text
            assert operator.get("/healthz").status_code == 200
            assert other.get().get("status") is None and proxy.seen(write=True, namespace=closed) == []
            refreshed(scene, "prod", "again")
            account.allow(closed)
            other.wait_ready()
            until(lambda: operator.get("/readyz").text == "ok\n", "nothing is forbidden any more")


# ---- many consumers ----

def long_name(i):
    return f"{i:03d}-" + "long" * 14


def test_three_hundred_consumers(scene, kubectl, proxy, tell):
    """Published and shown; and a KeyRotation that comes while they are written is served at once."""
    kinds, objects = (secret, config_map), "object" * 30
    many = [kinds[i % 2](long_name(i), f"{long_name(i)}-{objects}", formats=["JWKS", "PEM"]) for i in range(300)]
    proxy.fault(None, before=lambda _: time.sleep(0.1), verb="create", resource=("configmaps", "secrets"))  # time for the other one to come
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig) as operator:
        scene.rotation("many", consumers=many)
        until(lambda: proxy.seen(verb="create", resource=("configmaps", "secrets"), status=201), "the first of many")
        scene.rotation("few", consumers=[config_map("few")])
        status = scene.wait_ready("many")
        scene.wait_ready("few")
        written = [e.name for e in proxy.seen(verb="create", resource=("configmaps", "secrets"), status=201)]
        before = written.index("few-keys")
        assert status["consumersUpToDate"] == "300/300" and len(status["consumers"]) == 300
        assert {c["state"] for c in status["consumers"]} == {"UpToDate"}
        size = len(str(scene.get("many")))
        tell(f"300 consumers: another KeyRotation's object was written after {before} of 301, the KeyRotation has {size >> 10} KiB")
        assert before < 250
        assert size < ETCD_BYTES / 2
        said = kubectl("describe", "keyrotation", "many", "--namespace", scene.namespace).stdout
        assert long_name(299) in said and "300 consumers" in said and "Steady" in said
        maps = lambda: scene.kube.core.list_namespaced_config_map(scene.namespace, label_selector="keyturn.dev/rotation=many").items
        until(lambda: len(maps()) == 151, "and the record")
        assert operator.process.poll() is None


def test_three_hundred_failures(scene, kubectl, proxy):
    """Every consumer names a workload that is not there: the status still fits, and one glance tells."""
    many = [config_map(long_name(i), f"{i}-keys", formats=["JWKS"], restart=[deployment(f"{i}-{'missing' * 25}")]) for i in range(300)]
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig):
        scene.rotation("many", consumers=many)
        scene.rotation("few", consumers=[config_map("few")])
        scene.wait_ready("few")
        ready = scene.wait_condition("Ready", status="False", reason="ConsumerFailed", name="many")
        assert "does not exist" in ready["message"]
        until(lambda: [c["state"] for c in scene.status("many")["consumers"]].count("Failed") == 300, "all 300 are told")
        assert len(str(scene.get("many"))) < ETCD_BYTES / 2
        assert "0/300" in kubectl("describe", "keyrotation", "many", "--namespace", scene.namespace).stdout
        refreshed(scene, "few", "again")


# ---- bad objects ----

@contextlib.contextmanager
def mute_server():
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_bad_objects_delay_no_good_one(scene, proxy):
    """Each is bad in a way of its own, and stays so; writes for one of them never come back. The good one is served as if it were alone."""
    scene.kube.core.create_namespaced_config_map(scene.namespace, {"metadata": {"name": "foreign"}, "data": {"mine": "x"}})
    with mute_server() as mute, Operator(scene.namespace, kubeconfig=proxy.kubeconfig) as operator:
        scene.rotation("mute", consumers=[config_map("mute")], keycloak=at(scene, mute, "mute"))
        scene.rotation("foreign", consumers=[config_map("foreign", "foreign")])
        scene.rotation("alone", consumers=[config_map("alone", restart=[deployment("missing")])])
        scene.rotation("issuer", consumers=[config_map("issuer")], issuer={"url": "https://other.example/realms/x"})
        secretless = at(scene, scene.keycloak_url, "gone")
        scene.kube.core.delete_namespaced_secret("gone", scene.namespace)
        scene.rotation("secretless", consumers=[config_map("secretless")], keycloak=secretless)
        for name in ("mute", "alone", "foreign", "issuer", "secretless"):
            scene.wait_condition("Ready", status="False", name=name)
        first = []  # whether the first writes of the stuck one were given up before the first one of the good one
        stuck = tuple(f"stuck-{i}" for i in range(40))
        with proxy.hold(verb="create", resource="configmaps", name=stuck) as gate:
            proxy.fault(1, before=lambda _: first.extend(e.is_left() for e in gate.hits[:8]), write=True, name="web-keys")
            scene.rotation("stuck", consumers=[config_map(name, name) for name in stuck])
            gate.wait(8)
            scene.rotation("good", consumers=[config_map("web"), secret("api")])
            scene.wait_ready("good")
            assert first == [False] * 8, "its writes waited for those that hang"
            refreshed(scene, "good", "again")
            good = scene.files("ConfigMap", "web-keys")
            scene.kube.core.patch_namespaced_config_map("web-keys", scene.namespace, {"data": {"jwks.json": "{}"}})
            until(lambda: scene.files("ConfigMap", "web-keys") == good, "the edit is repaired")
            assert not operator.logged("object not written", rotation=f"{scene.namespace}/good")
            assert scene.condition("Ready", "stuck")["status"] == "False"
        scene.wait_ready("stuck")
        assert operator.process.poll() is None
