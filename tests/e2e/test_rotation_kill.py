# SPDX-License-Identifier: Apache-2.0
"""Rotations that are interrupted after each of their writes, to Keycloak and to the API server, and come to the same end.

A run through two proxies records the writes of a whole story: keys published for the first time; a rotation with an approval, until the
key that the realm had is disabled; a second rotation, aborted. Then the story is told once for each write, and harm is done when the
server has done that write and before the operator knows. Tokens are minted and verified all the while.
"""
import collections
import concurrent.futures
import contextlib
import json
import os
import signal
import threading
import time

import kubernetes
import pytest

import realm as keycloak_client
from harness import fresh_namespace
from keycloak_proxy import KeycloakProxy
from kube_proxy import KubeProxy, Lost
from operator_process import Operator
from rotation_scene import LIGHT, SHORT_LIFE_S as LIFE_S, RotationScene, Tokens, es256_realm
from scene import GROUP, config_map, deployment, secret, until

OVERLAP = {"publish": "0s", "retire": f"{LIFE_S + 1}s", "delete": "0s"}
STOPPED_S = 60
POLL_S = 5         # the next look at the realm
WORKERS = 8       # stories at a time, each in a realm of its own
PASSING = ("status Rolling", "status Blocked")  # come and go: not written in every run
TRIES = 3         # a write that did not come this time: the story is told again
PATIENCE_S = 150
LOOK_S = 0.8
ASK_AGAIN_S = 3   # a person who sees that a command was forgotten
ALGORITHM = "ES256"
ALL = os.environ.get("KEYTURN_KILLS") == "all"
CONSUMERS = [secret("api", restart=[deployment("api")]), config_map("pem", restart=[deployment("pem")], formats=["PEM"])]


