# SPDX-License-Identifier: Apache-2.0
"""A realm whose key is rotated: workloads that verify, what Keycloak was told, and what people command.

    with loaded(kube, key={"adopt": True}) as (scene, load):   # Ready, with its operator and pods that verify; spec as given
        scene.operate("rotate", 1)
        scene.wait_phase("Overlap")
    with rotating(kube, overlap=AT_ONCE) as scene:             # the same without load, with a workload that only restarts

Plays are tests that mostly wait: they run beside each other, see Plays.
"""
import collections
import concurrent.futures
import contextlib
import datetime
import json
import os
import re
import threading
import time
import uuid

import jwt
import requests
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import realm as keycloak_client
from harness import fresh_namespace
from load import Load
from operator_process import Operator
from scene import Scene, config_map, deployment, secret, until

ROLES = ("manage-realm", "view-clients")
LIFE_S = 60
OVERLAP_S = 65
SHORT_LIFE_S = 5
MARGIN_S = 0.2  # before its end a token is not verified any more
OVERLAP = {"publish": f"{OVERLAP_S}s", "retire": f"{OVERLAP_S}s", "delete": "5s"}  # of the cache of a verifier, and of a token
AT_ONCE = {"publish": "0s", "retire": "0s", "delete": "0s"}
APPS = {"secret": "api", "pem": "pem"}
# How long a password is hashed is not what is measured here.
CHEAP = {"passwordPolicy": "hashAlgorithm(pbkdf2-sha512) and hashIterations(1)", "adminEventsEnabled": True,
         "adminEventsDetailsEnabled": True}
CONSUMERS = [secret("api", restart=[deployment("api")]), config_map("pem", restart=[deployment("pem")], formats=["PEM"])]
LIGHT = [CONSUMERS[0], {**config_map("pem", formats=["PEM"]), "proof": {"type": "Delay", "delay": "1s"}}]
# At the same time, on two cores. A signature costs this Keycloak 15 ms of one.
LOADS_AT_A_TIME = 2
OTHERS_AT_A_TIME = 5
EVENTS = ("KeyCreated", "KeyReady", "KeyPromoted", "KeyRetired", "RotationFinished", "RolledBack", "Aborted", "KeyLeaving", "KeyRemoved", "KeyDeleted")


class RotationScene(Scene):
    """A Scene whose `algorithm` is the one that is rotated."""
    operator = None
    algorithm = "RS256"
    apps = ()  # Deployments that are restarted

    # -- people --

    def operate(self, operation, number, kid=None, by="anna", **more):
        return self.annotate("prod", **{"operation": operation, "operation-for": f"{number}/{kid}" if kid else str(number),
                                        "operation-by": by, **more})

    def refused(self, operation, number, words, kid=None):
        """The operation is taken off, changes nothing, and an Event says why."""
        record = self.status().get("rotation")
        self.operate(operation, number, kid)
        said = until(lambda: self._refusal(operation, number, kid), f"{operation} {number} is refused")
        assert words in said, said
        until(lambda: "keyturn.dev/operation" not in self.get()["metadata"].get("annotations", {}), "the annotation is taken off")
        until(lambda: any(words in event.message for event in self.events("OperationRefused")), "an Event says why", 60)
        assert self.status().get("rotation") == record
        return said

    def _refusal(self, operation, number, kid):
        said = self.status()["operation"]
        return (said["operation"], said["number"], said.get("kid")) == (operation, number, kid) and said.get("refused")

    # -- status --

    def wait_phase(self, *phases, seconds=240):
        return self.wait(lambda status: status.get("phase") in phases, f"phase {phases}", seconds)

    def wait(self, look, what, seconds=240):
        """look(status) is true of the status that is returned."""
        def seen():
            status = self.status()
            return look(status) and status
        try:
            return until(seen, what, seconds, 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(), indent=1)}\n{self.operator.tail()}") from None

    def lifecycle(self, kid):
        return next((key.get("lifecycle") for key in self.status()["keys"] if key["kid"] == kid), None)

    def wait_lifecycle(self, kid, *lifecycles, seconds=240):
        return self.wait(lambda status: self.lifecycle(kid) in lifecycles, f"{kid} is {lifecycles}", seconds)

    def wait_steady(self, seconds=240):
        """Nothing is to be done any more, and all of it is published."""
        self.wait_phase("Steady", seconds=seconds)
        return self.wait_ready(seconds=seconds)

    def entry(self, kid):
        return next(key for key in self.status()["keys"] if key["kid"] == kid)

    def next_key(self, number):
        """The kid that rotation `number` has made."""
        status = self.wait(lambda status: any(key.get("rotation") == number for key in status["keys"]), f"the key of rotation {number}")
        return next(key["kid"] for key in status["keys"] if key.get("rotation") == number)

    # -- Keycloak --

    def signer(self):
        return self.realm.call("GET", "/keys")["active"][self.algorithm]

    def fresh_kid(self):
        return jwt.get_unverified_header(self.realm.mint())["kid"]

    def keys(self):
        """What may not change by itself: {kid: (component, status, priority, algorithm, public key)} of every signing key."""
        return {key["kid"]: (key["providerId"], key["status"], key["providerPriority"], key["algorithm"], key["publicKey"])
                for key in self.realm.signing_keys()}

    def standing(self):
        return {kid: key[1] for kid, key in self.keys().items() if key[3] == self.algorithm}

    def writes(self):
        """What was done to key components, in order: (CREATE, UPDATE or DELETE; component; active, enabled)."""
        found = self.realm.call("GET", "/admin-events", params={"resourceTypes": "COMPONENT", "max": 10000})
        told = []
        for event in sorted(found, key=lambda event: event["time"]):
            config = json.loads(event.get("representation") or "{}").get("config", {})
            told.append((event["operationType"], event["resourcePath"].split("/")[-1],
                         *(config.get(name, [None])[0] for name in ("active", "enabled"))))
        return told

    # -- consumers --

    def published(self):
        """Kids that the two kinds of object give their readers, of the algorithm that is rotated."""
        others = {kid for kid, key in self.keys().items() if key[3] != self.algorithm}
        return self.jwks_kids("Secret", "api-keys") - others, self.published_pem() - others

    def published_pem(self):
        return {name.removesuffix(".pem") for name in self.files("ConfigMap", "pem-keys") if name.endswith(".pem")} - {"bundle"}

    def restarts(self):
        """Roll-outs that each Deployment has had. Not its ReplicaSets: one that returns to an earlier trust set takes that one's again."""
        return {app: int(self.read_workload("Deployment", app).metadata.annotations["deployment.kubernetes.io/revision"]) for app in self.apps}

    def told(self):
        """Reasons of the Events of transitions, in the order in which they came."""
        items = [e for e in self.events() if e.reason in EVENTS]
        return [e.reason for e in sorted(items, key=lambda e: (e.event_time or e.first_timestamp, int(e.metadata.resource_version)))]

    def frozen(self):
        """All that a write of ours would change, but status."""
        self_made = lambda meta: (meta.uid, meta.generation, meta.annotations)
        objects = {**{app: self_made(self.read_workload("Deployment", app).metadata) for app in self.apps}}
        return self.keys(), objects, self.files("Secret", "api-keys"), self.files("ConfigMap", "pem-keys"), self.writes()


