# SPDX-License-Identifier: Apache-2.0
"""Keycloak that lies, fails and goes away: nothing that is published changes, status says what happened, and it heals by itself.

Every lie has a KeyRotation and a proxy of its own, and all of them are told at the same time to one operator, beside a
KeyRotation whose Keycloak is well. The tests look at what was seen before, meanwhile and afterwards.
"""
import contextlib
import copy
import json
import time

import pytest
import requests

import keycloak_proxy as lie
from harness import fresh_namespace
from keycloak_proxy import MARKER, KeycloakProxy
from operator_process import Operator
from scene import Scene, config_map, deployment, secret, until

INTERVAL_S = 5


class Case:
    """faults: by route. reason and words: what Ready says meanwhile; None: it stays Ready. early: told from the start.
    polls: how often `route` is asked at least before it is healed. leaving: manifest.json may call a key so meanwhile."""

    def __init__(self, name, faults, reason=None, *words, early=False, admin=True, polls=3, leaving=False):
        self.name, self.faults, self.reason, self.words = name, faults, reason, words
        self.early, self.admin, self.polls, self.leaving = early, admin, polls, leaving
        self.route = next(iter(faults), "jwks")
        self.proxy = self.before = self.meanwhile = self.status = self.after = None


def without(kid):
    def change(tree):
        tree["keys"] = [key for key in tree["keys"] if key["kid"] != kid]
    return lie.edited(change)


def spoilt(kid, **members):
    """The entry of this kid with other values."""
    def change(tree):
        next(key for key in tree["keys"] if key["kid"] == kid).update(members)
    return lie.edited(change)


def doubled(kid, other):
    """One more entry of this kid, which is another's key."""
    def change(tree):
        tree["keys"].append({**next(key for key in tree["keys"] if key["kid"] == other), "kid": kid})
    return lie.edited(change)


