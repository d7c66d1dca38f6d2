"""The documents of a batch, and the request body that carries them. The body is made while it is sent, and is never whole
in memory.
"""

import binascii
import json
import mimetypes
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchseal.client.files import local_file
from batchseal.errors import ConfigurationError

# Files are read in pieces of this size. It is a multiple of 3, so that base64 has no padding between two pieces.
FILE_PIECE_BYTES = 3 * 64 * 1024

# The longest name and external reference that the service accepts by default.
NAME_CHARACTERS = 255
# More documents than this are sent as several batches.
BATCH_DOCUMENTS = 2500
BATCH_BYTES = 1 << 30


# What a folder is searched for, by the type of signature that is asked for: nothing means every file.
FOLDER_SUFFIXES: dict[str, tuple[str, ...]] = {"": (".pdf",), "PAdES": (".pdf",), "XAdES": (".xml",), "CAdES": ()}
OTHER_KINDS = "; --signature-type=XAdES takes the XML files of a folder, --signature-type=CAdES all files"
KINDS_OF_FILES: dict[tuple[str, ...], str] = {(".pdf",): "PDF file", (".xml",): "XML file"}


@dataclass(frozen=True, slots=True)
class Document:
    """A file to sign. `size` is in bytes. `name` is unique among the documents of a command, and names the signed file.

    `signature_type` is PAdES, XAdES or CAdES; `media_type` that of the file.
    """

    path: Path
    name: str
    size: int
    signature_type: str = "PAdES"
    media_type: str = "application/pdf"


def find_files(paths: Iterable[Path], suffixes: tuple[str, ...], advice: str = "") -> list[Path]:
    """The files of `paths`, in order. A folder means its files with these suffixes (none: all), sorted by name.

    Raises ConfigurationError if a file cannot be read, or if there is no file at all, with the `advice` what to do then.
    """
    files: list[Path] = []
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if (p.suffix.lower() in suffixes if suffixes else p.is_file()))
        else:
            files.append(path)
    for file in files:
        if not file.is_file() or not os.access(file, os.R_OK):
            why = "cannot be read as a file" if file.exists() else "does not exist"
            raise ConfigurationError(f"{file} {why}")
    if not files:
        raise ConfigurationError(
            f"there is no {KINDS_OF_FILES.get(suffixes, 'file')} in {', '.join(map(str, paths))}{advice}"
        )
    return files


def find_documents(paths: Iterable[Path], signature_type: str = "") -> list[Document]:
    """The files of `paths`, in order, to be signed with this type of signature; without one, each file's name decides.

    Raises ConfigurationError if a file cannot be read, or if there is no file at all.
    """
    names, documents = UniqueNames(), []
    for file in find_files(paths, FOLDER_SUFFIXES[signature_type], "" if signature_type else OTHER_KINDS):
        kind = signature_type or {".pdf": "PAdES", ".xml": "XAdES"}.get(file.suffix.lower(), "CAdES")
        documents.append(Document(file, names.of(file), file.stat().st_size, kind, media_type_of(file, kind)))
    return documents


