"""The outermost layer of the API: every request passes through here before the router sees it.

The guard refuses requests that the server should have refused, makes the path canonical, answers if the application raises an
exception, counts the request for the metrics, and ends running requests at shutdown.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import structlog

from batchseal.api.address import Address, Addresses
from batchseal.api.contract import Contract
from batchseal.api.exchange import REQUEST_ID_HEADER, SEND_STALL_SECONDS, Exchange, Message, Receive, Send
from batchseal.api.metrics import Metrics
from batchseal.api.problem import Problems
from batchseal.errors import ApiError, CrossSite, InvalidRequest, NoRoom, NotFound
from batchseal.settings.load import Settings
from batchseal.system.addresses import TrustedProxies
from batchseal.system.telemetry.context import REQUEST_ID, TRACE_PARENT, cleaned, parent_in

log = structlog.get_logger(__name__)
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# The router caches the last 1,200 paths. A longer path than this never reaches it, so that the cache stays small.
# External references do not count: they were taken out of the path before.
MAX_ROUTED_BYTES = 1024
# Every reply of a service whose documents the sandbox signs has this header: nobody may take them for real ones.
SANDBOX_HEADER = (b"batchseal-sandbox", b"true")
# Every reply names the instance that has given it, so that support finds the right log.
INSTANCE_HEADER = b"batchseal-instance"
# While an instance is being stopped, each connection ends with its next reply, and its caller comes back by another one.
CLOSE_HEADER = (b"connection", b"close")
# A second line of one of these leaves open who calls or what the body is, and a proxy may have read the other one.
ONCE = (b"authorization", b"content-length", b"content-type", b"transfer-encoding")
# How long a cancelled request may take to clean up.
CANCELLED_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPace:
    """How long the guard waits. Raises ValueError for a time that is not positive."""

    idle_seconds: float = 0.3
    """After this long without a request, `when_idle` is called."""
    send_stall_seconds: float = SEND_STALL_SECONDS
    """A caller that reads nothing of its reply for this long is disconnected."""

    def __post_init__(self) -> None:
        if min(self.idle_seconds, self.send_stall_seconds) <= 0:
            raise ValueError(f"these times must be positive: {self}")


DEFAULT_PACE = GuardPace()


class Connections(Protocol):
    """Who watches the server's connections. `peer` is the address and port at the other end of a connection."""

    def began(self, peer: tuple[str, int]) -> None:
        """A request has begun: its headers are complete."""

    def ended(self, peer: tuple[str, int], request_bytes: int) -> None:
        """A request has ended, of which about so many bytes were read."""


class Stopping(Protocol):
    """The service behind the application, as far as it has a part in the stop of the process."""

    async def retire(self) -> float:
        """The process is to stop, so it is not ready any more. Returns for how many seconds it should still take requests."""

    def leave(self, grace_seconds: float) -> None:
        """No further request comes, and those that run end within `grace_seconds`."""


