# SPDX-License-Identifier: Apache-2.0
"""What the API server refuses, defaults and shows by the CRD alone: every rule with its sentence, on a real API server."""
import copy
import json
import re

import pytest
import yaml

from harness import ROOT

CRD = yaml.safe_load((ROOT / "crds" / "keyrotation.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
MERGE = "application/merge-patch+json"
PATH = "/apis/keyturn.dev/v1alpha1/namespaces/{}/keyrotations"

NOTHING_TO_FOLLOW = "spec says nothing to follow: write keycloak (url, realm, credentials) for a realm"
ABSOLUTE = "write an absolute URL that begins with https:// or http:// and names a host"
NO_PASSWORD = "leave user name and password out of the URL"
NO_QUERY = "leave query (?) and fragment (#) out of the URL"
VALID = "write a valid URL: printable ASCII without spaces"
NAME = "write an object name: lower case letters, digits, '-' and '.'"
DURATION = "^([0-9]{1,4}[dhms]){1,4}$"


def good(name="prod"):
    """Valid, with every optional part there to be spoilt."""
    spec = yaml.safe_load((ROOT / "crds/examples/keycloak.yaml").read_text())["spec"]
    return {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": {"name": name}, "spec": spec}


def consumer(name="a", secret=None, **fields):
    return {"name": name, "publish": {"secret": {"name": secret or name}}, **fields}


def restart(*names, kind="Deployment"):
    return {"restart": [{"kind": kind, "name": n} for n in names]}


def indexed(path):
    """As the API server writes it: consumers[0]."""
    return re.sub(r"[.](\d+)", r"[\1]", path)


GONE = object()
# What goes with spec.keycloak.
FOLLOWED_ONLY = {f"spec.{name}": GONE for name in ("keycloak", "key", "schedule", "overlap", "approval")}
FIVE_FIELDS = "write five fields with blanks between: minute hour day month weekday, for example 0 2 * * 6"
BACKWARD = "a range ends before it begins"
ZONE = "write a name of the IANA time zone database"
SHORTER = "retire is shorter than publish"
KEYCLOAK = good()["spec"]["keycloak"]

# What is changed in the good object (path to value), and the sentence. A path that ends in a number is an item of a list.
BAD = [
    ("nothing to follow", {"spec.keycloak": GONE, "spec.issuer": GONE}, NOTHING_TO_FOLLOW),
    ("nothing but a CA", {"spec.keycloak": GONE, "spec.issuer": {"caBundle": {"configMap": {"name": "a"}}}}, NOTHING_TO_FOLLOW),
    ("no spec", {"spec": GONE}, "spec: Required value"),
    ("long name", {"metadata.name": "a" * 64}, "metadata.name: use at most 63 characters"),
    *[(f"{what} {field}", {f"spec.{field}": value}, sentence)
      for field in ("issuer.url", "issuer.jwksURL", "keycloak.url") for what, value, sentence in (
          ("no scheme in", "auth.example.com/realms/prod", ABSOLUTE),
          ("ftp in", "ftp://auth.example.com", ABSOLUTE),
          ("no host in", "https:///realms/prod", ABSOLUTE),
          ("upper case scheme in", "HTTPS://auth.example.com", ABSOLUTE),
          ("password in", "https://user:word@auth.example.com", NO_PASSWORD),
          ("user in", "https://user@auth.example.com/realms", NO_PASSWORD),
          ("query in", "https://auth.example.com/a?b=c", NO_QUERY),
          ("fragment in", "https://auth.example.com/a#b", NO_QUERY),
          ("space in", "https://auth.example.com/a b", VALID),
          ("letter outside ASCII in", "https://auth.exämple.com/a", VALID),
          ("line feed in", "https://auth.example.com/a\nX-Header: b", VALID),
          ("bad port in", "https://auth.example.com:port/a", VALID),
          ("backslash in", "https://auth.example.com\\@evil.example.com/a", VALID),
          ("half an escape in", "https://auth.example.com/a%2", VALID),
          ("too long", "https://auth.example.com/" + "a" * 500, "may not be more than 512"),
          ("empty", "", "should be at least 1 chars long"))],
    ("slash at the end of keycloak.url", {"spec.keycloak.url": "http://keycloak.auth.svc:8080/"}, "leave out the slash at the end"),
    ("keycloak without url", {"spec.keycloak.url": GONE}, "spec.keycloak.url: Required value"),
    ("keycloak without realm", {"spec.keycloak.realm": GONE}, "spec.keycloak.realm: Required value"),
    ("keycloak without credentials", {"spec.keycloak.credentials": GONE}, "spec.keycloak.credentials: Required value"),
    ("credentials without name", {"spec.keycloak.credentials.secret": {}}, "spec.keycloak.credentials.secret.name: Required value"),
    ("slash in realm", {"spec.keycloak.realm": "a/b"}, "write the name of the realm alone, without a slash"),
    ("dots as realm", {"spec.keycloak.realm": ".."}, "write the name of a realm: not . or .."),
    ("control character in realm", {"spec.keycloak.realm": "a\tb"}, "write the name of a realm: not . or .., and no control"),
    ("empty realm", {"spec.keycloak.realm": ""}, "should be at least 1 chars long"),
    ("long realm", {"spec.keycloak.realm": "r" * 256}, "may not be more than 255"),
    ("bad name of credentials", {"spec.keycloak.credentials.secret.name": "A/b"}, NAME),
    ("bad name of caBundle", {"spec.issuer.caBundle.configMap.name": "../a"}, NAME),
    ("bad key of caBundle", {"spec.issuer.caBundle.configMap.key": "a/b"}, "write a key of the ConfigMap's data"),
    ("caBundle without configMap", {"spec.issuer.caBundle": {}}, "spec.issuer.caBundle.configMap: Required value"),
    *[(f"interval {value}", {"spec.refreshInterval": value}, sentence) for value, sentence in (
        ("4s", "write at least 5s"), ("0d0h0m4s", "write at least 5s"), ("1h1s", "write at most 1h"), ("61m", "write at most 1h"),
        ("1d", "write at most 1h"), ("3601s", "write at most 1h"), ("30m30m1s", "write at most 1h"), ("30", DURATION), ("1w", DURATION), ("-5s", DURATION),
        ("1.5m", DURATION), ("5 s", DURATION), ("12345s", DURATION), ("", DURATION), ("1s1s1s1s1s", DURATION))],
    ("warning at zero", {"spec.wrapper.warnBefore": ["0d"]}, "write more than 0s"),
    ("same warning twice", {"spec.wrapper.warnBefore": ["1d", "1d"]}, "Duplicate value"),
    ("same length of time twice", {"spec.wrapper.warnBefore": ["1d", "7d", "24h"]}, "two thresholds are the same length of time"),
    ("same length of time by parts", {"spec.wrapper.warnBefore": ["1d12h", "36h"]}, "two thresholds are the same length of time"),
    ("nine warnings", {"spec.wrapper.warnBefore": [f"{n}d" for n in range(1, 10)]}, "must have at most 8 items"),
    ("warning in weeks", {"spec.wrapper.warnBefore": ["2w"]}, DURATION),
    ("another deletion policy", {"spec.deletionPolicy": "Keep"}, 'supported values: "Retain", "Delete"'),
    ("suspend as a word", {"spec.suspend": "yes"}, 'must be of type boolean: "string"'),
    ("key without keycloak", {**FOLLOWED_ONLY, "spec.key": {}}, "spec.key: write spec.keycloak too"),
    *[(f"{name} without key", {**FOLLOWED_ONLY, "spec.keycloak": KEYCLOAK, f"spec.{name}": value}, "write spec.key too: without it nothing is rotated")
      for name, value in (("schedule", {"every": "90d"}), ("overlap", {}), ("approval", {}))],
    ("another algorithm", {"spec.key.algorithm": "HS256"}, 'supported values: "RS256", "RS384"'),
    ("another size", {"spec.key.size": 1024}, 'supported values: "2048", "3072", "4096"'),
    ("size as text", {"spec.key.size": "2048"}, 'must be of type integer: "string"'),
    *[(f"size of {name}", {"spec.key": {"algorithm": name, "size": 2048}}, "leave size out") for name in ("ES256", "ES384", "ES512", "EdDSA")],
    *[(f"{name} as a word", {f"spec.key.{name}": "yes"}, 'must be of type boolean: "string"') for name in ("standby", "adopt", "takeOver")],
    ("schedule without period", {"spec.schedule": {}}, "write every too, for example 90d"),
    ("window without period", {"spec.schedule.every": GONE}, "write every too, for example 90d"),
    *[(f"period {value}", {"spec.schedule.every": value}, sentence) for value, sentence in (
        ("9m59s", "write at least 10m"), ("0d", "write at least 10m"), ("2w", DURATION))],
    ("window without cron", {"spec.schedule.window.cron": GONE}, "spec.schedule.window.cron: Required value"),
    ("window without duration", {"spec.schedule.window.duration": GONE}, "spec.schedule.window.duration: Required value"),
    *[(f"window at {value}", {"spec.schedule.window.cron": value}, sentence) for value, sentence in (
        ("@daily", FIVE_FIELDS), ("0 2 * *", FIVE_FIELDS), ("0 0 2 * * 6", FIVE_FIELDS), ("60 2 * * 6", FIVE_FIELDS), ("0 24 * * 6", FIVE_FIELDS),
        ("0 2 0 * *", FIVE_FIELDS), ("0 2 * 13 *", FIVE_FIELDS), ("0 2 * * 8", FIVE_FIELDS), ("0 2 * * SATURDAY", FIVE_FIELDS),
        ("5/15 2 * * *", FIVE_FIELDS), ("*/0 2 * * *", FIVE_FIELDS), ("0 2 ? * 6", FIVE_FIELDS), ("0\t2 * * 6", FIVE_FIELDS),
        ("0 2 * * 6\n", FIVE_FIELDS), ("0 2 * * 6#1", FIVE_FIELDS), ("0 5-1 * * *", BACKWARD), ("0 2 * * FRI-MON", BACKWARD),
        ("0 2 * * fri-1", BACKWARD), ("0 2 * DEC-jan *", BACKWARD), ("0 1,2,23-22/2 * * *", BACKWARD), ("0 2 09-08 * *", BACKWARD),
        ("", "should be at least 1 chars long"), ("0,1 " * 65, "may not be more than 256"))],
    *[(f"window for {value}", {"spec.schedule.window.duration": value}, sentence) for value, sentence in (
        ("59s", "write a duration of 1m to 7d"), ("7d1s", "write a duration of 1m to 7d"), ("4", DURATION))],
    *[(f"zone {value}", {"spec.schedule.window.timeZone": value}, sentence) for value, sentence in (
        ("../etc/passwd", ZONE), ("/Europe/Amsterdam", ZONE), ("Europe/", ZONE), ("Europe/New York", ZONE), ("+02:00", ZONE),
        ("", "should be at least 1 chars long"), ("A" * 65, "may not be more than 64"))],
    *[(f"overlap {value}", {"spec.overlap": value}, sentence) for value, sentence in (
        ({"retire": "59m"}, SHORTER), ({"retire": "1h", "publish": "61m"}, SHORTER), ({"retire": "1d", "publish": "24h1s"}, SHORTER),
        ({"retire": "never"}, "^(auto|([0-9]{1,4}[dhms]){1,4})$"), ({"publish": "auto"}, DURATION), ({"delete": "1w"}, DURATION))],
    ("promotion now and then", {"spec.approval.promote": "Sometimes"}, 'supported values: "Automatic", "Manual"'),
    ("retirement now and then", {"spec.approval.retire": "manual"}, 'supported values: "Automatic", "Manual"'),
    ("two persons for nothing", {"spec.approval": {"twoPerson": True}}, "twoPerson needs something that is approved"),
    *[(f"proof {value}", {"spec.consumers.2.proof": value}, sentence) for value, sentence in (
        ({"type": "Rollout"}, "proof: type Rollout needs a workload that is restarted"), ({"type": "Probe"}, 'supported values: "Rollout", "Delay"'),
        ({"delay": "1m"}, "spec.consumers[2].proof.type: Required value"), ({"type": "Delay", "delay": "0s"}, "write more than 0s: no reader loads"),
        ({"type": "Delay", "delay": "soon"}, DURATION))],
    ("rollout of nothing", {"spec.consumers.0": {**consumer("a"), "reload": {"restart": []}, "proof": {"type": "Rollout"}}},
     "proof: type Rollout needs a workload that is restarted"),
    ("delay of a rollout", {"spec.consumers.0.proof": {"type": "Rollout", "delay": "1m"}}, "leave delay out with type: Rollout"),
    ("301 consumers", {"spec.consumers": [consumer(f"c{n}") for n in range(301)]}, "must have at most 300 items"),
    ("two consumers of one name", {"spec.consumers": [consumer("a", "x"), consumer("a", "y")]}, "Duplicate value"),
    ("two consumers, one Secret", {"spec.consumers": [consumer("a", "x"), consumer("b", "y"), consumer("c", "x")]},
     "two consumers publish into the same Secret or ConfigMap"),
    ("two consumers, one ConfigMap",
     {"spec.consumers": [{"name": n, "publish": {"configMap": {"name": "x"}}} for n in "ab"]},
     "two consumers publish into the same Secret or ConfigMap"),
    ("publishing into the credentials", {"spec.consumers": [consumer("a", "keyturn-keycloak")]},
     "publish into another Secret, because this one holds the credentials"),
    ("publishing into the caBundle", {"spec.consumers": [{"name": "a", "publish": {"configMap": {"name": "corp-ca"}}}]},
     "publish into another ConfigMap, because this one holds the certificates"),
    ("publishing into the record", {"spec.consumers": [{"name": "a", "publish": {"configMap": {"name": "shop-keyturn-record"}}}]},
     "publish into a ConfigMap of another name"),
    ("consumer without name", {"spec.consumers": [{"publish": {"secret": {"name": "a"}}}]}, "name: Required value"),
    ("consumer without publish", {"spec.consumers": [{"name": "a"}]}, "publish: Required value"),
    ("bad name of a consumer", {"spec.consumers": [consumer("a.b")]}, "write a DNS label"),
    ("long name of a consumer", {"spec.consumers": [consumer("a" * 64)]}, "may not be more than 63"),
    ("publish nowhere", {"spec.consumers": [{"name": "a", "publish": {}}]}, "write exactly one of secret and configMap"),
    ("publish twice",
     {"spec.consumers": [{"name": "a", "publish": {"secret": {"name": "a"}, "configMap": {"name": "a"}}}]},
     "write exactly one of secret and configMap"),
    ("bad name of a Secret", {"spec.consumers": [consumer("a", "A")]}, NAME),
    ("long name of a Secret", {"spec.consumers": [consumer("a", "a" * 254)]}, "may not be more than 253"),
    ("no format", {"spec.consumers.0.publish.formats": []}, "should have at least 1 items"),
    ("unknown format", {"spec.consumers.0.publish.formats": ["DER"]}, 'supported values: "JWKS", "PEM", "X509"'),
    ("a format twice", {"spec.consumers.0.publish.formats": ["PEM", "PEM"]}, "Duplicate value"),
    ("keepX5c as a word", {"spec.consumers.0.publish.keepX5c": "yes"}, 'must be of type boolean: "string"'),
    ("17 restarts", {"spec.consumers.0.reload": restart(*[f"w{n}" for n in range(17)])}, "must have at most 16 items"),
    ("a restart twice", {"spec.consumers.0.reload": restart("api", "api")}, "Duplicate value"),
    ("restart of a Job", {"spec.consumers.0.reload": restart("api", kind="Job")},
     'supported values: "Deployment", "StatefulSet", "DaemonSet"'),
    ("restart without name", {"spec.consumers.0.reload": {"restart": [{"kind": "Deployment"}]}}, "name: Required value"),
    ("restart of a bad name", {"spec.consumers.0.reload": restart("A b")}, NAME),
    *[(f"unknown field {where}", {f"{where}.suspended": True}, 'strict decoding error: unknown field "' + indexed(where) + '.suspended"')
      for where in ("spec", "spec.issuer", "spec.keycloak", "spec.keycloak.credentials", "spec.wrapper", "spec.consumers.0",
                    "spec.consumers.0.publish", "spec.consumers.0.reload", "spec.consumers.0.reload.restart.0", "spec.consumers.2.proof", "spec.key",
                    "spec.schedule", "spec.schedule.window", "spec.overlap", "spec.approval")],
]


def changed(item, changes):
    item = copy.deepcopy(item)
    for path, value in changes.items():
        *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        at = item
        for parent in parents:
            at = at[parent]
        if value is GONE:
            at.pop(last, None)
        else:
            at[last] = value
    return item


def post(admin, namespace, item, query="dryRun=All&fieldValidation=Strict"):
    return admin("POST", PATH.format(namespace) + "?" + query, item)


@pytest.fixture(scope="module")
def place(crd):
    """Dry runs need no namespace of their own."""
    return "default"


@pytest.mark.parametrize("changes, sentence", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_refused(admin, place, changes, sentence):
    answer = post(admin, place, changed(good(), changes))
    assert answer.status_code in (400, 422), f"{answer.status_code}: {answer.text[:500]}"
    assert sentence in answer.json()["message"], answer.json()["message"][:1500]


def rules(schema):
    for rule in schema.get("x-kubernetes-validations", []):
        yield rule
    for inner in schema.get("properties", {}).values():
        yield from rules(inner)
    if "items" in schema:
        yield from rules(schema["items"])


def test_every_rule_has_a_bad_object():
    """A rule that nothing here breaks could be wrong for ever."""
    sentences = {rule["message"] for rule in rules(SCHEMA)}
    assert len(sentences) >= 20
    tried = [row[2] for row in BAD]
    assert [s for s in sentences if not any(t in s for t in tried)] == []
    assert all("\n" not in s for s in sentences)


@pytest.mark.parametrize("file", sorted((ROOT / "crds" / "examples").glob("*.yaml")), ids=lambda f: f.stem)
def test_examples_are_accepted_as_they_stand(admin, place, file):
    item = yaml.safe_load(file.read_text())
    item["metadata"]["namespace"] = place
    assert post(admin, place, item).status_code == 201


@pytest.mark.parametrize("changes", [
    {"spec.refreshInterval": "5s"}, {"spec.refreshInterval": "1h"}, {"spec.refreshInterval": "59m60s"},
    {"spec.refreshInterval": "0h0m5s"}, {"spec.refreshInterval": "2s3s"}, {"spec.wrapper.warnBefore": []},
    {"spec.wrapper.warnBefore": ["9999d", "1s"]}, {"metadata.name": "a" * 63}, {"spec.consumers": []}, {"spec.issuer": {}},
    {"spec.keycloak.realm": "Ünïcode realm"}, {"spec.keycloak.realm": "a@b"}, {"spec.issuer.url": "https://a/realms/a@b"},
    {"spec.issuer.url": "http://[2001:db8::1]:8080/realms/a%2Fb"}, {"spec.issuer.url": "https://" + "a" * 504},
    FOLLOWED_ONLY, {**FOLLOWED_ONLY, "spec.issuer": {"jwksURL": "https://a/keys"}}, {**FOLLOWED_ONLY, "spec.suspend": True},
    {**FOLLOWED_ONLY, "spec.keycloak": KEYCLOAK}, {**FOLLOWED_ONLY, "spec.keycloak": KEYCLOAK, "spec.key": {}},
    {"spec.key": {"algorithm": "EdDSA"}}, {"spec.key": {"algorithm": "PS512", "size": 4096}}, {"spec.schedule": {"every": "10m"}},
    *[{"spec.schedule.window.cron": cron} for cron in (
        "* * * * *", "  0   2 * *  6 ", "*/15 0-23/2 1,15 JAN-dec mon-FRI", "0 2 * * FRI-SUN", "0 2 * * sun-SUN", "0 2 * * 5-7", "0 2 * * SUN-1",
        "00 02 31 02 *", "1-1 * * * *", ",".join(["0"] * 124) + " * * * *")],
    {"spec.schedule.window.duration": "7d"}, {"spec.schedule.window.duration": "60s"},
    *[{"spec.schedule.window.timeZone": zone} for zone in ("UTC", "Etc/GMT+12", "America/Argentina/Buenos_Aires", "A" * 64)],
    {"spec.overlap": {"publish": "9999d"}}, {"spec.overlap": {"retire": "60m"}}, {"spec.overlap": {"publish": "0s", "retire": "0s", "delete": "0s"}},
    {"spec.approval": {"promote": "Manual", "twoPerson": True}}, {"spec.approval": {"retire": "Manual", "twoPerson": True}},
    {"spec.consumers.0.proof": {"type": "Rollout"}}, {"spec.consumers.0.proof": {"type": "Delay"}}, {"spec.consumers.2.proof": GONE},
    {"spec.consumers": [consumer("a", "x"), {"name": "b", "publish": {"configMap": {"name": "x"}}}]},
    {"spec.consumers.0.reload": {}}, {"spec.consumers.0.publish.secret.name": "a" * 253},
    {"spec.consumers.0.reload": {"restart": restart("api")["restart"] + restart("api", kind="DaemonSet")["restart"]}},
], ids=lambda c: " ".join(f"{k}={'absent' if v is GONE else json.dumps(v)[:40]}" for k, v in c.items()))
def test_accepted(admin, place, changes):
    answer = post(admin, place, changed(good(), changes))
    assert answer.status_code == 201, answer.text[:800]


@pytest.mark.parametrize("kind", ["secret", "configMap"])
def test_the_largest_object_is_within_the_budget(admin, place, kind):
    """300 consumers of the longest names with 16 restarts each: CEL must still afford it."""
    name = lambda n: f"{n:03d}" + "a" * 250
    item = good()
    item["spec"]["consumers"] = [{"name": f"{n:03d}" + "a" * 60, "publish": {kind: {"name": name(n)}},
                                  "reload": restart(*[f"w{m}" for m in range(16)]),
                                  "proof": {"type": "Delay", "delay": "9999d9999h9999m999s"}} for n in range(300)]
    answer = post(admin, place, item)
    assert answer.status_code == 201, answer.text[:800]
    for last in (1, 99, 100, 150, 199, 200, 299):
        twice = copy.deepcopy(item)
        twice["spec"]["consumers"][last]["publish"] = item["spec"]["consumers"][last - 1]["publish"]
        answer = post(admin, place, twice)
        assert answer.status_code == 422 and "two consumers publish into the same" in answer.text, answer.text[:800]


def test_defaults_appear(admin, namespace, crd):
    item = {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": {"name": "prod"},
            "spec": {"issuer": {"url": "https://auth.example.com/realms/prod", "caBundle": {"configMap": {"name": "ca"}}},
                     "consumers": [consumer("a")]}}
    answer = post(admin, namespace, item, "fieldValidation=Strict")
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"] == {
        "issuer": {"url": "https://auth.example.com/realms/prod", "caBundle": {"configMap": {"name": "ca", "key": "ca.crt"}}},
        "refreshInterval": "30s",
        "wrapper": {"warnBefore": ["30d", "14d", "7d", "1d"]},
        "deletionPolicy": "Retain",
        "suspend": False,
        "consumers": [{"name": "a", "publish": {"secret": {"name": "a"}, "formats": ["JWKS", "PEM", "X509"], "keepX5c": False}}],
    }
    least = {**item, "metadata": {"name": "least"}, "spec": {"issuer": {"jwksURL": "https://a/keys"}}}
    assert post(admin, namespace, least, "fieldValidation=Strict").json()["spec"]["consumers"] == []


def test_defaults_of_a_rotation_appear(admin, namespace, crd):
    """Within the objects that are written; those that are not stay absent, because their absence says something."""
    def defaulted(name, **more):
        item = {**good(name), "spec": {"keycloak": KEYCLOAK, "key": {}, **more}}
        answer = post(admin, namespace, item, "fieldValidation=Strict")
        assert answer.status_code == 201, answer.text
        return {name: answer.json()["spec"].get(name) for name in ("key", "schedule", "overlap", "approval")}
    key = {"algorithm": "RS256", "standby": False, "adopt": False, "takeOver": False}
    assert defaulted("least") == {"key": key, "schedule": None, "overlap": None, "approval": None}
    assert defaulted("more", schedule={"every": "90d", "window": {"cron": "0 2 * * 6", "duration": "4h"}}, overlap={}, approval={}) == {
        "key": key,
        "schedule": {"every": "90d", "window": {"cron": "0 2 * * 6", "duration": "4h", "timeZone": "UTC"}},
        "overlap": {"publish": "60m", "retire": "auto", "delete": "7d"},
        "approval": {"promote": "Automatic", "retire": "Automatic", "twoPerson": False}}


def test_unknown_fields_are_pruned_where_nobody_asks_for_strictness(admin, place):
    item = good()
    item["spec"]["suspended"] = True
    answer = post(admin, place, item, "dryRun=All&fieldValidation=Ignore")
    assert answer.status_code == 201 and "suspended" not in answer.json()["spec"]
    warned = post(admin, place, item, "dryRun=All&fieldValidation=Warn")
    assert 'unknown field' in warned.headers["Warning"] and 'spec.suspended' in warned.headers["Warning"]


NOON = "2026-01-02T12:00:00Z"
STATUS = {
    "observedGeneration": 1, "phase": "Steady", "realm": "prod", "activeKid": "kid-1", "certExpires": "2036-01-02T03:04:05Z",
    "issuer": {"url": "https://a", "jwksURL": "https://b"}, "refreshed": "now", "consumersUpToDate": "3/3",
    "keys": [{"kid": "kid-1", "algorithm": "RS256", "state": "ACTIVE", "component": "c", "provider": "rsa-generated",
              "notAfter": "2036-01-02T03:04:05Z", "spkiSHA256": "A" * 43, "announced": ["30d", "Expired"], "rotation": 1,
              "lifecycle": "Active", "publishedAt": NOON, "readyAt": NOON, "activeAt": NOON, "retiredAt": NOON, "removedAt": NOON,
              "retiredBy": 2, "retireApproved": True, "tokensLiveSeconds": 36060, "removableAt": NOON}],
    "consumers": [{"name": "api", "object": "Secret/a", "trustHash": "h", "state": "UpToDate", "pods": "2/2", "message": ""}],
    "nextKid": "kid-2",
    "rotation": {"number": 2, "reason": "Request", "kid": "kid-2", "from": "kid-1", "startedAt": NOON, "requestedAt": NOON, "requestedBy": "alice",
                 "note": "why", "standbyAt": NOON, "approvedAt": NOON, "approvedBy": "bob", "promotedAt": NOON, "confirmedAt": NOON,
                 "doneAt": NOON, "abortedAt": NOON, "aborting": True},
    "change": {"kind": "Promote", "number": 2, "kid": "kid-2", "at": NOON, "priority": -1},
    "operation": {"operation": "rotate", "number": 2, "kid": "kid-2", "by": "alice", "note": "why", "at": NOON, "refused": "no", "cleared": True},
    "nextTransition": {"step": "Promote", "at": NOON, "blockedBy": "approval", "command": "kubectl annotate …"},
    "history": [{"number": 1, "reason": "Schedule", "kid": "kid-1", "requestedBy": "alice", "startedAt": NOON, "endedAt": NOON,
                 "outcome": "Promoted"}],
    "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1, "lastTransitionTime": "2026-01-02T03:04:05Z",
                    "reason": "Steady", "message": "all is well"}],
}


def fields(schema):
    if "properties" in schema:
        return {name: fields(inner) for name, inner in schema["properties"].items()}
    return [fields(schema["items"])] if "items" in schema else None


def shape(value):
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) else None


