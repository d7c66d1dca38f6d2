"""Payloads as the bytes that a store keeps of them: read for a backup, and put back under the same record.

Nothing is decrypted or checked here but that the payload is there. A backup has a checksum of its own, and the frames of a
payload check themselves when they are read again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from batchseal.errors import PayloadDamaged
from batchseal.payloads.extents import Extent, lock_to_read, unpack_header
from batchseal.payloads.interface import PayloadRecord
from batchseal.payloads.local import SUFFIX as FILE_SUFFIX
from batchseal.payloads.reader import available, open_payload
from batchseal.payloads.segment_writer import SUFFIX as SEGMENT_SUFFIX
from batchseal.settings.load import Settings
from batchseal.system.disk import sync
from batchseal.system.folders import SAFE, own_folder
from batchseal.system.owner import as_owner_of

if TYPE_CHECKING:
    from batchseal.payloads.objects import Objects

BLOCK_BYTES = 1 << 20
OBJECT_BLOCK_BYTES = 8 << 20


class RawPayloads(Protocol):
    """The bytes of payloads. All methods block, and raise PayloadUnavailable."""

    def read(self, record: PayloadRecord) -> Iterator[bytes]:
        """The bytes, in blocks. Raises PayloadDamaged, before the first block or later, where the payload is not there."""
        ...

    def write(self, record: PayloadRecord, blocks: Iterator[bytes]) -> None:
        """Puts a payload back. One that is there already has the same content, whether or not it is written again."""
        ...

    def settle(self) -> None:
        """What was written has survived a power cut when this returns."""
        ...


class LocalRaw:
    """Those of the default store: files, and extents of segments, in the folder of one instance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: set[Path] = set()

    def _path(self, record: PayloadRecord) -> Path:
        name = f"{record.id}{FILE_SUFFIX}" if record.segment is None else f"{record.segment}{SEGMENT_SUFFIX}"
        return self._folder / name

    def read(self, record: PayloadRecord) -> Iterator[bytes]:
        descriptor = open_payload(self._path(record), os.O_RDONLY)
        try:
            with available("a stored payload cannot be read"):
                if record.segment is None:
                    yield from blocks_of(descriptor, 0, os.fstat(descriptor).st_size)
                else:
                    extent = Extent(record.id, record.offset, record.length)
                    # Whoever purges it meanwhile leaves it to a sweep; otherwise zeros would be taken for the payload.
                    lock_to_read(descriptor, extent.offset)
                    first = os.pread(descriptor, BLOCK_BYTES, extent.offset)
                    if unpack_header(first, record.segment, extent.offset) != extent:
                        raise PayloadDamaged("the stored payload is not in its segment any more")
                    yield from blocks_of(descriptor, extent.offset, extent.behind)
        finally:
            os.close(descriptor)

    def write(self, record: PayloadRecord, blocks: Iterator[bytes]) -> None:
        path, offset = self._path(record), record.offset if record.segment is not None else 0
        with available("a payload cannot be written"):
            with own_folder(self._folder) as folder:
                descriptor = os.open(path.name, os.O_WRONLY | os.O_CREAT | SAFE, 0o600, dir_fd=folder)
            try:
                for block in blocks:
                    write_all(descriptor, block, offset)
                    offset += len(block)
            finally:
                os.close(descriptor)
        self._written.add(path)

    def settle(self) -> None:
        with available("the payloads cannot be brought to the disk"):
            for path in self._written:
                sync(path)
            sync(self._folder)


class SharedRaw:
    """Those of a folder that several instances mount. Its owner gets what is made in it, also where root puts payloads back."""

    def __init__(self, folder: Path) -> None:
        from batchseal.payloads.shared import PAYLOADS

        self._volume = folder
        self._folder = folder / PAYLOADS

    def _name(self, payload_id: UUID) -> str:
        from batchseal.payloads.shared_upload import WHOLE

        return f"{payload_id}{WHOLE}"

    def read(self, record: PayloadRecord) -> Iterator[bytes]:
        descriptor = open_payload(self._folder / self._name(record.id), os.O_RDONLY)
        try:
            with available("a stored payload cannot be read"):
                yield from blocks_of(descriptor, 0, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def write(self, record: PayloadRecord, blocks: Iterator[bytes]) -> None:
        name = self._name(record.id)
        draft = f".{name}.draft"
        with available("a payload cannot be written"):
            self._volume.mkdir(mode=0o700, parents=True, exist_ok=True)
            with as_owner_of(self._volume), self._made() as folder:
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | SAFE, 0o600, dir_fd=folder)
                try:
                    offset = 0
                    for block in blocks:
                        write_all(descriptor, block, offset)
                        offset += len(block)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)

    @contextmanager
    def _made(self) -> Iterator[int]:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with own_folder(self._folder) as folder:
            yield folder

    def settle(self) -> None:
        with available("the payloads cannot be brought to the disk"), as_owner_of(self._volume):
            for folder in (self._folder, self._volume):
                if folder.exists():  # a backup without payloads makes none
                    sync(folder)


class ObjectRaw:
    """Those of an object store."""

    def __init__(self, objects: "Objects", folder: str) -> None:
        self._objects = objects
        self._name = folder

    def _key(self, payload_id: UUID) -> str:
        return f"{self._name}/{payload_id}"

    def read(self, record: PayloadRecord) -> Iterator[bytes]:
        key = self._key(record.id)
        size = self._objects.size(key)
        if size is None:
            raise PayloadDamaged("the object of the payload is not in the store")
        for start in range(0, size, OBJECT_BLOCK_BYTES):
            stop = min(size, start + OBJECT_BLOCK_BYTES)
            block = self._objects.read(key, start, stop)
            if len(block) != stop - start:
                raise PayloadDamaged("the stored payload ends too early")
            yield block

    def write(self, record: PayloadRecord, blocks: Iterator[bytes]) -> None:
        key = self._key(record.id)
        if self._objects.size(key) is not None:
            for _ in blocks:
                pass
            return
        first = next(blocks, b"")
        second = next(blocks, None)
        if second is None:
            self._objects.put(key, first)
        else:
            self._objects.put_parts(key, chained(first, second, blocks))

    def settle(self) -> None:
        """An object is durable once the store has taken it."""


def raw_payloads(settings: Settings) -> RawPayloads:
    """Those of the store that the settings name. Raises ConfigurationError."""
    from batchseal.payloads.stores import LOCAL

    if settings.payload_store == LOCAL:
        return LocalRaw(settings.spill_folder)
    from batchseal.settings.payload_stores import parse_store

    address = parse_store(settings.payload_store)
    if address.objects is None:
        return SharedRaw(address.folder)
    from batchseal.payloads.s3 import FOLDER
    from batchseal.payloads.stores import objects_of

    objects, _ = objects_of(settings, address.objects)
    return ObjectRaw(objects, FOLDER)


def blocks_of(descriptor: int, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of a file between two offsets. Raises OSError, PayloadDamaged where the file ends before."""
    while start < stop:
        block = os.pread(descriptor, min(BLOCK_BYTES, stop - start), start)
        if not block:
            raise PayloadDamaged("the stored payload ends too early")
        start += len(block)
        yield block


def write_all(descriptor: int, block: bytes, offset: int) -> None:
    left = memoryview(block)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def chained(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest
