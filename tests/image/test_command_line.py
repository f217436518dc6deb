# SPDX-License-Identifier: Apache-2.0
"""The command line of keyturn: what it cannot do as written it refuses at once, with what to write instead."""
import subprocess

import pytest

NAMES = "names of namespaces with a comma between them and nothing else, like a,b"
IDENTITY = "1 to 127 characters without spaces"
RESYNC, SETTLE = "a duration from 5s to 1d, like 5m", "a duration from 0s to 1h, like 5s"

BAD = [
    ("watch-namespaces", "a, b", NAMES), ("watch-namespaces", "a,,b", NAMES), ("watch-namespaces", "", NAMES),
    ("watch-namespaces", "A", NAMES), ("watch-namespaces", "a.b", NAMES), ("watch-namespaces", "-a", NAMES),
    ("watch-namespaces", "a-", NAMES), ("watch-namespaces", "a" * 64, NAMES),
    ("watch-namespaces", ",".join(f"n{n}" for n in range(65)), "at most 64 namespaces, or leave the flag out for all"),
    ("identity", "a" * 128, IDENTITY), ("identity", "", IDENTITY), ("identity", "a b", IDENTITY),
    ("resync", "4s", RESYNC), ("resync", "86401", RESYNC), ("resync", "1d1s", RESYNC), ("resync", "5 m", RESYNC),
    ("settle", "3601s", SETTLE), ("settle", "-1", SETTLE),
    ("leader-elect", "yes", "true or false"), ("log-format", "xml", "json or text"), ("log-level", "trace", "error, warn, info or debug"),
]
GOOD = [("watch-namespaces", "a-1," + "a" * 63), ("watch-namespaces", ",".join(f"n{n}" for n in range(64))),
        ("identity", "a" * 127), ("resync", "5"), ("resync", "1d"), ("settle", "0"), ("settle", "1h")]


def run(release, *args):
    return subprocess.run([f"{release}/keyturn", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=20, check=False)


@pytest.mark.parametrize("flag, value, instead", BAD, ids=[f"{flag}={value[:12]}" for flag, value, _ in BAD])
def test_refused_with_what_to_write(release, flag, value, instead):
    done = run(release, "run", f"--{flag}={value}")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"keyturn: --{flag} ") and f": write {instead} (keyturn --help)" in done.stderr


@pytest.mark.parametrize("flag, value", GOOD, ids=[f"{flag}={value[:12]}" for flag, value in GOOD])
def test_the_bound_itself_is_taken(release, flag, value):
    """It goes on as far as its kubeconfig, which is not there."""
    done = run(release, "run", f"--{flag}={value}", "--kubeconfig=/none/config", "--listen=127.0.0.1:0")
    assert done.returncode == 1 and "cannot read /none/config" in done.stderr


def test_bounds_stand_in_the_help(release):
    said = run(release, "--help").stdout
    for bound in ("at most 64", "at most 127 characters", "0s to 1h", "5s to 1d"):
        assert bound in said