@contextlib.contextmanager
def rotating(kube, key=None, prepare=None, also=None, verifiers=False, consumers=(), **spec):
    """A realm of its own, its rotation Ready, and its operator, which watches the namespace `also` too. prepare(realm) comes first;
    consumers are more of them."""
    with fresh_namespace(kube, "turn") as namespace:
        scene = RotationScene(kube, namespace, PLAYS.realm())
        scene.algorithm = (key or {}).get("algorithm", "RS256")
        if prepare:
            prepare(scene.realm)
        if verifiers:
            scene.apps = tuple(APPS.values())
            scene.verifier("api", replicas=2, secret="api-keys")
            scene.verifier("pem", replicas=2, config_map="pem-keys")
        else:
            scene.apps = ("api",)
            scene.pause("api")
        scene.rotation(consumers=[*(CONSUMERS if verifiers else LIGHT), *consumers], key={"algorithm": "RS256", **(key or {})}, **spec)
        with Operator(namespace, watch_namespaces=",".join(filter(None, (namespace, also)))) as process:
            scene.operator = process
            scene.wait_steady()
            yield scene


@contextlib.contextmanager
def loaded(kube, checks_per_s=200, **spec):
    """Verifiers in pods, restarted by the rotation, and a load that has begun."""
    with rotating(kube, verifiers=True, overlap=OVERLAP, **spec) as scene:
        with Load(scene.namespace, scene.realm.name, APPS, checks_per_s=checks_per_s) as load:
            load.flowing()
            yield scene, load


# --- tokens, where a load would be too much ------------------------------------------

