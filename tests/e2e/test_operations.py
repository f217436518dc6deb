# SPDX-License-Identifier: Apache-2.0
"""Who may command a rotation: the policy of the chart, its verbs and roles, on a real API server.

People come by impersonation, bound to the cluster's own roles edit and admin or to Roles of single verbs; a GitOps tool comes with
the token of a ServiceAccount. No operator runs: this is about what reaches it. Most requests are dry runs, which are judged alike.
"""
import re
import types

import kubernetes
import pytest

from fence_cases import APPLY, CUSTOM, JSON_PATCH
from harness import MERGE, Http, eventually, fresh_namespace, installed, run

pytestmark = pytest.mark.alone

PREFIX = "ops"
POLICY = f"{PREFIX}-operations"
KEYS = {"operation": "keyturn.dev/operation", "number": "keyturn.dev/operation-for", "by": "keyturn.dev/operation-by",
        "reason": "keyturn.dev/reason"}
OPERATIONS = {"rotate": "rotate", "abort": "rotate", "promote": "approve", "retire": "approve", "rollback": "rollback"}
ALL = set(OPERATIONS.values())
DRY = "?dryRun=All"
# Each user with the verbs that the roles below give, for prod.
USERS = {"editor": {"rotate"}, "administrator": ALL, "viewer": set(), "writer": set(), "approver@example.com": {"approve"},
         "only:other": set(), "roller": {"rollback"}, "wildcard": ALL}


def command(operation="rotate", number="1", by=None, reason=None):
    """Annotations of a command; None leaves one out."""
    values = {"operation": operation, "number": number, "by": by, "reason": reason}
    return {KEYS[k]: v for k, v in values.items() if v is not None}


def rotation(name="prod", annotations=None, **spec):
    return {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"issuer": {"url": "https://auth.example.com/realms/prod"}, **spec}}


def ok(answer, code=200):
    assert answer.status_code == code, f"{answer.status_code}: {answer.text[:600]}"
    return answer.json()


def refused(answer, *words, code=403):
    assert answer.status_code == code, f"{answer.status_code}: {answer.text[:600]}"
    said = answer.json()["message"]
    assert f"ValidatingAdmissionPolicy '{POLICY}' with binding '{POLICY}' denied request: " in said, said
    assert "failed to" not in said and "no such" not in said, f"refused by an error of the rule: {said}"
    for word in words:
        assert word in said, said
    return said


class Scene:
    def __init__(self, admin, ns):
        self.admin, self.ns = admin, ns
        self.all = CUSTOM.replace("{ns}", ns)

    def send(self, user, method, path, body, content_type=MERGE):
        who = {"Impersonate-User": user} if user else {}
        return self.admin(method, path, body, content_type=content_type, **who)

    def annotate(self, user, annotations, name="prod", dry=True, **more):
        """As kubectl annotate does; more: the rest of the patch."""
        return self.send(user, "PATCH", f"{self.all}/{name}{DRY if dry else ''}", {"metadata": {"annotations": annotations}, **more})

    def commanded(self, name="given", **fields):
        """A KeyRotation with a command of the administrator's on it."""
        annotations = {"kept": "yes", **command(**{"operation": "promote", "number": "3", "by": "administrator", "reason": "planned",
                                                   **fields})}
        return ok(self.send("administrator", "POST", self.all, rotation(name, annotations), "application/json"), 201)


def bind(kube, ns, user, cluster_role=None, rules=None, name=None, kind="User", **subject):
    name = name or re.sub("[^a-z]", "-", user)
    if rules:
        kube.rbac.create_namespaced_role(ns, {"metadata": {"name": name}, "rules": rules})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role" if rules else "ClusterRole", "name": cluster_role or name}
    kube.rbac.create_namespaced_role_binding(ns, {"metadata": {"name": name}, "roleRef": ref,
                                                  "subjects": [{"kind": kind, "name": user, **subject}]})


def on_rotations(*verbs, **more):
    return {"apiGroups": ["keyturn.dev"], "resources": ["keyrotations"], "verbs": list(verbs), **more}


WRITES = on_rotations("create", "get", "update", "patch")


