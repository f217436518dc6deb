# SPDX-License-Identifier: Apache-2.0
"""A load on a realm: it mints tokens, and verifies each of them again and again until it expires.

    with Load(scene.namespace, realm.name, {"api": "api", "pem": "pem"}) as load:   # verifier: app of keyturn-verifier
        load.flowing()
        …
        report = load.report()
    assert report.rejected == 0, report.summary()

Verifiers are pods that the operator restarts, and one without a pod, `cache`: a JWKS fetched every 60 s and never in
between, an unknown kid neither. A verification is one token asked of one verifier at one time, with an answer. A
connection that fails gave none: the token is asked of another ready pod, and the failure is counted apart. Nothing is
asked in the last second of a token.

All of it runs in a process of its own, so that a test that waits or computes does not slow it. That process reads
lines and answers each with the numbers so far; when its input ends, as it also does with its parent, it ends.
"""
import base64
import collections
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

ANSWER_S = 10
CACHE_S = 60
LOOK_S = 0.5
SHOWN = 20
EACH = 4  # minters of each grant, for a server that takes its time
MARGIN_S = 1  # a token is not asked any more so long before it expires
PORT = 8080


# --- the test's side --------------------------------------------------------------

class Report:
    """Numbers of a load: kids {kid: {minted, first, last}}, checks {verifier: {kid: [accepted, rejected]}}, and more."""

    def __init__(self, numbers):
        self.__dict__.update(numbers)

    def count(self, index, verifier=None, kid=None):
        return sum(pair[index] for name, by_kid in self.checks.items() for k, pair in by_kid.items()
                   if verifier in (None, name) and kid in (None, k))

    def accepted(self, verifier=None, kid=None):
        return self.count(0, verifier, kid)

    def rejected(self, verifier=None, kid=None):
        return self.count(1, verifier, kid)

    @property
    def tokens(self):
        return sum(self.minted.values())

    def summary(self):
        """One line, and what was rejected."""
        grants = ", ".join(f"{count} {grant}" for grant, count in sorted(self.minted.items()))
        each = ", ".join(f"{name} {self.accepted(name) + self.rejected(name)}" for name in sorted(self.checks))
        line = (f"{self.rejected()} rejected of {self.accepted() + self.rejected()} verifications ({each}) of {self.tokens} tokens ({grants};"
                f" {self.tokens / self.seconds:.1f}/s) of {len(self.kids)} keys in {self.seconds:.0f} s; {self.mint_failures} mints failed,"
                f" {sum(self.lost.values())} connections lost, longest pause {max(self.pause.values()):.1f} s")
        return "\n".join([line, *(json.dumps(item) for item in self.rejections), *self.mint_sentences])

    def assert_whole(self, tokens_per_s=12):
        """Nothing was rejected, and nothing stood still meanwhile: each verifier was asked for tokens of each key. More than
        20 tokens a second are asked for; how many a Keycloak that has just started signs on two cores is printed, not judged."""
        assert self.rejected() == 0 and self.mint_failures == 0 and not any(self.other.values()), self.summary()
        assert self.tokens / self.seconds >= tokens_per_s, self.summary()
        assert max(self.pause.values()) < 10, self.summary()
        for verifier in self.checks:
            for kid, tokens in self.kids.items():
                assert self.accepted(verifier, kid) >= tokens["minted"], f"{verifier} has seen little of {kid}: {self.summary()}"


class Load:
    """apps: verifier's name to the label `app` of its pods."""

    def __init__(self, namespace, realm, apps, tokens_per_s=22, checks_per_s=400):
        self.config = {"namespace": namespace, "realm": realm, "apps": apps, "keycloak": os.environ["KEYCLOAK_URL"],
                       "tokens_per_s": tokens_per_s, "checks_per_s": checks_per_s}
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, __file__, json.dumps(self.config)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        return self

    def report(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the load on {self.config['realm']} ended with {self.process.wait()}; its words are on stderr"
        return Report(json.loads(line))

    def until(self, look, what, seconds=60):
        """look(report) is true of a report."""
        deadline = time.monotonic() + seconds
        while True:
            report = self.report()
            if look(report):
                return report
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}; {report.summary()}"
            time.sleep(0.2)

    def flowing(self, seconds=90):
        """Every verifier has accepted tokens."""
        return self.until(lambda report: all(report.accepted(name) > 20 for name in report.checks), "tokens are verified", seconds)

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


# --- tokens -----------------------------------------------------------------------

def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Token:
    __slots__ = ("text", "kid", "algorithm", "expires", "minted")

    def __init__(self, text):
        header, payload, _ = text.split(".")
        head = json.loads(unb64(header))
        self.text, self.kid, self.algorithm = text.encode(), head["kid"], head["alg"]
        self.expires, self.minted = json.loads(unb64(payload))["exp"], time.time()


