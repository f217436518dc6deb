# SPDX-License-Identifier: Apache-2.0
"""Rendering the chart with helm: no cluster, no network."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "keyturn"


class Refused(Exception):
    """helm refused the values; str() is what it said."""


class Rendered:
    """What `helm template` made, found by kind and name."""

    def __init__(self, objects):
        self.objects = objects

    def kinds(self):
        return sorted({o["kind"] for o in self.objects})

    def all(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def get(self, kind, name=None, namespace=None):
        found = [o for o in self.all(kind)
                 if name in (None, o["metadata"]["name"])
                 and namespace in (None, o["metadata"].get("namespace"))]
        assert len(found) == 1, f"{kind} {namespace}/{name}: {len(found)} of {[o['metadata']['name'] for o in self.all(kind)]}"
        return found[0]

    @property
    def pod(self):
        return self.get("Deployment")["spec"]["template"]["spec"]

    @property
    def container(self):
        return self.pod["containers"][0]

    @property
    def args(self):
        return self.container["args"]


def cached(run):
    """Remembers answers by arguments: helm takes half a second, and many tests look at the same default values."""
    known = {}

    def ask(values=None, **more):
        key = json.dumps([values or {}, more], sort_keys=True)
        if key not in known:
            known[key] = run(values or {}, **more)
        return known[key]

    return ask


@pytest.fixture(scope="session")
def helm():
    program = os.environ.get("HELM") or shutil.which("helm")
    if not program:
        pytest.fail('no helm: set HELM, or put it on PATH with eval "$(tests/cluster/cluster env)"')

    def run(*args):
        env = {k: v for k, v in os.environ.items() if k != "KUBECONFIG"}
        done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=60,
                              env=env | {"KUBECONFIG": "/dev/null"}, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr)
        return done.stdout

    return run


def _values(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("values") / "values.json"
    file.write_text(json.dumps(values))
    return file


@pytest.fixture(scope="session")
def render(helm, tmp_path_factory):
    """render({value: …}, release=, namespace=) renders the chart."""

    def run(values, release="keyturn", namespace="keyturn-system"):
        out = helm("template", release, CHART, "--namespace", namespace, "--values", _values(tmp_path_factory, values))
        return Rendered([o for o in yaml.safe_load_all(out) if o])

    return cached(run)


@pytest.fixture(scope="session")
def notes(helm, tmp_path_factory):
    """notes({value: …}) is what an install prints at its end."""

    def run(values):
        out = helm("install", "keyturn", CHART, "--namespace", "keyturn-system", "--dry-run=client",
                   "--values", _values(tmp_path_factory, values))
        return out.split("NOTES:", 1)[1]

    return cached(run)
