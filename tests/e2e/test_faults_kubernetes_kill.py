# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the operator after each of its writes: the next process comes to the same end.

One run through the proxy records the writes of a whole story: keys published for the first time, workloads restarted, a warning,
a key added, workloads restarted again. Then the story is told once for each write, and the operator dies when the server has done
that write and before the operator knows. Then there is nothing to tell the runs apart by.
"""
import concurrent.futures
import json
import re
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import fresh_namespace
from kube_proxy import KubeProxy, Lost
from operator_process import Operator
from realm import certificate
from scene import Scene, config_map, deployment, secret, until

ROLLOUT_S = 0.5    # how late a rollout is seen: so that every telling writes that it is under way
WORKERS = 3        # stories told at a time, each in a realm of its own
TRIES = 6          # a write that did not happen this time: the story is told again
DAY_S = 86400
WORDS = re.compile(r"[\w-]{40,}|\d+")  # hashes, kids and times differ from run to run


class Keys:
    """The same for all stories, so that their ends can be compared."""

    def __init__(self):
        self.old, self.next = (self._make(5 * DAY_S), self._make(365 * DAY_S))

    @staticmethod
    def _make(valid_s):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return {"private_key": key, "cert": certificate(key, "test", valid_s)}


def point_of(stage, exchange):
    """What a write is, whatever the run."""
    body = exchange.json()
    if exchange.resource == "events":
        return stage, "create", "events", body["reason"], WORDS.sub("*", body["note"])[:60]
    if exchange.resource == "keyrotations/status":
        return stage, exchange.verb, exchange.resource, body["status"]["phase"], len(body["status"].get("keys") or [])
    return stage, exchange.verb, exchange.resource, exchange.name


class Story:
    """kill_at: a point, or None for a run that only records."""

    def __init__(self, scene, proxy, keys, kill_at=None):
        self.scene, self.proxy, self.keys, self.kill_at = scene, proxy, keys, kill_at
        self.stage, self.points = "first", []
        self.dead = threading.Event()
        self.operator = Operator(scene.namespace, kubeconfig=proxy.kubeconfig, wait=False, resync="1h")

    def _written(self, exchange):
        if exchange.status >= 300 or self.dead.is_set():
            return
        point = point_of(self.stage, exchange)
        if point not in self.points:
            self.points.append(point)
        if point == self.kill_at:
            self.operator.kill()
            self.dead.set()
            raise Lost

    def until(self, look, what):
        """Waits, and brings the operator back when it has been killed."""
        def with_operator():
            if self.operator.process.poll() is not None:
                assert self.dead.wait(10), f"the operator died by itself\n{self.operator.tail()}"
                self.operator.start()
            return look()
        return until(with_operator, what)

    def tell(self):
        """Returns the end, as far as it must be the same for all."""
        scene = self.scene
        for name in ("api", "web"):
            scene.workload("Deployment", name, replicas=0, image="test.local/pause:1")
        scene.realm.add_rsa(name="old", priority=50, active=False, **self.keys.old)
        scene.rotation(consumers=[secret("api", restart=[deployment("api")]), config_map("web", restart=[deployment("web")])])
        self.proxy.on_answer(self._written, write=True, namespace=scene.namespace)
        with self.operator:
            self.until(lambda: self._settled(2, "first"), "the first keys are published")
            time.sleep(ROLLOUT_S)  # what is still on its way belongs to the first stage
            self.stage = "second"
            scene.realm.add_rsa(name="next", priority=60, active=False, **self.keys.next)
            scene.annotate("prod", refresh="second")
            self.until(lambda: self._settled(3, "second"), "the new key is published")
            end = self._end()
            self.operator.stop()
        return end

    def _settled(self, keys, stage):
        found = self.scene.get()
        status = found["status"]
        good = {c["type"] for c in status["conditions"] if c["status"] == "True"}
        record = json.loads(self.scene.files("ConfigMap", "prod-keyturn-record")["record.json"])
        return (good >= {"Ready", "IssuerConsistent"} and len(status["keys"]) == keys == len(record["keys"])
                and status.get("refreshed") == (stage if stage == "second" else None)
                and all("announced" in k for k in status["keys"] if k["state"] == "PASSIVE" and k["notAfter"] == status["certExpires"]))

    def _end(self):
        scene = self.scene
        status = scene.status()
        events = scene.events()
        workloads = {name: scene.read_workload("Deployment", name) for name in ("api", "web")}
        return {
            "objects": {kind: {i.metadata.name: (scene.files(kind, i.metadata.name), i.metadata.annotations, i.metadata.labels)
                               for i in items if i.metadata.labels and "app.kubernetes.io/managed-by" in i.metadata.labels}
                        for kind, items in self._objects()},
            "generations": {name: w.metadata.generation for name, w in workloads.items()},
            "hashes": {name: w.spec.template.metadata.annotations for name, w in workloads.items()},
            "conditions": {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]},
            "status": {k: v for k, v in status.items() if k not in ("conditions", "keys")},
            "keys": sorted(({k: v for k, v in key.items() if k != "component"} for key in status["keys"]), key=lambda k: k["kid"]),
            "warnings": sorted((e.reason, WORDS.sub("*", e.message)) for e in events if e.type == "Warning"),
        }

    def _objects(self):
        core = self.scene.kube.core
        yield "Secret", core.list_namespaced_secret(self.scene.namespace).items
        yield "ConfigMap", core.list_namespaced_config_map(self.scene.namespace).items


class Teller:
    """Tells stories one after the other in one realm, through one proxy."""

    def __init__(self, kube, keycloak, keys, folder, name):
        folder.mkdir()
        self.kube, self.keys, self.proxy = kube, keys, KubeProxy(folder)
        self.proxy.slow_streams(ROLLOUT_S, resource="deployments")
        self.realm = keycloak.create_realm(name)
        self.first = {c["id"] for c in self.realm.components()}

    def tell(self, kill_at=None):
        with fresh_namespace(self.kube, "kill") as namespace:
            story = Story(Scene(self.kube, namespace, self.realm), self.proxy, self.keys, kill_at)
            try:
                return story, story.tell()
            finally:
                for fault in list(self.proxy.faults):
                    fault.end()
                for component in {c["id"] for c in self.realm.components()} - self.first:
                    self.realm.delete_component(component)

    def close(self):
        self.proxy.close()
        self.realm.delete(missing_ok=True)


def test_killed_after_each_write(kube, crd, keycloak, tmp_path, tell):
    keys = Keys()
    tellers = [Teller(kube, keycloak, keys, tmp_path / str(i), f"kill-{tmp_path.name}-{i}") for i in range(WORKERS)]
    free = list(tellers)
    wrong, killed = [], []

    def kill_at(point):
        teller = free.pop()
        try:
            for _ in range(TRIES):
                story, end = teller.tell(point)
                if story.dead.is_set():
                    killed.append(point)
                    break
            differs = {k: (v, end[k]) for k, v in ends[teller.realm.name].items() if end[k] != v}
            if differs:
                wrong.append((point, differs))
        finally:
            free.append(teller)

    try:
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            told = list(pool.map(lambda teller: (teller.realm.name, *teller.tell()), tellers))
            points = told[0][1].points
            ends = {name: end for name, _, end in told}
            for name, end in ends.items():
                assert end["generations"] == {"api": 3, "web": 3}, name
                assert len(end["warnings"]) == 1, end
            list(pool.map(kill_at, points))
    finally:
        for teller in tellers:
            teller.close()
    tell(f"operator killed after each write: points recorded {len(points)}, points killed {len(killed)}")
    assert len(points) >= 15
    assert not wrong, "\n".join(f"{point}: {differs}" for point, differs in wrong)
    assert len(killed) == len(points), f"never reached: {set(points) - set(killed)}"


@pytest.mark.parametrize("kind,name", [("Secret", "api-keys"), ("ConfigMap", "web-keys")])
def test_killed_as_soon_as_a_key_is_published_and_blind_afterwards(kube, crd, keycloak, namespace, proxy, kind, name):
    """The next process cannot read the realm. What is published stays: status and record named the key before anybody was given it,
    though they take their time here."""
    scene = Scene(kube, namespace, keycloak.create_realm(namespace))
    scene.rotation(consumers=[secret("api"), config_map("web")])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig, resync="1h") as operator:
        scene.wait_ready()
        until(lambda: scene.files("ConfigMap", "prod-keyturn-record"), "the record")
        scene.realm.add_rsa_generated(name="next", priority=50, active=False)
        kids = {key["kid"] for key in scene.realm.signing_keys()}
        dead = threading.Event()

        def slow(_):
            if dead.wait(0.5):
                raise Lost

        def kill(_):
            dead.set()
            operator.kill()
            raise Lost

        proxy.fault(None, before=slow, write=True, resource="keyrotations/status")
        proxy.fault(None, before=slow, write=True, name="prod-keyturn-record")
        with proxy.on_answer(kill, times=1, verb="update", name=name):
            scene.annotate("prod", refresh="new")
            until(lambda: operator.process.poll() is not None, "it is killed")
        assert scene.jwks_kids(kind, name) == kids
        scene.realm.put(enabled=False)
        dead.clear()
        operator.start()
        scene.wait_condition("Ready", status="False", reason="RealmDisabled")
        operator.until(lambda: operator.metric("keyturn_reconciles_total") > 3, "it has looked a few times")
        assert scene.jwks_kids(kind, name) == kids, "a key was taken away because nothing could be read"
        scene.realm.put(enabled=True)
        scene.annotate("prod", refresh="healed")
        scene.wait_kids(kids)
    scene.realm.delete()


def test_notes_that_cannot_be_taken_hold_no_key_back(kube, crd, keycloak, namespace, proxy):
    """Neither status nor record can be written: the key is published all the same."""
    scene = Scene(kube, namespace, keycloak.create_realm(namespace))
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig):
        scene.wait_ready()
        until(lambda: scene.files("ConfigMap", "prod-keyturn-record"), "the record")
        record = "prod-keyturn-record"
        with proxy.answer(500, verb="patch", resource="keyrotations/status") as status, proxy.answer(403, write=True, name=record) as notes:
            scene.realm.add_rsa_generated(name="next", priority=50, active=False)
            kids = {key["kid"] for key in scene.realm.signing_keys()}
            scene.annotate("prod", refresh="new")
            until(lambda: scene.jwks_kids("ConfigMap", "web-keys") == kids, "the new key is published")
            assert status.hits and notes.hits
        scene.wait_kids(kids)
    scene.realm.delete()
