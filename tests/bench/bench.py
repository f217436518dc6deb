# SPDX-License-Identifier: Apache-2.0
"""The numbers of the operator on a real cluster with a real Keycloak; tests/run bench brings the cluster and takes it down.

Nothing is asserted about time: the table at the end says what was aimed at and what was measured, and build/results/bench.json has it all."""
import json
import os
import platform
import subprocess
import tempfile
import time

import jwt

from fanout import COUNT, ROUNDS, Fanout
from stage import BUILT, ROOT, Spread, Stage, config_map, cpu_ms, deployment, memory, say, secret, stamp, until

ROTATIONS, CONSUMERS, REALMS = 100, 5, 4
INTERVAL_S = 30      # spec.refreshInterval by default
IDLE_S = 62          # two intervals, and a little
STARTS = 7
PROMOTIONS = 10
SECRETS, SECRET_BYTES = 10000, 50 << 10


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, unit, values, target=None):
        """target: (words, most); without one the row only informs."""
        spread = Spread(values)
        self.rows.append({"what": what, "unit": unit, "target": target[0] if target else None, "min": spread.least, "median": spread.median,
                          "max": spread.most, "met": spread.median <= target[1] if target else None})

    def show(self):
        print(f"\n{'what':66} {'target':>10} {'min':>9} {'median':>9} {'max':>9}")
        for r in self.rows:
            verdict = "" if r["met"] is None else "  met" if r["met"] else "  MISSED"
            print(f"{r['what'] + ', ' + r['unit']:66} {r['target'] or '':>10} {r['min']:>9.3g} {r['median']:>9.3g} {r['max']:>9.3g}{verdict}")


def pause(seconds, what):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        say(f"{what}: {left:.0f} s left")
        time.sleep(min(15, left))


def lanes(operator):
    """Finished requests by lane."""
    return {lane: operator.metric("keyturn_http_requests_total", lane=lane) for lane in ("api", "watch", "lease", "event", "keycloak")}


def idle(stage, operator, namespace, what, seconds=IDLE_S):
    """What an operator does that has nothing to do."""
    stage.asked()
    versions, requests, cpu, begin = stage.versions(namespace), lanes(operator), cpu_ms(operator.process.pid), time.monotonic()
    pause(seconds, what)
    took = time.monotonic() - begin
    cpu = cpu_ms(operator.process.pid) - cpu
    requests = {lane: count - requests[lane] for lane, count in lanes(operator).items()}
    now = stage.versions(namespace)
    return {"seconds": took, "cpu_percent": cpu / took / 10, "requests": requests, "keycloak": dict(stage.asked()),
            "changed": sorted(f"{path} {name}" for path, name in now if now[path, name] != versions.get((path, name)))}


def polls(found, realm):
    """(requests for keys in each interval, other requests) to a realm."""
    mine = {path: count for path, count in found["keycloak"].items() if path.startswith((f"/realms/{realm}/", f"/admin/realms/{realm}/"))}
    keys = sum(count for path, count in mine.items() if path.endswith(("/keys", "/certs")))
    return keys / (found["seconds"] / INTERVAL_S), sum(mine.values()) - keys


def one(stage, table):
    """A single KeyRotation with one consumer."""
    space = stage.spaces["one"]
    scene = stage.scene(space, stage.realm("one"))
    stage.deployments(space, ["api"])
    scene.rotation("prod", consumers=[secret("api", restart=[deployment("api")])], refreshInterval=None)
    with stage.running() as operator:
        stage.ready(space, 1)
        pause(20, "one KeyRotation, until what start brought is over")
        found = idle(stage, operator, space, "one KeyRotation, idle")
    table.add("idle, 1 KeyRotation: processor", "% of a core", [found["cpu_percent"]], ("< 0.1", 0.1))
    idle_rows(table, found, "idle, 1 KeyRotation", [scene.realm.name])
    scene.delete("prod")
    return found


def idle_rows(table, found, what, realms):
    counts = [polls(found, realm) for realm in realms]
    table.add(f"{what}: objects changed", "count", [len(found["changed"])], ("0", 0))
    table.add(f"{what}: requests for keys, each realm and interval", "count", [c[0] for c in counts], ("<= 2", 2.1))
    table.add(f"{what}: other requests (token, discovery), each realm", f"in {found['seconds']:.0f} s", [c[1] for c in counts])
    table.add(f"{what}: Lease requests", f"in {found['seconds']:.0f} s", [found["requests"]["lease"]])
    table.add(f"{what}: other requests to the API server", f"in {found['seconds']:.0f} s", [found["requests"]["api"] + found["requests"]["event"]])


