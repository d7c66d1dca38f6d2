"""The bytes of an XML document as UTF-8, whatever it is encoded in, and the way back from a place there to the original bytes."""

import re
from codecs import getincrementaldecoder
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from batchseal.errors import DocumentUnsuitable

if TYPE_CHECKING:
    from typing_extensions import Buffer

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
UTF32_BOMS = frozenset({b"\xff\xfe\0\0", b"\0\0\xfe\xff"})
# The encodings that are understood, as a declaration names them, and Python's codecs.
CODECS = {
    "UTF-8": "utf-8",
    "UTF-16": "utf-16",
    "US-ASCII": "ascii",
    "ASCII": "ascii",
    "ISO-8859-1": "iso8859-1",
    "ISO-8859-15": "iso8859-15",
    "WINDOWS-1252": "cp1252",
}
# So much of a document is transcoded at once. Other threads may run in between, and the text is never in memory as a whole.
PIECE_BYTES = 1 << 16
KNOWN = "UTF-8, UTF-16 with a byte order mark, US-ASCII, ISO-8859-1, ISO-8859-15, windows-1252"
# XML 1.0 2.8: nothing may stand before the declaration. A document with a longer one is refused, since it may name an encoding.
MAX_DECLARATION_BYTES = 512
DECLARED = re.compile(
    rb"""<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"[^"<>]*"|'[^'<>]*')"""
    rb"""[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*["']([A-Za-z][A-Za-z0-9._\-]*)["']"""
)


@dataclass(frozen=True, slots=True)
class Source:
    """A document as `utf8`, without a byte order mark. `codec` is the one of the original, whose `bom_bytes` come first."""

    utf8: bytes
    codec: str
    bom_bytes: int

    def original_offset(self, offset: int) -> int:
        """The place in the original that `offset` in `utf8` stands for."""
        if self.codec in ("utf-8", "ascii"):
            return self.bom_bytes + offset
        decoder = getincrementaldecoder("utf-8")()
        pieces = (self.utf8[at : min(at + PIECE_BYTES, offset)] for at in range(0, offset, PIECE_BYTES))
        return self.bom_bytes + sum(len(decoder.decode(piece).encode(self.codec)) for piece in pieces)


def read(content: "Buffer") -> Source:
    """Raises DocumentUnsuitable for an encoding that is not known, or that is not the one that the document declares."""
    view = memoryview(content).cast("B")
    data = bytes(view[: 4 * MAX_DECLARATION_BYTES])  # a copy of the whole would be one more
    if data.startswith(b"%PDF-"):
        raise DocumentUnsuitable("the content is PDF, not XML")
    codec, bom_bytes = "utf-8", 0
    if data[:4] in UTF32_BOMS:
        raise DocumentUnsuitable("the content is UTF-32, which is not signed")
    if (found := UTF16_BOMS.get(data[:2])) is not None:
        codec, bom_bytes = found, 2
    elif data.startswith(UTF8_BOM):
        bom_bytes = len(UTF8_BOM)
    elif b"\0" in data[:2]:
        raise DocumentUnsuitable("the content is neither UTF-8 nor UTF-16 with a byte order mark")
    declared = _declared(data[bom_bytes : bom_bytes + 2 * MAX_DECLARATION_BYTES], codec)
    if declared is not None:
        wanted = CODECS.get(declared.upper())
        if wanted is None:
            raise DocumentUnsuitable(f"the encoding {declared[:40]!r} is not one of {KNOWN}")
        if bom_bytes and wanted != ("utf-16" if codec.startswith("utf-16") else "utf-8"):
            raise DocumentUnsuitable(
                f"the document declares {declared[:40]}, but its byte order mark says {codec[:6].upper()}"
            )
        if wanted == "utf-16" and not bom_bytes:
            raise DocumentUnsuitable("the document declares UTF-16 and has no byte order mark")
        codec = codec if bom_bytes else wanted
    if codec == "utf-8":
        return Source(bytes(view[bom_bytes:]), codec, bom_bytes)  # whoever reads it checks it
    try:
        utf8 = _transcoded(view[bom_bytes:], codec)
    except UnicodeError:
        raise DocumentUnsuitable(f"the content is not {(declared or codec)[:40]}, as it says of itself") from None
    if utf8.startswith(UTF8_BOM):
        raise DocumentUnsuitable("the byte order mark stands twice, so the document is not well-formed")
    return Source(utf8, codec, bom_bytes)


def _transcoded(view: memoryview, codec: str) -> bytes:
    """Raises UnicodeError."""
    decoder, utf8 = getincrementaldecoder(codec)(), BytesIO()
    for at in range(0, len(view), PIECE_BYTES):
        piece = bytes(view[at : at + PIECE_BYTES])
        utf8.write(decoder.decode(piece, final=at + PIECE_BYTES >= len(view)).encode("utf-8"))
    return utf8.getvalue()


def _declared(start: bytes, codec: str) -> str | None:
    """The encoding in the XML declaration, or None. Raises DocumentUnsuitable for a declaration that is too long to be read."""
    if codec.startswith("utf-16"):
        start = start[: len(start) & ~1].decode(codec, "replace").encode("ascii", "replace")
    start = start[:MAX_DECLARATION_BYTES]
    if start.startswith(b"<?xml") and b"?>" not in start:
        raise DocumentUnsuitable(f"the XML declaration is longer than {MAX_DECLARATION_BYTES} characters")
    found = DECLARED.match(start)
    return found[1].decode("ascii") if found else None
