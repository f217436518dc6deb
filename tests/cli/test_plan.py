# SPDX-License-Identifier: Apache-2.0
"""keyturn plan, as a person runs it."""
import http.server
import json
import os
import pathlib
import re
import subprocess
import threading

import pytest
import yaml

from rotation_file import SPEC

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("KEYTURN_BINARY", ROOT / "build" / "debug" / "keyturn")
FROM = "2027-01-01T00:00:00Z"

NO_SCHEDULE = SPEC.replace("  schedule: {every: 90d}\n", "")


def run(*flags, stdin=None):
    return subprocess.run([PROGRAM, "plan", *flags], capture_output=True, text=True, timeout=60, check=False, input=stdin)


@pytest.fixture(name="plan")
def planner(tmp_path):
    """The document of a plan with this spec."""
    def document(spec, *flags, status=0):
        path = tmp_path / "rotation.yaml"
        path.write_text(spec, encoding="utf-8")
        done = run("-f", str(path), "--from", FROM, "-o", "json", *flags)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)
    return document


@pytest.fixture(name="refused")
def refuser(tmp_path):
    """The sentence with which a file is refused."""
    def sentence(spec, *flags):
        path = tmp_path / "rotation.yaml"
        path.write_text(spec, encoding="utf-8")
        done = run("-f", str(path), *flags)
        assert done.returncode == 2 and done.stdout == "", done.stdout
        assert done.stderr.startswith("keyturn plan: ") and done.stderr.count("\n") == 1
        return done.stderr
    return sentence


def changes(document):
    return [(step["change"]["kind"], step["change"]["key"]) for step in document["steps"] if step["change"]]


def when(document, kind, key):
    """Hours until a change."""
    return next(step["afterSeconds"] / 3600 for step in document["steps"]
                if step["change"] == {"kind": kind, "key": key})


def assumed(document, words):
    return any(words in text for text in document["assumptions"])


def windowed(cron, duration="4h", zone="Europe/Amsterdam", every="90d"):
    return SPEC.replace("every: 90d", f'every: {every}, window: {{cron: "{cron}", duration: {duration}, timeZone: {zone}}}')


# --- what is planned --------------------------------------------------------------------------


def test_the_schedule_begins_it(plan):
    document = plan(SPEC)
    assert list(document) == ["namespace", "name", "from", "assumptions", "steps", "complete", "nextRotationAt"]
    assert all(list(step) == ["at", "afterSeconds", "phase", "step", "message", "change", "waitsFor", "next", "nextAt",
                              "command"] for step in document["steps"])
    assert (document["namespace"], document["name"], document["from"]) == ("auth", "prod", FROM)
    assert changes(document) == [("Create", "key-1"), ("Promote", "key-1"), ("Demote", "old"), ("Disable", "old")]
    day = 24
    assert when(document, "Create", "key-1") == 90 * day
    assert when(document, "Promote", "key-1") == 90 * day + 1
    assert when(document, "Disable", "old") == pytest.approx(90 * day + 11, abs=0.1)
    first = document["steps"][0]
    assert (first["at"], first["next"], first["nextAt"], first["waitsFor"]) == (FROM, "Rotate", "2027-04-01T00:00:00Z", "time")
    assert document["complete"] and document["nextRotationAt"] == "2027-06-30T01:00:00Z"
    assert assumed(document, "one RS256 key, called old") and assumed(document, "--dry-run=server")
    times = [step["afterSeconds"] for step in document["steps"]]
    assert times == sorted(times)
    waits = {step["waitsFor"] for step in document["steps"]}
    assert waits == {None, "time", "proof from the consumers"}


def test_without_a_schedule_somebody_asks(plan):
    document = plan(NO_SCHEDULE)
    asked = next(step for step in document["steps"] if step["command"])
    assert asked["afterSeconds"] == 0 and asked["step"] is None and asked["message"] == "one person says: rotate 1"
    assert asked["command"].startswith("kubectl annotate keyrotation prod -n auth --overwrite "
                                       "keyturn.dev/operation=rotate keyturn.dev/operation-for=1 ")
    assert when(document, "Promote", "key-1") == 1
    assert document["nextRotationAt"] is None


