# SPDX-License-Identifier: Apache-2.0
"""The reference verifier as a consumer sees it: its flags, its HTTP, what it accepts and refuses."""
import hashlib
import hmac
import json
import os
import socket
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from verifier_helpers import ISSUER, b64url, ec_key, manifest, rsa_key, run


def sign_raw(key, header, payload):
    """A token of any header and payload bytes, RS256 by this key."""
    text = f"{b64url(header)}.{b64url(payload)}"
    return f"{text}.{b64url(key.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@pytest.fixture
def server(mount, first, second, serve):
    mount.jwks(first, second)
    return serve()


def refused(server, token, sentence):
    status, body = server.verify(token)
    assert status == 401 and list(body) == ["error"], body
    assert sentence in body["error"], body


# --- what is accepted -------------------------------------------------------------

def test_good_tokens(server, first, second):
    assert server.verify(first.token()) == (200, {"kid": "first", "sub": "anna"})
    assert server.verify(second.token(sub="bär")) == (200, {"kid": "second", "sub": "bär"})
    assert server.verify("\n " + first.token() + "\r\n") == (200, {"kid": "first", "sub": "anna"})
    assert server.verify(first.token(drop=["sub"])) == (200, {"kid": "first", "sub": None})


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "EdDSA"])
def test_every_algorithm(mount, serve, edward, alg):
    curve = {"ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}.get(alg)
    key = edward if alg == "EdDSA" else ec_key("k", alg, curve) if curve else rsa_key("k", alg)
    mount.jwks(key)
    assert serve().verify(key.token())[0] == 200


def test_pss_salt_is_as_long_as_the_digest(mount, serve):
    """RFC 7518 section 3.5: nothing else is PS256."""
    key = rsa_key("k", "PS256")
    mount.jwks(key)
    server = serve()
    text = ".".join(key.token().split(".")[:2])
    for length, expected in ((32, 200), (20, 401), (0, 401), (padding.PSS.MAX_LENGTH, 401)):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), length)
        signature = b64url(key.private.sign(text.encode(), pss, hashes.SHA256()))
        assert server.verify(f"{text}.{signature}")[0] == expected, length


def test_exp_and_nbf_have_five_seconds(server, first):
    now = int(time.time())
    assert server.verify(first.token(exp=now - 2))[0] == 200
    assert server.verify(first.token(exp=now + 30.5, nbf=now + 3))[0] == 200


# --- what is refused --------------------------------------------------------------

def test_foreign_key_under_a_trusted_kid(server, foreign):
    refused(server, foreign.token(), "signature is not one of key first")


def test_unknown_kid(server):
    refused(server, rsa_key("third").token(), "key third, which is not among the 2 trusted keys")


def test_no_kid(server, first):
    refused(server, sign_raw(first, b'{"alg":"RS256"}', b"{}"), "no kid")
    refused(server, sign_raw(first, b'{"alg":"RS256","kid":7}', b"{}"), "no kid")


def test_expired(server, first):
    refused(server, first.token(exp=int(time.time()) - 60), "expired")
    refused(server, first.token(exp=int(time.time()) - 6), "expired")
    refused(server, first.token(exp=-1e300), "expired")


def test_without_exp(server, first):
    refused(server, first.token(drop=["exp"]), "no exp")
    body = json.dumps({"exp": "9999999999", "sub": "x"}).encode()
    refused(server, sign_raw(first, b'{"alg":"RS256","kid":"first"}', body), "no exp")


def test_not_yet_valid(server, first):
    refused(server, first.token(nbf=int(time.time()) + 60), "valid only in")
    body = json.dumps({"exp": time.time() + 60, "nbf": None}).encode()
    refused(server, sign_raw(first, b'{"alg":"RS256","kid":"first"}', body), "nbf is no number")


def test_hs256_with_the_public_key_as_secret(server, first):
    now = int(time.time())
    text = ".".join(b64url(json.dumps(part).encode()) for part in (
        {"alg": "HS256", "kid": "first"}, {"iss": ISSUER, "sub": "eve", "exp": now + 60}))
    for secret in (first.pem, first.pem.strip(), first.spki):
        token = f"{text}.{b64url(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"
        refused(server, token, 'says algorithm "HS256", but key first is for RS256')


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
def test_alg_none(server, first, alg):
    head = b64url(json.dumps({"alg": alg, "kid": "first"}).encode())
    _, body, signature = first.token().split(".")
    refused(server, f"{head}.{body}.", "but key first is for RS256")
    refused(server, f"{head}.{body}.{signature}", "but key first is for RS256")


