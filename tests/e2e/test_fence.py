# SPDX-License-Identifier: Apache-2.0
"""The fence: what a stolen token of the operator is good for.

With the operator's own ServiceAccount token every forbidden thing is tried on a real API server. Each must be refused by
name: RBAC's sentence, the admission policy, or the API server's own immutability. A 404 is no refusal: every object exists,
and the administrator sends each request too (writes as dry run), so that none is refused for being malformed.
Positive controls by the same token show that the refusals are not those of a token that can do nothing.
"""
import base64
import json
import re
import types

import pytest

from harness import FINALIZER, Http, eventually, fresh_namespace, installed

PREFIX = "fence"
CANARY = base64.b64encode(b"the-word-that-must-not-leave").decode()
OURS = {"app.kubernetes.io/managed-by": "keyturn"}
ADOPT = "keyturn.dev/adopt"
HASH = "keyturn.dev/trust-hash"
TYPE = "keyturn.dev/public-keys"
KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}

POLICIES = ("secrets", "configmaps", "workloads", "keyrotations")

JSON = "application/json"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
META = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
ACCEPTS = {
    "json": JSON,
    "table": JSON + ";as=Table;g=meta.k8s.io;v=v1",
    "metadata": JSON + META,
    "metadata-list": JSON + ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "protobuf": "application/vnd.kubernetes.protobuf",
    "protobuf-metadata": "application/vnd.kubernetes.protobuf" + META,
    "yaml": "application/yaml",
}


# --- what there is to attack ----------------------------------------------------------------------

def meta(name, **more):
    return {"name": name, **more}


def secret(name, kind="Opaque", **metadata):
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": meta(name, **metadata), "data": {"word": CANARY}}


def config_map(name, **metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name, **metadata), "data": {"a": "b"}}


def pod_spec():
    """A pod that no node takes: the fence is about objects, nothing need run."""
    return {"containers": [{"name": "main", "image": "localhost/none:1", "env": [{"name": "A", "value": "b"}]}],
            "nodeSelector": {"keyturn-test": "nowhere"}}


def workload(kind, name="api"):
    spec = {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": {"kept": "yes"}}, "spec": pod_spec()}}
    if kind != "DaemonSet":
        spec["replicas"] = 1
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "spec": spec,
            "metadata": meta(name, labels={"app": name}, annotations={"kept": "yes"}, finalizers=["test.keyturn.dev/kept"])}


def rotation(name="prod"):
    return {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": meta(name, labels={"team": "shop"}),
            "spec": {"issuer": {"url": "https://auth.example.com/realms/prod"},
                     "consumers": [{"name": "api", "publish": {"secret": {"name": "ours"}}}]}}


# --- the forbidden things -------------------------------------------------------------------------

def case(title, by, method, path, body=None, **more):
    """`by`: rbac, immutable, or the last word of a policy's name. Path and body may hold {ns}."""
    return types.SimpleNamespace(title=title, by=by, method=method, path=path, body=body, admin=more.pop("admin", True),
                                 watch=more.pop("watch", None), more=more)


CORE, APPS = "/api/v1/namespaces/{ns}", "/apis/apps/v1/namespaces/{ns}"
CUSTOM = "/apis/keyturn.dev/v1alpha1/namespaces/{ns}/keyrotations"
RBAC_API, ADMISSION = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"


def reads():
    """Every way to read a Secret: verb by media type."""
    for name, accept in ACCEPTS.items():
        if name != "metadata-list":
            yield case(f"get a Secret as {name}", "rbac", "GET", CORE + "/secrets/foreign", accept=accept)
        if name not in ("metadata", "protobuf-metadata"):
            yield case(f"list Secrets as {name}", "rbac", "GET", CORE + "/secrets", accept=accept)
    yield case("list Secrets of the cluster", "rbac", "GET", "/api/v1/secrets?limit=1")
    yield case("list one Secret by field selector", "rbac", "GET", CORE + "/secrets?fieldSelector=metadata.name%3Dforeign")
    yield case("list Secrets of our own type", "rbac", "GET", CORE + "/secrets?fieldSelector=type%3Dkeyturn.dev/public-keys")
    for name in ("json", "metadata", "table", "protobuf"):
        yield case(f"watch Secrets as {name}", "rbac", "GET", CORE + "/secrets?watch=1&timeoutSeconds=1", accept=ACCEPTS[name])
    yield case("watch by the old path", "rbac", "GET", "/api/v1/watch/namespaces/{ns}/secrets?timeoutSeconds=1")
    yield case("get our own Secret", "rbac", "GET", CORE + "/secrets/ours", accept=ACCEPTS["metadata"])
    yield case("get the Secret with credentials of another namespace", "rbac", "GET", CORE + "/secrets/login")


