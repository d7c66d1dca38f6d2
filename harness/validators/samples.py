"""Small PDFs of every xref form, written by hand so that each detail can be chosen."""

import zlib
from collections.abc import Callable, Iterable, Mapping

Objects = Mapping[int, bytes]
# Makes of an object's number and value what stands in the file, as encryption does.
Seal = Callable[[int, bytes], bytes]

PAGE_TEXT = b"BT /F1 12 Tf 72 700 Td (FT 2021/5) Tj ET"


def document(
    *,
    form: bytes | None = None,
    annots: bytes | None = None,
    extra: Objects | None = None,
    catalog: bytes = b"",
) -> dict[int, bytes]:
    """A catalog (1), a page tree of two levels (2, 3), a page (4), its content (5) and a font (6)."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R" + catalog + (b"/AcroForm " + form if form else b"") + b">>",
        2: b"<</Type/Pages/Count 1/Kids[3 0 R]/MediaBox[0 0 595 842]>>",
        3: b"<</Type/Pages/Count 1/Kids[4 0 R]/Parent 2 0 R>>",
        4: b"<</Type/Page/Parent 3 0 R/Contents 5 0 R/Resources<</Font<</F1 6 0 R>>>>"
        + (b"/Annots " + annots if annots else b"")
        + b">>",
        5: b"<</Length %d>>\nstream\n%s\nendstream" % (len(PAGE_TEXT), PAGE_TEXT),
        6: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    return objects | dict(extra or {})


def unsealed(number: int, value: bytes) -> bytes:
    return value


def _write_objects(out: bytearray, objects: Objects, seal: Seal = unsealed) -> dict[int, int]:
    offsets = {}
    for number, value in objects.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, seal(number, value))
    return offsets


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _rows(offsets: Mapping[int, int], eol: bytes) -> bytes:
    out = b""
    for run in _runs(offsets):
        out += b"%d %d\n" % (run[0], len(run))
        for number in run:
            kind = b"f" if number == 0 or offsets[number] < 0 else b"n"
            out += b"%010d %05d %s%s" % (max(offsets[number], 0), 65535 if kind == b"f" else 0, kind, eol)
    return out


def with_table(
    objects: Objects,
    *,
    original: bytes = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
    trailer: bytes = b"",
    eol: bytes = b" \n",
    seal: Seal = unsealed,
) -> bytes:
    """`objects` and an xref table appended to `original`."""
    out = bytearray(original)
    offsets = _write_objects(out, objects, seal)
    start = len(out)
    if b"startxref" not in original:
        offsets[0] = -1
    out += b"xref\n" + _rows(offsets, eol)
    out += b"trailer\n<</Root 1 0 R/Size %d%s>>\nstartxref\n%d\n%%%%EOF\n" % (max(offsets) + 1, trailer, start)
    return bytes(out)


def object_stream(objects: Objects, level: int = 9) -> bytes:
    """The value of an object stream that holds `objects`; level 0 gives the same bytes with every zlib."""
    header, body = b"", b""
    for number, value in objects.items():
        header += b"%d %d " % (number, len(body))
        body += value + b"\n"
    data = zlib.compress(header + body, level)
    return b"<</Type/ObjStm/N %d/First %d/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream" % (
        len(objects),
        len(header),
        len(data),
        data,
    )


def _up_predicted(rows: list[bytes]) -> bytes:
    above, out = bytes(len(rows[0])), b""
    for row in rows:
        out += b"\x02" + bytes((a - b) & 255 for a, b in zip(row, above, strict=True))
        above = row
    return out


def xref_stream(
    number: int, offset: int, entries: Mapping[int, tuple[int, int, int]], extra: bytes, level: int = 9
) -> bytes:
    """An xref stream object over `entries` (type, field 2, field 3) and itself, with the PNG up predictor."""
    entries = {**entries, number: (1, offset, 0)}
    rows = [bytes([t]) + a.to_bytes(3, "big") + b.to_bytes(1, "big") for _, (t, a, b) in sorted(entries.items())]
    index = b" ".join(b"%d %d" % (run[0], len(run)) for run in _runs(entries))
    data = zlib.compress(_up_predicted(rows), level)
    return (
        b"%d 0 obj\n<</Type/XRef/W[1 3 1]/Index[%s]/Size %d/Filter/FlateDecode"
        b"/DecodeParms<</Predictor 12/Columns 5>>/Length %d%s>>\nstream\n%s\nendstream\nendobj\n"
        % (number, index, max(entries) + 1, len(data), extra, data)
    )


def with_stream(
    objects: Objects,
    *,
    original: bytes = b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n",
    compressed: Iterable[int] = (),
    trailer: bytes = b"",
    level: int = 9,
    seal: Seal = unsealed,
) -> bytes:
    """`objects` and an xref stream appended; those in `compressed` go into one object stream."""
    out = bytearray(original)
    packed = {number: objects[number] for number in compressed}
    container = max(objects) + 1
    plain = {number: value for number, value in objects.items() if number not in packed}
    if packed:
        plain[container] = object_stream(packed, level)
    offsets = _write_objects(out, plain, seal)
    entries = {number: (1, offset, 0) for number, offset in offsets.items()}
    entries |= {number: (2, container, index) for index, number in enumerate(packed)}
    if b"startxref" not in original:
        entries[0] = (0, 0, 255)
    start = len(out)
    out += xref_stream(container + 1, start, entries, b"/Root 1 0 R" + trailer, level)
    return bytes(out) + b"startxref\n%d\n%%%%EOF\n" % start


def hybrid(
    objects: Objects, hidden: Iterable[int], level: int = 9, *, trailer: bytes = b"", seal: Seal = unsealed
) -> bytes:
    """A table that shows `hidden` as free, and an /XRefStm that finds them in an object stream (7.5.8.4)."""
    out = bytearray(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    packed = {number: objects[number] for number in hidden}
    container = max(objects) + 1
    plain = {number: value for number, value in objects.items() if number not in packed}
    offsets = _write_objects(out, plain | {container: object_stream(packed, level)}, seal)
    stream_at = len(out)
    entries = {number: (2, container, index) for index, number in enumerate(packed)}
    out += xref_stream(container + 1, stream_at, entries, b"/Root 1 0 R" + trailer, level)
    start = len(out)
    shown = offsets | dict.fromkeys([0, *packed], -1)
    out += b"xref\n" + _rows(shown, b" \n")
    return bytes(out) + b"trailer\n<</Root 1 0 R/Size %d/XRefStm %d%s>>\nstartxref\n%d\n%%%%EOF\n" % (
        container + 2,
        stream_at,
        trailer,
        start,
    )


def text_field(name: bytes, *, more: bytes = b"") -> bytes:
    """A text field and its widget in one dictionary."""
    return b"<</Type/Annot/Subtype/Widget/FT/Tx/T%s/Rect[72 600 200 620]/F 4/P 4 0 R/V(x)%s>>" % (name, more)