class Tokens(threading.Thread):
    """Mints a token now and then, and verifies each that is valid against what is published at that time: as JWKS in the Secret, as PEM
    in the ConfigMap."""

    def __init__(self, scene):
        super().__init__(daemon=True)
        self.scene = scene
        keycloak = scene.realm.keycloak  # a session is no thread's but its own
        self.realm = keycloak_client.Realm(keycloak_client.Keycloak(keycloak.url, keycloak.admin, keycloak.password), scene.realm.name)
        self.minted = self.verified = 0
        self.rejected, self.over, self.failure = [], threading.Event(), None
        self.tokens = collections.deque()

    def run(self):
        try:
            while not self.over.wait(0.7):
                self._mint()
                for verifier, keys in self._sets().items():
                    while self.tokens and self.tokens[0][1] < time.time():
                        self.tokens.popleft()
                    for token, _ in self.tokens:
                        self._verify(verifier, keys, token)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def _mint(self):
        """A server that is away, or that refuses us, is none of ours here."""
        try:
            token = self.realm.mint()
            claims = jwt.decode(token, options={"verify_signature": False})
            self.tokens.append((token, claims["exp"] - MARGIN_S))
            self.minted += 1
        except (keycloak_client.KeycloakError, requests.RequestException):
            pass

    def _sets(self):
        jwks = {key["kid"]: jwt.PyJWK(key).key for key in json.loads(self.scene.files("Secret", "api-keys")["jwks.json"])["keys"]}
        pem = {name.removesuffix(".pem"): load_pem_public_key(text.encode())
               for name, text in self.scene.files("ConfigMap", "pem-keys").items() if name.endswith(".pem") and name != "bundle.pem"}
        return {"Secret": jwks, "ConfigMap": pem}

    def _verify(self, verifier, keys, token):
        kid = jwt.get_unverified_header(token)["kid"]
        self.verified += 1
        try:
            jwt.decode(token, keys[kid], algorithms=[self.scene.algorithm], options={"verify_aud": False, "verify_exp": False})
        except (KeyError, jwt.InvalidTokenError) as error:
            self.rejected.append((kid, f"{verifier}: {kid}: {error!r}"))

    def assert_whole(self, of=None):
        """of: the keys whose tokens count, where others sign that nobody could know of before."""
        assert self.failure is None, repr(self.failure)
        rejected = [what for kid, what in self.rejected if of is None or kid in of]
        assert not rejected, rejected
        assert self.minted >= 5 and self.verified >= 20, f"{self.minted} minted, {self.verified} verified"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


# --- tests that wait, side by side --------------------------------------------------

class Plays:
    """Functions that become tests of their own names. The first of them that a run comes to begins all that the run
    has selected, a few at a time; each then only waits for its own end.

        @PLAYS.under_load
        def test_forward(kube, tell): …

        @PLAYS.add
        def test_approvals(kube, tell): …

        @PLAYS.in_realm(es256_realm)
        def test_another_key(kube, tell): …
    """

    def __init__(self):
        self.functions, self.makers, self.futures, self.realms, self.loads = {}, {}, {}, {}, set()
        self.here = threading.local()

    def under_load(self, function):
        self.loads.add(function.__name__)
        return self.add(function)

    def add(self, function):
        return self.in_realm(new_realm)(function)

    def in_realm(self, make):
        """make() makes its realm; None: it needs none of ours."""
        return lambda function: self._add(function, make)

    def _add(self, function, make):
        name = function.__name__
        self.functions[name], self.makers[name] = function, make

        def test(request, kube, crd, image, keycloak, tell):
            if not self.futures:
                self.begin([item.name for item in request.session.items], kube, tell)
            try:
                self.futures[name].result()
            finally:
                if all(future.done() for future in self.futures.values()):
                    self.end()
        test.__name__, test.__doc__ = name, function.__doc__
        return test

    def begin(self, names, kube, tell):
        """Realms are made before the first load: making and deleting them is the most that Keycloak ever does."""
        chosen = [name for name in self.functions if name in names]
        self.realms = {name: self.makers[name]() for name in chosen if self.makers[name]}
        loads, others = (concurrent.futures.ThreadPoolExecutor(count) for count in (LOADS_AT_A_TIME, OTHERS_AT_A_TIME))
        for name in chosen:
            pool = loads if name in self.loads else others
            self.futures[name] = pool.submit(self._play, name, kube, lambda line, name=name: tell(f"{name}: {line}"))

    def _play(self, name, kube, tell):
        self.here.name = name
        self.functions[name](kube, tell)

    def realm(self):
        """Of the play that asks."""
        return self.realms[self.here.name]

    def end(self):
        while self.realms:
            self.realms.popitem()[1].delete(missing_ok=True)


def new_realm(keycloak=None, life_s=LIFE_S, **more):
    keycloak = keycloak or keycloak_client.Keycloak.from_env()  # a session of its own: plays are threads
    return keycloak.create_realm(f"turn-{uuid.uuid4().hex[:8]}", roles=ROLES, token_lifespan_s=life_s, extra={**CHEAP, **more})


def es256_realm(keycloak=None):
    """For tests in which nothing but keys matters: they are made and sign at once. Tokens live for SHORT_LIFE_S."""
    realm = new_realm(keycloak, SHORT_LIFE_S, defaultSignatureAlgorithm="ES256")
    realm.add_ecdsa_generated("ours", priority=100, active=True)
    return realm


PLAYS = Plays()  # of all files, which run at the same time


class Stopwatch:
    """How long each stretch took: watch("published"); watch.line()."""

    def __init__(self):
        self.last, self.laps = time.monotonic(), []

    def __call__(self, what):
        now = time.monotonic()
        self.laps.append(f"{what} {now - self.last:.1f}")
        self.last = now

    def line(self):
        return ", ".join(self.laps) + " s"


def seconds(text):
    """Since 1970, of a time in status."""
    return datetime.datetime.fromisoformat(text).timestamp()


def shell(command):
    """A line that status shows, as a person would run it."""
    assert re.match(r"^kubectl ", command), command
    return ["bash", "-euo", "pipefail", "-c", command], {**os.environ}
