# SPDX-License-Identifier: Apache-2.0
"""Somebody works against a rotation in Keycloak's own API, or Keycloak itself does: at each phase a condition says what happened and
what to do, no write of ours follows that is not safe, and when it is put right the rotation goes on. Tokens are verified all the while."""
import contextlib
import shlex
import subprocess
import tempfile
import threading
import time

import pytest

import realm as keycloak_client
from harness import fresh_namespace
from keycloak_proxy import KeycloakProxy, slow
from keycloak_server import KeycloakServer
from operator_process import Operator
from rotation_scene import LIGHT, PLAYS, SHORT_LIFE_S as LIFE_S, RotationScene, Tokens, es256_realm, seconds
from scene import until

LONG = {"publish": "1h", "retire": "1h", "delete": "0s"}
SHORT = {"publish": "0s", "retire": f"{LIFE_S + 1}s", "delete": "0s"}
POLL_S = 5
SKEW_S = 60
PHASES = ("Publishing", "AwaitingPromotion", "Overlap")


class Meddled(RotationScene):
    apps = ("api",)

    def component_of(self, kid):
        return self.keys()[kid][0]

    def phase(self, name):
        """Goes on to this phase, and stays there."""
        if name == "Publishing":
            self.operate("rotate", 1)
            self.new = self.next_key(1)
            self.wait(lambda status: status["consumersUpToDate"] == "2/2" and self.lifecycle(self.new) == "Published", "published")
        if name == "AwaitingPromotion":
            self.patch("prod", {"spec": {"overlap": {**LONG, "publish": "0s"}}})
        if name == "Overlap":
            self.operate("promote", 1)
        self.wait_phase(name)

    def said(self, kind, reason, *words):
        """The condition and an Event say it, and nothing is written meanwhile but status. reason None: any."""
        before = self.writes()
        found = self.wait_condition(kind, "True" if kind == "Stalled" else "False", reason)
        assert all(word in found["message"] for word in words), found["message"]
        until(lambda: any(event.type == "Warning" for event in self.events(found["reason"])), f"an Event {found['reason']}", 60)
        time.sleep(POLL_S)  # nothing to wait for: nothing may be written
        assert [write for write in self.writes()[len(before):] if not self.meddled(write)] == []
        return found

    def meddled(self, write):
        return not str(self.component_name(write[1])).startswith("keyturn-")

    def component_name(self, component):
        return next((c["name"] for c in self.realm.components() if c["id"] == component), None)

    def poison(self, component, config):
        with pytest.raises(keycloak_client.KeycloakError) as raised:
            self.realm.call("PUT", f"/components/{component}", {"config": config})
        assert raised.value.status == 500

    def another_certificate(self):
        """Over the same key, which only Keycloak has: it makes one itself."""
        return ""

    def published_files(self):
        return self.files("Secret", "api-keys"), self.files("ConfigMap", "pem-keys")

    def healed(self, phase):
        good = lambda status: status["phase"] == phase and all(
            c["status"] == ("False" if c["type"] in ("Stalled", "Reconciling") else "True") for c in status["conditions"]
            if c["type"] in ("Stalled", "KeysAsExpected"))
        self.wait(good, f"{phase} again")


@contextlib.contextmanager
def meddling(kube, realm=None, algorithm="ES256", approval="Manual", overlap=None, keycloak_url=None):
    realm = realm or PLAYS.realm()
    with fresh_namespace(kube, "meddle") as namespace:
        scene = Meddled(kube, namespace, realm, keycloak_url)
        scene.algorithm = algorithm
        scene.workload("Deployment", "api", replicas=0, image="test.local/pause:1")
        scene.old = scene.signer()
        scene.rotation(consumers=LIGHT, key={"algorithm": algorithm, "adopt": True}, overlap=overlap or LONG,
                       approval={"promote": approval})
        with Operator(namespace) as scene.operator:
            scene.wait_steady()
            yield scene


