# SPDX-License-Identifier: Apache-2.0
"""What every measurement of the bench stands on: the chart's rights and fence for an operator that runs on this machine, namespaces,
realms behind a counting relay, many objects at once, and what the kernel says of a process."""
import collections
import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

import yaml

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("lib", "e2e")]

import realm as keycloak_client
from harness import ROOT, Http, Kube, eventually, fresh_namespace, installed, run
from operator_process import Operator
from relay import Relay
from scene import Scene, config_map, deployment, secret, until

RELEASE = "keyturn"
BUILT = ROOT / "build" / "release" / "bench"
CREDENTIALS = "keyturn-keycloak"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
KINDS = ("/apis/keyturn.dev/v1alpha1/{}/keyrotations", "/api/v1/{}/secrets", "/api/v1/{}/configmaps", "/apis/apps/v1/{}/deployments",
         "/apis/events.k8s.io/v1/{}/events")

__all__ = ["BUILT", "ROOT", "Spread", "Stage", "config_map", "cpu_ms", "deployment", "memory", "say", "secret", "stamp", "until"]


def say(text):
    print(f"bench: {text}", flush=True)


def stamp(line):
    """When a line of the operator's log was written, in seconds since 1970."""
    return datetime.datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp()


class Spread:
    """Some measurements of one thing."""

    def __init__(self, values):
        self.values = sorted(values)
        middle = len(self.values) // 2
        self.least, self.most = self.values[0], self.values[-1]
        self.median = self.values[middle] if len(self.values) % 2 else (self.values[middle - 1] + self.values[middle]) / 2


