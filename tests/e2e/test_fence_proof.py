# SPDX-License-Identifier: Apache-2.0
"""The proof of the fence: an operator with the chart's own account looks whether each policy stands, says which one does not, and
touches no Secret until all do. While the one for commands does not, no command is taken."""
import contextlib

import kubernetes
import pytest

import realm as keycloak_client
from harness import FINALIZER, MERGE, fresh_namespace, installed
from kube_proxy import KubeProxy
from operator_process import Operator
from rotation_scene import AT_ONCE, ROLES, RotationScene
from scene import GROUP, config_map, deployment, secret, until

pytestmark = pytest.mark.alone

PREFIX = "proof"
API = "/apis/admissionregistration.k8s.io/v1/"
POLICY, BINDING = API + "validatingadmissionpolicies/" + PREFIX + "-fence-", API + "validatingadmissionpolicybindings/" + PREFIX + "-fence-"
COMMANDS = API + "validatingadmissionpolicies/" + PREFIX + "-operations"


@pytest.fixture(scope="module")
def team(kube, crd):
    with fresh_namespace(kube, "team") as name:
        yield name


@pytest.fixture(scope="module")
def release(kube, helm, crd, team):
    """Rights and policies; the operator itself is a process here."""
    values = {"replicaCount": 0, "credentialSecrets": [{"namespace": team, "name": "keyturn-keycloak"}]}
    with installed(kube, helm, PREFIX, values) as done:
        yield done


@pytest.fixture(scope="module")
def operator(release, kubectl, tmp_path_factory):
    """Ready at the start: the whole fence is proven with the rights of the chart."""
    config = release.kubeconfig(kubectl, tmp_path_factory.mktemp("account"))
    with Operator(release.namespace, kubeconfig=config, **release.flags) as running:
        yield running


@pytest.fixture(scope="module")
def scene(kube, team, operator):
    keycloak = keycloak_client.Keycloak.from_env()
    keycloak.wait_ready()
    realm = keycloak.create_realm(team, roles=ROLES)
    made = RotationScene(kube, team, realm)
    made.operator = operator
    yield made
    realm.delete(missing_ok=True)


class Damaged:
    """An object of the fence, changed or gone, and put back at the end."""

    def __init__(self, admin, path, change):
        self.admin, self.path, self.change = admin, path, change

    def __enter__(self):
        self.whole = self.admin("GET", self.path).json()
        for name in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
            self.whole["metadata"].pop(name, None)
        answer = self.admin("DELETE", self.path) if self.change is None else \
            self.admin("PATCH", self.path, self.change, content_type=MERGE)
        assert answer.status_code == 200, answer.text

    def __exit__(self, *_):
        self.admin("DELETE", self.path)
        answer = self.admin("POST", self.path.rpartition("/")[0], self.whole)
        assert answer.status_code == 201, answer.text


def says(operator, sentence):
    answer = operator.get("/readyz")
    return answer.status_code == 503 and sentence in answer.text


DAMAGES = [
    (POLICY + "workloads", None, "there is no ValidatingAdmissionPolicy proof-fence-workloads"),
    (BINDING + "configmaps", {"spec": {"validationActions": ["Warn"]}},
     "ValidatingAdmissionPolicyBinding proof-fence-configmaps does not deny"),
    (POLICY + "keyrotations", {"metadata": {"annotations": {"keyturn.dev/fence-rules": None}}},
     "policy proof-fence-keyrotations has rules 0"),
    (POLICY + "secrets",
     {"spec": {"matchConditions": [{"name": "another", "expression": "request.userInfo.username == 'nobody'"}]}},
     "policy proof-fence-secrets let a foreign Secret pass"),
]


def test_a_damaged_fence_is_named_and_a_whole_one_is_proven_again(operator, admin):
    """The next damage is done before the last is repaired: each round of the operator then shows another one."""
    operator.until(operator.ready, "the fence proven")
    repair = contextlib.ExitStack()
    try:
        for path, change, sentence in DAMAGES:
            former, repair = repair, contextlib.ExitStack()
            with former:
                repair.enter_context(Damaged(admin, path, change))
            operator.until(lambda: says(operator, sentence), sentence, 90)
    finally:
        repair.close()
    operator.until(operator.ready, "the fence proven again", 90)


def test_no_secret_is_touched_without_proof(scene, operator, admin):
    operator.until(operator.ready, "the fence proven")
    with Damaged(admin, BINDING + "keyrotations", None):
        operator.until(lambda: not operator.ready(), "the hole seen")
        scene.rotation(consumers=[secret("a", "closed")])
        scene.rotation("other", consumers=[config_map("b", "open")])
        ready = scene.wait_condition("Ready", "False", "FenceUnproven")
        assert "there is no ValidatingAdmissionPolicyBinding proof-fence-keyrotations" in ready["message"]
        scene.wait_ready("other")
        assert scene.files("ConfigMap", "open")
        assert scene.kube.core.list_namespaced_secret(scene.namespace, field_selector="metadata.name=closed").items == []
    scene.wait_ready()
    until(lambda: "jwks.json" in scene.files("Secret", "closed"), "published once the fence stands")
    for name in ("prod", "other"):
        scene.delete(name)


