"""A frame that is written into a file while its content arrives. Its header is written last, in the room that is left for it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import xxhash

from batchseal.payloads.frames import HEADER_BYTES, FrameHeader, FrameKind, pack_header
from batchseal.payloads.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer


class GrowingFile(Protocol):
    """What such a frame needs of the file at whose end it is."""

    payload_id: UUID
    stored_bytes: int

    def write(self, buffers: "Sequence[Buffer | Pieces]", behind: int) -> None: ...

    def write_at(self, offset: int, content: bytes) -> None: ...

    def cut_back(self, length: int) -> None: ...

    def mapping(self, start: int, stop: int) -> memoryview: ...


class FileFrame:
    """A `GrowingFrame`. `kept` is called with its header, once it is written."""

    def __init__(
        self, file: GrowingFile, kind: FrameKind, ordinal: int, kept: Callable[[bytes], None] = lambda header: None
    ) -> None:
        self._file = file
        self._kind = kind
        self._ordinal = ordinal
        self._kept = kept
        self._begin = file.stored_bytes
        self._checksum = xxhash.xxh3_64()
        file.write([bytes(HEADER_BYTES)], self._begin + HEADER_BYTES)

    def write(self, content: "Buffer") -> None:
        part = memoryview(content).cast("B")
        self._file.write([part], self._file.stored_bytes + len(part))
        self._checksum.update(part)

    def content(self) -> memoryview:
        return self._file.mapping(self._begin + HEADER_BYTES, self._file.stored_bytes)

    def keep(self) -> None:
        length = self._file.stored_bytes - self._begin - HEADER_BYTES
        header = FrameHeader(self._kind, 0, self._ordinal, length, length, self._checksum.intdigest())
        packed = pack_header(header, self._file.payload_id, self._begin)
        self._file.write_at(self._begin, packed)
        self._kept(packed)

    def drop(self) -> None:
        self._file.cut_back(self._begin)
