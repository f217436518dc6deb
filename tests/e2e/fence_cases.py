# SPDX-License-Identifier: Apache-2.0
"""What test_fence.py tries with the operator's token: objects to attack, and every forbidden thing as a request.

CASES holds each once, with what must refuse it; CONFIGURATIONS the objects that other programs would read as their own.
"""
import base64
import types

from harness import FINALIZER, MERGE

PREFIX = "fence"
CANARY = base64.b64encode(b"the-word-that-must-not-leave").decode()
OURS = {"app.kubernetes.io/managed-by": "keyturn"}
ADOPT = "keyturn.dev/adopt"
HASH = "keyturn.dev/trust-hash"
TYPE = "keyturn.dev/public-keys"
KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
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
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": meta(name, **metadata), "data": {"jwks.json": CANARY}}


def config_map(name, **metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name, **metadata), "data": {"jwks.json": "b"}}


def holding(item, data, **more):
    return {**item, "data": data, **more}


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


COMMAND = {"keyturn.dev/operation": "promote", "keyturn.dev/operation-for": "2", "keyturn.dev/operation-by": "somebody",
           "keyturn.dev/reason": "planned"}


def rotation(name="prod", **metadata):
    return {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": meta(name, labels={"team": "shop"}, **metadata),
            "spec": {"issuer": {"url": "https://auth.example.com/realms/prod"},
                     "consumers": [{"name": "api", "publish": {"secret": {"name": "ours"}}}]}}


def event(name):
    """In the namespace {ns}."""
    return {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": meta(name, namespace="{ns}"),
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Test", "action": "Test", "note": "x",
            "reportingController": "keyturn.dev/operator", "reportingInstance": "a",
            "regarding": {"kind": "KeyRotation", "namespace": "{ns}", "name": "prod"}}


# --- the forbidden things -------------------------------------------------------------------------

def case(title, by, method, path, body=None, **more):
    """`by`: rbac, immutable, or the last word of a policy's name. Path and body may hold {ns}."""
    return types.SimpleNamespace(title=title, by=by, method=method, path=path, body=body, admin=more.pop("admin", True),
                                 watch=more.pop("watch", None), more=more)


CORE, APPS = "/api/v1/namespaces/{ns}", "/apis/apps/v1/namespaces/{ns}"
CUSTOM = "/apis/keyturn.dev/v1alpha1/namespaces/{ns}/keyrotations"
EVENTS = "/apis/events.k8s.io/v1/namespaces/{ns}/events"
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
                             ("JSON test", JSON_PATCH, [{"op": "test", "path": "/data/jwks.json", "value": CANARY}])):
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


# Objects that another program would take for its own configuration, though they are of our type and label.
HELM_RELEASE = {**OURS, "owner": "helm", "name": PREFIX, "status": "deployed", "version": "999"}
CONFIGURATIONS = {
    "Helm's next release": ("secrets", "{own}", holding(
        secret(f"sh.helm.release.v1.{PREFIX}.v999", TYPE, labels=HELM_RELEASE), {"release": CANARY})),
    "zones of k3s's DNS": ("configmaps", "kube-system", holding(
        config_map("coredns-custom", labels=OURS), {"a.server": "example.com:53 { forward . 10.0.0.1 }"})),
    "administrators of EKS": ("configmaps", "kube-system", holding(
        config_map("aws-auth", labels=OURS), {"mapUsers": "- {username: thief, groups: [system:masters]}"})),
}


