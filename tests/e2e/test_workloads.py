# SPDX-License-Identifier: Apache-2.0
"""Workloads of every kind and in every state: restarted exactly once for each change, and named with what to do where they do not roll."""
import pytest

from operator_process import Operator
from scene import Scene, config_map, daemon_set, deployment, secret, stateful_set, until

ANNOTATION = "keyturn.dev/trust-hash"
APPS = {"Deployment": "deployment", "StatefulSet": "stateful_set", "DaemonSet": "daemon_set"}


def patch(scene, kind, name, **spec):
    return getattr(scene.kube.apps, f"patch_namespaced_{APPS[kind]}")(name, scene.namespace, {"spec": spec})


def generation(scene, kind, name):
    """The API server raises it with each change of the spec, of the template too."""
    return scene.read_workload(kind, name).metadata.generation


def add_key(scene, name="next"):
    """One more PASSIVE key; answers the kids that are to be trusted now."""
    scene.realm.add_rsa_generated(name, priority=50, active=False)
    scene.annotate("prod", refresh=name)
    return {key["kid"] for key in scene.realm.signing_keys()}


def consumer(scene, name, rotation="prod"):
    return next(c for c in scene.status(rotation)["consumers"] if c["name"] == name)


def wait_consumer(scene, name, state, words="", rotation="prod"):
    def look():
        found = consumer(scene, name, rotation)
        return found["state"] == state and words in found.get("message", "") and found
    return until(look, f"{rotation}/{name} is {state}: {words}")


def pods_hashes(scene, app):
    return {pod.metadata.annotations.get(ANNOTATION) for pod in scene.pods(app)}


def look_again(scene, operator, value, name="prod"):
    """A pass after a fresh poll, told in status."""
    scene.annotate(name, refresh=value)
    until(lambda: scene.status(name).get("refreshed") == value, "the operator has looked", 90)


def test_every_kind_is_restarted_once(scene):
    kinds = {"Deployment": "dep", "StatefulSet": "sts", "DaemonSet": "ds"}
    for kind, name in kinds.items():
        scene.pause(name, kind)
    scene.rotation(consumers=[secret("api", restart=[deployment("dep"), stateful_set("sts"), daemon_set("ds")])])
    with Operator(scene.namespace) as operator:
        assert scene.wait_ready()["consumers"][0]["pods"] == "3/3"
        before = {kind: generation(scene, kind, name) for kind, name in kinds.items()}
        assert set(before.values()) == {2}, "made, and restarted once"
        old = consumer(scene, "api")["trustHash"]
        scene.wait_kids(add_key(scene))
        new = consumer(scene, "api")["trustHash"]
        assert new != old
        for kind, name in kinds.items():
            assert scene.template_hash(kind, name) == new and pods_hashes(scene, name) == {new}, f"{kind} is Ready before it has rolled"
        operator.restart()
        look_again(scene, operator, "after a restart")
        assert {kind: generation(scene, kind, name) for kind, name in kinds.items()} == {kind: 3 for kind in kinds}
        until(lambda: len(scene.events("ConsumerRestarted")) == 6, "an Event for each")


def test_what_does_not_roll_is_named_with_what_to_do(scene):
    """Paused, OnDelete of two kinds, and a partition: each an obstacle of its own, taken away one after the other."""
    scene.pause("paused")
    scene.pause("ondelete", "StatefulSet")
    scene.pause("byhand", "DaemonSet")
    scene.pause("parted", "StatefulSet")
    for app in ("paused", "ondelete", "byhand", "parted"):
        until(lambda: scene.pods(app), f"a pod of {app}")
    patch(scene, "Deployment", "paused", paused=True)
    patch(scene, "StatefulSet", "ondelete", updateStrategy={"type": "OnDelete", "rollingUpdate": None})
    patch(scene, "DaemonSet", "byhand", updateStrategy={"type": "OnDelete", "rollingUpdate": None})
    patch(scene, "StatefulSet", "parted", updateStrategy={"rollingUpdate": {"partition": 1}})
    where = f"-n {scene.namespace}"
    cases = [("paused", deployment("paused"), f"kubectl rollout resume Deployment/paused {where}"),
             ("ondelete", stateful_set("ondelete"), "StatefulSet ondelete: has updateStrategy OnDelete: its pods have to be deleted by hand"),
             ("byhand", daemon_set("byhand"), "DaemonSet byhand: has updateStrategy OnDelete: its pods have to be deleted by hand"),
             ("parted", stateful_set("parted"), f'kubectl patch StatefulSet parted {where} -p \'{{"spec":{{"updateStrategy":'
                                                 '{"rollingUpdate":{"partition":0}}}}\'')]
    scene.pause("rolls")
    scene.rotation(consumers=[config_map(name, restart=[workload]) for name, workload, _ in cases] +
                   [config_map("rolls", restart=[deployment("rolls")])])
    with Operator(scene.namespace):
        for name, _, words in cases:
            assert wait_consumer(scene, name, "Failed", words)["pods"] == "0/1"
        wait_consumer(scene, "rolls", "UpToDate")
        ready = scene.wait_condition("Ready", "False", "ConsumerFailed")
        assert cases[0][2] in ready["message"]
        until(lambda: len(scene.events("ConsumerFailed")) == 4, "an Event for each")
        patch(scene, "Deployment", "paused", paused=False)
        patch(scene, "StatefulSet", "parted", updateStrategy={"rollingUpdate": {"partition": 0}})
        for app in ("ondelete", "byhand"):
            scene.kube.core.delete_namespaced_pod(scene.pods(app)[0].metadata.name, scene.namespace)
        for name, _, _ in cases:
            assert wait_consumer(scene, name, "UpToDate")["pods"] == "1/1"
        scene.wait_ready()


