# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between the operator and a real API server: streams cut, silent or wrong, errors and lost answers for every
write, lists in any order, tokens and CAs that change. The operator goes on by itself, and restarts nothing twice."""
import time
import uuid

import pytest
import requests

from account import Account
from harness import Http, fresh_namespace
from kube_proxy import KubeProxy
from operator_process import Operator
from scene import Scene, config_map, deployment, secret, until

LISTS = ("keyrotations", "configmaps", "pods", "deployments", "statefulsets", "daemonsets")
IDLE_S = 90  # a stream that says nothing for so long is given up
FILES_S = 45  # before so long, files of credentials are not read again but after a refusal


def kids(realm):
    return {key["kid"] for key in realm.signing_keys() if key["status"] != "DISABLED"}


def edit(scene, name="web-keys"):
    """Somebody's edit of a published ConfigMap, which only a watch can show."""
    scene.kube.core.patch_namespaced_config_map(name, scene.namespace, {"data": {"jwks.json": "{}"}})


def wait_repaired(scene, good, name="web-keys", seconds=90):
    until(lambda: scene.files("ConfigMap", name) == good, f"{name} is repaired", seconds)


def wait_streams(proxy, former):
    """The streams of before are left, and all are there again."""
    until(lambda: all(s.left_at for s in former) and len(proxy.open_streams()) == len(LISTS), "all streams are there again")


def refreshed(scene, value, name="prod"):
    """The operator sees an annotation and answers it: whatever it had to do about anything before is done."""
    scene.annotate(name, refresh=value)
    until(lambda: scene.status(name).get("refreshed") == value, f"refresh {value} is served")


def noted(scene):
    """A certificate is about to expire: that it was said comes into status after the Event."""
    until(lambda: any(key.get("announced") for key in scene.status()["keys"]), "what was said is noted")


@pytest.fixture(scope="module")
def realm(keycloak):
    """For all tests that leave its keys alone. One of them is passive and expires soon."""
    realm = keycloak.create_realm(f"faults-{uuid.uuid4().hex[:8]}")
    realm.add_rsa(name="old", priority=50, active=False, valid_s=5 * 86400)
    yield realm
    realm.delete(missing_ok=True)


@pytest.fixture
def scene(kube, crd, realm):
    with fresh_namespace(kube, "faults") as namespace:
        yield Scene(kube, namespace, realm)


@pytest.fixture(scope="module")
def half_open(kube, crd, realm, tmp_path_factory):
    """Begun before the other tests and judged by the last one, for it takes its time: all streams went silent, then an edit was made."""
    with fresh_namespace(kube, "silent") as namespace, KubeProxy(tmp_path_factory.mktemp("silent")) as proxy:
        scene = Scene(kube, namespace, realm)
        with Operator(namespace, kubeconfig=proxy.kubeconfig) as operator:
            scene.rotation(consumers=[config_map("web")])
            scene.wait_ready()
            good = scene.files("ConfigMap", "web-keys")
            frozen = proxy.freeze_streams()
            began = time.monotonic()
            edit(scene)
            yield scene, proxy, operator, good, frozen, began


def test_half_open_streams_begin(half_open):
    scene, _, operator, good, frozen, _ = half_open
    assert {stream.exchange.resource for stream in frozen} == set(LISTS)
    assert scene.files("ConfigMap", "web-keys") != good and operator.process.poll() is None


# ---- lists ----

def replace_keys(realm):
    """Wholly other signing keys than before."""
    old = [key["providerId"] for key in realm.signing_keys()]
    realm.add_rsa_generated(name="other")
    for component in old:
        realm.delete_component(component)


