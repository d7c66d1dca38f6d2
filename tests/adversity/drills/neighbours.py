"""Two client services of one service: one that takes all that it can get, and one that only wants its small requests served."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.invoices import invoice
from harness.service import RunningService
from tests.support.service import BASE, SYNC, connect, entry, reply

GREEDY, OTHER = "greedy", "other"
SMALL = invoice(1, size_bytes=2_000)


@contextmanager
def two_clients(folder: Path, *flags: str) -> Iterator[RunningService]:
    """A service that both may call."""
    (folder / "work").mkdir(exist_ok=True)
    configured = {name: {"secret": f"the secret of {name}"} for name in (GREEDY, OTHER)}
    (folder / "work" / "client-services-config.json").write_text(json.dumps(configured))
    with RunningService("--sandbox", "--sandbox-credential=p256", *flags, folder=folder) as service:
        yield service


def authorization(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:the secret of {name}".encode()).decode()


def request(
    name: str, method: str, path: str, body: bytes = b"", media_type: str = "application/json", **headers: str
) -> bytes:
    lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization(name)}\r\nConnection: close\r\n"
    lines += "".join(f"{header}: {value}\r\n" for header, value in headers.items())
    if body or method == "POST":
        lines += f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return lines.encode() + b"\r\n" + body


def call(
    service: RunningService, name: str, path: str, body: bytes = b"", media_type: str = "application/json"
) -> tuple[int, Any]:
    """Status and JSON of a reply. Status 0 where the connection broke."""
    with connect(service, 120) as connection:
        try:
            connection.sendall(request(name, "POST" if body else "GET", path, body, media_type))
        except (BrokenPipeError, ConnectionResetError):
            pass  # a refusal may come before the whole body was sent
        status, _, said = reply(connection)
    return status, json.loads(said) if status and said else None


def body_of(reference: str, contents: list[bytes]) -> bytes:
    documents = [entry(number, content) for number, content in enumerate(contents)]
    return json.dumps({"externalReference": reference, "description": "drill", "documents": documents}).encode()


@dataclass
class Probes:
    """Small synchronous requests of the other client service, and how long each took."""

    service: RunningService
    name: str
    seconds: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def make(self, count: int) -> "Probes":
        for number in range(count):
            began = time.monotonic()
            status, _ = call(self.service, OTHER, SYNC, body_of(f"{self.name} {number}", [SMALL]))
            self.seconds.append(time.monotonic() - began)
            if status != 200:
                self.refused.append(status)
        return self

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))]


class Repeated:
    """Repeats `work` in some threads until the block ends. It is told the number of the repetition.

    Where `work` breaks off for another reason than its connection, the end of the block raises that: there was no noise any more.
    """

    def __init__(self, work: Any, threads: int = 1) -> None:
        self._work = work
        self._ended = threading.Event()
        self._began = threading.Event()
        self._count = 0
        self._problem: Exception | None = None
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                self._count += 1
                number = self._count
            self._began.set()
            try:
                self._work(number)
            except OSError:
                self._ended.wait(0.05)
            except Exception as problem:
                self._problem = problem
                return

    def __enter__(self) -> "Repeated":
        for thread in self._threads:
            thread.start()
        assert self._began.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if self._problem is not None:
            raise self._problem


def result_path(operation: int) -> str:
    return f"{BASE}/operation/sign/detail/{operation}/contentInResponse/true"
