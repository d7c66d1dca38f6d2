"""The payload stores that run the suite, each with what a test has to do to it from outside.

A new store is added to `STORES`.
"""

import os
import resource
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

from tests.support.key_files import key_file
from tests.support.memory_payloads import MemoryPayloads
from tests.support.object_stores import OthersObjects, SweptFolder, SweptObjects, new_prefix, proxied
from tests.support.stored_frames import headers_of, overwrite

from batchseal.errors import PayloadDamaged
from batchseal.payloads import local, segment_writer
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.encrypted import EncryptedPayloads
from batchseal.payloads.extents import extents_of
from batchseal.payloads.frames import HEADER_BYTES, FrameKind, unpack_header
from batchseal.payloads.interface import Frame, PayloadRecord, Payloads, Upload
from batchseal.payloads.keys import KeyFile
from batchseal.payloads.local import LocalPayloads


class StoreUnderTest(Protocol):
    """A store, and the faults that are outside its interface."""

    @property
    def payloads(self) -> Payloads: ...

    finds_by_id: bool
    """Whether an id stands for one place, so that a second payload of the same id has none."""
    shows_uploads: bool
    """Whether an upload is there to be seen before its commit."""

    def create(self, payload_id: UUID, through: Payloads | None = None) -> Upload:
        """An upload that the store takes in the way that is tried here. `through` is a store that stands around this one."""
        ...

    def ids(self) -> set[UUID]:
        """Everything that the store holds, unfinished uploads included."""
        ...

    def content(self, payload_id: UUID) -> bytes:
        """What is stored of a payload, for comparing it with what was there before."""
        ...

    def damage(self, payload_id: UUID, kind: FrameKind, ordinal: int) -> None:
        """Changes a byte in the content of one frame."""
        ...

    def cut_off(self, payload_id: UUID) -> None:
        """Takes a part of the last frame away, as a crash while it was written would."""
        ...

    def unavailable(self) -> AbstractContextManager[None]:
        """While it lasts nothing stored can be had."""
        ...

    def full(self, room_bytes: int) -> AbstractContextManager[None]:
        """While it lasts the uploads that there are get so many bytes more, and no others."""
        ...


