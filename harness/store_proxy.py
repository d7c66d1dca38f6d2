"""Stands before an object store and does wrong what a test asks for: slow, cut off, errors, too few bytes, wrong bytes, away."""

import http.client
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

FAULTS = ("slow", "cut", "500", "503 SlowDown", "truncated", "wrong", "away", "lost answer", "frozen")
SLOW_SECONDS, FROZEN_LOOK_SECONDS = 0.3, 0.1
PIECE_BYTES = 1 << 20

# Asked with the method and the target of each request; the answer is one of FAULTS, or empty.
Fault = Callable[[str, str], str]


class StoreProxy:
    """As a context. `fault` may be replaced at any time; `requests` lists what came, `done` how many faults were done.

    `under_way` are those of the requests that have no answer yet. Where several tests share a proxy, a request of the test
    before may still be among them: its key tells whose it is.
    """

    def __init__(self, store_url: str) -> None:
        self.fault: Fault = lambda method, target: ""
        self.requests: list[tuple[str, str]] = []
        self.done = 0
        self.under_way: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.upstream = urlsplit(store_url).netloc
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def away(self, fault: str = "away") -> None:
        """From now on nobody answers: connections are cut off, or requests hang ("frozen")."""
        self.fault = lambda method, target: fault

    def back(self) -> None:
        self.fault = lambda method, target: ""

    def asked(self, method: str = "", *parts: str) -> int:
        """How many requests of this method, or of all methods, have come whose target contains each of `parts`."""
        with self.lock:
            return _count(self.requests, method, parts)

    def asked_now(self, method: str = "", *parts: str) -> int:
        """How many of them have no answer yet."""
        with self.lock:
            return _count(self.under_way, method, parts)


def _count(requests: list[tuple[str, str]], method: str, parts: tuple[str, ...]) -> int:
    return sum((not method or came == method) and all(part in target for part in parts) for came, target in requests)


class _Server(ThreadingHTTPServer):
    proxy: StoreProxy
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""

    def _forward(self) -> None:
        proxy = self.server.proxy
        with proxy.lock:
            proxy.requests.append((self.command, self.path))
            proxy.under_way.append((self.command, self.path))
        try:
            fault = proxy.fault(self.command, self.path)
            proxy.done += bool(fault)
            self._answer(fault)
        finally:
            with proxy.lock:
                proxy.under_way.remove((self.command, self.path))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward

    def _answer(self, fault: str) -> None:
        while fault == "frozen":
            time.sleep(FROZEN_LOOK_SECONDS)
            if self.server.proxy.fault(self.command, self.path) != "frozen":
                return self._cut()
        if fault == "away":
            return self._cut()
        length = int(self.headers.get("content-length") or 0)
        if fault == "cut":
            self.rfile.read(min(length, PIECE_BYTES // 2))
            return self._cut()
        body = self.rfile.read(length)
        if len(body) < length:  # whoever sent it is gone, and the store would wait for the rest
            return self._cut()
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault.startswith("500") or fault.startswith("503"):
            status, _, code = fault.partition(" ")
            said = f"<Error><Code>{code or 'InternalError'}</Code></Error>".encode()
            return self._reply(int(status), [("content-type", "application/xml")], said)
        upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if fault == "lost answer":
            return self._cut()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in DROPPED]
        if self.command == "HEAD":
            length_said = answer.getheader("content-length")
            return self._reply(answer.status, headers, b"", length_said)
        if fault == "wrong" and self.command == "GET" and content:
            content = (
                content[: len(content) // 2]
                + bytes([content[len(content) // 2] ^ 1])
                + content[len(content) // 2 + 1 :]
            )
        if fault == "truncated" and self.command == "GET":
            self._reply(answer.status, headers, content[: len(content) // 2], str(len(content)))
            return self._cut()
        return self._reply(answer.status, headers, content)

    def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", length if length is not None else str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


# The proxy says these itself.
DROPPED = ("content-length", "transfer-encoding", "connection", "keep-alive")
