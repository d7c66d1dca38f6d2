"""The link between workers and the signer process of an instance: calls over a unix socket.

Postgres is the truth; the link only saves waiting. A message (`system/messages.py`) is
`[number, name, arguments]`, answered by `[number, value, failure]`, where a failure is an error's class and cause; number 0
wants no answer. Tokens of callers that sign with their own travel here and are never stored.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from batchseal import errors
from batchseal.system import messages
from batchseal.system.futures import retrieve_failure

Handler = Callable[..., Awaitable[Any]]

MAX_MESSAGE_BYTES = 1 << 20
RECONNECT_SECONDS = 0.2
NO_ANSWER = 0
MAX_TOLD_BYTES = 256 << 10  # what is told may come back in an answer, with more to it

log = structlog.get_logger("link")


class LinkServer:
    """The signer's end: answers calls by the functions it was given."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connection, str(self._path))
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                task = asyncio.create_task(self._answer(await messages.read(reader, MAX_MESSAGE_BYTES), writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, message: list[Any], writer: asyncio.StreamWriter) -> None:
        number, name, arguments = message
        try:
            answer = [number, await self._handlers[name](*arguments), None]
        except errors.BatchsealError as problem:
            answer = [number, None, [type(problem).__name__, problem.cause]]
        except Exception:
            log.exception("link call failed", call=name)
            answer = [number, None, ["InternalError", "the signer process could not answer"]]
        if number != NO_ANSWER and not writer.is_closing():
            writer.write(messages.pack(answer))


class Link:
    """A worker's end. Calls fail with NoRoom while the signer is away; the connection comes back by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_connected())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def call(self, name: str, *arguments: Any, timeout_seconds: float = 5) -> Any:
        """Raises what the signer raised, NoRoom when it is away, TimeoutError when it takes longer."""
        number = next(self._numbers)
        answer = self._expect(number, messages.pack([number, name, arguments]))
        async with asyncio.timeout(timeout_seconds):
            return await answer

    def ask(self, name: str, *arguments: Any) -> "asyncio.Future[Any] | None":
        """A call whose answer is for later, raising what `call` raises; None, and nothing sent, where it is long. Raises
        NoRoom when the signer is away.
        """
        number = next(self._numbers)
        message = messages.pack([number, name, arguments])
        if len(message) > MAX_TOLD_BYTES:
            return None
        answer = self._expect(number, message)
        answer.add_done_callback(retrieve_failure)
        return answer

    def _expect(self, number: int, message: bytes) -> "asyncio.Future[Any]":
        if self._writer is None:
            raise errors.NoRoom("the signer process is not there", retry_after_seconds=2)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._waiting.pop(number))
        self._writer.write(message)
        return answer

    def tell(self, name: str, *arguments: Any) -> bool:
        """A call whose answer is of no interest; False, and nothing sent, where it is long. Raises NoRoom when the signer is
        away.
        """
        if self._writer is None:
            raise errors.NoRoom("the signer process is not there", retry_after_seconds=2)
        message = messages.pack([NO_ANSWER, name, arguments])
        if len(message) > MAX_TOLD_BYTES:
            return False
        self._writer.write(message)
        return True

    async def _keep_connected(self) -> None:
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(str(self._path))
                while True:
                    self._settle(*await messages.read(reader, MAX_MESSAGE_BYTES))
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                if self._writer:
                    self._writer.close()
                self._writer = None
                for future in list(self._waiting.values()):
                    if not future.done():
                        future.set_exception(errors.NoRoom("the signer process went away", retry_after_seconds=2))
            await asyncio.sleep(RECONNECT_SECONDS)

    def _settle(self, number: int, value: Any, failure: list[str] | None) -> None:
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if failure is None:
            future.set_result(value)
        else:
            kind = getattr(errors, failure[0], errors.InternalError)
            future.set_exception(kind(failure[1]))