def told(elsewhere, first, second):
    """All cases. first and second: kids of the realm; elsewhere: address of a server that nobody named."""
    refused = lie.status(401)
    redirect = lie.redirect(elsewhere)
    return [
        Case("well", {}),
        Case("keys-500", {"keys": lie.status(500)}, "ServerFailed", "answers 500"),
        Case("keys-503", {"keys": lie.status(503, Retry_After="2")}, "ServerFailed", "answers 503"),
        Case("keys-html", {"keys": lie.page()}, "AnswerUnusable", "no valid JSON"),
        Case("keys-cut", {"keys": lie.cut()}, "AnswerUnusable", "ends early"),
        Case("keys-broken", {"keys": lie.broken()}, "ServerFailed", "connection lost"),
        Case("keys-reset", {"keys": lie.reset()}, "ServerFailed", "connection lost"),
        Case("keys-empty", {"keys": lie.status(200, b"")}, "AnswerUnusable", "empty"),
        Case("keys-no-list", {"keys": lie.status(200, b"{}")}, "AnswerUnusable", 'no list "keys"'),
        Case("keys-none", {"keys": lie.status(200, b'{"active":{},"keys":[]}')}, "AnswerUnusable", "no usable signing keys"),
        Case("keys-half", {"keys": without(second)}, "JwksDisagrees", "no key leaves"),
        Case("keys-drip", {"keys": lie.drip()}, "TimedOut", "within 10 s", polls=2),
        Case("keys-endless", {"keys": lie.endless()}, "AnswerUnusable", "larger than 1 MiB"),
        Case("keys-redirect", {"keys": redirect}, "AnswerUnusable", "redirect"),
        Case("keys-401", {"keys": refused}, "CredentialsRefused", "refuses a token it has just issued"),
        Case("keys-401-once", {"keys": lie.times(1, refused)}),
        Case("keys-403", {"keys": lie.status(403)}, "RoleMissing", "view-realm", "kcadm.sh add-roles"),
        Case("keys-404", {"keys": lie.status(404)}, "RealmMissing", "spec.keycloak.realm"),
        Case("keys-no-key", {"keys": spoilt(second, publicKey=MARKER)}, "KeyUnusable", second),
        Case("keys-no-certificate", {"keys": spoilt(second, certificate=MARKER)}),
        Case("keys-twice", {"keys": doubled(second, first)}, "KidDuplicate", second),
        Case("keys-reused", {"keys": lie.edited(lambda t: swap(t, first, second))}, "KidReused", "acknowledge"),
        Case("components-500", {"components": lie.status(500)}, early=True),
        Case("token-500", {"token": lie.status(500), "keys": refused}, "ServerFailed", "token:", "answers 500"),
        Case("token-html", {"token": lie.page(), "keys": refused}, "AnswerUnusable", "token:"),
        Case("token-401", {"token": lie.status(401, b'{"error":"invalid_client","error_description":"' + MARKER.encode() + b'"}'),
                           "keys": refused}, "CredentialsRefused", "login-token-401", "client-secret"),
        Case("token-redirect", {"token": redirect, "keys": refused}, "AnswerUnusable", "redirect"),
        Case("token-drip", {"token": lie.drip(), "keys": refused}, "TimedOut", "within 10 s", polls=2),
        Case("jwks-500", {"jwks": lie.status(500)}, "ServerFailed", "JWKS:", "answers 500"),
        Case("jwks-html", {"jwks": lie.page()}, "AnswerUnusable", "JWKS:", "no valid JSON"),
        Case("jwks-cut", {"jwks": lie.cut()}, "AnswerUnusable", "JWKS:", "ends early"),
        Case("jwks-empty", {"jwks": lie.status(200, b"{}")}, "AnswerUnusable", "JWKS:", 'no list "keys"'),
        Case("jwks-none", {"jwks": lie.status(200, b'{"keys":[]}')}, "AnswerUnusable", "no usable signing keys"),
        Case("jwks-half", {"jwks": without(second)}, "JwksDisagrees", "no key leaves"),
        Case("jwks-drip", {"jwks": lie.drip()}, "TimedOut", "JWKS:", polls=2),
        Case("jwks-endless", {"jwks": lie.endless()}, "AnswerUnusable", "larger than 1 MiB"),
        Case("jwks-redirect", {"jwks": redirect}, "AnswerUnusable", "redirect"),
        Case("jwks-private", {"jwks": spoilt(first, d=MARKER)}, "AnswerUnusable", "publishes a private key"),
        Case("jwks-403", {"jwks": lie.status(403)}, "AnswerUnusable", "must be public"),
        Case("discovery-500", {"discovery": lie.status(500)}, early=True),
        Case("discovery-html", {"discovery": lie.page()}),
        Case("oidc-500", {"jwks": lie.status(500)}, "ServerFailed", "answers 500", admin=False),
        Case("oidc-html", {"jwks": lie.page()}, "AnswerUnusable", "no valid JSON", admin=False),
        Case("oidc-none", {"jwks": lie.status(200, b'{"keys":[]}')}, "AnswerUnusable", "no usable signing keys", admin=False),
        Case("oidc-cut", {"jwks": lie.cut()}, "AnswerUnusable", "ends early", admin=False),
        Case("oidc-half-twice", {"jwks": lie.times(2, without(second))}, admin=False, leaving=True),
    ]


def swap(tree, one, other):
    for key in tree["keys"]:
        key["kid"] = {one: other, other: one}.get(key["kid"], key["kid"])


def wait_asked(case, count):
    with contextlib.suppress(AssertionError):  # test_the_lies_were_heard says so
        until(lambda: case.proxy.asked(case.route) >= count, case.name, 40)