def test_what_people_approve(plan):
    document = plan(SPEC + "  approval: {promote: Manual, retire: Manual, twoPerson: true}\n")
    waits = [step for step in document["steps"] if step["waitsFor"] == "a person"]
    assert [step["phase"] for step in waits] == ["AwaitingPromotion", "AwaitingRetirement"]
    assert [re.search(r"operation=(\w+) \S+operation-for=(\S+)", step["command"]).groups() for step in waits] == \
        [("promote", "1"), ("retire", "1/old")]
    assert document["complete"]


def test_a_found_key_waits_for_its_name(plan):
    document = plan(SPEC.replace("key: {adopt: true}", "key: {}"))
    step = next(step for step in document["steps"] if step["phase"] == "AwaitingRetirement")
    assert "the realm had it before Keyturn" in step["message"] and "operation-for=1/old" in step["command"]


def test_who_says_it_says_what_is_waited_for(plan):
    """Also where another rotation has begun meanwhile: a standby's."""
    steps = plan(SPEC.replace("key: {adopt: true}", "key: {standby: true}") + "  approval: {promote: Manual}\n")["steps"]
    waits = [i for i, step in enumerate(steps) if step["waitsFor"] == "a person"]
    assert [steps[i]["phase"] for i in waits] == ["AwaitingPromotion", "AwaitingRetirement"]
    assert all(steps[i]["command"] == steps[i + 1]["command"] and steps[i + 1]["step"] is None for i in waits)


def test_a_standby_and_another_algorithm(plan):
    document = plan(SPEC.replace("key: {adopt: true}", "key: {adopt: true, standby: true, algorithm: ES256}"))
    assert assumed(document, "one ES256 key")
    assert when(document, "Create", "key-1") == 0
    assert when(document, "Promote", "key-1") == 90 * 24  # it was ready
    assert ("Create", "key-2") in changes(document)


def test_a_suspension_is_said_and_ended(plan):
    document = plan(SPEC.replace("spec:\n", "spec:\n  suspend: true\n"))
    assert document["steps"][0]["phase"] == "Blocked" and document["steps"][0]["step"] == "Suspended"
    assert '"suspend":false' in document["steps"][0]["command"]
    assert document["complete"]


def test_consumers_take_their_time(plan):
    slow = SPEC.replace("publish: 1h", "publish: 0s")
    assert when(plan(slow), "Promote", "key-1") == pytest.approx(90 * 24 + 2 / 60)
    assert when(plan(slow, "--load", "30m"), "Promote", "key-1") == pytest.approx(90 * 24 + 0.5)
    delay = re.sub(r"reload: {.*?}]}", "proof: {type: Delay, delay: 45m}", slow)
    assert when(plan(delay), "Promote", "key-1") == pytest.approx(90 * 24 + 0.75)
    nobody = re.sub(r"  consumers: .*\n", "", slow)
    document = plan(nobody)
    assert when(document, "Promote", "key-1") == 90 * 24 and assumed(document, "no consumers")


def test_without_a_key_nothing_is_rotated(plan, tmp_path):
    spec = re.sub(r"  (key|schedule|overlap): .*\n", "", SPEC)
    document = plan(spec)
    assert document["steps"] == [] and assumed(document, "nothing is rotated")
    path = tmp_path / "follow.yaml"
    path.write_text(spec, encoding="utf-8")
    done = run("-f", str(path))
    assert done.returncode == 0 and "nothing is rotated" in done.stdout


# --- windows ----------------------------------------------------------------------------------


def test_a_window_in_its_zone(plan):
    document = plan(windowed("0 2 * * SAT"))
    step = next(step for step in document["steps"] if step["step"] == "AwaitingWindow")
    assert step["waitsFor"] == "the maintenance window" and step["next"] == "Promote"
    assert step["nextAt"] == "2027-04-03T00:00:00Z"  # Saturday 02:00 in summer time
    promote = next(step for step in document["steps"] if step["change"] and step["change"]["kind"] == "Promote")
    assert promote["at"] == "2027-04-03T00:00:00Z"


@pytest.mark.parametrize("begin, opens", [
    ("2027-03-27T23:00:00Z", "2027-03-28T01:00:00Z"),  # 02:30 is jumped over: at 03:00 of the wall clock
    ("2027-10-30T22:00:00Z", "2027-10-31T00:30:00Z"),  # 02:30 comes twice: the first counts
])
def test_days_on_which_the_clock_is_set(plan, begin, opens):
    spec = windowed("30 2 * * *", "30m", every="10m").replace("publish: 1h, retire: 10h", "publish: 10m, retire: 1h, delete: 1h")
    document = plan(spec, "--from", begin)
    step = next(step for step in document["steps"] if step["step"] == "AwaitingWindow")
    assert step["nextAt"] == opens


