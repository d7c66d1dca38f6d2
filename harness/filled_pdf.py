"""A PDF of any size that is made quickly."""

import random

FILL_BYTES = 1 << 20
# A comment ends with its line.
IN_A_COMMENT = bytes.maketrans(b"\r\n", b"xx")


def filled_pdf(number: int, size_bytes: int) -> bytes:
    """One page with a line of text, filled up to the size by a comment, which is hardly compressible where it is large."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 4 0 R>>>>/Contents 5 0 R>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    text = b"BT /F1 12 Tf 60 780 Td (Recibo %d) Tj ET" % number
    objects.append(b"<</Length %d>>\nstream\n%s\nendstream" % (len(text), text))
    out = bytearray(b"%PDF-1.4\n")
    out += b"%"
    chance, left = random.Random(number), max(0, size_bytes - 900)
    for size in [FILL_BYTES] * (left // FILL_BYTES):
        out += chance.randbytes(size).translate(IN_A_COMMENT)
    out += b"x" * (left % FILL_BYTES) + b"\n"
    offsets = []
    for place, item in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (place, item)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)
