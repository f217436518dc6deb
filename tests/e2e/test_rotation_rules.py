# SPDX-License-Identifier: Apache-2.0
"""What starts, holds and ends a rotation on a real Keycloak: approvals, a standby, windows, edits, suspend, another owner. Without load; what
a rotation does to tokens is in test_rotation.py."""
import datetime
import json
import subprocess
import time
import zoneinfo

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from harness import fresh_namespace
from operator_process import binary
from rotation_scene import AT_ONCE, PLAYS, RotationScene, Stopwatch, rotating, seconds, shell
from scene import config_map, until

POLL_S = 5
GO_ON = "'{\"spec\":{\"suspend\":false}}'"
EDITS = ({"size": 4096}, {"algorithm": "PS256", "size": 3072}, {"algorithm": "ES256", "size": None}, {"algorithm": "EdDSA", "size": None},
         {"algorithm": "RS256", "size": 2048})


@PLAYS.add
def test_approvals_by_the_line_that_status_shows(kube, tell):
    """The realm's own key, without adopt: retired only where it is named. Who asked may not approve."""
    with rotating(kube, overlap=AT_ONCE, approval={"promote": "Manual", "retire": "Manual", "twoPerson": True}) as scene:
        old = scene.signer()
        scene.operate("rotate", 1)
        status = scene.wait_phase("AwaitingPromotion")
        assert status["nextTransition"]["step"] == "Promote" and "approves" in status["nextTransition"]["blockedBy"]
        until(lambda: status["nextTransition"]["command"] in scene.events("AwaitingApproval")[0].message, "an Event tells it")
        scene.refused("promote", 1, "cannot approve")
        new = status["nextKid"]
        before, after = run_line(scene, status)
        until(lambda: scene.fresh_kid() == new, "the approved key signs", 60, 0.02)
        seen = time.monotonic()
        tell(f"a fresh token shows the approved key {seen - after:.2f} s after the line was run ({seen - before:.2f} s after it began)")
        assert seen - after < 30
        status = scene.wait_phase("AwaitingRetirement")
        assert f"1/{old}" in status["nextTransition"]["command"] and "realm had it" in status["nextTransition"]["blockedBy"]
        assert status["rotation"]["approvedBy"] != "anna" and old in scene.jwks_kids("Secret", "api-keys")
        run_line(scene, status)
        scene.wait_lifecycle(old, "Removed")
        scene.wait_steady()
        assert scene.standing() == {new: "ACTIVE", old: "DISABLED"}


def run_line(scene, status):
    """Runs it as it is shown; returns when it began and when it had ended."""
    before = time.monotonic()
    command, environment = shell(status["nextTransition"]["command"])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return before, time.monotonic()


@PLAYS.add
def test_a_standby_is_promoted_at_once_and_a_key_of_ours_is_deleted(kube, tell):
    watch = Stopwatch()
    with rotating(kube, key={"adopt": True}, overlap=AT_ONCE) as scene:
        found = scene.signer()
        scene.operate("rotate", 1)
        first = scene.next_key(1)
        scene.wait_lifecycle(found, "Removed")
        scene.wait_steady()
        watch("first rotation")
        restarts = scene.restarts()
        scene.patch("prod", {"spec": {"key": {"standby": True}, "overlap": {"publish": "30s", "retire": "60s", "delete": "5s"}}})
        status = scene.wait(lambda status: status["rotation"].get("standbyAt") and status["phase"] == "Steady", "a standby is ready")
        watch("standby ready")
        second = scene.next_key(2)
        assert status["nextKid"] == second and scene.entry(second)["lifecycle"] == "Ready"
        assert scene.wait_ready() and scene.standing() == {found: "DISABLED", first: "ACTIVE", second: "PASSIVE"}
        assert scene.restarts() == {app: count + 1 for app, count in restarts.items()}
        at = time.monotonic()
        scene.operate("rotate", 2)
        until(lambda: scene.fresh_kid() == second, "the standby signs", 28, 0.05)
        took_s = time.monotonic() - at
        assert took_s < 28, "it does not wait for overlap.publish again"
        third = scene.next_key(3)
        assert third not in (first, second) and first in scene.jwks_kids("Secret", "api-keys")
        watch("promoted")
        until(lambda: first not in scene.keys(), "our old key is deleted", 240)
        watch("old key deleted")
        scene.wait(lambda status: status["rotation"].get("standbyAt") and status["phase"] == "Steady", "the next standby is ready")
        assert scene.standing() == {found: "DISABLED", second: "ACTIVE", third: "PASSIVE"}
        assert scene.published() == ({second, third}, {second, third})
        assert scene.restarts() == {app: count + 3 for app, count in restarts.items()}, "once for each trust set"
        until(lambda: "KeyDeleted" in scene.told(), "an Event says so", 60)
        tell(f"standby in a fresh token after {took_s:.2f} s; {watch.line()}")