def test_no_command_is_taken_under_a_name_that_nobody_vouches_for(scene, operator, admin):
    """The policy is gone: a command that the API server lets pass is refused, and tells which policy is missing. It is back: a command of
    the true user begins a rotation."""
    scene.rotation(consumers=[config_map("e")], key={"algorithm": "RS256"}, overlap=AT_ONCE, approval={"promote": "Manual"})
    scene.wait_ready()
    me = kubernetes.client.AuthenticationV1Api().create_self_subject_review({}).status.user_info.username
    with Damaged(admin, COMMANDS, None):
        missing = f"there is no ValidatingAdmissionPolicy {PREFIX}-operations"
        operator.until(lambda: any(missing in line.get("error", "") for line in operator.lines), "the hole seen", 30)
        assert operator.ready(), "all but commands goes on"
        until(lambda: scene.operate("rotate", 1, by="somebody-else"), "the API server has forgotten the policy")
        refused = until(lambda: scene.status().get("operation", {}).get("refused"), "refused")
        assert missing in refused and "no command is taken" in refused
        until(lambda: any(missing in event.message for event in scene.events("OperationRefused")), "an Event says it", 30)
        assert not scene.status().get("rotation", {}).get("requestedBy")
        until(lambda: "keyturn.dev/operation" not in scene.get()["metadata"].get("annotations", {}), "the command is taken off")
        assert missing in operator.get("/readyz").text
    until(lambda: scene.operate("rotate", 1, by=me), "the API server knows the policy")
    status = scene.wait(lambda status: status.get("nextKid"), "a rotation begins")
    assert status["rotation"]["requestedBy"] == me
    gone(scene)


def gone(scene):
    scene.delete()
    until(lambda: scene.kube.custom.list_namespaced_custom_object(*GROUP, scene.namespace, "keyrotations")["items"] == [], "gone")


def test_a_command_waits_until_it_is_known_whether_somebody_vouches(scene, release, operator, kubectl, tmp_path):
    """The question is held on its way: all but the command goes on."""
    operator.stop()
    me = kubernetes.client.AuthenticationV1Api().create_self_subject_review({}).status.user_info.username
    with KubeProxy(tmp_path, forward_token=True) as proxy:
        proxy.token_file.write_text(kubectl("create", "token", PREFIX, "--namespace", release.namespace, "--duration=1h").stdout.strip())
        policy = {"verb": "get", "resource": "validatingadmissionpolicies", "name": f"{PREFIX}-operations"}
        with Operator(release.namespace, kubeconfig=proxy.kubeconfig, **release.flags) as second, proxy.hold(**policy) as gate:
            scene.rotation(consumers=[config_map("f")], key={"algorithm": "RS256", "takeOver": True}, overlap=AT_ONCE, approval={"promote": "Manual"})
            scene.wait_ready()
            scene.operate("rotate", 1, by=me)
            gate.wait(1)
            scene.annotate("prod", refresh="meanwhile")
            until(lambda: scene.status().get("refreshed") == "meanwhile", "other things go on")
            assert not scene.status().get("operation") and not scene.status().get("rotation", {}).get("requestedBy")
            assert scene.get()["metadata"]["annotations"]["keyturn.dev/operation"] == "rotate"
            gate.release()
            scene.wait(lambda status: status.get("nextKid") and status["rotation"]["requestedBy"] == me, "it is taken")
            assert second.ready()
            gone(scene)
    operator.start()


def test_the_rights_of_the_chart_are_enough(scene, operator):
    """The whole life of a KeyRotation by the chart's account: nothing is refused by RBAC."""
    begun = len(operator.lines)  # by a new process: what it lacks at the start counts
    operator.restart()
    scene.pause("reader")
    scene.rotation("whole", consumers=[secret("c", restart=[deployment("reader")]), config_map("d")], deletionPolicy="Delete")
    scene.wait_ready("whole")
    assert scene.template_hash("Deployment", "reader")
    until(lambda: scene.events("ConsumerRestarted", "whole"), "the Event of the restart")
    until(lambda: scene.get("whole")["metadata"].get("finalizers") == [FINALIZER], "the finalizer")
    scene.delete("whole")
    named = "metadata.name=c-keys"
    until(lambda: not scene.kube.core.list_namespaced_secret(scene.namespace, field_selector=named).items, "what it published is gone")
    everything = lambda: scene.kube.custom.list_namespaced_custom_object(*GROUP, scene.namespace, "keyrotations")["items"]
    until(lambda: "whole" not in [o["metadata"]["name"] for o in everything()], "the finalizer is gone")
    # This operator watches all namespaces, also those that other tests leave behind on their way out.
    refused = [line for line in operator.lines[begun:] if "cannot" in line.get("error", "") or "403" in line.get("error", "")]
    assert [line for line in refused if "because it is being terminated" not in line["error"]] == []
