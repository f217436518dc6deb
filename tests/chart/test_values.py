# SPDX-License-Identifier: Apache-2.0
"""Every value of the chart does something, and the schema refuses what does nothing."""
import copy
import hashlib
import json
import re

import pytest
import yaml

from rendering import CHART, ROOT, Refused

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DIGEST = "sha256:" + "0f" * 32


def leaves(values, path=""):
    for key, value in values.items():
        here = f"{path}.{key}" if path else key
        # An empty map, and resources, are one value each: what is in them is Kubernetes' own.
        if isinstance(value, dict) and value and here != "resources":
            yield from leaves(value, here)
        else:
            yield here


def nested(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def merged(*maps):
    out = {}
    for one in maps:
        for key, value in one.items():
            both = isinstance(value, dict) and isinstance(out.get(key), dict)
            out[key] = merged(out[key], value) if both else copy.deepcopy(value)
    return out


def names(made, kind):
    return [o["metadata"]["name"] for o in made.all(kind)]


def rules(made, kind, name, namespace=None):
    return made.get(kind, name, namespace)["rules"]


def fence(made):
    """The policies that bind the operator."""
    return [p for p in made.all("ValidatingAdmissionPolicy") if "-fence-" in p["metadata"]["name"]]


# One row a value: path, another value than the default, what it changes, other values that it needs.
# `look` returns what the value decides; the test wants `want` with the value and something else without it.
ROWS = [
    ("replicaCount", 5, lambda m: m.get("Deployment")["spec"]["replicas"], 5, {}),
    ("image.repository", "example.com/keyturn", lambda m: m.container["image"], "example.com/keyturn:0.1.0", {}),
    ("image.tag", "dev", lambda m: m.container["image"], "localhost/keyturn:dev", {}),
    ("image.digest", DIGEST, lambda m: m.container["image"], "localhost/keyturn@" + DIGEST, {"image": {"tag": "dev"}}),
    ("image.pullPolicy", "Never", lambda m: m.container["imagePullPolicy"], "Never", {}),
    ("imagePullSecrets", [{"name": "pull"}], lambda m: m.pod.get("imagePullSecrets"), [{"name": "pull"}], {}),
    ("nameOverride", "turner", lambda m: m.get("Deployment")["metadata"]["name"], "keyturn-turner", {}),
    ("fullnameOverride", "turner", lambda m: m.get("Deployment")["metadata"]["name"], "turner", {}),
    ("serviceAccount.create", False, lambda m: m.kinds().count("ServiceAccount"), 0, {"serviceAccount": {"name": "mine"}}),
    ("serviceAccount.name", "mine", lambda m: m.pod["serviceAccountName"], "mine", {}),
    ("serviceAccount.annotations", {"a": "b"},
     lambda m: m.get("ServiceAccount")["metadata"].get("annotations"), {"a": "b"}, {}),
    ("rbac.aggregate", False, lambda m: names(m, "ClusterRole"), ["keyturn", "keyturn-fence"], {}),
    ("fence.enabled", False, lambda m: names(m, "ValidatingAdmissionPolicy"), ["keyturn-operations"], {}),
    ("operations.enabled", False, lambda m: "keyturn-operations" in names(m, "ValidatingAdmissionPolicy"), False, {}),
    ("leaderElection.enabled", False, lambda m: "--leader-elect=false" in m.args, True, {"replicaCount": 1}),
    ("leaderElection.leaseName", "mine", lambda m: "--lease-name=mine" in m.args, True, {}),
    ("flowSchema.enabled", False, lambda m: names(m, "FlowSchema"), [], {}),
    ("settle", 0, lambda m: "--settle=0" in m.args, True, {}),
    ("resync", "1h30m", lambda m: "--resync=1h30m" in m.args, True, {}),
    ("logFormat", "text", lambda m: "--log-format=text" in m.args, True, {}),
    ("logLevel", "debug", lambda m: "--log-level=debug" in m.args, True, {}),
    ("watchNamespaces", ["a", "b"], lambda m: "--watch-namespaces=a,b" in m.args, True, {}),
    ("port", 9999, lambda m: m.container["ports"], [{"name": "http", "containerPort": 9999}], {}),
    ("service.port", 80, lambda m: m.get("Service")["spec"]["ports"][0]["port"], 80, {}),
    ("service.annotations", {"a": "b"}, lambda m: m.get("Service")["metadata"].get("annotations"), {"a": "b"}, {}),
    ("serviceMonitor.enabled", True, lambda m: len(m.all("ServiceMonitor")), 1, {}),
    ("serviceMonitor.interval", "7s", lambda m: m.get("ServiceMonitor")["spec"]["endpoints"][0]["interval"], "7s",
     {"serviceMonitor": {"enabled": True}}),
    ("serviceMonitor.labels", {"a": "b"}, lambda m: m.get("ServiceMonitor")["metadata"]["labels"].get("a"), "b",
     {"serviceMonitor": {"enabled": True}}),
    ("networkPolicy.enabled", True, lambda m: names(m, "NetworkPolicy"), ["keyturn"], {"networkPolicy": {"egress": [{}]}}),
    ("networkPolicy.from", [{"podSelector": {}}], lambda m: m.get("NetworkPolicy")["spec"]["ingress"][0].get("from"),
     [{"podSelector": {}}], {"networkPolicy": {"enabled": True, "egress": [{}]}}),
    ("networkPolicy.egress", [{"ports": [{"port": 6443}]}], lambda m: m.get("NetworkPolicy")["spec"]["egress"][1:],
     [{"ports": [{"port": 6443}]}], {"networkPolicy": {"enabled": True, "egress": [{}]}}),
    ("runAsUser", 1000, lambda m: [m.pod["securityContext"][k] for k in ("runAsUser", "runAsGroup")], [1000, 1000], {}),
    ("podDisruptionBudget.enabled", False, lambda m: len(m.all("PodDisruptionBudget")), 0, {}),
    ("resources", {"requests": {"cpu": "1"}}, lambda m: m.container["resources"]["requests"]["cpu"], "1", {}),
    ("podLabels", {"a": "b"}, lambda m: m.get("Deployment")["spec"]["template"]["metadata"]["labels"].get("a"), "b", {}),
    ("podAnnotations", {"a": "b"}, lambda m: m.get("Deployment")["spec"]["template"]["metadata"].get("annotations"),
     {"a": "b"}, {}),
    ("nodeSelector", {"a": "b"}, lambda m: m.pod.get("nodeSelector"), {"a": "b"}, {}),
    ("tolerations", [{"operator": "Exists"}], lambda m: m.pod.get("tolerations"), [{"operator": "Exists"}], {}),
    ("affinity", {"nodeAffinity": {}}, lambda m: m.pod.get("affinity"), {"nodeAffinity": {}}, {}),
    ("topologySpreadConstraints", [{"maxSkew": 2}], lambda m: m.pod["topologySpreadConstraints"], [{"maxSkew": 2}], {}),
    ("priorityClassName", "high", lambda m: m.pod.get("priorityClassName"), "high", {}),
    ("terminationGracePeriodSeconds", 7, lambda m: m.pod["terminationGracePeriodSeconds"], 7, {}),
    ("credentialSecrets", [{"namespace": "auth", "name": "login"}],
     lambda m: [o["rules"] for o in m.all("Role") if o["metadata"]["namespace"] == "auth"],
     [[{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["login"], "verbs": ["get"]}]], {}),
    ("rotations", [{"name": "p", "issuer": {"url": "https://a"}}], lambda m: names(m, "KeyRotation"), ["p"], {}),
    ("global.domain", "example.com",
     lambda m: m.get("KeyRotation")["spec"]["issuer"]["url"], "https://keycloak.example.com/realms/r",
     {"rotations": [{"name": "p", "keycloak": {"url": "http://k", "realm": "r", "credentials": {"secret": {"name": "s"}}}}]}),
]


@pytest.mark.parametrize("path, value, look, want, needs", ROWS, ids=[row[0] for row in ROWS])
def test_value_does_something(render, path, value, look, want, needs):
    assert look(render(merged(needs, nested(path, value)))) == want
    assert look(render(needs)) != want, "the same without the value: it does nothing, or the row sees nothing"


def test_every_value_has_its_row_schema_and_comment():
    assert sorted(row[0] for row in ROWS) == sorted(leaves(VALUES))
    for path in leaves(VALUES):
        schema = SCHEMA
        for key in path.split("."):
            schema = schema["properties"][key]
    text = (CHART / "values.yaml").read_text()
    for key in VALUES:
        assert re.search(rf"^{key}:", text, re.M)


def test_default_values_render_what_they_should(render):
    made = render()
    assert made.kinds() == ["ClusterRole", "ClusterRoleBinding", "Deployment", "FlowSchema", "PodDisruptionBudget", "Role",
                            "RoleBinding", "Service", "ServiceAccount", "ValidatingAdmissionPolicy",
                            "ValidatingAdmissionPolicyBinding"]
    assert made.args == ["run", "--namespace=keyturn-system", "--listen=0.0.0.0:8080", "--leader-elect=true", "--lease-name=keyturn",
                         "--log-format=json", "--log-level=info", "--settle=5", "--resync=5m",
                         "--fence=keyturn-fence", "--operations-policy=keyturn-operations"]
    assert made.get("Deployment")["spec"]["replicas"] == 2


def test_flags_are_the_programs_own(render):
    """Every flag that the chart passes stands in the program's help; the ones it leaves out have a default that fits a pod."""
    text = (ROOT / "cmd" / "keyturn" / "flags.c").read_text()
    known = set(re.findall(r'"  (--[a-z-]+)', text))
    passed = {arg.split("=")[0] for values in ({}, {"watchNamespaces": ["a"]}, {"fence": {"enabled": False}}, {"operations": {"enabled": False}})
              for arg in render(values).args if arg.startswith("--")}
    assert passed <= known
    assert known - passed == {"--kubeconfig", "--identity", "--version"}
    assert "keyturn run [flags]" in text and render().args[0] == "run"


def test_rights_are_exactly_these(render):
    """The list that README shows and the fence is made for. A right that is added here needs a fence and a test."""
    made = render()
    granted = {(group, resource): rule["verbs"] for rule in rules(made, "ClusterRole", "keyturn")
               for group in rule["apiGroups"] for resource in rule["resources"]}
    assert granted == {
        ("keyturn.dev", "keyrotations"): ["list", "watch", "patch"],
        ("keyturn.dev", "keyrotations/status"): ["patch"],
        ("", "secrets"): ["create", "update", "delete"],
        ("", "configmaps"): ["get", "list", "watch", "create", "update", "delete"],
        ("apps", "deployments"): ["list", "watch", "patch"],
        ("apps", "statefulsets"): ["list", "watch", "patch"],
        ("apps", "daemonsets"): ["list", "watch", "patch"],
        ("", "pods"): ["list", "watch"],
        ("events.k8s.io", "events"): ["create"],
    }
    assert rules(made, "ClusterRole", "keyturn-fence") == [
        {"apiGroups": ["admissionregistration.k8s.io"],
         "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
         "resourceNames": [p["metadata"]["name"] for p in fence(made)] + ["keyturn-operations"], "verbs": ["get"]}]
    off = {"enabled": False}
    assert rules(render({"fence": off}), "ClusterRole", "keyturn-fence")[0]["resourceNames"] == ["keyturn-operations"]
    assert "keyturn-operations" not in rules(render({"operations": off}), "ClusterRole", "keyturn-fence")[0]["resourceNames"]
    assert "keyturn-fence" not in names(render({"fence": off, "operations": off}), "ClusterRole")
    assert rules(made, "Role", "keyturn-own") == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["keyturn"],
         "verbs": ["get", "update"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ]
    subject = [{"kind": "ServiceAccount", "name": "keyturn", "namespace": "keyturn-system"}]
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        assert all(binding["subjects"] == subject for binding in made.all(kind))
    assert "leases" not in json.dumps(rules(render({"replicaCount": 1, "leaderElection": {"enabled": False}}), "Role",
                                            "keyturn-own"))


def test_watched_namespaces_bound_one_by_one(render):
    made = render({"watchNamespaces": ["a", "b"]})
    assert names(made, "ClusterRoleBinding") == ["keyturn-fence"], "policies have no namespace"
    bound = {o["metadata"]["namespace"]: o["roleRef"]["name"] for o in made.all("RoleBinding")}
    assert bound == {"a": "keyturn", "b": "keyturn", "keyturn-system": "keyturn-own"}


def test_credentials_are_granted_by_name(render):
    login = {"url": "http://k", "realm": "r", "credentials": {"secret": {"name": "login"}}}
    made = render({"credentialSecrets": [{"namespace": "auth", "name": "z"}, {"namespace": "shop", "name": "z"}],
                   "rotations": [{"name": "p", "namespace": "auth", "keycloak": login},
                                 {"name": "q", "namespace": "auth", "keycloak": login}]})
    granted = {o["metadata"]["namespace"]: o["rules"] for o in made.all("Role")
               if o["metadata"]["name"] == "keyturn-credentials"}
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    assert granted == {"auth": [{**rule, "resourceNames": ["login", "z"]}], "shop": [{**rule, "resourceNames": ["z"]}]}
    for namespace in granted:
        binding = made.get("RoleBinding", "keyturn-credentials", namespace)
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "keyturn-credentials"}


