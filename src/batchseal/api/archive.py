"""Signed documents as a zip file. The file is written while it is sent; it is never whole in memory or on disk."""

import io
import re
import unicodedata
import zipfile
from collections.abc import AsyncIterable, AsyncIterator

from batchseal.api.offered_service import Delivered, Operation
from batchseal.api.result import LARGE_BYTES, Pieces

MAX_NAME_BYTES = 240
MAX_EXTENSION_CHARACTERS = 10
UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


class Sink(io.RawIOBase):
    """Collects what the zip writer writes until `take` fetches it.

    It cannot seek. Therefore `zipfile` writes the sizes and the checksum of an entry after its data (APPNOTE.TXT 4.3.9).
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.written.append(bytes(data))
        return len(data)

    def take(self) -> list[bytes]:
        """Returns the bytes written since the last call, and forgets them."""
        taken, self.written = self.written, []
        return taken


async def stream_archive(operation: Operation, delivered: AsyncIterable[Delivered]) -> AsyncIterator[bytes]:
    """Yields the bytes of a zip file with the signed documents in the order of the request.

    An entry is called `<externalRef>.<documentName>`, with `.p7m` or `.p7s` behind it for a CAdES signature. It is stored
    without compression. `delivered` must give raw documents (not base64). A document that is not signed, or that storage returns
    damaged, gets no entry.
    """
    sink, pieces, names = Sink(), Pieces(), Names()
    moment = operation.created_at.timetuple()[:6]
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        async for document in delivered:
            if not document.total_bytes:
                continue
            large = document.total_bytes > LARGE_BYTES
            name = document.row.name + document.suffix
            entry = zipfile.ZipInfo(names.entry(document.row.external_reference, name), moment)
            entry.external_attr = 0o644 << 16
            entry.file_size = document.total_bytes
            with archive.open(entry, "w") as file:
                async for content in document.pieces():
                    file.write(content)
                    for piece in [p for data in sink.take() for p in pieces.add(data, pass_on=large)]:
                        yield piece
            for piece in [p for data in sink.take() for p in pieces.add(data)]:
                yield piece
    for piece in [*(p for data in sink.take() for p in pieces.add(data)), *pieces.flush()]:
        yield piece


class Names:
    """Makes entry names that are unique in one archive and safe on every file system."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def entry(self, external_reference: str, name: str) -> str:
        wanted = safe(f"{external_reference}.{name}")
        stem, dot, extension = wanted.rpartition(".")
        entry, number = wanted, 1
        # Compare without regard to case: on Windows and macOS, `A.pdf` would overwrite `a.pdf`.
        while entry.casefold() in self._taken:
            number += 1
            entry = f"{stem} ({number}){dot}{extension}"
        self._taken.add(entry.casefold())
        return entry


def safe(name: str) -> str:
    """Returns `name` as a safe file name.

    Path separators and control characters become `_`; dots and spaces at both ends are removed. The name is cut to
    MAX_NAME_BYTES of UTF-8, and its extension is kept unless it has more than MAX_EXTENSION_CHARACTERS characters.
    """
    name = unicodedata.normalize("NFC", UNSAFE.sub("_", name)).lstrip(". ").rstrip(". ")
    stem, dot, extension = name.rpartition(".")
    if len(extension) > MAX_EXTENSION_CHARACTERS:
        stem, dot, extension = name, "", ""
    while len(name.encode()) > MAX_NAME_BYTES:
        stem = stem[:-1]
        name = stem + dot + extension
    return name or "document"