@pytest.fixture(scope="module")
def scene(kube, helm, kubectl, crd, admin):
    """The chart's policy and roles in force, no operator running, people bound in one namespace."""
    with installed(kube, helm, PREFIX, {"replicaCount": 0}), fresh_namespace(kube, "commands") as ns:
        for user, role in (("editor", "edit"), ("administrator", "admin"), ("viewer", "view")):
            bind(kube, ns, user, role)
        bind(kube, ns, "writer", rules=[WRITES])
        bind(kube, ns, "approver@example.com", rules=[WRITES, on_rotations("approve", resourceNames=["prod", "given", "two"])])
        bind(kube, ns, "only:other", rules=[WRITES, on_rotations("approve", resourceNames=["other"])])
        bind(kube, ns, "roller", rules=[WRITES, on_rotations("rollback")])
        bind(kube, ns, "wildcard", rules=[on_rotations("*")])
        kube.core.create_namespaced_service_account(ns, {"metadata": {"name": "gitops"}})
        bind(kube, ns, "gitops", "edit", kind="ServiceAccount", namespace=ns)
        scene = Scene(admin, ns)
        scene.gitops = f"system:serviceaccount:{ns}:gitops"
        scene.tool = Http(kubectl("create", "token", "gitops", "--namespace", ns, "--duration=1h").stdout.strip())
        for name in ("prod", "other"):
            ok(admin("POST", scene.all, rotation(name)), 201)
        # In force: the policy, the bindings, and what the controller puts together in edit and admin.
        eventually("the policy", lambda: refused(scene.annotate("writer", command(by="writer"))), seconds=60)
        for user, verbs in USERS.items():
            for operation, verb in OPERATIONS.items():
                if verb in verbs:
                    eventually(f"rights of {user}", lambda: ok(scene.annotate(user, command(operation, by=user))), seconds=60)
        yield scene
        scene.tool.session.close()


def can(kubectl, scene, user, verb, what="keyrotations.keyturn.dev/prod"):
    return kubectl("auth", "can-i", verb, what, "-n", scene.ns, "--as", user, check=False).stdout.strip() == "yes"


# --- verbs ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("user", [u for u in USERS if u != "viewer"])
def test_each_operation_needs_its_verb(scene, user, operation):
    answer = scene.annotate(user, command(operation, by=user))
    verb = OPERATIONS[operation]
    if verb in USERS[user]:
        assert ok(answer)["metadata"]["annotations"] == command(operation, by=user)
    else:
        refused(answer, f"{user} may not {operation} KeyRotation prod: that needs the verb {verb} on it; ask: kubectl auth can-i "
                f"{verb} keyrotations.keyturn.dev/prod -n {scene.ns}")


def test_a_verb_alone_is_no_right_to_write(scene):
    answer = scene.annotate("viewer", command(by="viewer"))
    assert answer.status_code == 403 and 'User "viewer" cannot patch resource "keyrotations"' in answer.json()["message"]


@pytest.mark.parametrize("user", USERS)
def test_can_i_answers_truly(scene, kubectl, user):
    assert {verb for verb in sorted(ALL) if can(kubectl, scene, user, verb)} == USERS[user]


def test_the_line_in_the_sentence_answers_no_and_then_yes(scene, kubectl, kube):
    bind(kube, scene.ns, "asker", rules=[WRITES])
    said = eventually("asker may write", lambda: refused(scene.annotate("asker", command("promote", by="asker"))))
    line = re.search(r"kubectl (auth can-i \S+ \S+ -n \S+)", said)[1].split()
    assert kubectl(*line, "--as", "asker", check=False).stdout.strip() == "no"
    bind(kube, scene.ns, "asker", rules=[on_rotations("approve")], name="asker-approves")
    eventually("asker may approve", lambda: kubectl(*line, "--as", "asker", check=False).stdout.strip() == "yes")
    ok(scene.annotate("asker", command("promote", by="asker")))


def test_a_right_to_one_is_no_right_to_another(scene, kubectl):
    ok(scene.annotate("only:other", command("promote", by="only:other"), name="other"))
    refused(scene.annotate("only:other", command("promote", by="only:other"), name="prod"))
    assert can(kubectl, scene, "only:other", "approve", "keyrotations.keyturn.dev/other")
    assert not can(kubectl, scene, "only:other", "approve", "keyrotations.keyturn.dev")


def test_another_namespace_is_another_right(scene, kube, admin):
    with fresh_namespace(kube, "elsewhere") as ns:
        bind(kube, ns, "administrator", rules=[WRITES])
        there = Scene(admin, ns)
        ok(admin("POST", there.all, rotation()), 201)
        eventually("the right to write", lambda: refused(
            there.annotate("administrator", command("promote", by="administrator")), f"-n {ns}"))


