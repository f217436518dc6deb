# SPDX-License-Identifier: Apache-2.0
"""Flags of `keyturn run` that no other test would miss: each changes what the process does."""
import datetime
import json
import subprocess

import kubernetes
import pytest

from harness import fresh_namespace
from operator_process import Operator, binary
from scene import Scene, config_map, deployment, until


def leases(kube, namespace):
    return {lease.metadata.name: lease.spec.holder_identity for lease in kube.leases.list_namespaced_lease(namespace).items}


def refused(*words, **env):
    """What the program says when it ends at once."""
    done = subprocess.run([binary(), *words], capture_output=True, text=True, timeout=20, check=False, env=env or None)
    assert done.returncode in (1, 2), done
    return done.stdout + done.stderr


def test_where_it_works_and_who_it_is(scene, kube):
    """--namespace has the Lease, --watch-namespaces the KeyRotations; --leader-elect, --lease-name and --identity make the Lease."""
    with fresh_namespace(kube, "own") as own:
        elsewhere = Scene(kube, own, scene.realm)
        elsewhere.rotation("unwatched", [config_map("web")])
        scene.rotation(consumers=[config_map("web")])
        with Operator(own, watch_namespaces=scene.namespace):
            scene.wait_ready()
            assert leases(kube, own) == {}, "no Lease without --leader-elect"
        with Operator(own, watch_namespaces=scene.namespace, leader_elect="true", lease_name="its-name", identity="its-holder"):
            until(lambda: leases(kube, own) == {"its-name": "its-holder"}, "the Lease")
            scene.annotate("prod", refresh="now")
            until(lambda: scene.status().get("refreshed") == "now", "it leads and works")
        assert "status" not in elsewhere.get("unwatched") and leases(kube, scene.namespace) == {}
        with pytest.raises(kubernetes.client.ApiException):
            kube.core.read_namespaced_config_map("web-keys", own)
        with Operator(own, watch_namespaces=f"{scene.namespace},{own}"):
            elsewhere.wait_ready("unwatched")


def test_settle(scene):
    """Least time between an object's write and the restart of its readers; the default would be 5 s."""
    scene.pause("api")
    scene.rotation(consumers=[config_map("api", restart=[deployment("api")])])
    with Operator(scene.namespace, settle="8s") as operator:
        scene.wait_ready()
        moment = lambda msg: datetime.datetime.fromisoformat(next(l["ts"] for l in operator.logged(msg) if l["name"].startswith("api")))
        assert (moment("restarted") - moment("published")).total_seconds() >= 7.9


def test_log_format_and_level(scene):
    with Operator(scene.namespace, log_format="json", log_level="info") as operator:
        operator.wait_log("starting")
        assert {line["level"] for line in operator.lines} == {"info"}
    with Operator(scene.namespace, log_format="text", log_level="info") as operator:
        operator.until(lambda: any("starting" in line["msg"] for line in operator.lines), "a line of text")
        assert {line["level"] for line in operator.lines} == {"raw"}, "no JSON"
    with Operator(scene.namespace, log_level="error") as operator:
        assert operator.stop() == 0 and operator.lines == []
    scene.rotation(consumers=[config_map("web")])
    with Operator(scene.namespace, log_level="debug") as operator:
        scene.wait_ready()
        operator.until(lambda: any(line["level"] == "debug" for line in operator.lines), "a line for who looks closely")


def test_listen(scene):
    with Operator(scene.namespace) as operator:
        assert operator.get("/healthz").status_code == 200
        said = refused(*operator.command()[1:])
        assert f"127.0.0.1:{operator.port}" in said, said


def test_kubeconfig(tmp_path, cluster):
    missing = tmp_path / "config"
    assert str(missing) in refused("run", "--kubeconfig", str(missing))
    assert "--kubeconfig" in refused("run", PATH="/usr/bin"), "outside of a pod it says what to write"


def test_version_and_help():
    said = lambda flag: subprocess.run([binary(), flag], capture_output=True, text=True, check=True).stdout
    assert said("--version").startswith("keyturn ") and len(said("--version").split()) == 2
    assert "Usage: keyturn run [flags]" in said("--help")
    assert json.dumps(said("--help")) != json.dumps(said("--version"))
