"""What goes on at a load balancer in a working installation: small requests, slow uploads, long polls, slow downloads.

Each kind runs in threads until `end`, and every answer is judged. `wrong` lists what a client would have seen as a failure.
"""

import io
import itertools
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

from harness.service import RunningService
from tests.support.mixed_calls import MixedCalls
from tests.support.service import ASYNC, BASE, authorization, batch, reply

PIECES = 600
DOWNLOAD_PIECE_BYTES = 64 << 10
TIMEOUT_SECONDS = 300


class Paced:
    """Lets its callers through so many times a second, all together."""

    def __init__(self, a_second: float) -> None:
        self._pause = 1 / a_second
        self._lock = threading.Lock()
        self._due = time.monotonic()

    def __call__(self) -> None:
        with self._lock:
            now = time.monotonic()
            self._due = max(self._due + self._pause, now - self._pause)
            wait = self._due - now
        if wait > 0:
            time.sleep(wait)


class Traffic:
    """All of it. `port` is that of the load balancer, and `service` tells the credentials."""

    def __init__(self, port: int, service: RunningService) -> None:
        self.port = port
        self.wrong: list[str] = []
        self.uploaded: list[tuple[str, int]] = []  # references that were acknowledged, and how many documents each has
        self.longest_poll_seconds = 0.0
        self.done = dict[str, int]()  # how often each kind came to its end
        self._authorization = authorization(service)
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """What is under way is finished first."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def repeat(self, kind: str, once: Callable[[int], bool], threads: int = 1) -> None:
        """Calls `once` in threads, with another number each time, until the end. It returns False where there was no work."""
        self.done.setdefault(kind, 0)
        numbers = itertools.count()

        def run() -> None:
            for number in numbers:
                if self._ended.is_set():
                    return
                try:
                    if once(number):
                        self.done[kind] += 1
                    else:
                        self._ended.wait(0.5)
                except Exception as problem:
                    self.wrong.append(f"{kind}: {type(problem).__name__}: {problem}"[:500])

        for _ in range(threads):
            self._threads.append(threading.Thread(target=run))
            self._threads[-1].start()

    # --- kinds --------------------------------------------------------------------------------------------------------

    def small_requests(self, callers: Sequence[MixedCalls]) -> None:
        """Rounds of mixed calls, each caller on a connection that is kept alive. The callers' own pace says how many a second."""

        def one(caller: MixedCalls) -> Callable[[int], bool]:
            def once(number: int) -> bool:
                caller.round()
                self.wrong += caller.wrong
                caller.wrong.clear()
                return True

            return once

        for caller in callers:
            self.repeat("rounds", one(caller))

    def uploads(self, contents: Sequence[bytes], seconds: float, threads: int) -> None:
        """Each body takes so long."""

        def once(number: int) -> bool:
            reference = f"upload {number}"
            self.upload(reference, contents, seconds)
            return True

        self.repeat("uploads", once, threads)

    def upload(self, reference: str, contents: Sequence[bytes], seconds: float) -> None:
        body = batch(reference, contents)
        size = -(-len(body) // PIECES)
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS) as connection:
            connection.sendall(self._head("POST", ASYNC, f"Content-Length: {len(body)}"))
            began = time.monotonic()
            for number, at in enumerate(range(0, len(body), size)):
                connection.sendall(body[at : at + size])
                time.sleep(max(0.0, began + seconds * (number + 1) / PIECES - time.monotonic()))
            status, _, said = reply(connection)
        assert status == 200, f"an upload of {seconds} s is answered with {status}: {said[:300]!r}"
        self.uploaded.append((reference, len(contents)))

    def long_polls(self, seconds: int, threads: int) -> None:
        """For the upload that was acknowledged last, as long as it is not finished."""

        def once(number: int) -> bool:
            if not self.uploaded:
                return False
            reference = self.uploaded[-1][0].replace(" ", "%20")
            path = f"{BASE}/async/operation/status/withExternalReference/{reference}"
            began = time.monotonic()
            status, said = self._get(path, f"Prefer: wait={seconds}")
            assert status == 200, f"a long poll is answered with {status}: {said[:300]!r}"
            took = time.monotonic() - began
            self.longest_poll_seconds = max(self.longest_poll_seconds, took)
            return took > 1

        self.repeat("long polls", once, threads)

    def downloads(self, operation_id: int, contents: Sequence[bytes], seconds: float) -> None:
        """The archive of a finished operation, read so slowly."""
        bytes_a_second = sum(map(len, contents)) / seconds

        def once(number: int) -> bool:
            path = f"{BASE}/operation/sign/detail/{operation_id}/documents"
            with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DOWNLOAD_PIECE_BYTES)
                connection.sendall(self._head("GET", path, "Accept: application/zip"))
                with Slow(connection, bytes_a_second) as reader:
                    status, _, said = reply(reader)
            assert status == 200, f"a download is answered with {status}: {said[:300]!r}"
            with zipfile.ZipFile(io.BytesIO(said)) as archive:
                assert archive.testzip() is None
                for name, content in zip(archive.namelist(), contents, strict=True):
                    assert archive.read(name).startswith(content), f"{name} does not begin with its original"
            return True

        self.repeat("downloads", once)

    def _get(self, path: str, *headers: str) -> tuple[int, bytes]:
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS) as connection:
            connection.sendall(self._head("GET", path, *headers))
            status, _, said = reply(connection)
            return status, said

    def _head(self, method: str, path: str, *headers: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {self._authorization}", "Connection: close"]
        return "\r\n".join([*lines, "Content-Type: application/json", *headers, "", ""]).encode()


class Slow(socket.socket):
    """A connection that is read at this rate. It takes over the descriptor of the one that it is made of."""

    def __init__(self, connection: socket.socket, bytes_a_second: float) -> None:
        super().__init__(fileno=connection.detach())
        self.settimeout(TIMEOUT_SECONDS)
        self._seconds_a_byte = 1 / bytes_a_second
        self._began, self._read = time.monotonic(), 0

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        time.sleep(max(0.0, self._began + self._read * self._seconds_a_byte - time.monotonic()))
        read = super().recv_into(buffer, min(nbytes or len(buffer), DOWNLOAD_PIECE_BYTES), flags)
        self._read += read
        return read