def make_many(stage):
    """100 KeyRotations of 4 realms, 500 consumers with a Deployment each; names of the realms."""
    space = stage.spaces["many"]
    say(f"{ROTATIONS} KeyRotations with {ROTATIONS * CONSUMERS} consumers and Deployments")
    scenes = [stage.scene(space, stage.realm(f"many-{i}")) for i in range(REALMS)]
    scenes[0].credentials()
    stage.deployments(space, [f"r{r:02}c{c}" for r in range(ROTATIONS) for c in range(CONSUMERS)])
    kinds = (secret, config_map)
    stage.create(f"/apis/keyturn.dev/v1alpha1/namespaces/{space}/keyrotations", [
        {"apiVersion": "keyturn.dev/v1alpha1", "kind": "KeyRotation", "metadata": {"name": f"r{r:02}"}, "spec": scenes[r % REALMS].spec(
            [kinds[c % 2](f"c{c}", f"r{r:02}c{c}-keys", restart=[deployment(f"r{r:02}c{c}")]) for c in range(CONSUMERS)], refreshInterval=None)}
        for r in range(ROTATIONS)])
    return [scene.realm.name for scene in scenes]


def remember(found, operator, what):
    """Memory now, and the largest that was."""
    anon, rss = memory(operator.process.pid)
    say(f"{what}: RssAnon {anon:.1f} MiB, RSS {rss:.1f} MiB")
    found.append((anon, rss))


def many(stage, table):
    realms, memories, begin = make_many(stage), [], time.monotonic()
    with stage.running() as operator:
        stage.ready(stage.spaces["many"], ROTATIONS)
        say(f"all ready after {time.monotonic() - begin:.1f} s")
        stage.settle(stage.spaces["many"])
        remember(memories, operator, "all published")
        pause(30, "100 KeyRotations, until what start brought is over")
        remember(memories, operator, "settled")
        found = idle(stage, operator, stage.spaces["many"], "100 KeyRotations, idle")
        remember(memories, operator, "idle")
        passes = operator.metric("keyturn_reconcile_seconds_count")
        pass_ms = operator.metric("keyturn_reconcile_seconds_sum") / passes * 1e3
    table.add("idle, 100 KeyRotations: processor", "% of a core", [found["cpu_percent"]])
    idle_rows(table, found, "idle, 100 KeyRotations", realms)
    table.add("a pass, 100 KeyRotations, mean", "ms", [pass_ms])
    memory_rows(table, memories, "memory, 100 KeyRotations, 500 consumers")
    return {"idle": found, "memory": memories, "passes": passes, "pass_ms": pass_ms}


def memory_rows(table, memories, what):
    table.add(f"{what}: private (RssAnon)", "MiB", [m[0] for m in memories], ("<= 8", 8))
    table.add(f"{what}: resident (VmRSS)", "MiB", [m[1] for m in memories], ("<= 20", 20))


def resync(stage, table):
    """Secrets are written again at each resync, and nothing changes by it."""
    # All Secrets were first written at about the same time: over two periods most of them would be counted three times.
    period_s, periods = 10, 6
    with stage.running(resync=f"{period_s}s") as operator:
        stage.ready(stage.spaces["many"], ROTATIONS)
        pause(15, "resync, until what start brought is over")
        found = idle(stage, operator, stage.spaces["many"], f"resync of all Secrets every {period_s} s", periods * period_s)
    secrets = len([s for s in stage.list("/api/v1/{}/secrets", stage.spaces["many"], metadata=True) if s["metadata"]["name"].endswith("-keys")])
    written = found["requests"]["api"] / (found["seconds"] / period_s) / secrets
    table.add("resync: writes of each Secret and resync", "count", [written], ("1", 1.15))
    table.add("resync: objects changed by them", "count", [len(found["changed"])], ("0", 0))
    return {**found, "secrets": secrets, "writes_each": written}


def starts(stage, table):
    """From the start of the program to everything listed."""
    config, took = stage.kubeconfig(), []
    for _ in range(STARTS):
        operator = stage.operator(kubeconfig=config)
        operator.wait = False
        begin = time.time()
        operator.start()
        operator.wait_log("in step with the cluster")
        took.append((stamp(operator.logged("in step with the cluster")[0]) - begin) * 1e3)
        operator.stop()
    say(f"start: {' '.join(f'{ms:.0f}' for ms in took)} ms")
    table.add("start to everything listed, 100 KeyRotations, 500 Deployments", "ms", took, ("< 200", 200))
    return took


def ballast(stage, table):
    """The same memory while the cluster holds half a gigabyte of Secrets of others."""
    say(f"{SECRETS} Secrets of {SECRET_BYTES >> 10} KB")
    begin, memories = time.monotonic(), []
    stage.create(f"/api/v1/namespaces/{stage.spaces['ballast']}/secrets", [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "ballast-"}, "stringData": {"blob": "x" * SECRET_BYTES}}], SECRETS)
    say(f"made in {time.monotonic() - begin:.0f} s")
    with stage.running() as operator:
        stage.ready(stage.spaces["many"], ROTATIONS)
        remember(memories, operator, "with foreign Secrets, started")
        pause(40, "with foreign Secrets")
        remember(memories, operator, "with foreign Secrets, idle")
    memory_rows(table, memories, "memory, the same beside 10,000 Secrets of 50 KB")
    return memories


