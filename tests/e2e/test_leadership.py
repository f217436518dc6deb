# SPDX-License-Identifier: Apache-2.0
"""Two operators, one Lease: who leads when the leader is killed, ends, stops for a while or loses its Lease in the middle of a pass.
A former leader writes nothing."""
import contextlib
import signal
import threading
import time

import pytest
import requests

from harness import fresh_namespace
from kube_proxy import KubeProxy
from operator_process import Operator
from scene import Scene, config_map, deployment, until

pytestmark = pytest.mark.alone

KILL_S, TERM_S = 20, 2  # bounds for the other one to lead
STOPPED_S = 40          # longer than a Lease and all deadlines
NAMES = ("prod", "test")
MAPS = 40               # consumers of both: more than are written at a time, and more than there are connections for
WEB = {"verb": "update", "resource": "configmaps", "name": tuple(f"web-{i}-keys" for i in range(MAPS))}


class Replica(Operator):
    """One of the two, seen by a proxy of its own."""

    def __init__(self, namespace, identity, folder):
        folder.mkdir(exist_ok=True)
        self.proxy = KubeProxy(folder)
        self.identity = identity
        super().__init__(namespace, kubeconfig=self.proxy.kubeconfig, leader_elect="true", identity=identity)

    def leads(self):
        return self.metric("keyturn_leader") == 1

    def writes(self):
        """Requests that would change something, as they came from the process; those to the Lease apart."""
        return [e for e in self.proxy.seen(write=True) if e.resource != "leases"]


class Watchman:
    """Asks a replica for /readyz and /healthz all the time, and keeps what was not 200."""

    def __init__(self, replica):
        self.replica, self.bad, self.asked, self.over = replica, [], 0, threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        while not self.over.wait(0.2):
            for path in ("/readyz", "/healthz"):
                try:
                    answer = self.replica.get(path)
                    self.bad += [] if answer.status_code == 200 else [f"{path}: {answer.status_code} {answer.text}"]
                except requests.RequestException as error:
                    self.bad.append(f"{path}: {error}")
                self.asked += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@pytest.fixture(scope="module")
def scene(kube, crd, keycloak):
    with fresh_namespace(kube, "pair") as namespace:
        realm = keycloak.create_realm(namespace)
        scene = Scene(kube, namespace, realm)
        scene.workload("Deployment", "web", replicas=0, image="test.local/pause:1")
        for k, name in enumerate(NAMES):
            scene.rotation(name, consumers=[config_map(f"web-{i}", restart=[deployment("web")]) for i in range(k, MAPS, len(NAMES))])
        yield scene
        realm.delete(missing_ok=True)


@pytest.fixture
def pair(scene, tmp_path):
    """(leader, follower): both ready, and all that is to be done is done."""
    with contextlib.ExitStack() as stack:
        replicas = [stack.enter_context(Replica(scene.namespace, name, tmp_path / name)) for name in ("one", "two")]
        for replica in replicas:
            stack.callback(replica.proxy.close)
        leader = until(lambda: next((r for r in replicas if r.leads()), None), "a leader")
        settled(scene)
        follower = next(r for r in replicas if r is not leader)
        assert not follower.leads() and follower.writes() == []
        yield leader, follower


def holder(scene):
    return scene.kube.leases.read_namespaced_lease("keyturn", scene.namespace).spec.holder_identity


def wait_leads(replica, seconds):
    """Seconds from the call until it leads."""
    began = time.monotonic()
    until(replica.leads, f"{replica.identity} leads", seconds, every=0.02)
    return time.monotonic() - began


def settled(scene, kids=None):
    """Both rotations trust these keys, and all is written."""
    for name in NAMES:
        scene.wait_kids(kids or {key["kid"] for key in scene.realm.signing_keys()}, name)


def asked(scene, value):
    """Somebody leads and works: it answers an annotation."""
    scene.annotate("prod", refresh=value)
    until(lambda: scene.status().get("refreshed") == value, f"refresh {value} is served")


def generation(scene):
    return scene.read_workload("Deployment", "web").metadata.generation


def add_key(scene, name):
    scene.realm.add_rsa_generated(name=name, priority=50, active=False)
    return {key["kid"] for key in scene.realm.signing_keys()}


def versions(scene):
    """What would move if anybody wrote: resourceVersions of all that the operator may write."""
    core = scene.kube.core
    items = core.list_namespaced_config_map(scene.namespace).items + core.list_namespaced_secret(scene.namespace).items
    found = {(i.metadata.name, i.metadata.uid): i.metadata.resource_version for i in items}
    found |= {name: scene.get(name)["metadata"]["resourceVersion"] for name in NAMES}
    found["workload"] = scene.read_workload("Deployment", "web").metadata.generation
    found["events"] = len(scene.events())
    return found


