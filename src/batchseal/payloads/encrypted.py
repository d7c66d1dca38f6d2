"""Encryption around any payload store: what the store is given is encrypted already, and it knows no key.

A frame is compressed first where that is worth it, since nothing of it could be compressed afterwards. Its kind, its ordinal and
its length stay visible to the store, which finds frames by them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import zstandard

from batchseal.errors import PayloadDamaged, PayloadUnavailable
from batchseal.payloads.encryption import (
    DecryptedFrame,
    EncryptedPieces,
    FramePlace,
    PayloadCipher,
    cipher_of,
    encryption_for,
)
from batchseal.payloads.frames import ZSTD, FrameKind
from batchseal.payloads.interface import (
    CheckedFrame,
    GivenFrame,
    GrowingFrame,
    PayloadRecord,
    Payloads,
    StoredReader,
    Upload,
)
from batchseal.payloads.keys import KeyFile
from batchseal.payloads.packing import MOST_COMPRESSED_BYTES, Compressor
from batchseal.payloads.pieces import Pieces
from batchseal.payloads.wrapping import WrappedPayloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

# A larger frame is decrypted while it is read, so that it is held once.
LARGE_BYTES = MOST_COMPRESSED_BYTES


class EncryptedPayloads(WrappedPayloads):
    """A `Payloads` store. What was stored before there was a key is read as it is. To delete a payload takes no key."""

    def __init__(self, inner: Payloads, keys: KeyFile) -> None:
        super().__init__(inner)
        self._keys = keys

    @property
    def takes_parts(self) -> bool:
        """A document is planned from a mapping of the file that it is in, and there it would not be encrypted."""
        return False

    def create(self, payload_id: UUID, expected_bytes: int | None = None) -> "EncryptedUpload":
        encryption, cipher = encryption_for(self._keys.newest(), payload_id)
        upload = self._inner.create(payload_id, expected_bytes)
        return EncryptedUpload(upload, cipher, lambda record: msgspec.structs.replace(record, encryption=encryption))

    def open(self, record: PayloadRecord) -> StoredReader:
        """A key that is not in the file may be put there, so it is PayloadUnavailable. One that is said to be lost is damage."""
        if record.encryption is None:
            return self._inner.open(record)
        key_id = record.encryption.key_id
        key = self._keys.find(key_id)
        if key is None:
            raise PayloadUnavailable(f"--payload-key-file does not have the key {key_id!r} of the stored payload")
        if key.is_lost:
            raise PayloadDamaged(f"the stored payload is encrypted with the key {key_id!r}, which is lost")
        cipher = cipher_of(record.encryption, key, record.id)
        if cipher is None:
            raise PayloadUnavailable(
                f"--payload-key-file has another key {key_id!r} than the one that the stored payload is encrypted with"
            )
        return EncryptedReader(self._inner.open(msgspec.structs.replace(record, encryption=None)), cipher)


class EncryptedUpload:
    """An `Upload`. No two of its frames have the same number, whatever became of an `append`."""

    def __init__(self, inner: Upload, cipher: PayloadCipher, named: "Callable[[PayloadRecord], PayloadRecord]") -> None:
        """`named` puts into a record what the payload is encrypted with."""
        self._inner = inner
        self._cipher = cipher
        self._named = named
        self._numbers = count()
        self._compressor = Compressor()

    @property
    def payload_id(self) -> UUID:
        return self._inner.payload_id

    @property
    def stored_bytes(self) -> int:
        return self._inner.stored_bytes

    @property
    def begins_at_once(self) -> bool:
        return self._inner.begins_at_once

    def begin(self) -> None:
        self._inner.begin()

    def publish(self) -> None:
        self._inner.publish()

    def append(self, frames: Iterable[GivenFrame]) -> list[int]:
        return self._inner.append((kind, n, self._encrypted(kind, n, content)) for kind, n, content in frames)

    def _encrypted(self, kind: FrameKind, ordinal: int, content: "Buffer | Pieces") -> "Buffer | Pieces":
        if isinstance(content, Pieces):
            content = b"".join(map(memoryview, content))
        compressed, flags = self._compressor.pack(kind, memoryview(content).cast("B"))
        place = FramePlace.of_new(kind, ordinal, next(self._numbers), flags, len(compressed))
        if place.pieces > 1:
            return EncryptedPieces(self._cipher, place, compressed)
        return self._cipher.encrypt(place, compressed)

    def grow(self, kind: FrameKind, ordinal: int) -> GrowingFrame:
        raise ValueError("an encrypted payload takes no parts")

    def flush(self) -> None:
        self._inner.flush()

    def commit(self, *, durable: bool) -> PayloadRecord:
        return self._named(self._inner.commit(durable=durable))

    def sync_ahead(self) -> "Callable[[], None] | None":
        return self._inner.sync_ahead()

    def release(self) -> None:
        self._inner.release()

    def abandon(self) -> None:
        self._inner.abandon()


@dataclass(frozen=True, slots=True)
class HeldFrame:
    """A `CheckedFrame` that is small enough to be held."""

    content: bytes

    @property
    def total_bytes(self) -> int:
        return len(self.content)

    def read(self, start: int, stop: int) -> bytes:
        return self.content[start:stop] if start < stop else b""


class EncryptedReader:
    """A `StoredReader`. Nothing that it returns, and nothing that it counts as whole, was not encrypted for its place."""

    def __init__(self, inner: StoredReader, cipher: PayloadCipher) -> None:
        self._inner = inner
        self._cipher = cipher

    def ordinals(self, kind: FrameKind) -> set[int]:
        return {ordinal for ordinal in self._inner.ordinals(kind) if self._is_whole(kind, ordinal)}

    def _is_whole(self, kind: FrameKind, ordinal: int) -> bool:
        try:
            self._frame(kind, ordinal).require_whole()
        except PayloadDamaged:
            return False
        return True

    def has(self, kind: FrameKind, ordinal: int) -> bool:
        return self._inner.has(kind, ordinal)

    def stored_bytes(self, kind: FrameKind, ordinal: int) -> int:
        return self._inner.stored_bytes(kind, ordinal)

    def read(self, kind: FrameKind, ordinal: int) -> bytes:
        return _unpacked(self._frame(kind, ordinal))

    def checked(self, kind: FrameKind, ordinal: int) -> CheckedFrame:
        """A small frame is read as a whole. Of a large one each piece is decrypted now, and once more when it is asked for."""
        frame = self._frame(kind, ordinal)
        if frame.total_bytes <= LARGE_BYTES:  # what is compressed is never larger
            return HeldFrame(_unpacked(frame))
        frame.require_whole()
        return frame

    def _frame(self, kind: FrameKind, ordinal: int) -> DecryptedFrame:
        """Nothing of it was decrypted yet."""
        stored_bytes = self._inner.stored_bytes(kind, ordinal)
        if stored_bytes > LARGE_BYTES:
            checked = self._inner.checked(kind, ordinal)
            return DecryptedFrame(self._cipher, kind, ordinal, checked.total_bytes, checked.read)
        stored = memoryview(self._inner.read(kind, ordinal))
        return DecryptedFrame(self._cipher, kind, ordinal, len(stored), lambda start, stop: stored[start:stop])

    def close(self) -> None:
        self._inner.close()


def _unpacked(frame: DecryptedFrame) -> bytes:
    content = frame.content()
    if not frame.flags & ZSTD:
        return content
    try:
        return zstandard.ZstdDecompressor().decompress(content, max_output_size=MOST_COMPRESSED_BYTES)
    except zstandard.ZstdError as problem:
        raise PayloadDamaged(f"{frame.what} cannot be unpacked: {problem}") from None