@PLAYS.in_realm(es256_realm)
def test_another_key_is_put_above(kube, tell):
    with meddling(kube) as scene, Tokens(scene) as tokens:
        other = scene.realm.add_ecdsa_generated("third", priority=50, active=True)
        third = scene.realm.kid(other)
        until(lambda: third in scene.jwks_kids("Secret", "api-keys"), "the third key is published")
        for phase in PHASES:
            scene.phase(phase)
            if phase == "Overlap":  # it was made passive by the rotation
                scene.realm.set_active(other, True)
            scene.realm.set_priority(other, 500)
            scene.said("KeysAsExpected", "SignerChanged", third, "changed it in Keycloak")
            assert scene.fresh_kid() == third
            scene.realm.set_priority(other, 50)
            scene.healed(phase)
    tokens.assert_whole()


@PLAYS.in_realm(es256_realm)
def test_the_next_key_is_disabled(kube, tell):
    with meddling(kube) as scene, Tokens(scene) as tokens:
        for phase in PHASES[:2]:
            scene.phase(phase)
            component = scene.component_of(scene.new)
            scene.realm.set_enabled(component, False)
            found = scene.said("KeysAsExpected", "KeyDisabledExternally", scene.new, "enable it again", "or abort")
            assert scene.wait_condition("Stalled", "True", "KeyDisabledExternally")["message"] == found["message"]
            assert "operation=abort" in scene.status()["nextTransition"]["command"]
            scene.realm.set_enabled(component, True)
            scene.healed(phase)
        scene.phase("Overlap")
        assert scene.fresh_kid() == scene.new
        tokens.assert_whole()
        scene.realm.set_enabled(component, False)  # now it signs, and the one before does not
        found = scene.said("KeysAsExpected", None, "key")
        assert found["reason"] in ("NoSigningKey", "SignerChanged", "KeyDisabledExternally"), found
        assert scene.standing()[scene.old] == "PASSIVE"
        scene.realm.set_enabled(component, True)
        scene.healed("Overlap")


def old_key_is_deleted(kube, phase):
    """And then the realm."""
    with meddling(kube) as scene:
        for name in PHASES[:PHASES.index(phase) + 1]:
            scene.phase(name)
        scene.realm.delete_component(scene.component_of(scene.old))
        scene.said("KeysAsExpected", "KeyDeletedExternally", scene.old, "log in again" if phase == "Overlap" else "goes on from there")
        until(lambda: scene.old not in scene.jwks_kids("Secret", "api-keys") | scene.published_pem(), "it leaves the consumers")
        assert scene.new in scene.jwks_kids("Secret", "api-keys"), "the others stay"
        published = scene.published_files()
        if phase != "Overlap":  # the rotation goes on
            scene.patch("prod", {"spec": {"overlap": {**LONG, "publish": "0s"}}})
            scene.wait_phase("AwaitingPromotion")
        scene.realm.delete()
        scene.wait_condition("Ready", "False", "RealmMissing")
        assert scene.realm.name in scene.condition("Stalled")["message"]
        time.sleep(POLL_S)  # nothing to wait for: nothing may be taken away
        assert scene.published_files() == published


@PLAYS.in_realm(es256_realm)
def test_the_old_key_and_then_the_realm_are_deleted_before_it_is_proven(kube, tell):
    old_key_is_deleted(kube, "Publishing")


@PLAYS.in_realm(es256_realm)
def test_the_old_key_and_then_the_realm_are_deleted_before_it_is_approved(kube, tell):
    old_key_is_deleted(kube, "AwaitingPromotion")


@PLAYS.in_realm(es256_realm)
def test_the_old_key_and_then_the_realm_are_deleted_in_the_overlap(kube, tell):
    old_key_is_deleted(kube, "Overlap")


@PLAYS.in_realm(es256_realm)
def test_the_realm_is_renamed_and_credentials_are_revoked(kube, tell):
    with meddling(kube) as scene, Tokens(scene) as tokens:
        for phase in PHASES:
            scene.phase(phase)
            name = scene.realm.name
            scene.realm.rename(f"{name}-else")
            scene.said("Stalled", "RealmMissing", name, "spec.")
            scene.realm.rename(name)
            scene.healed(phase)
            scene.realm.set_client_secret("keyturn", "another")
            scene.said("Stalled", "CredentialsRefused", "keyturn-keycloak", "client-secret")
            scene.realm.set_client_secret("keyturn", "keyturn-secret")
            scene.healed(phase)
    tokens.assert_whole()


