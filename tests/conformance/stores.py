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

from tests.support.memory_payloads import MemoryPayloads

from batchseal.payloads.frames import HEADER_BYTES, FrameKind, unpack_header
from batchseal.payloads.interface import Frame, PayloadRecord, Payloads, Upload
from batchseal.payloads.local import LocalPayloads


class StoreUnderTest(Protocol):
    """A store, and the faults that are outside its interface."""

    @property
    def payloads(self) -> Payloads: ...

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

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "payloads"
        self.folder.mkdir()
        self.payloads = LocalPayloads(self.folder)

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


class Memory:
    """The store that exists only in the tests."""

    def __init__(self, _: Path) -> None:
        self.payloads = MemoryPayloads()

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


STORES: dict[str, Callable[[Path], StoreUnderTest]] = {"local": Local, "memory": Memory}


def begun(store: StoreUnderTest) -> Upload:
    upload = store.payloads.create(uuid4())
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
