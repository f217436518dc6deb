#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: a realm, three consumers, a key rotated by hand and followed, a certificate that is about to expire.

Run by hack/demo/demo. KEYTURN_CLUSTER=N (default 5) is the test cluster's number; CLUSTER=kubeconfig takes a cluster of your own, and
then IMAGE, KEYCLOAK_URL, KEYCLOAK_ADMIN and KEYCLOAK_ADMIN_PASSWORD say what to use there.
"""
import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import realm as keycloak_client  # noqa: E402  (the path above)

NAMESPACE = "keyturn-demo"
REALM = "prod"
ISSUER = f"https://auth.example.test/realms/{REALM}"
DAY_S = 86400
BOLD, DIM, GREEN, RED, END = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("",) * 5
OWN = bool(os.environ.get("CLUSTER"))
IMAGE = os.environ.get("IMAGE", "localhost/keyturn:dev")


class Failed(Exception):
    pass


class Step:
    """A line with a clock while something takes long, and the time it took."""

    def __init__(self, text):
        self.text, self.done = text, threading.Event()

    def __enter__(self):
        self.start = time.monotonic()
        print(f"{BOLD}==>{END} {self.text}", flush=True)
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def _tick(self):
        while not self.done.wait(10):
            print(f"{DIM}    ... {time.monotonic() - self.start:.0f} s{END}", flush=True)

    def __exit__(self, kind, *_):
        self.done.set()
        if kind is None:
            print(f"{DIM}    {time.monotonic() - self.start:.1f} s{END}", flush=True)


def run(*args, check=True, stdin=None, quiet=True):
    done = subprocess.run([str(a) for a in args], input=stdin, text=True, capture_output=quiet, check=False, cwd=ROOT)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))} ended with {done.returncode}\n{done.stdout or ''}{done.stderr or ''}")
    return done


def kubectl(*args, **options):
    return run("kubectl", *args, **options).stdout


def show(*args):
    """Prints a kubectl command as a person would type it, and what it says."""
    print(f"{GREEN}$ kubectl {' '.join(args)}{END}")
    print("  " + kubectl(*args).rstrip().replace("\n", "\n  "), flush=True)


def wait_for(what, look, seconds=180):
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds} s for: {what}; look with: kubectl describe keyrotation {REALM} -n {NAMESPACE}")
        time.sleep(0.3)


# ---- the parts ----

def bring_up():
    """Cluster and image at the same time: one waits for the network and Go, the other for the compiler."""
    if OWN:
        os.environ["KUBECONFIG"] = os.environ["CLUSTER"]
        missing = [name for name in ("IMAGE", "KEYCLOAK_URL", "KEYCLOAK_ADMIN", "KEYCLOAK_ADMIN_PASSWORD") if not os.environ.get(name)]
        if missing:
            raise Failed(f"with CLUSTER set, {', '.join(missing)} must be set too: the image where your nodes can pull it, and a Keycloak 26 "
                         "that your pods reach")
        return
    with Step("build Keyturn and its image; start the cluster (cold: 8 to 10 minutes, else seconds)"):
        cluster = subprocess.Popen([str(ROOT / "tests/cluster/cluster"), "up"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        image = subprocess.Popen(["make", "-s", "image"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = {}

        def follow(name, process):
            said[name] = []
            for line in process.stdout:
                said[name].append(line)
                print(f"{DIM}    {name}: {line.rstrip()[:150]}{END}", flush=True)
        threads = [threading.Thread(target=follow, args=pair) for pair in (("cluster", cluster), ("image", image))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, process in (("cluster", cluster), ("image", image)):
            if process.wait() != 0:
                raise Failed(f"{name} ended with {process.returncode}\n{''.join(said[name][-30:])}")
    exported = run("bash", "-ec", f'eval "$({ROOT}/tests/cluster/cluster env)"; env -0').stdout
    os.environ.update(line.split("=", 1) for line in exported.split("\0") if "=" in line)
    with Step("load the image into the cluster"):
        run(ROOT / "tests/cluster/cluster", "load", ROOT / "build/keyturn-image.tar")


def make_realm():
    with Step(f"make realm {REALM} in Keycloak at {os.environ['KEYCLOAK_URL']}"):
        keycloak = keycloak_client.Keycloak.from_env()
        keycloak.wait_ready()
        return keycloak.create_realm(REALM, replace=True, token_lifespan_s=600)


def install():
    repository, tag = IMAGE.rsplit(":", 1)
    with Step("helm install keyturn charts/keyturn"):
        # The chart gives a right in this namespace: to read the credentials by their name.
        existing = run("kubectl", "create", "namespace", NAMESPACE, check=False)
        if existing.returncode != 0 and "AlreadyExists" not in existing.stderr:
            raise Failed(existing.stderr)
        run("helm", "upgrade", "--install", "keyturn", ROOT / "charts/keyturn", "--namespace", "keyturn", "--create-namespace",
            "--set", f"image.repository={repository},image.tag={tag},image.pullPolicy=IfNotPresent,settle=2",
            "--set", f"credentialSecrets[0].namespace={NAMESPACE},credentialSecrets[0].name=keyturn-keycloak", "--wait", "--timeout", "4m")


def workload(kind, name, volume):
    spec = {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                         "spec": {"terminationGracePeriodSeconds": 1, "volumes": [{"name": "keys", **volume}], "containers": [{
                             "name": "verifier", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
                             "command": ["/usr/bin/keyturn-verifier", "--keys", "/keys", "--listen", "0.0.0.0:8080", "--issuer", ISSUER],
                             "volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": True}],
                             "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}]}}}
    if kind != "DaemonSet":
        spec["replicas"] = 1
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def objects(keycloak_url):
    consumers = [
        {"name": "api", "publish": {"secret": {"name": "api-keys"}}, "reload": {"restart": [{"kind": "Deployment", "name": "api"}]}},
        {"name": "gateway", "publish": {"configMap": {"name": "gateway-keys"}, "formats": ["JWKS", "PEM"]},
         "reload": {"restart": [{"kind": "Deployment", "name": "gateway"}]}},
        {"name": "broker", "publish": {"secret": {"name": "broker-keys"}, "formats": ["JWKS", "X509"]},
         "reload": {"restart": [{"kind": "StatefulSet", "name": "broker"}]}}]
    meta = {"namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keyturn-keycloak", **meta},
         "stringData": {"url": keycloak_url, "client-id": "keyturn", "client-secret": "keyturn-secret"}},
        workload("Deployment", "api", {"secret": {"secretName": "api-keys"}}),
        workload("Deployment", "gateway", {"configMap": {"name": "gateway-keys"}}),
        workload("StatefulSet", "broker", {"secret": {"secretName": "broker-keys"}}),
        {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": {"name": REALM, **meta},
         "spec": {"issuer": {"url": ISSUER}, "refreshInterval": "5s",
                  "keycloak": {"url": keycloak_url, "realm": REALM, "credentials": {"secret": {"name": "keyturn-keycloak"}}},
                  "consumers": consumers}}]


def status():
    return json.loads(kubectl("get", "keyrotation", REALM, "-n", NAMESPACE, "-o", "json")).get("status", {})


def settled(kids):
    """Every consumer up to date with exactly these keys."""
    now = status()
    ready = next((c for c in now.get("conditions", []) if c["type"] == "Ready"), {})
    return {k["kid"] for k in now.get("keys", [])} == set(kids) and ready.get("status") == "True" and now


def pods(app):
    items = json.loads(kubectl("get", "pods", "-n", NAMESPACE, "-l", f"app={app}", "-o", "json"))["items"]
    return [p["metadata"]["name"] for p in items if not p["metadata"].get("deletionTimestamp")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))]


@contextlib.contextmanager
def port_of(app):
    """A port of this machine that leads to a pod of the app: kubectl port-forward, which every cluster offers."""
    pod = wait_for(f"a ready pod of {app}", lambda: pods(app), 60)[0]
    with subprocess.Popen(["kubectl", "port-forward", "-n", NAMESPACE, f"pod/{pod}", ":8080"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as forward:
        try:
            said = forward.stdout.readline()
            if "127.0.0.1:" not in said:
                raise Failed(f"kubectl port-forward to pod {pod}: {said}{forward.stdout.read()}")
            yield said.split("127.0.0.1:")[1].split()[0]
        finally:
            forward.terminate()


def verify(app, tokens):
    """Asks a pod of the app which of the tokens it accepts."""
    with port_of(app) as port:
        answers = [requests.post(f"http://127.0.0.1:{port}/verify", data=token, timeout=10, proxies={"http": None}) for token in tokens]
    unexpected = [answer.status_code for answer in answers if answer.status_code not in (200, 401)]
    if unexpected:
        raise Failed(f"a pod of {app} answered {unexpected} to POST /verify")
    return [answer.status_code == 200 for answer in answers]


def check_tokens(tokens):
    """tokens: name -> (token, should it be accepted). Every consumer is asked."""
    answers = {app: verify(app, [token for token, _ in tokens.values()]) for app in ("api", "gateway", "broker")}
    for i, (name, (_, expected)) in enumerate(tokens.items()):
        words = ", ".join(f"{app} {'accepts' if said[i] else 'refuses'}" for app, said in answers.items())
        right = all(said[i] == expected for said in answers.values())
        print(f"  {GREEN if right else RED}{'ok ' if right else 'BAD'}{END} {name}: {words}", flush=True)
        if not right:
            raise Failed(f"{name} should be {'accepted' if expected else 'refused'} by every consumer")


def kids(realm):
    return [key["kid"] for key in realm.signing_keys() if key["status"] != "DISABLED"]


def generations():
    return {app: json.loads(kubectl("get", kind, app, "-n", NAMESPACE, "-o", "json"))["metadata"]["generation"]
            for kind, app in (("deployment", "api"), ("deployment", "gateway"), ("statefulset", "broker"))}


# ---- the story ----

def publish(realm):
    keycloak_url = os.environ["KEYCLOAK_URL"] if OWN else "http://keycloak.keycloak.svc:8080"
    with Step("apply a KeyRotation and three consumers: api and broker read a Secret, gateway a ConfigMap"):
        # A namespace of an earlier demo holds the keys of an earlier realm: begin anew.
        kubectl("delete", "keyrotation", "--all", "-n", NAMESPACE)
        kubectl("delete", "deployment,statefulset,secret,configmap", "--all", "-n", NAMESPACE, "--wait=true")
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(keycloak_url)}))
        wait_for("all consumers up to date", lambda: settled(kids(realm)))
    show("get", "keyrotations", "-n", NAMESPACE)
    show("get", "secret/api-keys", "configmap/gateway-keys", "secret/broker-keys", "-n", NAMESPACE, "-L", "keyturn.dev/rotation")
    files = json.loads(kubectl("get", "secret", "api-keys", "-n", NAMESPACE, "-o", "json"))["data"]
    print(f"  api-keys holds: {', '.join(sorted(files))}")


def rotate(realm):
    first, before = realm.mint(), generations()
    print("tokens before the rotation:")
    check_tokens({"a token of the realm": (first, True), "a token of a foreign key": (keycloak_client.foreign_token(first), False)})
    with Step("rotate by hand in Keycloak: a new key, not signing yet; Keyturn publishes it and restarts the readers"):
        next_key = realm.add_rsa_generated(name="demo-next", priority=200, active=False)
        wait_for("the new key at every consumer", lambda: settled(kids(realm)))
    after = generations()
    for app in before:
        print(f"  {app}: pod template changed {after[app] - before[app]} time(s)")
    with Step("now let the new key sign: every consumer knows it already"):
        realm.update(next_key, active=True)
        wait_for("status names the new signer", lambda: status().get("activeKid") == realm.kid(next_key))
    print("tokens after the rotation:")
    second = realm.mint()
    check_tokens({"a token of the old key": (first, True), "a token of the new key": (second, True),
                  "a token of a foreign key": (keycloak_client.foreign_token(second), False)})
    restarted = generations()
    print(f"  restarts since the new key was published: {sum(restarted.values()) - sum(after.values())}")


def warn(realm):
    with Step("add a PASSIVE key whose certificate ends in 5 days: nobody signs with it, and its expiry would break verifiers all the same"):
        realm.add_rsa(name="demo-old", priority=50, active=False, valid_s=5 * DAY_S)
        wait_for("the warning", lambda: "CertificateExpiring" in kubectl("get", "events", "-n", NAMESPACE))
        wait_for("all consumers up to date", lambda: settled(kids(realm)))
    show("get", "events", "-n", NAMESPACE, "--field-selector", "reason=CertificateExpiring")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--started", type=int, default=int(time.time()))
    started = parser.parse_args().started
    try:
        bring_up()
        realm = make_realm()
        install()
        publish(realm)
        rotate(realm)
        warn(realm)
        show("describe", "keyrotation", REALM, "-n", NAMESPACE)
    except (Failed, keycloak_client.KeycloakError) as error:
        print(f"{RED}demo: {error}{END}", file=sys.stderr)
        return 1
    print(f"\n{BOLD}The demo took {time.time() - started:.0f} s and stays up. Try next:{END}")
    if not OWN:
        print('  eval "$(KEYTURN_CLUSTER=%s tests/cluster/cluster env)"     # kubectl, helm and Keycloak of the demo' % os.environ.get("KEYTURN_CLUSTER", "5"))
    print(f"""  kubectl edit configmap gateway-keys -n {NAMESPACE}           # and see it put right
  kubectl get events -n {NAMESPACE} --watch
  kubectl annotate keyrotation {REALM} -n {NAMESPACE} keyturn.dev/refresh=now   # poll Keycloak at once
  kubectl logs -n keyturn deployment/keyturn
  make demo-down                                              # remove every trace""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
