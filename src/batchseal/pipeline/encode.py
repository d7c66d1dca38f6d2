"""Step 6, deliver: a signed document as a reply carries it, in one pass over its segments, never joined before."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from batchseal._native.base64 import encode_segments, encoded_length
from batchseal.document import Refusal, Stretch
from batchseal.operation import DocumentStatus
from batchseal.store.rows import DocumentRow

if TYPE_CHECKING:
    from batchseal.document import SignedDocument

Encoding = Literal["base64", "raw"]

# What is read ahead while the batch before goes out. A document that is larger goes out in blocks of its own.
BATCH_BYTES = 2 << 20
# A batch that goes out, and one that is read meanwhile, each as it was read and as it is encoded.
BATCHES_HELD = 4
# What a document holds that goes out in blocks: the block that was read, as it is encoded, and what the server has not sent yet.
STREAM_BYTES = 1 << 20
# The window of the compression in which release 0.1 stored large documents, with its buffers.
UNPACKING_BYTES = 3 << 20
# A result that is sent in one piece is held twice for a moment; the pages of the interpreter for a request are extra.
REPLY_FIXED_BYTES = 1 << 20


class Stream(Protocol):
    """A signed document that is read while it is sent."""

    @property
    def total_bytes(self) -> int: ...

    def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """A document of a result: its row as it really ended, and the signed file (nothing where it is not signed).

    A small file is in memory, in `segments`. A large one is a `stream`, which is read from its payload while it is sent, and must
    be used before the next document is asked for. `media_type` is that of the file. `suffix`, such as `.p7m`, comes behind its
    name where it is of another type than the original.
    """

    row: DocumentRow
    segments: Sequence[bytes]
    stream: Stream | None = None
    media_type: str = ""
    suffix: str = ""

    @property
    def total_bytes(self) -> int:
        """The length of the file, as it is encoded."""
        return self.stream.total_bytes if self.stream is not None else sum(map(len, self.segments))

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The file from `start` to `stop` in pieces. Raises PayloadUnavailable: then the reply is cut."""
        stop = self.total_bytes if stop is None else stop
        if self.stream is not None:
            async for piece in self.stream.pieces(start, stop):
                yield piece
            return
        at = 0
        for segment in self.segments:
            first, last = max(start - at, 0), min(stop - at, len(segment))
            at += len(segment)
            if first < last:
                yield segment if last - first == len(segment) else segment[first:last]


def encode(row: DocumentRow, signed: "SignedDocument", encoding: Encoding) -> Delivered:
    """A document that is in memory."""
    parts = [segment for segment in signed.segments if not isinstance(segment, Stretch)]
    segments = (encode_segments(parts),) if encoding == "base64" else tuple(bytes(part) for part in parts)
    return Delivered(row, segments, media_type=signed.media_type or row.media_type, suffix=signed.suffix)


def encoded_bytes(total_bytes: int, encoding: Encoding) -> int:
    """How long a signed document is as it is encoded."""
    return encoded_length(total_bytes) if encoding == "base64" else total_bytes


def undelivered(row: DocumentRow, refusal: Refusal) -> Delivered:
    """A document that cannot be given back: signed but damaged in the store, or never signed."""
    if row.status is not DocumentStatus.SIGNED:
        return Delivered(row, ())
    failed = replace(row, status=DocumentStatus.ERROR_SIGNING, sign_error=refusal.sign_error, cause=refusal.cause)
    return Delivered(failed, ())


def signed_bytes(row: DocumentRow) -> int:
    return row.content_bytes + row.additional_bytes


def batches(rows: Sequence[DocumentRow], batch_bytes: int = BATCH_BYTES) -> Iterator[list[DocumentRow]]:
    """Rows in order, about `batch_bytes` of signed documents at a time. A larger document is alone."""
    batch: list[DocumentRow] = []
    total = 0
    for row in rows:
        if batch and total + signed_bytes(row) > batch_bytes:
            yield batch
            batch, total = [], 0
        batch.append(row)
        total += signed_bytes(row)
    if batch:
        yield batch


def is_streamed(row: DocumentRow, batch_bytes: int) -> bool:
    """Whether a document is too large to be held in memory as a whole."""
    return row.status is DocumentStatus.SIGNED and row.content_bytes > batch_bytes


def held_bytes(rows: Sequence[DocumentRow], batch_bytes: int, *, may_be_packed: bool) -> int:
    """What a delivery of these documents holds in memory at most, however large they are and however slowly its caller reads.

    `may_be_packed`: their payload may hold large documents that are compressed.
    """
    streamed, rest_bytes = 0, 0
    for row in rows:
        if is_streamed(row, batch_bytes):
            # What signing added is in memory: as it is stored, and decoded.
            streamed = max(streamed, STREAM_BYTES + 2 * row.additional_bytes + may_be_packed * UNPACKING_BYTES)
        else:
            rest_bytes += signed_bytes(row)
    in_batches = min(BATCHES_HELD * batch_bytes, REPLY_FIXED_BYTES + 3 * rest_bytes) if rest_bytes else 0
    return max(streamed, in_batches, REPLY_FIXED_BYTES)