def test_fence_binds_the_operators_own_user(render):
    for values, user in [({}, "system:serviceaccount:keyturn-system:keyturn"),
                         ({"serviceAccount": {"name": "mine"}}, "system:serviceaccount:keyturn-system:mine"),
                         ({"serviceAccount": {"create": False, "name": "old"}}, "system:serviceaccount:keyturn-system:old")]:
        made = render(values)
        policies = fence(made)
        assert {p["metadata"]["name"] for p in policies} == {
            f"keyturn-fence-{what}" for what in ("secrets", "configmaps", "workloads", "keyrotations")}
        for policy in policies:
            assert policy["spec"]["failurePolicy"] == "Fail"
            assert [c["expression"] for c in policy["spec"]["matchConditions"]] == [f"request.userInfo.username == '{user}'"]
            binding = made.get("ValidatingAdmissionPolicyBinding", policy["metadata"]["name"])
            assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    assert "--without-fence" in render({"fence": {"enabled": False}}).args


def test_rules_of_the_fence_have_a_number(render):
    """The operator refuses to work behind rules older than its own, so a changed rule raises the number in both places."""
    wanted = re.search(r"#define FENCE_RULES (\d+)", (ROOT / "pkg/kube/fence.h").read_text())[1]
    policies = render().all("ValidatingAdmissionPolicy")
    assert len(policies) == 5
    assert {p["metadata"]["annotations"]["keyturn.dev/fence-rules"] for p in policies} == {wanted}
    text = json.dumps([p["spec"] for p in policies], sort_keys=True)
    assert (wanted, hashlib.sha256(text.encode()).hexdigest()[:16]) == ("2", "5df4ea4f10320d20"), \
        "a rule changed: raise FENCE_RULES and keyturn.dev/fence-rules, and write both here"


