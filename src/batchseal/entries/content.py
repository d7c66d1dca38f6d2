"""What a file is, by its content, and whether all of it is there.

A file that was copied in part looks like one that is broken, so what is judged here is only whether its end is missing. Whether
it can be signed is for its format to say. The ends that are known: a PDF has `%%EOF` among its last bytes (ISO 32000-2
7.5.5), and a linearized one says how long it is (annex F); an XML document ends with the end of its root element.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from xml.parsers import expat

from batchseal.operation import ContentType

HEAD_BYTES = TAIL_BYTES = 1024
BLOCK_BYTES = 256 << 10
PDF_END = re.compile(rb"startxref\s+\d+\s+%%EOF")
LINEARIZED = re.compile(rb"/Linearized\b")
LENGTH = re.compile(rb"/L\s+(\d+)")
HTML = re.compile(r"<!doctype\s+html|<html\b", re.IGNORECASE)
# The errors of expat that mean that the document stopped before its end.
STOPPED = frozenset(
    (
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
    )
)
# Where the kernel itself knows who has a file open. A network file system answers for other machines, or for none.
LOCAL_SYSTEMS = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "zfs", "f2fs"))


@dataclass(frozen=True, slots=True)
class Content:
    """What a file is. `unfinished` says why its end is missing, and is empty where it is there."""

    type: ContentType
    unfinished: str = ""


class Source(Protocol):
    """A file that is read to tell what it is. `size` is its length in bytes."""

    size: int

    def read_at(self, count: int, offset: int) -> bytes:
        """So many bytes from an offset, or fewer where the file ends."""

    def blocks(self) -> Iterator[bytes]:
        """All of it from its beginning."""

    def doubt(self) -> str:
        """Why it may not be complete, as far as the place where it lies tells; empty if nothing tells so."""


class FileSource:
    """A `Source`: an open file. `local`: its file system is one of LOCAL_SYSTEMS."""

    def __init__(self, descriptor: int, size: int, *, local: bool = False) -> None:
        self._descriptor = descriptor
        self.size = size
        self._local = local

    def read_at(self, count: int, offset: int) -> bytes:
        return os.pread(self._descriptor, count, offset)

    def blocks(self) -> Iterator[bytes]:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while block := os.read(self._descriptor, BLOCK_BYTES):
            yield block

    def doubt(self) -> str:
        if self._local and is_being_written(self._descriptor):
            return "another program has it open for writing"
        if has_hole(self._descriptor, self.size):
            return "a part of it was never written"
        return ""


def type_of(head: bytes, name: str) -> ContentType:
    """The type that the first bytes of a file show. A name that ends with .pdf or .xml says what the content ought to be.

    PDF readers accept `%PDF-` anywhere in the first 1,024 bytes (ISO 32000-2 7.5.2).
    """
    text = _text(head)
    if text.startswith("<?xml"):
        return ContentType.APPLICATION_XML
    if b"%PDF-" in head[:HEAD_BYTES]:
        return ContentType.PDF
    if text.startswith("<") and not HTML.match(text):
        return ContentType.APPLICATION_XML
    extension = name.rpartition(".")[2].lower()
    return {"pdf": ContentType.PDF, "xml": ContentType.APPLICATION_XML}.get(extension, ContentType.OTHER)


def _text(head: bytes) -> str:
    """The beginning as text without a byte order mark and white space, as far as it is known how it is encoded."""
    encodings = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
    encoding = next((name for mark, name in encodings if head.startswith(mark)), "latin-1")
    return head.removeprefix(b"\xef\xbb\xbf").decode(encoding, "replace").lstrip("\ufeff \t\r\n")


def judge(source: Source, name: str) -> Content:
    """What a file is, and whether its end is there."""
    head = source.read_at(HEAD_BYTES, 0)
    type_ = type_of(head, name)
    return Content(type_, _unfinished(source, type_, head))


def _unfinished(source: Source, type_: ContentType, head: bytes) -> str:
    if doubt := source.doubt():
        return doubt
    tail = source.read_at(TAIL_BYTES, max(0, source.size - TAIL_BYTES))
    if _ends_in_zeros(type_, head, tail):
        return "there are zeros where its end should be"
    if type_ is ContentType.PDF:
        return _unfinished_pdf(head, tail, source.size)
    if type_ is ContentType.APPLICATION_XML:
        return _unfinished_xml(source)
    return ""


def _ends_in_zeros(type_: ContentType, head: bytes, tail: bytes) -> bool:
    """Whether the size was set and the end was not written. Some kinds of files do end in zeros, such as tar archives."""
    if type_ is ContentType.OTHER:
        return not any(tail) and not any(head)
    if type_ is ContentType.PDF:
        return not any(tail[-16:])
    is_wide = b"\0" in head[:4]  # UTF-16, in which a zero byte is a half of a character
    return tail.endswith(b"\0\0" if is_wide else b"\0")


def is_being_written(descriptor: int) -> bool:
    """Whether somebody has the file open for writing. Only the owner of a file may ask (fcntl(2), F_SETLEASE).

    The lease is given back at once. Whoever opens the file in between waits for that.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as problem:
        return problem.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def has_hole(descriptor: int, size: int) -> bool:
    """Whether there is a stretch that was never written, as where the size is set first and the content comes later."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_HOLE) < size
    except OSError:
        return False


def _unfinished_pdf(head: bytes, tail: bytes, size: int) -> str:
    if PDF_END.search(tail) is None:
        return "the end of the PDF is missing"
    if LINEARIZED.search(head) and (length := LENGTH.search(head)) and int(length[1]) > size:
        return f"the PDF says that it has {int(length[1])} bytes, and {size} are there"
    return ""


def _unfinished_xml(source: Source) -> str:
    """Blocking; about 10 ms for each MB. No entity is fetched, and expat bounds what they may expand to."""
    parser = expat.ParserCreate()
    try:
        for block in source.blocks():
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except expat.ExpatError as problem:
        if problem.code in STOPPED:
            return "the XML document stops before its end"
    return ""
