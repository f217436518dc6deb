# SPDX-License-Identifier: Apache-2.0
"""Fixtures of every end-to-end test; what they are made of is in harness.py."""
import os
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

import realm as keycloak_client
from harness import CLUSTER, IMAGE, ROOT, Http, Kube, fresh_namespace, installed, run
from keycloak_server import Authority, KeycloakServer, fixed_realm
from kube_proxy import KubeProxy
from scene import Scene

summary = pytest.StashKey[list]()


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: changes the cluster for everybody, or is about how long something takes")
    config.stash[summary] = []


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash[summary]:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tell(request):
    """tell(line) prints a line at the end of the run, also where everything passed."""
    return request.config.stash[summary].append


@pytest.fixture(scope="session")
def cluster():
    """Brings the cluster up, or finds it up; its environment (KUBECONFIG, PATH, KEYCLOAK_…) becomes this process's. Returns its number."""
    if os.environ.get("CLUSTER"):
        os.environ["KUBECONFIG"] = os.environ["CLUSTER"]
        yield "own"
        return
    number = os.environ.setdefault("KEYTURN_CLUSTER", "9")
    started = run(CLUSTER, "status", check=False).returncode != 0
    run(CLUSTER, "up", timeout=1800)
    exported = run("bash", "-ec", f'eval "$({CLUSTER} env)"; env -0').stdout
    os.environ.update(line.split("=", 1) for line in exported.split("\0") if "=" in line)
    yield number
    if started and not os.environ.get("KEYTURN_KEEP"):
        run(CLUSTER, "down")


@pytest.fixture(scope="session")
def kubectl(cluster):
    """kubectl("get", "pods", …, input=text) with the cluster's kubeconfig."""
    program = shutil.which("kubectl") or pytest.fail("no kubectl on PATH")
    return lambda *args, **options: run(program, *args, **options)


@pytest.fixture(scope="session")
def helm(cluster):
    program = os.environ.get("HELM") or shutil.which("helm") or pytest.fail("no helm: set HELM or put it on PATH")
    return lambda *args, **options: run(program, *args, **options)


@pytest.fixture(scope="session")
def kube(cluster):
    return Kube()


@pytest.fixture(scope="session")
def admin(cluster):
    return Http()


@pytest.fixture(scope="session")
def crd(kubectl):
    """The CRD of this tree, in force."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", ROOT / "crds" / "keyrotation.yaml")
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/keyrotations.keyturn.dev")


@pytest.fixture
def namespace(kube):
    """A namespace of the test's own, deleted afterwards."""
    with fresh_namespace(kube, "test") as name:
        yield name


@pytest.fixture(scope="session")
def keycloak(cluster):
    keycloak = keycloak_client.Keycloak.from_env()
    keycloak.wait_ready()
    return keycloak


@pytest.fixture
def scene(kube, crd, keycloak):
    """A namespace and a realm of the test's own."""
    with fresh_namespace(kube, "test") as namespace:
        realm = keycloak.create_realm(namespace)
        yield Scene(kube, namespace, realm)
        realm.delete(missing_ok=True)


@pytest.fixture
def proxy(cluster, tmp_path):
    """Between an operator and the API server."""
    with KubeProxy(tmp_path) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def image(cluster):
    """The operator's image, built by `make image`, loaded into the cluster. KEYTURN_IMAGE_TAR names the archive."""
    archive = pathlib.Path(os.environ.get("KEYTURN_IMAGE_TAR", ROOT / "build" / "keyturn-image.tar"))
    if cluster != "own":
        assert archive.exists(), f"no image {archive}: run `make image`"
        run(CLUSTER, "load", archive)
    return IMAGE


@pytest.fixture(scope="session")
def own_keycloak(cluster):
    """A second Keycloak, whose issuers follow the Host header, by http and https; realm `own` outlives its death."""
    authority = Authority()
    with KeycloakServer(realms=[fixed_realm("own")], tls=authority.server()) as server:
        server.authority = authority
        yield server


@pytest.fixture(scope="module")
def release(kube, helm, crd, image):
    """The operator running with default values, two replicas ready."""
    repository, tag = image.rsplit(":", 1)
    values = {"image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}}
    with installed(kube, helm, "keyturn", values) as done:
        yield done