def test_who_commands_is_asked_of_rbac_and_in_roles(render):
    """Everybody is bound, the operator too; the verbs that the policy asks for are those that the roles give."""
    made = render()
    policy = made.get("ValidatingAdmissionPolicy", "keyturn-operations")
    assert made.get("ValidatingAdmissionPolicyBinding", "keyturn-operations")["spec"] == {
        "policyName": "keyturn-operations", "validationActions": ["Deny"]}
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert policy["spec"]["matchConstraints"] == {"resourceRules": [{
        "apiGroups": ["keyturn.dev"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["keyrotations"]}]}
    assert "userInfo" not in json.dumps(policy["spec"]["matchConditions"]), "somebody is let through"

    def verbs(made, role):
        aggregated = [k for k, v in made.get("ClusterRole", role)["metadata"]["labels"].items() if k.startswith("rbac.") and v == "true"]
        return ({k.rsplit("-", 1)[1] for k in aggregated}, {v for rule in rules(made, "ClusterRole", role) for v in rule["verbs"]})

    writing = {"create", "update", "patch", "delete", "deletecollection"}
    assert verbs(made, "keyturn-view") == ({"view"}, {"get", "list", "watch"})
    assert verbs(made, "keyturn-edit") == ({"edit", "admin"}, writing | {"rotate"})
    assert verbs(made, "keyturn-admin") == ({"admin"}, {"approve", "rollback"})
    verb = next(v["expression"] for v in policy["spec"]["variables"] if v["name"] == "verb")
    assert set(re.findall(r"[?:] '(\w+)'", verb)) == {"rotate", "approve", "rollback"}

    without = render({"operations": {"enabled": False}})
    assert verbs(without, "keyturn-edit") == ({"edit", "admin"}, writing), "a verb that nobody asks for is none"
    assert "keyturn-admin" not in names(without, "ClusterRole")


def test_two_releases_share_no_name(render):
    one, two = render(release="keyturn"), render(release="other", namespace="other-system")
    name = lambda o: (o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
    assert not {name(o) for o in one.objects} & {name(o) for o in two.objects}
    assert {"--fence=other-keyturn-fence", "--operations-policy=other-keyturn-operations"} <= set(two.args)
    long = render(release="r" * 53)
    assert all(len(o["metadata"]["name"]) <= 63 for o in long.objects)


def test_pod_is_restricted(render):
    made = render()
    assert made.pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
                                           "seccompProfile": {"type": "RuntimeDefault"}}
    assert made.container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                 "capabilities": {"drop": ["ALL"]}}
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert made.container[probe]["httpGet"] == {"path": path, "port": "http"}
    assert made.container["resources"]["limits"]["memory"]
    assert made.get("ServiceAccount")["automountServiceAccountToken"] is False
    spread = made.pod["topologySpreadConstraints"][0]
    assert spread["labelSelector"]["matchLabels"] == made.get("Deployment")["spec"]["selector"]["matchLabels"]