# --- who ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("by", ["editor", "Administrator", "administrator ", "admin", "", None, "system:serviceaccount:x:administrator"])
def test_the_name_is_the_true_one(scene, by):
    refused(scene.annotate("administrator", command("promote", by=by)), "keyturn.dev/operation-by",
            "write administrator, as kubectl auth whoami shows it")


def test_the_line_of_status_works_as_it_stands(scene, admin):
    """engine.c prints it; here for the cluster's administrator, whatever the name is."""
    ok(admin("POST", scene.all, rotation("typed")), 201)
    line = (f"kubectl annotate keyrotation typed -n {scene.ns} --overwrite keyturn.dev/operation=promote keyturn.dev/operation-for=2 "
            "keyturn.dev/operation-by=$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')")
    run("bash", "-ec", line)
    got = ok(admin("GET", f"{scene.all}/typed"))["metadata"]["annotations"]
    assert got[KEYS["operation"]] == "promote" and got[KEYS["by"]]
    said = run("bash", "-ec", line.replace("promote", "rollback").replace(".username}", ".username}x"), check=False)
    assert said.returncode != 0 and "keyturn.dev/operation-by is missing or not who commands" in said.stderr


def test_a_service_account_commands_in_its_own_name(scene):
    path = f"{scene.all}/prod{DRY}"
    for by, good in ((scene.gitops, True), ("gitops", False), ("editor", False)):
        answer = scene.tool("PATCH", path, {"metadata": {"annotations": command(by=by)}}, content_type=MERGE)
        ok(answer) if good else refused(answer, scene.gitops)


# --- what -----------------------------------------------------------------------------------------

WHOLE = {
    "unknown": (command("renew"), "names no operation: write rotate, promote, retire, rollback or abort"),
    "in capitals": (command("Rotate"), "names no operation"),
    "a verb that is none": (command("approve"), "names no operation"),
    "empty": (command(""), "names no operation"),
    "two at once": (command("rotate,promote"), "names no operation"),
    "no operation": (command(None), "keyturn.dev/operation is missing"),
    "a reason alone": (command(None, None, reason="because"), "keyturn.dev/operation is missing"),
    "no number": (command(number=None), "keyturn.dev/operation-for is missing or names no rotation"),
    **{f"number {number!r}": (command(number=number), "keyturn.dev/operation-for is missing or names no rotation")
       for number in ("", "x", "-1", "+1", "1.0", "01", "1 ", " 1", "1/", "/kid", "1\n", "1/a\nb", "0x1", "1" * 16, "1/" + "k" * 257)},
    "a reason that is too long": (command(reason="r" * 257), "at most 256 bytes long"),
    "a reason too long in bytes": (command(reason="ü" * 129), "at most 256 bytes long"),
}


@pytest.mark.parametrize("what", WHOLE)
def test_a_command_is_whole_or_refused(scene, what):
    """By somebody who may do everything."""
    annotations, sentence = WHOLE[what]
    by = {KEYS["by"]: "administrator"} if what != "a reason alone" else {}
    refused(scene.annotate("administrator", {**annotations, **by}), sentence, code=422)


@pytest.mark.parametrize("number", ["0", "1", "17", "9" * 15, "3/Vy2-_.kid", "3/a/b", "3/with a space", "3/" + "k" * 256])
def test_a_number_and_a_kid_are_taken(scene, number):
    ok(scene.annotate("administrator", command("retire", number, by="administrator", reason="ü" * 128)))


@pytest.fixture
def given(scene):
    """A KeyRotation with a command on it."""
    yield scene.commanded()
    ok(scene.admin("DELETE", f"{scene.all}/given"))


CHANGES = [{KEYS["operation"]: "retire"}, {KEYS["number"]: "4"}, {KEYS["number"]: "3/kid"}, {KEYS["by"]: "writer"},
           {KEYS["reason"]: "another"}, {KEYS["reason"]: None}, {KEYS["operation"]: "rotate", KEYS["by"]: "writer"}]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_change_is_a_command(scene, given, change):
    """The reason too: it is recorded beside the name."""
    refused(scene.annotate("writer", change, name="given"))
    refused(scene.annotate("approver@example.com", change, name="given"), "keyturn.dev/operation-by")
    if KEYS["by"] not in change:
        ok(scene.annotate("administrator", change, name="given"))