class Story:
    """harm_at: the write after which harm is done, as its number among all, or as (name, number among those of that name); None for a run
    that only records."""
    forgetful = False  # what a person commanded may be lost, and is commanded again
    overlap = OVERLAP

    def __init__(self, scene, kube_proxy, harm_at=None):
        self.scene, self.proxy, self.harm_at = scene, kube_proxy, harm_at
        self.points, self.lock = [], threading.Lock()
        self.harmed, self.point = threading.Event(), None
        self.asked, self.asked_at = [], 0
        self.hashes = collections.defaultdict(list)  # a Deployment's trust hashes, as they were written
        self.operator = scene.operator = self.make_operator(scene.namespace)

    def make_operator(self, namespace, **flags):
        return Operator(namespace, kubeconfig=self.proxy.kubeconfig, wait=False, **flags)

    # -- what the proxies see --

    def wrote_kube(self, exchange):
        if exchange.status < 300 and exchange.resource != "leases":
            if exchange.resource == "deployments":
                template = exchange.json()["spec"]["template"]["metadata"]["annotations"]
                self.hashes[exchange.name].append(template["keyturn.dev/trust-hash"])
            self._wrote(self._kube_point(exchange))

    @staticmethod
    def _kube_point(exchange):
        body = exchange.json()
        if exchange.resource == "events":
            return f"Event {body['reason']}"
        if exchange.resource == "keyrotations/status":
            return f"status {body['status'].get('phase')}"
        return f"{exchange.verb} {exchange.resource} {exchange.name}"

    def wrote_keycloak(self, handler, _):
        config = json.loads(handler.body or b"{}").get("config", {})
        self._wrote(f"Keycloak {handler.command} active {config.get('active')} enabled {config.get('enabled')}")

    def _wrote(self, point):
        with self.lock:
            self.points.append(point)
            here = (len(self.points) - 1, (point, self.points.count(point)))
            if self.harmed.is_set() or self.harm_at not in here:
                return
            self.point = point
            self.harm()
            self.harmed.set()
        raise Lost

    # -- what is done to it --

    def harm(self):
        self.operator.kill()

    def revive(self):
        if self.operator.process.poll() is not None:
            assert self.harmed.wait(10), f"the operator died by itself\n{self.operator.tail()}"
            self.operator.start()

    # -- what a person does --

    def ask(self, operation, kid=None):
        """Gives a command once, or again where it may have been forgotten."""
        stage = len([item for item in self.asked if item[0] == "rotate"])
        if time.monotonic() - self.asked_at < ASK_AGAIN_S or "keyturn.dev/operation" in self.scene.get()["metadata"].get("annotations", {}):
            return
        record = self.scene.status().get("rotation", {})
        number = record.get("number", 0)
        standby = number and not record.get("requestedAt") and not record.get("doneAt")  # made, and its wish forgotten
        if operation == "rotate" and not standby:
            made = [c["name"].rsplit("-", 1)[1] for c in self.scene.realm.components() if c["name"].startswith("keyturn-")]
            number = max([number, *map(int, made)]) + 1
        if (operation, number) in self.asked and not self.forgetful:
            return
        assert stage < 20, self.asked
        self.scene.operate(operation, number, kid)
        self.asked.append((operation, number))
        self.asked_at = time.monotonic()

    def until(self, look, what):
        """Waits, and brings the operator back when it has been killed."""
        def alive():
            self.revive()
            return look()
        try:
            return until(alive, f"{what}, harmed at {self.harm_at} ({self.point})", PATIENCE_S, LOOK_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\nasked {self.asked}\n{json.dumps(self.scene.status(), indent=1)}\n{self.operator.tail()}") from None

    def steady(self):
        """The status, if nothing is to be done any more and all of it is published."""
        found = self.scene.get()
        status = found["status"]
        good = {c["type"] for c in status["conditions"] if c["status"] == "True"}
        return (status["phase"] == "Steady" and "Ready" in good and status["observedGeneration"] == found["metadata"]["generation"]
                and "keyturn.dev/operation" not in found["metadata"].get("annotations", {}) and status)

    def settled(self):
        status = self.steady()
        return status and all(key["state"] != "LEAVING" for key in status["keys"])

    def rotated(self):
        status = self.scene.status()
        if status.get("phase") == "AwaitingPromotion":
            self.ask("promote")
        if status.get("phase") != "Steady" or not self.steady():
            return False
        signer = self.scene.signer()
        if signer == self.old:
            self.ask("rotate")
        return signer != self.old and self.scene.published() == ({signer}, {signer}) and self.scene.standing()[self.old] == "DISABLED"

    def next_made(self):
        if self.steady():
            self.ask("rotate")
        return self.scene.status()["phase"] == "AwaitingPromotion"

    def aborted(self):
        if self.scene.status()["phase"] == "AwaitingPromotion":
            self.ask("abort")
        return self.steady() and set(self.scene.standing()) == {self.old, self.new}

    def tell(self):
        """Returns the end, as far as it must be the same for all."""
        scene = self.scene
        for name in scene.apps:
            scene.workload("Deployment", name, replicas=0, image="test.local/pause:1")
        self.old = scene.signer()
        with self.operators():
            scene.rotation(consumers=CONSUMERS, key={"algorithm": ALGORITHM, "adopt": True}, overlap=self.overlap, approval={"promote": "Manual"})
            self.until(self.steady, "the first keys are published")
            self.first_words()
            with Tokens(scene) as tokens:
                self.until(self.rotated, "rotated")
                self.new = scene.signer()
                self.until(self.next_made, "the next key is ready")
                self.until(self.aborted, "aborted")
                self.last_words()
            self.until(self.settled, "nothing leaves any more")
            tokens.assert_whole()
            assert all(a != b for hashes in self.hashes.values() for a, b in zip(hashes, hashes[1:])), "restarted twice for one trust hash"
            return self.end()

    def operators(self):
        return self.operator

    def first_words(self):
        pass

    def last_words(self):
        pass

    def roles(self):
        return {self.old: "old", self.new: "new"}

    def end(self):
        scene, status = self.scene, self.scene.status()
        roles = self.roles()
        parts = {key["providerId"]: roles[key["kid"]] for key in scene.realm.signing_keys() if key["kid"] in roles}
        return {
            "asked": [operation for operation, _ in self.asked],
            "writes": [(verb, parts.get(component, "aborted"), *rest) for verb, component, *rest in scene.writes()],
            "standing": {roles[kid]: state for kid, state in scene.standing().items()},
            "published": [sorted(roles[kid] for kid in kids) for kids in scene.published()],
            "restarts": {app: scene.read_workload("Deployment", app).metadata.generation for app in scene.apps},
            "keys": sorted((roles.get(key["kid"], "other"), key["state"], str(key.get("lifecycle"))) for key in status["keys"]),
            "conditions": {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]},
            "history": [(item["number"], item["reason"], item["outcome"]) for item in status.get("history", [])],
        }


