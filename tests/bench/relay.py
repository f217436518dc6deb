# SPDX-License-Identifier: Apache-2.0
"""A relay that stands between the operator and a server, and remembers what passed: requests as they were sent, and when
each was answered. Streams go through as they come.

    with Relay("http://10.8.0.1:8080") as relay:
        relay.url            # to be used instead of the server's
        relay.seen           # a list of Exchange, in the order of the answers
"""
import dataclasses
import http.client
import http.server
import threading
import time
import urllib.parse

KEPT_MAX = 1 << 20
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclasses.dataclass
class Exchange:
    method: str
    path: str
    headers: list    # of (name, value)
    body: bytes
    status: int
    answer: bytes    # the first of it, where it came in pieces
    connection: int  # port of the client
    asked: float     # time.time() when the request was read
    answered: float  # and when the whole answer was sent


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream = None

    def relay(self):
        asked = time.time()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP]
        if self.upstream is None:
            self.upstream = self.server.connect()
        self.upstream.putrequest(self.command, self.path, skip_accept_encoding=True)
        for name, value in headers + ([("Content-Length", str(len(body)))] if body or self.command in ("POST", "PUT") else []):
            self.upstream.putheader(name, value)
        self.upstream.endheaders(body or None)
        answer = self.upstream.getresponse()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        data = self.pass_stream(answer) if answer.chunked else self.pass_whole(answer)
        self.server.seen.append(Exchange(self.command, self.path, headers, body, answer.status, data,
                                         self.client_address[1], asked, time.time()))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = relay

    def pass_whole(self, answer):
        data = answer.read()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()
        return data

    def pass_stream(self, answer):
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        kept = b""
        while True:
            piece = answer.read1(65536)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            if not piece:
                return kept
            if len(kept) < KEPT_MAX:
                kept += piece

    def finish(self):
        super().finish()
        if self.upstream is not None:
            self.upstream.close()

    def log_message(self, *_):
        pass


class Relay(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target, context=None):
        """context: for TLS to the target."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.context = urllib.parse.urlsplit(target), context
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.seen = []

    def connect(self):
        if self.target.scheme == "https":
            return http.client.HTTPSConnection(self.target.netloc, context=self.context, timeout=600)
        return http.client.HTTPConnection(self.target.netloc, timeout=600)

    def handle_error(self, request, client_address):
        """A client that went away, in the middle of a stream as a rule."""

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