def secret_writes():
    path, patch = CORE + "/secrets/foreign", {"metadata": {"annotations": {ADOPT: "true"}}}
    for name, kind, body in (("merge", MERGE, patch), ("strategic merge", STRATEGIC, patch),
                             ("empty merge", MERGE, {}),
                             ("JSON", JSON_PATCH, [{"op": "add", "path": "/metadata/annotations", "value": {ADOPT: "true"}}]),
                             ("JSON test", JSON_PATCH, [{"op": "test", "path": "/data/word", "value": CANARY}])):
        yield case(f"{name} patch of a Secret", "rbac", "PATCH", path, body, content_type=kind)
    yield case("apply to a Secret", "rbac", "PATCH", path + "?fieldManager=keyturn&force=true", secret("foreign"),
               content_type=APPLY)
    yield case("apply a new Secret", "rbac", "PATCH", CORE + "/secrets/new?fieldManager=keyturn", secret("new"), content_type=APPLY)
    yield case("empty patch of a Secret for its metadata", "rbac", "PATCH", path, {}, content_type=MERGE, accept=ACCEPTS["metadata"])
    # The administrator's answer to this one holds the Secret, which is why the operator may not patch at all.
    yield case("invalid patch of a Secret", "rbac", "PATCH", path, {"type": "other"}, content_type=MERGE, admin=False)
    for name, accept in ACCEPTS.items():
        if name != "metadata-list":
            yield case(f"put a foreign Secret, answer as {name}", "secrets", "PUT", path, secret("foreign"), accept=accept)
    yield case("put a foreign Secret as dry run", "secrets", "PUT", path + "?dryRun=All", secret("foreign"))
    yield case("put a foreign Secret and say it is adopted", "secrets", "PUT", path, secret("foreign", annotations={ADOPT: "true"}))
    yield case("put a foreign Secret with our label", "secrets", "PUT", path, secret("foreign", labels=OURS))
    yield case("put a foreign Secret as ours by type", "immutable", "PUT", path, secret("foreign", TYPE, labels=OURS), admin=False)
    yield case("put the credentials", "secrets", "PUT", CORE + "/secrets/login", secret("login"))
    yield case("put our own Secret with another type", "immutable", "PUT", CORE + "/secrets/ours", secret("ours", labels=OURS),
               admin=False)
    yield case("put our own Secret with the adopt annotation", "secrets", "PUT", CORE + "/secrets/ours",
               secret("ours", TYPE, labels=OURS, annotations={ADOPT: "true"}))
    yield case("put an adopted Secret without its annotation", "secrets", "PUT", CORE + "/secrets/adopted", secret("adopted"))
    yield case("put an adopted Secret with another value", "secrets", "PUT", CORE + "/secrets/adopted",
               secret("adopted", annotations={ADOPT: "false"}))
    yield case("put a Secret adopted by another value", "secrets", "PUT", CORE + "/secrets/maybe",
               secret("maybe", annotations={ADOPT: "yes"}))
    yield case("create an Opaque Secret", "secrets", "POST", CORE + "/secrets", secret("new", labels=OURS))
    yield case("create a Secret of our type without the label", "secrets", "POST", CORE + "/secrets", secret("new", TYPE))
    yield case("create a Secret of our type, adopted", "secrets", "POST", CORE + "/secrets",
               secret("new", TYPE, labels=OURS, annotations={ADOPT: "true"}))
    yield case("create a token of a ServiceAccount", "secrets", "POST", CORE + "/secrets",
               secret("new", "kubernetes.io/service-account-token", labels=OURS,
                      annotations={"kubernetes.io/service-account.name": "default"}))
    yield case("create a Secret with a generated name", "secrets", "POST", CORE + "/secrets",
               {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "new-"}})
    yield case("create an Opaque Secret in kube-system", "secrets", "POST", "/api/v1/namespaces/kube-system/secrets", secret("new"))
    yield case("the proof of the fence: an Opaque Secret as dry run", "secrets", "POST",
               "/api/v1/namespaces/{own}/secrets?dryRun=All", secret("keyturn-fence-probe"))
    for name in ("json", "metadata", "table", "protobuf"):
        yield case(f"delete a foreign Secret, answer as {name}", "secrets", "DELETE", path, accept=ACCEPTS[name])
    yield case("delete a foreign Secret as dry run", "secrets", "DELETE", path + "?dryRun=All")
    yield case("delete the credentials", "secrets", "DELETE", CORE + "/secrets/login")
    yield case("delete all Secrets", "rbac", "DELETE", CORE + "/secrets")
    yield case("delete all Secrets of our type", "rbac", "DELETE", CORE + "/secrets?fieldSelector=type%3Dkeyturn.dev/public-keys")


