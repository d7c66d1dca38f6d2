"""Feeds the pieces of bodies to their readers without keeping the event loop from other requests for long.

Reading a body costs little for each byte, unless it consists of tens of thousands of tiny parts. Once a piece has taken long, the
pieces after it are cut, other requests run in between, and the bodies of one client service take turns: so it has no more of the
loop than one of them.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from batchseal.document import ReceivedDocument

# A piece that took longer than this was long. One that was cut should take a part of that: a small request needs some turns of
# the loop, and may meet a piece in each.
LONG_SECONDS, CUT_SECONDS = 0.004, 0.001
LEAST_PIECE_BYTES, MOST_PIECE_BYTES = 1 << 10, 1 << 20


class Reader(Protocol):
    """What reads a body (see `intake/`)."""

    def feed(self, chunk: bytes) -> Sequence[ReceivedDocument]: ...


class Turns:
    """One for each worker: which body of a client service may be read next, of those that take long."""

    def __init__(self) -> None:
        self._of_client: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def feeding(self, client: str, reader: Reader) -> "Feeding":
        """For one body."""
        return Feeding(reader, self._of_client.setdefault(client, asyncio.Lock()))


class Feeding:
    """Feeds one body to its reader."""

    def __init__(self, reader: Reader, turn: asyncio.Lock) -> None:
        self._reader = reader
        self._turn = turn
        self._most_bytes = 0  # of a piece; 0: as it comes

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk in the pieces in which it should be fed."""
        at = 0
        while at < len(chunk):
            length = self._most_bytes or len(chunk)
            yield chunk if at == 0 and length >= len(chunk) else chunk[at : at + length]
            at += length

    async def feed(self, piece: bytes) -> Sequence[ReceivedDocument]:
        """The documents that end in the piece. Raises what the reader raises."""
        if not self._most_bytes:
            return self._read(piece)
        async with self._turn:
            await asyncio.sleep(0)
            return self._read(piece)

    def _read(self, piece: bytes) -> Sequence[ReceivedDocument]:
        began = time.thread_time()
        found = self._reader.feed(piece)
        seconds = time.thread_time() - began
        if seconds > LONG_SECONDS:
            self._most_bytes = max(LEAST_PIECE_BYTES, int(len(piece) * CUT_SECONDS / seconds))
        elif self._most_bytes and seconds < CUT_SECONDS / 4:
            self._most_bytes *= 2  # the body may have become an ordinary one
            if self._most_bytes > MOST_PIECE_BYTES:
                self._most_bytes = 0
        return found