def whoami(stage):
    answer = stage.admin("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    return answer.json()["status"]["userInfo"]["username"]


def approve(scene, by, number):
    """Seconds from the approval until a fresh token shows the approved key."""
    scene.annotate("prod", **{"operation": "rotate", "operation-for": str(number), "operation-by": by})
    waits = lambda status: status.get("phase") == "AwaitingPromotion" and status["rotation"]["number"] == number and status["nextKid"]
    new = until(lambda: waits(scene.status()), f"rotation {number} waits for its approval")
    time.sleep(1 + number % 5)  # anywhere between two polls
    begin = time.monotonic()
    scene.annotate("prod", **{"operation": "promote", "operation-for": str(number), "operation-by": by})
    until(lambda: jwt.get_unverified_header(scene.realm.mint())["kid"] == new, "it signs", 60, 0)
    took = time.monotonic() - begin
    until(lambda: scene.status()["phase"] == "Steady", "the key before is gone")
    return took


def promotion(stage, table):
    space, by = stage.spaces["turn"], whoami(stage)
    scene = stage.scene(space, stage.realm("turn", roles=("manage-realm", "view-clients")))
    scene.rotation("prod", consumers=[{**secret("api"), "proof": {"type": "Delay", "delay": "1s"}}], key={"algorithm": "RS256", "adopt": True},
                   refreshInterval=None, overlap={"publish": "0s", "retire": "0s", "delete": "0s"}, approval={"promote": "Manual"})
    with stage.running():
        stage.ready(space, 1)
        took = [approve(scene, by, number) for number in range(1, PROMOTIONS + 1)]
    say(f"promotion: {' '.join(f'{s:.2f}' for s in took)} s")
    scene.delete("prod")
    table.add("from the approval to a fresh token of the approved key", "s", took, ("<= 1", 1))
    return took


def decide(_, table):
    found = json.loads(subprocess.run([BUILT / "decide"], stdout=subprocess.PIPE, check=True).stdout)
    both = [a + b for a, b in zip(found["us"], found["engine_us"])]
    table.add(f"a decision, {found['consumers']} consumers, {found['keys']} keys: processor", "µs", both, ("<= 20", 20))
    table.add("of that, about the rotation of the key", "µs", found["engine_us"])
    return found


def image(_, table):
    size = (ROOT / "build" / "keyturn-image.tar").stat().st_size / (1 << 20)
    table.add("image, not compressed", "MiB", [size], ("< 40", 40))
    return size


def fan_out(stage, table):
    fanout = Fanout(stage)
    fanout.prepare()
    pairs, spreads, sent = fanout.measure()
    for name, what, unit, target in (
            ("operator_ms", "key seen to 100 objects written, 100 Deployments annotated", "ms", None),
            ("bare_ms", "the same requests by libcurl alone", "ms", None),
            ("ratio", "ratio, pair by pair", "times", ("<= 1.5", 1.5)),
            ("bare_writes_ms", "only the 200 writes by libcurl, without status and Events", "ms", None),
            ("ratio_writes", "ratio to those, pair by pair", "times", None),
            ("operator_cpu_ms", "processor time of the operator", "ms", None),
            ("bare_cpu_ms", "processor time of libcurl alone", "ms", None),
            ("passes", "passes meanwhile", "count", None),
            ("pass_ms", "a pass over 100 consumers, mean", "ms", None)):
        table.add(what, unit, spreads[name].values, target)
    fanout.scene.delete("prod")
    stage.clear("operator", "bare")
    return {"pairs": pairs, "sent": sent}


FOOT = f"""
Fan-out: {ROUNDS} pairs, operator and libcurl in turn on the same machine; both over 16 open HTTP/1.1 connections (Events: 2) with the same token behind the
same fence. Deployments have no replicas, so that no pod starts; the Deployment controller makes a ReplicaSet for each change, on both sides.
Measured elsewhere (same API server version, 16 connections): 100 bare patches 0.16 s; a fast Go peer 0.39 s and 47 MB;
Reloader 18.2 s for 100 Deployments (half of them after 8.2 s) and 43 MB."""


def main():
    table, result, begin = Table(), {}, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(folder)
        with stage.rights("one", "operator", "bare", "many", "ballast", "turn"):
            for step in (one, promotion, fan_out, many, starts, resync, ballast, decide, image):
                name = step.__name__
                say(f"--- {name} ({time.monotonic() - begin:.0f} s)")
                result[name] = step(stage, table)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()} {platform.machine()}"
    table.show()
    print(f"{FOOT}\nMachine: {machine}. {COUNT} consumers: {result['fan_out']['sent']}.\nTook {time.monotonic() - begin:.0f} s.", flush=True)
    path = ROOT / "build" / "results" / "bench.json"
    path.write_text(json.dumps({"machine": machine, "table": table.rows, **result}, indent=1))


if __name__ == "__main__":
    main()