def config_map_writes():
    path = CORE + "/configmaps/foreign"
    yield case("put a foreign ConfigMap", "configmaps", "PUT", path, config_map("foreign"))
    yield case("put a foreign ConfigMap with our label", "configmaps", "PUT", path, config_map("foreign", labels=OURS))
    yield case("put a foreign ConfigMap and say it is adopted", "configmaps", "PUT", path,
               config_map("foreign", labels=OURS, annotations={ADOPT: "true"}))
    yield case("delete a foreign ConfigMap", "configmaps", "DELETE", path)
    yield case("delete the ConfigMap with the cluster's CA", "configmaps", "DELETE", CORE + "/configmaps/kube-root-ca.crt")
    yield case("delete all ConfigMaps", "rbac", "DELETE", CORE + "/configmaps")
    yield case("create a ConfigMap without our label", "configmaps", "POST", CORE + "/configmaps", config_map("new"))
    yield case("create an adopted ConfigMap", "configmaps", "POST", CORE + "/configmaps",
               config_map("new", labels=OURS, annotations={ADOPT: "true"}))
    yield case("put our ConfigMap without its label", "configmaps", "PUT", CORE + "/configmaps/ours", config_map("ours"))
    yield case("put our ConfigMap with the adopt annotation", "configmaps", "PUT", CORE + "/configmaps/ours",
               config_map("ours", labels=OURS, annotations={ADOPT: "true"}))
    yield case("put an adopted ConfigMap without its annotation", "configmaps", "PUT", CORE + "/configmaps/adopted",
               config_map("adopted", labels=OURS))
    for name, kind in (("merge", MERGE), ("strategic merge", STRATEGIC)):
        yield case(f"{name} patch of our ConfigMap", "rbac", "PATCH", CORE + "/configmaps/ours", {"data": {"a": "c"}},
                   content_type=kind)


OWNER = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "foreign", "uid": "00000000-0000-4000-8000-000000000000"}]