class Pace:
    """A number of turns a second; what was lost while others had the processor is made up for, so many seconds of it."""

    def __init__(self, per_s, make_up_s=1):
        self.step, self.make_up_s = 1 / per_s, make_up_s
        self.next = time.monotonic()

    def wait(self):
        now = time.monotonic()
        self.next = max(self.next + self.step, now - self.make_up_s)
        if self.next > now:
            time.sleep(self.next - now)


class Minter:
    """Tokens of one grant."""
    CLIENT = {"client_id": "mint", "client_secret": "mint-secret"}
    GRANTS = {"client": {**CLIENT, "grant_type": "client_credentials"},
              "password": {**CLIENT, "grant_type": "password", "username": "alice", "password": "alice-pw"}}

    def __init__(self, grant, config, hand_on):
        self.grant = grant
        self.form = urllib.parse.urlencode(self.GRANTS[grant])
        self.path = f"/realms/{config['realm']}/protocol/openid-connect/token"
        self.server = urllib.parse.urlsplit(config["keycloak"]).netloc
        self.connection = http.client.HTTPConnection(self.server, timeout=ANSWER_S)
        self.pace = Pace(config["tokens_per_s"] / len(self.GRANTS) / EACH, make_up_s=10)
        self.hand_on = hand_on
        self.minted = self.failed = 0
        self.sentences = []
        self.kids = {}

    def run(self):
        while True:
            self.pace.wait()
            try:
                self.mint()
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.failed += 1
                self.sentences = (self.sentences + [f"{time.time():.1f} mint: {error}"])[:SHOWN]
                self.connection.close()

    def mint(self):
        self.connection.request("POST", self.path, self.form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {body[:200]!r}")
        token = Token(json.loads(body)["access_token"])
        seen = self.kids.setdefault(token.kid, {"minted": 0, "first": token.minted, "last": 0})
        seen["minted"] += 1
        seen["last"] = token.minted
        self.minted += 1
        self.hand_on(token)


# --- verifiers --------------------------------------------------------------------

class NoAnswer(Exception):
    pass


class Line:
    """A connection to a pod that stays open. Bare, because http.client reads an answer four times as long."""

    def __init__(self, address):
        self.socket = socket.create_connection((address, PORT), ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.head = f"POST /verify HTTP/1.1\r\nHost: {address}:{PORT}\r\nContent-Length: %d\r\n\r\n".encode()

    def verify(self, token):
        self.socket.sendall(self.head % len(token) + token)
        status = self.file.readline().split(b" ")
        length = 0
        while (field := self.file.readline()) != b"\r\n":
            if not field:
                raise OSError("the answer ended in its head")
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = self.file.read(length)
        if len(body) < length:
            raise OSError("the answer ended early")
        return int(status[1]), body

    def close(self):
        self.file.close()
        self.socket.close()


class Pods:
    """Addresses of the ready pods of the apps, looked up again and again."""

    def __init__(self, namespace, apps):
        from kubernetes import client, config
        config.load_kube_config(os.environ["KUBECONFIG"])
        self.core = client.CoreV1Api()
        self.namespace, self.selector = namespace, f"app in ({','.join(apps)})"
        self.ready = {}
        self.again = threading.Event()

    def run(self):
        while True:
            try:
                self.look()
            except Exception as error:  # of any kind that a client of a server under load may meet
                print(f"load: pods of {self.namespace}: {error}", file=sys.stderr)
            self.again.wait(LOOK_S)
            self.again.clear()

    def look(self):
        answer = self.core.list_namespaced_pod(self.namespace, label_selector=self.selector, _preload_content=False,
                                               _request_timeout=ANSWER_S)
        ready = {}
        for pod in json.loads(answer.data)["items"]:
            conditions = pod["status"].get("conditions", ())
            if "deletionTimestamp" not in pod["metadata"] and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                ready.setdefault(pod["metadata"]["labels"]["app"], []).append(pod["status"]["podIP"])
        self.ready = ready


class PodVerifier:
    """keyturn-verifier in the pods of an app, one after the other."""

    def __init__(self, pods, app):
        self.pods, self.app = pods, app
        self.lines = {}
        self.turn = self.lost = 0

    def ask(self, token):
        addresses = self.pods.ready.get(self.app)
        if not addresses:
            raise NoAnswer
        self.turn += 1
        address = addresses[self.turn % len(addresses)]
        try:
            line = self.lines.get(address)
            if line is None:
                line = self.lines[address] = Line(address)
            return line.verify(token.text)
        except (OSError, ValueError, IndexError):
            self.drop(address)
            raise NoAnswer from None

    def drop(self, address):
        self.lost += 1
        line = self.lines.pop(address, None)
        if line:
            line.close()
        self.pods.ready = {app: [a for a in found if a != address] for app, found in self.pods.ready.items()}
        self.pods.again.set()


class CacheVerifier:
    """What a program does that keeps a JWKS for a minute and trusts nothing that came meanwhile."""

    def __init__(self, config):
        from jwt import PyJWK
        self.key_of = PyJWK
        self.server = urllib.parse.urlsplit(config["keycloak"]).netloc
        self.path = f"/realms/{config['realm']}/protocol/openid-connect/certs"
        self.keys, self.fetch_at, self.lost = {}, 0.0, 0

    def fetch(self):
        connection = http.client.HTTPConnection(self.server, timeout=ANSWER_S)
        try:
            connection.request("GET", self.path)
            keys = json.loads(connection.getresponse().read())["keys"]
        finally:
            connection.close()
        self.keys = {key["kid"]: self.key_of(key) for key in keys if key["use"] == "sig"}

    def ask(self, token):
        now = time.monotonic()
        if now >= self.fetch_at:
            try:
                self.fetch()
                self.fetch_at = now + CACHE_S
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                self.lost += 1
                self.fetch_at = now + LOOK_S
            if not self.keys:
                raise NoAnswer
        key = self.keys.get(token.kid)
        if key is None:
            return 401, f"no key {token.kid} among {sorted(self.keys)}".encode()
        signed, _, signature = token.text.decode().rpartition(".")
        good = key.algorithm_name == token.algorithm and key.Algorithm.verify(signed.encode(), key.key, unb64(signature))
        return (200, b"") if good else (401, b"the signature is wrong")


class Checks:
    """One verifier's tokens: a new one is asked at once, the others in turn."""

    def __init__(self, name, verifier, per_s):
        self.name, self.verifier, self.pace = name, verifier, Pace(per_s)
        self.waiting = collections.deque()
        self.counts, self.rejections, self.other = {}, [], 0
        self.answered_at, self.longest = None, 0.0

    def run(self):
        while True:
            self.pace.wait()
            try:
                token = self.waiting.popleft()
            except IndexError:
                continue
            if time.time() < token.expires - MARGIN_S:
                self.check(token)

    def check(self, token):
        try:
            status, body = self.verifier.ask(token)
        except NoAnswer:
            self.waiting.appendleft(token)
            return
        self.waiting.append(token)
        now = time.monotonic()
        self.longest = max(self.longest, now - self.answered_at) if self.answered_at else 0.0
        self.answered_at = now
        if status not in (200, 401):
            self.other += 1
            return
        self.counts.setdefault(token.kid, [0, 0])[status == 401] += 1
        if status == 401 and len(self.rejections) < SHOWN:
            at = time.time()
            self.rejections.append({"at": round(at, 2), "verifier": self.name, "kid": token.kid, "age": round(at - token.minted, 2),
                                    "left": round(token.expires - at, 2), "said": body.decode(errors="replace")[:200]})

    def pause(self):
        """Longest time without an answer, the present one too."""
        return max(self.longest, time.monotonic() - self.answered_at) if self.answered_at else 0.0


# --- the process ------------------------------------------------------------------

class Work:
    def __init__(self, config):
        pods = Pods(config["namespace"], config["apps"].values())
        verifiers = {**{name: PodVerifier(pods, app) for name, app in config["apps"].items()}, "cache": CacheVerifier(config)}
        self.checks = [Checks(name, verifier, config["checks_per_s"] / len(verifiers)) for name, verifier in verifiers.items()]
        self.minters = [Minter(grant, config, self.hand_on) for grant in Minter.GRANTS for _ in range(EACH)]
        self.began = time.monotonic()
        for worker in (pods, *self.checks, *self.minters):
            threading.Thread(target=worker.run, daemon=True).start()

    def hand_on(self, token):
        for check in self.checks:
            check.waiting.appendleft(token)

    def numbers(self):
        kids = {}
        for minter in self.minters:
            for kid, seen in list(minter.kids.items()):
                whole = kids.setdefault(kid, {"minted": 0, "first": seen["first"], "last": seen["last"]})
                whole["minted"] += seen["minted"]
                whole["first"], whole["last"] = min(whole["first"], seen["first"]), max(whole["last"], seen["last"])
        return {"seconds": time.monotonic() - self.began, "kids": kids,
                "minted": {grant: sum(minter.minted for minter in self.minters if minter.grant == grant) for grant in Minter.GRANTS},
                "mint_failures": sum(minter.failed for minter in self.minters),
                "mint_sentences": [said for minter in self.minters for said in minter.sentences][:SHOWN],
                "checks": {check.name: dict(list(check.counts.items())) for check in self.checks},
                "rejections": sorted((r for check in self.checks for r in check.rejections), key=lambda r: r["at"])[:SHOWN],
                "lost": {check.name: check.verifier.lost for check in self.checks},
                "other": {check.name: check.other for check in self.checks},
                "pause": {check.name: check.pause() for check in self.checks}}


def main():
    work = Work(json.loads(sys.argv[1]))
    for _ in sys.stdin:
        print(json.dumps(work.numbers()), flush=True)
    os._exit(0)  # whatever the threads are at


if __name__ == "__main__":
    main()
