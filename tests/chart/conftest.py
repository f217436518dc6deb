# SPDX-License-Identifier: Apache-2.0
"""Rendering the chart with helm: no cluster, no network."""
import json
import os
import shutil
import subprocess

import pytest
import yaml

from rendering import CHART, Refused, Rendered


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
        done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "KUBECONFIG": "/dev/null"})
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