def media_type_of(file: Path, signature_type: str) -> str:
    """PAdES and XAdES name the type that they sign, whatever the file is called."""
    if signature_type == "PAdES":
        return "application/pdf"
    if signature_type == "XAdES":
        return "text/xml"
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of every signature of a batch. An empty text leaves it to the service."""

    reason: str = ""
    location: str = ""
    level: str = ""
    packaging: str = ""
    transform: str = ""
    canonical: str = ""
    parent: str = ""  # the element that a signature in XML goes into
    visible: Mapping[str, str] | None = (
        None  # `visibleSignatureInfo` of PDF files; None: their signatures are invisible
    )
    evidence_record: bool = False  # whether the batch is to have an evidence record

    def info(self, document: Document) -> dict[str, Any]:
        """The `signatureInfo` of a document."""
        advanced = {
            "signatureLocation": self.parent,
            "signatureTransform": self.transform,
            "canonicalTransform": self.canonical,
        }
        info: dict[str, Any] = {
            "signatureType": document.signature_type,
            "reason": self.reason,
            "location": self.location,
            "signatureLevel": self.level,
        }
        if document.signature_type == "XAdES":
            info["advancedSignatureInfo"] = {key: text for key, text in advanced.items() if text}
        if document.signature_type == "CAdES":
            info["signaturePackaging"] = self.packaging
        info = {key: value for key, value in info.items() if value}
        # An empty one asks for what the client service has in its configuration.
        if document.signature_type == "PAdES" and self.visible is not None:
            info["visibleSignatureInfo"] = dict(self.visible)
        return info

    @property
    def bytes_each(self) -> int:
        """What is sent with every document beside its content, where that is much."""
        return sum(map(len, (self.visible or {}).values()))


class UniqueNames:
    """Makes the names of a command's files unique.

    The work grows with the number of files, however many have the same name: the numbers of a name go on where they stopped.
    """

    def __init__(self, taken: set[str] | None = None) -> None:
        """`taken` are names that no file gets; those of the files are added to it."""
        self._taken = set[str]() if taken is None else taken
        self._numbers: dict[str, int] = {}  # the last number that was tried for a name

    def of(self, file: Path) -> str:
        """A name that no file before has. A number is appended if the file's own name is taken."""
        # A file name may contain bytes that are not UTF-8. They cannot be sent, and become question marks.
        stem, suffix = (text.encode("utf-8", "replace").decode() for text in (file.stem, file.suffix))
        stem = stem[: NAME_CHARACTERS - len(suffix) - 10]
        own = name = stem + suffix
        count = self._numbers.get(own, 1)
        while name in self._taken:
            count += 1
            name = f"{stem}-{count}{suffix}"
        self._numbers[own] = count
        self._taken.add(name)
        return name


def split_batches(
    documents: Sequence[Document],
    max_documents: int = BATCH_DOCUMENTS,
    max_bytes: int = BATCH_BYTES,
    bytes_each: int = 0,
) -> list[list[Document]]:
    """Divides the documents into batches, one for each request, in order.

    `bytes_each` come with every document. A document larger than `max_bytes` is a batch of its own.
    """
    batches: list[list[Document]] = []
    room_documents = room_bytes = 0
    for document in documents:
        if not batches or room_documents == 0 or document.size + bytes_each > room_bytes:
            batches.append([])
            room_documents, room_bytes = max_documents, max_bytes
        batches[-1].append(document)
        room_documents -= 1
        room_bytes -= document.size + bytes_each
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
    wishes: Wishes = Wishes()

    @property
    def total_bytes(self) -> int:
        """The length of the whole body, for Content-Length."""
        around = sum(map(len, self._frames()))
        return around + sum(4 * -(-document.size // 3) for document in self.documents)

    def __iter__(self) -> Iterator[bytes]:
        frames = self._frames()
        for document in self.documents:
            yield next(frames)
            yield from base64_pieces(document)
        yield next(frames)

    def _frames(self) -> Iterator[bytes]:
        """The JSON text before, between and after the documents' contents: one piece more than there are documents.

        All pieces together may be large, since an image is in each of them.
        """
        head = json.dumps({"externalReference": self.external_reference, "description": self.description})
        infos = dict[str, str]()  # by the type of the signature, all that a document's wishes depend on
        before = head[:-1] + ',"documents":['
        for ordinal, document in enumerate(self.documents):
            request = {
                "externalReference": document_reference(ordinal, document),
                "name": document.name,
                "contentType": document.media_type,
            }
            yield f'{before}{{"documentRequest":{json.dumps(request)[:-1]},"base64Content":"'.encode()
            if (kind := document.signature_type) not in infos:
                infos[kind] = json.dumps(self.wishes.info(document))
            before = f'"}},"signatureInfo":{infos[kind]}}},'
        yield (before[:-1] + "]}").encode()


def base64_pieces(document: Document) -> Iterator[bytes]:
    """The file's content as base64, in pieces. Raises LocalFileError, or ConfigurationError if the file has become shorter."""
    left = document.size
    with local_file(document.path, "read"):
        file = document.path.open("rb")
    with file:
        while left:
            with local_file(document.path, "read"):
                piece = file.read(min(FILE_PIECE_BYTES, left))
            if len(piece) != min(FILE_PIECE_BYTES, left):
                raise ConfigurationError(f"{document.path} became shorter while it was sent")
            left -= len(piece)
            yield binascii.b2a_base64(piece, newline=False)