def workload_writes(kind):
    path = f"{APPS}/{KINDS[kind]}/api"
    template = lambda **fields: {"spec": {"template": fields}}
    container = {"name": "main", "image": "localhost/other:1"}
    strategy = "strategy" if kind == "Deployment" else "updateStrategy"
    changes = {
        "image": template(spec={"containers": [container]}),
        "command": template(spec={"containers": [{**container, "image": "localhost/none:1", "command": ["sh"]}]}),
        "another container": template(spec={"containers": [container, {"name": "b", "image": "localhost/none:1"}]}),
        "service account": template(spec={"serviceAccountName": "other"}),
        "host network": template(spec={"hostNetwork": True}),
        "volumes": template(spec={"volumes": [{"name": "v", "secret": {"secretName": "foreign"}}]}),
        "node": template(spec={"nodeSelector": {"keyturn-test": None}}),
        "label of the template": template(metadata={"labels": {"more": "x"}}),
        "another annotation of the template": template(metadata={"annotations": {"more": "x"}}),
        "value of another annotation": template(metadata={"annotations": {"kept": "no"}}),
        "another annotation removed": template(metadata={"annotations": {"kept": None}}),
        "another annotation beside ours": template(metadata={"annotations": {HASH: "v1", "more": "x"}}),
        "all annotations removed": template(metadata={"annotations": None}),
        "a hash that is too long": template(metadata={"annotations": {HASH: "h" * 129}}),
        "least ready time": {"spec": {"minReadySeconds": 3}},
        "strategy": {"spec": {strategy: {"type": "Recreate" if kind == "Deployment" else "OnDelete", "rollingUpdate": None}}},
        "history": {"spec": {"revisionHistoryLimit": 3}},
        "label": {"metadata": {"labels": {"more": "x"}}},
        "label removed": {"metadata": {"labels": None}},
        "annotation": {"metadata": {"annotations": {"more": "x"}}},
        "our annotation in the wrong place": {"metadata": {"annotations": {HASH: "v1"}}},
        "annotation removed": {"metadata": {"annotations": {"kept": None}}},
        "owner references": {"metadata": {"ownerReferences": OWNER}},
        "finalizers": {"metadata": {"finalizers": ["test.keyturn.dev/kept", "test.keyturn.dev/more"]}},
        "finalizers removed": {"metadata": {"finalizers": None}},
    }
    if kind != "DaemonSet":
        changes["replicas"] = {"spec": {"replicas": 0}}
    if kind == "Deployment":
        changes["paused"] = {"spec": {"paused": True}}
    for what, body in changes.items():
        yield case(f"{kind}: {what}", "workloads", "PATCH", path, body, content_type=MERGE)
    yield case(f"{kind}: selector", "immutable", "PATCH", path,
               {"spec": {"selector": {"matchLabels": {"app": "other"}},
                         "template": {"metadata": {"labels": {"app": "other"}}}}}, content_type=MERGE, admin=False)
    image = "/spec/template/spec/containers/0/image"
    yield case(f"{kind}: image by JSON patch", "workloads", "PATCH", path,
               [{"op": "replace", "path": image, "value": "localhost/other:1"}], content_type=JSON_PATCH)
    yield case(f"{kind}: image by strategic merge", "workloads", "PATCH", path, template(spec={"containers": [container]}),
               content_type=STRATEGIC)
    applied = workload(kind)
    applied["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/other:1"
    yield case(f"{kind}: image by apply", "workloads", "PATCH", path + "?fieldManager=keyturn&force=true", applied,
               content_type=APPLY)
    created = workload(kind, "new")
    yield case(f"{kind}: created by apply", "rbac", "PATCH", f"{APPS}/{KINDS[kind]}/new?fieldManager=keyturn", created,
               content_type=APPLY)
    yield case(f"{kind}: created", "rbac", "POST", f"{APPS}/{KINDS[kind]}", created)
    yield case(f"{kind}: put", "rbac", "PUT", path, workload(kind))
    yield case(f"{kind}: deleted", "rbac", "DELETE", path)
    yield case(f"{kind}: all deleted", "rbac", "DELETE", f"{APPS}/{KINDS[kind]}")
    yield case(f"{kind}: status", "rbac", "PATCH", path + "/status", {"status": {"observedGeneration": 9}}, content_type=MERGE)
    if kind != "DaemonSet":
        yield case(f"{kind}: scale", "rbac", "PATCH", path + "/scale", {"spec": {"replicas": 0}}, content_type=MERGE)
        yield case(f"{kind}: scale read", "rbac", "GET", path + "/scale")


def pod_writes():
    path = CORE + "/pods/lone"
    changes = {
        "image": {"spec": {"containers": [{"name": "main", "image": "localhost/other:1"}]}},
        "label": {"metadata": {"labels": {"more": "x"}}},
        "annotation": {"metadata": {"annotations": {"more": "x"}}},
        "owner references": {"metadata": {"ownerReferences": OWNER}},
        "finalizers": {"metadata": {"finalizers": ["test.keyturn.dev/more"]}},
    }
    for what, body in changes.items():
        yield case(f"Pod: {what}", "rbac", "PATCH", path, body, content_type=STRATEGIC)
    yield case("Pod: created", "rbac", "POST", CORE + "/pods",
               {"apiVersion": "v1", "kind": "Pod", "metadata": meta("new"), "spec": pod_spec()})
    yield case("Pod: deleted", "rbac", "DELETE", path)
    yield case("Pod: status", "rbac", "PATCH", path + "/status", {"status": {"message": "x"}}, content_type=MERGE)
    yield case("Pod: evicted", "rbac", "POST", path + "/eviction",
               {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta("lone")})
    # Connections to a pod that runs nowhere: only the refusal can be seen.
    for sub in ("exec?command=sh&stdout=1", "attach?stdout=1", "portforward?ports=80"):
        yield case(f"Pod: {sub.split('?')[0]}", "rbac", "POST", f"{path}/{sub}", admin=False)
        yield case(f"Pod: {sub.split('?')[0]} by GET", "rbac", "GET", f"{path}/{sub}", admin=False, Connection="Upgrade",
                   Upgrade="websocket")
    yield case("Pod: log", "rbac", "GET", path + "/log", admin=False)
    yield case("Pod: proxy", "rbac", "GET", path + "/proxy/", admin=False)
    yield case("Pod: ephemeral container", "rbac", "PATCH", path + "/ephemeralcontainers",
               {"spec": {"ephemeralContainers": [{"name": "e", "image": "localhost/other:1"}]}}, content_type=STRATEGIC)


def rotation_writes():
    path = CUSTOM + "/prod"
    changes = {
        "spec": {"spec": {"refreshInterval": "1h"}},
        "consumers": {"spec": {"consumers": []}},
        "issuer": {"spec": {"issuer": {"url": "https://evil.example.com"}}},
        "labels": {"metadata": {"labels": {"more": "x"}}},
        "annotations": {"metadata": {"annotations": {"keyturn.dev/acknowledge": "x"}}},
        "owner references": {"metadata": {"ownerReferences": OWNER}},
        "another finalizer": {"metadata": {"finalizers": [FINALIZER, "test.keyturn.dev/more"]}},
        "spec beside our finalizer": {"metadata": {"finalizers": [FINALIZER]}, "spec": {"deletionPolicy": "Delete"}},
    }
    for what, body in changes.items():
        yield case(f"KeyRotation: {what}", "keyrotations", "PATCH", path, body, content_type=MERGE)
    yield case("KeyRotation: spec by JSON patch", "keyrotations", "PATCH", path,
               [{"op": "replace", "path": "/spec/refreshInterval", "value": "1h"}], content_type=JSON_PATCH)
    yield case("KeyRotation: created", "rbac", "POST", CUSTOM, rotation("new"))
    created = rotation("new")
    yield case("KeyRotation: created by apply", "rbac", "PATCH", CUSTOM + "/new?fieldManager=keyturn", created,
               content_type=APPLY)
    yield case("KeyRotation: deleted", "rbac", "DELETE", path)
    yield case("KeyRotation: all deleted", "rbac", "DELETE", CUSTOM)


def everything_else():
    admin_binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta("fence-new"),
                     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                     "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]}
    yield case("RBAC: a binding to cluster-admin", "rbac", "POST", RBAC_API + "/clusterrolebindings", admin_binding)
    yield case("RBAC: more rights for our own ClusterRole", "rbac", "PATCH", RBAC_API + "/clusterroles/" + PREFIX,
               [{"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}}],
               content_type=JSON_PATCH)
    yield case("RBAC: our own binding", "rbac", "PATCH", RBAC_API + "/clusterrolebindings/" + PREFIX,
               {"metadata": {"labels": {"more": "x"}}}, content_type=MERGE)
    yield case("RBAC: our own Role", "rbac", "DELETE", RBAC_API + "/namespaces/{own}/roles/" + PREFIX + "-own")
    yield case("RBAC: a Role where the Secrets are", "rbac", "POST", RBAC_API + "/namespaces/{ns}/roles",
               {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta("new"),
                "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]})
    for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        for policy in ("secrets", "workloads"):
            name = f"{ADMISSION}/{plural}/{PREFIX}-fence-{policy}"
            yield case(f"the fence itself: delete {plural} {policy}", "rbac", "DELETE", name)
            yield case(f"the fence itself: patch {plural} {policy}", "rbac", "PATCH", name,
                       {"metadata": {"labels": {"more": "x"}}}, content_type=MERGE)
        yield case(f"the fence itself: all {plural}", "rbac", "DELETE", f"{ADMISSION}/{plural}?labelSelector=none%3Dsuch")
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    yield case("a token of another account", "rbac", "POST", CORE + "/serviceaccounts/default/token", token)
    yield case("a token of our own account", "rbac", "POST", "/api/v1/namespaces/{own}/serviceaccounts/" + PREFIX + "/token", token)
    yield case("acting as the administrator", "rbac", "GET", CORE + "/secrets/foreign", **{"Impersonate-User": "admin"})
    yield case("acting as a group", "rbac", "GET", CORE + "/secrets/foreign",
               **{"Impersonate-User": "admin", "Impersonate-Group": "system:masters"})
    yield case("a namespace", "rbac", "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta("fence-x")})
    yield case("our own Deployment", "workloads", "PATCH", "/apis/apps/v1/namespaces/{own}/deployments/" + PREFIX,
               {"spec": {"template": {"spec": {"serviceAccountName": "default"}}}}, content_type=MERGE)
    yield case("a Lease of kube-system", "rbac", "GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases")
    yield case("another Lease of our namespace", "rbac", "GET", "/apis/coordination.k8s.io/v1/namespaces/{own}/leases/other", admin=False)
    yield case("the CRD", "rbac", "PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/keyrotations.keyturn.dev",
               {"metadata": {"labels": {"more": "x"}}}, content_type=MERGE)
    yield case("nodes", "rbac", "GET", "/api/v1/nodes")
    yield case("events read", "rbac", "GET", "/apis/events.k8s.io/v1/namespaces/{ns}/events")


CASES = [*reads(), *secret_writes(), *config_map_writes(), *(c for kind in KINDS for c in workload_writes(kind)), *pod_writes(),
         *rotation_writes(), *everything_else()]


# --- the scene ------------------------------------------------------------------------------------

def filled(value, scene):
    text = json.dumps(value)
    return json.loads(text.replace("{ns}", scene.ns).replace("{own}", scene.own))


def collection(scene, item):
    plural = {"Secret": "secrets", "ConfigMap": "configmaps", "Pod": "pods", **KINDS}.get(item["kind"])
    if item["kind"] == "KeyRotation":
        return CUSTOM.replace("{ns}", scene.ns)
    return (APPS if item["kind"] in KINDS else CORE).replace("{ns}", scene.ns) + "/" + plural


def make(http, scene, item):
    answer = http("POST", collection(scene, item), item)
    assert answer.status_code == 201, f"{item['kind']} {item['metadata']['name']}: {answer.status_code} {answer.text}"
    return answer.json()


def policy_name(what):
    return f"{PREFIX}-fence-{what}"


@pytest.fixture(scope="module")
def scene(kube, helm, kubectl, crd, admin):
    """The chart's rights and policies in force, no operator running, and objects of every kind to attack."""
    values = {"replicaCount": 0}
    with installed(kube, helm, PREFIX, values) as release, fresh_namespace(kube, "attacked") as ns:
        token = kubectl("create", "token", PREFIX, "--namespace", release.namespace, "--duration=1h").stdout.strip()
        scene = types.SimpleNamespace(ns=ns, own=release.namespace, admin=admin, thief=Http(token))
        for item in [secret("foreign"), secret("login"), secret("adopted", annotations={ADOPT: "true"}),
                     secret("maybe", annotations={ADOPT: "yes"}), config_map("foreign"),
                     config_map("adopted", annotations={ADOPT: "true"}), *map(workload, KINDS), rotation(),
                     {"apiVersion": "v1", "kind": "Pod", "metadata": meta("lone"), "spec": pod_spec()}]:
            make(admin, scene, item)
        probes = {
            "secrets": ("POST", CORE + "/secrets?dryRun=All", secret("probe"), JSON),
            "configmaps": ("POST", CORE + "/configmaps?dryRun=All", config_map("probe"), JSON),
            "workloads": ("PATCH", APPS + "/daemonsets/api?dryRun=All", {"spec": {"minReadySeconds": 1}}, MERGE),
            "keyrotations": ("PATCH", CUSTOM + "/prod?dryRun=All", {"metadata": {"labels": {"probe": "x"}}}, MERGE),
        }
        for what, (method, path, body, kind) in probes.items():
            eventually(f"policy {what} in force", lambda: policy_name(what) in scene.thief(
                method, filled(path, scene), body, content_type=kind).text, seconds=60)
        for item in (secret("ours", TYPE, labels=OURS), config_map("ours", labels=OURS)):
            make(scene.thief, scene, item)
        yield scene
        for plural in KINDS.values():
            admin("PATCH", f"{APPS}/{plural}/api".replace("{ns}", ns), {"metadata": {"finalizers": None}}, content_type=MERGE)
        scene.thief.session.close()


def send(http, scene, one, dry=False):
    path, more = filled(one.path, scene), dict(one.more)
    if dry and one.method != "GET" and "dryRun" not in path:
        path += ("&" if "?" in path else "?") + "dryRun=All"
    if dry:
        more = {k: v for k, v in more.items() if not k.startswith("Impersonate")}
    return http(one.method, path, None if one.body is None else filled(one.body, scene), **more)


@pytest.fixture(scope="module")
def refusals(tell):
    """Titles of what was refused, by what refused it."""
    found = {}
    yield found
    parts = ", ".join(f"{len(titles)} by {by}" for by, titles in sorted(found.items()))
    tell(f"fence: {sum(map(len, found.values()))} of {len(CASES)} forbidden things refused: {parts}")


@pytest.mark.parametrize("one", CASES, ids=[c.title for c in CASES])
def test_forbidden(scene, refusals, one):
    answer = send(scene.thief, scene, one)
    # One line, quoted as in plain text, whatever the media type.
    said = " ".join(answer.content.decode("utf-8", "replace").split()).replace('\\"', '"').replace("''", "'")
    assert CANARY not in said and base64.b64decode(CANARY).decode() not in said, "the refusal holds the Secret"
    assert answer.status_code in (403, 422), f"{answer.status_code}: {said[:600]}"
    if one.by == "rbac":
        wanted = f'User "system:serviceaccount:{scene.own}:{PREFIX}" cannot '
        assert wanted in said, said[:600]
    elif one.by == "immutable":
        assert "field is immutable" in said or "updates to statefulset spec for fields other than" in said, said[:600]
    else:
        name = policy_name(one.by)
        assert f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: " in said, said[:600]
        assert "failed to eval" not in said and "no such" not in said, f"refused by an error of the rule: {said[:600]}"
    if one.admin:
        allowed = send(scene.admin, scene, one, dry=True)
        assert allowed.status_code in (200, 201, 202), \
            f"the request itself is wrong: the administrator gets {allowed.status_code}: {allowed.text[:600]}"
    refusals.setdefault(one.by, []).append(one.title)


def test_enough_is_tried():
    titles = [c.title for c in CASES]
    assert len(titles) == len(set(titles))
    assert len(titles) >= 30


# --- what the same token may do -------------------------------------------------------------------

def ok(answer, code=200):
    assert answer.status_code == code, f"{answer.status_code}: {answer.text[:600]}"
    return answer.json()


@pytest.mark.parametrize("plural, item", [("secrets", lambda name, **m: secret(name, TYPE, **m)), ("configmaps", config_map)],
                         ids=["Secret", "ConfigMap"])
def test_allowed_own_object(scene, plural, item):
    path = f"{CORE}/{plural}".replace("{ns}", scene.ns)
    answer = ok(scene.thief("POST", path, item("mine", labels=OURS), accept=ACCEPTS["metadata"]), 201)
    assert answer["kind"] == "PartialObjectMetadata" and "data" not in answer
    changed = item("mine", labels={**OURS, "keyturn.dev/rotation": "prod"}, annotations={HASH: "v1"})
    answer = ok(scene.thief("PUT", f"{path}/mine", changed, accept=ACCEPTS["metadata"]))
    assert answer["metadata"]["annotations"] == {HASH: "v1"}
    if plural == "configmaps":
        assert ok(scene.thief("GET", f"{path}/mine"))["data"] == {"a": "b"}
        assert ok(scene.thief("GET", f"{path}/foreign"))["data"] == {"a": "b"}
        assert ok(scene.thief("GET", f"{path}?labelSelector=app.kubernetes.io/managed-by%3Dkeyturn"))["items"]
    ok(scene.thief("DELETE", f"{path}/mine", accept=ACCEPTS["metadata"]))


@pytest.mark.parametrize("plural, item", [("secrets", secret), ("configmaps", config_map)], ids=["Secret", "ConfigMap"])
def test_allowed_adopted_object(scene, plural, item):
    path = f"{CORE}/{plural}".replace("{ns}", scene.ns)
    given = make(scene.admin, scene, item("given", annotations={ADOPT: "true"}))
    changed = item("given", labels=OURS, annotations={ADOPT: "true", HASH: "v1"})
    ok(scene.thief("PUT", f"{path}/given", changed))
    assert ok(scene.admin("GET", f"{path}/given"))["metadata"]["uid"] == given["metadata"]["uid"]
    ok(scene.thief("DELETE", f"{path}/given", accept=ACCEPTS["metadata"]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("annotations", [{"kept": "yes"}, None], ids=["beside another", "alone"])
def test_allowed_restart(scene, kind, annotations):
    item = workload(kind, "free" if annotations else "bare")
    item["metadata"].pop("finalizers")
    item["spec"]["template"]["metadata"]["annotations"] = annotations
    made = make(scene.admin, scene, item)
    path = f"{APPS}/{KINDS[kind]}/{made['metadata']['name']}".replace("{ns}", scene.ns)

    def restarted(value):
        """By uid and resourceVersion; the kind's controller may write between reading and patching."""
        now = ok(scene.thief("GET", path))["metadata"]
        patch = {"metadata": {"uid": made["metadata"]["uid"], "resourceVersion": now["resourceVersion"]},
                 "spec": {"template": {"metadata": {"annotations": {HASH: value}}}}}
        answer = scene.thief("PATCH", path + "?fieldManager=keyturn", patch, content_type=MERGE)
        return None if answer.status_code == 409 else (answer,)

    for value in ("v1", "v2"):
        got = ok(*eventually("patch without conflict", lambda: restarted(value)))
        assert got["spec"]["template"]["metadata"]["annotations"] == {**(annotations or {}), HASH: value}
    assert ok(scene.thief("GET", f"{APPS}/{KINDS[kind]}".replace("{ns}", scene.ns)))["items"]
    ok(scene.admin("DELETE", path))


def test_allowed_pods_are_listed(scene):
    listed = ok(scene.thief("GET", (CORE + "/pods").replace("{ns}", scene.ns), accept=ACCEPTS["metadata-list"]))
    assert "lone" in [p["metadata"]["name"] for p in listed["items"]]


def test_allowed_keyrotation(scene):
    path = (CUSTOM + "/prod").replace("{ns}", scene.ns)
    for finalizers in ([FINALIZER], None):
        patch = {"metadata": {"finalizers": finalizers}}
        got = ok(scene.thief("PATCH", path, patch, content_type=MERGE))
        assert got["metadata"].get("finalizers") == finalizers
    status = {"status": {"observedGeneration": 1, "phase": "Pending"}}
    assert ok(scene.thief("PATCH", path + "/status", status, content_type=MERGE))["status"]["phase"] == "Pending"
    assert ok(scene.thief("GET", CUSTOM.replace("/namespaces/{ns}", "")))["items"]
    # The status subresource is no way round the fence: it leaves everything else as it is.
    sneaky = {"metadata": {"labels": {"more": "x"}}, "spec": {"refreshInterval": "1h"}, "status": {"phase": "Steady"}}
    got = scene.thief("PATCH", path + "/status", sneaky, content_type=MERGE)
    now = ok(scene.admin("GET", path))
    assert now["spec"]["refreshInterval"] == "30s" and "more" not in now["metadata"].get("labels", {}), got.text


def test_allowed_keyrotation_is_let_go_when_it_is_deleted(scene):
    item = rotation("leaving")
    item["metadata"]["finalizers"] = [FINALIZER]
    make(scene.admin, scene, item)
    path = (CUSTOM + "/leaving").replace("{ns}", scene.ns)
    ok(scene.admin("DELETE", path))
    ok(scene.thief("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE))
    assert scene.admin("GET", path).status_code == 404


def test_allowed_lease_and_events(scene):
    path = f"/apis/coordination.k8s.io/v1/namespaces/{scene.own}/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta(PREFIX), "spec": {"holderIdentity": "a"}}
    ok(scene.thief("POST", path, lease), 201)
    held = ok(scene.thief("GET", f"{path}/{PREFIX}"))
    held["spec"]["holderIdentity"] = "b"
    ok(scene.thief("PUT", f"{path}/{PREFIX}", held))
    event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": meta("prod.1", namespace=scene.ns),
             "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Test", "action": "Test", "note": "x",
             "reportingController": "keyturn.dev/operator", "reportingInstance": "a",
             "regarding": {"kind": "KeyRotation", "namespace": scene.ns, "name": "prod"}}
    ok(scene.thief("POST", f"/apis/events.k8s.io/v1/namespaces/{scene.ns}/events", event), 201)


def test_everybody_else_is_free(scene):
    """The policies look at the operator alone."""
    for what, path, body, kind in [
            ("secrets", CORE + "/secrets/foreign", {"metadata": {"labels": {"free": "yes"}}}, MERGE),
            ("configmaps", CORE + "/configmaps/foreign", {"data": {"c": "d"}}, MERGE),
            ("deployments", APPS + "/deployments/api", {"spec": {"replicas": 0}}, MERGE),
            ("keyrotations", CUSTOM + "/prod", {"spec": {"refreshInterval": "1m"}}, MERGE)]:
        ok(scene.admin("PATCH", path.replace("{ns}", scene.ns) + "?dryRun=All", body, content_type=kind))


def fenced(one):
    """The policy that still stands where RBAC is wide open, for writes that RBAC refuses today; None: reading is RBAC's alone."""
    connects = re.search(r"/pods/lone/(exec|attach|portforward)", one.path)
    if one.by != "rbac" or (one.method == "GET" and not connects):
        return None
    # A put of the same content changes nothing; an invalid patch never reaches admission, so there is no right to patch Secrets.
    if one.title.endswith(": put") or one.title.startswith("invalid patch") or "/configmaps/ours" in one.path:
        return None
    resource = re.search(r"/(secrets|configmaps|deployments|statefulsets|daemonsets|pods|keyrotations)(/|\?|$)", one.path)
    if not resource or "fieldSelector" in one.path:
        return None
    return resource[1] if resource[1] in ("secrets", "configmaps", "keyrotations") else "workloads"


def test_fence_stands_where_rbac_is_wide_open(scene, kubectl, kube, tell):
    """Somebody binds the operator to cluster-admin: the policies still refuse every write, each rule of theirs at least once."""
    said, wrong = [], []
    kubectl("create", "clusterrolebinding", "fence-wide-open", "--clusterrole=cluster-admin",
            f"--serviceaccount={scene.own}:{PREFIX}")
    try:
        eventually("cluster-admin", lambda: scene.thief("DELETE", "/api/v1/nodes/none").status_code == 404)
        tried = [(one, fenced(one) or one.by) for one in CASES if fenced(one) or one.by not in ("rbac", "immutable")]
        for one, policy in tried:
            answer = send(scene.thief, scene, one, dry=not re.search("exec|attach|portforward", one.path))
            said.append(answer.content.decode("utf-8", "replace"))
            if answer.status_code not in (403, 422) or f"ValidatingAdmissionPolicy '{policy_name(policy)}'" not in \
                    said[-1].replace("''", "'"):
                wrong.append((one.title, answer.status_code, said[-1][:300]))
    finally:
        kubectl("delete", "clusterrolebinding", "fence-wide-open")
    assert not wrong, "\n".join(map(str, wrong))
    text = " ".join(" ".join(said).split())
    unseen = [v.message for what in POLICIES for v in
              kube.admission.read_validating_admission_policy(policy_name(what)).spec.validations if v.message not in text]
    assert not unseen, f"rules that refused nothing: {unseen}"
    tell(f"fence: {len(tried)} writes refused by policies alone, with the operator bound to cluster-admin")


def test_policies_are_understood(scene, kube):
    """The API server's type checker has nothing to say about the rules."""
    for what in POLICIES:
        def checked():
            status = kube.admission.read_validating_admission_policy(policy_name(what)).status
            return status if status and status.type_checking else None
        status = eventually(f"type check of {what}", checked)
        assert not status.type_checking.expression_warnings, status.type_checking.expression_warnings
