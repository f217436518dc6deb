# SPDX-License-Identifier: Apache-2.0
"""The operator as a process on this machine, for tests that look at its log, its metrics and its death.

    with Operator(namespace) as operator:            # ready when the block begins
        operator.wait_log("published", consumer="api")
        operator.kill(); operator.start()
"""
import contextlib
import ctypes
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
FAST = {"settle": "0s", "resync": "5s"}


def binary():
    """The program under test: KEYTURN_BINARY, else the release build, else the debug build."""
    for path in (os.environ.get("KEYTURN_BINARY"), ROOT / "build" / "release" / "keyturn", ROOT / "build" / "debug" / "keyturn"):
        if path and pathlib.Path(path).exists():
            return str(path)
    raise FileNotFoundError("no keyturn binary: run `make release`")


def free_port():
    """Below those that the kernel gives to connections: nobody takes it before its program listens."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Operator:
    """flags are command line flags with _ for -; a value True gives a bare flag, None leaves it out. under: words of a
    program that becomes the operator, such as unshare."""

    def __init__(self, namespace, kubeconfig=None, wait=True, env=None, under=(), **flags):
        self.port = free_port()
        self.lines = []
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.wait = wait
        self.under = under
        self.flags = {"kubeconfig": kubeconfig or os.environ["KUBECONFIG"], "listen": f"127.0.0.1:{self.port}",
                      "namespace": namespace, "watch_namespaces": namespace, "without_fence": True,
                      "without_operations_policy": True,
                      "leader_elect": "false", "log_format": "json", "log_level": "debug", **FAST, **flags}

    def command(self):
        words = [*self.under, binary(), "run"]
        for name, value in self.flags.items():
            if value is None:
                continue
            words.append("--" + name.replace("_", "-"))
            if value is not True:
                words.append(str(value))
        return words

    def start(self):
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                        env=self.env, preexec_fn=die_with_parent)
        threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True).start()
        if self.wait:
            self.until(self.ready, "ready", 60)
        return self

    def _read(self, pipe):
        for line in pipe:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"msg": line.rstrip(), "level": "raw"})

    def until(self, look, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not look():
            if self.process.poll() is not None:
                raise AssertionError(f"the operator ended with {self.process.returncode} before: {what}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.tail()}")
            time.sleep(0.1)

    def tail(self, count=25):
        return "\n".join(json.dumps(line) for line in self.lines[-count:])

    def get(self, path):
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10, proxies={"http": None})

    def ready(self):
        try:
            return self.get("/readyz").status_code == 200
        except requests.RequestException:
            return False

    def logged(self, msg, **fields):
        """Lines with this message and these values."""
        return [line for line in list(self.lines)
                if line.get("msg") == msg and all(line.get(key) == value for key, value in fields.items())]

    def wait_log(self, msg, count=1, seconds=60, **fields):
        self.until(lambda: len(self.logged(msg, **fields)) >= count, f"log line {msg} {fields}", seconds)

    def metric(self, name, **labels):
        """Sum of the series of this name whose labels have these values."""
        total = 0.0
        for line in self.get("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            base, _, rest = series.partition("{")
            if base == name and all(f'{key}="{text}"' in rest for key, text in labels.items()):
                total += float(value)
        return total

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=20):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode if self.process else None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.stop()
        return self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
