# SPDX-License-Identifier: Apache-2.0
"""keyturn simulate, as a person runs it."""
import os
import pathlib
import subprocess
import time

import pytest

from rotation_file import SPEC

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("KEYTURN_BINARY", ROOT / "build" / "debug" / "keyturn")


def simulate(*flags):
    return subprocess.run([PROGRAM, "simulate", *flags], capture_output=True, text=True, timeout=60, check=False)


def steps(*flags):
    """(time, what, text) of each line."""
    done = simulate(*flags)
    assert done.returncode == 0, done.stderr
    return [(line[:10].strip(), line[39:57].strip(), line[59:].strip()) for line in done.stdout.splitlines()]


def writes(lines):
    return [text for _, what, text in lines if what == "to Keycloak"]


def test_a_rotation_in_its_order():
    lines = steps("--adopt")
    assert writes(lines) == ["Create key-1", "Promote key-1", "Demote old", "Disable old"]
    assert next(after for after, _, text in lines if text == "Promote key-1") == "1h"
    assert next(after for after, _, text in lines if text == "Disable old") == "11h 2m"
    assert lines[-1][2].startswith("key key-1 signs")
    assert [text for _, what, text in lines if what == "a person"] == ["ann says: rotate 1"]


def test_a_found_key_waits_for_its_name():
    lines = steps()
    assert any("the realm had it before Keyturn" in text for _, _, text in lines)
    assert ("a person", "bob says: retire 1/old") in [(what, text) for _, what, text in lines]


def test_manual_waits_for_people():
    said = [text for _, what, text in steps("--manual", "--adopt") if what == "a person"]
    assert said == ["ann says: rotate 1", "bob says: promote 1", "bob says: retire 1/old"]


def test_a_rollback_lets_the_old_key_sign_again():
    lines = steps("--rollback", "--adopt")
    assert writes(lines)[:5] == ["Create key-1", "Promote key-1", "Demote old", "Promote old", "Demote key-1"]
    assert lines[-1][2].startswith("key old signs")


def test_a_standby_is_promoted_without_waiting():
    lines = steps("--standby", "--adopt")
    asked = next(i for i, line in enumerate(lines) if line[2] == "ann says: rotate 1")
    promoted = next(i for i, line in enumerate(lines) if line[2] == "Promote key-1")
    assert promoted > asked and lines[asked][0] == lines[promoted][0]


@pytest.mark.parametrize("flag", ["publish", "retire", "load"])
def test_durations_are_heard_and_checked(flag):
    assert steps("--adopt", f"--{flag}", "3h") != steps("--adopt")
    wrong = simulate(f"--{flag}", "soon")
    assert wrong.returncode == 2 and f"--{flag} soon" in wrong.stderr and "90s" in wrong.stderr


SCHEDULED = SPEC.replace("every: 90d", "every: 30d").replace("publish: 1h, retire: 10h", "publish: 2h, retire: 3h")


@pytest.fixture(name="file")
def rotation_file(tmp_path):
    path = tmp_path / "rotation.yaml"
    path.write_text(SCHEDULED, encoding="utf-8")
    return str(path)


def times(lines):
    return {text: after for after, what, text in lines if what == "to Keycloak"}


def test_a_file_says_what_is_played(file):
    lines = steps("-f", file)
    assert writes(lines) == ["Create key-1", "Promote key-1", "Demote old", "Disable old"]
    assert times(lines)["Promote key-1"] == "30d 2h"
    assert times(lines)["Disable old"] == "30d 5h"


def test_flags_come_before_the_file(file):
    assert times(steps("-f", file, "--publish", "1h"))["Promote key-1"] == "30d 1h"
    assert times(steps("-f", file, "--retire", "9h"))["Disable old"] == "30d 11h"
    loaded = "2026-01-31T00:30:00Z       Publishing          every consumer trusts"
    assert loaded in simulate("-f", file, "--load", "30m").stdout
    assert any(text == "bob says: promote 1" for _, _, text in steps("-f", file, "--manual"))
    assert any("ready as standby" in text for _, _, text in steps("-f", file, "--standby"))


def test_it_begins_when_it_is_told_to():
    done = simulate("--adopt", "--from", "2027-03-28T00:30:00Z")
    assert done.stdout.splitlines()[0][12:32] == "2027-03-28T00:30:00Z"
    assert simulate("--adopt").stdout.splitlines()[0][12:32] == "2026-01-01T00:00:00Z"
    wrong = simulate("--from", "tomorrow")
    assert wrong.returncode == 2 and "--from tomorrow" in wrong.stderr and "2027" in wrong.stderr


def test_speed_lets_time_pass():
    begun = time.monotonic()
    slow = simulate("--adopt", "--speed", "40000")  # 11h 2m of it
    assert time.monotonic() - begun > 0.95
    assert slow.stdout == simulate("--adopt").stdout
    for value in ("0", "fast", "-1"):
        wrong = simulate("--speed", value)
        assert wrong.returncode == 2 and f"--speed {value}" in wrong.stderr


def test_a_realm_export_is_played(file, tmp_path):
    export = tmp_path / "realm.json"
    export.write_text('{"realm": "prod", "components": {"org.keycloak.keys.KeyProvider": [{"id": "1", "name": "first",'
                      ' "providerId": "rsa-generated", "config": {}}]}}', encoding="utf-8")
    assert "Demote first" in writes(steps("-f", file, "--realm-export", str(export)))
    alone = simulate("--realm-export", str(export))
    assert alone.returncode == 2 and "write -f too" in alone.stderr


def test_a_file_that_is_wrong(tmp_path):
    path = tmp_path / "rotation.yaml"
    path.write_text("kind: Deployment\n", encoding="utf-8")
    done = simulate("-f", str(path))
    assert done.returncode == 2 and "KeyRotation" in done.stderr
    path.write_text(SCHEDULED.replace("  key: {adopt: true}\n  schedule: {every: 30d}\n"
                                      "  overlap: {publish: 2h, retire: 3h}\n", ""), encoding="utf-8")
    done = simulate("-f", str(path))
    assert done.returncode == 0 and "nothing is rotated" in done.stdout


def test_help_teaches():
    done = simulate("--help")
    assert done.returncode == 0 and "--standby" in done.stdout and "keyturn simulate" in done.stdout
    assert simulate("again").returncode == 2
    assert simulate("--loud").returncode == 2