class Seen:
    """One operator, all cases, and what was seen of them."""

    def __init__(self, scene, control, elsewhere, cases):
        self.scene, self.control, self.elsewhere = scene, control, elsewhere
        self.cases = {case.name: case for case in cases}
        self.operator = None
        self.control_polls = self.held_s = 0

    def declare(self, stack):
        scene = self.scene
        for case in self.cases.values():
            case.proxy = stack.enter_context(KeycloakProxy(scene.keycloak_url))
            case.proxy.faults = case.faults if case.early else {}
            login = scene.credentials(f"login-{case.name}", url=case.proxy.url)
            keycloak = {"url": case.proxy.url, "realm": scene.realm.name, "credentials": {"secret": {"name": login}}}
            more = {"keycloak": keycloak}
            if not case.admin:
                more = {"keycloak": None,
                        "issuer": {"jwksURL": f"{case.proxy.url}/realms/{scene.realm.name}/protocol/openid-connect/certs"}}
            scene.rotation(case.name, [secret("s", f"{case.name}-s"),
                                       config_map("c", f"{case.name}-c", restart=[deployment("reader")])], **more)

    def published(self, name):
        core, namespace = self.scene.kube.core, self.scene.namespace
        found = (core.read_namespaced_secret(f"{name}-s", namespace), core.read_namespaced_config_map(f"{name}-c", namespace))
        return [(item.data, item.metadata.resource_version) for item in found]

    def generation(self):
        return self.scene.read_workload("Deployment", "reader").metadata.generation

    def meets_expectation(self, case):
        status = self.scene.status(case.name)
        ready = next(c for c in status["conditions"] if c["type"] == "Ready")
        case.status = copy.deepcopy(status)
        if case.reason is None:
            return ready["status"] == "True" and status.get("refreshed") == str(case.polls)
        return ready["status"] == "False" and ready["reason"] == case.reason

    def wait_expected(self, case):
        with contextlib.suppress(AssertionError):  # the case's own test says so
            until(lambda: self.meets_expectation(case), case.name, 30)

    def hold(self):
        """All lies at once; the realm of the rotation that is well changes meanwhile and is followed."""
        begin = time.monotonic()
        asked = {name: case.proxy.asked(case.route) for name, case in self.cases.items()}
        well = self.control.proxy
        self.control_polls = -well.asked("jwks")
        self.tokens = -self.cases["keys-401-once"].proxy.asked("token")
        for case in self.cases.values():
            case.proxy.faults = case.faults
        self.control.realm.add_rsa_generated("next", priority=50, active=False)
        self.control.wait_kids({key["kid"] for key in self.control.realm.signing_keys()}, "control")
        for round_ in range(1, max(case.polls for case in self.cases.values()) + 1):
            for name, case in self.cases.items():
                if round_ <= case.polls:
                    self.scene.annotate(name, refresh=f"{round_}")
            for name, case in self.cases.items():
                wait_asked(case, asked[name] + min(round_, case.polls))
        for case in self.cases.values():
            self.wait_expected(case)
            case.meanwhile = self.published(case.name)
        self.control_polls += well.asked("jwks")
        self.tokens += self.cases["keys-401-once"].proxy.asked("token")
        self.held_s = time.monotonic() - begin

    def heal(self):
        for case in self.cases.values():
            case.proxy.faults = {}
        for case in self.cases.values():
            with contextlib.suppress(AssertionError):
                self.scene.wait_ready(case.name)
            case.after = self.published(case.name)


@pytest.fixture(scope="module")
def seen(kube, crd, keycloak, tell):
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(fresh_namespace(kube, "faults"))
        realms = []
        for suffix in ("", "-well"):
            realms.append(keycloak.create_realm(namespace + suffix, token_lifespan_s=900))
            stack.callback(realms[-1].delete, missing_ok=True)
        realm = realms[0]
        second = realm.kid(realm.add_rsa_generated("second", priority=50, active=False))
        first = realm.kid(realm.active_component())
        elsewhere = stack.enter_context(KeycloakProxy(None))
        scene, control = Scene(kube, namespace, realm), Scene(kube, namespace, realms[1])
        control.proxy = stack.enter_context(KeycloakProxy(scene.keycloak_url))
        scene.pause("reader")
        seen = Seen(scene, control, elsewhere, told(elsewhere.url, first, second))
        seen.declare(stack)
        login = control.credentials("login-control", url=control.proxy.url)
        control.rotation("control", [config_map("c", "control-c")],
                         keycloak={"url": control.proxy.url, "realm": control.realm.name, "credentials": {"secret": {"name": login}}})
        seen.operator = stack.enter_context(Operator(namespace, settle="1s"))
        for name in [*seen.cases, "control"]:
            scene.wait_ready(name)
        for case in seen.cases.values():
            case.before = seen.published(case.name)
        generation = seen.generation()
        begin = time.monotonic()
        seen.hold()
        seen.heal()
        seen.restarts = seen.generation() - generation
        tell(f"faults of Keycloak: {len(seen.cases)} at once for {seen.held_s:.0f} s, healed after {time.monotonic() - begin:.0f} s")
        yield seen


NAMES = [case.name for case in told("", "", "")]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_published_stays(seen, name):
    case = seen.cases[name]
    if case.leaving:
        keys = lambda snapshot: [{file: text for file, text in data.items() if file != "manifest.json"} for data, _ in snapshot]
        assert keys(case.meanwhile) == keys(case.before) == keys(case.after)
        return
    assert case.meanwhile == case.before, "while Keycloak lied"
    assert case.after == case.before, "after it was well again"


