"""Signed documents as a zip file, written while it is sent."""

import io
import re
import unicodedata
import zipfile
from collections.abc import AsyncIterable, AsyncIterator

from batchseal.api.offered_service import Delivered, Operation
from batchseal.api.result import Pieces

MAX_NAME_BYTES = 240
MAX_EXTENSION_CHARACTERS = 10
UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


class Sink(io.RawIOBase):
    """What the zip writer wrote and nobody took yet. It cannot seek, so sizes follow each entry."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.written.append(bytes(data))
        return len(data)

    def take(self) -> list[bytes]:
        taken, self.written = self.written, []
        return taken


async def stream_archive(operation: Operation, delivered: AsyncIterable[Delivered]) -> AsyncIterator[bytes]:
    """Entries `<externalRef>.<documentName>` in the order of the request, stored; `delivered` has raw
    segments.

    A document that is not signed, or comes back damaged, has no entry.
    """
    sink, pieces, names = Sink(), Pieces(), Names()
    moment = operation.created_at.timetuple()[:6]
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        async for document in delivered:
            if not document.segments:
                continue
            entry = zipfile.ZipInfo(names.entry(document.row.external_reference, document.row.name), moment)
            entry.external_attr = 0o644 << 16
            entry.file_size = sum(len(segment) for segment in document.segments)
            with archive.open(entry, "w") as file:
                for segment in document.segments:
                    file.write(segment)
                    for piece in [p for data in sink.take() for p in pieces.add(data)]:
                        yield piece
            for piece in [p for data in sink.take() for p in pieces.add(data)]:
                yield piece
    for piece in [*(p for data in sink.take() for p in pieces.add(data)), *pieces.flush()]:
        yield piece


class Names:
    """Entry names that are unique in one archive and safe on every file system."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def entry(self, external_reference: str, name: str) -> str:
        wanted = safe(f"{external_reference}.{name}")
        stem, dot, extension = wanted.rpartition(".")
        entry, number = wanted, 1
        # Compared without case: Windows and macOS would write one over the other.
        while entry.casefold() in self._taken:
            number += 1
            entry = f"{stem} ({number}){dot}{extension}"
        self._taken.add(entry.casefold())
        return entry


def safe(name: str) -> str:
    """`name` without separators, control characters and leading dots, cut to what file systems take."""
    name = unicodedata.normalize("NFC", UNSAFE.sub("_", name)).lstrip(". ").rstrip(". ")
    stem, dot, extension = name.rpartition(".")
    if len(extension) > MAX_EXTENSION_CHARACTERS:
        stem, dot, extension = name, "", ""
    while len(name.encode()) > MAX_NAME_BYTES:
        stem = stem[:-1]
        name = stem + dot + extension
    return name or "document"
