"""The documents of a batch and the request body that carries them: made while it is sent, never held whole."""

import binascii
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchseal.errors import ConfigurationError

# A multiple of 3, so that the pieces' base64 joins without padding inside.
FILE_PIECE_BYTES = 3 * 64 * 1024

NAME_CHARACTERS = 255
BATCH_DOCUMENTS = 2500
BATCH_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Document:
    """A file to be signed. `name` is unique within the command's documents: the signed file is called so."""

    path: Path
    name: str
    size: int


def find_documents(paths: Iterable[Path]) -> list[Document]:
    """The files of `paths` in order, folders standing for their *.pdf. Raises ConfigurationError."""
    documents: list[Document] = []
    taken: set[str] = set()
    for path in paths:
        files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".pdf") if path.is_dir() else [path]
        for file in files:
            if not file.is_file() or not os.access(file, os.R_OK):
                raise ConfigurationError(f"{file} is not a file that can be read")
            documents.append(Document(file, unique_name(file, taken), file.stat().st_size))
    if not documents:
        raise ConfigurationError("there is no PDF file in " + ", ".join(map(str, paths)))
    return documents


def unique_name(file: Path, taken: set[str]) -> str:
    # Names that aren't UTF-8 can't be sent as they are.
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
    """Batches within what one request should carry; a document larger than `max_bytes` goes alone."""
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
    """A document's external reference: its ordinal in front, so that an entry of the result names it."""
    return f"{ordinal:05d}-{document.name}"[:NAME_CHARACTERS]


@dataclass(frozen=True, slots=True)
class BatchBody:
    """A SignRequest as JSON. Iterating gives its bytes in pieces; `total_bytes` is known before."""

    documents: Sequence[Document]
    external_reference: str
    description: str
    reason: str = ""
    location: str = ""

    @property
    def total_bytes(self) -> int:
        around = sum(map(len, self._frames()))
        return around + sum(4 * -(-document.size // 3) for document in self.documents)

    def __iter__(self) -> Iterator[bytes]:
        frames = iter(self._frames())
        for document in self.documents:
            yield next(frames)
            yield from base64_pieces(document)
        yield next(frames)

    def _frames(self) -> list[bytes]:
        """The text between the documents' contents: one more than there are documents."""
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
    left = document.size
    with document.path.open("rb") as file:
        while left:
            piece = file.read(min(FILE_PIECE_BYTES, left))
            if len(piece) != min(FILE_PIECE_BYTES, left):
                raise ConfigurationError(f"{document.path} became shorter while it was sent")
            left -= len(piece)
            yield binascii.b2a_base64(piece, newline=False)
