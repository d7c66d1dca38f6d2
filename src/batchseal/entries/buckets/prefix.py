"""A prefix of a bucket as a place with files: what goes wrong is an OSError, as it is with folders.

Its calls block. The store is asked by the client of the payload store (`payloads/objects.py`), with its time-outs and its memory
of whether the store is away.
"""

import errno
import hashlib
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from batchseal.entries.files import Seen
from batchseal.errors import BatchsealError, NoSpace, PayloadDamaged
from batchseal.payloads.objects import PART_BYTES, Objects, Stored

BLOCK_BYTES = 1 << 20
# So many requests of a hot folder are under way, of which one may be about an object that is larger than a block.
AT_ONCE = 8
# Of a key with the prefix, in UTF-8 (docs.aws.amazon.com: "Naming Amazon S3 objects").
MOST_KEY_BYTES = 1024
MD5 = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")
R = TypeVar("R")


class AtOnce:
    """Several requests at the same time. `large` is held for an object of more than a block, so that memory stays bounded."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, "bucket")
        self.large = threading.Lock()

    def map(self, work: Callable[[T], R], given: Iterable[T]) -> list[R]:
        """The results in their order. All of the work has ended when the first error is raised."""
        running = [self._pool.submit(work, one) for one in given]
        wait(running)
        return [one.result() for one in running]

    @contextmanager
    def room_for(self, size: int) -> Iterator[None]:
        if size <= BLOCK_BYTES:
            yield
            return
        with self.large:
            yield

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Kept:
    """A file of this machine that has no name, with the digests of what is written into it. `folder` is where it lies."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (whoever asked for it closes it)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def write(self, pieces: "Iterable[bytes | memoryview]") -> None:
        """Writes what comes next."""
        for piece in pieces:
            self._file.write(piece)
            self._sha256.update(piece)
            self._md5.update(piece)
            self.size += len(piece)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    def parts(self) -> Iterator[bytes]:
        """All of it, in parts of an upload."""
        self._file.seek(0)
        while part := self._file.read(PART_BYTES):
            yield part

    def close(self) -> None:
        """May be called twice."""
        self._file.close()


class Prefix:
    """`at_once` is that of the hot folder."""

    def __init__(self, objects: Objects, at_once: AtOnce) -> None:
        self._objects = objects
        self._at_once = at_once
        self.said = f"s3://{objects.address.bucket}/{objects.address.prefix}".rstrip("/")
        self.most_path_bytes = MOST_KEY_BYTES - len(objects.address.prefix.encode()) - 1

    def pages(self, folder: str = "") -> Iterator[list[Stored]]:
        """The objects below a folder, or all of them, some at a time."""
        with self._asking():
            yield from self._objects.list(folder)

    def look_at(self, key: str) -> Stored | None:
        """None where there is no such object."""
        with self._asking():
            return self._objects.look_at(key)

    def get(self, key: str, size: int | None = None) -> tuple[bytes, Stored]:
        """All of an object, of one version. Raises FileNotFoundError.

        `size` is the length that it had when it was seen. One of another length has replaced it and is not read: somebody else
        has brought it, and it may be larger than what there is memory for.
        """
        found, blocks = self.stream(key, size)
        return b"".join(blocks), found

    def stream(self, key: str, size: int | None = None) -> tuple[Stored, Iterator[bytes]]:
        """The same in blocks, each of which is read when it is asked for."""
        with self._asking():
            found, blocks = self._objects.stream(key, BLOCK_BYTES)
            if size is not None and found.size != size:
                raise FileNotFoundError(errno.ENOENT, "the object was replaced", self.said)
            return found, self._asked(blocks)

    def _asked(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        with self._asking():
            yield from blocks

    def read(self, key: str, start: int, stop: int) -> bytes:
        """The bytes between two offsets. Raises FileNotFoundError."""
        with self._asking():
            return self._objects.read(key, start, stop)

    def put(self, key: str, content: bytes) -> None:
        """A small object of our own, which may replace the one of this name."""
        with self._asking():
            self._objects.put(key, content)

    def delete(self, keys: Sequence[str]) -> None:
        with self._asking():
            self._objects.delete(keys)

    def fetch(self, key: str, etag: str, into: Kept) -> bool:
        """Copies an object into a file. False where there is none, or another one than that of the ETag."""
        try:
            with self._asking():
                found, blocks = self._objects.stream(key, BLOCK_BYTES)
                if found.etag != etag:
                    return False
                into.write(blocks)
        except FileNotFoundError:
            return False
        return into.size == found.size

    def store(self, key: str, kept: Kept) -> None:
        """Stores a file, and compares what the store has with it. Raises OSError where they are not the same.

        Where the ETag is the MD5 of what was sent, the store has received just that. Else all of it is read back.
        """
        with self._at_once.room_for(kept.size), self._asking():
            if kept.size <= PART_BYTES:
                etag = self._objects.put(key, b"".join(kept.parts()))
            else:
                etag = self._objects.put_parts(key, kept.parts())
            found = self._objects.look_at(key)
            if found is not None and found.size == kept.size and etag == found.etag == kept.md5:
                return
        if not self.holds(key, kept.size, kept.sha256):
            raise OSError(errno.EIO, "the store does not give back what it was given", self.said)

    def holds(self, key: str, size: int, sha256: str, md5: str = "") -> bool:
        """Whether there is an object with just this content. `md5` may spare the reading of it."""
        found = self.look_at(key)
        if found is None or found.size != size:
            return False
        if md5 and MD5.fullmatch(found.etag):
            return found.etag == md5
        digest = hashlib.sha256()
        try:
            with self._at_once.room_for(size), self._asking():
                for block in self._objects.stream(key, BLOCK_BYTES)[1]:
                    digest.update(block)
        except FileNotFoundError:
            return False
        return digest.hexdigest() == sha256

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except PayloadDamaged:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", self.said) from None
        except NoSpace as problem:
            raise OSError(errno.ENOSPC, problem.cause, self.said) from None
        except BatchsealError as problem:
            raise OSError(errno.EAGAIN, problem.cause, self.said) from None


class ObjectSource:
    """A `Source`: an object as it was seen. A small one is read by one request.

    Raises FileNotFoundError. An object is complete as soon as it can be seen, so there is no doubt about it.
    """

    def __init__(self, prefix: Prefix, file: Seen) -> None:
        self._prefix = prefix
        self._path = file.path
        self.size = file.size
        self._all: bytes | None = None

    def read_at(self, count: int, offset: int) -> bytes:
        if self.size > BLOCK_BYTES:
            return self._prefix.read(self._path, offset, min(offset + count, self.size))
        if self._all is None:
            self._all = self._prefix.get(self._path, self.size)[0]
        return self._all[offset : offset + count]

    def blocks(self) -> Iterator[bytes]:
        for offset in range(0, self.size, BLOCK_BYTES):
            yield self.read_at(BLOCK_BYTES, offset)

    def doubt(self) -> str:
        return ""