def test_an_algorithm_that_is_not_the_keys(server, first, second):
    refused(server, first.token(alg="PS256"), 'says algorithm "PS256", but key first is for RS256')
    refused(server, first.token(alg="RS512"), "but key first is for RS256")
    refused(server, first.token(headers={"kid": "second"}), "but key second is for ES256")


def test_a_key_that_the_token_brings_is_not_used(server, foreign):
    token = foreign.token(headers={"jwk": foreign.jwk, "jku": "https://evil.example/jwks", "x5u": "x"})
    refused(server, token, "signature is not one of key first")


def test_crit_is_refused(server, first):
    refused(server, first.token(headers={"crit": ["exp"]}), '"crit"')


def test_changed_payload(server, first):
    head, _, signature = first.token().split(".")
    body = b64url(json.dumps({"sub": "root", "exp": int(time.time()) + 60}).encode())
    refused(server, f"{head}.{body}.{signature}", "forged or damaged")


def test_what_is_no_token(server, first):
    for text in ("", "x", "a.b", "a.b.c.d.e", "..", "a.b.c", "\0", "=.=.="):
        status, body = server.verify(text)
        assert status == 401 and body["error"], text
    refused(server, sign_raw(first, b"[]", b"{}"), "header is no JSON object")
    refused(server, sign_raw(first, b"{", b"{}"), "header")
    good = b'{"alg":"RS256","kid":"first"}'
    refused(server, sign_raw(first, good, b"[1]"), "payload is no JSON object")
    refused(server, sign_raw(first, good, b"\xff"), "payload")
    refused(server, sign_raw(first, b'{"alg":"RS256","kid":"x","kid":"first"}', b"{}"), "twice")
    deep = b'{"alg":"RS256","kid":"first","x":' + b"[" * 1000 + b"]" * 1000 + b"}"
    refused(server, sign_raw(first, deep, b"{}"), "nested deeper")


# --- flags ------------------------------------------------------------------------

def test_issuer(mount, serve, first):
    mount.jwks(first)
    strict, open_to_all = serve("--issuer", ISSUER), serve()
    assert strict.verify(first.token())[0] == 200
    for issuer in (ISSUER + "/", "http://id.example.com/realms/prod", ""):
        refused(strict, first.token(iss=issuer), f'issued by "{issuer}", expected is {ISSUER}')
        assert open_to_all.verify(first.token(iss=issuer))[0] == 200
    refused(strict, first.token(drop=["iss"]), "issued by")


def test_reload(mount, serve, first, second):
    mount.jwks(first, manifest_json=manifest(first, trust_hash="v1-one"))
    server = serve("--reload")
    refused(server, second.token(), "not among the 1 trusted keys")
    mount.jwks(first, second, manifest_json=manifest(first, second, trust_hash="v1-two"))
    begin = time.monotonic()
    assert server.wait_line("keys read again", 3)["kids"] == "first, second"
    assert time.monotonic() - begin < 3, "inotify did not say"
    assert server.verify(second.token())[0] == 200
    assert server.ask("GET", "/keys")[1]["trustHash"] == "v1-two"
    mount.jwks(second)
    server.wait_line("keys read again", 3)
    refused(server, first.token(), "not among the 1 trusted keys")


def test_without_reload_keys_stay(mount, serve, first, second):
    mount.jwks(first)
    still, lively = serve(), serve("--reload")
    mount.jwks(second)
    lively.wait_line("keys read again")
    assert lively.kids() == ["second"]
    assert still.kids() == ["first"]
    assert still.verify(first.token())[0] == 200


def test_reload_of_plain_files(tmp_path, serve, mount, first, second):
    """A directory that somebody edits, without ..data."""
    (mount.path / "jwks.json").write_text(json.dumps({"keys": [first.jwk]}))
    server = serve("--reload")
    (mount.path / "jwks.json").write_text(json.dumps({"keys": [second.jwk]}))
    server.wait_line("keys read again", 4)
    assert server.kids() == ["second"]