@pytest.mark.parametrize("key", ["number", "by"])
def test_half_a_command_is_not_taken_off(scene, given, key):
    """promote of nobody, or of any rotation, would be left."""
    for user in ("writer", "administrator"):
        code = {"number": 422, "by": 403}[key]
        refused(scene.annotate(user, {KEYS[key]: None}, name="given"), KEYS[key] + " is missing", code=code)


@pytest.mark.parametrize("keys", [list(KEYS), ["operation"], ["operation", "number", "by"]], ids=" ".join)
def test_taking_a_command_off_is_free(scene, given, keys):
    got = ok(scene.annotate("writer", {KEYS[k]: None for k in keys}, name="given"))
    assert got["metadata"]["annotations"] == {k: v for k, v in given["metadata"]["annotations"].items()
                                              if k not in {KEYS[k] for k in keys}}
    ok(scene.send("writer", "PATCH", f"{scene.all}/given{DRY}", [{"op": "remove", "path": "/metadata/annotations"}], JSON_PATCH))


def test_what_was_left_over_is_no_command_until_it_is_one(scene, given):
    """After the operation alone was taken off, somebody else does not find half of a command to use."""
    ok(scene.annotate("writer", {KEYS["operation"]: None}, name="given", dry=False))
    refused(scene.annotate("writer", {KEYS["operation"]: "promote"}, name="given"))
    refused(scene.annotate("approver@example.com", {KEYS["operation"]: "promote"}, name="given"), "keyturn.dev/operation-by")
    ok(scene.annotate("approver@example.com", {KEYS["operation"]: "promote", KEYS["by"]: "approver@example.com"}, name="given"))


# --- what is no command ---------------------------------------------------------------------------

def test_the_same_values_pass_whoever_writes(scene, given):
    """A controller that applies what it finds, or what it wrote before."""
    same = {k: v for k, v in given["metadata"]["annotations"].items() if k != "kept"}
    path = f"{scene.all}/given"
    applied = rotation("given", same, refreshInterval="1m")
    for send in (scene.tool, lambda *args, content_type: scene.send("writer", *args, content_type)):
        ok(send("PATCH", path + DRY + "&fieldManager=gitops&force=true", applied, content_type=APPLY))
        ok(send("PATCH", path + DRY, {"metadata": {"annotations": same, "labels": {"more": "x"}}}, content_type=MERGE))
        now = ok(scene.admin("GET", path))
        now["spec"]["refreshInterval"] = "2m"
        ok(send("PUT", path + DRY, now, content_type="application/json"))
    applied["metadata"]["annotations"] = {**same, KEYS["number"]: "4"}
    refused(scene.tool("PATCH", path + DRY + "&fieldManager=gitops&force=true", applied, content_type=APPLY))


def test_a_command_put_back_after_it_was_taken_off_is_new(scene, given):
    same = {k: v for k, v in given["metadata"]["annotations"].items() if k != "kept"}
    ok(scene.annotate("writer", dict.fromkeys(same), name="given", dry=False))
    refused(scene.tool("PATCH", f"{scene.all}/given{DRY}", {"metadata": {"annotations": same}}, content_type=MERGE),
            "keyturn.dev/operation-by", f"write {scene.gitops}")


@pytest.mark.parametrize("user, operation, good", [("administrator", "promote", True), ("editor", "promote", False),
                                                   ("editor", "rotate", True), ("writer", "rotate", False)])
def test_creating_with_a_command(scene, user, operation, good):
    for name in ({"name": "new"}, {"generateName": "new-"}):
        item = rotation()
        item["metadata"] = {**name, "annotations": command(operation, by=user)}
        answer = scene.send(user, "POST", scene.all + DRY, item, "application/json")
        if good:
            ok(answer, 201)
        else:
            refused(answer, f"{user} may not {operation} KeyRotation new", f"that needs the verb {OPERATIONS[operation]}")
    forged = rotation("new", command(operation, by="administrator" if user != "administrator" else "editor"))
    refused(scene.send(user, "POST", scene.all + DRY, forged, "application/json"), f"write {user}")


def test_creating_by_apply_with_a_command(scene):
    path = f"{scene.all}/new{DRY}&fieldManager=x"
    ok(scene.send("editor", "PATCH", path, rotation("new", command(by="editor")), APPLY), 201)
    refused(scene.send("editor", "PATCH", path, rotation("new", command("rollback", by="editor")), APPLY))