def test_status_and_printer_columns(admin, kubectl, namespace, crd):
    assert shape(STATUS) == fields(SCHEMA["properties"]["status"]), "a field of the status that this test does not set"
    item = {**good(), "status": {"phase": "Blocked"}}
    made = post(admin, namespace, item, "").json()
    assert "status" not in made, "status is written through its own subresource alone"
    path = PATH.format(namespace) + "/prod"
    got = admin("PATCH", path + "/status?fieldValidation=Strict", {"status": STATUS}, content_type=MERGE)
    assert got.status_code == 200, got.text
    assert got.json()["status"] == STATUS
    assert got.json()["metadata"]["generation"] == 1
    header, row = kubectl("get", "kr", "prod", "--namespace", namespace).stdout.splitlines()
    assert header.split() == ["NAME", "REALM", "PHASE", "ACTIVE-KID", "NEXT", "CONSUMERS", "CERT-EXPIRES", "READY", "AGE"]
    assert row.split()[:-1] == ["prod", "prod", "Steady", "kid-1", "Promote", "3/3", "2036-01-02T03:04:05Z", "True"]
    assert re.fullmatch(r"\d+[smh]", row.split()[-1])
    kubectl("wait", "--for=condition=Ready", "--timeout=5s", "--namespace", namespace, "keyrotation/prod")