def test_the_record_is_used_whichever_list_comes_last(kube, crd, keycloak, namespace, proxy):
    """All keys of the realm are new while the operator is away. It trusts the old ones too, because its record says so: one that
    decided before the record was listed would drop them."""
    scene = Scene(kube, namespace, keycloak.create_realm(namespace))
    scene.workload("Deployment", "web", replicas=0, image="test.local/pause:1")
    scene.rotation(consumers=[config_map("web", restart=[deployment("web")])])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig) as operator:
        scene.wait_ready()
        old = kids(scene.realm)
        until(lambda: scene.files("ConfigMap", "prod-keyturn-record"), "the record")
        refreshed(scene, "before")
        operator.stop()
        replace_keys(scene.realm)
        both = old | kids(scene.realm)
        assert len(both) == len(old) + 1
        for last in LISTS:
            proxy.exchanges.clear()
            operator.wait = False
            with proxy.hold(verb="watchlist", resource=last) as gate:
                operator.start()
                gate.wait(1)
                until(lambda: {e.resource for e in proxy.seen(verb="watchlist", passed=True)} == set(LISTS) - {last}, "the others")
                time.sleep(0.7)  # nothing to wait for: nothing may happen
                assert proxy.seen(write=True) == []
                assert operator.get("/healthz").status_code == 200 and not operator.ready()
            operator.until(operator.ready, f"ready after {last}")
            scene.wait_condition("KeysAsExpected", status="False", reason="KeysReplaced")
            refreshed(scene, f"after-{last}")
            until(lambda: scene.jwks_kids("ConfigMap", "web-keys") == both, f"{last} came last")
            operator.stop()
        assert scene.read_workload("Deployment", "web").metadata.generation == 3  # made, first keys, both sets
        assert scene.events("ConsumerFailed") == []
    scene.realm.delete()


# ---- streams ----

def test_streams_cut_every_five_seconds(scene, proxy):
    scene.workload("Deployment", "web", replicas=0, image="test.local/pause:1")
    scene.rotation(consumers=[config_map("web", restart=[deployment("web")])])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig) as operator:
        scene.wait_ready()
        good = scene.files("ConfigMap", "web-keys")
        for i in range(4):
            due = time.monotonic() + 5
            cut = proxy.cut_streams()
            assert len(cut) == len(LISTS)
            edit(scene)
            wait_repaired(scene, good)
            refreshed(scene, f"cut-{i}")
            wait_streams(proxy, cut)
            time.sleep(max(0, due - time.monotonic()))
        assert len(proxy.seen(verb="watchlist")) == len(LISTS), "a cut stream goes on from where it was"
        assert scene.read_workload("Deployment", "web").metadata.generation == 2
        assert operator.process.poll() is None


@pytest.mark.parametrize("code,reason", [(410, "Expired"), (500, "InternalError"), (429, "TooManyRequests")])
def test_error_events(scene, proxy, code, reason):
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig):
        scene.wait_ready()
        good = scene.files("ConfigMap", "web-keys")
        error = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                                             "message": "said by the test"}}
        told = proxy.inject(error)
        assert len(told) == len(LISTS)
        edit(scene)
        wait_repaired(scene, good)
        refreshed(scene, "again")
        wait_streams(proxy, told)
        listed = len(proxy.seen(verb="watchlist"))
        assert listed == (2 * len(LISTS) if code == 410 else len(LISTS)), "410 means from the start; others go on"


# ---- errors ----

def test_retry_after_is_respected(scene, proxy):
    """Lists and writes that are told to wait do wait, and then go on."""
    wait_s = 2
    headers = {"Retry-After": str(wait_s)}
    told = [proxy.answer(429, headers, times=1, verb="watchlist", resource="configmaps"),
            proxy.answer(429, headers, times=1, verb="create", resource="configmaps", name="web-keys"),
            proxy.answer(429, headers, times=1, verb="patch", resource="keyrotations/status"),
            proxy.answer(503, headers, times=1, verb="patch", resource="deployments"),
            proxy.answer(429, headers, times=1, verb="create", resource="events"),
            proxy.answer(429, headers, times=1, verb="get", resource="secrets")]
    scene.workload("Deployment", "web", replicas=0, image="test.local/pause:1")
    scene.rotation(consumers=[config_map("web", restart=[deployment("web")])])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig):
        scene.wait_ready()
        for fault in told:
            assert len(fault.hits) == 1, f"{fault.wanted} was never asked"
            first = fault.hits[0]
            same = until(lambda: [e for e in proxy.seen(**fault.wanted) if e.at > first.at and e.name == first.name], f"{first} again")
            assert same[0].at - first.at >= wait_s * 0.9, f"{first} came again after {same[0].at - first.at:.2f} s"
        assert scene.read_workload("Deployment", "web").metadata.generation == 2


