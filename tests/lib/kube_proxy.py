# SPDX-License-Identifier: Apache-2.0
"""A proxy between the operator and the real API server: it records every request, and does harm on request.

    with KubeProxy(tmp_path) as proxy, Operator(namespace, kubeconfig=proxy.kubeconfig):
        proxy.answer(429, {"Retry-After": "3"}, times=2, verb="update", resource="configmaps")
        with proxy.hold(verb="watchlist", resource="configmaps") as gate:      # the server does not see them yet
            gate.wait(1)
        proxy.lose(verb="create", resource="secrets")                         # the server did it; no answer comes
        proxy.cut_streams()
        proxy.slow_streams(0.5, resource="deployments")                       # all that they carry comes that late
        proxy.seen(write=True)

Requests are chosen by the properties of Exchange: verb (get, list, watchlist = a watch that lists first, watch, create,
update, patch, delete), resource (with its subresource: keyrotations/status), namespace, name (also of what is created), write.
A value may be a tuple of values. The proxy speaks TLS with a CA of its own. Towards the server it is the administrator of KUBECONFIG, or,
with forward_token, whoever the operator's token says.
"""
import base64
import contextlib
import datetime
import http.client
import ipaddress
import json
import os
import pathlib
import select
import socket
import ssl
import threading
import time
import urllib.parse

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ERRORS = (OSError, ssl.SSLError, http.client.HTTPException, ValueError)
LOOK_S = 0.2  # how often it is looked whether the operator has left a stream
ANSWER_KEPT = 4096  # bytes of a stream
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Exchange:
    """One request, and what became of it: status is None until there is an answer, passed tells that the operator has it."""

    def __init__(self, connection, method, target, headers, body):
        self.connection = connection
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.at = time.monotonic()
        self.forwarded = self.passed = False
        self.status, self.answer = None, b""
        url = urllib.parse.urlsplit(target)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        words = [urllib.parse.unquote(w) for w in url.path.strip("/").split("/")]
        words = words[2:] if words[0] == "api" else words[3:]
        self.namespace = None
        if len(words) > 2 and words[0] == "namespaces":
            self.namespace, words = words[1], words[2:]
        self.resource = "/".join(words[:1] + words[2:])
        self.name = words[1] if len(words) > 1 else None
        self.verb = VERBS.get(method) or self._verb_of_get()
        if self.verb == "create":
            self.name = self.json().get("metadata", {}).get("name")
        self.write = method != "GET" and "dryRun" not in self.query

    def _verb_of_get(self):
        if "watch" in self.query:
            return "watchlist" if "sendInitialEvents" in self.query else "watch"
        return "get" if self.name else "list"

    @property
    def stream(self):
        return self.verb in ("watch", "watchlist")

    def json(self):
        return json.loads(self.body) if self.body else {}

    def is_left(self):
        """The operator has closed the connection. Looks below TLS: reading from another thread would confuse it."""
        poll = select.poll()
        try:
            poll.register(self.connection, select.POLLRDHUP)
            return bool(poll.poll(0))
        except ValueError:
            return True

    def matches(self, wanted):
        return all(getattr(self, key) in value if isinstance(value, tuple) else getattr(self, key) == value
                   for key, value in wanted.items())

    def __repr__(self):
        return f"<{self.verb} {self.resource} {self.namespace or ''}/{self.name or ''} {self.status}{'' if self.passed else ' not passed'}>"


class Fault:
    """What happens to the requests that match: before() may answer in the server's place, after() may raise Lost."""

    def __init__(self, proxy, wanted, times, before=None, after=None):
        self.proxy, self.wanted, self.times, self.before, self.after = proxy, wanted, times, before, after
        self.hits = []

    def takes(self, exchange):
        return (self.times is None or len(self.hits) < self.times) and exchange.matches(self.wanted)

    def end(self):
        self.proxy.drop_fault(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Gate(Fault):
    """Holds requests (or, with answers, what the server said to them) until release(); what is held is in hits."""

    def __init__(self, proxy, wanted, answers):
        self.open = threading.Event()
        super().__init__(proxy, wanted, None, **{"after" if answers else "before": lambda _: self.open.wait() and None})

    def wait(self, count, seconds=60):
        deadline = time.monotonic() + seconds
        while len(self.hits) < count:
            assert time.monotonic() < deadline, f"{len(self.hits)} of {count} requests came to the gate: {self.hits}"
            time.sleep(0.02)
        return self.hits

    def release(self):
        self.open.set()

    def end(self):
        self.release()
        super().end()


class Lost(Exception):
    """The operator's connection is closed without an answer."""


class Stream:
    """A watch that is passed on."""

    def __init__(self, exchange, upstream):
        self.exchange, self.connection, self.upstream = exchange, exchange.connection, upstream
        self.frozen = False
        self.left_at = None  # when the operator closed it
        self.lock = threading.Lock()

    def send(self, piece):
        with self.lock:
            if not self.frozen:
                self.connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))


