"""The load of the growth benchmark: many requests by a number of clients, in a process of its own.

`python -m benchmarks.clients SPEC` prints as JSON how long all of it took, and how long each request did, from its first byte
sent to the last byte of its result read. Each client sends its next request when the one before has ended. With the mode
"in_flight" all requests are taken before the first result is asked for; a request's time is then that of its two parts.
"""

import base64
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.bodies import API, PDF
from benchmarks.latency import KeptOpen
from benchmarks.load import Clock, Target, collect, register, seal

Seconds = list[float]


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """`requests` requests with this `body` by `at_once` clients: "batches", "in_flight", or synchronous "singles"."""
    began = time.monotonic()
    seconds = {"batches": batches, "in_flight": in_flight, "singles": singles}[spec["mode"]](spec)
    return {"seconds": time.monotonic() - began, "request_seconds": sorted(seconds)}


def batches(spec: dict[str, Any]) -> Seconds:
    target, body = Target(spec["port"], spec["credentials"]), Path(spec["body"])

    def one(number: int) -> float:
        clock = Clock(0)
        seal(target, body, f"{spec['reference']}-{number}", clock)
        return sum(clock.seconds.values())

    with ThreadPoolExecutor(spec["at_once"]) as pool:
        return list(pool.map(one, range(spec["requests"])))


def in_flight(spec: dict[str, Any]) -> Seconds:
    target, body = Target(spec["port"], spec["credentials"]), Path(spec["body"])
    clocks = [Clock(0) for _ in range(spec["requests"])]
    with ThreadPoolExecutor(spec["at_once"]) as pool:
        for step in (
            lambda number: register(target, body, f"{spec['reference']}-{number}", clocks[number]),
            lambda number: collect(target, f"{spec['reference']}-{number}", clocks[number]),
        ):
            list(pool.map(step, range(spec["requests"])))
    return [sum(clock.seconds.values()) for clock in clocks]


def singles(spec: dict[str, Any]) -> Seconds:
    """The body has one document. What differs between two requests is its number, since equal documents have one signature."""
    before, mark, after = Path(spec["body"]).read_bytes().rpartition(base64.b64encode(PDF.number % 0))
    assert mark, "the body is not that of one document"
    basic = "Basic " + base64.b64encode(spec["credentials"].encode()).decode()
    links = threading.local()

    def one(number: int) -> float:
        if not hasattr(links, "own"):
            links.own = KeptOpen(spec["port"], basic)
        head = json.dumps({"externalReference": f"{spec['reference']}-{number}", "description": "Benchmark"})
        pieces = head[:-1].encode() + b",", before, base64.b64encode(PDF.number % number), after
        earlier = links.own.seconds
        if b'"SIGNED"' not in links.own.post(f"{API}/document/sign/base64/", *pieces):
            raise RuntimeError("the document was not signed")
        return float(links.own.seconds - earlier)

    with ThreadPoolExecutor(spec["at_once"]) as pool:
        return list(pool.map(one, range(spec["requests"])))


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
