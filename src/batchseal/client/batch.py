"""The documents of a batch, and the request body that carries them. The body is made while it is sent, and is never whole
in memory.
"""

import binascii
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchseal.errors import ConfigurationError

# Files are read in pieces of this size. It is a multiple of 3, so that base64 has no padding between two pieces.
FILE_PIECE_BYTES = 3 * 64 * 1024

# The longest name and external reference that the service accepts by default.
NAME_CHARACTERS = 255
# More documents than this are sent as several batches.
BATCH_DOCUMENTS = 2500
BATCH_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Document:
    """A file to sign. `size` is in bytes. `name` is unique among the documents of a command, and names the signed file."""

    path: Path
    name: str
    size: int


def find_documents(paths: Iterable[Path]) -> list[Document]:
    """The files of `paths`, in order. A folder means its *.pdf files, sorted by name.

    Raises ConfigurationError if a file cannot be read, or if there is no file at all.
    """
    documents: list[Document] = []
    taken: set[str] = set()
    for path in paths:
        files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".pdf") if path.is_dir() else [path]
        for file in files:
            if not file.is_file() or not os.access(file, os.R_OK):
                raise ConfigurationError(f"{file} cannot be read as a file")
            documents.append(Document(file, unique_name(file, taken), file.stat().st_size))
    if not documents:
        raise ConfigurationError("there is no PDF file in " + ", ".join(map(str, paths)))
    return documents


def unique_name(file: Path, taken: set[str]) -> str:
    """A name for `file` that is not in `taken`; adds it to `taken`. A number is appended if the file's own name is there."""
    # A file name may contain bytes that are not UTF-8. They cannot be sent, and become question marks.
    stem, suffix = (text.encode("utf-8", "replace").decode() for text in (file.stem, file.suffix))
    stem = stem[: NAME_CHARACTERS - len(suffix) - 10]
    name, count = stem + suffix, 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}{suffix}"
    taken.add(name)
    return name


def split_batches(
    documents: Sequence[Document], max_documents: int = BATCH_DOCUMENTS, max_bytes: int = BATCH_BYTES
) -> list[list[Document]]:
    """Divides the documents into batches, one for each request, in order.

    A document larger than `max_bytes` is a batch of its own.
    """
    batches: list[list[Document]] = []
    room_documents = room_bytes = 0
    for document in documents:
        if not batches or room_documents == 0 or document.size > room_bytes:
            batches.append([])
            room_documents, room_bytes = max_documents, max_bytes
        batches[-1].append(document)
        room_documents -= 1
        room_bytes -= document.size
    return batches


def document_reference(ordinal: int, document: Document) -> str:
    """A document's external reference. It begins with the document's ordinal, so that an entry of the result can be assigned."""
    return f"{ordinal:05d}-{document.name}"[:NAME_CHARACTERS]


@dataclass(frozen=True, slots=True)
class BatchBody:
    """A SignRequest as JSON. Iterate over it to get its bytes in pieces; `total_bytes` is known before that.

    It can be iterated over several times. Raises ConfigurationError if a file has become shorter in the meantime.
    """

    documents: Sequence[Document]
    external_reference: str
    description: str
    reason: str = ""
    location: str = ""

    @property
    def total_bytes(self) -> int:
        """The length of the whole body, for Content-Length."""
        around = sum(map(len, self._frames()))
        return around + sum(4 * -(-document.size // 3) for document in self.documents)

    def __iter__(self) -> Iterator[bytes]:
        frames = iter(self._frames())
        for document in self.documents:
            yield next(frames)
            yield from base64_pieces(document)
        yield next(frames)

    def _frames(self) -> list[bytes]:
        """The JSON text before, between and after the documents' contents: one piece more than there are documents."""
        head = json.dumps({"externalReference": self.external_reference, "description": self.description})
        info = {"signatureType": "PAdES", "reason": self.reason or None, "location": self.location or None}
        after = f'"}},"signatureInfo":{json.dumps({key: text for key, text in info.items() if text})}}}'
        frames = []
        before = head[:-1] + ',"documents":['
        for ordinal, document in enumerate(self.documents):
            request = {
                "externalReference": document_reference(ordinal, document),
                "name": document.name,
                "contentType": "application/pdf",
            }
            frames.append(f'{before}{{"documentRequest":{json.dumps(request)[:-1]},"base64Content":"'.encode())
            before = after + ","
        return [*frames, (after + "]}").encode()]


def base64_pieces(document: Document) -> Iterator[bytes]:
    """The file's content as base64, in pieces. Raises ConfigurationError if the file has become shorter."""
    left = document.size
    with document.path.open("rb") as file:
        while left:
            piece = file.read(min(FILE_PIECE_BYTES, left))
            if len(piece) != min(FILE_PIECE_BYTES, left):
                raise ConfigurationError(f"{document.path} became shorter while it was sent")
            left -= len(piece)
            yield binascii.b2a_base64(piece, newline=False)