def shut(sock):
    """Below TLS, so that a thread that reads from it wakes up."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class KubeProxy:
    def __init__(self, folder, forward_token=False):
        self.folder = pathlib.Path(folder)
        self.forward_token = forward_token
        self.exchanges, self.faults, self.streams, self.connections = [], [], [], set()
        self.refusing = False
        self.lags = []  # (seconds, wanted)
        self.idle = []
        self.lock = threading.RLock()
        self.closed = threading.Event()
        self._read_kubeconfig(os.environ["KUBECONFIG"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.context = None
        self.ca_file = self.folder / "ca.crt"
        self.token_file = self.folder / "token"
        self.ca_file.write_text(self.new_ca())
        self.kubeconfig = self._write_kubeconfig()
        for work in (self._accept, self._look):
            threading.Thread(target=work, daemon=True).start()

    # -- who is on either side --

    def _read_kubeconfig(self, path):
        config = yaml.safe_load(pathlib.Path(path).read_text())
        context = next(c for c in config["contexts"] if c["name"] == config["current-context"])["context"]
        server = next(c for c in config["clusters"] if c["name"] == context["cluster"])["cluster"]
        user = next(u for u in config["users"] if u["name"] == context["user"])["user"]

        def material(section, name):
            if f"{name}-data" in section:
                return base64.b64decode(section[f"{name}-data"])
            return (pathlib.Path(path).parent / section[name]).read_bytes() if name in section else None

        url = urllib.parse.urlsplit(server["server"])
        self.server = (url.hostname, url.port or 443)
        ca = material(server, "certificate-authority")
        self.upstream_context = ssl.create_default_context(cadata=ca.decode() if ca else None)
        self.admin_token = None if self.forward_token else user.get("token")
        certificate = None if self.forward_token else material(user, "client-certificate")
        if certificate:
            both = self.folder / "admin.pem"
            both.write_bytes(certificate + b"\n" + material(user, "client-key"))
            self.upstream_context.load_cert_chain(both)

    def _write_kubeconfig(self):
        user = {"tokenFile": "token"} if self.forward_token else {}
        text = json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "proxy",
                           "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
                           "clusters": [{"name": "proxy", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                                      "certificate-authority": "ca.crt"}}],
                           "users": [{"name": "proxy", "user": user}]})
        (self.folder / "kubeconfig").write_text(text)
        return str(self.folder / "kubeconfig")

    def new_ca(self):
        """Another CA, and a certificate of it for the proxy, from the next connection on. Returns the CA's PEM for ca_file."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"proxy {time.monotonic_ns()}")])
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().issuer_name(name).not_valid_before(now - day).not_valid_after(now + day)
        ca = (builder.subject_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
              .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
        own = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        leaf = (builder.subject_name(x509.Name([])).public_key(own.public_key()).serial_number(x509.random_serial_number())
                .add_extension(address, True).sign(key, hashes.SHA256()))
        pem = serialization.Encoding.PEM
        file = self.folder / "proxy.pem"
        file.write_bytes(leaf.public_bytes(pem) + own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        self.context = context
        return ca.public_bytes(pem).decode()

    # -- what a test asks --

    def seen(self, **wanted):
        with self.lock:
            return [e for e in self.exchanges if e.matches(wanted)]

    def answer(self, status, headers=None, times=None, body=None, **wanted):
        """In the server's place: a Status as the API server writes it, or body."""
        text = body if body is not None else json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
                                                         "reason": http.client.responses[status].replace(" ", ""),
                                                         "message": f"answer {status} of the test"})
        return self.fault(times, before=lambda _: (status, headers or {}, text.encode()), **wanted)

    def lose(self, times=None, **wanted):
        def after(_):
            raise Lost
        return self.fault(times, after=after, **wanted)

    def on_answer(self, call, times=None, **wanted):
        """call(exchange) between the server's answer and its passing on; may raise Lost."""
        return self.fault(times, after=call, **wanted)

    def fault(self, times, before=None, after=None, **wanted):
        return self._add(Fault(self, wanted, times, before, after))

    def hold(self, answers=False, **wanted):
        return self._add(Gate(self, wanted, answers))

    def _add(self, fault):
        with self.lock:
            self.faults.append(fault)
        return fault

    def drop_fault(self, fault):
        with self.lock:
            if fault in self.faults:
                self.faults.remove(fault)

    def open_streams(self, **wanted):
        with self.lock:
            return [s for s in self.streams if s.left_at is None and s.exchange.matches(wanted)]

    def cut_streams(self, **wanted):
        """Ends the streams there are in the middle of things, as a dying server or a balancer does."""
        cut = self.open_streams(**wanted)
        for stream in cut:
            shut(stream.connection)
        return cut

    def freeze_streams(self, **wanted):
        """The streams there are stay open and carry nothing any more: half-open, from the operator's side."""
        frozen = self.open_streams(**wanted)
        for stream in frozen:
            with stream.lock:
                stream.frozen = True
        return frozen

    def slow_streams(self, seconds, **wanted):
        """From now on all that these streams carry comes late."""
        self.lags.append((seconds, wanted))

    def inject(self, event, **wanted):
        """Writes an event into the streams there are, and ends them, as the API server does after an ERROR."""
        streams = self.open_streams(**wanted)
        for stream in streams:
            with contextlib.suppress(OSError):
                stream.send(json.dumps(event).encode() + b"\n")
            shut(stream.upstream)
        return streams

    def refuse(self, on=True):
        """No server there: new connections are closed at once, and those there are now."""
        self.refusing = on
        with self.lock:
            connections = list(self.connections) if on else []
        for connection in connections:
            shut(connection)

    # -- how it is done --

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.refusing:
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw):
        upstream = connection = None
        try:
            raw.settimeout(20)
            connection = self.context.wrap_socket(raw, server_side=True)
            connection.settimeout(None)
            with self.lock:
                self.connections.add(connection)
            reader = connection.makefile("rb")
            upstream = self._upstream()
            while (exchange := self._read_request(connection, reader)) is not None:
                self._exchange(exchange, upstream)
        except (Lost, *ERRORS):
            pass
        finally:
            with self.lock:
                self.connections.discard(connection)
                if upstream is not None and upstream.whole:
                    self.idle.append(upstream)
                    upstream = None
            for end in (connection or raw, upstream):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.close()

    def _upstream(self):
        """A connection to the server: one that somebody has left, for a handshake costs more than most requests."""
        with self.lock:
            if self.idle:
                return self.idle.pop()
        upstream = http.client.HTTPSConnection(*self.server, context=self.upstream_context, timeout=60)
        upstream.whole = True  # nothing of an answer is still to come
        return upstream

    def _read_request(self, connection, reader):
        line = reader.readline(65537)
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = http.client.parse_headers(reader)
        body = reader.read(int(headers.get("Content-Length", 0)))
        exchange = Exchange(connection, method, target, headers, body)
        with self.lock:
            self.exchanges.append(exchange)
        return exchange

    def _taken(self, exchange):
        """The faults that take this request, from now on counted."""
        with self.lock:
            taken = [fault for fault in self.faults if fault.takes(exchange)]
            for fault in taken:
                fault.hits.append(exchange)
        return taken

    def _exchange(self, exchange, upstream):
        taken = self._taken(exchange)
        for fault in taken:
            said = fault.before(exchange) if fault.before else None
            if said is not None:
                exchange.status, headers, exchange.answer = said
                self._pass(exchange, headers)
                return
        upstream.whole = False
        response = self._ask(exchange, upstream)
        exchange.status = response.status
        streaming = exchange.stream and response.status == 200
        if not streaming:
            exchange.answer = response.read()
            upstream.whole = not exchange.stream
        for fault in taken:
            if fault.after:
                fault.after(exchange)
        if streaming:
            self._stream(Stream(exchange, upstream.sock), response)
        else:
            self._pass(exchange, response.headers)

    def _ask(self, exchange, upstream):
        headers = {k: v for k, v in exchange.headers.items() if k.lower() not in ("host", "connection")}
        if not self.forward_token:
            headers.pop("Authorization", None)
            if self.admin_token:
                headers["Authorization"] = f"Bearer {self.admin_token}"
        if upstream.sock is not None and select.select([upstream.sock], [], [], 0)[0]:
            upstream.close()  # the server has closed it meanwhile
        exchange.forwarded = True
        upstream.request(exchange.method, exchange.target, exchange.body or None, headers)
        if exchange.stream:
            upstream.sock.settimeout(None)
        return upstream.getresponse()

    @staticmethod
    def _pass(exchange, headers):
        kept = {k: v for k, v in headers.items() if k.lower() in ("content-type", "retry-after")}
        kept.setdefault("Content-Type", "application/json")
        head = "".join(f"{k}: {v}\r\n" for k, v in kept.items())
        start = f"HTTP/1.1 {exchange.status} {http.client.responses.get(exchange.status, '')}\r\n{head}"
        exchange.connection.sendall(f"{start}Content-Length: {len(exchange.answer)}\r\n\r\n".encode() + exchange.answer)
        exchange.passed = True

    def _stream(self, stream, response):
        stream.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        stream.exchange.passed = True
        with self.lock:
            self.streams.append(stream)
        try:
            while piece := response.read1(65536):
                stream.exchange.answer = (stream.exchange.answer + piece)[:ANSWER_KEPT]
                self.closed.wait(sum(seconds for seconds, wanted in self.lags if stream.exchange.matches(wanted)))
                stream.send(piece)
        except ERRORS:
            pass
        if stream.frozen:
            while stream.left_at is None and not self.closed.wait(LOOK_S):
                pass
        raise Lost  # the next stream comes on another connection

    def _look(self):
        """Leaves the server's side of the streams that the operator has left."""
        while not self.closed.wait(LOOK_S):
            for stream in self.open_streams():
                if stream.exchange.is_left():
                    stream.left_at = time.monotonic()
                    shut(stream.upstream)

    def close(self):
        self.closed.set()
        shut(self.listener)
        self.listener.close()
        with self.lock:
            faults, streams, connections = list(self.faults), list(self.streams), [*self.connections, *(i.sock for i in self.idle if i.sock)]
        for fault in faults:
            fault.end()
        for stream in streams:
            shut(stream.upstream)
        for connection in connections:
            shut(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
