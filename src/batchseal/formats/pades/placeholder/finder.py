"""The finder: what a worker and the signer use to have words looked for. It knows nothing of PDFium."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from batchseal.document import Description
from batchseal.errors import NoRoom
from batchseal.formats.pades.placeholder.wire import (
    MESSAGE_BYTES,
    Answer,
    Found,
    Query,
    decode_answer,
    encode,
    memory_needed,
)
from batchseal.signature import SignaturePlace
from batchseal.system.futures import in_pool

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Holds memory for a client service during a block: see `Admission.reserved`.
Reserve = Callable[[str, int], AbstractAsyncContextManager[None]]

# From so many bytes on, a document is copied in a thread: the event loop has others to serve.
COPIED_APART_BYTES = 1 << 20
TOLD_CHARACTERS = 80
# A connection that was used is kept for the next document: making one takes a tenth of the time of a search.
KEPT_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class FinderPace:
    """How long an answer may take, the documents of others before it included, and how often a keeper is asked again."""

    answer_seconds: float = 300.0
    tries: int = 3
    retry_seconds: int = 5


class Finder:
    """Has words looked for by the keeper at the socket `path`. Each client service has one document there at a time.

    `reserve` books the memory of a search before it is used.
    """

    def __init__(self, path: Path, reserve: Reserve, pace: FinderPace | None = None) -> None:
        self._path = path
        self._reserve = reserve
        self._pace = pace or FinderPace()
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        self._connections: list[socket.socket] = []  # those that nobody uses just now

    def close(self) -> None:
        while self._connections:
            self._connections.pop().close()

    async def located(self, client: str, wanted: Description, content: "Buffer") -> Description:
        """The description with the place of its visible signature found, or with why there is none. Raises NoRoom."""
        assert wanted.visible_signature is not None
        seen = wanted.visible_signature
        answer = await self.find(client, content, seen.place.name)
        return replace(wanted, visible_signature=replace(seen, place=place_of(seen.place, answer)))

    async def find(self, client: str, content: "Buffer", word: str) -> Answer:
        """Where the word is. Raises NoRoom where memory, or the keeper, is not to be had."""
        turn = self._turns.setdefault(client, asyncio.Lock())
        size = memoryview(content).nbytes
        async with turn, self._reserve(client, memory_needed(size)):
            descriptor = os.memfd_create("document", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                if size >= COPIED_APART_BYTES:
                    await in_pool(None, lambda: fill(descriptor, content))
                else:
                    fill(descriptor, content)
                return await self._asked(Query(client, word, size), descriptor)
            finally:
                os.close(descriptor)

    async def _asked(self, query: Query, descriptor: int) -> Answer:
        for _ in range(self._pace.tries):
            try:
                async with asyncio.timeout(self._pace.answer_seconds):
                    if message := await self._exchange(encode(query), descriptor):
                        return decode_answer(message)
            except (OSError, TimeoutError):
                continue
        cause = "the word of a visible signature cannot be looked for just now"
        raise NoRoom(cause, retry_after_seconds=self._pace.retry_seconds)

    async def _exchange(self, message: bytes, descriptor: int) -> bytes:
        """One request and its answer; empty where the keeper ends before it answers."""
        while self._connections:
            # The keeper may have ended since this connection was used, which is no failure.
            if answer := await self._exchange_over(self._connections.pop(), message, descriptor):
                return answer
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, str(self._path))
        except BaseException:
            connection.close()
            raise
        return await self._exchange_over(connection, message, descriptor)

    async def _exchange_over(self, connection: socket.socket, message: bytes, descriptor: int) -> bytes:
        answer = b""
        try:
            socket.send_fds(connection, [message], [descriptor])
            answer = await asyncio.get_running_loop().sock_recv(connection, MESSAGE_BYTES)
        except OSError:
            pass
        finally:
            if answer and len(self._connections) < KEPT_CONNECTIONS:
                self._connections.append(connection)
            else:
                connection.close()
        return answer


def fill(descriptor: int, content: "Buffer") -> None:
    """Writes a document into a memfd. Nobody can change or shorten it afterwards, so no reader of the mapping is surprised."""
    import fcntl

    view, at = memoryview(content).cast("B"), 0
    while at < len(view):
        at += os.write(descriptor, view[at:])
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)


def place_of(place: SignaturePlace, answer: Answer) -> SignaturePlace:
    """The place that was looked for, with what was found."""
    if answer.found is Found.FOUND:
        return replace(place, page=answer.page, x=answer.x, y=answer.y, in_user_space=True)
    word = repr(place.name[:TOLD_CHARACTERS])
    why = {
        Found.NOT_FOUND: f"the text of the PDF does not contain the word {word} (a picture of text has none)",
        Found.UNREADABLE: f"the PDF cannot be opened to look for the word {word}",
        Found.DIED: f"looking for the word {word} fails on this PDF, or takes more memory than the limit",
        Found.TOO_LONG: f"looking for the word {word} takes longer in this PDF than the limit",
    }
    return replace(place, missing=why[answer.found])
