"""The management listener: metrics, and health with the state of each part, on a port of their own.

    GET /metrics        what the API's port shows, with what names client services, credentials and addresses
    GET /health/live    200 while this process answers
    GET /health/ready   200 or 503, and each part: {"status": "UP", "checks": {"database": {"status": "UP"}, ...}}

It has neither TLS nor a login, so it listens on loopback unless the operator names another address. It is a small server of its
own, without the API's, since it takes a few requests a minute: each connection has one request, which is read within
HEAD_SECONDS, and there are CONNECTIONS at most. All workers listen, so it answers while one of them is started again.
"""

import asyncio
import http
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from batchseal import __version__
from batchseal.api.offered_service import OfferedService
from batchseal.api.service_routes import is_up
from batchseal.errors import ConfigurationError
from batchseal.settings.load import Settings

HEAD_SECONDS, REPLY_SECONDS = 5.0, 10.0
HEAD_BYTES = 8 << 10
CONNECTIONS = 32
JSON = b"application/json"

Expose = Callable[..., tuple[bytes, bytes]]

log = structlog.get_logger("management")


class Management:
    """`expose` writes the metrics (`api/metrics.py`)."""

    def __init__(self, service: OfferedService, expose: Expose, settings: Settings) -> None:
        self._service = service
        self._expose = expose
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._open = 0
        self._pages: dict[str, Callable[[], Awaitable[tuple[int, bytes, bytes]]]] = {
            "/metrics": self._metrics,
            "/health/live": self._live,
            "/health/ready": self._ready,
        }

    async def start(self) -> None:
        """Raises ConfigurationError if the port cannot be had."""
        host, port = self._settings.management_host, self._settings.management_port
        try:
            self._server = await asyncio.start_server(self._serve, host, port, reuse_port=True, limit=HEAD_BYTES)
        except OSError as problem:
            raise ConfigurationError(f"--management-port: cannot listen on {host}:{port}: {problem.strerror}") from None

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS:
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the caller has gone, or sent no request
        except Exception:
            log.exception("a request at the management listener failed")
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        async with asyncio.timeout(REPLY_SECONDS):
            status, media_type, body = await self._page(method, path)
            writer.write(head_of(status, media_type, len(body)) + (b"" if method == "HEAD" else body))
            await writer.drain()

    async def _page(self, method: str, path: str) -> tuple[int, bytes, bytes]:
        page = self._pages.get(path)
        if page is None:
            return 404, b"text/plain", b"there are /metrics, /health/live and /health/ready\n"
        if method not in ("GET", "HEAD"):
            return 405, b"text/plain", b"only GET and HEAD\n"
        return await page()

    async def _metrics(self) -> tuple[int, bytes, bytes]:
        return 200, *self._expose(await self._service.numbers(), inner=True)

    async def _live(self) -> tuple[int, bytes, bytes]:
        return 200, JSON, packed({"status": "UP"})

    async def _ready(self) -> tuple[int, bytes, bytes]:
        checks = await self._service.ready()
        up = is_up(checks)
        found = {"status": "UP" if up else "DOWN", "instance": self._settings.instance, "version": __version__}
        parts = {name: described(state) for name, state in sorted(checks.items())}
        return 200 if up else 503, JSON, packed({**found, "checks": parts})


def described(state: str) -> dict[str, str]:
    """One part: its status is UP, WARNING (it works, and somebody should look at it) or DOWN; the latter two have a cause."""
    if state == "ok":
        return {"status": "UP"}
    if state.startswith("warning: "):
        return {"status": "WARNING", "cause": state.removeprefix("warning: ")}
    return {"status": "DOWN", "cause": state}


def packed(content: object) -> bytes:
    return json.dumps(content).encode() + b"\n"


def head_of(status: int, media_type: bytes, length: int) -> bytes:
    phrase = http.HTTPStatus(status).phrase.encode()
    allowed = b"Allow: GET, HEAD\r\n" if status == 405 else b""
    return (
        b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
        b"X-Content-Type-Options: nosniff\r\n%sConnection: close\r\n\r\n"
    ) % (status, phrase, media_type, length, allowed)


@asynccontextmanager
async def managed(service: OfferedService, expose: Expose, settings: Settings) -> AsyncIterator[None]:
    """The listener is open during the block. Raises ConfigurationError if its port cannot be had."""
    management = Management(service, expose, settings)
    await management.start()
    try:
        yield
    finally:
        await management.stop()