@PLAYS.in_realm(es256_realm)
def test_a_role_is_taken_away_in_the_middle(kube, tell):
    with meddling(kube) as scene, Tokens(scene) as tokens:
        scene.phase("Publishing")
        scene.phase("AwaitingPromotion")
        scene.realm.add_role("view-realm")
        scene.realm.drop_role("manage-realm")
        scene.operate("promote", 1)
        scene.wait_condition("Stalled", "True")
        assert "manage-realm" in scene.condition("Stalled")["message"], scene.condition("Stalled")
        assert scene.signer() == scene.old
        scene.realm.add_role("manage-realm")
        scene.wait_phase("Overlap")
    tokens.assert_whole()


def rsa_realm():
    """Signs RS256 by a key whose certificate is its own."""
    realm = es256_realm()
    realm.put(defaultSignatureAlgorithm="RS256")
    generated = realm.active_component()
    realm.add_rsa("imported", priority=150)
    realm.delete_component(generated)
    return realm


def expires_soon(realm, valid_s=40):
    found = realm.active_component()
    realm.add_rsa("expiring", priority=200, valid_s=valid_s)
    realm.delete_component(found)


def kcadm(line):
    """A line that status shows, as somebody types it who is logged in."""
    keycloak = keycloak_client.Keycloak.from_env()
    with tempfile.TemporaryDirectory() as home:
        def run(words):
            subprocess.run([*words, "--config", f"{home}/config"], check=True, capture_output=True, text=True)
        run(["kcadm.sh", "config", "credentials", "--server", keycloak.url, "--realm", "master", "--user", keycloak.admin,
             "--password", keycloak.password])
        run(shlex.split(line))


@PLAYS.in_realm(rsa_realm)
def test_certificates_are_replaced(kube, tell):
    """The same keys: readers get the new wrappers, the rotation goes on."""
    with meddling(kube, algorithm="RS256") as scene, Tokens(scene) as tokens:
        for phase in PHASES:
            scene.phase(phase)
            said = lambda: len([e for e in scene.events("KeysChangedExternally") if "has another certificate" in e.message])
            before = said()
            scene.realm.update(scene.component_of(scene.old), cert=scene.another_certificate())
            until(lambda: said() > before, "an Event")
            scene.wait_phase(phase)
            assert set(scene.jwks_kids("Secret", "api-keys")) >= {scene.old, scene.new}
    tokens.assert_whole()


@PLAYS.in_realm(rsa_realm)
def test_a_wrapper_expires_in_the_middle(kube, tell):
    """Of the key that signs, while its successor waits for its approval. Keycloak takes no change of such a key that
    sends the certificate, and signs with a key that it makes up at that moment, until the promotion: the next poll brings it to everybody."""
    expires_soon(PLAYS.realm())
    with meddling(kube, algorithm="RS256", overlap=SHORT) as scene, Tokens(scene) as tokens:
        scene.operate("rotate", 1)
        scene.new = scene.next_key(1)
        scene.wait_phase("AwaitingPromotion")
        scene.wait_condition("CertificatesValid", "False", "CertificateExpired")
        until(lambda: all(kids - {scene.old, scene.new} for kids in scene.published()), "the key that Keycloak made up is given out")
        time.sleep(2)  # tokens are verified against what is there now
        rejected = len(tokens.rejected)
        scene.operate("promote", 1)
        found = scene.wait_condition("Stalled", "True", "Disabling")
        assert "certificate of this key has expired" in found["message"]
        assert scene.fresh_kid() == scene.new
        kcadm(found["message"][found["message"].index("kcadm.sh update"):])  # it ends with the line that repairs it
        scene.wait_lifecycle(scene.old, "Removed")
        scene.wait_steady()  # the key that Keycloak made when the certificate expired has left too
        assert scene.standing()[scene.old] == "DISABLED" and scene.standing()[scene.new] == "ACTIVE"
        assert scene.published() == ({scene.new}, {scene.new})
    tokens.assert_whole(of={scene.old, scene.new})
    assert len(tokens.rejected) == rejected, tokens.rejected