def test_a_workload_that_comes_later(scene):
    scene.rotation(consumers=[config_map("api", restart=[deployment("later")]), config_map("web")])
    with Operator(scene.namespace):
        said = wait_consumer(scene, "api", "Failed", f"Deployment later does not exist in namespace {scene.namespace}")
        assert "reload.restart" in said["message"]
        wait_consumer(scene, "web", "UpToDate")
        assert scene.wait_condition("Ready", "False", "ConsumerFailed")
        assert scene.files("ConfigMap", "api-keys"), "its keys are there before it"
        scene.pause("later")
        scene.wait_ready()
        assert generation(scene, "Deployment", "later") == 2
        scene.kube.apps.delete_namespaced_deployment("later", scene.namespace)
        wait_consumer(scene, "api", "Failed", "does not exist")
        scene.pause("later")
        scene.wait_ready()
        assert generation(scene, "Deployment", "later") == 2, "another one of the name is another one"


def test_one_workload_reads_several_objects(scene):
    scene.pause("api")
    scene.rotation(consumers=[secret("a", restart=[deployment("api")], formats=["JWKS"]),
                              config_map("b", restart=[deployment("api")], formats=["PEM"])])
    with Operator(scene.namespace, settle="1s"):
        scene.wait_ready()
        first = generation(scene, "Deployment", "api")
        scene.wait_kids(add_key(scene))
        assert generation(scene, "Deployment", "api") == first + 1, "one change, one restart, however many objects"
        hashes = {c["trustHash"] for c in scene.status()["consumers"]}
        assert len(hashes) == 2 and scene.template_hash("Deployment", "api") not in hashes


def test_two_rotations_feed_one_workload(scene, keycloak):
    """Each change of either is one restart; neither a new operator nor a third rotation that never reads a key adds one."""
    other = Scene(scene.kube, scene.namespace, keycloak.create_realm(f"{scene.namespace}-other"))
    try:
        scene.pause("api")
        scene.rotation("prod", [config_map("a", restart=[deployment("api")])])
        other.rotation("other", [secret("b", restart=[deployment("api")])])
        with Operator(scene.namespace, settle="1s") as operator:
            scene.wait_ready("prod")
            scene.wait_ready("other")
            first = generation(scene, "Deployment", "api")
            scene.wait_kids(add_key(scene))
            scene.wait_ready("other")
            assert generation(scene, "Deployment", "api") == first + 1
            operator.stop()
            operator.flags["settle"] = "0s"  # whoever decides before both are known decides wrongly
            operator.start()
            for name in ("prod", "other"):
                look_again(scene, operator, "after a restart", name)
            scene.wait_ready("other")
            assert generation(scene, "Deployment", "api") == first + 1
            scene.rotation("broken", [config_map("c", restart=[deployment("api")])], issuer=None,
                           keycloak={"url": "http://127.0.0.1:9", "realm": "none", "credentials": {"secret": {"name": "keyturn-keycloak"}}})
            scene.wait_condition("Ready", "False", name="broken")
            scene.wait_kids(add_key(scene, "another"))
            assert generation(scene, "Deployment", "api") == first + 2, "a neighbour without keys stops no restart"
            assert scene.condition("Ready", "broken")["status"] == "False"
    finally:
        other.realm.delete(missing_ok=True)


