# SPDX-License-Identifier: Apache-2.0
"""What the demo's story stands on: lines that show progress, programs run, and a cluster, ours or yours.

In a cluster of yours (CLUSTER=kubeconfig) all that is made has a name that begins with keyturn-demo and a mark. What has such a name
without the mark is not ours, and the demo does not begin.
"""
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests/cluster/cluster"
ARCHIVE = ROOT / "build/keyturn-image.tar"
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import realm as keycloak_client  # noqa: E402  (the path above)

OWN = bool(os.environ.get("CLUSTER"))
NAMESPACE = "keyturn-demo"
# OPERATOR is the operator's namespace.
REALM, RELEASE, OPERATOR = ("keyturn-demo", "keyturn-demo", "keyturn-demo-operator") if OWN else ("prod", "keyturn", "keyturn")
MARK = "keyturn.dev/demo"
IMAGE = os.environ.get("IMAGE", "localhost/keyturn:dev")
WANTED = ("IMAGE", "KEYCLOAK_URL", "KEYCLOAK_ADMIN", "KEYCLOAK_ADMIN_PASSWORD")
SIGN_OF_LIFE_S = 10
END_S = 60
BOLD, DIM, GREEN, RED, END = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("",) * 5


class Failed(Exception):
    pass


class Step:
    """A line that says what is done now, a sign of life when nothing was said for a while, and the time it took."""

    def __init__(self, text, note=lambda: ""):
        self.text, self.note, self.done = text, note, threading.Event()

    def __enter__(self):
        self.start = self.heard = time.monotonic()
        print(f"{BOLD}==>{END} {self.text}", flush=True)
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def say(self, line):
        self.heard = time.monotonic()
        print(f"{DIM}    {line}{END}", flush=True)

    def _tick(self):
        while not self.done.wait(1):
            if time.monotonic() - self.heard >= SIGN_OF_LIFE_S:
                try:
                    note = self.note()
                except Failed:
                    note = ""
                if not self.done.is_set():
                    self.say(f"... {time.monotonic() - self.start:.0f} s{note and ': '}{note}"[:150])

    def __exit__(self, kind, *_):
        self.done.set()
        if kind is None:
            self.say(f"{time.monotonic() - self.start:.1f} s")


def run(*args, check=True, stdin=None):
    done = subprocess.run([str(a) for a in args], input=stdin, text=True, capture_output=True, check=False, cwd=ROOT)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))} ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done


def kubectl(*args, **options):
    return run("kubectl", *args, **options).stdout


def get(*args):
    """The object; None where there is none."""
    return json.loads(kubectl("get", *args, "--ignore-not-found", "-o", "json") or "null")


def items(*args):
    return json.loads(kubectl("get", *args, "-o", "json"))["items"]


def show(*args):
    """Prints a kubectl command as a person would type it, and what it says."""
    print(f"{GREEN}$ kubectl {' '.join(args)}{END}")
    print("  " + kubectl(*args).rstrip().replace("\n", "\n  "), flush=True)


def pods_of(namespace):
    return "; ".join(" ".join(line.split()[:3]) for line in kubectl("get", "pods", "-n", namespace, "--no-headers").splitlines())


class Child:
    """A program that runs beside us, in a process group of its own that ends when we end, whatever ends us."""

    def __init__(self, step, *args):
        self.said, self.quiet, self.name = collections.deque(maxlen=30), "", pathlib.Path(args[0]).name + f" {args[-1]}"
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *map(str, args)], cwd=ROOT, text=True, start_new_session=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.thread = threading.Thread(target=self._follow, args=(step,), daemon=True)
        self.thread.start()

    def _follow(self, step):
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("  "):
                self.quiet = line.strip()  # one of many files: the sign of life shows it
            else:
                step.say(line.rstrip()[:150])

    def check(self):
        """True when it has ended well."""
        if self.process.poll() is None:
            return False
        self.thread.join(5)
        if self.process.returncode != 0:
            raise Failed(f"{self.name} ended with {self.process.returncode}\n{''.join(self.said)}".rstrip())
        return True

    def end(self):
        for number, limit in ((signal.SIGTERM, END_S), (signal.SIGKILL, None)):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(limit)


# ---- a cluster of ours ----

def bring_up():
    """Cluster and image at the same time: one waits for the network and Go, the other for the compiler. The first failure ends both."""
    children = []
    with Step("build Keyturn and its image; start the cluster (8 to 10 minutes the first time, then seconds)",
              lambda: "; ".join(child.quiet for child in children if child.quiet and child.process.poll() is None)) as step:
        try:
            children += [Child(step, CLUSTER, "up"), Child(step, "make", "-s", "image")]
            while not all([child.check() for child in children]):
                time.sleep(0.2)
        finally:
            for child in children:
                child.end()
    exported = run("bash", "-ec", f'eval "$({CLUSTER} env)"; env -0').stdout
    os.environ.update(line.split("=", 1) for line in exported.split("\0") if "=" in line)
    with Step("load the image into the cluster"):
        run(CLUSTER, "load", ARCHIVE)