def test_reload_finds_a_directory_that_was_replaced(mount, serve, first, second):
    mount.jwks(first)
    server = serve("--reload")
    time.sleep(0.5)  # the look just after the start is over: only the one each 5 s can find it
    old = mount.path.rename(mount.path.with_name("old"))
    mount.path.mkdir()
    mount.number = 0
    mount.jwks(second)
    server.wait_line("keys read again", 12)
    assert server.kids() == ["second"]
    mount.jwks(first, second)
    begin = time.monotonic()
    server.wait_line("keys read again", 12)
    assert time.monotonic() - begin < 3, "the new directory is not watched"
    assert old.exists()


def test_reload_keeps_good_keys(mount, serve, first, second):
    mount.jwks(first)
    server = serve("--reload")
    mount.write(jwks_json="{")
    assert "jwks.json" in server.wait_line("keys cannot be read; those at hand stay")["error"]
    assert server.verify(first.token())[0] == 200
    status, health, _ = server.ask("GET", "/healthz")
    assert status == 200 and "jwks.json" in health["reloadError"]
    mount.write(jwks_json='{"keys":[]}')
    server.wait_line("keys cannot be read; those at hand stay")
    assert server.kids() == ["first"]
    mount.jwks(second)
    server.wait_line("keys read again")
    assert server.ask("GET", "/healthz")[1] == {"status": "ok", "keys": 1, "reloadError": None}


def test_listen(mount, serve, first):
    mount.jwks(first)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve(listen=f"127.0.0.1:{port}")
    assert server.port == port
    assert server.ask("GET", "/healthz")[0] == 200
    with pytest.raises(OSError):
        server.ask("GET", "/healthz", host="127.0.0.2")
    everywhere = serve(listen="0.0.0.0:0")
    assert everywhere.ask("GET", "/healthz", host="127.0.0.2")[0] == 200
    taken = run("--keys", mount.path, "--listen", f"127.0.0.1:{port}")
    assert taken.returncode == 2 and f"cannot listen on 127.0.0.1:{port}" in taken.stderr
    for wrong in ("localhost:80", "80", "127.0.0.1:99999", "::1:80", "127.0.0.1:"):
        done = run("--keys", mount.path, "--listen", wrong)
        assert done.returncode == 2 and "numeric address" in done.stderr, wrong


def test_keys_flag_chooses_the_directory(tmp_path, mount, first, second):
    mount.jwks(first)
    other = type(mount)(tmp_path / "other").jwks(second)
    for where, good, bad in ((mount, first, second), (other, second, first)):
        assert run("--keys", where.path, "--check", "-", stdin=good.token()).returncode == 0
        assert run("--keys", where.path, "--check", "-", stdin=bad.token()).returncode == 1


def test_check(mount, tmp_path, first, foreign):
    mount.jwks(first)
    token = tmp_path / "token"
    token.write_text(first.token() + "\n")
    done = run("--keys", mount.path, "--check", token)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"kid": "first", "sub": "anna"})
    token.write_text(foreign.token())
    done = run("--keys", mount.path, "--check", token)
    assert done.returncode == 1 and "signature" in json.loads(done.stdout)["error"]
    done = run("--keys", mount.path, "--check", "-", "--issuer", "https://other", stdin=first.token())
    assert done.returncode == 1 and "expected is https://other" in done.stdout
    done = run("--keys", mount.path, "--check", tmp_path / "none")
    assert done.returncode == 2 and "No such file" in done.stderr
    token.write_text("a" * 70000)
    done = run("--keys", mount.path, "--check", token)
    assert done.returncode == 2 and "holds no token" in done.stderr


def test_usage(mount, first):
    mount.jwks(first)
    for words, sentence in (([], "--keys is missing"), (["--keys", ""], "--keys is missing"),
                            (["--keys", mount.path, "word"], "without a flag"),
                            (["--keys", mount.path, "--issuer", ""], "--issuer is empty"),
                            (["--keys", mount.path, "--wrong"], "not understood"),
                            (["--keys", mount.path, "--check", "-", "--reload"], "ends"),
                            (["--keys", mount.path, "--check", "-", "--listen", ":0"], "ends")):
        done = run(*words)
        assert done.returncode == 2 and sentence in done.stderr and "--help" in done.stderr, words
        assert done.stdout == ""