def test_user_may_be_left_to_the_platform(render):
    assert render({"runAsUser": None}).pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_network_policy_names_what_is_reached(render):
    with pytest.raises(Refused, match="networkPolicy.egress: write rules for the API server"):
        render({"networkPolicy": {"enabled": True}})
    made = render({"networkPolicy": {"enabled": True, "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]}]}})
    spec = made.get("NetworkPolicy")["spec"]
    assert spec["podSelector"]["matchLabels"] == made.get("Deployment")["spec"]["selector"]["matchLabels"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": made.container["ports"][0]["name"]}]}]
    assert [port["port"] for port in spec["egress"][0]["ports"]] == [53, 53] and len(spec["egress"]) == 2


@pytest.mark.parametrize("resync", ["4s", "0m", "24h1s", "2d", "9999d9999d9999d9999d"])
def test_resync_has_bounds(render, resync):
    """The program's own: what it would refuse must not be installed, or the pod starts again for ever."""
    with pytest.raises(Refused, match=f"resync: write a duration from 5s to 1d, not {resync}"):
        render({"resync": resync})


@pytest.mark.parametrize("resync", ["5s", "0008s", "1d", "23h59m60s"])
def test_resync_takes_its_bounds(render, resync):
    assert f"--resync={resync}" in render({"resync": resync}).args


def test_replicas_and_leader_election_agree(render):
    with pytest.raises(Refused, match="replicas without a leader would all write"):
        render({"leaderElection": {"enabled": False}})
    alone = render({"replicaCount": 1, "leaderElection": {"enabled": False}})
    assert alone.get("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert alone.all("PodDisruptionBudget") == [] and alone.all("FlowSchema") == []
    assert render({"replicaCount": 0}).get("Deployment")["spec"]["replicas"] == 0


def test_lease_requests_have_their_priority(render):
    made = render({"leaderElection": {"leaseName": "mine"}})
    spec = made.get("FlowSchema", "keyturn-lease")["spec"]
    assert spec["priorityLevelConfiguration"] == {"name": "leader-election"}
    assert spec["rules"][0]["resourceRules"] == [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                                                  "namespaces": ["keyturn-system"], "verbs": ["get", "create", "update"]}]
    assert rules(made, "Role", "keyturn-own")[1]["resourceNames"] == ["mine"]


def test_service_monitor_finds_the_service(render):
    made = render({"serviceMonitor": {"enabled": True}})
    wanted = made.get("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= made.get("Service")["metadata"]["labels"].items()
    assert made.get("ServiceMonitor")["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "30s"}]
    assert made.get("Service")["spec"]["ports"][0]["targetPort"] == made.container["ports"][0]["name"]


def test_crd_is_the_one_source_and_helm_never_deletes_it(render):
    assert (CHART / "crds" / "keyrotation.yaml").read_bytes() == (ROOT / "crds" / "keyrotation.yaml").read_bytes()
    assert [p.name for p in (CHART / "crds").iterdir()] == ["keyrotation.yaml"]
    assert "CustomResourceDefinition" not in render().kinds(), "a templated CRD goes with the release"


def test_nothing_rendered_owns_what_is_published(render):
    """Uninstalling deletes what is rendered: no Secret, no ConfigMap, no namespace, no hook is."""
    made = render({"rotations": [{"name": "p", "issuer": {"url": "https://a"}}]})
    assert not {"Secret", "ConfigMap", "Namespace", "Job"} & set(made.kinds())
    assert "helm.sh/hook" not in json.dumps(made.objects)


@pytest.mark.parametrize("values", [
    {"replicas": 3}, {"replicaCount": -1}, {"replicaCount": "2"}, {"image": {"digest": "sha256:1"}}, {"image": {"name": "x"}},
    {"image": {"repository": ""}}, {"image": {"tag": "a:b"}}, {"image": {"pullPolicy": "Sometimes"}}, {"logFormat": "xml"},
    {"logLevel": "trace"}, {"settle": -1}, {"settle": "5s"}, {"resync": "5"}, {"resync": 300}, {"port": 80}, {"port": "8080"},
    {"watchNamespaces": "a"}, {"watchNamespaces": ["A"]}, {"watchNamespaces": ["a", "a"]}, {"watchNamespaces": [f"n{n}" for n in range(65)]}, {"runAsUser": 0}, {"runAsUser": "nobody"},
    {"networkPolicy": {"to": []}}, {"networkPolicy": {"egress": {}}}, {"credentialSecrets": [{"name": "a"}]},
    {"credentialSecrets": [{"name": "a", "namespace": "b", "key": "c"}]}, {"global": {"domain": "https://example.com"}},
    {"fence": {"enabled": "yes"}}, {"fence": {"off": True}}, {"operations": {"enabled": "no"}}, {"operations": None},
    {"operations": {"verbs": []}}, {"rbac": {"create": True}}, {"serviceAccount": {"name": "A"}},
    {"leaderElection": {"enable": True}}, {"flowSchema": {"enabled": 1}}, {"serviceMonitor": {"interval": "30"}},
    {"service": {"port": 0}}, {"podDisruptionBudget": {"minAvailable": 1}}, {"podLabels": {"a": 1}}, {"tolerations": {}},
    {"extraArgs": ["--help"]}, {"fullnameOverride": "Big"}, {"terminationGracePeriodSeconds": 0}, {"priorityClassName": "A"},
], ids=json.dumps)
def test_schema_refuses_bad_values(render, values):
    with pytest.raises(Refused, match="values don't meet the specifications"):
        render(values)


def test_account_of_ones_own_must_be_named(render):
    with pytest.raises(Refused, match="name the account to use"):
        render({"serviceAccount": {"create": False}})


def test_notes_say_what_matters(notes):
    said = notes()
    for sentence in ("kubectl -n keyturn-system rollout status deployment/keyturn", "Next: a KeyRotation.",
                     "The image localhost/keyturn:0.1.0 must be loaded", "helm show crds CHART | kubectl apply --server-side --force-conflicts -f -",
                     "every published Secret and ConfigMap in place"):
        assert sentence in said
    assert "WARNING" not in said
    assert "WARNING: fence.enabled=false" in notes({"fence": {"enabled": False}})
    assert "WARNING: operations.enabled=false" in notes({"operations": {"enabled": False}})
    assert "must be loaded" not in notes({"image": {"repository": "example.com/keyturn"}})


def test_chart_passes_lint(helm):
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"].startswith(">=1.30")