@pytest.mark.parametrize("name", NAMES)
def test_status_tells_them_apart(seen, name):
    case = seen.cases[name]
    ready = next(c for c in case.status["conditions"] if c["type"] == "Ready")
    if case.reason is None:
        assert ready["status"] == "True", ready
        return
    assert (ready["status"], ready["reason"]) == ("False", case.reason), ready
    for words in case.words:
        assert words in ready["message"]
    assert case.status["phase"] == "Blocked"
    assert seen.scene.events(case.reason, name), [e.reason for e in seen.scene.events(name=name)]


@pytest.mark.parametrize("name", NAMES)
def test_it_heals_by_itself(seen, name):
    assert seen.scene.condition("Ready", name)["status"] == "True", json.dumps(seen.scene.status(name), indent=1)


def test_the_lies_were_heard(seen):
    """Each was told as often as was meant, so that what stayed had reason to go."""
    assert {name: case.proxy.asked(case.route) for name, case in seen.cases.items() if case.proxy.asked(case.route) < case.polls} == {}
    assert seen.tokens >= 1, "the token was refused once and asked for once more"


def test_nobody_was_restarted(seen):
    assert seen.restarts == 0
    assert seen.scene.template_hash("Deployment", "reader"), "it would have been: it reads all of them"


def test_the_rotation_that_is_well_was_not_delayed(seen):
    assert seen.control_polls >= seen.held_s / (INTERVAL_S * 1.1) / 2, f"{seen.control_polls} polls in {seen.held_s:.0f} s"


def test_a_certificate_that_cannot_be_read_is_said(seen):
    case = seen.cases["keys-no-certificate"]
    valid = next(c for c in case.status["conditions"] if c["type"] == "CertificatesValid")
    assert (valid["status"], valid["reason"]) == ("False", "CertificateUnreadable") and "give its component a new one" in valid["message"]
    assert seen.scene.events("CertificateUnreadable", case.name)
    assert seen.scene.condition("CertificatesValid", case.name)["status"] == "True"


def test_foreign_words_are_nowhere(seen):
    """Not in status, Events, published objects or the log, although they were in what was answered."""
    everything = {name: json.dumps(seen.scene.get(name)) for name in seen.cases}
    everything |= {f"status of {name} meanwhile": json.dumps(case.status) for name, case in seen.cases.items()}
    everything |= {f"{name} published": json.dumps(case.meanwhile) for name, case in seen.cases.items()}
    everything["events"] = str(seen.scene.kube.core.list_namespaced_event(seen.scene.namespace).items)
    everything["log"] = json.dumps(seen.operator.lines)
    assert [where for where, text in everything.items() if MARKER in text] == []
    assert all(word in everything["events"] and word in everything["log"] for word in ("ServerFailed", "keys-500")), "where one looked"


def test_no_redirect_is_followed(seen):
    assert seen.elsewhere.requests == []
    requests.get(seen.elsewhere.url, timeout=10, proxies={"http": None})
    assert len(seen.elsewhere.requests) == 1, "it would have been seen"


def test_keycloak_is_killed_and_started_again(kube, crd, own_keycloak):
    """A real one, gone for the time that its start takes; meanwhile the operator is restarted too."""
    with fresh_namespace(kube, "killed") as namespace:
        scene = Scene(kube, namespace, own_keycloak.admin().realm("own"), keycloak_url=own_keycloak.url)
        scene.pause("api")
        scene.rotation(consumers=[secret("api", restart=[deployment("api")]), config_map("web")],
                       issuer={"url": f"{own_keycloak.url}/realms/own"})

        def published():
            return scene.files("Secret", "api-keys"), scene.files("ConfigMap", "web-keys"), \
                scene.read_workload("Deployment", "api").metadata.generation

        with Operator(namespace) as operator:
            failures = lambda: operator.metric("keyturn_http_requests_total", lane="keycloak", code="0")
            scene.wait_ready()
            before = published()
            try:
                own_keycloak.kill()
                refused = scene.wait_condition("Ready", "False", "ConnectionRefused")
                since = refused["lastTransitionTime"]
                assert "connection to 127.0.0.1" in refused["message"] and "check that the server runs" in refused["message"]
                until(lambda: failures() >= 4, "it is asked again and again")
                assert published() == before
                operator.restart()
                until(lambda: failures() >= 4, "a new operator asks too")
                assert published() == before
                assert scene.condition("Ready")["lastTransitionTime"] == since, "it was never called Ready meanwhile"
            finally:
                own_keycloak.start()
            scene.wait_ready()
            until(lambda: operator.metric("keyturn_http_requests_total", lane="keycloak", code="200") >= 6, "it is read again")
            assert published() == before