def test_a_rollout_that_never_ends(scene):
    """An image that is not there, and a probe that fails: shown, while others go on; put right, they are followed."""
    scene.pause("good")
    scene.pause("noimage")
    scene.pause("unready", "StatefulSet")
    scene.rotation(consumers=[config_map(name, restart=[workload]) for name, workload in (
        ("good", deployment("good")), ("noimage", deployment("noimage")), ("unready", stateful_set("unready")))])
    with Operator(scene.namespace):
        scene.wait_ready()
        good = generation(scene, "Deployment", "good")
        container = lambda **fields: {"spec": {"containers": [{"name": "main", **fields}]}}
        patch(scene, "Deployment", "noimage", progressDeadlineSeconds=3, minReadySeconds=0, template=container(image="test.local/none:1"))
        patch(scene, "StatefulSet", "unready",
              template=container(readinessProbe={"tcpSocket": {"port": 9}, "periodSeconds": 1}))
        add_key(scene)
        wait_consumer(scene, "good", "UpToDate")
        stuck = wait_consumer(scene, "noimage", "Failed", "made no progress within its deadline")
        assert stuck["pods"] == "0/1" and f"kubectl rollout status Deployment/noimage -n {scene.namespace}" in stuck["message"]
        assert wait_consumer(scene, "unready", "Rolling", "waiting for the rollout of StatefulSet unready")["pods"] == "0/1"
        until(lambda: generation(scene, "Deployment", "good") == good + 1, "the good one has been restarted")
        scene.wait_condition("Ready", "False", "ConsumerFailed")
        patch(scene, "Deployment", "noimage", template=container(image="test.local/pause:1"))
        patch(scene, "StatefulSet", "unready", template=container(readinessProbe=None))
        # A StatefulSet waits for the broken one for ever.
        until(lambda: scene.kube.core.delete_namespaced_pod("unready-0", scene.namespace), "the broken pod is deleted")
        scene.wait_ready()
        assert consumer(scene, "noimage")["pods"] == consumer(scene, "unready")["pods"] == "1/1"


def test_replicas_zero_are_up_to_date(scene):
    kinds = {"Deployment": "dep", "StatefulSet": "sts"}
    for kind, name in kinds.items():
        scene.pause(name, kind, replicas=0)
    scene.rotation(consumers=[config_map("api", restart=[deployment("dep"), stateful_set("sts")])])
    with Operator(scene.namespace) as operator:
        scene.wait_ready()
        assert "pods" not in consumer(scene, "api")
        trusted = consumer(scene, "api")["trustHash"]
        for kind, name in kinds.items():
            assert scene.template_hash(kind, name) == trusted
            patch(scene, kind, name, replicas=1)
        until(lambda: consumer(scene, "api").get("pods") == "2/2", "the pods are counted")
        scene.wait_ready()
        assert pods_hashes(scene, "dep") == pods_hashes(scene, "sts") == {trusted}
        look_again(scene, operator, "again")
        assert {generation(scene, kind, name) for kind, name in kinds.items()} == {3}, "made, annotated, scaled by us"


@pytest.mark.parametrize("value", [None, "v1-somebody"], ids=["removed", "replaced"])
def test_an_annotation_that_somebody_takes_away(scene, value):
    """Two tools that undo each other must not restart the pods for ever: it is said, and left alone until the keys change."""
    scene.pause("api")
    scene.rotation(consumers=[config_map("api", restart=[deployment("api")])])
    with Operator(scene.namespace) as operator:
        scene.wait_ready()
        patch(scene, "Deployment", "api", template={"metadata": {"annotations": {ANNOTATION: value}}})
        said = wait_consumer(scene, "api", "Failed", f"somebody took the annotation {ANNOTATION}")
        assert "Deployment api" in said["message"] and "ignore that annotation" in said["message"]
        scene.wait_condition("Ready", "False", "ConsumerFailed")
        gone = generation(scene, "Deployment", "api")
        for i in range(3):
            look_again(scene, operator, f"{i}")
        assert generation(scene, "Deployment", "api") == gone
        scene.wait_kids(add_key(scene))
        assert generation(scene, "Deployment", "api") == gone + 1, "other keys are worth a restart"


def test_no_reload_means_no_restart(scene):
    scene.pause("api")
    scene.pause("asked")
    scene.rotation(consumers=[config_map("api"), config_map("asked", restart=[deployment("asked")])])
    with Operator(scene.namespace):
        scene.wait_ready()
        scene.wait_kids(add_key(scene))
        assert generation(scene, "Deployment", "api") == 1 and scene.template_hash("Deployment", "api") is None
        assert generation(scene, "Deployment", "asked") == 3
