# SPDX-License-Identifier: Apache-2.0
"""A server between operator and Keycloak that passes everything on, and lies where it is told to.

    with KeycloakProxy(os.environ["KEYCLOAK_URL"]) as proxy:
        proxy.url                                   # what spec.keycloak.url says
        proxy.faults = {"jwks": status(500)}        # routes: keys components jwks discovery token
        proxy.asked("jwks")                         # requests so far
        proxy.faults = {}                           # healed
    proxy.on_write = lambda handler, answer: …  # after each change that Keycloak made, before its answer is passed on

A fault is called with the Handler of the request, which can fetch Keycloak's own answer (handler.real()), and
answers as it likes. Bodies that no server of ours would write hold MARKER, so that a test can look where they went.
KeycloakProxy(None) passes nothing on: it answers 200 to everybody and remembers what it was sent.
"""
import http.server
import json
import re
import socket
import struct
import threading
import time

import requests

from kube_proxy import Lost

MARKER = "foreign-words-4c1d9e"
PAGE = f"<!DOCTYPE html><html><body><h1>{MARKER}</h1></body></html>".encode()
ROUTES = {
    "keys": re.compile(r"^/admin/realms/[^/]+/keys$"),
    "components": re.compile(r"^/admin/realms/[^/]+/components"),
    "jwks": re.compile(r"^/realms/[^/]+/protocol/openid-connect/certs$"),
    "discovery": re.compile(r"^/realms/[^/]+/\.well-known/openid-configuration$"),
    "token": re.compile(r"^/realms/[^/]+/protocol/openid-connect/token$"),
}
PASSED_ON = ("Accept", "Authorization", "Content-Type", "Host", "User-Agent")


def route_of(path):
    return next((name for name, pattern in ROUTES.items() if pattern.match(path)), "other")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        proxy = self.server.proxy
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        route = route_of(self.path)
        proxy.note(route, self)
        fault = proxy.faults.get(route) if proxy.upstream else status(200, b"{}")
        if fault:
            fault(self)
        else:
            self.pass_on()

    do_POST = do_PUT = do_DELETE = do_GET

    def pass_on(self):
        answer = self.real()
        if self.command != "GET" and self.path.startswith("/admin/") and answer.ok:
            self.server.proxy.on_write(self, answer)
        self.answer(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))

    def real(self):
        """Keycloak's own answer."""
        proxy = self.server.proxy
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        return proxy.session.request(self.command, proxy.upstream + self.path, data=self.body or None, headers=headers,
                                     timeout=30, allow_redirects=False, verify=False)

    def answer(self, code, body=b"", content_type="application/json", announced=None, **headers):
        """announced: a length that is not the body's."""
        self.send_response(code)
        for name, value in {"Content-Type": content_type, "Content-Length": len(body) if announced is None else announced,
                            **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def pieces(self, body, pause_s):
        """The body piece by piece for as long as somebody listens."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.close_connection = True
        for piece in body:
            if self.server.proxy.closing.wait(pause_s):
                return
            self.wfile.write(piece)

    def handle(self):
        try:
            super().handle()
        except (OSError, Lost):
            self.close_connection = True  # whoever asked has gone, or is to believe that we have

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy):
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), Handler)

    def finish_request(self, request, client_address):
        """In the request's own thread, so that a slow handshake keeps nobody waiting."""
        if self.proxy.tls:
            try:
                request = self.proxy.tls.wrap_socket(request, server_side=True)
            except OSError:
                return
        super().finish_request(request, client_address)
        if self.proxy.tls:
            request.close()


class KeycloakProxy:
    def __init__(self, upstream, tls=None):
        """tls: an ssl.SSLContext, which may be replaced later: the next connection gets the new one."""
        self.upstream, self.tls = upstream, tls
        self.faults = {}
        self.on_write = lambda handler, answer: None
        self.requests = []
        self.closing = threading.Event()
        self.session = requests.Session()
        self.session.trust_env = False
        self._server = _Server(self)

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def note(self, route, handler):
        self.requests.append({"route": route, "method": handler.command, "path": handler.path, "body": handler.body.decode(),
                              "authorization": handler.headers.get("Authorization"), "at": time.monotonic()})

    def asked(self, route=None):
        return sum(route in (None, request["route"]) for request in self.requests)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


# -- faults --

def status(code, body=PAGE, content_type="text/html", **headers):
    return lambda handler: handler.answer(code, body, content_type, **headers)


def page():
    """HTML with 200, as a login page or a maintenance page comes."""
    return status(200)


def edited(change):
    """Keycloak's own JSON after change(tree), which edits it or returns another one."""
    def fault(handler):
        tree = handler.real().json()
        changed = change(tree)
        handler.answer(200, json.dumps(tree if changed is None else changed).encode())
    return fault


def cut():
    """The first half of the JSON text as a whole answer."""
    def fault(handler):
        body = handler.real().content
        handler.answer(200, body[:len(body) // 2])
    return fault


def broken():
    """The first half, and then the connection is gone."""
    def fault(handler):
        body = handler.real().content
        handler.answer(200, body[:len(body) // 2], announced=len(body))
        handler.close_connection = True
    return fault


def drip():
    """A byte a second."""
    def fault(handler):
        body = handler.real().content
        handler.pieces((body[i:i + 1] for i in range(len(body))), 1)
    return fault


def slow(seconds):
    """The truth, later."""
    def fault(handler):
        if not handler.server.proxy.closing.wait(seconds):
            handler.pass_on()
    return fault


def endless():
    def fault(handler):
        def body():
            yield b'{"keys":["'
            while True:
                yield MARKER.encode() * 1000
        handler.pieces(body(), 0.0005)
    return fault


def redirect(url, code=302):
    return lambda handler: handler.answer(code, PAGE, "text/html", Location=url + handler.path)


def reset():
    """The connection is cut (RST) before a byte of the answer."""
    def fault(handler):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True
    return fault


def times(count, fault):
    """The fault for the first requests, the truth afterwards."""
    left = [count]

    def limited(handler):
        left[0] -= 1
        if left[0] >= 0:
            fault(handler)
        else:
            handler.pass_on()
    return limited