@pytest.mark.parametrize("harm", ["500", "503", "reset", "lost"])
def test_every_write_fails_once(scene, proxy, harm):
    """By an error, a connection that is closed before the server has the request, or an answer that is lost after it did it."""
    first = {}

    def harmed(exchange):
        """True for the first of each kind."""
        key = (exchange.verb, exchange.resource, exchange.name)
        return first.setdefault(key, exchange) is exchange

    def before(exchange):
        if harm == "reset" and harmed(exchange):
            raise ConnectionError
        return (int(harm), {}, b"") if harm.isdigit() and harmed(exchange) else None

    def after(exchange):
        if harm == "lost" and harmed(exchange):
            raise ConnectionError

    proxy.fault(None, before, after, write=True)
    for name in ("api", "web"):
        scene.workload("Deployment", name, replicas=0, image="test.local/pause:1")
    scene.rotation(consumers=[secret("api", restart=[deployment("api")]), config_map("web", restart=[deployment("web")])])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig) as operator:
        scene.wait_kids(kids(scene.realm))
        until(lambda: scene.events("CertificateExpiring"), "the warning")
        until(lambda: len(scene.events("ConsumerRestarted")) >= 2, "an Event for each restart")
        until(lambda: scene.files("ConfigMap", "prod-keyturn-record"), "the record")
        refreshed(scene, "again")
        scene.wait_ready()
        assert scene.jwks_kids("Secret", "api-keys") == scene.jwks_kids("ConfigMap", "web-keys") == kids(scene.realm)
        assert [scene.read_workload("Deployment", name).metadata.generation for name in ("api", "web")] == [2, 2]
        said = sorted(e.reason for e in scene.events() if e.reason in ("CertificateExpiring", "ConsumerRestarted"))
        assert said == ["CertificateExpiring", "ConsumerRestarted", "ConsumerRestarted"]
        assert operator.process.poll() is None
    harmed_kinds = {(verb, resource) for verb, resource, _ in first}
    assert harmed_kinds >= {("create", "secrets"), ("create", "configmaps"), ("create", "events"), ("patch", "deployments"),
                            ("patch", "keyrotations/status")}


# ---- credentials of the operator ----