# ---- a cluster of yours ----

def login():
    """The admin API. A Keycloak of ours has been started just now."""
    keycloak = keycloak_client.Keycloak.from_env()
    try:
        keycloak.wait_ready(5 if OWN else 120)
    except requests.RequestException as error:
        reason = re.search(r"\[Errno[^\]]*\] [^'\")]+", str(error))
        raise Failed(f"no Keycloak answers at {keycloak.url} ({reason[0] if reason else type(error).__name__}): start it, or correct "
                     "KEYCLOAK_URL") from None
    except keycloak_client.KeycloakError as error:
        raise Failed(f"{error}\nKEYCLOAK_ADMIN and KEYCLOAK_ADMIN_PASSWORD must be those of an administrator of the realm master, and "
                     "KEYCLOAK_URL its address as far as /realms") from None
    return keycloak


def realm_is_ours(realm):
    """True or False; None when there is none."""
    return realm.get().get("attributes", {}).get(MARK) == "true" if realm.exists() else None


def namespace_is_ours(name):
    """True or False; None when there is none."""
    found = get("namespace", name)
    return found and found["metadata"].get("labels", {}).get(MARK) == "true"


def image_values():
    if "@" in IMAGE:
        return "image.repository={},image.digest={}".format(*IMAGE.split("@", 1))
    repository, _, tag = IMAGE.rpartition(":")
    if not repository or "/" in tag:
        raise Failed(f"IMAGE={IMAGE}: write it with its tag or digest, as in registry.example/keyturn:1")
    return f"image.repository={repository},image.tag={tag}"


def unset(names):
    return ", ".join(name for name in names if not os.environ.get(name))


def need_programs():
    os.environ["KUBECONFIG"] = str(pathlib.Path(os.environ["CLUSTER"]).expanduser().resolve())
    missing = [name for name in ("kubectl", "helm") if not shutil.which(name)]
    if missing:
        raise Failed(f"{' and '.join(missing)} not found in PATH. Install what is missing (https://kubernetes.io/docs/tasks/tools, "
                     "https://helm.sh/docs/intro/install) and try again")
    answer = run("kubectl", "version", "--request-timeout=20s", check=False)
    if answer.returncode != 0:
        raise Failed(f"no API server answers by CLUSTER={os.environ['CLUSTER']}:\n{answer.stderr.strip()}")


def check_cluster():
    """Nothing is changed before all of this is known."""
    if unset(WANTED):
        raise Failed(f"with CLUSTER set, {unset(WANTED)} must be set too: the image where your nodes can pull it, and a Keycloak 26 that "
                     "this machine and your pods reach")
    image_values()
    need_programs()
    for name in (NAMESPACE, OPERATOR):
        if namespace_is_ours(name) is False:
            raise Failed(f"the cluster has a namespace {name} that is not the demo's (it has no label {MARK}=true): take another cluster")
    users = [f"deployment {d['metadata']['name']} in namespace {d['metadata']['namespace']}"
             for d in items("deployments", "-A", "-l", "app.kubernetes.io/name=keyturn") if d["metadata"]["namespace"] != OPERATOR]
    if get("crd", "keyrotations.keyturn.dev"):
        users += [f"KeyRotation {r['metadata']['name']} in namespace {r['metadata']['namespace']}"
                  for r in items("keyrotations", "-A") if r["metadata"]["namespace"] != NAMESPACE]
    if users:
        raise Failed(f"this cluster uses Keyturn already ({'; '.join(users[:3])}), which would take part in the demo: take another cluster")
    if realm_is_ours(login().realm(REALM)) is False:
        raise Failed(f"Keycloak has a realm {REALM} that is not the demo's (it has no attribute {MARK}): take another Keycloak")


def take_down():
    need_programs()
    ours = [name for name in (NAMESPACE, OPERATOR) if namespace_is_ours(name)]
    with Step(f"remove release {RELEASE} and its namespaces; the CRD stays, and all that is yours"):
        if NAMESPACE in ours and get("crd", "keyrotations.keyturn.dev"):
            kubectl("delete", "keyrotations", "--all", "-n", NAMESPACE)
        if OPERATOR in ours:
            run("helm", "uninstall", RELEASE, "--namespace", OPERATOR, "--ignore-not-found", "--wait")
        if ours:
            kubectl("delete", "namespace", *ours)
    if unset(WANTED[1:]):
        raise Failed(f"realm {REALM} stays in your Keycloak, because {unset(WANTED[1:])} is not set: set it as for `make demo`, and run "
                     "`make demo-down` again")
    with Step(f"delete realm {REALM} in Keycloak"):
        realm = login().realm(REALM)
        if realm_is_ours(realm):
            realm.delete()
