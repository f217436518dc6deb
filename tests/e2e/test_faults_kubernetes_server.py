# SPDX-License-Identifier: Apache-2.0
"""The API server itself is killed and started again, and etcd forgets: the operator catches up by itself."""
import contextlib
import json

import pytest

from harness import CLUSTER, run
from operator_process import Operator
from scene import config_map, deployment, until

pytestmark = pytest.mark.alone


@contextlib.contextmanager
def no_api_server(cluster):
    """Killed in the block, up again after it."""
    assert cluster != "own", "this test kills the API server: it needs the test cluster, not one of your own (CLUSTER)"
    run(CLUSTER, "kill", "apiserver")
    try:
        yield
    finally:
        run(CLUSTER, "start", "apiserver")


@pytest.fixture
def story(scene):
    """A KeyRotation whose Deployment is restarted with each trust set."""
    scene.workload("Deployment", "web", replicas=0, image="test.local/pause:1")
    scene.rotation(consumers=[config_map("web", restart=[deployment("web")])])
    return scene


def add_key(scene, name):
    scene.realm.add_rsa_generated(name=name, priority=50, active=False)
    return {key["kid"] for key in scene.realm.signing_keys()}


def edit(scene):
    scene.kube.core.patch_namespaced_config_map("web-keys", scene.namespace, {"data": {"jwks.json": "{}"}})


def wait_repaired(scene, kids):
    until(lambda: scene.jwks_kids("ConfigMap", "web-keys") == kids, "the edit is repaired")


def test_api_server_killed_and_started(story, cluster):
    with Operator(story.namespace) as operator:
        story.wait_ready()
        with no_api_server(cluster):
            kids = add_key(story, "meanwhile")
            operator.wait_log("trust set changed", count=2)
            operator.until(lambda: operator.logged("object not written") or operator.logged("status not written"), "it has tried")
            assert operator.get("/healthz").status_code == 200
        edit(story)
        wait_repaired(story, kids)
        story.wait_kids(kids)
        edit(story)
        wait_repaired(story, kids)
        assert story.read_workload("Deployment", "web").metadata.generation == 3  # made, first keys, the new one
        assert operator.process.poll() is None and len(operator.logged("starting")) == 1


def test_etcd_is_compacted_while_the_operator_is_cut_off(story, cluster, proxy):
    """Its place in the stream of events is no more: 410, and it lists again."""
    with Operator(story.namespace, kubeconfig=proxy.kubeconfig) as operator:
        story.wait_ready()
        until(lambda: story.files("ConfigMap", "prod-keyturn-record"), "the record")
        kids = {key["kid"] for key in story.realm.signing_keys()}
        lists = lambda: len(proxy.seen(verb=("watchlist", "list")))
        listed = lists()
        proxy.refuse()
        edit(story)
        story.kube.core.delete_namespaced_config_map("prod-keyturn-record", story.namespace)
        story.annotate("prod", refresh="unseen")
        with no_api_server(cluster):
            run(CLUSTER, "compact")
        proxy.refuse(False)
        wait_repaired(story, kids)
        until(lambda: story.files("ConfigMap", "prod-keyturn-record"), "the record is back, though its deletion was never told")
        until(lambda: story.status().get("refreshed") == "unseen", "the annotation is served")
        gone = [e for e in proxy.seen(verb="watch") if e.status == 410 or (e.status == 200 and b'"code":410' in e.answer)]
        assert gone, "no watch was told 410"
        until(lambda: lists() >= listed + len({e.resource for e in gone}), "all that was told 410 is listed again")
        edit(story)
        wait_repaired(story, kids)
        assert story.read_workload("Deployment", "web").metadata.generation == 2
        assert operator.process.poll() is None
        assert all(json.loads(e.answer)["code"] == 410 for e in gone if e.status == 410)