def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0
    for flag in ("--keys", "--listen", "--issuer", "--reload", "--check", "--version", "POST /verify"):
        assert flag in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 90
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("keyturn-verifier ")


# --- what the directory holds -----------------------------------------------------

def test_bundle_with_manifest(mount, serve, first, second):
    mount.write(bundle_pem=first.pem + second.pem, manifest_json=manifest(first, second, trust_hash="v1-h"))
    server = serve()
    _, keys, _ = server.ask("GET", "/keys")
    assert (keys["source"], keys["trustHash"]) == ("bundle.pem", "v1-h")
    assert keys["keys"] == [{"kid": k.kid, "alg": k.alg, "spkiSHA256": k.spki_sha256} for k in (first, second)]
    assert server.verify(first.token())[0] == server.verify(second.token())[0] == 200


def test_the_manifest_says_the_algorithm(mount, serve):
    key = rsa_key("k", "PS256")
    mount.write(bundle_pem=key.pem, manifest_json=manifest(key))
    server = serve()
    assert server.verify(key.token())[0] == 200
    refused(server, key.token(alg="RS256"), "is for PS256")


@pytest.mark.parametrize("name", ["bundle_pem", "certs_pem"])
def test_pem_without_manifest_has_keycloaks_kids(mount, serve, edward, name):
    keys = [rsa_key(None), ec_key(None), type(edward)(None, "EdDSA", edward.private)]
    pem = b"".join(key.pem if name == "bundle_pem" else key.cert for key in keys)
    mount.write(**{name: b"a comment\n" + pem})
    server = serve()
    assert server.ask("GET", "/keys")[1]["trustHash"] is None
    for key in keys:
        assert server.verify(key.token())[0] == 200


def test_certs_with_manifest(mount, serve, first):
    mount.write(certs_pem=first.cert, manifest_json=manifest(first))
    server = serve()
    assert server.ask("GET", "/keys")[1]["source"] == "certs.pem"
    assert server.verify(first.token())[0] == 200


def test_jwks_comes_first(mount, serve, first, second):
    mount.jwks(first, bundle_pem=second.pem, certs_pem=second.cert)
    server = serve()
    assert server.kids() == ["first"]
    mount.write(bundle_pem=first.pem, certs_pem=second.cert)
    assert serve().kids() == [first.spki_sha256]


def test_directories_that_are_refused(mount, tmp_path, first, second, foreign):
    weak = {**first.jwk, "n": first.jwk["n"][:172]}
    cases = [
        ({"other_txt": "x"}, "there is no jwks.json, bundle.pem or certs.pem"),
        ({"jwks_json": ""}, "jwks.json"),
        ({"jwks_json": "[]"}, "jwks.json"),
        ({"jwks_json": '{"keys":[]}'}, "holds no key"),
        ({"jwks_json": json.dumps({"keys": [first.jwk, weak]})}, "too weak"),
        ({"jwks_json": json.dumps({"keys": [first.jwk, foreign.jwk]})}, "stands for two keys"),
        ({"jwks_json": json.dumps({"keys": [{**first.jwk, "d": "AQAB"}]})}, "private key"),
        ({"jwks_json": json.dumps({"keys": [rsa_key(f"k{i}").jwk if i < 1 else
                                            {**first.jwk, "kid": f"k{i}"} for i in range(65)]})}, "64"),
        ({"jwks_json": "x" * 1100000}, "larger than 1024000 bytes"),
        ({"bundle_pem": ""}, "holds no key"),
        ({"bundle_pem": "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n"}, "damaged"),
        ({"bundle_pem": first.pem[:200]}, "bundle.pem"),
        ({"bundle_pem": first.pem, "manifest_json": manifest(second)}, "do not belong together"),
        ({"bundle_pem": first.pem + foreign.pem, "manifest_json": manifest(first, foreign)}, "two keys"),
        ({"bundle_pem": first.pem, "manifest_json": "{"}, "manifest.json"),
        ({"certs_pem": first.cert.replace(b"MII", b"AAA", 1)}, "certs.pem"),
    ]
    for files, sentence in cases:
        mount.write(**files)
        done = run("--keys", mount.path, "--check", "-", stdin=first.token())
        assert done.returncode == 2 and sentence in done.stderr, (list(files), done.stderr)
        assert str(mount.path) in done.stderr
    done = run("--keys", tmp_path / "absent")
    assert done.returncode == 2 and "mount the consumer's Secret" in done.stderr
    plain = tmp_path / "fifo"
    plain.mkdir()
    os.mkfifo(plain / "jwks.json")
    done = run("--keys", plain)
    assert done.returncode == 2 and "is not a file" in done.stderr