class Guard:
    """The ASGI application that the server runs. Handlers find the request's Exchange in `scope["batchseal.exchange"]`."""

    def __init__(
        self,
        application: Application,
        contract: Contract,
        problems: Problems,
        metrics: Metrics,
        settings: Settings,
        pace: GuardPace = DEFAULT_PACE,
    ) -> None:
        self.pace = pace
        self.application = application
        self.addresses = Addresses(contract)
        self.swagger = contract.bases[0] + contract.swagger
        self.documentation = contract.bases[0] + contract.documentation
        self.problems = problems
        self.metrics = metrics
        self.settings = settings
        self.stopping = False
        self.service: Stopping | None = None
        # These are added to each reply, whoever sends it. A reply has those that are here when it begins.
        self.reply_headers = [SANDBOX_HEADER] if settings.sandbox_signs else []
        if settings.instance:
            self.reply_headers.append((INSTANCE_HEADER, settings.instance.encode("ascii")))
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.running: set[asyncio.Task[None]] = set()
        # Told of each request's connection when the request begins, and when it has ended with so many bytes.
        self.connections: Connections | None = None
        # Reserves so many bytes of memory in all for incomplete requests, or returns False.
        self.book_headers: Callable[[int], bool] = lambda _: True
        self.when_idle: Callable[[], None] | None = None  # Called once no request has run for `idle_seconds`.
        self._idle: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(
            self.with_real_client(scope),
            receive,
            send,
            max_body_bytes=self.settings.max_body_bytes,
            stall_seconds=self.settings.body_stall_seconds,
            min_rate=self.settings.min_body_rate,
            send_stall_seconds=self.pace.send_stall_seconds,
            min_reply_rate=self.settings.min_reply_rate,
            more_headers=self.reply_headers,
        )
        follow(exchange)
        task = asyncio.current_task()
        assert task is not None
        self.running.add(task)
        if self._idle is not None:
            self._idle.cancel()
        started = time.perf_counter()
        # The server gives the port as text. Without an address there is nothing to watch.
        watched = self.connections if scope["client"] else None
        if watched is not None:
            peer = (scope["client"][0], int(scope["client"][1]))
            watched.began(peer)
        try:
            await self.handle(exchange, receive)
        except asyncio.CancelledError:
            if not self.stopping:
                raise
        finally:
            self.running.discard(task)
            if watched is not None:
                watched.ended(peer, exchange.body_bytes + head_bytes(scope))
            self.metrics.observe(exchange, time.perf_counter() - started)
            await exchange.close()
            if self.when_idle is not None and not self.running:
                self._idle = asyncio.get_running_loop().call_later(self.pace.idle_seconds, self.when_idle)

    def with_real_client(self, scope: Message) -> Message:
        """The scope with the address of the caller itself where a trusted proxy calls for it. The port is then not known: 0."""
        if not self.proxies or not scope["client"] or (peer := scope["client"][0]) not in self.proxies:
            return scope
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return dict(scope) | {"client": (self.proxies.real_address(peer, forwarded), 0)}

    async def handle(self, exchange: Exchange, receive: Receive) -> None:
        """Runs the application and answers for its exceptions.

        If a reply has begun and cannot go on, it is cut off. It is never ended as if it were complete.
        """
        try:
            address = self.admit(exchange)
            exchange.address = address
            scope = dict(exchange.scope) | {"raw_path": address.path, "path": address.path.decode("latin-1")}
            if scope["method"] == "HEAD":
                scope["method"] = "GET"
            scope["batchseal.exchange"] = exchange
            await self.application(scope, receive, exchange.send)
        except ConnectionResetError as gone:
            if not exchange.replied:
                log.info("reply cut", path=exchange.scope["path"], why=str(gone))
            if exchange.status == 0:
                # The server reports a body that it cannot parse as a disconnect. If we sent no reply, it would answer
                # 500 itself, although the caller made the mistake.
                await self.problems.send(
                    InvalidRequest("the body ended early, or its framing is wrong"), exchange.send_anyway
                )
        except Exception as problem:
            error = (
                problem if isinstance(problem, ApiError) else self.problems.unexpected(problem, exchange.scope["path"])
            )
            if exchange.status == 0:
                await self.problems.send(error, exchange.send)
            elif isinstance(problem, ApiError):
                log.warning("reply cut", path=exchange.scope["path"], why=problem.cause)

    def admit(self, exchange: Exchange) -> Address:
        """Returns the request's address. Raises ApiError for a request that no route may see."""
        scope = exchange.scope
        if self.stopping:
            raise NoRoom("the service is being stopped", retry_after_seconds=5)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        # If the Host header is missing, the server supplies an empty one. HTTP/1.0 requests need none.
        needs_host = scope["http_version"] not in ("1", "1.0")
        if len(hosts) > 1 or (needs_host and hosts in ([], [b""])):
            raise InvalidRequest("the request needs exactly one Host header")
        if len(exchange.headers) < len(scope["headers"]):
            given = [name for name, _ in scope["headers"]]
            for name in ONCE:
                if given.count(name) > 1:
                    raise InvalidRequest(f"the request has more than one {name.decode().title()} header")
        if b"content-length" in exchange.headers and b"transfer-encoding" in exchange.headers:
            raise InvalidRequest("the request has both Content-Length and Transfer-Encoding")
        if exchange.headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise InvalidRequest("the body has a Transfer-Encoding beside chunked; send it without compression")
        if exchange.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise InvalidRequest("the body has a Content-Encoding; send it without compression")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and is_cross_site(exchange.headers):
            raise CrossSite("a page of another site had a browser send this request; nothing was done")
        address = self.addresses.resolve(scope["raw_path"] or b"/", scope["query_string"])
        if len(address.path) > MAX_ROUTED_BYTES:
            raise NotFound("there is no such address")
        return address

    async def retire(self) -> float:
        """The process is to stop. Requests are still taken; returns for how many seconds they should be."""
        self.reply_headers.append(CLOSE_HEADER)
        return await self.service.retire() if self.service is not None else 0.0

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new requests, waits `grace_seconds` for the running ones, then cancels those that still run."""
        self.stopping = True
        if self.service is not None:
            self.service.leave(grace_seconds)
        if self.running:
            await asyncio.wait(tuple(self.running), timeout=grace_seconds)
        late = tuple(self.running)
        for task in late:
            task.cancel()
        if late:
            log.warning("requests cut at shutdown", requests=len(late))
            await asyncio.wait(late, timeout=CANCELLED_SECONDS)


def follow(exchange: Exchange) -> None:
    """Gives the request its id, the caller's own if there is one, and notes where it stands in the caller's trace."""
    headers = exchange.headers
    exchange.request_id = cleaned(headers.get(REQUEST_ID_HEADER, b"").decode("latin-1"))
    REQUEST_ID.set(exchange.request_id)
    TRACE_PARENT.set(parent_in(headers.get(b"traceparent", b"").decode("latin-1")))


def is_cross_site(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser says that a page of another site sent the request (Fetch Metadata, and RFC 6454 for older browsers).

    A browser that knows Basic credentials of this service sends them with such a request too. Other clients send neither field.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site.strip().lower() not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    return (
        origin is not None and origin.rpartition(b"//")[2].strip().lower() != headers.get(b"host", b"").strip().lower()
    )


def head_bytes(scope: Message) -> int:
    """About how many bytes the head of a request had: its lines, each with a colon, a space and a line end."""
    parts = *chain.from_iterable(scope["headers"]), scope["raw_path"] or b"", scope["query_string"]
    return len(b"".join(parts)) + 4 * len(scope["headers"]) + len("OPTIONS  HTTP/1.1\r\n\r\n")
