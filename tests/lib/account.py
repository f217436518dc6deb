# SPDX-License-Identifier: Apache-2.0
"""A ServiceAccount for an operator outside of the cluster, with the chart's rights in chosen namespaces.

    account = Account(kube, "here"); account.allow("here"); account.allow("there")
    token = account.token(); dying = account.token(bound_to="a-secret")        # dies with that Secret
"""
RULES = (("keyturn.dev", "keyrotations", "get list watch update patch"), ("keyturn.dev", "keyrotations/status", "update patch"),
         ("", "secrets", "get create update delete"), ("", "configmaps", "get list watch create update delete"),
         ("apps", "deployments", "get list watch patch"), ("apps", "statefulsets", "get list watch patch"),
         ("apps", "daemonsets", "get list watch patch"), ("", "pods", "get list watch"), ("events.k8s.io", "events", "create patch"))


class Account:
    def __init__(self, kube, namespace, name="operator"):
        self.kube, self.namespace, self.name = kube, namespace, name
        kube.core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})

    def allow(self, namespace):
        """All that the chart's ClusterRole allows, and reading Secrets with credentials, in this namespace."""
        rules = [{"apiGroups": [group], "resources": [resource], "verbs": verbs.split()} for group, resource, verbs in RULES]
        self.kube.rbac.create_namespaced_role(namespace, {"metadata": {"name": self.name}, "rules": rules})
        self.kube.rbac.create_namespaced_role_binding(namespace, {
            "metadata": {"name": self.name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": self.name},
            "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}]})

    def token(self, bound_to=None):
        spec = {"audiences": [], "expirationSeconds": 3600}
        if bound_to:
            made = self.kube.core.create_namespaced_secret(self.namespace, {"metadata": {"name": bound_to}})
            spec["boundObjectRef"] = {"kind": "Secret", "apiVersion": "v1", "name": bound_to, "uid": made.metadata.uid}
        request = {"spec": spec}
        return self.kube.core.create_namespaced_service_account_token(self.name, self.namespace, request).status.token