# --- HTTP -------------------------------------------------------------------------

def test_keys_and_health(server):
    status, body, headers = server.ask("GET", "/healthz")
    assert (status, body) == (200, {"status": "ok", "keys": 2, "reloadError": None})
    assert headers["content-type"] == "application/json" and headers["cache-control"] == "no-store"
    assert server.ask("GET", "/keys")[0] == 200


def test_other_requests(server):
    for method, path, expected in (("GET", "/", 404), ("POST", "/keys", 405), ("GET", "/verify", 405),
                                   ("PUT", "/verify", 405), ("DELETE", "/keys", 405), ("POST", "/x", 404)):
        status, body, headers = server.ask(method, path, "x" if method in ("POST", "PUT") else None)
        assert status == expected and "POST /verify" in body["error"], (method, path)
        assert (headers["allow"] == "GET, POST") == (expected == 405)
    assert server.ask("GET", "/healthz")[0] == 200


def test_bodies_that_are_too_large(server, first):
    assert server.verify("a" * 60000)[0] == 401
    assert server.verify("a" * 70000)[0] == 413
    assert server.verify("a" * 1000000)[0] == 413
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(b"POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    assert server.verify(first.token())[0] == 200


def test_body_without_length(server, first):
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(b"POST /verify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 411 ")
    assert server.verify(first.token())[0] == 200


def test_many_requests_on_one_connection(server, first, foreign):
    connection = server.connect()
    for number in range(50):
        key, expected = ((first, 200), (foreign, 401))[number % 2]
        connection.request("POST", "/verify", key.token())
        answer = connection.getresponse()
        assert answer.status == expected
        answer.read()
        connection.request("GET", "/keys")
        answer = connection.getresponse()
        assert len(json.loads(answer.read())["keys"]) == 2
    connection.close()


def test_a_body_in_pieces(server, first):
    token = first.token().encode()
    with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.sendall(b"POST /verify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(token))
        for start in range(0, len(token), 97):
            raw.sendall(token[start:start + 97])
            time.sleep(0.005)
        assert raw.recv(100).startswith(b"HTTP/1.1 200 ")


def test_connections_are_bounded(server, first):
    idle = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(200)]
    time.sleep(0.5)
    folder = f"/proc/{server.process.pid}/fd"
    sockets = [fd for fd in os.listdir(folder) if os.readlink(f"{folder}/{fd}").startswith("socket:")]
    assert 100 < len(sockets) <= 128 + 1, "128 connections and the listener"
    for connection in idle:
        connection.close()
    end = time.monotonic() + 10
    while True:
        try:
            assert server.verify(first.token())[0] == 200
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_tokens_are_never_logged(mount, serve, first, foreign):
    mount.jwks(first)
    server = serve("--reload")
    tokens = [first.token(sub="in-the-clear"), foreign.token(), "not.a.token", first.token(exp=1)]
    for token in tokens:
        server.verify(token)
    mount.jwks(foreign)
    server.wait_line("keys read again")
    said = server.stop()
    assert "listening" in said
    for token in tokens:
        for part in token.split("."):
            assert len(part) < 10 or part not in said
    assert "in-the-clear" not in said and "anna" not in said


def test_memory_is_private(server):
    """No core dump, and nothing it could start would gain rights."""
    with open(f"/proc/{server.process.pid}/limits", encoding="utf-8") as lines:
        assert any(line.startswith("Max core file size") and line.split()[4:6] == ["0", "0"] for line in lines)
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as lines:
        status = {name: rest.strip() for name, rest in (line.split(":", 1) for line in lines)}
    assert status["NoNewPrivs"] == "1" and status["Threads"] == "1"
    assert status["Seccomp"] == "2"


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_ends_by_signal(mount, serve, first, name):
    mount.jwks(first)
    server = serve()
    subprocess.run(["kill", f"-{name}", str(server.process.pid)], check=True)
    assert server.process.wait(5) == 0
