"""The load of the end-to-end benchmarks: a process of its own that costs little, so that what is measured is the service.

A request's body lies ready in a file and goes out by sendfile; replies are read into one buffer and dropped. Stages are
timed here, and the service's CPU time is read between them. `python -m benchmarks.load SPEC` prints what it saw as JSON.
"""

import base64
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.bodies import API
from harness.processes import CpuSeconds, cpu_seconds

BUFFER_BYTES = 1 << 20
WAIT_SECONDS = 60
TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and the first 64 KiB of the body as they came (chunk sizes and all); `total_bytes` counts everything."""

    status: int
    text: bytes
    total_bytes: int


class Target:
    """Whom to ask, and as whom. A connection carries one request: it ends with the reply, which needs no parsing then."""

    def __init__(self, port: int, credentials: str = "") -> None:
        self.port = port
        basic = base64.b64encode(credentials.encode()).decode()
        self.headers = f"Host: 127.0.0.1:{port}\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n"

    def get(self, path: str, *headers: str, save: BinaryIO | None = None) -> Reply:
        return self._ask(f"GET {path}", headers, b"", None, save)

    def post(self, path: str, *headers: str, head: bytes, body: Path | None = None) -> Reply:
        return self._ask(f"POST {path}", headers, head, body, None)

    def _ask(self, line: str, headers: tuple[str, ...], head: bytes, body: Path | None, save: BinaryIO | None) -> Reply:
        length = len(head) + (body.stat().st_size if body else 0)
        fields = [*headers, f"Content-Length: {length}", "Content-Type: application/json"] if length else headers
        text = f"{line} HTTP/1.1\r\n{self.headers}" + "".join(f"{field}\r\n" for field in fields) + "\r\n"
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.sendall(text.encode() + head)
            if body:
                with body.open("rb") as file:
                    link.sendfile(file)
            return read_reply(link, save)


def read_reply(link: socket.socket, save: BinaryIO | None) -> Reply:
    buffer = bytearray(BUFFER_BYTES)
    first, total = b"", 0
    while taken := link.recv_into(buffer):
        total += taken
        if len(first) < 1 << 16:
            first += buffer[: min(taken, 1 << 16)]
        if save:
            save.write(memoryview(buffer)[:taken])
    head, _, text = first.partition(b"\r\n\r\n")
    if not head:
        raise ConnectionError("the reply is empty")
    return Reply(int(head.split()[1]), text, total - len(head) - 4)


def unchunked(text: bytes) -> bytes:
    """A short body without its chunk sizes (RFC 9112 7.1), or as it is."""
    if text.startswith((b"{", b"[")):
        return text
    out = b""
    while text:
        size, _, rest = text.partition(b"\r\n")
        out += rest[: int(size, 16)]
        text = rest[int(size, 16) + 2 :]
    return out


def check(reply: Reply, *expected: int) -> Reply:
    if reply.status not in expected:
        raise RuntimeError(f"status {reply.status}: {reply.text[:300]!r}")
    return reply


class Clock:
    """Seconds and the service's CPU seconds of each stage of a run; reading them is part of no stage."""

    def __init__(self, watched: int) -> None:
        self._watched = watched
        self.seconds: dict[str, float] = {}
        self.cpu: dict[str, CpuSeconds] = {}

    def time(self, stage: str, work: Callable[[], Any]) -> Any:
        before = cpu_seconds(self._watched) if self._watched else {}
        began = time.monotonic()
        result = work()
        self.seconds[stage] = time.monotonic() - began
        after = cpu_seconds(self._watched) if self._watched else {}
        self.cpu[stage] = {part: round(after[part] - before.get(part, 0.0), 2) for part in after}
        return result


def seal(target: Target, body: Path, reference: str, clock: Clock, save: Path | None = None) -> dict[str, Any]:
    """One batch: upload, wait until it is signed, fetch the result with its contents."""
    register(target, body, reference, clock)
    return collect(target, reference, clock, save)


def register(target: Target, body: Path, reference: str, clock: Clock) -> None:
    head = json.dumps({"externalReference": reference, "description": "Benchmark"})[:-1].encode() + b","
    path = f"{API}/async/document/sign/base64/"
    clock.time("upload", lambda: check(target.post(path, head=head, body=body), 200, 202))


def collect(target: Target, reference: str, clock: Clock, save: Path | None = None) -> dict[str, Any]:
    def wait() -> dict[str, Any]:
        while True:
            asked = f"{API}/async/operation/status/withExternalReference/{reference}"
            entry = json.loads(unchunked(check(target.get(asked, f"Prefer: wait={WAIT_SECONDS}"), 200).text))[0]
            if entry["status"] in ("EXECUTED", "EXECUTION_FAILED"):
                return dict(entry)

    entry = clock.time("sign", wait)
    if entry["status"] != "EXECUTED":
        raise RuntimeError(f"not all documents were signed: {entry}")
    address = f"{API}/operation/sign/detail/{entry['id']}/contentInResponse/true"

    def fetch() -> Reply:
        if save is None:
            return check(target.get(address), 200)
        with save.open("wb") as file:
            return check(target.get(address, save=file), 200)

    reply: Reply = clock.time("fetch", fetch)
    return {"documents": entry["documentsTotal"], "reply_bytes": reply.total_bytes}


def null(target: Target, body: Path, reply_bytes: int, clock: Clock) -> dict[str, Any]:
    """The floor: the same body drained and stored, as many bytes streamed back."""
    clock.time("upload", lambda: check(target.post("/null", head=b"{", body=body), 200))
    reply: Reply = clock.time("fetch", lambda: check(target.get(f"/null/{reply_bytes}"), 200))
    return {"documents": 0, "reply_bytes": reply.total_bytes}


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """`at_once` jobs side by side; the stages' times are those of a single one."""
    target, body = Target(spec["port"], spec.get("credentials", "")), Path(spec["body"])
    watched, at_once = spec.get("watch", 0), spec.get("at_once", 1)
    save = Path(spec["save"]) if spec.get("save") else None
    seen: list[Any] = []
    clock = Clock(watched if at_once == 1 else 0)

    def job(number: int) -> None:
        own = clock if at_once == 1 else Clock(0)
        try:
            if "reply_bytes" in spec:
                seen.append(null(target, body, spec["reply_bytes"], own))
            else:
                seen.append(seal(target, body, f"{spec['reference']}-{number}", own, save))
        except Exception as problem:  # told by the parent
            seen.append(repr(problem))

    before = cpu_seconds(watched) if watched else {}
    began = time.monotonic()
    jobs = [threading.Thread(target=job, args=(number,)) for number in range(at_once)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join()
    wall = time.monotonic() - began
    after = cpu_seconds(watched) if watched else {}
    if failures := [problem for problem in seen if isinstance(problem, str)]:
        return {"failures": failures}
    return {
        "seconds": sum(clock.seconds.values()) if at_once == 1 else wall,
        "stages": clock.seconds,
        "stage_cpu": clock.cpu,
        "cpu": {part: round(after[part] - before.get(part, 0.0), 2) for part in after},
        "client_cpu": round(sum(os.times()[:2]), 2),
        "documents": sum(job["documents"] for job in seen),
        "reply_bytes": max(job["reply_bytes"] for job in seen),
    }


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
