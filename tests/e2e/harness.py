# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test stands on: a real cluster, HTTP to it, a namespace, the chart installed.

KEYTURN_CLUSTER=N   number of the test cluster (default 9); it is brought up when it is down, and then taken down at the end
                    unless KEYTURN_KEEP is set.
CLUSTER=kubeconfig  a cluster of one's own instead; kubectl and helm are then taken from PATH.
"""
import base64
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time
import uuid

import kubernetes
import pytest
import requests
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests" / "cluster" / "cluster"
CHART = ROOT / "charts" / "keyturn"
IMAGE = "localhost/keyturn:dev"
FINALIZER = "keyturn.dev/published"
MERGE = "application/merge-patch+json"


def run(*args, check=True, **options):
    """Runs a program to its end; a failure shows what it said."""
    options.setdefault("timeout", 300)
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False, **options)
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def eventually(what, look, seconds=30, every=0.2):
    """Calls look() until it returns something true, and returns that; fails with `what` and the last error after a while."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = look()
            if last:
                return last
        except (AssertionError, kubernetes.client.ApiException, requests.RequestException) as error:
            last = error
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds} s; last: {last}")
        time.sleep(every)


class Kube:
    """The well-known Python client, as the cluster's administrator."""

    def __init__(self):
        kubernetes.config.load_kube_config(os.environ["KUBECONFIG"])
        self.core = kubernetes.client.CoreV1Api()
        self.apps = kubernetes.client.AppsV1Api()
        self.custom = kubernetes.client.CustomObjectsApi()
        self.events = kubernetes.client.EventsV1Api()
        self.leases = kubernetes.client.CoordinationV1Api()
        self.admission = kubernetes.client.AdmissionregistrationV1Api()
        self.rbac = kubernetes.client.RbacAuthorizationV1Api()

    def rotation(self, namespace, name):
        return self.custom.get_namespaced_custom_object("keyturn.dev", "v1alpha1", namespace, "keyrotations", name)


class Http:
    """Bare HTTP to the API server, where the verb and the media type are the point. `token` logs in, else the administrator does."""

    def __init__(self, token=None):
        config = yaml.safe_load(pathlib.Path(os.environ["KUBECONFIG"]).read_text())
        context = next(c for c in config["contexts"] if c["name"] == config["current-context"])["context"]
        server = next(c for c in config["clusters"] if c["name"] == context["cluster"])["cluster"]
        user = next(u for u in config["users"] if u["name"] == context["user"])["user"]
        self.folder = tempfile.TemporaryDirectory()
        self.base = server["server"]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self._file(server, "certificate-authority")
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        elif user.get("token"):
            self.session.headers["Authorization"] = f"Bearer {user['token']}"
        else:
            self.session.cert = (self._file(user, "client-certificate"), self._file(user, "client-key"))

    def _file(self, section, name):
        if name in section:
            return str((pathlib.Path(os.environ["KUBECONFIG"]).parent / section[name]).resolve())
        file = pathlib.Path(self.folder.name) / name
        file.write_bytes(base64.b64decode(section[f"{name}-data"]))
        return str(file)

    def __call__(self, method, path, body=None, accept="application/json", content_type="application/json", **headers):
        data = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        return self.session.request(method, self.base + path, data=data, timeout=20, allow_redirects=False,
                                    headers={"Accept": accept, "Content-Type": content_type, **headers})


@contextlib.contextmanager
def fresh_namespace(kube, prefix):
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    kube.core.create_namespace({"metadata": {"name": name, "labels": {"keyturn-test": "true"}}})
    try:
        # Pods refuse to start before the controller has made this account, which after a death of the API server takes its time.
        eventually(f"ServiceAccount default in {name}", lambda: kube.core.read_namespaced_service_account("default", name), 120)
        yield name
    finally:
        kube.core.delete_namespace(name, propagation_policy="Background")


class Release:
    """An installed chart: its name is the prefix of every object, `namespace` is its own."""

    def __init__(self, name, namespace, helm):
        self.name, self.namespace, self._helm = name, namespace, helm

    @property
    def flags(self):
        """Of an operator that is a process, behind the policies of this release."""
        return {"watch_namespaces": None, "without_fence": None, "fence": f"{self.name}-fence",
                "without_operations_policy": None, "operations_policy": f"{self.name}-operations"}

    def install(self, values):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            self._helm("upgrade", "--install", self.name, CHART, "--namespace", self.namespace, "--create-namespace",
                       "--values", file.name, "--wait", "--timeout", "3m")

    def kubeconfig(self, kubectl, folder):
        """A kubeconfig of the operator's own account, for an operator that runs as a process."""
        config = yaml.safe_load(pathlib.Path(os.environ["KUBECONFIG"]).read_text())
        token = kubectl("create", "token", self.name, "--namespace", self.namespace, "--duration=1h").stdout.strip()
        user = next(c["context"]["user"] for c in config["contexts"] if c["name"] == config["current-context"])
        next(u for u in config["users"] if u["name"] == user)["user"] = {"token": token}
        (folder / "config").write_text(yaml.safe_dump(config))
        return str(folder / "config")

    def uninstall(self):
        self._helm("uninstall", self.name, "--namespace", self.namespace, "--ignore-not-found", "--wait")


@contextlib.contextmanager
def installed(kube, helm, name, values):
    """The chart as release `name` in a namespace of its own; everything of it is gone afterwards, the CRD apart."""
    with fresh_namespace(kube, name) as namespace:
        release = Release(name, namespace, helm)
        try:
            release.install({"fullnameOverride": name, **values})
            yield release
        finally:
            release.uninstall()
