# SPDX-License-Identifier: Apache-2.0
"""keyturn simulate, as a person runs it."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("KEYTURN_BINARY", ROOT / "build" / "debug" / "keyturn")


def simulate(*flags):
    return subprocess.run([PROGRAM, "simulate", *flags], capture_output=True, text=True, timeout=60, check=False)


def steps(*flags):
    """(time, what, text) of each line."""
    done = simulate(*flags)
    assert done.returncode == 0, done.stderr
    return [(line[:10].strip(), line[12:30].strip(), line[32:].strip()) for line in done.stdout.splitlines()]


def writes(lines):
    return [text for _, what, text in lines if what == "to Keycloak"]


def test_a_rotation_in_its_order():
    lines = steps("--adopt")
    assert writes(lines) == ["Create", "Promote key-1", "Demote old", "Disable old"]
    assert next(time for time, _, text in lines if text == "Promote key-1") == "1h"
    assert next(time for time, _, text in lines if text == "Disable old") == "11h 2m"
    assert lines[-1][2].startswith("key key-1 signs")


def test_a_found_key_waits_for_its_name():
    lines = steps()
    assert any("the realm had it before Keyturn" in text for _, _, text in lines)
    assert ("a person", "bob says: retire 1/old") in [(what, text) for _, what, text in lines]


def test_manual_waits_for_people():
    said = [text for _, what, text in steps("--manual", "--adopt") if what == "a person"]
    assert said == ["ann says: rotate 1", "bob says: promote 1", "bob says: retire 1/old"]


def test_a_rollback_lets_the_old_key_sign_again():
    lines = steps("--rollback", "--adopt")
    assert writes(lines)[:5] == ["Create", "Promote key-1", "Demote old", "Promote old", "Demote key-1"]
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


def test_help_teaches():
    done = simulate("--help")
    assert done.returncode == 0 and "--standby" in done.stdout and "keyturn simulate" in done.stdout
    assert simulate("again").returncode == 2
    assert simulate("--loud").returncode == 2
