# SPDX-License-Identifier: Apache-2.0
"""A real Keycloak of the test's own on this machine, from the distribution that tests/cluster has built.

    with KeycloakServer(realms=[fixed_realm("own")], tls=authority.server()) as server:
        server.admin().realm("own")                  # tests/lib/realm.py
        server.kill(); server.start()                # the realms of `realms` are there again, with the same keys

It has no fixed hostname: issuers follow the address it is asked at. It lives in memory and in namespaces of its own
(pid, mount), which end with it and with us, so nothing is left behind. Needs root, as the cluster does.
"""
import datetime
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import uuid

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

import realm as keycloak_client
from operator_process import ROOT, die_with_parent, free_port

PASSWORD = "own-keycloak"
# As tests/cluster/init: quick to start rather than quick to run.
HEAP = "-Xms32m -Xmx128m"
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
READY_S = 180


def distribution():
    """The folder that `cluster build` made."""
    script = f'. {ROOT}/tests/cluster/versions; grep -E "^KEYCLOAK" {ROOT}/tests/cluster/versions | sha256sum | cut -c1-12'
    name = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    cache = pathlib.Path(os.environ.get("KEYTURN_CACHE") or pathlib.Path.home() / ".cache" / "keyturn")
    folder = cache / f"keycloak-{name}"
    assert (folder / "bin" / "kc.sh").exists(), f"no Keycloak in {folder}: run tests/cluster/cluster build"
    return folder


def fixed_realm(name, keys=2):
    """The test realm with signing keys that are the same after each start; the first one signs."""
    components = [_component(f"rsa-{i}", "rsa", priority=200 - i, active=str(i == 0).lower(), algorithm="RS256",
                             privateKey=keycloak_client.pem(key), certificate=keycloak_client.pem(keycloak_client.certificate(key)))
                  for i, key in enumerate(rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(keys))]
    # An import that brings a key gets no keys by default.
    components += [_component("hs512", "hmac-generated", priority=100, algorithm="HS512"),
                   _component("aes", "aes-generated", priority=100)]
    return {**keycloak_client.realm_json(name), "components": {keycloak_client.KEY_PROVIDER: components}}


def _component(name, provider, **config):
    return {"id": str(uuid.uuid4()), "name": name, "providerId": provider, "config": {k: [str(v)] for k, v in config.items()}}


class Authority:
    """A CA of one's own, and certificates of it for 127.0.0.1 (or for other names)."""

    def __init__(self, name="test CA"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cert = self._sign(name, name, self.key.public_key(), self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.pem = keycloak_client.pem(self.cert)

    @staticmethod
    def _sign(subject, issuer, public_key, key, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
        builder = (x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(public_key)
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
                   .not_valid_after(now + datetime.timedelta(days=30)))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(key, hashes.SHA256())

    def server(self, *names):
        """(certificate, key) as PEM texts, for 127.0.0.1 or for these host names instead."""
        key = ec.generate_private_key(ec.SECP256R1())
        subjects = [x509.DNSName(name) for name in names] or [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        cert = self._sign("server", self.cert.subject.rfc4514_string().removeprefix("CN="), key.public_key(), self.key,
                          x509.SubjectAlternativeName(subjects))
        return keycloak_client.pem(cert), keycloak_client.pem(key)

    def context(self, *names):
        """The same as an ssl.SSLContext."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in zip(("cert", "key"), self.server(*names)):
                (pathlib.Path(folder) / name).write_text(text)
            context.load_cert_chain(f"{folder}/cert", f"{folder}/key")
        return context


class KeycloakServer:
    """realms: JSON of realms to import at each start. tls: (certificate, key) as PEM texts; then it speaks https too. database: a folder
    that outlives its death, as a production server's does; without one it keeps everything in memory. arguments: of kc.sh, about its name."""

    def __init__(self, realms=(), tls=None, database=None, arguments=()):
        self.home = distribution()
        self.ports = {name: free_port() for name in ("http", "https", "health")}
        self.url = f"http://127.0.0.1:{self.ports['http']}"
        self.https_url = f"https://127.0.0.1:{self.ports['https']}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-keycloak-"))
        self.tls = bool(tls)
        self.process = None
        self.arguments = list(arguments) or ["--hostname-strict=false"]
        if database:
            self.arguments += [f"--db-url=jdbc:h2:file:{database}/keycloak;NON_KEYWORDS=VALUE", "--db-username=sa", "--db-password=own"]
        for i, text in enumerate(tls or ()):
            (self.folder / ("cert.pem", "key.pem")[i]).write_text(text)
        for realm in realms:
            (self.folder / f"{realm['realm']}-realm.json").write_text(json.dumps(realm))

    def admin(self):
        return keycloak_client.Keycloak(self.url, "admin", PASSWORD)

    def command(self):
        words = [f"{self.home}/bin/kc.sh", "start", "--optimized", "--import-realm", "--http-enabled=true",
                 "--http-host=127.0.0.1", f"--http-port={self.ports['http']}", f"--http-management-port={self.ports['health']}",
                 "--http-management-scheme=http", *self.arguments]
        if self.tls:
            words += [f"--https-port={self.ports['https']}", f"--https-certificate-file={self.folder}/cert.pem",
                      f"--https-certificate-key-file={self.folder}/key.pem"]
        data = f"{self.home}/data"
        script = (f"mount -t tmpfs -o mode=700 keycloak {data} && mkdir {data}/import && "
                  f"for f in {self.folder}/*-realm.json; do [ ! -f $f ] || cp $f {data}/import/; done && exec \"$@\"")
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "sh", "-ec", script, "sh", *words]

    def start(self, wait=True):
        env = {name: value for name, value in os.environ.items() if name != "JAVA_OPTS"}
        env |= {"JAVA_OPTS_KC_HEAP": HEAP, "JAVA_OPTS_APPEND": f"{QUICK} -Dvertx.cacheDirBase={self.home}/data/vertx"}
        env |= {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), env=env, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Keycloak is not ready:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.4)

    def ready(self):
        try:
            answer = requests.get(f"http://127.0.0.1:{self.ports['health']}/health/ready", timeout=5, proxies={"http": None})
        except requests.RequestException:
            return False
        return answer.status_code == 200

    def kill(self):
        """kill -9 of everything, without a goodbye."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
