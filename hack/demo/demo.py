#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: a realm, three consumers, a key rotated by hand and followed, a certificate that is about to expire.

Run by hack/demo/demo. KEYTURN_CLUSTER=N (default 5) is the test cluster's number; CLUSTER=kubeconfig takes a cluster of your own, and
then IMAGE, KEYCLOAK_URL, KEYCLOAK_ADMIN and KEYCLOAK_ADMIN_PASSWORD say what to use there, and KEYCLOAK_URL_FOR_PODS where pods reach
that Keycloak, if not at KEYCLOAK_URL. `demo.py down` removes what it made there.
"""
import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import requests

from stage import (ARCHIVE, BOLD, END, GREEN, IMAGE, MARK, NAMESPACE, OPERATOR, OWN, REALM, RED, RELEASE, ROOT, Failed, Step,
                   bring_up, check_cluster, get, image_values, items, keycloak_client, kubectl, login, pods_of, run, show, take_down)

ROLES = ("manage-realm", "view-clients")  # to follow the keys view-realm is enough; these let Keyturn rotate one

ROTATION = "prod"
DAY_S = 86400
AGAIN = "`make demo` goes on from what is there, `make demo-down` removes it"


def wait_for(what, look, seconds=180):
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds} s for: {what}\n{why_not_ready()}\n"
                         f"look with: kubectl describe keyrotation {ROTATION} -n {NAMESPACE}")
        time.sleep(0.3)


# ---- the parts ----

def make_realm():
    with Step(f"make realm {REALM} in Keycloak at {os.environ['KEYCLOAK_URL']}"):
        return login().create_realm(REALM, replace=True, token_lifespan_s=600, roles=ROLES, extra={"attributes": {MARK: "true"}})


def make_namespace(name):
    kubectl("apply", "-f", "-", stdin=json.dumps(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {MARK: "true"}}}))


def install():
    with Step(f"helm install {RELEASE} charts/keyturn", lambda: pods_of(OPERATOR)):
        # Helm does not upgrade a CRD; and the chart gives a right in NAMESPACE, to read the credentials, so that must be there.
        kubectl("apply", "--server-side", "--force-conflicts", "-f", ROOT / "crds/keyrotation.yaml")
        kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/keyrotations.keyturn.dev")
        for name in (NAMESPACE, OPERATOR):
            make_namespace(name)
        values = "image.pullPolicy=IfNotPresent,settle=2"
        values += f",credentialSecrets[0].namespace={NAMESPACE},credentialSecrets[0].name=keyturn-keycloak"
        if OWN:
            values += f",watchNamespaces[0]={NAMESPACE}"
        else:
            # The tag stays the same from build to build: without this the pods of the last one stay too.
            values += f",podAnnotations.image=sha256-{hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:16]}"
        state = run("helm", "status", RELEASE, "--namespace", OPERATOR, "-o", "json", check=False).stdout
        if state and json.loads(state)["info"]["status"].startswith("pending"):
            run("helm", "uninstall", RELEASE, "--namespace", OPERATOR, "--wait")  # helm was killed in the middle of it
        try:
            run("helm", "upgrade", "--install", RELEASE, ROOT / "charts/keyturn", "--namespace", OPERATOR, "--set", values,
                "--set-string", image_values(), "--wait", "--timeout", "4m")
        except Failed as error:
            raise Failed(f"{error}\npods: {pods_of(OPERATOR) or 'none'}\nlook with: kubectl describe pods -n {OPERATOR}") from None


def workload(kind, name, volume, issuer):
    spec = {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                         "spec": {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
                                  "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                                  "volumes": [{"name": "keys", **volume}], "containers": [{
                             "name": "verifier", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
                             "command": ["/usr/bin/keyturn-verifier", "--keys", "/keys", "--listen", "0.0.0.0:8080", "--issuer", issuer],
                             "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                             "volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": True}],
                             "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}]}}}
    if kind != "DaemonSet":
        spec["replicas"] = 1
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def objects(keycloak_url, issuer):
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
        workload("Deployment", "api", {"secret": {"secretName": "api-keys"}}, issuer),
        workload("Deployment", "gateway", {"configMap": {"name": "gateway-keys"}}, issuer),
        workload("StatefulSet", "broker", {"secret": {"secretName": "broker-keys"}}, issuer),
        {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": {"name": ROTATION, **meta},
         "spec": {"issuer": {"url": issuer}, "refreshInterval": "5s",
                  "keycloak": {"url": keycloak_url, "realm": REALM, "credentials": {"secret": {"name": "keyturn-keycloak"}}},
                  "consumers": consumers}}]


def status():
    return (get("keyrotation", ROTATION, "-n", NAMESPACE) or {}).get("status", {})


def ready(now):
    return next((c for c in now.get("conditions", []) if c["type"] == "Ready"), {})


def why_not_ready():
    """What the operator says, or else what the pods do."""
    condition = ready(status())
    return f"{condition['reason']}: {condition['message']}" if condition.get("status") == "False" else pods_of(NAMESPACE)


def settled(kids):
    """Every consumer up to date with exactly these keys."""
    now = status()
    return {k["kid"] for k in now.get("keys", [])} == set(kids) and ready(now).get("status") == "True" and now


def pods(app):
    return [p["metadata"]["name"] for p in items("pods", "-n", NAMESPACE, "-l", f"app={app}") if not p["metadata"].get("deletionTimestamp")
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
    return {app: get(kind, app, "-n", NAMESPACE)["metadata"]["generation"]
            for kind, app in (("deployment", "api"), ("deployment", "gateway"), ("statefulset", "broker"))}


# ---- the story ----

def publish(realm):
    keycloak_url = os.environ.get("KEYCLOAK_URL_FOR_PODS") or os.environ["KEYCLOAK_URL"] if OWN else "http://keycloak.keycloak.svc:8080"
    with Step("apply a KeyRotation and three consumers: api and broker read a Secret, gateway a ConfigMap", why_not_ready):
        # A namespace of an earlier demo holds the keys of an earlier realm: begin anew.
        kubectl("delete", "keyrotation", "--all", "-n", NAMESPACE)
        kubectl("delete", "deployment,statefulset,secret,configmap", "--all", "-n", NAMESPACE, "--wait=true")
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(keycloak_url, realm.issuer())}))
        wait_for("all consumers up to date", lambda: settled(kids(realm)))
    show("get", "keyrotations", "-n", NAMESPACE)
    show("get", "secret/api-keys", "configmap/gateway-keys", "secret/broker-keys", "-n", NAMESPACE, "-L", "keyturn.dev/rotation")
    files = get("secret", "api-keys", "-n", NAMESPACE)["data"]
    print(f"  api-keys holds: {', '.join(sorted(files))}")


def rotate(realm):
    first, before = realm.mint(), generations()
    print("tokens before the rotation:")
    check_tokens({"a token of the realm": (first, True), "a token of a foreign key": (keycloak_client.foreign_token(first), False)})
    with Step("rotate by hand in Keycloak: a new key, not signing yet; Keyturn publishes it and restarts the readers", why_not_ready):
        next_key = realm.add_rsa_generated(name="demo-next", priority=200, active=False)
        wait_for("the new key at every consumer", lambda: settled(kids(realm)))
    after = generations()
    for app in before:
        print(f"  {app}: pod template changed {after[app] - before[app]} time(s)")
    with Step("now let the new key sign: every consumer knows it already", why_not_ready):
        realm.update(next_key, active=True)
        wait_for("status names the new signer", lambda: status().get("activeKid") == realm.kid(next_key))
    print("tokens after the rotation:")
    second = realm.mint()
    check_tokens({"a token of the old key": (first, True), "a token of the new key": (second, True),
                  "a token of a foreign key": (keycloak_client.foreign_token(second), False)})
    restarted = generations()
    print(f"  restarts since the new key was published: {sum(restarted.values()) - sum(after.values())}")


def warn(realm):
    with Step("add a PASSIVE key whose certificate ends in 5 days: nobody signs with it, and its expiry would break verifiers all the same",
              why_not_ready):
        realm.add_rsa(name="demo-old", priority=50, active=False, valid_s=5 * DAY_S)
        wait_for("the warning", lambda: "CertificateExpiring" in kubectl("get", "events", "-n", NAMESPACE))
        wait_for("all consumers up to date", lambda: settled(kids(realm)))
    show("get", "events", "-n", NAMESPACE, "--field-selector", "reason=CertificateExpiring")


def tell_story():
    realm = make_realm()
    install()
    publish(realm)
    rotate(realm)
    warn(realm)
    show("describe", "keyrotation", ROTATION, "-n", NAMESPACE)


def what_next():
    """How a person's shell gets there: kubectl, helm and Keycloak of the demo."""
    if OWN:
        return f"export KUBECONFIG={os.environ['KUBECONFIG']}"
    number = os.environ.get("KEYTURN_CLUSTER", "5")
    return f"eval \"$({'' if number == '5' else f'KEYTURN_CLUSTER={number} '}tests/cluster/cluster env)\""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", nargs="?", choices=("up", "down"), default="up")
    parser.add_argument("--started", type=int, default=int(time.time()))
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    begun = not OWN
    try:
        if args.verb == "down":
            take_down()
            print("demo: gone")
            return 0
        if OWN:
            check_cluster()
        else:
            bring_up()
        begun = True
        tell_story()
    except (Failed, keycloak_client.KeycloakError, requests.RequestException) as error:
        print(f"{RED}demo: {error}{END}", file=sys.stderr)
        if begun:
            print(f"demo: to look around: {what_next()}\ndemo: {AGAIN}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ndemo: stopped. {AGAIN}", file=sys.stderr)
        return 130
    print(f"""
{BOLD}The demo took {time.time() - args.started:.0f} s and stays up. Try next:{END}
  {what_next()}
  kubectl edit configmap gateway-keys -n {NAMESPACE}                               # and see it put right
  kubectl get events -n {NAMESPACE} --watch
  kubectl annotate keyrotation {ROTATION} -n {NAMESPACE} --overwrite keyturn.dev/refresh=$(date +%s)     # poll Keycloak at once
  kubectl logs -n {OPERATOR} -l app.kubernetes.io/name=keyturn --prefix
{BOLD}And a planned rotation{END} (README, Rotate): the signing key becomes Keyturn's to rotate, and you ask for it. It takes a quarter of an hour,
because a token of this realm lives for ten minutes:
  kubectl patch keyrotation {ROTATION} -n {NAMESPACE} --type=merge \\
    -p '{{"spec":{{"key":{{"adopt":true}},"overlap":{{"publish":"1m","retire":"11m","delete":"1m"}}}}}}'
  kubectl annotate keyrotation {ROTATION} -n {NAMESPACE} --overwrite keyturn.dev/operation=rotate keyturn.dev/operation-for=1 \\
    keyturn.dev/operation-by=$(kubectl auth whoami -o jsonpath='{{.status.userInfo.username}}')
  kubectl get keyrotation {ROTATION} -n {NAMESPACE} --watch
{BOLD}At the end:{END} make demo-down removes all of it.""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