def test_settings_and_everything_else_need_no_verb(scene):
    notes = {"keyturn.dev/refresh": "1", "keyturn.dev/acknowledge": "x", "keyturn.dev/operation-x": "y"}
    for patch in ({"spec": {"refreshInterval": "1m"}}, {"metadata": {"labels": {"a": "b"}}},
                  {"metadata": {"finalizers": ["test.dev/a"]}}, {"metadata": {"annotations": notes}}):
        ok(scene.send("writer", "PATCH", f"{scene.all}/prod{DRY}", patch))
    ok(scene.send("writer", "POST", scene.all + DRY, rotation("new"), "application/json"), 201)


# --- two persons ----------------------------------------------------------------------------------

KEYCLOAK = {"url": "http://keycloak.auth.svc:8080", "realm": "prod", "credentials": {"secret": {"name": "login"}}}


@pytest.fixture(scope="module")
def two(scene):
    """A rotation that the administrator asked for, where another has to approve."""
    spec = {"keycloak": KEYCLOAK, "key": {"algorithm": "RS256"}, "approval": {"promote": "Manual", "retire": "Manual", "twoPerson": True}}
    made = ok(scene.admin("POST", scene.all, rotation("two", **spec)), 201)
    assert made["spec"]["approval"]["twoPerson"] is True
    status = {"status": {"rotation": {"number": 2, "requestedBy": "administrator"}}}
    made = ok(scene.admin("PATCH", f"{scene.all}/two/status", status, content_type=MERGE))
    assert made["status"]["rotation"]["requestedBy"] == "administrator"
    return "two"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_who_asked_does_not_approve(scene, two, operation):
    answer = scene.annotate("administrator", command(operation, "2", by="administrator"), name=two)
    if OPERATIONS[operation] == "approve":
        refused(answer, "who asked for a rotation cannot approve it (spec.approval.twoPerson)")
    else:
        ok(answer)


def test_another_person_does(scene, two):
    for operation in ("promote", "retire"):
        ok(scene.annotate("approver@example.com", command(operation, "2", by="approver@example.com"), name=two))
        refused(scene.annotate("administrator", command(operation, "2", by="approver@example.com"), name=two), "keyturn.dev/operation-by")


def test_the_rule_is_not_turned_off_in_the_same_breath(scene, two):
    own = command("promote", "2", by="administrator")
    for approval in ({"twoPerson": False}, {"twoPerson": None}, None):
        refused(scene.annotate("administrator", own, name=two, spec={"approval": approval}), "spec.approval.twoPerson")
    off = {"spec": {"approval": {"twoPerson": False}}}
    ok(scene.send("writer", "PATCH", f"{scene.all}/two", off))  # a setting: the right to update is enough
    try:
        ok(scene.annotate("administrator", own, name=two))
        refused(scene.annotate("administrator", own, name=two, spec={"approval": {"twoPerson": True}}), "spec.approval.twoPerson")
    finally:
        ok(scene.send("administrator", "PATCH", f"{scene.all}/two", {"spec": {"approval": {"twoPerson": True}}}))


# --- the policy itself ----------------------------------------------------------------------------

def test_the_policy_is_understood(scene, kube):
    """The API server's type checker has nothing to say about the rules."""
    def checked():
        status = kube.admission.read_validating_admission_policy(POLICY).status
        return status if status and status.type_checking else None
    status = eventually("type check", checked)
    assert not status.type_checking.expression_warnings, status.type_checking.expression_warnings


def test_without_the_policy_there_are_no_verbs(kube, helm, kubectl, crd, admin):
    """operations.enabled=false: nothing is asked, and no role has a verb that nobody asks for."""
    with installed(kube, helm, "free", {"replicaCount": 0, "operations": {"enabled": False}}), fresh_namespace(kube, "free") as ns:
        there = types.SimpleNamespace(ns=ns)
        assert "free-operations" not in kubectl("get", "validatingadmissionpolicy", "-o", "name").stdout
        bind(kube, ns, "editor", "edit")
        eventually("the right to write", lambda: can(kubectl, there, "editor", "patch"))
        verbs = {v for rule in kube.rbac.read_cluster_role("free-edit").rules for v in rule.verbs}
        assert not verbs & ALL
        with pytest.raises(kubernetes.client.ApiException, match="Not Found"):
            kube.rbac.read_cluster_role("free-admin")
