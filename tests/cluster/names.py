#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gives dnsmasq the cluster's Services: names.py SERVER PKI HOSTS PIDFILE [RECORD...]

Lists and watches Services and writes "address name..." lines, then tells dnsmasq (SIGHUP) to read them.
Headless Services have no address of their own and get no record.
"""
import http.client
import json
import os
import signal
import socket
import ssl
import sys
import time
import urllib.parse

SERVER, PKI, HOSTS, PIDFILE = sys.argv[1:5]
STATIC = sys.argv[5:]
TIMEOUT_S = 40


def write(services):
    lines = list(STATIC)
    for (namespace, name), address in sorted(services.items()):
        short = f"{name}.{namespace}.svc"
        lines.append(f"{address} {short}.cluster.local {short}")
    with open(HOSTS + ".new", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    os.rename(HOSTS + ".new", HOSTS)
    try:
        with open(PIDFILE, encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGHUP)
    except (OSError, ValueError):
        pass  # not started yet, or killed by a test: it reads the file when it starts


def note(services, service):
    key = (service["metadata"]["namespace"], service["metadata"]["name"])
    address = service["spec"].get("clusterIP", "None")
    if address in ("None", ""):
        services.pop(key, None)
    else:
        services[key] = address


def follow(connection):
    """Returns when the watch ends; raises when the server fails."""
    path = "/api/v1/services"
    connection.request("GET", path)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    if answer.status != 200:
        raise RuntimeError(f"GET {path}: {answer.status}")
    services = {}
    for service in body["items"]:
        note(services, service)
    write(services)
    version = body["metadata"]["resourceVersion"]
    connection.request("GET", f"{path}?watch=1&timeoutSeconds={TIMEOUT_S - 10}&resourceVersion={version}")
    answer = connection.getresponse()
    for line in answer:
        event = json.loads(line)
        if event["type"] == "DELETED":
            metadata = event["object"]["metadata"]
            services.pop((metadata["namespace"], metadata["name"]), None)
        elif event["type"] in ("ADDED", "MODIFIED"):
            note(services, event["object"])
        else:
            return
        write(services)


def main():
    # Bound and never read: dnsmasq forwards silent.test here and waits for ever.
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 5399))
    write({})
    context = ssl.create_default_context(cafile=PKI + "/ca.crt")
    context.load_cert_chain(PKI + "/admin.crt", PKI + "/admin.key")
    host = urllib.parse.urlsplit(SERVER)
    while True:
        connection = http.client.HTTPSConnection(host.hostname, host.port, context=context,
                                                 timeout=TIMEOUT_S)
        try:
            follow(connection)
        except (OSError, ValueError, RuntimeError, http.client.HTTPException) as error:
            print(f"names: {error}; again in 0.5 s", file=sys.stderr)
            time.sleep(0.5)
        finally:
            connection.close()


if __name__ == "__main__":
    main()