def test_dates_are_shown_as_the_zone_has_them(tmp_path):
    path = tmp_path / "rotation.yaml"
    path.write_text(windowed("0 2 * * SAT"), encoding="utf-8")
    text = run("-f", str(path), "--from", FROM).stdout
    assert "planned from 2027-01-01T01:00:00+01:00" in text
    assert re.search(r"2027-04-03T02:00:00\+02:00 +to Keycloak +Promote key-1", text)


def test_a_window_that_never_opens(plan):
    document = plan(windowed("0 2 30 2 *"), status=1)
    last = document["steps"][-1]
    assert last["phase"] == "Blocked" and "no year has such a day" in last["message"]
    assert not document["complete"] and document["nextRotationAt"] is None
    assert changes(document) == [("Create", "key-1")]


def test_a_zone_that_is_not_there(plan, tmp_path):
    document = plan(windowed("0 2 * * *", zone="Europe/Atlantis"), status=1)
    assert "no time zone Europe/Atlantis" in document["steps"][-1]["message"]
    path = tmp_path / "rotation.yaml"
    done = run("-f", str(path))
    assert done.returncode == 1 and "It is stuck: spec.schedule.window: there is no time zone" in done.stdout


# --- from where it stands -----------------------------------------------------------------------


def export_of(*components, **realm):
    return json.dumps({"realm": "prod", **realm, **({"components": {
        "org.keycloak.keys.KeyProvider": [
            {"id": name, "name": name, "providerId": provider, "config": {k: [v] for k, v in config.items()}}
            for name, provider, config in components]}} if components else {})})


@pytest.fixture(name="exported")
def exporter(plan, tmp_path):
    def document(spec, export, status=0):
        path = tmp_path / "realm.json"
        path.write_text(export, encoding="utf-8")
        return plan(spec, "--realm-export", str(path), status=status)
    return document


def test_the_keys_of_an_export(exported):
    export = export_of(("a-low", "rsa-generated", {"priority": "100"}), ("b-high", "rsa", {"priority": "200"}),
                       ("passive", "rsa", {"priority": "300", "active": "false"}), ("hmac", "hmac-generated", {}),
                       ("enc", "rsa-enc-generated", {}), ("ec", "ecdsa-generated", {}))
    document = exported(SPEC, export)
    assert assumed(document, "RS256 keys are those of the export: 3, signing with b-high")
    assert [key for kind, key in changes(document) if kind == "Demote"] == ["a-low", "b-high"]
    assert not any("old" == key for _, key in changes(document))
    assert exported(SPEC.replace("adopt: true", "adopt: true, algorithm: ES256"), export)["complete"]


def test_an_export_of_a_real_keycloak(exported):
    export = (ROOT / "tests" / "fuzz" / "corpus" / "realm_export" / "partial.json").read_text(encoding="utf-8")
    document = exported(SPEC.replace("retire: 10h", "retire: auto"), export)
    assert assumed(document, "RS256 keys are those of the export: 3, signing with rsa-generated")
    assert assumed(document, "client mint: access.token.lifespan 1d")
    assert ("Demote", "rsa-generated") in changes(document)


def test_a_realm_without_such_a_key_needs_a_person(exported):
    document = exported(SPEC.replace("adopt: true", "algorithm: ES256"), export_of(("rs", "rsa-generated", {})))
    assert assumed(document, "ES256 keys are those of the export: 0, none that signs")
    said = [step["message"] for step in document["steps"] if step["command"]]
    assert said[0].startswith("no key of spec.key.algorithm signs in this realm") and said[1:] == ["one person says: rotate 1"]
    assert changes(document) == [("Create", "key-1"), ("Promote", "key-1")]
    assert document["nextRotationAt"] == "2027-04-01T01:00:00Z"


def test_an_export_without_keys_says_so(exported):
    document = exported(SPEC, export_of(accessTokenLifespan=60, ssoSessionMaxLifespan=3600))
    assert assumed(document, "the export has no keys in it")


def test_lifespans_of_an_export(plan, exported):
    auto = SPEC.replace("retire: 10h", "retire: auto")
    hours = 90 * 24 + 1 + 60 / 3600 + 2 / 60  # overlap.publish, clocks, proof of the retirement
    document = plan(auto)
    assert when(document, "Disable", "old") == pytest.approx(hours + 10)
    assert assumed(document, "ssoSessionMaxLifespan of a new realm")
    document = exported(auto, export_of(accessTokenLifespan=60, ssoSessionMaxLifespan=7200))
    assert when(document, "Disable", "old") == pytest.approx(hours + 2)
    document = exported(auto, export_of(accessTokenLifespan=60, ssoSessionMaxLifespan=7200, clients=[
        {"clientId": "batch", "attributes": {"access.token.lifespan": "86400"}}]))
    assert when(document, "Disable", "old") == pytest.approx(hours + 24)
    assert assumed(document, "client batch: access.token.lifespan")
    assert not assumed(exported(SPEC, export_of(ssoSessionMaxLifespan=7200)), "ssoSessionMaxLifespan")


def test_a_key_that_a_keyrotation_made(exported):
    export = export_of(("keyturn-0a1b2c3d-4", "rsa-generated", {}))
    document = exported(SPEC, export)
    assert assumed(document, "component keyturn-0a1b2c3d-4 was made by this KeyRotation")
    assert changes(document)[0] == ("Create", "key-5")
    other = SPEC.replace("name: prod,", "name: prod, uid: ffffffff-0000-4000-8000-000000000000,")
    document = exported(other, export, status=1)
    assert document["steps"][0]["step"] == "RealmClaimed" and changes(document) == []
    mine = SPEC.replace("name: prod,", "name: prod, uid: 0a1b2c3d-0000-4000-8000-000000000000,")
    assert changes(exported(mine, export))[0] == ("Create", "key-5")


def test_exports_that_are_wrong(refused, tmp_path):
    path = tmp_path / "realm.json"
    assert "realm.json" in refused(SPEC, "--realm-export", str(path))
    path.write_text(export_of().replace("prod", "other"), encoding="utf-8")
    assert "the export is of realm other" in refused(SPEC, "--realm-export", str(path))
    path.write_text("realm: prod", encoding="utf-8")
    assert "realm.json" in refused(SPEC, "--realm-export", str(path))


STATUS = """status:
  phase: Overlap
  activeKid: kid-new
  keys:
  - {kid: kid-old, algorithm: RS256, state: PASSIVE, spkiSHA256: a, lifecycle: Retired, publishedAt: "2026-10-01T00:00:00Z",
     activeAt: "2026-10-01T00:00:00Z", retiredAt: "2026-12-31T20:00:00Z", retiredBy: 3}
  - {kid: kid-new, algorithm: RS256, state: ACTIVE, spkiSHA256: b, lifecycle: Active, rotation: 3,
     publishedAt: "2026-12-31T18:00:00Z", readyAt: "2026-12-31T19:00:00Z", activeAt: "2026-12-31T19:59:00Z"}
  rotation: {number: 3, reason: Schedule, kid: kid-new, from: kid-old, startedAt: "2026-12-31T18:00:00Z",
             requestedAt: "2026-12-31T18:00:00Z", promotedAt: "2026-12-31T19:59:00Z",
             confirmedAt: "2026-12-31T20:00:00Z", doneAt: "2026-12-31T20:00:00Z"}
"""


def test_a_status_is_where_it_goes_on(plan):
    document = plan(SPEC + STATUS)
    assert assumed(document, "as status says")
    first = document["steps"][0]
    assert (first["phase"], first["next"], first["nextAt"]) == ("Overlap", "Retire", "2027-01-01T06:00:00Z")
    assert changes(document)[0] == ("Disable", "kid-old")
    assert changes(document)[1] == ("Create", "key-4")


