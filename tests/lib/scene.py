# SPDX-License-Identifier: Apache-2.0
"""Builders for what most tests need: a realm, its credentials, a KeyRotation, workloads that verify tokens.

    scene = Scene(kube, namespace, realm)           # realm from tests/lib/realm.py
    scene.rotation("prod", consumers=[secret("api", restart=[deployment("api")])])
    scene.verifier("api", secret="api-keys")        # a Deployment of keyturn-verifier that mounts the Secret
    scene.wait_ready("prod")
"""
import base64
import json
import os
import time

import kubernetes

GROUP = ("keyturn.dev", "v1alpha1")
IMAGE = os.environ.get("KEYTURN_IMAGE", "localhost/keyturn:dev")
ISSUER = "https://auth.example.test/realms/{}"


def secret(name, object_name=None, restart=(), **publish):
    return _consumer(name, {"secret": {"name": object_name or f"{name}-keys"}, **publish}, restart)


def config_map(name, object_name=None, restart=(), **publish):
    return _consumer(name, {"configMap": {"name": object_name or f"{name}-keys"}, **publish}, restart)


def _consumer(name, publish, restart):
    consumer = {"name": name, "publish": publish}
    if restart:
        consumer["reload"] = {"restart": list(restart)}
    return consumer


def deployment(name):
    return {"kind": "Deployment", "name": name}


def stateful_set(name):
    return {"kind": "StatefulSet", "name": name}


def daemon_set(name):
    return {"kind": "DaemonSet", "name": name}


