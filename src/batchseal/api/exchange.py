"""One HTTP request and its reply, between the server (granian) and the application.

Every reply goes through `Exchange`, which gives it the headers of KEPT_PRIVATE, or of KEPT_PUBLIC. The server leaves three things
to the application, and this module does them for every route:

- The server has no size limit and no timeout for a request body. `Exchange.body` enforces both.
- The server closes the connection as soon as the reply is complete. A caller that is still sending its body gets a broken
  pipe and never reads the reply. `Exchange.send` discards the rest of the body before it sends the last byte of the reply.
- The server's `send` does not report that the caller has disconnected. `Exchange.watch` finds it out.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, MutableMapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

from batchseal.api.address import Address
from batchseal.errors import BodyStalled, InvalidRequest, TooLarge
from batchseal.system.loopback import is_loopback

T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# If the reply is ready before the whole body was read, the rest of the body is read and discarded. This ends after
# DISCARD_SECONDS, or once the caller has sent nothing for DISCARD_PAUSE_SECONDS: curl stops sending when the first line of
# a refusal arrives, urllib sends the whole body first.
DISCARD_SECONDS = 60.0
DISCARD_PAUSE_SECONDS = 2.0
# A caller that reads nothing of its reply for this long is disconnected.
SEND_STALL_SECONDS = 120.0
# Every reply has these: no cache keeps it (RFC 9111 5.2.2.5), and no browser guesses another type than it names. They replace
# what a handler has set, and the server's name is left out.
KEPT_PRIVATE = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
# What is the same for everybody may be kept, by whoever asks before each use whether it is still the same.
KEPT_PUBLIC = [(b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff")]
# The server frames the body itself, and HTTP forbids this header beside Content-Length.
NOT_FROM_HANDLERS = {b"cache-control", b"x-content-type-options", b"server", b"transfer-encoding"}
# Of these headers, several lines mean the same as one line with all values (RFC 9110 5.3). Of any other, the last line counts;
# the guard refuses a second line where that would be ambiguous.
LISTS = {b"accept", b"content-encoding", b"prefer"}
# Proxies name by these for whom they ask.
FORWARDED = {b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"}
# A piece that the server takes within this time did not wait for the caller.
AT_ONCE_SECONDS = 0.01

REQUEST_ID_HEADER = b"x-request-id"


class Exchange:
    """One ASGI request with its `receive` and `send`.

    `headers` has lower-case names. `body_bytes` counts the bytes of the body that were read. `max_body_bytes` is the largest
    body, `stall_seconds` the longest pause in a body, and `min_rate` the fewest bytes per second, averaged over
    `stall_seconds` (0: no minimum). `send_stall_seconds` is how long a caller may read nothing of its
    reply before it is disconnected, and `min_reply_rate` the fewest bytes per second of a reply that it must take, averaged
    over that time (0: no minimum). `more_headers` are added to the reply, whoever sends it. `cleanup` runs when the exchange
    is closed, however it ended.
    """

    def __init__(
        self,
        scope: Message,
        receive: Receive,
        send: Send,
        *,
        max_body_bytes: int,
        stall_seconds: float,
        min_rate: int = 0,
        send_stall_seconds: float = SEND_STALL_SECONDS,
        min_reply_rate: int = 0,
        more_headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._send_stall_seconds = send_stall_seconds
        self.min_reply_rate = min_reply_rate
        # How long the reply waited for its caller, and the bytes that went out meanwhile.
        self._waited, self._taken = 0.0, 0
        self._more_headers = more_headers
        self.request_id = ""  # The reply carries it if it is not empty.
        self.scope = scope
        self._receive = receive
        self._send = send
        self.max_body_bytes = max_body_bytes
        self.stall_seconds = stall_seconds
        self.min_rate = min_rate
        self.headers = joined(scope["headers"])
        self.address: Address | None = None
        self.is_public = False  # Whether the reply is the same for everybody, so that caches may keep it.
        self.route = ""  # The route's name in the contract. Empty until a route takes the request.
        self.cleanup = AsyncExitStack()
        self.status = 0  # The HTTP status of the reply. 0 until the reply begins.
        self.replied = False  # True once the whole reply has been sent.
        self._left_bytes = -1  # Bytes of the reply's body that are still to come. Negative if its length is not known.
        self.body_bytes = 0
        self._reading = False
        self._stalled = False
        self._is_gone = False
        self._ends_when_gone: asyncio.Task[Any] | None = (
            None  # the task of the request, while it waits for its caller's sake
        )
        self._watcher: asyncio.Task[None] | None = None
        self._length = int(self.headers.get(b"content-length", b"0"))
        self._body_complete = self._length == 0 and b"transfer-encoding" not in self.headers

    # --- the request ----------------------------------------------------------------------------------------

    async def body(self) -> AsyncIterator[bytes]:
        """Yields the chunks of the body as they arrive; no chunk is empty.

        Raises TooLarge, BodyStalled, or InvalidRequest if the caller disconnects before the body is complete.
        """
        self.check_length()
        loop = asyncio.get_running_loop()
        waited, brought = 0.0, 0
        while not self._body_complete:
            self._reading = True
            began = loop.time()
            try:
                async with asyncio.timeout(self.stall_seconds):
                    message = await self._receive()
            except TimeoutError:
                self._stalled = True
                raise BodyStalled(f"nothing arrived for {self.stall_seconds:g} s") from None
            if message["type"] == "http.disconnect":
                self._note_gone()
                raise InvalidRequest("the body ended early")
            chunk = message.get("body", b"")
            self.body_bytes += len(chunk)
            # If the length is known, the body is complete with its last byte. The server sends an empty chunk after
            # that, and waiting for it would cost one more turn of the event loop.
            self._body_complete = not message.get("more_body", False) or self.body_bytes == self.length
            # Count only the time spent waiting for the caller, not the time in which the application works.
            waited, brought = waited + loop.time() - began, brought + len(chunk)
            if waited >= self.stall_seconds and not self._body_complete:
                if brought < self.min_rate * waited:
                    self._stalled = True
                    raise BodyStalled(
                        f"only {brought} bytes in {waited:.0f} s; the minimum is {self.min_rate} a second"
                    )
                waited, brought = 0.0, 0
            if self.body_bytes > self.max_body_bytes:
                raise self.too_large()
            if chunk:
                yield chunk

    @property
    def peer(self) -> str:
        """The network address of the caller, as the server sees it; "" if the server does not know it."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def is_local(self) -> bool:
        """Whether the caller is on this machine: on loopback, or at the address that it called.

        A proxy on this machine that asks for somebody else is not local, as far as its headers tell.
        """
        server = self.scope.get("server")
        own = str(server[0]) if server else ""
        return (is_loopback(self.peer) or (bool(own) and self.peer == own)) and not FORWARDED & self.headers.keys()

    @property
    def length(self) -> int | None:
        """The value of Content-Length in bytes (0 without one), or None for a chunked body."""
        return None if b"transfer-encoding" in self.headers else self._length

    def check_length(self) -> None:
        """Raises TooLarge if Content-Length exceeds the limit, before any of the body is read."""
        if self._length > self.max_body_bytes:
            raise self.too_large()

    def too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self.max_body_bytes} bytes")

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits `work` and returns its result.

        If the caller disconnects first, cancels the work and raises ConnectionResetError. The work runs in the task of the
        request: a task of its own, and one that waits for the disconnect, would cost a small request 0.1 ms.
        """
        if self._is_gone:
            work.close()
            raise ConnectionResetError("the caller has gone")
        self.watch()
        self._ends_when_gone = task = asyncio.current_task()
        assert task is not None
        try:
            return await work
        except asyncio.CancelledError:
            if self._is_gone and task.uncancel() == 0:
                raise ConnectionResetError("the caller has gone") from None
            raise
        finally:
            self._ends_when_gone = None

    # --- the reply ------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """The ASGI `send` that the application gets.

        Raises ConnectionResetError if the caller has disconnected or no longer reads the reply.
        """
        if self.replied:
            return
        if self.gone:
            raise ConnectionResetError("the caller has gone")
        if message["type"] == "http.response.start":
            self._begin(message)
            self._left_bytes = next((int(v) for k, v in message["headers"] if k.lower() == b"content-length"), -1)
            await self._pass_on(message)
            if self.scope["method"] == "HEAD":
                await self._finish(b"")
                raise ConnectionResetError("a reply to HEAD ends with its headers")
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self._left_bytes -= len(body)
        # End the reply with its last byte, not with an empty piece after it. A reply of one piece then needs one call.
        if not more or self._left_bytes == 0:
            return await self._finish(body)
        self.watch()
        await self._pass_on(message)

    async def send_anyway(self, message: Message) -> None:
        """Like `send`, but does not check whether the caller has disconnected, and never discards the rest of a body."""
        if message["type"] == "http.response.start":
            self._begin(message)
        await self._pass_on(message)

    def _begin(self, start: Message) -> None:
        """Notes the status of the reply that begins, and completes its headers."""
        self.status = start["status"]
        given = [pair for pair in start["headers"] if pair[0].lower() not in NOT_FROM_HANDLERS]
        start["headers"] = given + (KEPT_PUBLIC if self.is_public else KEPT_PRIVATE)

    async def _pass_on(self, message: Message) -> None:
        """Gives a message to the server, which takes it once its buffers have room.

        Raises ConnectionResetError after `send_stall_seconds`, or if the caller reads too slowly.
        """
        if message["type"] == "http.response.start":
            if self._more_headers:
                message["headers"] = [*message["headers"], *self._more_headers]
            if self.request_id:
                message["headers"].append((REQUEST_ID_HEADER, self.request_id.encode("ascii")))
            return await self._send(message)  # the server keeps it until the first piece of the body comes
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._send_stall_seconds):
                await self._send(message)
        except TimeoutError:
            raise ConnectionResetError("the caller no longer reads its reply") from None
        if message.get("more_body", False):  # a caller that has taken the last piece has everything
            self._check_rate(loop.time() - began, len(message["body"]))

    def _check_rate(self, waited_seconds: float, taken_bytes: int) -> None:
        """Raises ConnectionResetError for a caller that takes less than `min_reply_rate`.

        What the server's buffers take at once says nothing of the caller, so only the pieces count that had to wait.
        """
        if waited_seconds < AT_ONCE_SECONDS:
            return
        self._waited, self._taken = self._waited + waited_seconds, self._taken + taken_bytes
        if self._waited >= self._send_stall_seconds:
            if self._taken < self.min_reply_rate * self._waited:
                raise ConnectionResetError(
                    f"the caller took {self._taken} bytes of its reply in {self._waited:.0f} s;"
                    f" the minimum is {self.min_reply_rate} a second"
                )
            self._waited, self._taken = 0.0, 0

    async def _finish(self, body: bytes) -> None:
        """Sends the last piece of the reply.

        If the caller is still sending its body, sends all but the last byte, discards the rest of the body, and only then
        sends the last byte: it completes the reply, and the server closes the connection.
        """
        # A caller that sent `Expect: 100-continue` waits for our consent before it sends its body. Reading from such a
        # body would give that consent, so discard only if the application has begun to read.
        told = self._reading or b"expect" not in self.headers
        if body and told and not (self._body_complete or self._stalled):
            await self._pass_on({"type": "http.response.body", "body": body[:-1], "more_body": True})
            await self._discard()
            body = body[-1:]
        await self._pass_on({"type": "http.response.body", "body": body, "more_body": False})
        self.replied = True

    async def _discard(self) -> None:
        """Reads the rest of the body and drops it, for at most DISCARD_SECONDS and about `max_body_bytes`."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while dropped <= self.max_body_bytes:
                    async with asyncio.timeout(DISCARD_PAUSE_SECONDS):
                        message = await self._receive()
                    if message["type"] == "http.disconnect":
                        return self._note_gone()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        self._body_complete = True
                        return None

    # --- callers who go away --------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether it is known that the caller has disconnected."""
        return self._is_gone

    def _note_gone(self) -> None:
        self._is_gone = True
        if self._ends_when_gone is not None:
            self._ends_when_gone.cancel()

    def watch(self) -> None:
        """Starts to watch for a disconnect of the caller.

        Does nothing before the whole body was read, since reading the body and watching both call `receive`.
        """
        if self._watcher is None and self._body_complete:
            self._watcher = asyncio.get_running_loop().create_task(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._note_gone()

    async def close(self) -> None:
        """Stops watching and runs `cleanup`. Called once for every request, whether or not a reply was sent."""
        if self._watcher is not None:
            self._watcher.cancel()
            # Otherwise the two would refer to each other, and the request stay in memory until the garbage collector runs.
            self._watcher = None
        await self.cleanup.aclose()


def joined(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers of a request by their names in lower case."""
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        headers[name] = headers[name] + b", " + value if name in LISTS and name in headers else value
    return headers
