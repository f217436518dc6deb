# SPDX-License-Identifier: Apache-2.0
"""Wrapper certificates by the clock: each threshold announced once for each key, also after a restart; expiry as it happens."""
import datetime
import time

from cryptography.hazmat.primitives.asymmetric import rsa

import realm as keycloak_client
from operator_process import Operator
from scene import config_map, until

DAY_S = 86400
MARGIN_S = 900  # how far a key is from its threshold: more than any test lasts


def passive(scene, name, valid_s):
    """A PASSIVE key whose certificate ends then; answers its kid."""
    return scene.realm.kid(scene.realm.add_rsa(name, priority=50, active=False, valid_s=valid_s))


def warnings(scene, name="prod"):
    """(kid, threshold) of every warning, as often as it was said."""
    events = scene.events("CertificateExpiring", name) + scene.events("CertificateExpired", name)
    said = []
    for event in events:
        kid = event.message.split(" key ")[1].split(" ")[0]
        threshold = event.message.split("(warned ")[1].split(" ")[0] if "(warned " in event.message else "Expired"
        said += [(kid, threshold)] * (event.count or 1)
    return sorted(said)


def test_thresholds(scene):
    """Keys just inside and just outside of each threshold, for the default list and for another one, by two KeyRotations."""
    rows = [  # how long before its end, what is said by 30d 14d 7d 1d, what by 20d 36h 90m
        (30 * DAY_S + MARGIN_S, None, None), (30 * DAY_S - MARGIN_S, "30d", None),
        (20 * DAY_S + MARGIN_S, "30d", None), (20 * DAY_S - MARGIN_S, "30d", "20d"),
        (14 * DAY_S + MARGIN_S, "30d", "20d"), (14 * DAY_S - MARGIN_S, "14d", "20d"),
        (7 * DAY_S + MARGIN_S, "14d", "20d"), (7 * DAY_S - MARGIN_S, "7d", "20d"),
        (36 * 3600 + MARGIN_S, "7d", "20d"), (36 * 3600 - MARGIN_S, "7d", "36h"),
        (DAY_S + MARGIN_S, "7d", "36h"), (DAY_S - MARGIN_S, "1d", "36h"),
        (90 * 60 + MARGIN_S, "1d", "36h"), (90 * 60 - MARGIN_S, "1d", "90m"),
    ]
    kids = [passive(scene, f"key-{i}", row[0]) for i, row in enumerate(rows)]
    expected = {"prod": sorted((kid, row[1]) for kid, row in zip(kids, rows) if row[1]),
                "other": sorted((kid, row[2]) for kid, row in zip(kids, rows) if row[2]), "silent": []}
    scene.rotation("prod", [config_map("web")])
    scene.rotation("other", [config_map("web2")], wrapper={"warnBefore": ["90m", "20d", "36h"]})  # in no order
    scene.rotation("silent", [config_map("web3")], wrapper={"warnBefore": []})
    with Operator(scene.namespace) as operator:
        for name, wanted in expected.items():
            scene.wait_ready(name)
            until(lambda: len(warnings(scene, name)) >= len(wanted), f"the warnings of {name}")
            assert warnings(scene, name) == wanted
        assert scene.condition("CertificatesValid")["reason"] == "CertificateExpiring"
        assert scene.condition("CertificatesValid", "silent")["status"] == "True"
        announced = lambda kid: next(set(k.get("announced", [])) for k in scene.status("other")["keys"] if k["kid"] == kid)
        until(lambda: announced(kids[-1]) == {"20d", "36h", "90m"}, "status remembers what was said")
        assert announced(kids[0]) == set()
        operator.restart()
        polls = lambda: operator.metric("keyturn_http_requests_total", lane="keycloak", code="200")
        until(lambda: polls() >= 6, "the new process has looked")
        scene.annotate("prod", refresh="now")
        until(lambda: scene.status().get("refreshed") == "now", "and said what it saw")
        assert {name: warnings(scene, name) for name in expected} == expected, "nothing is said twice"


def test_a_certificate_expires(scene, kubectl):
    """Of the key that signs. Keycloak takes another one then; consumers keep it, people are told before and at the end."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    scene.rotation(consumers=[config_map("web")], wrapper={"warnBefore": ["10s"]})
    with Operator(scene.namespace) as operator:
        scene.wait_ready()
        before = time.time()
        component = scene.realm.add_rsa("short", priority=300, private_key=key, valid_s=30)
        kid = scene.realm.kid(component)
        seen = lambda: next((k for k in scene.status()["keys"] if k["kid"] == kid), {})
        scene.annotate("prod", refresh="at once")
        end = until(lambda: seen().get("notAfter"), "the key is followed")
        assert scene.status()["activeKid"] == kid and seen()["state"] == "ACTIVE"
        assert scene.status()["certExpires"] == end
        header, row = kubectl("get", "keyrotation", "prod", "--namespace", scene.namespace).stdout.splitlines()
        assert row[header.index("CERT-EXPIRES"):].split()[0] == end
        end_s = datetime.datetime.fromisoformat(end).timestamp()
        assert before + 20 < end_s < before + 60
        assert operator.metric("keyturn_certificate_not_after_seconds", kid=kid) == end_s
        until(lambda: (kid, "10s") in warnings(scene), "the warning")
        assert time.time() >= end_s - 11, "not before its time"
        until(lambda: (kid, "Expired") in warnings(scene), "the end")
        assert time.time() >= end_s - 1
        expired = scene.wait_condition("CertificatesValid", "False", "CertificateExpired")
        assert kid in expired["message"] and end in expired["message"]
        until(lambda: seen()["state"] == "PASSIVE" and scene.status()["activeKid"] != kid, "another key signs")
        until(lambda: {"10s", "Expired"} <= set(seen()["announced"]), "status remembers what was said")
        assert kid in scene.jwks_kids("ConfigMap", "web-keys"), "tokens that it signed live on"
        operator.restart()
        scene.annotate("prod", refresh="now")
        until(lambda: scene.status().get("refreshed") == "now", "a new process has looked")
        assert warnings(scene) == sorted([(kid, "10s"), (kid, "Expired")])
        scene.realm.update(component, cert=keycloak_client.certificate(key, valid_s=90 * DAY_S))
        until(lambda: seen()["notAfter"] != end and not seen().get("announced"), "a new certificate has a new beginning")
        scene.wait_condition("CertificatesValid", "True")
        assert scene.wait_ready()["activeKid"] == kid
