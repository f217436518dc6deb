# SPDX-License-Identifier: Apache-2.0
"""Keys, tokens and mounted directories for the reference verifier; the binary itself is run."""
import base64
import datetime
import hashlib
import http.client
import json
import os
import pathlib
import select
import shutil
import subprocess
import time

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The leak check of a sanitized build traces the process, which our seccomp filter takes for an attack.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
ISSUER = "https://id.example.com/realms/prod"


def binary():
    """KEYTURN_VERIFIER, else the newest build."""
    if os.environ.get("KEYTURN_VERIFIER"):
        return os.environ["KEYTURN_VERIFIER"]
    built = [ROOT / "build" / variant / "keyturn-verifier" for variant in ("release", "debug")]
    built = [path for path in built if path.exists()]
    assert built, "no keyturn-verifier in build/release or build/debug: run make release"
    return str(max(built, key=lambda path: path.stat().st_mtime))


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A signing key as an issuer has it, and as it publishes it."""

    def __init__(self, kid, alg, private):
        self.alg, self.private = alg, private
        self.spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.spki_sha256 = b64url(hashlib.sha256(self.spki).digest())
        self.kid = kid or self.spki_sha256

    @property
    def jwk(self):
        algorithm = jwt.get_algorithm_by_name(self.alg)
        jwk = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        return {**jwk, "kid": self.kid, "alg": self.alg, "use": "sig"}

    @property
    def pem(self):
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def cert(self):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "prod")])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
        builder = builder.public_key(self.private.public_key())
        builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        hashed = None if self.alg == "EdDSA" else hashes.SHA256()
        return builder.sign(self.private, hashed).public_bytes(Encoding.PEM)

    def token(self, headers=None, alg=None, drop=(), **claims):
        now = int(time.time())
        body = {"iss": ISSUER, "sub": "anna", "iat": now, "exp": now + 60, **claims}
        for name in drop:
            del body[name]
        return jwt.encode(body, self.private, alg or self.alg, headers={"kid": self.kid, **(headers or {})})


def rsa_key(kid, alg="RS256"):
    return Key(kid, alg, rsa.generate_private_key(65537, 2048))


def ec_key(kid, alg="ES256", curve=None):
    return Key(kid, alg, ec.generate_private_key(curve or ec.SECP256R1()))


class Mount:
    """A directory as the kubelet mounts a Secret: files are links through ..data, which is swapped."""

    def __init__(self, path):
        self.path, self.number = path, 0
        path.mkdir()

    def write(self, **files):
        """Keyword jwks_json is the file jwks.json. Everything that was there before is gone."""
        files = {name.replace("_", "."): data for name, data in files.items()}
        self.number += 1
        version = self.path / f"..version-{self.number}"
        version.mkdir()
        for name, data in files.items():
            (version / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        link = self.path / "..data_tmp"
        link.symlink_to(version.name)
        old = os.readlink(self.path / "..data") if (self.path / "..data").is_symlink() else None
        os.rename(link, self.path / "..data")
        for name in files:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for entry in self.path.iterdir():
            if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in files:
                entry.unlink()
        if old:
            shutil.rmtree(self.path / old)
        return self

    def jwks(self, *keys, **more):
        return self.write(jwks_json=json.dumps({"keys": [key.jwk for key in keys]}), **more)


def manifest(*keys, trust_hash="v1-x"):
    entries = [{"kid": k.kid, "alg": k.alg, "lifecycle": "Active", "spkiSHA256": k.spki_sha256} for k in keys]
    return json.dumps({"trustHash": trust_hash, "issuer": ISSUER, "keys": entries})


class Server:
    """A running verifier on a free port."""

    def __init__(self, mount, *flags, listen="127.0.0.1:0"):
        self.lines, self.rest = [], b""
        self.process = subprocess.Popen(
            [binary(), "--keys", str(mount.path), "--listen", listen, *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT)
        self.port = self.wait_line("listening")["port"]

    def wait_line(self, msg, seconds=10):
        """The next line of the log with this msg."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            line, newline, rest = self.rest.partition(b"\n")
            if newline:
                self.rest = rest
                self.lines.append(line.decode())
                if json.loads(line)["msg"] == msg:
                    return json.loads(line)
                continue
            if select.select([self.process.stderr], [], [], 0.2)[0]:
                more = os.read(self.process.stderr.fileno(), 65536)
                if not more:
                    break
                self.rest += more
        raise AssertionError(f'no "{msg}" in {self.lines} {self.rest}')

    def connect(self, host="127.0.0.1"):
        return http.client.HTTPConnection(host, self.port, timeout=10)

    def ask(self, method, path, body=None, headers=None, host="127.0.0.1"):
        connection = self.connect(host)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers
        finally:
            connection.close()

    def verify(self, token):
        status, body, _ = self.ask("POST", "/verify", token)
        return status, body

    def kids(self):
        return [key["kid"] for key in self.ask("GET", "/keys")[1]["keys"]]

    def stop(self):
        """Ends it as Kubernetes does; gives all it wrote."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            out, err = self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return (out + self.rest + err).decode() + "\n".join(self.lines)


def run(*arguments, stdin=""):
    return subprocess.run([binary(), *map(str, arguments)], input=stdin, text=True, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
