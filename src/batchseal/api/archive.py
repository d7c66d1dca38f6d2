"""Signed documents as a zip file. The file is written while it is sent; it is never whole in memory or on disk."""

import io
import re
import unicodedata
import zipfile
from collections.abc import AsyncIterable, AsyncIterator

from batchseal.api.offered_service import Delivered, Operation, Records
from batchseal.api.result import LARGE_BYTES, Pieces

MAX_NAME_BYTES = 240
MAX_EXTENSION_CHARACTERS = 10
RECORD_SUFFIX = ".ers"
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


async def stream_archive(
    operation: Operation, delivered: AsyncIterable[Delivered], records: Records | None = None
) -> AsyncIterator[bytes]:
    """Yields the bytes of a zip file with the signed documents in the order of the request.

    An entry is called `<externalRef>.<documentName>`, with `.p7m` or `.p7s` behind it for a CAdES signature. It is stored
    without compression. `delivered` must give raw documents (not base64). A document that is not signed, or that storage returns
    damaged, gets no entry. The evidence record of a document follows it, with `.ers` behind the name of its entry.
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
            if records is not None and (record := records.of(document.row.ordinal)) is not None:
                beside = zipfile.ZipInfo(names.beside(entry.filename, RECORD_SUFFIX), moment)
                beside.external_attr = 0o644 << 16
                archive.writestr(beside, record)
            for piece in [p for data in sink.take() for p in pieces.add(data)]:
                yield piece
    for piece in [*(p for data in sink.take() for p in pieces.add(data)), *pieces.flush()]:
        yield piece


class Names:
    """Makes entry names that are unique in one archive and safe on every file system.

    The work for all entries grows with their number, whatever their names are: the numbers of a name go on where they stopped,
    and a name that stands in the way of a number is met once, since it can be the numbered form of one name only.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # the last number that was tried for a name

    def entry(self, external_reference: str, name: str) -> str:
        wanted = safe(f"{external_reference}.{name}")
        # Compare without regard to case: on Windows and macOS, `A.pdf` would overwrite `a.pdf`.
        key = wanted.casefold()
        if key not in self._taken:
            self._taken.add(key)
            return wanted
        stem, dot, extension = wanted.rpartition(".")
        number = self._numbers.get(key, 1)
        while True:
            number += 1
            entry = f"{stem} ({number}){dot}{extension}"
            if (folded := entry.casefold()) not in self._taken:
                self._numbers[key] = number
                self._taken.add(folded)
                return entry

    def beside(self, entry: str, suffix: str) -> str:
        """The name of an entry that belongs to another one: its name and a suffix, with a number where a document has that name.

        A name that stands in the way is met once here too, since it is the numbered form for one entry only.
        """
        wanted, number = entry + suffix, 1
        while (key := wanted.casefold()) in self._taken:
            number += 1
            wanted = f"{entry} ({number}){suffix}"
        self._taken.add(key)
        return wanted


def safe(name: str) -> str:
    """Returns `name` as a safe file name.

    Path separators and control characters become `_`; dots and spaces at both ends are removed. The name is cut to
    MAX_NAME_BYTES of UTF-8, and its extension is kept unless it has more than MAX_EXTENSION_CHARACTERS characters.
    """
    name = UNSAFE.sub("_", name).strip(". ")
    if len(name) > 3 * MAX_NAME_BYTES:
        # No character that NFC makes of several has fewer bytes than two thirds of their number. The rest would be cut off
        # below, after NFC has taken long for it: NFC sorts combining marks, in quadratic time.
        name = name[: 2 * MAX_NAME_BYTES] + name[-MAX_NAME_BYTES // 2 :]
    name = unicodedata.normalize("NFC", name).strip(". ")
    stem, dot, extension = name.rpartition(".")
    if len(extension) > MAX_EXTENSION_CHARACTERS:
        stem, dot, extension = name, "", ""
    end = dot + extension
    stem = stem.encode()[: MAX_NAME_BYTES - len(end.encode())].decode(errors="ignore")
    return stem + end or "document"
