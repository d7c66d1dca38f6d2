"""Callers that ask for a large result and do not read it: each costs little memory, and others are served."""

import base64
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from harness.invoices import invoice
from harness.service import RunningService, descendants, measure
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.neighbours import (
    GREEDY,
    OTHER,
    SMALL,
    body_of,
    call,
    request,
    result_path,
    two_clients,
)
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import ASYNC, BASE, SYNC

MB = 1 << 20
MEMORY_LIMIT = 256 * MB
# What one of them may cost, and how many deliveries a worker has.
MOST_BYTES, READERS = MB, 64


@drill("slow-readers", quick=1, short=3, long=30)
def slow_readers(folder: Path) -> Iterator[Trial]:
    document_bytes = 40_000_000 if registry.FULL else 8_000_000
    with two_clients(folder, "--workers=1", f"--memory-limit={MEMORY_LIMIT}") as service:
        content = invoice(5, size_bytes=document_bytes)
        operation = finished(service, GREEDY, "large", content)
        theirs = finished(service, OTHER, "theirs", SMALL)

        def trial(number: int) -> Figures:
            idle = settled(service)
            with ExitStack() as opened:
                readers = [opened.enter_context(reader(service, operation)) for _ in range(READERS)]
                statuses = [one.recv(12, socket.MSG_WAITALL) for one in readers]
                served, refused = statuses.count(b"HTTP/1.1 200"), statuses.count(b"HTTP/1.1 503")
                assert served + refused == READERS, statuses
                assert served >= READERS // 4
                cost = (anonymous_bytes(worker_of(service)) - idle) / served
                assert cost <= MOST_BYTES, f"a reader costs {cost / MB:.2f} MB"
                whole = measure(service.process.pid)
                assert whole["service"] + whole["postgres"] <= MEMORY_LIMIT, whole
                began = time.monotonic()
                status, _ = call(service, OTHER, SYNC, body_of(f"beside {number}", [SMALL]))
                assert status == 200, status
                status, _ = call(service, OTHER, result_path(theirs))
                assert status == 200, status
                beside = time.monotonic() - began
            # The readers have gone; the document is as it was.
            until(lambda: fetched(service, operation) == content, within(60))
            return {"mb_per_reader": cost / MB, "refused": refused, "seconds_beside": beside}

        yield trial


def reader(service: RunningService, operation: int) -> socket.socket:
    """A caller that asks, and takes no more than its own small buffer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(within(60))
    connection.connect(("127.0.0.1", service.port))
    connection.sendall(request(GREEDY, "GET", result_path(operation)))
    return connection


def finished(service: RunningService, name: str, reference: str, content: bytes) -> int:
    status, said = call(service, name, ASYNC, body_of(reference, [content]))
    assert status == 200, said
    path = f"{BASE}/operation/status/{said['id']}"
    until(lambda: call(service, name, path)[1]["status"] == "EXECUTED", within(60))
    return int(said["id"])


def fetched(service: RunningService, operation: int) -> bytes:
    """The original in the signed document; nothing while the service is still busy with others."""
    status, said = call(service, GREEDY, result_path(operation))
    if status != 200:
        return b""
    document = said["documentList"][0]
    return base64.b64decode(document["signedContent"])[: document["contentLength"]]


def worker_of(service: RunningService) -> int:
    return next(pid for pid, command in descendants(service.process.pid) if "batchseal.app\0worker" in command)


def anonymous_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon:")).split()[1])


def settled(service: RunningService) -> int:
    """The memory of the worker once it has given back what it needed before."""
    last: list[int] = []

    def is_still() -> bool:
        last.append(anonymous_bytes(worker_of(service)))
        return len(last) > 10 and max(last[-10:]) - min(last[-10:]) < 64 << 10

    until(is_still, within(30), 0.1)
    return last[-1]