def cpu_ms(pid):
    """Time that the threads of a process have spent on a processor; exact, where utime and stime are samples."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e6


def memory(pid):
    """(RssAnon, VmRSS) in MiB."""
    lines = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "VmRSS"))


class Stage:
    def __init__(self, folder):
        self.kube, self.admin = Kube(), Http()
        self.folder = pathlib.Path(folder)
        self.keycloak = keycloak_client.Keycloak.from_env()
        self.keycloak.wait_ready()
        self.relay = Relay(self.keycloak.url)
        self.config = yaml.safe_load(pathlib.Path(os.environ["KUBECONFIG"]).read_text())
        self.server = self.config["clusters"][0]["cluster"]["server"]

    @contextlib.contextmanager
    def rights(self, *names):
        """CRD, roles and fence as the chart installs them, no operator; and namespaces, by name in self.spaces."""
        run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", ROOT / "crds" / "keyrotation.yaml")
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.relay)
            self.spaces = {name: stack.enter_context(fresh_namespace(self.kube, f"bench-{name}")) for name in names}
            secrets = [{"namespace": space, "name": CREDENTIALS} for space in self.spaces.values()]
            values = {"replicaCount": 0, "credentialSecrets": secrets}
            self.own = stack.enter_context(installed(self.kube, lambda *words: run("helm", *words), RELEASE, values)).namespace
            yield

    def token(self):
        return run("kubectl", "create", "token", RELEASE, "-n", self.own, "--duration", "4h").stdout.strip()

    def kubeconfig(self, server=None):
        """A file by which the operator logs in as the chart's ServiceAccount, at the API server or at a relay to it."""
        config = json.loads(json.dumps(self.config))
        for user in config["users"]:
            user["user"] = {"token": self.token()}
        cluster = config["clusters"][0]["cluster"]
        if server:
            cluster.clear()
            cluster["server"] = server
        elif "certificate-authority" in cluster:
            cluster["certificate-authority"] = self.authority()
        file = self.folder / f"kubeconfig-{len(list(self.folder.iterdir()))}"
        file.write_text(yaml.safe_dump(config))
        return str(file)

    def authority(self):
        return self.admin.session.verify

    def operator(self, kubeconfig=None, **flags):
        """As the chart runs it, but on this machine and without waiting between an object and the restart of its readers."""
        return Operator(self.own, kubeconfig=kubeconfig or self.kubeconfig(), **{
            "watch_namespaces": None, "without_fence": None, "without_operations_policy": None, "leader_elect": "true", "log_level": "info", "resync": "5m",
            "settle": "0s", **flags})

    @contextlib.contextmanager
    def running(self, **flags):
        operator = self.operator(**flags).start()
        try:
            yield operator
        finally:
            operator.stop()

    def scene(self, namespace, realm):
        return Scene(self.kube, namespace, realm, keycloak_url=self.relay.url)

    def realm(self, name, **more):
        return self.keycloak.create_realm(f"bench-{name}", replace=True, token_lifespan_s=300, **more)

    # -- many objects --

    def list(self, path, namespace, metadata=False):
        answer = self.admin("GET", path.format(f"namespaces/{namespace}"), accept=METADATA if metadata else "application/json")
        assert answer.status_code == 200, answer.text
        return answer.json()["items"] or []

    def versions(self, namespace):
        """resourceVersion of each object that the operator may have written there."""
        return {(path, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
                for path in KINDS for item in self.list(path, namespace, metadata=True)}

    def bare(self, *lanes):
        """Requests by libcurl alone. lanes: (connections, requests); a request: (method, path, headers, body[, repeat])."""
        config = {"ca": self.authority(), "lanes": [
            {"connections": connections, "warm": self.server + "/version", "requests": [
                {"method": r[0], "url": self.server + r[1], "headers": r[2], "body": r[3], "repeat": r[4] if len(r) > 4 else 1}
                for r in requests]} for connections, requests in lanes]}
        file = self.folder / "bare.json"
        file.write_text(json.dumps(config))
        done = subprocess.run([BUILT / "bare", file], stdout=subprocess.PIPE, check=True, timeout=600)
        return json.loads(done.stdout)

    def create(self, path, bodies, repeat=1):
        headers = [f"Authorization: Bearer {self.admin_token()}", "Content-Type: application/json"]
        made = self.bare((16, [("POST", path, headers, json.dumps(body), repeat) for body in bodies]))["lanes"][0]
        assert made["codes"] == {"201": len(bodies) * repeat}, made

    def admin_token(self):
        """libcurl is given a token, as the operator; the administrator of this cluster has a certificate."""
        if not hasattr(self, "_admin_token"):
            self.kube.core.create_namespaced_service_account(self.own, {"metadata": {"name": "bench"}})
            run("kubectl", "create", "clusterrolebinding", self.own, "--clusterrole=cluster-admin", f"--serviceaccount={self.own}:bench")
            self._admin_token = run("kubectl", "create", "token", "bench", "-n", self.own, "--duration", "4h").stdout.strip()
        return self._admin_token

    def deployments(self, namespace, names):
        """Without replicas: what restarts them costs requests, and no pod starts."""
        self.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", [{
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": "test.local/pause:1"}]}}}} for name in names])

    def clear(self, *names):
        """What is measured next has only its own objects in memory."""
        for name in names:
            run("kubectl", "delete", "deployments,configmaps", "-n", self.spaces[name], "--all")

    def settle(self, *namespaces):
        """Until the controllers of the cluster have nothing more to do for what was changed."""
        def settled(namespace):
            return all(d["status"].get("observedGeneration") == d["metadata"]["generation"]
                       for d in self.list("/apis/apps/v1/{}/deployments", namespace))
        for namespace in namespaces:
            eventually(f"Deployments of {namespace} are followed", lambda: settled(namespace), 120)
        time.sleep(1)

    def ready(self, namespace, count, seconds=240):
        """Until all KeyRotations there are Ready, with progress."""
        begin = time.monotonic()
        while True:
            found = self.list("/apis/keyturn.dev/v1alpha1/{}/keyrotations", namespace)
            done = sum(any(c["type"] == "Ready" and c["status"] == "True" for c in r.get("status", {}).get("conditions", []))
                       for r in found)
            if done >= count:
                return
            if time.monotonic() - begin > seconds:
                raise AssertionError(f"{done} of {count} KeyRotations ready after {seconds} s: {json.dumps(found[0].get('status'))[:2000]}")
            say(f"{done} of {count} KeyRotations ready")
            time.sleep(1.5)

    def asked(self):
        """How often Keycloak was asked for what, since the last call."""
        seen, self.relay.seen[:] = list(self.relay.seen), []
        return collections.Counter(e.path.split("?")[0] for e in seen)
