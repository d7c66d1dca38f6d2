"""Sends lines of the log to a syslog server over TLS: messages of RFC 5424, framed as RFC 5425 4.3 says.

A thread of its own sends, so that nobody waits for the server. While that is away, the newest WAITING lines are kept; how many
were lost is said on standard error, and to the server once it is back.
"""

import atexit
import os
import socket
import ssl
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

from batchseal.system.backoff import Backoff
from batchseal.system.telemetry.lines import Event

WAITING = 10_000
CONNECT_SECONDS, SEND_SECONDS, FLUSH_SECONDS = 5.0, 10.0, 2.0
RETRYING = Backoff(0.5, 30.0)
# RFC 5424 6.2.1: facilities, and severities by the level of a line.
LOCAL0, AUTHPRIV = 16, 10
SEVERITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
MOST_LINE_BYTES = 64 << 10


def message(line: str, event: Event, process: str, host: str, pid: int) -> bytes:
    """One message with its length in front. Events of security have a facility of their own."""
    facility = AUTHPRIV if "category" in event or "event.category" in event else LOCAL0
    level = str(event.get("level") or event.get("log.level") or "info")
    moment = str(event.get("timestamp") or event.get("@timestamp") or "-")
    head = f"<{facility * 8 + SEVERITIES.get(level, 6)}>1 {moment} {host} batchseal {pid} {process or '-'} - "
    content = head.encode() + line.encode("utf-8", "replace")[:MOST_LINE_BYTES]
    return b"%d %s" % (len(content), content)


class Sender:
    """One for each process. `write` may be called from any thread, and never waits."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, process: str = "") -> None:
        self._to = host, port
        self._context = context
        self._process = process.replace(" ", "-")
        self._host = socket.gethostname() or "-"
        self._lines: deque[bytes] = deque()
        self._lock = threading.Condition()
        self._lost = 0
        self._sending = False
        self._thread: threading.Thread | None = None

    def write(self, line: str, event: Event) -> None:
        packed = message(line, event, self._process, self._host, os.getpid())
        with self._lock:
            if len(self._lines) >= WAITING:
                self._lines.popleft()
                self._lost += 1
            self._lines.append(packed)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
            self._lock.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Waits until all lines were sent, for so long at most."""
        ends = time.monotonic() + seconds
        with self._lock:
            while (self._lines or self._sending) and (left := ends - time.monotonic()) > 0:
                self._lock.wait(left)

    def _run(self) -> None:
        failures = 0
        while True:
            try:
                with self._connected() as connection:
                    if failures:
                        print("batchseal: the syslog server takes the log again", file=sys.stderr, flush=True)
                    failures = 0
                    self._send_all(connection)
            except (OSError, ssl.SSLError) as problem:
                failures += 1
                if failures == 1:
                    why = f"batchseal: the syslog server {self._to[0]}:{self._to[1]} takes no log: {problem}"
                    print(why, file=sys.stderr, flush=True)
            time.sleep(RETRYING.pause_seconds(failures + 1))

    def _connected(self) -> ssl.SSLSocket:
        plain = socket.create_connection(self._to, CONNECT_SECONDS)
        try:
            connection = self._context.wrap_socket(plain, server_hostname=self._to[0])
        except BaseException:
            plain.close()
            raise
        connection.settimeout(SEND_SECONDS)
        return connection

    def _send_all(self, connection: ssl.SSLSocket) -> None:
        """Sends lines as they come. Raises OSError; the line that was not sent comes again."""
        while True:
            with self._lock:
                while not self._lines:
                    self._sending = False
                    self._lock.notify_all()
                    self._lock.wait()
                packed, self._sending = self._lines[0], True
                lost, self._lost = self._lost, 0
            try:
                check_open(connection)
                if lost:
                    said = f'{{"event": "lines of the log were lost while the server was away", "lines": {lost}}}'
                    connection.sendall(message(said, {"level": "warning"}, self._process, self._host, os.getpid()))
                connection.sendall(packed)
            except BaseException:
                with self._lock:
                    self._lost += lost
                    self._sending = False
                raise
            with self._lock, suppress(IndexError):
                if self._lines[0] is packed:
                    self._lines.popleft()


def check_open(connection: ssl.SSLSocket) -> None:
    """Raises ConnectionResetError if the server has closed the connection, which a send would notice one line too late."""
    connection.settimeout(0)
    try:
        if not connection.recv(1):
            raise ConnectionResetError("the server has closed the connection")
    except (ssl.SSLWantReadError, BlockingIOError):
        pass
    finally:
        connection.settimeout(SEND_SECONDS)


SENDERS: list[Sender] = []


def sender_of(address: str, ca_file: str, process: str) -> Sender:
    """The sender to `syslog+tls://HOST:PORT`. Raises OSError if the file of authorities cannot be read."""
    parts = urlsplit(address)
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert parts.hostname is not None
    assert parts.port is not None
    SENDERS.append(Sender(parts.hostname, parts.port, context, process))
    return SENDERS[-1]


def flush() -> None:
    """Waits until the lines of this process were sent. For a process that ends without its exit handlers."""
    for sender in SENDERS:
        sender.flush()
