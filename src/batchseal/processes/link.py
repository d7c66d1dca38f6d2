"""The link from the workers to the signer process of the same instance: calls over a Unix socket.

What is true stands in Postgres. The link only makes things faster: an operation is signed at once, instead of when the signer
looks for work the next time. A call is the message (`system/messages.py`) `[number, name, arguments]`. Its answer is `[number,
value, failure]`, where `failure` is None or the class and the cause of an error. A call with the number 0 gets no answer. A
caller that signs with a token of its own has that token sent over the link. It is never stored.

Both ends ask the kernel whose process is at the other end, and talk to one of their own account only.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from batchseal import errors
from batchseal.system import messages
from batchseal.system.folders import open_folder
from batchseal.system.futures import retrieve_failure
from batchseal.system.peers import peer_of

Handler = Callable[..., Awaitable[Any]]

MAX_MESSAGE_BYTES = 1 << 20
RECONNECT_SECONDS = 0.2
NO_ANSWER = 0
# The longest message that `ask` and `tell` send. The answer may contain everything that the message contained, and more, and must
# still be shorter than MAX_MESSAGE_BYTES.
MAX_TOLD_BYTES = 256 << 10

log = structlog.get_logger("link")


class LinkServer:
    """The end of the link in the signer. It answers each call with the function that `handlers` has for its name."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens on the socket. Only the account of this process may connect."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with open_folder(self._path.parent, strict=False) as folder:
            folder.remove(self._path.name)
            listener.bind(folder.place_of(self._path.name))
            os.chmod(self._path.name, 0o600, dir_fd=folder.descriptor)
        self._server = await asyncio.get_running_loop().create_unix_server(self._connection, sock=listener)

    async def stop(self) -> None:
        """Takes no more calls, and cancels those that are not answered yet."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    def _connection(self) -> messages.Messages:
        return messages.Messages(MAX_MESSAGE_BYTES, began=self._is_own, received=self._begin)

    @staticmethod
    def _is_own(transport: asyncio.Transport) -> bool:
        peer = peer_of(transport.get_extra_info("socket").fileno())
        if peer.uid != os.geteuid():
            log.warning("a process of another user is refused at the link", user=peer.uid, pid=peer.pid)
        return peer.uid == os.geteuid()

    def _begin(self, message: list[Any], transport: asyncio.Transport) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(message, transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: list[Any], transport: asyncio.Transport) -> None:
        number, name, arguments = message
        try:
            answer = [number, await self._handlers[name](*arguments), None]
        except errors.BatchsealError as problem:
            answer = [number, None, [type(problem).__name__, problem.cause]]
        except Exception:
            log.exception("link call failed", call=name)
            answer = [number, None, ["InternalError", "the signer process could not answer"]]
        if number == NO_ANSWER or transport.is_closing():
            return
        packed = messages.pack(answer)
        if len(packed) > MAX_MESSAGE_BYTES:
            # The other end would take it for damage and cut the connection, which breaks the calls of everybody else.
            log.error("the answer to a link call is too long", call=name, bytes=len(packed))
            packed = messages.pack([number, None, ["InternalError", "the answer of the signer process is too long"]])
        transport.write(packed)


class Link:
    """The end of the link in a worker. While the signer is away, calls raise NoRoom. The link connects again by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_warned = False  # of somebody else at the other end, which is asked for again and again

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    @property
    def unanswered(self) -> int:
        """The number of calls that wait for their answer."""
        return len(self._waiting)

    def start(self) -> None:
        """Begins to connect, in the background."""
        self._task = asyncio.create_task(self._keep_connected())

    async def stop(self) -> None:
        """Closes the connection. Calls that are not answered yet raise NoRoom."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def call(self, name: str, *arguments: Any, timeout_seconds: float = 5) -> Any:
        """Calls the function `name` of the signer and returns its result.

        Raises the error that the signer raised, NoRoom if the signer is away, TimeoutError after `timeout_seconds`.
        """
        number = next(self._numbers)
        answer = self._expect(number, messages.pack([number, name, arguments]))
        async with asyncio.timeout(timeout_seconds):
            return await answer

    def ask(self, name: str, *arguments: Any) -> "asyncio.Future[Any] | None":
        """Starts a call and returns its future, or None (nothing sent) if the message exceeds MAX_TOLD_BYTES.

        The future raises what `call` raises, but has no timeout. This method itself raises NoRoom if the signer is away now.
        """
        number = next(self._numbers)
        message = messages.pack([number, name, arguments])
        if len(message) > MAX_TOLD_BYTES:
            return None
        answer = self._expect(number, message)
        answer.add_done_callback(retrieve_failure)
        return answer

    def _expect(self, number: int, message: bytes) -> "asyncio.Future[Any]":
        if self._transport is None:
            raise errors.NoRoom("the signer process is not running", retry_after_seconds=2)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._waiting.pop(number))
        self._transport.write(message)
        return answer

    def tell(self, name: str, *arguments: Any) -> bool:
        """Sends a call without waiting for an answer. Returns False (nothing sent) if the message exceeds MAX_TOLD_BYTES.

        Raises NoRoom if the signer is away.
        """
        if self._transport is None:
            raise errors.NoRoom("the signer process is not running", retry_after_seconds=2)
        message = messages.pack([NO_ANSWER, name, arguments])
        if len(message) > MAX_TOLD_BYTES:
            return False
        self._transport.write(message)
        return True

    async def _keep_connected(self) -> None:
        while True:
            lost = asyncio.Event()
            try:
                self._transport = await self._connect(lost)
                await lost.wait()
            except OSError:
                pass
            finally:
                if self._transport:
                    self._transport.close()
                self._transport = None
                for future in list(self._waiting.values()):
                    if not future.done():
                        future.set_exception(errors.NoRoom("the signer process went away", retry_after_seconds=2))
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _connect(self, lost: asyncio.Event) -> asyncio.Transport:
        """The connection; `lost` is set when it has ended.

        Raises OSError if nobody listens, or somebody whom this process must not talk to.
        """
        own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        own.setblocking(False)
        try:
            with open_folder(self._path.parent, strict=False) as folder:
                await asyncio.get_running_loop().sock_connect(own, folder.place_of(self._path.name))
            peer = peer_of(own.fileno())
            if peer.uid != os.geteuid():
                if not self._is_warned:
                    log.error("another user's process listens in place of the signer", user=peer.uid, pid=peer.pid)
                self._is_warned = True
                raise PermissionError(errno.EPERM, f"{self._path} is not the signer's")

            def made() -> messages.Messages:
                return messages.Messages(MAX_MESSAGE_BYTES, received=self._settle, ended=lost.set)

            transport, _ = await asyncio.get_running_loop().create_unix_connection(made, sock=own)
            return transport
        except BaseException:
            own.close()
            raise

    def _settle(self, answer: list[Any], transport: asyncio.Transport) -> None:
        number, value, failure = answer
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if failure is None:
            future.set_result(value)
        else:
            kind = getattr(errors, failure[0], errors.InternalError)
            future.set_exception(kind(failure[1]))
