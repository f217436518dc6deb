# SPDX-License-Identifier: Apache-2.0
"""Making what the tests here look at, by the Makefile."""
import os
import subprocess

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
NAME = "localhost/keyturn:test"


def clean_env(**more):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return {**env, **more}


def make(folder, *args, **env):
    done = subprocess.run(["make", *args], cwd=folder, env=clean_env(**env), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()[-4000:]


def out_of_make(name):
    """A variable as the Makefile has it."""
    done = subprocess.run(["make", "-s", "--eval", f"show: ; @echo $({name})", "show"], cwd=TOP, check=True,
                          env=clean_env(), stdout=subprocess.PIPE)
    return done.stdout.decode().strip()