@PLAYS.in_realm(es256_realm)
def test_an_answer_of_500_that_poisons_the_cache(kube, tell):
    """Somebody's bad change is answered 500, and what it asked for would be stored by the next change that leaves anything out."""
    bad = {"active": ["false"], "priority": ["555"], "enabled": ["false"]}
    with meddling(kube, overlap=SHORT) as scene, Tokens(scene) as tokens:
        scene.operate("rotate", 1)
        scene.new = scene.next_key(1)
        scene.wait_phase("AwaitingPromotion")
        components = {kid: scene.component_of(kid) for kid in (scene.old, scene.new)}
        for component in components.values():
            scene.poison(component, bad)
            assert scene.realm.component(component)["config"]["priority"] == ["555"], "the cache is poisoned"
        scene.operate("promote", 1)
        scene.wait_phase("Overlap")
        scene.poison(components[scene.old], {"active": ["true"]})
        scene.wait_lifecycle(scene.old, "Removed")
        scene.wait_steady()
        assert scene.standing() == {scene.old: "DISABLED", scene.new: "ACTIVE"}
        assert scene.keys()[scene.new][2] == 101 and scene.keys()[scene.old][2] == 100
    tokens.assert_whole()


@PLAYS.in_realm(es256_realm)
def test_a_second_writer(kube, tell):
    """It puts the key that signed back as it was, again and again, until it is stopped: then the rotation ends as it should."""
    over, wrote = threading.Event(), []
    overlap = {**SHORT, "retire": f"{LIFE_S + 10}s"}
    with meddling(kube, overlap=overlap, approval="Automatic") as scene, Tokens(scene) as tokens:
        component = scene.component_of(scene.old)
        other = keycloak_client.Realm(keycloak_client.Keycloak.from_env(), scene.realm.name)

        def write():
            while not over.wait(0.2):
                with contextlib.suppress(keycloak_client.KeycloakError):
                    other.update(component, active=True, enabled=True, priority=100 + len(wrote) % 2)
                    wrote.append(time.monotonic())

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        scene.operate("rotate", 1)
        scene.new = scene.next_key(1)
        until(lambda: scene.fresh_kid() == scene.new, "the next key signs")
        scene.wait(lambda status: status["rotation"].get("doneAt"), "the rotation ends beside it")
        time.sleep(2 * POLL_S)
        assert scene.fresh_kid() == scene.new and scene.published()[0] == {scene.old, scene.new}
        over.set()
        writer.join()
        scene.said("KeysAsExpected", "KeyActivatedExternally", scene.old, "Make it passive")
        scene.realm.set_active(component, False)
        scene.wait_lifecycle(scene.old, "Removed")
        scene.wait_steady()
        assert scene.standing() == {scene.old: "DISABLED", scene.new: "ACTIVE"}
        tell(f"a rotation beside a second writer, which wrote {len(wrote)} times")
    tokens.assert_whole()


@PLAYS.in_realm(None)
def test_keycloak_is_killed_and_has_lost_what_it_acknowledged(kube, tell):
    """With its database in a file, which is written a little later. Killed as soon as each of our writes is answered."""
    lost = []
    with own_server() as (server, proxy):
        def kill(handler, answer):
            server.kill()
            answered.set()

        realm = es256_realm(server.admin())
        with meddling(kube, realm, overlap=SHORT, keycloak_url=proxy.url) as scene, Tokens(scene) as tokens:
            answered = threading.Event()
            for number, operation in enumerate(("rotate", "promote", None, None)):
                before = scene.keys()
                proxy.on_write = kill
                if operation:
                    scene.operate(operation, 1)
                until(answered.is_set, f"write {number}", 150)
                proxy.on_write = lambda handler, answer: None
                server.start()
                scene.realm.keycloak.session.close()  # its connections are those of before
                lost.append(scene.keys() == before)
                answered.clear()
                if operation == "rotate":
                    scene.wait_phase("AwaitingPromotion")
                    scene.new = scene.next_key(1)
            scene.wait_lifecycle(scene.old, "Removed")
            scene.wait_steady()
            assert scene.standing() == {scene.old: "DISABLED", scene.new: "ACTIVE"}
            assert scene.published() == ({scene.new}, {scene.new})
        tokens.assert_whole()
    tell(f"Keycloak killed after each of {len(lost)} answered writes; it had lost {sum(lost)} of them")


