"""One request and its reply on the wire: limits while reading, refusals that arrive, and callers who go away.

The server has no limit or timeout for a body, ends the connection of a caller who still sends when the reply
is complete, and does not say in `send` that the caller has gone. All three are dealt with here, for every
route alike.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

from batchseal.api.address import Address
from batchseal.errors import BodyStalled, InvalidRequest, TooLarge

T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# A reply that comes before the body was read: the rest is read and dropped for this long, and until the
# caller has stopped for the pause (curl stops at the first line of a refusal, urllib sends all of it first).
DISCARD_SECONDS = 60.0
DISCARD_PAUSE_SECONDS = 2.0
# A caller that takes nothing of its reply for this long is cut off.
SEND_STALL_SECONDS = 120.0


class Exchange:
    """Wraps one ASGI request. `headers` has lower-case names; `body_bytes` counts what was read."""

    def __init__(
        self,
        scope: Message,
        receive: Receive,
        send: Send,
        *,
        max_body_bytes: int,
        stall_seconds: float,
        min_rate: int = 0,
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.max_body_bytes = max_body_bytes
        self.stall_seconds = stall_seconds
        self.min_rate = min_rate
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.address: Address | None = None
        self.route = ""  # name in the contract, once a route has taken the request
        self.cleanup = AsyncExitStack()
        self.status = 0  # of the reply, once it has begun
        self.replied = False  # the whole reply is sent
        self._left_bytes = -1  # of the reply's body, where its length was given
        self.body_bytes = 0
        self._reading = False
        self._stalled = False
        self._gone = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._length = int(self.headers.get(b"content-length", b"0"))
        self._body_complete = self._length == 0 and b"transfer-encoding" not in self.headers

    # --- the request ----------------------------------------------------------------------------------------

    async def body(self) -> AsyncIterator[bytes]:
        """Chunks of the body as they come, none empty. Raises TooLarge, BodyStalled, InvalidRequest
        (truncated).
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
                self._gone.set()
                raise InvalidRequest("the body ended early")
            chunk = message.get("body", b"")
            self.body_bytes += len(chunk)
            # With its last byte: the empty piece that the server has behind it is one more wait.
            self._body_complete = not message.get("more_body", False) or self.body_bytes == self.length
            # Only time spent waiting for the caller counts: it is not slow while we are.
            waited, brought = waited + loop.time() - began, brought + len(chunk)
            if waited >= self.stall_seconds and not self._body_complete:
                if brought < self.min_rate * waited:
                    self._stalled = True
                    raise BodyStalled(f"{brought} bytes in {waited:.0f} s; {self.min_rate} a second is the least")
                waited, brought = 0.0, 0
            if self.body_bytes > self.max_body_bytes:
                raise self.too_large()
            if chunk:
                yield chunk

    @property
    def peer(self) -> str:
        """The caller's address, as the server sees it."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def length(self) -> int | None:
        """What Content-Length says; None for a body in chunks."""
        return None if b"transfer-encoding" in self.headers else self._length

    def check_length(self) -> None:
        """Refuses a body that says that it is too large, before any of it is read."""
        if self._length > self.max_body_bytes:
            raise self.too_large()

    def too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self.max_body_bytes} bytes")

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """Result of `work`. Raises ConnectionResetError, and cancels the work, when the caller goes away
        before.
        """
        self.watch()
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ConnectionResetError("the caller has gone")
        finally:
            gone.cancel()
            task.cancel()

    # --- the reply ------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """ASGI `send` for the application. Raises ConnectionResetError when nobody takes the reply."""
        if self.replied:
            return
        if self.gone:
            raise ConnectionResetError("the caller has gone")
        if message["type"] == "http.response.start":
            self.status = message["status"]
            # The server frames the body itself; HTTP forbids the header where a length is given.
            message["headers"] = [pair for pair in message["headers"] if pair[0].lower() != b"transfer-encoding"]
            self._left_bytes = next((int(v) for k, v in message["headers"] if k.lower() == b"content-length"), -1)
            await self._pass_on(message)
            if self.scope["method"] == "HEAD":
                await self._finish(b"")
                raise ConnectionResetError("a reply to HEAD ends with its headers")
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self._left_bytes -= len(body)
        # With its last byte, not with an empty piece behind it: a reply of one piece is sent in one go.
        if not more or self._left_bytes == 0:
            return await self._finish(body)
        self.watch()
        await self._pass_on(message)

    async def send_anyway(self, message: Message) -> None:
        """Like `send`, to a caller that may have gone."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_STALL_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise ConnectionResetError("the caller takes no more of its reply") from None

    async def _finish(self, body: bytes) -> None:
        """Sends the end of the reply; where the caller still sends, all but the last byte before its body is
        discarded.
        """
        # With Expect, a caller that was not told to go on sends nothing; reading now would tell it to.
        told = self._reading or b"expect" not in self.headers
        if body and told and not (self._body_complete or self._stalled):
            # The server closes the connection as soon as the reply is complete, which reaches a caller that
            # is still sending as a broken pipe, and many then never read the reply.
            await self._pass_on({"type": "http.response.body", "body": body[:-1], "more_body": True})
            await self._discard()
            body = body[-1:]
        await self._pass_on({"type": "http.response.body", "body": body, "more_body": False})
        self.replied = True

    async def _discard(self) -> None:
        """Reads and drops the rest of the body, within bounds of time and bytes."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while dropped <= self.max_body_bytes:
                    async with asyncio.timeout(DISCARD_PAUSE_SECONDS):
                        message = await self._receive()
                    if message["type"] == "http.disconnect":
                        return self._gone.set()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        self._body_complete = True
                        return None

    # --- callers who go away --------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether the caller is known to have gone."""
        return self._gone.is_set()

    def watch(self) -> None:
        """Begins to notice that the caller goes away. Only once the body is read: both need the same
        `receive`.
        """
        if self._watcher is None and self._body_complete:
            self._watcher = asyncio.get_running_loop().create_task(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def close(self) -> None:
        """Ends what belongs to this request, after the reply or in place of it."""
        if self._watcher is not None:
            self._watcher.cancel()
        await self.cleanup.aclose()
