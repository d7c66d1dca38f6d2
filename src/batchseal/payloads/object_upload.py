"""Writes a payload into an object store: into a local file first, and from there into the store while the body still arrives.

The local file stays as a copy. It also means that a slow store holds up nobody who sends a body, but only the acknowledgement.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from batchseal.errors import BatchsealError, NoSpace, PayloadUnavailable
from batchseal.payloads.copies import LocalCopies
from batchseal.payloads.frame_index import index_frame
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.growing import FileFrame
from batchseal.payloads.interface import STORES_LARGE_AS_IT_IS, GivenFrame, PayloadRecord
from batchseal.payloads.objects import PART_BYTES, PARTS_IN_FLIGHT, Objects
from batchseal.payloads.packing import Packing
from batchseal.payloads.pieces import Pieces
from batchseal.payloads.writing import BeingWritten
from batchseal.system.crash_sites import crash_site
from batchseal.system.folders import SAFE, own_folder

# The client is given the file in pieces of this size, so that it holds little beside the parts that are under way.
PIECE_BYTES = 1 << 20
# What an upload holds in memory for the store at most. obstore takes the next piece before it waits for one of the parts.
UPLOAD_BYTES = PARTS_IN_FLIGHT * PART_BYTES


class PartSender:
    """A multipart upload of a file that grows. It has a thread of its own, which does nothing but wait most of the time."""

    def __init__(self, objects: Objects, key: str, descriptor: int) -> None:
        self._objects = objects
        self._key = key
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._available = 0
        self._tail: bytes | None = None  # what follows the file; set when the file is complete
        self._is_given_up = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="payload upload", daemon=True)
        self._thread.start()

    def available(self, file_bytes: int) -> None:
        """So much of the file will not change any more. Raises PayloadUnavailable, NoSpace where the upload has failed."""
        with self._changed:
            self._available = file_bytes
            self._changed.notify()
        if not self._thread.is_alive():
            self._raise_failure()

    def end(self, tail: bytes) -> None:
        """The file is complete, and `tail` follows it."""
        with self._changed:
            self._tail = tail
            self._changed.notify()

    def wait(self) -> None:
        """Returns when the store has acknowledged the whole object. Raises PayloadUnavailable, NoSpace."""
        self._thread.join()
        self._raise_failure()

    def give_up(self) -> None:
        """Returns when the upload was aborted, or has ended."""
        with self._changed:
            self._is_given_up = True
            self._changed.notify()
        self._thread.join()

    def _raise_failure(self) -> None:
        if isinstance(self._failure, NoSpace):
            raise NoSpace(self._failure.cause, retry_after_seconds=self._failure.retry_after_seconds)
        if self._failure is not None:
            cause = self._failure.cause if isinstance(self._failure, BatchsealError) else str(self._failure)
            raise PayloadUnavailable(cause)

    def _run(self) -> None:
        try:
            self._objects.put_parts(self._key, self._pieces())
        except BaseException as problem:
            self._failure = problem
        finally:
            os.close(self._descriptor)

    def _pieces(self) -> Iterator[bytes]:
        at = 0
        while True:
            with self._changed:
                while not self._is_given_up and self._tail is None and self._available < at + PIECE_BYTES:
                    self._changed.wait()
                if self._is_given_up:
                    # This is what makes the client abort the upload.
                    raise PayloadUnavailable("the upload was given up")
                behind, tail = self._available, self._tail
            if at == behind and tail is not None:
                yield tail
                return
            piece = read_all(self._descriptor, at, min(behind, at + PIECE_BYTES))
            at += len(piece)
            yield piece


class ObjectUpload:
    """An `Upload`. A payload that is smaller than a part is stored by one request, when it is complete."""

    def __init__(
        self,
        objects: Objects,
        copies: LocalCopies,
        payload_id: UUID,
        key: str,
        written: BeingWritten,
    ) -> None:
        self.payload_id = payload_id
        self._objects = objects
        self._copies = copies
        self._key = key
        self._written = written
        self._file = copies.create(payload_id)
        self._packing = Packing(payload_id)
        self._headers = bytearray()
        self._sender: PartSender | None = None
        self._record: PayloadRecord | None = None
        self._is_begun = False

    @property
    def begins_at_once(self) -> bool:
        return False

    @property
    def stored_bytes(self) -> int:
        return self._file.stored_bytes

    def begin(self) -> None:
        """Raises NoSpace, PayloadUnavailable."""
        if self._copies.has(self.payload_id):
            raise NoSpace("there is a payload of this id already")
        self._objects.watch.need()
        self._objects.need_marker_lately()
        self._file.begin()
        self._is_begun = True
        self._written.begins(self.payload_id)

    def publish(self) -> None:
        """The name of the local file need not survive anything."""

    def append(self, frames: Iterable[GivenFrame]) -> list[int]:
        """Raises NoSpace, PayloadUnavailable; ValueError after the commit."""
        if self._record is not None:
            raise ValueError("a payload that is committed is never written again")
        buffers, sizes, behind = self._packing.pack(frames, self.stored_bytes)
        self._file.write(buffers, behind)
        for header in buffers[::2]:
            assert not isinstance(header, Pieces)
            self._headers += header
        self._send_ahead()
        return sizes

    def _send_ahead(self) -> None:
        """What was appended does not change any more."""
        if self._sender is None and self.stored_bytes >= PART_BYTES:
            self._sender = PartSender(self._objects, self._key, self._open())
        if self._sender is not None:
            self._sender.available(self.stored_bytes)

    def grow(self, kind: FrameKind, ordinal: int) -> FileFrame:
        """Raises NoSpace. What is sent ahead ends before the frame until that is kept, since its header is written last."""

        def kept(header: bytes) -> None:
            self._headers += header
            self._send_ahead()

        return self._file.grow(kind, ordinal, kept)

    def flush(self) -> None:
        """The local file need not survive anything."""

    def commit(self, *, durable: bool) -> PayloadRecord:
        """Raises NoSpace, PayloadUnavailable."""
        tail = index_frame(self._headers, self.payload_id, self.stored_bytes)
        if durable or self._sender is not None:
            self._send(tail)
            self._copies.settle(self.payload_id)
        self._record = PayloadRecord(
            id=self.payload_id,
            stored_bytes=self.stored_bytes,
            version=STORES_LARGE_AS_IT_IS,
            index_offset=self.stored_bytes,
            index_bytes=len(tail),
        )
        crash_site("payload-committed")
        return self._record

    def _send(self, tail: bytes) -> None:
        try:
            if self._sender is not None:
                self._sender.end(tail)
                self._sender.wait()
            else:
                self._objects.put(self._key, whole(self._open(), self.stored_bytes) + tail)
        except PayloadUnavailable:
            # The last answer may have been lost on its way here. The key is of this payload alone.
            if self._objects.size(self._key) != self.stored_bytes + len(tail):
                raise

    def _open(self) -> int:
        """A descriptor for reading the local file."""
        return open_to_read(self._file.path)

    def sync_ahead(self) -> None:
        """The signer puts the payload into the store: it is told of it before the operation is registered."""
        return None

    def release(self) -> None:
        self._file.release()
        self._written.ended(self.payload_id)

    def abandon(self) -> None:
        if not self._is_begun:
            return
        if self._sender is not None:
            self._sender.give_up()
        self._file.abandon()
        with suppress(PayloadUnavailable):
            self._copies.delete([PayloadRecord(self.payload_id)])
        if self._record is not None or self._sender is not None:
            # The signer may have put the object there, although this upload has not. The sweep takes what cannot be removed now.
            with suppress(PayloadUnavailable):
                self._objects.delete([self._key])
        self._written.ended(self.payload_id)


def open_to_read(path: Path) -> int:
    """Raises PayloadUnavailable."""
    try:
        with own_folder(path.parent) as folder:
            return os.open(path.name, os.O_RDONLY | SAFE, dir_fd=folder)
    except OSError as problem:
        raise PayloadUnavailable(f"the local file of a payload cannot be opened: {problem.strerror}") from None


def whole(descriptor: int, length: int) -> bytes:
    """The first `length` bytes of a file, which is closed. Raises PayloadUnavailable."""
    try:
        return read_all(descriptor, 0, length)
    finally:
        os.close(descriptor)


def read_all(descriptor: int, start: int, stop: int) -> bytes:
    """Raises PayloadUnavailable where the file does not have these bytes."""
    try:
        data = os.pread(descriptor, stop - start, start)
        while len(data) < stop - start:
            if not (more := os.pread(descriptor, stop - start - len(data), start + len(data))):
                raise PayloadUnavailable("the local file of a payload is shorter than what was written")
            data += more
    except OSError as problem:
        raise PayloadUnavailable(f"the local file of a payload cannot be read: {problem.strerror}") from None
    return data