class Wiped(Story):
    """Killed, and status is gone when the next process begins. A key of which nothing is known may have signed: then it cannot be called
    off, and the story ends with its promotion."""
    forgetful = True
    went_on = False

    def harm(self):
        super().harm()
        self.made = sum(name.startswith("Keycloak POST") for name in self.points)
        replace = self.scene.kube.custom.replace_namespaced_custom_object_status
        wipe = lambda: replace(*GROUP, self.scene.namespace, "keyrotations", "prod", {**self.scene.get(), "status": {}})
        until(wipe, "status is wiped, whatever was still on its way", 20)

    def rotated(self):
        return super().rotated() or self._retire(self.old)

    def aborted(self):
        said = self.scene.status().get("operation", {})
        self.went_on |= said.get("operation") == "abort" and "may have signed" in said.get("refused", "")
        if self.harmed.is_set() and self.steady() and self.scene.signer() == self.new and "PASSIVE" in self.scene.standing().values():
            self.ask("rotate")  # it takes the key that was to be called off for a standby
        return self._promoted() if self.went_on else super().aborted()

    def _promoted(self):
        if self.scene.status()["phase"] == "AwaitingPromotion":
            self.ask("promote")
        signer = self.scene.signer()
        done = self.steady() and signer != self.new and self.scene.published() == ({signer}, {signer})
        return done and self.new not in self.scene.standing() or self._retire(self.new)

    def _retire(self, kid):
        """With status it has also forgotten that a rotation replaced this key: a person names it."""
        if self.steady() and self.scene.signer() != kid and self.scene.standing().get(kid) == "PASSIVE":
            self.ask("retire", kid)
        return False

    def roles(self):
        return {self.scene.signer(): "third", **super().roles()}


class Stopped(Story):
    """SIGSTOP for a minute, while a second replica takes over."""

    def __init__(self, *args):
        super().__init__(*args)
        self.other = self.make_operator(self.scene.namespace, leader_elect="true", identity="two")

    def make_operator(self, namespace, **flags):
        return super().make_operator(namespace, **{"leader_elect": "true", "identity": "one", **flags})

    @contextlib.contextmanager
    def operators(self):
        with self.operator as one:
            until(lambda: one.ready() and one.metric("keyturn_leader") == 1, "the first replica leads")
            with self.other:
                yield

    def harm(self):
        self.operator.signal(signal.SIGSTOP)
        self.stopped_at = time.monotonic()

    def last_words(self):
        """The first one goes on, and does nothing."""
        if self.harmed.is_set():
            time.sleep(max(0, self.stopped_at + STOPPED_S - time.monotonic()))
            self.operator.signal(signal.SIGCONT)
            self.operator.wait_log("following")
            self.operator.until(self.operator.ready, "ready again")
            time.sleep(2)  # nothing to wait for: nothing may happen


class Shared(Story):
    """Killed; another KeyRotation, in another namespace, names the same realm, is commanded the same, and only follows."""
    overlap = {"publish": f"{POLL_S + 3}s", "retire": f"{POLL_S + 3}s", "delete": "0s"}  # else all keys would be others at one look of the second one

    def __init__(self, scene, kube_proxy, harm_at=None):
        self.stack = contextlib.ExitStack()
        self.other = RotationScene(scene.kube, self.stack.enter_context(fresh_namespace(scene.kube, "kill")), scene.realm, scene.keycloak_url)
        super().__init__(scene, kube_proxy, harm_at)

    def make_operator(self, namespace, **flags):
        return super().make_operator(namespace, watch_namespaces=f"{namespace},{self.other.namespace}", **flags)

    @contextlib.contextmanager
    def operators(self):
        with self.stack, self.operator:
            yield

    def first_words(self):
        time.sleep(1.1)  # the older one writes, and ages are whole seconds
        self.other.rotation(consumers=[LIGHT[1]], key={"algorithm": ALGORITHM}, annotations={
            "keyturn.dev/operation": "rotate", "keyturn.dev/operation-for": "1", "keyturn.dev/operation-by": "berta"})

    def last_words(self):
        self.until(lambda: self.new in self.other.published_pem() and self.old not in self.other.published_pem(), "the other one follows")
        self.until(self._only_follows, "the other one says why it only follows")

    def _only_follows(self):
        found = self.other.condition("Stalled")
        return (found["status"], found["reason"]) == ("True", "RealmOwnedByOther")


