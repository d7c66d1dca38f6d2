"""Whether the image of a visible signature is what it says: its format, size and structure, found without drawing it.

A PNG is followed to its end (ISO/IEC 15948): checksums of its chunks, and the length of its decompressed rows. Of a JPEG the
markers are followed (ITU-T T.81 annex B). A decoder sees an image only after that, and never one with more pixels than the limit.
"""

import zlib
from collections.abc import Iterator

from batchseal.errors import TooLarge, VisibleSignatureImpossible
from batchseal.signature import Picture

MAX_PICTURE_BYTES = 1 << 20
# A stamp of 155 x 50 points has 136,000 pixels at 300 dpi. Decoded, a picture of this many takes 8 MB.
MAX_PIXELS = 2_000_000
MAX_SIDE = 10_000

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
# Samples for each pixel by colour type (ISO/IEC 15948 11.2.2), and the bit depths that each type may have.
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# The passes of an interlaced image: first column and row, steps between columns and rows (ISO/IEC 15948 8.2).
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Start of frame: baseline and progressive, which DCTDecode takes (ISO 32000-2 7.4.8).
FRAMES, OTHER_FRAMES = (0xC0, 0xC1, 0xC2), (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
INFLATED_AT_ONCE = 256 << 10


def read(content: bytes, kind: str, place: str) -> Picture:
    """The picture in `content`, which is said to be a `kind`: IMAGE_PNG, IMAGE_JPG, or nothing said.

    Raises VisibleSignatureImpossible where it is something else or is damaged, TooLarge; both name `place`.
    """
    if len(content) > MAX_PICTURE_BYTES:
        raise TooLarge(f"{place} has {len(content)} bytes, the limit is {MAX_PICTURE_BYTES}")
    found = "IMAGE_PNG" if content.startswith(PNG) else "IMAGE_JPG" if content.startswith(JPEG) else ""
    if not found:
        raise VisibleSignatureImpossible(f"{place} is neither a PNG nor a JPEG image")
    if kind and kind != found:
        raise VisibleSignatureImpossible(f"{place} is not an {kind}, as imageType says, but an {found}")
    try:
        width, height = _png(content, place) if found == "IMAGE_PNG" else _jpeg(content, place)
    except (IndexError, zlib.error):
        raise VisibleSignatureImpossible(f"{place} is a damaged {found}") from None
    return Picture(content, found == "IMAGE_JPG", width, height)


def _bounded(width: int, height: int, place: str) -> None:
    if width < 1 or height < 1:
        raise VisibleSignatureImpossible(f"{place} has no pixels")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise TooLarge(f"{place} has {width} x {height} pixels, the limit is {MAX_PIXELS} in all and {MAX_SIDE} a side")


def _number(content: bytes, at: int, length: int) -> int:
    if at + length > len(content):
        raise IndexError
    return int.from_bytes(content[at : at + length], "big")


# --- PNG ----------------------------------------------------------------------------------------------------------


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks up to IEND. Raises IndexError where one is cut off or its checksum is wrong."""
    at, kind = len(PNG), b""
    while kind != b"IEND":
        length = _number(content, at, 4)
        kind, data = content[at + 4 : at + 8], memoryview(content)[at + 8 : at + 8 + length]
        if zlib.crc32(data, zlib.crc32(kind)) != _number(content, at + 8 + length, 4):
            raise IndexError
        yield kind, data
        at += 12 + length


def _png(content: bytes, place: str) -> tuple[int, int]:
    inflate, rows_bytes, has_colours = zlib.decompressobj(), 0, False
    expected = width = height = colour_type = 0
    for at, (kind, data) in enumerate(_chunks(content)):
        if (at == 0) != (kind == b"IHDR") or (at == 0 and len(data) != 13):
            raise IndexError
        if kind == b"IHDR":
            width, height = _number(content, 16, 4), _number(content, 20, 4)
            _bounded(width, height, place)
            depth, colour_type, compression, filtering, interlace = data[8:13]
            if depth not in DEPTHS.get(colour_type, ()) or compression or filtering or interlace > 1:
                raise IndexError
            expected = _rows_bytes(width, height, depth * CHANNELS[colour_type], interlaced=interlace == 1)
        elif kind == b"PLTE":
            has_colours = len(data) % 3 == 0 and 0 < len(data) <= 768
        elif kind == b"IDAT":
            rest: bytes | memoryview = data
            while rest and not inflate.eof and rows_bytes <= expected:
                rows_bytes += len(inflate.decompress(rest, INFLATED_AT_ONCE))
                rest = inflate.unconsumed_tail
    while not inflate.eof and rows_bytes < expected and (more := inflate.decompress(inflate.unconsumed_tail)):
        rows_bytes += len(more)
    if rows_bytes != expected or (colour_type == 3 and not has_colours):
        raise IndexError
    return width, height


def _rows_bytes(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """The length of the rows, each of which begins with the number of its filter."""
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    total = 0
    for column, row, columns, rows in PASSES:
        wide, high = -(-(width - column) // columns), -(-(height - row) // rows)
        if wide > 0 and high > 0:
            total += high * (1 + (wide * bits + 7) // 8)
    return total


# --- JPEG ---------------------------------------------------------------------------------------------------------


def _jpeg(content: bytes, place: str) -> tuple[int, int]:
    at, size = 2, (0, 0)
    while True:
        if content[at] != 0xFF:
            raise IndexError
        marker = content[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        length = _number(content, at + 2, 2)
        if marker in FRAMES:
            if content[at + 4] != 8 or content[at + 9] not in (1, 3, 4):
                raise VisibleSignatureImpossible(
                    f"{place} is a JPEG of a kind that PDF has not: 8 bits, 1, 3 or 4 colours"
                )
            size = _number(content, at + 7, 2), _number(content, at + 5, 2)
            _bounded(*size, place)
        elif marker in OTHER_FRAMES:
            raise VisibleSignatureImpossible(
                f"{place} is a JPEG of a kind that PDF has not: neither baseline nor progressive"
            )
        elif marker == START_OF_SCAN:
            break
        at += 2 + length
    if not size[0] or bytes((0xFF, END_OF_IMAGE)) not in content[at:]:
        raise IndexError
    return size
