"""Step 6, deliver, for a document that is too large for the memory: it is read and encoded in blocks while it is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from batchseal._native.base64 import Base64Encoder
from batchseal.document import SignedDocument, Stretch, bytes_in
from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.interface import CheckedFrame
from batchseal.pipeline.encode import Encoding, encoded_bytes
from batchseal.system.futures import in_pool

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What is read and encoded at once: as long as a block of `payloads/blocks.py`, and a multiple of three.
BLOCK_BYTES = 48 << 10
# For a caller that does not read, the server keeps up to sixteen pieces, so they are small.
PIECE_BYTES = 16 << 10

T = TypeVar("T")


class Reads:
    """Reads of one delivery, in threads. They follow each other, since a payload is read by one thread at a time."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._last: asyncio.Future[object] | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Cancelling this does not stop the thread: see `ended`."""
        reading = self.start(work)
        return await asyncio.shield(reading)

    def start(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """The same, for a result that is awaited later, before the next read."""
        reading = in_pool(self._pool, work)
        self._last = reading  # type: ignore[assignment]
        return reading

    async def ended(self) -> None:
        """Waits until no thread reads any more, so that the payload may be closed."""
        if self._last is not None:
            await asyncio.gather(self._last, return_exceptions=True)


class StreamedDocument:
    """A signed document whose original stays in its payload. `original` was checked as a whole before the reply began.

    `pieces` holds one block, and what is encoded of it.
    """

    def __init__(self, signed: SignedDocument, original: CheckedFrame, encoding: Encoding, reads: Reads) -> None:
        self.total_bytes = encoded_bytes(signed.total_bytes, encoding)
        self._signed = signed
        self._original = original
        self._encoding = encoding
        self._reads = reads

    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Only a raw document can be asked for in part. Raises PayloadUnavailable where a block has changed meanwhile."""
        if self._encoding == "base64":
            if (start, stop) != (0, self.total_bytes):
                raise ValueError("base64 is sent as a whole")
            return self._encoded()
        return self._raw(start, stop)

    async def _encoded(self) -> AsyncIterator[bytes]:
        encoder = Base64Encoder()
        for segment, first, last in self._blocks(0, self._signed.total_bytes):
            if isinstance(segment, Stretch):
                block = await self._reads.run(partial(self._read_encoded, encoder, segment[first:last]))
            else:
                block = encoder.update(memoryview(segment)[first:last])
            for piece in cut(block):
                yield piece
        if rest := encoder.finish():
            yield rest

    def _read(self, part: Stretch) -> bytes:
        try:
            return self._original.read(part.start, part.stop)
        except PayloadDamaged as problem:
            # It was whole when the reply began. The next request tells of a document that is damaged.
            raise PayloadUnavailable(problem.cause) from None

    def _read_encoded(self, encoder: Base64Encoder, part: Stretch) -> bytes:
        return encoder.update(self._read(part))

    async def _raw(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for segment, first, last in self._blocks(start, stop):
            if isinstance(segment, Stretch):
                block = await self._reads.run(partial(self._read, segment[first:last]))
            else:
                block = bytes(memoryview(segment)[first:last])
            for piece in cut(block):
                yield piece

    def _blocks(self, start: int, stop: int) -> "Iterator[tuple[Buffer | Stretch, int, int]]":
        """Parts of at most BLOCK_BYTES of what stands from `start` to `stop`: a segment, and from where to where in it.

        They end where a block of the segment ends, so that no block is read twice.
        """
        at = 0
        for segment in self._signed.segments:
            length = bytes_in(segment)
            first, last = max(start - at, 0), min(stop - at, length)
            at += length
            while first < last:
                end = min(last, (first // BLOCK_BYTES + 1) * BLOCK_BYTES)
                yield segment, first, end
                first = end


def cut(block: bytes) -> Iterator[bytes]:
    """The block in pieces of at most PIECE_BYTES."""
    return (block[at : at + PIECE_BYTES] for at in range(0, len(block), PIECE_BYTES))