class Local:
    """Files in a folder. What fails is failed by the operating system itself."""

    finds_by_id = shows_uploads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "payloads"
        self.folder.mkdir()
        self.payloads = LocalPayloads(self.folder)

    def create(self, payload_id: UUID, through: Payloads | None = None) -> Upload:
        return (through or self.payloads).create(payload_id)

    def path(self, payload_id: UUID) -> Path:
        """The file that holds the payload, from its first byte if it is large."""
        return self.payloads.path(payload_id)

    def ids(self) -> set[UUID]:
        return {UUID(path.stem) for path in self.folder.iterdir()}

    def content(self, payload_id: UUID) -> bytes:
        return self.payloads.path(payload_id).read_bytes()

    def damage(self, payload_id: UUID, kind: FrameKind, ordinal: int) -> None:
        path = self.payloads.path(payload_id)
        data, offset = bytearray(path.read_bytes()), 0
        while header := unpack_header(bytes(data[offset : offset + HEADER_BYTES]), payload_id, offset):
            if (header.kind, header.ordinal) == (kind, ordinal):
                data[offset + HEADER_BYTES] ^= 1
            offset += HEADER_BYTES + header.stored_bytes
        path.write_bytes(data)

    def cut_off(self, payload_id: UUID) -> None:
        path = self.payloads.path(payload_id)
        os.truncate(path, path.stat().st_size - 1)

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        away = self.folder.with_name("away")
        self.folder.rename(away)
        try:
            yield
        finally:
            away.rename(self.folder)

    @contextmanager
    def full(self, room_bytes: int) -> Iterator[None]:
        """The kernel writes up to the limit and refuses the rest, as a full disk does."""
        largest = max((path.stat().st_size for path in self.folder.iterdir()), default=0)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Segmented(Local):
    """The same folder, in which small payloads share segments. These are so small here that some payloads find no place."""

    finds_by_id = shows_uploads = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.by_size = PayloadsBySize(self.folder, segment_bytes=64 << 10)
        self.payloads = self.by_size  # type: ignore[assignment]

    def create(self, payload_id: UUID, through: Payloads | None = None) -> Upload:
        self.by_size.writer.make_ready()
        return (through or self.by_size).create(payload_id, 1000)

    def _places(self) -> dict[UUID, tuple[Path, int, int]]:
        """The file, the first byte and the length of each payload, without the header of its place."""
        found = {UUID(path.stem): (path, 0, path.stat().st_size) for path in self.folder.glob(f"*{local.SUFFIX}")}
        for path in self.folder.glob(f"*{segment_writer.SUFFIX}"):
            with path.open("rb") as file:
                for extent in extents_of(file.fileno(), UUID(path.stem)):
                    found[extent.payload_id] = path, extent.frames_offset, extent.length
        return found

    def path(self, payload_id: UUID) -> Path:
        return self._places()[payload_id][0]

    def ids(self) -> set[UUID]:
        return set(self._places())

    def content(self, payload_id: UUID) -> bytes:
        path, offset, length = self._places()[payload_id]
        with path.open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def damage(self, payload_id: UUID, kind: FrameKind, ordinal: int) -> None:
        path, base, _ = self._places()[payload_id]
        for header, offset in headers_of(self.content(payload_id), payload_id):
            if (header.kind, header.ordinal) == (kind, ordinal):
                overwrite(path, base + offset + HEADER_BYTES, lambda byte: byte ^ 1)

    def cut_off(self, payload_id: UUID) -> None:
        """Zeros are what the segment held before."""
        path, base, length = self._places()[payload_id]
        *_, (_, offset) = headers_of(self.content(payload_id), payload_id)
        for at in range(offset + HEADER_BYTES // 2, length):
            overwrite(path, base + at, lambda _: 0)

    @contextmanager
    def full(self, room_bytes: int) -> Iterator[None]:
        """There is no room for more segments, and files get so many bytes."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Memory:
    """The store that exists only in the tests."""

    finds_by_id = shows_uploads = True

    def __init__(self, _: Path) -> None:
        self.payloads = MemoryPayloads()

    def create(self, payload_id: UUID, through: Payloads | None = None) -> Upload:
        return (through or self.payloads).create(payload_id)

    def ids(self) -> set[UUID]:
        return set(self.payloads.stored)

    def content(self, payload_id: UUID) -> bytes:
        return repr(self.payloads.stored[payload_id].frames).encode()

    def damage(self, payload_id: UUID, kind: FrameKind, ordinal: int) -> None:
        self.payloads.damage(payload_id, kind, ordinal)

    def cut_off(self, payload_id: UUID) -> None:
        self.payloads.stored[payload_id].frames.pop()

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        self.payloads.faults.unavailable = True
        try:
            yield
        finally:
            self.payloads.faults.unavailable = False

    @contextmanager
    def full(self, room_bytes: int) -> Iterator[None]:
        faults, before = self.payloads.faults, self.payloads.faults.capacity_bytes
        faults.capacity_bytes = before - self.payloads.room_bytes() + room_bytes
        try:
            yield
        finally:
            faults.capacity_bytes = before


class Shared(Local):
    """A folder that several instances mount."""

    def __init__(self, folder: Path) -> None:
        self.volume = folder / "volume"
        self.volume.mkdir()
        self.shared = SweptFolder(self.volume)
        self.payloads = self.shared  # type: ignore[assignment]
        self.folder = self.volume / "payloads"

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        """The volume is not mounted: an empty folder stands where it was."""
        away = self.volume.with_name("away")
        self.volume.rename(away)
        self.volume.mkdir()
        try:
            yield
        finally:
            self.volume.rmdir()
            away.rename(self.volume)


class Objects(Local):
    """An object store, and the copies of the instance that puts payloads into it."""

    server = "seaweedfs"
    made: type[SweptObjects] = SweptObjects

    def __init__(self, folder: Path) -> None:
        self.proxy = proxied(self.server)
        self.objects = self.made(new_prefix(self.proxy), folder / "copies")
        self.payloads = self.objects  # type: ignore[assignment]
        self.folder = self.objects.copies.folder

    def _keys(self) -> set[UUID]:
        return set(self.objects.place.payloads())

    def ids(self) -> set[UUID]:
        return super().ids() | self._keys()

    def path(self, payload_id: UUID) -> Path:
        return self.objects.copies.unsettled(payload_id) or self.objects.copies.path(payload_id)

    def content(self, payload_id: UUID) -> bytes:
        """Without the index. What is not durable yet is in the copy alone."""
        try:
            data = self.objects.objects.get(self.objects.key(payload_id))[0]
        except PayloadDamaged:
            data = self.path(payload_id).read_bytes()
        header, offset = list(headers_of(data, payload_id))[-1]
        return data[:offset] if header.kind is FrameKind.UNKNOWN else data

    def _change(self, payload_id: UUID, change: Callable[[bytearray], None]) -> None:
        """Of the object and of its copy, which begins like it."""
        key, path = self.objects.key(payload_id), self.path(payload_id)
        data = bytearray(self.objects.objects.get(key)[0])
        change(data)
        self.objects.objects.put(key, bytes(data))
        if path.exists():
            path.write_bytes(data[: path.stat().st_size])

    def damage(self, payload_id: UUID, kind: FrameKind, ordinal: int) -> None:
        def flip(data: bytearray) -> None:
            for header, offset in headers_of(bytes(data), payload_id):
                if (header.kind, header.ordinal) == (kind, ordinal):
                    data[offset + HEADER_BYTES] ^= 1

        self._change(payload_id, flip)

    def cut_off(self, payload_id: UUID) -> None:
        """The index goes, and a byte of the last frame before it."""

        def cut(data: bytearray) -> None:
            *_, (_, index_offset) = headers_of(bytes(data), payload_id)
            del data[index_offset - 1 :]

        self._change(payload_id, cut)

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        self.proxy.away()
        try:
            with super().unavailable():
                yield
        finally:
            self.proxy.back()


class OthersObjectsUnderTest(Objects):
    """The same, read by another instance."""

    made = OthersObjects


class PoorObjects(OthersObjectsUnderTest):
    """A store that ignores preconditions and calls a range the whole."""

    server = "rclone"


class Encrypted:
    """Encryption around another store. Faults are those of what the other one holds."""

    def __init__(self, folder: Path, inner: StoreUnderTest) -> None:
        self.inner = inner
        self.finds_by_id, self.shows_uploads = inner.finds_by_id, inner.shows_uploads
        self.payloads = EncryptedPayloads(inner.payloads, KeyFile(key_file(folder / "payload.keys", "first")))

    def create(self, payload_id: UUID, through: Payloads | None = None) -> Upload:
        return self.inner.create(payload_id, through or self.payloads)

    def ids(self) -> set[UUID]:
        return self.inner.ids()

    def content(self, payload_id: UUID) -> bytes:
        return self.inner.content(payload_id)

    def damage(self, payload_id: UUID, kind: FrameKind, ordinal: int) -> None:
        self.inner.damage(payload_id, kind, ordinal)

    def cut_off(self, payload_id: UUID) -> None:
        self.inner.cut_off(payload_id)

    def unavailable(self) -> AbstractContextManager[None]:
        return self.inner.unavailable()

    def full(self, room_bytes: int) -> AbstractContextManager[None]:
        return self.inner.full(room_bytes)


STORES: dict[str, Callable[[Path], StoreUnderTest]] = {
    "local": Local,
    "segmented": Segmented,
    "memory": Memory,
    "shared": Shared,
    "s3": Objects,
    "s3 of others": OthersObjectsUnderTest,
    "poor s3 of others": PoorObjects,
    "local, encrypted": lambda folder: Encrypted(folder, Local(folder)),
    "segmented, encrypted": lambda folder: Encrypted(folder, Segmented(folder)),
    "memory, encrypted": lambda folder: Encrypted(folder, Memory(folder)),
    "shared, encrypted": lambda folder: Encrypted(folder, Shared(folder)),
    "s3 of others, encrypted": lambda folder: Encrypted(folder, OthersObjectsUnderTest(folder)),
}

# The conformance suite tries all of them. Tests of the whole way of a document take one of each kind, since a store that passes
# the suite is as good as another one.
SERVED = ("local", "segmented", "memory", "shared, encrypted", "s3 of others")


def begun(store: StoreUnderTest) -> Upload:
    upload = store.create(uuid4())
    upload.begin()
    return upload


def stored(store: StoreUnderTest, frames: Iterable[Frame]) -> PayloadRecord:
    """A payload that is committed and whose row would be."""
    upload = begun(store)
    upload.append(frames)
    record = upload.commit(durable=True)
    upload.release()
    return record


def documents(*contents: bytes) -> list[Frame]:
    return [(FrameKind.DOCUMENT, ordinal, content) for ordinal, content in enumerate(contents)]