@pytest.mark.parametrize("changes, sentence", [
    ({"phase": "Done"}, "supported values: \"Pending\", \"Publishing\", \"Rolling\", \"Steady\", \"Blocked\", \"AwaitingPromotion\""),
    ({"keys": [{"kid": f"k{n}"} for n in range(65)]}, "must have at most 64 items"),
    ({"keys": [{"kid": "k"}, {"kid": "k"}]}, "Duplicate value"),
    ({"keys": [{"kid": "k", "state": "GONE"}]}, "supported values: \"ACTIVE\", \"PASSIVE\", \"LEAVING\", \"HELD\", \"DISABLED\""),
    ({"keys": [{"kid": "k", "lifecycle": "Unknown"}]}, "supported values: \"Generated\", \"Published\""),
    ({"keys": [{"kid": "k", "rotation": -1}]}, "should be greater than or equal to 0"),
    ({"nextKid": "k" * 257}, "may not be more than 256"),
    ({"rotation": {"number": 10 ** 15}}, "should be less than or equal to 999999999999999"),
    ({"rotation": {"number": 1, "reason": "Whim"}}, "supported values: \"Standby\", \"Schedule\", \"Request\", \"Rollback\""),
    ({"rotation": {"note": "n" * 257}}, "may not be more than 256"),
    ({"change": {"kind": "None"}}, "supported values: \"Create\", \"Promote\", \"Demote\", \"Disable\", \"Delete\""),
    ({"operation": {"operation": "explode"}}, "supported values: \"rotate\", \"promote\""),
    ({"nextTransition": {"command": "c" * 1025}}, "may not be more than 1024"),
    ({"history": [{"number": n} for n in range(11)]}, "must have at most 10 items"),
    ({"history": [{"outcome": "Promoted"}]}, "number: Required value"),
    ({"keys": [{"kid": "k", "announced": [f"{n}d" for n in range(10)]}]}, "must have at most 9 items"),
    ({"consumers": [{"name": "a", "state": "Done"}]}, "supported values: \"UpToDate\", \"Applying\", \"Rolling\", \"Failed\""),
    ({"consumers": [{"state": "UpToDate"}]}, "name: Required value"),
    ({"consumers": [{"name": f"c{n}"} for n in range(301)]}, "must have at most 300 items"),
    ({"conditions": [{"type": "Ready", "status": "Yes", "reason": "R", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}]},
     "supported values: \"True\", \"False\", \"Unknown\""),
    ({"conditions": [{"type": "Ready", "status": "True"}]}, "Required value"),
    ({"certExpires": "tomorrow"}, "must be of type date-time"),
], ids=lambda v: json.dumps(v)[:50] if isinstance(v, dict) else "")
def test_status_is_bounded(admin, namespace, crd, changes, sentence):
    post(admin, namespace, good(), "")
    answer = admin("PATCH", PATH.format(namespace) + "/prod/status?dryRun=All", {"status": changes}, content_type=MERGE)
    assert answer.status_code == 422 and sentence in answer.json()["message"], answer.text[:800]