def until(look, what, seconds=90, every=0.2):
    """Calls look() until it returns something true, and returns that. Errors of the API count as not yet."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = look()
            if last:
                return last
        except (AssertionError, kubernetes.client.ApiException, KeyError, IndexError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last: {last}")
        time.sleep(every)


class Scene:
    def __init__(self, kube, namespace, realm, keycloak_url=None):
        self.kube, self.namespace, self.realm = kube, namespace, realm
        self.keycloak_url = keycloak_url or os.environ["KEYCLOAK_URL"]

    # -- what the operator is given --

    def credentials(self, name="keyturn-keycloak", client="keyturn", client_secret="keyturn-secret", url=None):
        body = {"metadata": {"name": name},
                "stringData": {"url": url or self.keycloak_url, "client-id": client, "client-secret": client_secret}}
        try:
            self.kube.core.create_namespaced_secret(self.namespace, body)
        except kubernetes.client.ApiException as error:
            if error.status != 409:
                raise
            self.kube.core.patch_namespaced_secret(name, self.namespace, body)
        return name

    def spec(self, consumers=(), **spec):
        realm = self.realm.name
        whole = {"issuer": {"url": ISSUER.format(realm)}, "refreshInterval": "5s", "consumers": list(consumers),
                 "keycloak": {"url": self.keycloak_url, "realm": realm, "credentials": {"secret": {"name": "keyturn-keycloak"}}}}
        whole.update(spec)
        return {key: value for key, value in whole.items() if value is not None}

    def rotation(self, name="prod", consumers=(), annotations=None, **spec):
        body = {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation",
                "metadata": {"name": name, "annotations": annotations or {}}, "spec": self.spec(consumers, **spec)}
        if body["spec"].get("keycloak"):
            self.credentials()
        return self.kube.custom.create_namespaced_custom_object(*GROUP, self.namespace, "keyrotations", body)

    def patch(self, name, body):
        return self.kube.custom.patch_namespaced_custom_object(*GROUP, self.namespace, "keyrotations", name, body)

    def annotate(self, name, **annotations):
        return self.patch(name, {"metadata": {"annotations": {f"keyturn.dev/{k}": v for k, v in annotations.items()}}})

    def delete(self, name="prod"):
        return self.kube.custom.delete_namespaced_custom_object(*GROUP, self.namespace, "keyrotations", name)

    # -- what the operator shows --

    def get(self, name="prod"):
        return self.kube.custom.get_namespaced_custom_object(*GROUP, self.namespace, "keyrotations", name)

    def status(self, name="prod"):
        return self.get(name).get("status", {})

    def condition(self, kind, name="prod"):
        return next(c for c in self.status(name)["conditions"] if c["type"] == kind)

    def wait_condition(self, kind, status=None, reason=None, name="prod", seconds=90):
        def look():
            c = self.condition(kind, name)
            return (status is None or c["status"] == status) and (reason is None or c["reason"] == reason) and c
        try:
            return until(look, f"{name}: {kind}={status} {reason}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(name), indent=1)}") from None

    def wait_ready(self, name="prod", seconds=120):
        """Ready for the spec as it stands now."""
        def look():
            found = self.get(name)
            ready = next(c for c in found["status"]["conditions"] if c["type"] == "Ready")
            return (found["status"]["observedGeneration"] == found["metadata"]["generation"]
                    and ready["status"] == "True" and found["status"])
        try:
            return until(look, f"{name} is Ready", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(name), indent=1)}") from None

    def wait_kids(self, kids, name="prod", seconds=90):
        """Exactly these kids are trusted and everything is published."""
        until(lambda: {k["kid"] for k in self.status(name)["keys"]} == set(kids), f"{name} trusts {kids}", seconds)
        return self.wait_ready(name, seconds)

    def events(self, reason=None, name="prod"):
        """By the core API: the client refuses Events of the newer one that Kubernetes' own controllers leave without eventTime."""
        items = self.kube.core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={name}").items
        return [e for e in items if reason in (None, e.reason)]

    # -- what is published --

    def files(self, kind, name):
        """Decoded data of a Secret or ConfigMap."""
        if kind == "Secret":
            data = self.kube.core.read_namespaced_secret(name, self.namespace).data or {}
            return {k: base64.b64decode(v).decode() for k, v in data.items()}
        return self.kube.core.read_namespaced_config_map(name, self.namespace).data or {}

    def jwks_kids(self, kind, name):
        return {key["kid"] for key in json.loads(self.files(kind, name)["jwks.json"])["keys"]}

    # -- workloads --

    def workload(self, kind, name, replicas=1, secret=None, config_map=None, image=None, annotations=None):
        """A Deployment, StatefulSet or DaemonSet of keyturn-verifier (or of `image`) that mounts the object at /keys."""
        volumes, mounts = [], []
        if secret or config_map:
            source = {"secret": {"secretName": secret}} if secret else {"configMap": {"name": config_map}}
            volumes, mounts = [{"name": "keys", **source}], [{"name": "keys", "mountPath": "/keys", "readOnly": True}]
        container = {"name": "main", "image": image or IMAGE, "imagePullPolicy": "IfNotPresent", "volumeMounts": mounts}
        if image is None:
            container["command"] = ["/usr/bin/keyturn-verifier", "--keys", "/keys", "--listen", "0.0.0.0:8080"]
            container["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
        spec = {"selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}, "annotations": annotations or {}},
                             "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}}}
        if kind != "DaemonSet":
            spec["replicas"] = replicas
        if kind == "StatefulSet":
            spec["serviceName"] = name
        body = {"metadata": {"name": name}, "spec": spec}
        create = {"Deployment": self.kube.apps.create_namespaced_deployment,
                  "StatefulSet": self.kube.apps.create_namespaced_stateful_set,
                  "DaemonSet": self.kube.apps.create_namespaced_daemon_set}[kind]
        return create(self.namespace, body)

    def verifier(self, name, **kwargs):
        return self.workload("Deployment", name, **kwargs)

    def pause(self, name, kind="Deployment", replicas=1):
        """A workload of the smallest program there is, for tests where only the roll-out counts."""
        return self.workload(kind, name, replicas=replicas, image="test.local/pause:1")

    def read_workload(self, kind, name):
        read = {"Deployment": self.kube.apps.read_namespaced_deployment,
                "StatefulSet": self.kube.apps.read_namespaced_stateful_set,
                "DaemonSet": self.kube.apps.read_namespaced_daemon_set}[kind]
        return read(name, self.namespace)

    def template_hash(self, kind, name):
        return (self.read_workload(kind, name).spec.template.metadata.annotations or {}).get("keyturn.dev/trust-hash")

    def pods(self, app):
        """Running pods of an app that are not on their way out."""
        found = self.kube.core.list_namespaced_pod(self.namespace, label_selector=f"app={app}").items
        return [p for p in found if p.metadata.deletion_timestamp is None and p.status.phase == "Running" and p.status.pod_ip]
