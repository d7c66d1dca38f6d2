"""Feeds the pieces of bodies to their readers without keeping the event loop from other requests for long.

Reading a body costs little for each byte, unless it consists of tens of thousands of tiny parts. Pieces that would take long are
cut, other requests run in between, and the bodies of one client service take turns: so it has no more of the loop than one of
them.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from batchseal.document import ReceivedDocument

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What reading may take of the processor before others have their turn, and about what a piece should take. A small request needs
# some thirty rounds of the event loop, so others have several rounds for each piece.
TURN_SECONDS, ROUNDS_OF_OTHERS = 0.001, 8
# The first piece of a body is small, since nothing is known of it. While pieces cost little, each is GROWTH times as long.
FIRST_PIECE_BYTES, LEAST_PIECE_BYTES, MOST_PIECE_BYTES, GROWTH = 16 << 10, 1 << 10, 1 << 20, 4


class Reader(Protocol):
    """What reads a body (see `intake/`)."""

    def feed(self, chunk: "Buffer") -> Sequence[ReceivedDocument]: ...


class Turns:
    """One for each worker: which body of a client service may be read next, of those that take long."""

    def __init__(self) -> None:
        self._of_client: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def feeding(self, client: str, reader: Reader) -> "Feeding":
        """For one body."""
        return Feeding(reader, partial(self._turn, client))

    def _turn(self, client: str) -> asyncio.Lock:
        return self._of_client.setdefault(client, asyncio.Lock())


class Feeding:
    """Feeds one body to its reader. `turn` gives the lock of the client service, which most bodies never need."""

    def __init__(self, reader: Reader, turn: Callable[[], asyncio.Lock]) -> None:
        self._reader = reader
        self._turn = turn
        self._most_bytes = FIRST_PIECE_BYTES
        self._seconds = 0.0  # of the processor, since others had their turn

    def pieces(self, chunk: bytes) -> "Iterator[Buffer]":
        """The chunk in the pieces in which it should be fed."""
        at, whole = 0, memoryview(chunk)
        while at < len(chunk):
            length = self._most_bytes
            yield chunk if at == 0 and length >= len(chunk) else whole[at : at + length]
            at += length

    async def feed(self, piece: "Buffer") -> Sequence[ReceivedDocument]:
        """The documents that end in the piece. Raises what the reader raises."""
        if self._seconds < TURN_SECONDS:
            return self._read(piece)
        async with self._turn():
            for _ in range(ROUNDS_OF_OTHERS):
                await asyncio.sleep(0)
            self._seconds = 0.0
            return self._read(piece)

    def _read(self, piece: "Buffer") -> Sequence[ReceivedDocument]:
        began = time.thread_time()
        found = self._reader.feed(piece)
        seconds = time.thread_time() - began
        self._seconds += seconds
        if seconds > 2 * TURN_SECONDS:
            length = memoryview(piece).nbytes
            self._most_bytes = max(LEAST_PIECE_BYTES, int(length * TURN_SECONDS / seconds))
        elif seconds < TURN_SECONDS / (2 * GROWTH):
            self._most_bytes = min(MOST_PIECE_BYTES, GROWTH * self._most_bytes)
        return found