class Teller:
    """Tells stories one after the other in one realm, through proxies of its own."""

    def __init__(self, kube, folder):
        folder.mkdir()
        self.kube, self.stack = kube, contextlib.ExitStack()
        keycloak = keycloak_client.Keycloak.from_env()
        self.namespace = self.stack.enter_context(fresh_namespace(kube, "kill"))
        self.kube_proxy = self.stack.enter_context(KubeProxy(folder))
        self.keycloak_proxy = self.stack.enter_context(KeycloakProxy(keycloak.url))
        self.realm = es256_realm(keycloak)

    def tell(self, kind, harm_at=None):
        self._new_key()
        scene = RotationScene(self.kube, self.namespace, self.realm, self.keycloak_proxy.url)
        scene.algorithm, scene.apps = ALGORITHM, ("api", "pem")
        story = kind(scene, self.kube_proxy, harm_at)
        self.keycloak_proxy.on_write = story.wrote_keycloak
        watch = self.kube_proxy.on_answer(story.wrote_kube, write=True)
        try:
            return story, story.tell()
        finally:
            watch.end()
            self._clean(scene)

    def _new_key(self):
        for component in self.realm.components():
            if component["providerId"].startswith("ecdsa"):
                self.realm.delete_component(component["id"])
        self.realm.add_ecdsa_generated("ours", priority=100, active=True)
        self.realm.call("DELETE", "/admin-events")

    def _clean(self, scene):
        """The namespace as it was: a new one would cost more than the story. What is not there was not reached."""
        with contextlib.suppress(kubernetes.client.ApiException):
            scene.patch("prod", {"metadata": {"finalizers": None}})
            scene.delete()
        for app in scene.apps:
            self.kube.apps.delete_namespaced_deployment(app, self.namespace)
        with contextlib.suppress(kubernetes.client.ApiException):
            self.kube.core.delete_namespaced_secret("api-keys", self.namespace)
        self.kube.core.delete_collection_namespaced_config_map(self.namespace, label_selector="app.kubernetes.io/managed-by")
        del self.kube_proxy.exchanges[:]

    def close(self):
        self.stack.close()
        self.realm.delete(missing_ok=True)


def interrupted(kube, folder, kind, judge):
    """A story for each write that is to be harmed; judge(story, end, good) asserts what must be true of its end. Returns (the writes
    recorded, those to be harmed, those harmed)."""
    tellers = [Teller(kube, folder / str(i)) for i in range(WORKERS)]
    free, wrong, harmed = list(tellers), [], []

    def harm_at(point):
        teller = free.pop()
        try:
            for _ in range(TRIES):
                story, end = teller.tell(kind, point)
                if story.harmed.is_set():
                    harmed.append(point)
                    judge(story, end, good)
                    return
        except AssertionError as error:
            wrong.append(f"{point}: {error}")
        finally:
            free.append(teller)

    try:
        story, good = tellers[0].tell(kind)
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            chosen = choose(kind, story.points)
            list(pool.map(harm_at, chosen))
    finally:
        for teller in tellers:
            teller.close()
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong)
    return story.points, chosen, harmed


def choose(kind, points):
    """The writes to be harmed. With KEYTURN_KILLS=all (make kills): every one. Else all to Keycloak; and where the operator is only killed
    once each of every other name, but Events."""
    if ALL:
        return list(range(len(points)))
    to_keycloak = [(name, i + 1) for name, count in collections.Counter(points).items() if name.startswith("Keycloak ") for i in range(count)]
    others = [(name, 1) for name in sorted(set(points)) if not name.startswith(("Keycloak ", "Event ")) and name not in PASSING]
    return to_keycloak + (others if kind is Story else [])


def judge_same(story, end, good):
    differs = [f"{key}: {good[key]} became {end[key]}" for key in good if good[key] != end[key]]
    assert not differs, f"{story.point}: {differs}"


WENT_ON = {"standing": {"old": "DISABLED", "third": "ACTIVE"}, "published": [["third"], ["third"]]}


def judge_safe(story, end, good):
    """What was forgotten may take longer and be said otherwise; keys and consumers come to the same, or, where the last key may have signed
    as far as is known, to what they are after its promotion."""
    assert not story.went_on or story.made == 2, f"{story.point}: refused to abort, though status knew the key that was made"
    expected = WENT_ON if story.went_on else good
    differs = [f"{key}: {expected[key]} became {end[key]}" for key in WENT_ON if expected[key] != end[key]]
    assert not differs, f"{story.point}: {differs}"
    made = [write for write in end["writes"] if write[0] == "CREATE"]
    assert len(made) <= end["asked"].count("rotate"), f"{story.point}: {made}, {end['asked']}"


HARMS = [(Story, judge_same, "killed"), (Stopped, judge_same, "stopped for a minute, and a second replica takes over"),
         (Shared, judge_same, "killed, and a second KeyRotation on the realm"),
         (Wiped, judge_safe, "killed, and status wiped")]


@pytest.mark.parametrize("kind,judge,words", HARMS, ids=[kind.__name__.lower() for kind, _, _ in HARMS])
def test_interrupted(kube, crd, keycloak, tmp_path, tell, kind, judge, words):
    recorded, chosen, harmed = interrupted(kube, tmp_path, kind, judge)
    tell(f"a rotation, {words}: writes recorded {len(recorded)}, chosen {len(chosen)}, harmed {len(harmed)}")
    assert len(recorded) > 60 and sum(name.startswith("Keycloak ") for name in recorded) == 7 and len(chosen) >= 6
    assert sorted(harmed) == sorted(chosen)
