# SPDX-License-Identifier: Apache-2.0
"""Planned rotations on a real Keycloak, with real pods that verify tokens all the while: none is rejected. What each play measured is
printed at the end."""
import time

from rotation_scene import LIFE_S, OVERLAP_S, PLAYS, Stopwatch, loaded, seconds
from scene import until

TOLD = ["KeyCreated", "KeyReady", "KeyPromoted", "KeyRetired", "RotationFinished", "KeyLeaving", "KeyRemoved"]


@PLAYS.under_load
def test_control_a_key_that_signs_before_it_is_published_is_rejected(kube, tell):
    """Shows that the load sees a rejection where there is one, by each verifier."""
    with loaded(kube) as (scene, load):
        scene.operator.stop()
        assert load.report().rejected() == 0
        kid = scene.realm.kid(scene.realm.add_rsa_generated("too-early", priority=200, active=True))
        report = load.until(lambda report: all(report.rejected(verifier, kid) > 20 for verifier in report.checks), "all verifiers reject it")
        assert {rejection["kid"] for rejection in report.rejections} == {kid}
        assert all(report.accepted(verifier, kid) == 0 for verifier in ("secret", "pem")), "the one with a cache fetches anew in the end"
        assert all(kid in rejection["said"] for rejection in report.rejections)
        tell(f"rejected as it should be: {report.summary().splitlines()[0]}")


def forward(scene, load, watch):
    """One whole rotation of the realm's own key; returns its kids."""
    old, keys, restarts = scene.signer(), scene.keys(), scene.restarts()
    scene.operate("rotate", 1, reason="it is time")
    new = scene.next_key(1)
    watch("created")
    assert scene.standing() == {old: "ACTIVE", new: "PASSIVE"} and scene.fresh_kid() == old
    until(lambda: scene.published() == ({old, new}, {old, new}), "both keys are published")
    scene.wait(lambda status: status["consumersUpToDate"] == "2/2" and scene.template_hash("Deployment", "pem") == status["consumers"][1]["trustHash"],
               "both workloads are restarted")
    watch("published, restarted")
    status = scene.wait(lambda status: status["rotation"].get("doneAt"), "the key is promoted")
    watch("promoted")
    assert scene.standing() == {old: "PASSIVE", new: "ACTIVE"} and scene.fresh_kid() == new and status["activeKid"] == new
    scene.wait(lambda status: status["phase"] == "Overlap" and status["nextTransition"]["step"] == "Retire", "the overlap is shown")
    assert scene.published() == ({old, new}, {old, new}), "the old key is trusted as long as its tokens are valid"
    scene.wait_lifecycle(old, "Removed")
    watch("old key removed")
    scene.wait_steady()
    assert scene.published() == ({new}, {new})
    assert scene.restarts() == {app: count + 2 for app, count in restarts.items()}, "once for each trust set"
    assert {kid: key for kid, key in scene.keys().items() if kid not in (old, new)} == {kid: key for kid, key in keys.items() if kid != old}
    assert scene.keys()[old][4] == keys[old][4]
    assert_times(scene, old, new, load.report())
    return old, new


def assert_times(scene, old, new, report):
    """As status has them; a second is their unit."""
    now, before = scene.entry(new), scene.entry(old)
    assert seconds(now["readyAt"]) - seconds(now["publishedAt"]) >= OVERLAP_S
    assert seconds(before["removedAt"]) - seconds(before["retiredAt"]) >= OVERLAP_S
    assert report.kids[new]["first"] >= seconds(now["readyAt"])
    assert report.kids[old]["last"] <= seconds(before["retiredAt"]) + 3  # a token is minted before its answer is read
    assert seconds(before["removedAt"]) - report.kids[old]["last"] >= LIFE_S


@PLAYS.under_load
def test_a_whole_rotation_rejects_no_token(kube, tell):
    watch = Stopwatch()
    with loaded(kube, checks_per_s=400, key={"adopt": True}) as (scene, load):
        watch("begun")
        old, new = forward(scene, load, watch)
        report = load.until(lambda report: report.accepted() >= 50000 or report.rejected(), "50,000 verifications", 300)
        report.assert_whole()
        found, made = scene.keys()[old][0], scene.keys()[new][0]
        assert scene.writes() == [("CREATE", made, "false", "true"), ("UPDATE", made, "true", "true"), ("UPDATE", found, "false", "true"),
                                  ("UPDATE", found, "false", "false")]
        until(lambda: scene.told() == TOLD, "each transition has its Event", 60)
        past = scene.status()["history"]
        assert [(item["number"], item["reason"], item["kid"], item["requestedBy"], item["outcome"]) for item in past] == [
            (1, "Request", new, "anna", "Promoted")]
        scene.refused("rollback", 1, "not trusted any more")
        scene.refused("rotate", 1, "the next is one more than status.rotation.number")
        assert scene.standing() == {new: "ACTIVE", old: "DISABLED"}, "a key that the realm had is never deleted"
        tell(f"{report.summary()}; {watch.line()}")