def replace(file, text):
    """As the kubelet does it: at once, under the same name."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def test_the_token_file_rotates(scene, tmp_path):
    account = Account(scene.kube, scene.namespace)
    account.allow(scene.namespace)
    scene.rotation(consumers=[config_map("web")])
    old = account.token("dies-first")
    with KubeProxy(tmp_path, forward_token=True) as proxy:
        proxy.token_file.write_text(old)
        began = time.monotonic()
        with Operator(scene.namespace, kubeconfig=proxy.kubeconfig) as operator:
            scene.wait_ready()
            good = scene.files("ConfigMap", "web-keys")
            replace(proxy.token_file, account.token("lives"))
            scene.kube.core.delete_namespaced_secret("dies-first", scene.namespace)
            path = f"/api/v1/namespaces/{scene.namespace}/pods"
            until(lambda: Http(token=old)("GET", path).status_code == 401, "the old token is dead")
            cut = proxy.cut_streams()
            edit(scene)
            wait_repaired(scene, good)
            wait_streams(proxy, cut)
            assert proxy.seen(status=401) or time.monotonic() - began > FILES_S, "the old token was tried and refused"
            assert operator.process.poll() is None


def test_the_ca_rotates(scene, proxy):
    """First the server has a certificate of a CA that the operator does not know yet, then its file has it too."""
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig) as operator:
        scene.wait_ready()
        good = scene.files("ConfigMap", "web-keys")
        ca = proxy.new_ca()
        proxy.refuse()
        proxy.refuse(False)
        edit(scene)
        operator.until(lambda: operator.metric("keyturn_http_requests_total", lane="watch", code="0") >= 2 * len(LISTS), "refused")
        assert scene.files("ConfigMap", "web-keys") != good, "nobody unknown is trusted"
        replace(proxy.ca_file, ca)
        wait_repaired(scene, good)
        refreshed(scene, "again")
        assert operator.process.poll() is None


# ---- the end of what began first ----

def test_half_open_streams_are_noticed(half_open, tell):
    scene, proxy, operator, good, frozen, began = half_open
    wait_repaired(scene, good, seconds=IDLE_S + 90)
    until(lambda: all(stream.left_at for stream in frozen), "all silent streams are left", IDLE_S)
    left = [stream.left_at - began for stream in frozen]
    tell(f"half-open streams: left after {min(left):.0f} to {max(left):.0f} s, deadline {IDLE_S} s without a word")
    assert max(left) < IDLE_S + 30
    refreshed(scene, "again")
    assert operator.process.poll() is None and proxy.seen(verb="watch", passed=True)


def test_no_answer_is_no_answer(scene, proxy):
    """Positive control of the proxy: a server that is not there makes the operator say so."""
    proxy.refuse()
    operator = Operator(scene.namespace, kubeconfig=proxy.kubeconfig, wait=False)
    with operator:
        operator.until(lambda: operator.lines, "a first line")
        until(lambda: "not listed yet" in operator.get("/readyz").text, "it says what is missing")
        with pytest.raises(requests.HTTPError):
            operator.get("/readyz").raise_for_status()
        proxy.refuse(False)
        operator.until(operator.ready, "ready")


@pytest.mark.parametrize("issuer", ["written", "discovered"])
def test_a_new_process_has_nothing_new_to_say(scene, proxy, issuer):
    """A restart or failover in peace: Secrets are written again, for nobody knows what is in them, and that is all."""
    scene.rotation(consumers=[config_map("web"), secret("api")], **({} if issuer == "written" else {"issuer": {}}))
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig, resync="1h") as operator:
        scene.wait_ready()
        refreshed(scene, "before")
        until(lambda: scene.files("ConfigMap", "prod-keyturn-record"), "the record")
        noted(scene)
        operator.stop()
        before, events = scene.get(), len(scene.events())
        versions = {m.metadata.name: m.metadata.resource_version for m in scene.kube.core.list_namespaced_config_map(scene.namespace).items}
        proxy.exchanges.clear()
        operator.start()
        operator.until(lambda: operator.metric("keyturn_http_requests_total", lane="keycloak", code="200") > 6, "it has read everything again")
        assert {(e.verb, e.resource) for e in proxy.seen(write=True)} == {("update", "secrets")}
        assert scene.get() == before and len(scene.events()) == events
        for name, version in versions.items():
            assert scene.kube.core.read_namespaced_config_map(name, scene.namespace).metadata.resource_version == version


def test_resync_changes_nothing(scene, proxy):
    scene.rotation(consumers=[config_map("web"), secret("api")])
    with Operator(scene.namespace, kubeconfig=proxy.kubeconfig, resync="5s"):
        scene.wait_ready()
        refreshed(scene, "before")
        noted(scene)
        before, written = scene.get(), len(proxy.seen(verb="update", resource="secrets"))
        until(lambda: len(proxy.seen(verb="update", resource="secrets")) >= written + 2, "two resyncs")
        assert scene.get() == before