@PLAYS.add
def test_a_proof_by_delay(kube, tell):
    """Nothing tells when a program without a restart has read its file: the key waits as long as spec says."""
    slow = {**config_map("slow"), "proof": {"type": "Delay", "delay": "30s"}}
    with rotating(kube, overlap=AT_ONCE, consumers=[slow]) as scene:
        scene.operate("rotate", 1)
        scene.wait(lambda status: "consumer slow (proof by delay)" in status["nextTransition"].get("blockedBy", ""), "it waits for it")
        new = scene.next_key(1)
        scene.wait(lambda status: scene.entry(new).get("readyAt"), "its time is over")
        waited_s = seconds(scene.entry(new)["readyAt"]) - seconds(scene.entry(new)["publishedAt"])
        assert 30 <= waited_s < 120
        tell(f"proof by a delay of 30 s: {waited_s:.0f} s")


@PLAYS.add
def test_a_schedule_waits_for_its_window(kube, tell):
    """The key's age is what status says: it is made older than the period. The next minute, in another zone, is the window."""
    zone = zoneinfo.ZoneInfo("Asia/Kolkata")
    with rotating(kube, overlap=AT_ONCE) as scene:
        old = scene.signer()
        opens = datetime.datetime.now(zone) + datetime.timedelta(seconds=160)
        opens = opens.replace(second=0, microsecond=0)
        scene.patch("prod", {"spec": {"schedule": {"every": "10m", "window": {
            "cron": f"{opens.minute} {opens.hour} * * *", "duration": "5m", "timeZone": "Asia/Kolkata"}}}})
        status = scene.wait(lambda status: status.get("nextTransition", {}).get("at"), "the next rotation is announced")
        assert status["nextTransition"]["step"] == "Rotate" and "operation-for=1" in status["nextTransition"]["command"]
        assert abs(seconds(status["nextTransition"]["at"]) - seconds(scene.entry(old)["activeAt"]) - 600) <= 1
        age_the_signer(scene, old)
        new = scene.next_key(1)
        status = scene.wait(lambda status: status.get("nextTransition", {}).get("at") and any(
            key["kid"] == new and key.get("lifecycle") == "Ready" for key in status["keys"]), "it waits")
        assert status["rotation"]["reason"] == "Schedule" and seconds(status["nextTransition"]["at"]) == opens.timestamp()
        assert scene.signer() == old and time.time() < opens.timestamp()
        until(lambda: scene.fresh_kid() == new, "the window opens", 240, 0.1)
        late_s = time.time() - opens.timestamp()
        assert 0 <= late_s < 30
        tell(f"promoted {late_s:.1f} s after the window opened")


def age_the_signer(scene, kid):
    """11 minutes, by status, which is what the operator remembers."""
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=11)
    def write():
        found = scene.get()
        next(key for key in found["status"]["keys"] if key["kid"] == kid)["activeAt"] = past.strftime("%Y-%m-%dT%H:%M:%SZ")
        return scene.kube.custom.replace_namespaced_custom_object_status("keyturn.dev", "v1alpha1", scene.namespace, "keyrotations", "prod", found)
    until(write, "status is written", 20)


