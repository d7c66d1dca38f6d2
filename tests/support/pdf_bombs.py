"""PDFs that are made to cost their reader memory or time, and what planning one costs.

Each maker takes a size in bytes and returns a file of about that size. None of them is useful as a document; some can be signed.
"""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# What a plan may take at most, for originals of up to LARGEST_BYTES.
LARGEST_BYTES = 16 << 20
MEMORY_FACTOR, MEMORY_BASE = 8, 16 << 20
SECONDS = 1.0

HEAD = b"%PDF-1.5\n"
CATALOG = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n"
PAGES = (
    b"2 0 obj\n<</Type/Pages/Kids[3 0 R]/Count 1>>\nendobj\n"
    b"3 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>\nendobj\n"
)
TRAILER = b"trailer<</Root 1 0 R/Size 9>>\n"
MEASURE = """
import json, sys, time
from pathlib import Path
from batchseal._native import planner
original = Path(sys.argv[1]).read_bytes()
def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

before, began = kilobytes("VmRSS:"), time.thread_time()
field = sys.argv[2] if len(sys.argv) > 2 else None
answer = planner.plan(original, contents_bytes=8192, signing_time="D:20261121120000Z", field=field)
took, added = time.thread_time() - began, (kilobytes("VmHWM:") - before) * 1024
signed = isinstance(answer, planner.PlannedUpdate)
update = len(answer.head) + len(answer.tail) if signed else 0
print(json.dumps({"code": "" if signed else answer.code, "memory": added, "seconds": took, "update": update}))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """`code` is that of the refusal, empty where the file can be signed. Memory and the update are in bytes."""

    code: str
    memory: int
    seconds: float
    update: int


def cost(original: bytes, folder: Path, field: str = "") -> Cost:
    """Plans `original` in a process of its own, so that its memory is seen alone. `field` is one that is to be signed."""
    path = folder / "bomb.pdf"
    path.write_bytes(original)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), *([field] if field else [])],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return Cost(**json.loads(done.stdout))


def check(original: bytes, found: Cost) -> None:
    size = len(original)
    assert size <= LARGEST_BYTES
    assert found.memory <= MEMORY_FACTOR * size + MEMORY_BASE, f"{found} for {size} bytes"
    assert found.seconds <= SECONDS, f"{found} for {size} bytes"
    assert found.update <= 2 * size + (64 << 10), f"{found} for {size} bytes"


def stream(number: int, dictionary: bytes, data: bytes) -> bytes:
    return b"%d 0 obj\n<<%s/Length %d>>\nstream\n%s\nendstream\nendobj\n" % (number, dictionary, len(data), data)


def object_stream(number: int, count: int, first: int, packed: bytes, name: bytes = b"/FlateDecode") -> bytes:
    return stream(number, b"/Type/ObjStm/N %d/First %d/Filter%s" % (count, first, name), packed)


def numbers(step: int) -> Callable[[int], bytes]:
    """No xref, and an object stream whose header names very many objects."""

    def make(size: int) -> bytes:
        most = min(8_300_000 // step, size)
        header = b"".join(b"%d 0 " % (5 + step * n) for n in range(most))
        packed = zlib.compress(header + b"null ", 9)
        while len(packed) > size:
            header = header[: len(header) // 2]
            packed = zlib.compress(header + b" null ", 9)
        return HEAD + CATALOG + PAGES + object_stream(4, most, len(header), packed) + TRAILER

    return make


def plain_objects(size: int) -> bytes:
    """No xref, and as many objects as fit."""
    return HEAD + CATALOG + PAGES + b"".join(b"%d 0 obj " % n for n in range(4, size // 14)) + TRAILER


def inflating(size: int) -> bytes:
    """An object stream that expands to 1,000 times its size."""
    packed = zlib.compress(bytes(min(size * 1000, 256 << 20)), 9)
    return HEAD + CATALOG + PAGES + object_stream(4, 1, 4, packed) + TRAILER


def compressed_catalog(size: int) -> bytes:
    """The update repeats the catalog, which is small only where it is compressed."""
    body = b"<</Type/Catalog/Pages 2 0 R/A[" + b"0 " * (min(size * 500, 48 << 20) // 2) + b"]>>"
    packed = zlib.compress(b"1 0 " + body, 9)
    return HEAD + PAGES + object_stream(4, 1, 4, packed) + TRAILER


def empty_blocks(size: int) -> bytes:
    """Deflate blocks with fixed codes that hold nothing: ten bits each."""
    # Four blocks take forty bits: 0, 01, 0000000 each, least significant bit first.
    bits = "".join("010" + "0000000" for _ in range(4))
    piece = int(bits[::-1], 2).to_bytes(5, "little")
    return HEAD + CATALOG + PAGES + object_stream(4, 1, 4, b"\x78\x9c" + piece * (size // 5)) + TRAILER


def tiny_tables(size: int) -> bytes:
    """Deflate blocks with tables of their own and a few bytes of data."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = encoder.compress(bytes(range(0, 250, 5)) * 3) + encoder.flush(zlib.Z_FULL_FLUSH)
    return HEAD + CATALOG + PAGES + object_stream(4, 1, 4, b"\x78\x9c" + piece * (size // len(piece))) + TRAILER


def long_codes(size: int) -> bytes:
    """Random bytes, compressed: every bit has to be looked at."""
    state, out = 1, bytearray()
    for _ in range(1 << 16):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        out.append((state >> 40) & (state >> 33) & 255)
    packed = zlib.compress(bytes(out) * (size // 40_000 + 1), 1, 15)[:size]
    return HEAD + CATALOG + PAGES + object_stream(4, 1, 4, packed) + TRAILER


def longest_codes(size: int) -> bytes:
    """One block of deflate in which every byte has a code of 15 bits."""
    lengths = [*range(1, 16), *[0] * 241, 15, 1]  # literals 0 to 14, the end of the block, one distance
    # Not the last block, its own tables, 257 + 1 + 19 lengths. The codes for the lengths 0 to 15 take four bits each, those for
    # repetitions (the first three) do not exist. RFC 1951 3.2.7.
    head = "0" + "01" + "00000" + "00000" + "1111" + "000" * 3 + "001" * 16
    head += "".join(format(length, "04b") for length in lengths)
    longest = "111111111111110"
    head += longest * (len(head) % 8)  # up to a whole byte

    def packed(bits: str) -> bytes:
        return int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")

    return packed(head) + packed(longest * 8) * (size // 15)


def shared_codes(size: int) -> bytes:
    """The same block, decoded for each of many xref streams. Each begins with a stored block that holds the next one's head."""
    count, data, out = 12, longest_codes(size), bytearray(HEAD + CATALOG + PAGES)
    starts, begins = [], []
    for n in range(count):
        starts.append(len(out))
        dictionary = b"<</Type/XRef/W[1 2 1]/Size 4/Root 1 0 R/Filter/FlateDecode/Prev %010d/Length %010d>>" % (0, 0)
        out += b"%d 0 obj%sstream\n" % (9 + n, dictionary)
        begins.append(len(out))
        out += b"\x78\x9c" + bytes(
            5
        )  # of zlib, and of the stored block: its length and the complement (RFC 1951 3.2.4)
    out += data
    end = len(out)
    for n, begin in enumerate(begins):
        held = begins[n + 1] + 2 - (begin + 7) if n + 1 < count else 0
        out[begin + 2 : begin + 7] = b"\x00" + held.to_bytes(2, "little") + (held ^ 0xFFFF).to_bytes(2, "little")
        at = out.index(b"/Prev ", starts[n]) + 6
        out[at : at + 10] = b"%010d" % (starts[n + 1] if n + 1 < count else 0)
        at = out.index(b"/Length ", starts[n]) + 8
        out[at : at + 10] = b"%010d" % (end - begin)
    return bytes(out) + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % starts[0]


def lzw_codes(size: int) -> bytes:
    """LZW codes of one byte each. The table is cleared (256) before its codes would take more than nine bits."""
    bits = "".join(format(code, "09b") for code in (256, *(65 + n % 7 for n in range(247))))
    piece = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return HEAD + CATALOG + PAGES + object_stream(4, 1, 4, piece * (size // len(piece)), b"/LZWDecode") + TRAILER


def locked_names(size: int) -> bytes:
    """A list of locked fields that many signatures share."""
    catalog = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%s]>>>>\nendobj\n"
    fields = b"".join(
        b"%d 0 obj<</FT/Sig/V<</ByteRange[0 1 2 3]/Reference[4 0 R]>>>>endobj\n" % n for n in range(5, 45)
    )
    lock = b"4 0 obj<</TransformMethod/FieldMDP/TransformParams<</Action/Include/Fields[%s]>>>>endobj\n"
    names = b"()" * (size // 2)
    return HEAD + catalog % b"".join(b"%d 0 R " % n for n in range(5, 45)) + PAGES + lock % names + fields + TRAILER


def keys(size: int) -> bytes:
    """A catalog of very many keys."""
    return HEAD + b"1 0 obj\n<</Type/Catalog/Pages 2 0 R" + b"/a/a" * (size // 4) + b">>\nendobj\n" + PAGES + TRAILER


def page_levels(size: int) -> bytes:
    """A page tree of very many levels."""
    levels = size // 42
    tree = b"".join(b"%d 0 obj<</Kids[%d 0 R]>>endobj\n" % (n, n + 1) for n in range(4, 4 + levels))
    page = b"%d 0 obj<</Type/Page>>endobj\n" % (4 + levels)
    return HEAD + CATALOG + b"2 0 obj<</Kids[4 0 R]>>endobj\n" + tree + page + TRAILER


def field_levels(size: int) -> bytes:
    """A tree of form fields of very many levels, each of which inherits its value."""
    levels = size // 42
    tree = b"".join(b"%d 0 obj<</Kids[%d 0 R]>>endobj\n" % (n, n + 1) for n in range(5, 5 + levels))
    catalog = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]>>>>\nendobj\n"
    return HEAD + catalog + PAGES + tree + b"%d 0 obj<</FT/Sig>>endobj\n" % (5 + levels) + TRAILER


def repeated_reference(size: int) -> bytes:
    """A large field that the form names again and again."""
    catalog = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%s]>>>>\nendobj\n" % (b"4 0 R " * (size // 12))
    return HEAD + catalog + PAGES + b"4 0 obj\n<</FT/Tx/A[" + b"0 " * (size // 4) + b"]>>\nendobj\n" + TRAILER


def repeated_word(word: bytes) -> Callable[[int], bytes]:
    """What a scan looks for, or what looks like it, over and over."""

    def make(size: int) -> bytes:
        return HEAD + CATALOG + PAGES + word * (size // len(word)) + b"\n" + TRAILER

    return make


def empty_subsections(size: int) -> bytes:
    """An xref table of very many subsections without a row."""
    body = HEAD + CATALOG + PAGES
    return body + b"xref\n" + b"0 0\n" * (size // 4) + TRAILER + b"startxref\n%d\n%%%%EOF\n" % len(body)


def subsections(size: int) -> bytes:
    """An xref table of very many subsections, and a form that asks for numbers in the last of them."""
    body = HEAD
    offsets = []
    fields = b"4 0 R " * (size // 24)
    catalog = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%s]>>>>\nendobj\n" % fields
    for each in (catalog, *(part + b"endobj\n" for part in PAGES.split(b"endobj\n")[:2]), b"4 0 obj<<>>endobj\n"):
        offsets.append(len(body))
        body += each
    far = b"".join(b"%d 1\n%010d 00000 n \n" % (2 * n + 9, 9) for n in range(size // 40))
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return body + b"xref\n" + far + b"1 4\n" + rows + TRAILER + b"startxref\n%d\n%%%%EOF\n" % len(body)


def nested_trailers(size: int) -> bytes:
    """Sections of an xref whose trailers each hold all that come after it, in a string."""
    count, out = 1000, bytearray(HEAD + CATALOG + PAGES)
    pad = max(0, size // count - 60)
    starts = []
    for _ in range(count):
        starts.append(len(out))
        previous = b"/Prev %010d" % 0
        out += b"xref 0 0 trailer<</Root 1 0 R%s/A(" % previous + b" " * pad
    out += b")>>" * count
    for n in range(count - 1):
        at = out.index(b"/Prev ", starts[n]) + 6
        out[at : at + 10] = b"%010d" % starts[n + 1]
    return bytes(out) + b"\nstartxref\n%d\n%%%%EOF\n" % starts[0]


def hexadecimal(size: int) -> bytes:
    """Filters one after the other, each of which makes the data anew."""
    filters = b"[" + b"/ASCIIHexDecode" * 8 + b"]"
    packed = b"30" * (size // 2)
    return HEAD + CATALOG + PAGES + object_stream(4, 1, 4, packed, filters) + TRAILER


# --- for the search of a field that is to be signed, which is called "s" ----------------------------------------------------

FORM = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[%s]>>>>\nendobj\n"


def named_fields(size: int) -> bytes:
    """Very many signature fields, and the one that is asked for at their end."""
    count = size // 60
    fields = b"".join(b"%d 0 obj<</FT/Sig/T(%d)>>endobj\n" % (n, n) for n in range(9, 9 + count))
    roots = b"".join(b"%d 0 R " % n for n in range(9, 9 + count))
    return HEAD + FORM % (roots + b"4 0 R") + PAGES + b"4 0 obj<</FT/Sig/T(s)>>endobj\n" + fields + TRAILER


def one_long_name(size: int) -> bytes:
    """A tree of fields, all of which have the same long name."""
    levels = size // 100
    name = b"8 0 obj(" + b"x" * (size // 2) + b")endobj\n"
    tree = b"".join(b"%d 0 obj<</T 8 0 R/FT/Sig/Kids[%d 0 R]>>endobj\n" % (n, n + 1) for n in range(9, 9 + levels))
    return HEAD + FORM % b"9 0 R" + PAGES + name + tree + TRAILER


def kids_in_a_circle(size: int) -> bytes:
    """Fields that are each other's kids, in very many ways."""
    count = 64
    kids = b"".join(b"%d 0 R " % n for n in range(9, 9 + count)) * (size // count // 500)
    fields = b"".join(b"%d 0 obj<</T(%d)/Kids[%s]>>endobj\n" % (n, n, kids) for n in range(9, 9 + count))
    return HEAD + FORM % b"9 0 R" + PAGES + fields + TRAILER


def many_kids(size: int) -> bytes:
    """The field that is asked for has very many kids, none of which is there."""
    kids = b"9 0 R " * (size // 6)
    return HEAD + FORM % b"4 0 R" + PAGES + b"4 0 obj<</FT/Sig/T(s)/Kids[%s]>>endobj\n" % kids + TRAILER


def long_lock(size: int) -> bytes:
    """The lock of the field names one long text very often."""
    name = b"8 0 obj(" + b"\xe9\x80" * (size // 4) + b")endobj\n"
    lock = b"<</Action/Include/Fields[%s]>>" % (b"8 0 R " * (size // 12))
    return HEAD + FORM % b"4 0 R" + PAGES + name + b"4 0 obj<</FT/Sig/T(s)/Lock%s>>endobj\n" % lock + TRAILER


def short_locks(size: int) -> bytes:
    """The lock of the field names very many fields without a name."""
    lock = b"<</Action/Include/Fields[%s]>>" % (b"()" * (size // 2))
    return HEAD + FORM % b"4 0 R" + PAGES + b"4 0 obj<</FT/Sig/T(s)/Lock%s>>endobj\n" % lock + TRAILER


def seed_values(size: int) -> bytes:
    """Seed values that refer to themselves, very often."""
    seeds = b"8 0 obj<</A[%s]>>endobj\n" % (b"8 0 R " * (size // 6))
    return HEAD + FORM % b"4 0 R" + PAGES + seeds + b"4 0 obj<</FT/Sig/T(s)/SV 8 0 R>>endobj\n" + TRAILER


BOMBS_OF_FIELDS: dict[str, Callable[[int], bytes]] = {
    "named fields": named_fields,
    "one long name": one_long_name,
    "kids in a circle": kids_in_a_circle,
    "many kids": many_kids,
    "long lock": long_lock,
    "short locks": short_locks,
    "seed values": seed_values,
    "locked names": locked_names,
    "field levels": field_levels,
    "repeated reference": repeated_reference,
    "subsections": subsections,
}
BOMBS: dict[str, Callable[[int], bytes]] = {
    "numbers": numbers(1),
    "spread numbers": numbers(4),
    "plain objects": plain_objects,
    "inflating": inflating,
    "compressed catalog": compressed_catalog,
    "empty blocks": empty_blocks,
    "tiny tables": tiny_tables,
    "long codes": long_codes,
    "keys": keys,
    "shared codes": shared_codes,
    "LZW codes": lzw_codes,
    "locked names": locked_names,
    "page levels": page_levels,
    "field levels": field_levels,
    "repeated reference": repeated_reference,
    "objects without end": repeated_word(b"1 0 obj<<>>stream\n"),
    "trailers": repeated_word(b"trailer<<"),
    "strings": repeated_word(b"1 0 obj ("),
    "first letters": repeated_word(b"to"),
    "empty subsections": empty_subsections,
    "subsections": subsections,
    "nested trailers": nested_trailers,
    "hexadecimal": hexadecimal,
}