@contextlib.contextmanager
def own_server():
    with tempfile.TemporaryDirectory() as folder, \
            KeycloakServer(database=folder, arguments=("--hostname=https://auth.example.test", "--hostname-backchannel-dynamic=true")) as server, \
            KeycloakProxy(server.url) as proxy:
        yield server, proxy


@PLAYS.in_realm(es256_realm)
def test_an_abort_between_the_promotion_and_its_answer(kube, tell):
    """The key may have signed: it is never deleted, whatever is commanded."""
    with KeycloakProxy(keycloak_client.Keycloak.from_env().url) as proxy, meddling(kube, keycloak_url=proxy.url) as scene, \
            Tokens(scene) as tokens:
        scene.phase("Publishing")
        scene.phase("AwaitingPromotion")
        done, go_on = threading.Event(), threading.Event()

        def hold(handler, answer):
            done.set()
            go_on.wait(60)

        proxy.on_write = hold
        scene.operate("promote", 1)
        until(done.is_set, "Keycloak has made the change")
        scene.operate("abort", 1)
        refused = until(lambda: scene.status()["operation"].get("refused"), "the abort is refused")
        assert "may have signed" in refused or "rolled back" in refused or "roll back" in refused
        proxy.on_write = lambda handler, answer: None
        go_on.set()
        scene.wait_phase("Overlap")
        assert scene.standing() == {scene.old: "PASSIVE", scene.new: "ACTIVE"}
        assert not [write for write in scene.writes() if write[0] == "DELETE"]
    tokens.assert_whole()


@PLAYS.add
def test_a_keycloak_too_slow_to_act_on(kube, tell):
    """What it said six seconds ago is no ground for a change; once it is well again the rotation goes on."""
    with KeycloakProxy(keycloak_client.Keycloak.from_env().url) as proxy, \
            meddling(kube, algorithm="RS256", keycloak_url=proxy.url) as scene:
        proxy.faults = {"keys": slow(6)}
        scene.operate("rotate", 1)
        found = scene.wait_condition("Stalled", "True", "Creating")
        assert "Keycloak takes longer than that" in found["message"] and scene.writes() == []
        proxy.faults = {}
        scene.next_key(1)
        scene.wait_condition("Stalled", "False")


@PLAYS.in_realm(es256_realm)
def test_the_overlap_is_computed_from_the_realm(kube, tell):
    """overlap.retire: auto. A client's own lifespan is the longest, and status names it."""
    realm = PLAYS.realm()
    realm.put(**{name: 20 for name in ("ssoSessionIdleTimeout", "ssoSessionMaxLifespan", "ssoSessionIdleTimeoutRememberMe",
                                       "ssoSessionMaxLifespanRememberMe", "accessTokenLifespanForImplicitFlow")})
    realm.call("POST", "/clients", {"clientId": "batch", "attributes": {"access.token.lifespan": "30"}})
    with meddling(kube, overlap={"publish": "0s", "retire": "auto", "delete": "0s"}, approval="Automatic") as scene, \
            Tokens(scene) as tokens:
        scene.operate("rotate", 1)
        scene.new = scene.next_key(1)
        scene.wait(lambda status: status["phase"] == "Overlap" and "client batch: access.token.lifespan 30s" in
                   status["nextTransition"]["blockedBy"], "status names what the overlap comes from")
        scene.wait_lifecycle(scene.old, "Removed", seconds=180)
        scene.wait_steady()
        old = scene.entry(scene.old)
        kept_s = seconds(old["removedAt"]) - seconds(old["retiredAt"])
        assert 30 + SKEW_S <= kept_s < 30 + SKEW_S + 30
        tell(f"overlap.retire auto: kept for {kept_s:.0f} s, by a client's lifespan of 30 s and a skew of {SKEW_S} s")
    tokens.assert_whole()