@PLAYS.under_load
def test_an_abort_and_a_rollback_reject_no_token(kube, tell):
    watch = Stopwatch()
    with loaded(kube) as (scene, load):
        watch("begun")
        abort(scene)
        watch("aborted")
        took_s = roll_back(scene, watch)
        report = load.report()
        report.assert_whole()
        assert [item["outcome"] for item in scene.status()["history"]] == ["RolledBack", "Promoted", "Aborted"]
        until(lambda: {"Aborted", "RolledBack"} <= set(scene.told()), "an Event for each")
        tell(f"{report.summary()}; old key in a fresh token after {took_s:.2f} s; {watch.line()}")


def abort(scene):
    """Before the promotion: it leaves the realm as it was."""
    old, keys, restarts = scene.signer(), scene.keys(), scene.restarts()
    scene.refused("abort", 1, "under way")
    scene.refused("rollback", 1, "abort it")
    scene.operate("rotate", 1)
    new = scene.next_key(1)
    made = scene.keys()[new][0]
    until(lambda: scene.published() == ({old, new}, {old, new}), "both keys are published")
    scene.wait(lambda status: status["consumersUpToDate"] == "2/2" and status["phase"] == "Publishing", "it waits for overlap.publish")
    scene.operate("abort", 1, reason="not today")
    until(lambda: new not in scene.keys(), "the next key is gone", 150)
    scene.wait_steady()
    assert scene.keys() == keys and scene.fresh_kid() == old and scene.published() == ({old}, {old})
    assert scene.writes() == [("CREATE", made, "false", "true"), ("UPDATE", made, "false", "false"), ("DELETE", made, None, None)]
    assert scene.restarts() == {app: count + 2 for app, count in restarts.items()}, "once for each trust set"
    scene.refused("rollback", 1, "no rotation of this number has been promoted")


def roll_back(scene, watch):
    """In one step, once, as long as the old key is trusted; then the new key leaves as any other. Returns how long the step took."""
    old, keys, restarts = scene.signer(), scene.keys(), scene.restarts()
    scene.operate("rotate", 2)
    new = scene.next_key(2)
    scene.wait(lambda status: status["rotation"].get("doneAt"), "the key is promoted")
    assert scene.fresh_kid() == new
    watch("promoted")
    scene.refused("abort", 2, "under way")
    at = time.monotonic()
    scene.operate("rollback", 2, reason="a client of ours breaks")
    until(lambda: scene.fresh_kid() == old, "the old key signs again", 60, 0.05)
    took_s = time.monotonic() - at
    assert took_s < 30
    scene.wait(lambda status: status["rotation"].get("doneAt") and status["rotation"]["reason"] == "Rollback", "it is rolled back")
    assert scene.standing() == {old: "ACTIVE", new: "PASSIVE"} and scene.published() == ({old, new}, {old, new})
    watch("rolled back")
    scene.refused("rollback", 2, "rolled back already")
    until(lambda: new not in scene.keys(), "the key that was rolled back is deleted", 150)
    scene.wait_steady()
    watch("new key deleted")
    after = scene.keys()
    assert set(after) == set(keys) and after[old][4] == keys[old][4] and scene.standing() == {old: "ACTIVE"}
    assert scene.published() == ({old}, {old})
    assert scene.restarts() == {app: count + 2 for app, count in restarts.items()}, "once for each trust set"
    return took_s


def sign_with_es256(realm):
    realm.add_ecdsa_generated("ours", priority=100, active=True)
    realm.put(defaultSignatureAlgorithm="ES256")


@PLAYS.under_load
def test_es256_on_a_realm_that_signs_es256(kube, tell):
    watch = Stopwatch()
    with loaded(kube, key={"algorithm": "ES256", "adopt": True}, prepare=sign_with_es256) as (scene, load):
        report = load.report()
        assert set(report.kids) == {scene.signer()}, "tokens are signed by the ES256 key"
        watch("begun")
        old, new = forward(scene, load, watch)
        assert scene.keys()[new][3] == "ES256" and scene.standing() == {new: "ACTIVE", old: "DISABLED"}
        report = load.report()
        report.assert_whole()
        tell(f"{report.summary()}; {watch.line()}")
