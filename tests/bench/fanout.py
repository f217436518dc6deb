# SPDX-License-Identifier: Apache-2.0
"""From the answer that shows a new key to the last of 100 objects written and 100 Deployments annotated: the operator, and what the
same requests cost when libcurl alone sends them over the same number of open connections.

What the operator sends is recorded once, through a relay to the API server, and sent again from that record to objects of the same
shape in a namespace of their own: same verbs, headers, order and size, other names of namespaces and versions. Bodies of published objects
are taken from what the operator has just written, so that both sides of a pair write the same bytes."""
import json
import ssl
import time

from relay import Relay
from stage import Spread, config_map, cpu_ms, deployment, say, secret, stamp

COUNT = 100
ROUNDS = 6
CONNECTIONS, EVENT_CONNECTIONS = 16, 2  # of the lanes API and EVENT: pkg/io/http.h
ROTATION = "prod"
EVENTS, LEASES = "/events", "/leases"


def names():
    return [f"w{i:03}" for i in range(COUNT)]


def consumers():
    kinds = (secret, config_map)
    return [kinds[i % 2](name, restart=[deployment(name)]) for i, name in enumerate(names())]


class Fanout:
    def __init__(self, stage):
        self.stage = stage
        self.ours, self.theirs = stage.spaces["operator"], stage.spaces["bare"]
        self.realm = stage.realm("fanout")
        self.scene = stage.scene(self.ours, self.realm)
        self.salt = 0
        self.keys = 0

    def prepare(self):
        say(f"{COUNT} consumers and Deployments")
        for namespace in (self.ours, self.theirs):
            self.stage.deployments(namespace, names())
        self.scene.rotation(ROTATION, consumers=consumers())
        context = ssl.create_default_context(cafile=self.stage.authority())
        with Relay(self.stage.server, context) as recorder:
            with self.stage.running(kubeconfig=self.stage.kubeconfig(recorder.url), watch_namespaces=self.ours) as operator:
                self.stage.ready(self.ours, 1)
                self.stage.settle(self.ours)
                begin, end = self.rotate(operator)
                self.record = [e for e in recorder.seen if begin <= e.asked <= end and LEASES not in e.path and e.method != "GET"]
        self.copy()

    def copy(self):
        """Objects of the same shape for libcurl to write to."""
        for kind, path in (("Secret", "/api/v1/{}/secrets"), ("ConfigMap", "/api/v1/{}/configmaps")):
            bodies = [self.own(item, kind) for item in self.stage.list(path, self.ours) if self.is_ours(item)]
            self.stage.create(path.format(f"namespaces/{self.theirs}"), bodies)
        found = self.scene.get(ROTATION)
        path = f"/apis/keyturn.dev/v1alpha1/namespaces/{self.theirs}/keyrotations"
        self.stage.create(path, [{**{k: found[k] for k in ("apiVersion", "kind", "spec")}, "metadata": {"name": ROTATION}}])
        self.stage.settle(self.theirs)

    @staticmethod
    def is_ours(item):
        return item["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "keyturn"

    def own(self, item, kind):
        meta = {k: item["metadata"].get(k) for k in ("name", "labels", "annotations")}
        return {"apiVersion": "v1", "kind": kind, "metadata": {**meta, "namespace": self.theirs}, "data": item["data"],
                **({"type": item["type"]} if "type" in item else {})}

    # -- the operator --

    def rotate(self, operator):
        """A key more in the realm; (when the answer that holds it was there, when the last write was answered)."""
        relay, count = self.stage.relay, len(operator.logged("restarted"))
        relay.seen.clear()
        self.keys += 1
        kid = self.realm.key(self.realm.add_rsa_generated(name=f"bench-{self.keys}", priority=1, active=False))["kid"]
        operator.wait_log("restarted", count=count + COUNT, seconds=60)
        answers = [e for e in relay.seen if e.path.endswith("/keys") and kid.encode() in e.answer]
        end = max(stamp(line) for line in operator.lines if line.get("msg") in ("restarted", "published"))
        self.check(kid)
        return answers[0].answered, end

    def check(self, kid):
        """Every object holds the key, and every Deployment the hash of its object."""
        hashes = {}
        for path in ("/api/v1/{}/secrets", "/api/v1/{}/configmaps"):
            for item in filter(self.is_ours, self.stage.list(path, self.ours)):
                if not item["metadata"]["name"].endswith("-keyturn-record"):
                    assert f"{kid}.pem" in item["data"], item["metadata"]["name"]
                    notes = item["metadata"]["annotations"]
                    hashes[notes["keyturn.dev/consumer"]] = notes["keyturn.dev/trust-hash"]
        carried = {d["metadata"]["name"]: d["spec"]["template"]["metadata"]["annotations"]["keyturn.dev/trust-hash"]
                   for d in self.stage.list("/apis/apps/v1/{}/deployments", self.ours)}
        assert carried == hashes and len(carried) == COUNT

    # -- libcurl --

    def live(self):
        """What the bodies need: present objects of both sides by (plural, name)."""
        found = {}
        for path in ("/api/v1/{}/secrets", "/api/v1/{}/configmaps", "/apis/apps/v1/{}/deployments",
                     "/apis/keyturn.dev/v1alpha1/{}/keyrotations"):
            for namespace in (self.ours, self.theirs):
                for item in self.stage.list(path, namespace):
                    found[namespace, path.rsplit("/", 1)[1], item["metadata"]["name"]] = item
        return found

    def salted(self, text):
        """Another hash each time, or the API server would find nothing to write."""
        return f"{text[:-6]}{self.salt:06}"

    def again(self, exchange, found):
        """The recorded request, for the other namespace."""
        path = exchange.path.replace(f"/namespaces/{self.ours}/", f"/namespaces/{self.theirs}/")
        parts = path.split("?")[0].split("/")
        body = json.loads(exchange.body)
        plural, name = (parts[-1], None) if exchange.method == "POST" else (parts[-2], parts[-1])
        if parts[-1] == "status":
            plural, name = parts[-3], parts[-2]
            body["metadata"] = {}
        elif plural == "events":
            body["metadata"].update(namespace=self.theirs, name=self.salted(body["metadata"]["name"]))
            body["regarding"]["namespace"] = self.theirs
        else:
            there, here = found[self.theirs, plural, name]["metadata"], found[self.ours, plural, name]
            for field, value in (("uid", there["uid"]), ("resourceVersion", there["resourceVersion"]), ("namespace", self.theirs)):
                if field in body["metadata"]:
                    body["metadata"][field] = value
            if plural == "deployments":
                notes = body["spec"]["template"]["metadata"]["annotations"]
            else:
                notes = body["metadata"]["annotations"]
                body["data"] = here["data"]
            notes["keyturn.dev/trust-hash"] = self.salted(notes["keyturn.dev/trust-hash"])
        return exchange.method, path, [f"{k}: {v}" for k, v in exchange.headers], json.dumps(body, separators=(",", ":"))

    def bare(self, only_writes):
        self.salt += 1
        found = self.live()
        sent = [(EVENTS in e.path, self.again(e, found)) for e in self.record
                if not only_writes or not (EVENTS in e.path or "/keyrotations/" in e.path or "-keyturn-record" in e.path)]
        lanes = [(CONNECTIONS, [r for event, r in sent if not event]), (EVENT_CONNECTIONS, [r for event, r in sent if event])]
        result = self.stage.bare(*[lane for lane in lanes if lane[1]])
        for lane in result["lanes"]:
            assert set(lane["codes"]) <= {"200", "201"} and lane["connects"] == 0, result
        self.stage.settle(self.theirs)
        return result["lanes"][0]["ms"], result["cpu_ms"], sent

    # -- both --

    def shape(self, sent):
        """What is sent, in words."""
        kinds = {}
        for _, (method, path, _, body) in sent:
            parts = path.split("?")[0].split("/")
            plural = parts[-1] if method == "POST" else parts[-3] + "/status" if parts[-1] == "status" else parts[-2]
            count, size = kinds.get((method, plural), (0, 0))
            kinds[method, plural] = count + 1, size + len(body)
        return ", ".join(f"{count} {method} {plural} ({size / 1024 / count:.1f} KiB each)"
                         for (method, plural), (count, size) in kinds.items())

    @staticmethod
    def spent(operator):
        """Processor time, seconds in passes, passes."""
        return (cpu_ms(operator.process.pid), operator.metric("keyturn_reconcile_seconds_sum"),
                operator.metric("keyturn_reconcile_seconds_count"))

    def measure(self):
        pairs = []
        with self.stage.running(watch_namespaces=self.ours) as operator:
            self.stage.ready(self.ours, 1)
            for number in range(ROUNDS):
                self.stage.settle(self.ours, self.theirs)
                before = self.spent(operator)
                begin, end = self.rotate(operator)
                time.sleep(0.5)
                cpu, seconds, passes = (b - a for a, b in zip(before, self.spent(operator)))
                self.stage.ready(self.ours, 1)
                self.stage.settle(self.ours)
                whole, bare_cpu, sent = self.bare(only_writes=False)
                writes, _, _ = self.bare(only_writes=True)
                took = (end - begin) * 1e3
                pairs.append({"operator_ms": took, "bare_ms": whole, "ratio": took / whole, "bare_writes_ms": writes, "ratio_writes": took / writes,
                              "operator_cpu_ms": cpu, "bare_cpu_ms": bare_cpu, "passes": passes, "pass_ms": seconds / passes * 1e3})
                say("pair {}: operator {operator_ms:.0f} ms, bare {bare_ms:.0f} ms, ratio {ratio:.2f}; without status and Events "
                    "{bare_writes_ms:.0f} ms, ratio {ratio_writes:.2f}; {passes:.0f} passes of {pass_ms:.2f} ms".format(number + 1, **pairs[-1]))
        say(f"each side sends {self.shape(sent)}")
        return pairs, {name: Spread([pair[name] for pair in pairs]) for name in pairs[0]}, self.shape(sent)