def configurations():
    for title, (policy, namespace, item) in CONFIGURATIONS.items():
        # As dry run, which is judged the same: a fence with a hole would leave them to other tests.
        yield case(f"create {title}", policy, "POST", f"/api/v1/namespaces/{namespace}/{policy}?dryRun=All", item)
    ours = secret("ours", TYPE, labels=OURS)
    for title, data in (("another file", {"release": CANARY}), ("another file beside ours", {**ours["data"], "tls.key": CANARY}),
                        ("the record", {"record.json": CANARY}), ("a name that only begins like ours", {"jwks.json.yaml": CANARY})):
        yield case(f"put our Secret with {title}", "secrets", "PUT", CORE + "/secrets/ours", holding(ours, data))
    yield case("put our Secret with another file as text", "secrets", "PUT", CORE + "/secrets/ours",
               {**ours, "stringData": {"release": "x"}})
    yield case("put an adopted Secret with another file", "secrets", "PUT", CORE + "/secrets/adopted",
               holding(secret("adopted", annotations={ADOPT: "true"}), {"release": CANARY}))
    ours = config_map("ours", labels=OURS)
    for title, data in (("another file", {"mapUsers": "x"}), ("another file beside ours", {**ours["data"], "a.server": "x"})):
        yield case(f"put our ConfigMap with {title}", "configmaps", "PUT", CORE + "/configmaps/ours", holding(ours, data))
    yield case("put our ConfigMap with bytes", "configmaps", "PUT", CORE + "/configmaps/ours",
               holding(ours, {}, binaryData={"jwks.json": CANARY}))
    yield case("put an adopted ConfigMap with another file", "configmaps", "PUT", CORE + "/configmaps/adopted",
               holding(config_map("adopted", labels=OURS, annotations={ADOPT: "true"}), {"mapUsers": "x"}))


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
        yield case(f"{name} patch of our ConfigMap", "rbac", "PATCH", CORE + "/configmaps/ours", {"data": {"jwks.json": "c"}},
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
    yield case(f"{kind}: read", "rbac", "GET", path)
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
    yield case("Pod: read", "rbac", "GET", path)
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


def commands():
    """What people command stands in annotations: the operator takes a command off as a whole, and gives none. prod has no command
    on it, `commanded` has one beside another annotation."""
    without = dict.fromkeys(COMMAND)
    for key, value in COMMAND.items():
        word = key.removeprefix("keyturn.dev/")
        changes = {"given": ("/prod", {key: value}), "changed": ("/commanded", {key: value + "x"}),
                   "taken off alone": ("/commanded", {key: None}),
                   "left over": ("/commanded", {k: None for k in COMMAND if k != key}),
                   "changed while the rest is taken off": ("/commanded", {**without, key: "x"})}
        for what, (path, change) in changes.items():
            yield case(f"KeyRotation: {word} {what}", "keyrotations", "PATCH", CUSTOM + path, {"metadata": {"annotations": change}},
                       content_type=MERGE)
        pointer = "/metadata/annotations/" + key.replace("/", "~1")
        yield case(f"KeyRotation: {word} taken off alone by JSON patch", "keyrotations", "PATCH", CUSTOM + "/commanded",
                   [{"op": "remove", "path": pointer}], content_type=JSON_PATCH)
    for name, more in (("another one too", {"kept": None}), ("another one changed", {"kept": "no"}), ("another one added", {"more": "x"})):
        yield case(f"KeyRotation: a command taken off and {name}", "keyrotations", "PATCH", CUSTOM + "/commanded",
                   {"metadata": {"annotations": {**without, **more}}}, content_type=MERGE)
    for name, body in (("the spec changed", {"spec": {"refreshInterval": "1h"}}), ("a label", {"metadata": {"labels": {"more": "x"}}})):
        yield case(f"KeyRotation: a command taken off and {name}", "keyrotations", "PATCH", CUSTOM + "/commanded",
                   {**body, "metadata": {**body.get("metadata", {}), "annotations": without}}, content_type=MERGE)
    yield case("KeyRotation: a whole command given", "keyrotations", "PATCH", CUSTOM + "/prod",
               {"metadata": {"annotations": COMMAND}}, content_type=MERGE)
    yield case("KeyRotation: a whole command by apply", "keyrotations", "PATCH", CUSTOM + "/prod?fieldManager=keyturn&force=true",
               {**rotation(annotations=COMMAND), "spec": {}}, content_type=APPLY)


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
    yield from commands()
    yield case("KeyRotation: created", "rbac", "POST", CUSTOM, rotation("new"))
    created = rotation("new")
    yield case("KeyRotation: created by apply", "rbac", "PATCH", CUSTOM + "/new?fieldManager=keyturn", created,
               content_type=APPLY)
    yield case("KeyRotation: read", "rbac", "GET", path)
    # A put of a custom resource names its version, which nobody can know here.
    yield case("KeyRotation: put", "rbac", "PUT", path, rotation(), admin=False)
    yield case("KeyRotation: status put", "rbac", "PUT", path + "/status", rotation(), admin=False)
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
        yield case(f"the fence itself: list {plural}", "rbac", "GET", f"{ADMISSION}/{plural}")
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
    yield case("events listed", "rbac", "GET", EVENTS)
    yield case("an event read", "rbac", "GET", EVENTS + "/said")
    yield case("an event read by an empty patch", "rbac", "PATCH", EVENTS + "/said", {}, content_type=MERGE)


CASES = [*reads(), *secret_writes(), *config_map_writes(), *configurations(),
         *(c for kind in KINDS for c in workload_writes(kind)), *pod_writes(), *rotation_writes(), *everything_else()]