def test_members_go_away(admin, namespace, crd):
    """A merge patch merges objects: null takes a member away, in an object that is new as well."""
    post(admin, namespace, good(), "")
    path = PATH.format(namespace) + "/prod/status"
    patch = lambda status: admin("PATCH", path, {"status": status}, content_type=MERGE).json()["status"]
    assert patch({"rotation": {"number": 1, "kid": None, "aborting": None}, "change": None}) == {"rotation": {"number": 1}}
    assert patch({"rotation": {"number": 2, "kid": "k", "aborting": True}})["rotation"] == {"number": 2, "kid": "k", "aborting": True}
    assert patch({"rotation": {"number": 3, "kid": "l", "aborting": None}})["rotation"] == {"number": 3, "kid": "l"}
    assert "rotation" not in patch({"rotation": None, "phase": "Steady"})


def test_every_field_explains_itself(kubectl, crd):
    """`kubectl explain` is the reference that users have at hand."""
    said = kubectl("explain", "keyrotation.spec", "--recursive").stdout
    for name in ("issuer", "jwksURL", "caBundle", "keycloak", "credentials", "refreshInterval", "warnBefore", "deletionPolicy",
                 "formats", "keepX5c", "restart", "suspend", "takeOver", "timeZone", "retire", "twoPerson", "proof"):
        assert name in said
    assert "byte for byte" in kubectl("explain", "keyrotation.spec.issuer.url").stdout


def test_lists_merge_by_their_keys(kubectl, namespace, crd):
    """Two managers of one object, each with a consumer of its own: server-side apply keeps both."""
    for manager in ("one", "two"):
        item = {**good(), "spec": {"issuer": {"url": "https://a"}, "consumers": [consumer(manager)]}}
        kubectl("apply", "--server-side", "--field-manager", manager, "--namespace", namespace, "-f", "-", input=json.dumps(item))
    names = kubectl("get", "kr", "prod", "--namespace", namespace, "-o", "jsonpath={.spec.consumers[*].name}").stdout
    assert names.split() == ["one", "two"]