def lease_looks(operator):
    return operator.proxy.seen(verb="get", resource="leases", passed=True)


def settled_versions(scene):
    """The same at two looks a second apart: Events come after the status that they are about."""
    def look():
        found = versions(scene)
        time.sleep(1)
        return versions(scene) == found and found
    return until(look, "nothing is written any more")


def test_sigterm_hands_over_at_once(scene, pair, tell):
    leader, follower = pair
    before = generation(scene)
    with Watchman(follower) as watchman, leader.proxy.hold(**WEB) as gate:
        kids = add_key(scene, "before-term")
        scene.annotate("prod", refresh="before-term")
        gate.wait(8)
        leader.signal(signal.SIGTERM)
        took = wait_leads(follower, KILL_S)
        assert leader.process.wait(10) == 0
        tell(f"leadership: {took:.2f} s after SIGTERM (bound {TERM_S} s), with writes under way whose answers do not come")
        assert took < TERM_S
        assert holder(scene) == follower.identity
        settled(scene, kids)
    assert watchman.asked > 0 and watchman.bad == []
    settled(scene, add_key(scene, "after-term"))
    assert generation(scene) == before + 2


def test_kill_is_noticed(scene, pair, tell):
    leader, follower = pair
    before = generation(scene)
    with Watchman(follower) as watchman:
        leader.kill()
        took = wait_leads(follower, 60)
    tell(f"leadership: {took:.2f} s after kill -9 (bound {KILL_S} s)")
    assert TERM_S < took < KILL_S, "a Lease that was not given back is waited for"
    assert holder(scene) == follower.identity
    assert watchman.asked > 50 and watchman.bad == []
    settled(scene, add_key(scene, "after-kill"))
    assert generation(scene) == before + 1


def test_a_leader_that_is_stopped_and_continued_writes_nothing(scene, pair, tell):
    """It is stopped with its hands full: some writes at the server, more to come."""
    leader, follower = pair
    before = generation(scene)
    with leader.proxy.hold(answers=True, **WEB) as gate:
        kids = add_key(scene, "before-stop")
        scene.annotate("prod", refresh="before-stop")
        held = len(gate.wait(16))
        leader.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        tell(f"leadership: {wait_leads(follower, 60):.2f} s after SIGSTOP")
        sent = len(leader.writes())
        assert 0 < held <= sent and len(gate.hits) < MAPS, "there is more to write"
        settled(scene, kids | add_key(scene, "while-stopped"))
        assert before + 1 <= generation(scene) <= before + 2
    time.sleep(max(0, STOPPED_S - (time.monotonic() - stopped)))
    assert len(leader.writes()) == sent
    good = settled_versions(scene)
    looked = len(leader.proxy.exchanges)
    looks = len(lease_looks(leader))
    leader.signal(signal.SIGCONT)
    leader.wait_log("following")
    leader.until(lambda: len(lease_looks(leader)) > looks, "it looks at the Lease")
    leader.until(leader.ready, "ready again")
    asked(scene, "continued")
    assert len(leader.proxy.exchanges) > looked, "it lives"
    assert leader.writes()[sent:] == []
    assert not leader.leads() and holder(scene) == follower.identity
    after = versions(scene)
    changed = {key for key in good if good[key] != after[key]}
    assert changed <= {"prod"}, "only the new leader's answer to the annotation"


def test_leadership_lost_in_the_middle_of_a_pass(scene, pair, tell):
    """The leader's Lease requests and writes are held on their way: it stops leading by itself, before the other one begins. What
    was on its way arrives later, and changes nothing."""
    leader, follower = pair
    before = generation(scene)
    with leader.proxy.hold(**WEB) as gate:
        kids = add_key(scene, "lost")
        scene.annotate("prod", refresh="lost")
        gate.wait(8)
        with leader.proxy.hold(resource="leases") as lease:
            lease.wait(1)
            leader.wait_log("following")
            assert not follower.leads(), "never two"
            held, sent = list(gate.hits), len(leader.writes())
            tell(f"leadership: given up {wait_leads(follower, 60):.2f} s before the other one leads")
            settled(scene, kids)
            asked(scene, "found")
            settled(scene, kids)
            good = settled_versions(scene)
            looks = len(lease_looks(leader))
    until(lambda: all(e.status for e in held), "what was on its way has arrived")
    assert {e.status for e in held} == {409}, "each is on a version that is not there any more"
    until(lambda: holder(scene) == follower.identity and not leader.leads(), "one leader")
    leader.until(lambda: len(lease_looks(leader)) > looks, "the former leader looks at the Lease")
    assert leader.writes()[sent:] == []
    after = versions(scene)
    assert {key for key in good if good[key] != after[key]} <= {"prod"}
    assert generation(scene) == before + 1