def foretold(scene):
    """What `keyturn plan --live` says will be done to Keycloak, from where the KeyRotation stands now."""
    done = subprocess.run([binary(), "plan", "-f", "-", "--live", "-o", "json"], input=json.dumps(scene.get()), capture_output=True, text=True,
                          check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [(step["change"]["kind"], step["change"]["key"]) for step in json.loads(done.stdout)["steps"] if step["change"]]


@PLAYS.add
def test_what_plan_foretells_is_what_happens(kube, tell):
    with rotating(kube, key={"adopt": True}, overlap={"publish": "5s", "retire": "20s", "delete": "0s"}) as scene:
        old = scene.signer()
        first = foretold(scene)
        assert first == [("Create", "key-1"), ("Promote", "key-1"), ("Demote", old), ("Disable", old)]
        scene.operate("rotate", 1)
        new = scene.next_key(1)
        scene.wait_phase("Overlap")
        assert foretold(scene)[:1] == first[3:], "what is done already is not foretold again"
        scene.wait_lifecycle(old, "Removed")
        kids = {key[0]: kid for kid, key in scene.keys().items()}
        done = [({"CREATE": "Create"}.get(verb) or ("Disable" if enabled == "false" else "Promote" if active == "true" else "Demote"),
                 kids[component].replace(new, "key-1")) for verb, component, active, enabled in scene.writes()]
        assert done == first


def bits(scene, kid):
    text = scene.files("Secret", "api-keys")[f"{kid}.pem"]
    return load_pem_public_key(text.encode()).key_size


def edit_everything(scene):
    """No key is changed by it, and the rotation is where it was."""
    keys, record = scene.keys(), scene.status().get("rotation")
    for edit in EDITS:
        generation = scene.patch("prod", {"spec": {"key": edit}})["metadata"]["generation"]
        scene.wait(lambda status: status["observedGeneration"] == generation, f"{edit} is seen")
        time.sleep(2)  # some more passes
        assert scene.keys() == keys, edit
    assert scene.status().get("rotation") == record


@PLAYS.add
def test_edits_of_spec_key_change_no_key_that_is_there(kube, tell):
    watch = Stopwatch()
    with rotating(kube, key={"adopt": True}, overlap={"publish": "15s", "retire": "15s", "delete": "15s"},
                  approval={"promote": "Manual", "retire": "Manual"}) as scene:
        edit_everything(scene)
        old = scene.signer()
        scene.patch("prod", {"spec": {"key": {"size": 3072}}})
        scene.operate("rotate", 1)
        new = scene.next_key(1)
        edit_everything(scene)
        assert bits(scene, new) == 3072, "the next key is as spec said when it was made"
        watch("Publishing")
        for phase, operation, kid in (("AwaitingPromotion", "promote", None), ("AwaitingRetirement", "retire", old)):
            scene.wait_phase(phase)
            edit_everything(scene)
            watch(phase)
            scene.operate(operation, 1, kid)
            if operation == "promote":
                scene.wait_phase("Overlap")
                edit_everything(scene)
                watch("Overlap")
        scene.wait_lifecycle(old, "Removed")
        scene.wait_steady()
        edit_everything(scene)
        assert scene.signer() == new and bits(scene, new) == 3072
        tell(watch.line())


@PLAYS.add
def test_suspend_freezes_every_write_at_each_phase(kube, tell):
    """Longer each time than what the phase waits for."""
    watch = Stopwatch()
    with rotating(kube, key={"adopt": True}, overlap={"publish": "10s", "retire": "10s", "delete": "15s"}, approval={"promote": "Manual"}) as scene:
        old = scene.signer()
        frozen(scene, POLL_S + 2, lambda: scene.operate("rotate", 1))
        first = scene.next_key(1)
        watch("Steady")
        scene.wait_lifecycle(first, "Published")
        frozen(scene, 12)
        watch("Publishing")
        scene.wait_phase("AwaitingPromotion")
        frozen(scene, POLL_S + 2, lambda: scene.operate("promote", 1))
        until(lambda: scene.fresh_kid() == first, "the approval is remembered")
        watch("AwaitingPromotion")
        scene.wait_phase("Overlap")
        frozen(scene, 12)
        watch("Overlap")
        scene.wait_phase("Retiring")
        frozen(scene, POLL_S + 2)
        watch("Retiring")
        scene.wait_lifecycle(old, "Removed")
        scene.wait_steady()
        scene.operate("rotate", 2)
        scene.wait_phase("AwaitingPromotion")
        scene.operate("promote", 2)
        scene.wait_lifecycle(first, "Removed")
        assert first in scene.keys()
        frozen(scene, 17)
        until(lambda: first not in scene.keys(), "it is deleted now", 60)
        watch("Removed")
        tell(watch.line())


def frozen(scene, for_s, meanwhile=lambda: None):
    """Suspended for so long: nothing is written, status says so and how to go on."""
    suspend = lambda value: scene.patch("prod", {"spec": {"suspend": value}})
    suspend(True)
    said = scene.wait_condition("Stalled", "True", "Suspended")
    assert "spec.suspend is true" in said["message"] and GO_ON in said["message"]
    time.sleep(2)  # what was under way comes to its end, ours and that of the Deployment's controller
    before = scene.frozen()
    meanwhile()
    time.sleep(for_s)
    assert scene.frozen() == before
    assert scene.condition("Stalled")["reason"] == "Suspended" and scene.condition("Ready")["status"] == "False"
    suspend(False)
    scene.wait(lambda status: all(c["reason"] != "Suspended" for c in status["conditions"]), "it goes on")


@PLAYS.add
def test_a_realm_has_one_owner(kube, tell):
    """The older KeyRotation; and when that is gone, whoever is told to take over what it made."""
    seen_by_others = {"publish": f"{2 * POLL_S + 2}s", "retire": f"{2 * POLL_S + 2}s", "delete": "0s"}  # else all of its keys would be others at one look
    with fresh_namespace(kube, "turn") as other, rotating(kube, also=other, overlap=seen_by_others, key={"adopt": True}) as scene:
        younger = RotationScene(kube, other, scene.realm)
        younger.operator = scene.operator
        younger.rotation(consumers=[{**config_map("web"), "proof": {"type": "Delay", "delay": "2s"}}], key={"algorithm": "RS256"}, overlap=AT_ONCE)
        said = younger.wait_condition("Stalled", "True", "RealmOwnedByOther")
        assert f"{scene.namespace}/prod" in said["message"] and "only follows" in said["message"]
        keys = scene.keys()
        younger.operate("rotate", 1)
        until(lambda: younger.jwks_kids("ConfigMap", "web-keys") == set(keys), "it publishes all the same")
        time.sleep(POLL_S + 2)
        assert scene.keys() == keys and scene.writes() == []
        assert scene.wait_ready(), "the older one is not disturbed"
        younger.annotate("prod", **{"operation": None, "operation-for": None, "operation-by": None})
        scene.operate("rotate", 1)
        first = scene.next_key(1)
        scene.wait(lambda status: first == scene.signer() and status["phase"] == "Steady", "the older one rotates")
        younger.wait(lambda status: younger.jwks_kids("ConfigMap", "web-keys") == {first}, "the younger one follows", 90)
        scene.delete()
        said = until(lambda: "takeOver" in younger.condition("Stalled")["message"] and younger.condition("Stalled"), "it is told how to take over")
        assert said["reason"] == "RealmOwnedByOther" and "keyturn-" in said["message"]
        younger.patch("prod", {"spec": {"key": {"takeOver": True, "adopt": True}}})
        younger.wait_ready()
        younger.operate("rotate", 1)
        younger.wait(lambda status: scene.signer() != first, "the younger one rotates")
        until(lambda: scene.standing()[first] == "DISABLED", "what the older one made is found and adopted", 60)
        assert sum(status == "ACTIVE" for status in scene.standing().values()) == 1