@pytest.fixture(name="cluster")
def fake_api_server(tmp_path):
    """An API server with one object; (kubeconfig, paths that were asked for)."""
    asked = []
    live = {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "spec": {},
            "metadata": {"name": "prod", "namespace": "auth", "resourceVersion": "7", "uid": "u"},
            "status": yaml.safe_load(STATUS)["status"]}

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802, the name is http.server's
            asked.append((self.path, self.headers["Authorization"]))
            found = self.path == "/apis/keyturn.dev/v1alpha1/namespaces/auth/keyrotations/prod"
            body = json.dumps(live if found else {"kind": "Status", "code": 404, "reason": "NotFound",
                                                  "message": 'keyrotations "prod" not found'}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path / "kubeconfig"
    path.write_text(f"""
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u, namespace: auth}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{server.server_port}"}}}}]
users: [{{name: u, user: {{token: t0ken}}}}]
""", encoding="utf-8")
    yield str(path), asked
    server.shutdown()


def test_the_cluster_says_where_it_stands(plan, cluster, monkeypatch, tmp_path):
    kubeconfig, asked = cluster
    document = plan(SPEC, "--live", "--kubeconfig", kubeconfig)
    assert asked == [("/apis/keyturn.dev/v1alpha1/namespaces/auth/keyrotations/prod", "Bearer t0ken")]
    assert changes(document)[0] == ("Disable", "kid-old")
    slower = SPEC.replace("retire: 10h", "retire: 20h")  # the spec is the file's
    assert when(plan(slower, "--live", "--kubeconfig", kubeconfig), "Disable", "kid-old") == pytest.approx(16, abs=0.1)
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    assert plan(SPEC, "--live") == document
    assert plan(SPEC.replace(", namespace: auth", ""), "--live")["namespace"] == "auth"  # the context's
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(pathlib.Path(kubeconfig).read_text(encoding="utf-8"), encoding="utf-8")
    assert plan(SPEC, "--live") == document


def test_a_cluster_that_does_not_know_it(refused, cluster, tmp_path):
    kubeconfig, _ = cluster
    said = refused(SPEC.replace("name: prod,", "name: other,"), "--live", "--kubeconfig", kubeconfig)
    assert "--live" in said and "not found" in said
    assert "nowhere" in refused(SPEC, "--live", "--kubeconfig", str(tmp_path / "nowhere"))
    assert "--live only" in refused(SPEC, "--kubeconfig", kubeconfig)


ASKED = SPEC.replace("namespace: auth}", 'namespace: auth, annotations: {keyturn.dev/operation: rotate, '
                     'keyturn.dev/operation-for: "1"}}')


def test_an_operation_that_was_taken_is_none_again(plan):
    document = plan(ASKED + """status:
  activeKid: kid-old
  keys: [{kid: kid-old, algorithm: RS256, state: ACTIVE, lifecycle: Active, activeAt: "2026-10-01T00:00:00Z"}]
  rotation: {number: 1, reason: Request, startedAt: "2026-12-31T00:00:00Z", requestedAt: "2026-12-31T00:00:00Z"}
  operation: {operation: rotate, number: 1, at: "2026-12-31T00:00:00Z"}
""")
    assert not any("refused" in step["message"] for step in document["steps"])
    assert changes(document)[:2] == [("Create", "key-1"), ("Promote", "key-1")]


def test_an_operation_in_the_file_is_taken(plan):
    document = plan(ASKED)
    assert when(document, "Promote", "key-1") == 1  # without waiting for the schedule
    assert document["nextRotationAt"] == "2027-04-01T01:00:00Z"
    document = plan(ASKED.replace('"1"', '"7"'))
    assert any(step["message"] == "is refused: it names another rotation than the next one; the next is one more than "
               "status.rotation.number, or that number where its key is a standby" for step in document["steps"])
    assert when(document, "Promote", "key-1") == 90 * 24 + 1


# --- files and flags ----------------------------------------------------------------------------


def test_standard_input_is_a_file():
    done = run("-f", "-", "--from", FROM, stdin=SPEC)
    assert done.returncode == 0 and "KeyRotation auth/prod, realm prod, planned from 2027-01-01T00:00:00Z" in done.stdout
    assert "The schedule begins the next rotation at 2027-06-30T01:00:00Z." in done.stdout
    done = run("-f", "-", stdin="a: [\n")
    assert done.returncode == 2 and "standard input: line 2" in done.stderr
    done = run("-f", "-", stdin="a" * (1 << 20) + "b")
    assert done.returncode == 2 and "standard input: larger than 1048576 bytes" in done.stderr


def test_json_is_yaml_too(plan):
    document = json.dumps({"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": {"name": "a"},
                           "spec": {"keycloak": {"url": "https://k", "realm": "r", "credentials": {"secret": {"name": "s"}}},
                                    "key": {}}})
    assert plan(document)["namespace"] == "default"


def test_it_begins_now_where_nothing_is_said(tmp_path):
    path = tmp_path / "rotation.yaml"
    path.write_text(SPEC, encoding="utf-8")
    before = subprocess.run(["date", "-u", "+%Y-%m-%dT%H:%M:%SZ"], capture_output=True, text=True, check=True).stdout.strip()
    begun = json.loads(run("-f", str(path), "-o", "json").stdout)["from"]
    after = subprocess.run(["date", "-u", "+%Y-%m-%dT%H:%M:%SZ"], capture_output=True, text=True, check=True).stdout.strip()
    assert before <= begun <= after


def test_text_is_the_default_and_tells_all(tmp_path):
    path = tmp_path / "rotation.yaml"
    path.write_text(SPEC.replace("key: {adopt: true}", "key: {}"), encoding="utf-8")
    text = run("-f", str(path), "--from", FROM).stdout
    assert text == run("-f", str(path), "--from", FROM, "-o", "text").stdout
    assert "Assumed:\n- " in text
    assert "operation=retire keyturn.dev/operation-for=1/old" in text
    assert "key key-1 signs; 4 writes to Keycloak" in text


@pytest.mark.parametrize("text, words", [
    ("", "nothing in it"),
    ("a: b\n---\nc: d\n", "line 2: a second document"),
    ("a: &x b\nc: *x\n", "line 1: anchors and aliases"),
    ("[" * 40, "nested deeper than 32"),
    ("a: " + "b" * (1 << 20), "1048576"),
    ("kind: Deployment\n", "write one KeyRotation"),
    (SPEC.replace("v1alpha1", "v2"), "keyturn.dev/v1alpha1"),
    (SPEC.replace("metadata: {name: prod, namespace: auth}\n", ""), "metadata.name"),
    (SPEC.replace("publish: 1h", "publish: soon"), "spec.overlap"),
    (SPEC.replace("retire: 10h", "retire: 10m"), "retire is shorter than publish"),
    (SPEC.replace("adopt: true", "algorithm: HS256"), "spec.key.algorithm"),
    (windowed("0 2 * *"), "spec.schedule.window"),
    (windowed("0 2 * * *", zone="../etc/passwd"), "spec.schedule.window.timeZone"),
])
def test_files_that_are_wrong(refused, text, words):
    assert words in refused(text)


def test_a_file_that_is_not_there(tmp_path):
    done = run("-f", str(tmp_path / "none.yaml"))
    assert done.returncode == 2 and "none.yaml" in done.stderr


@pytest.mark.parametrize("flags, words", [
    ([], "write -f"),
    (["-f", "a", "again"], "write -f"),
    (["--graph", "-f", "a"], "--graph alone"),
    (["--graph", "-o", "json"], "--graph alone"),
    (["-f", "a", "-o", "yaml"], "write text or json"),
    (["-f", "a", "--from", "tomorrow"], "--from tomorrow"),
    (["-f", "a", "--load", "soon"], "--load soon"),
    (["--loud"], "keyturn plan --help"),
])
def test_flags_that_are_wrong(flags, words):
    done = run(*flags)
    assert done.returncode == 2 and words in done.stderr and done.stdout == ""


def test_the_graph_has_every_check_in_its_order():
    done = run("--graph")
    assert done.returncode == 0
    chain = re.findall(r"^  (\w+) -> (\w+)(?: \[label=\"does not apply, or only waits\"\])?;$", done.stdout, re.M)
    assert [start for start, _ in chain[1:]] == [end for _, end in chain[:-1]]
    assert chain[0] == ("view", "Suspended") and chain[-1] == ("Steady", "end")
    source = (ROOT / "pkg" / "rotation" / "engine.c").read_text(encoding="utf-8")
    assert [end for _, end in chain[:-1]] == re.findall(r'^    {"(\w+)", check_\w+', source, re.M)
    assert '  Suspended [label="Suspended\\nspec.suspend is true"];' in done.stdout
    assert all(f"  {name} -> end [label" in done.stdout for _, name in chain[:-1])


def test_help_teaches():
    done = run("--help")
    assert done.returncode == 0
    for words in ("keyturn plan -f rotation.yaml", "--realm-export", "--live", "--kubeconfig", "--from", "--load", "--graph", "-o json", "Exit status"):
        assert words in done.stdout
