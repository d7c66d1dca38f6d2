"""Request bodies in files, made before a benchmark's clock runs: all but the part that must differ between requests."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from harness.invoices import invoice

API = "/signstash/einvoice-integration-client-ws/api/v0"

# So many different documents take turns in a body.
DIFFERENT = 100


def make_documents(count: int, size_bytes: int) -> list[bytes]:
    """Different invoices of about that size (at least 12 KB), or under that a small PDF."""
    if size_bytes >= 12_000:
        return [invoice(number, 0, size_bytes) for number in range(1, min(count, DIFFERENT) + 1)]
    return [small_pdf(number, size_bytes) for number in range(min(count, DIFFERENT))]


def small_pdf(number: int, size_bytes: int) -> bytes:
    """One page with a line of text, filled up to the size by a comment."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 4 0 R>>>>/Contents 5 0 R>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    text = b"BT /F1 12 Tf 60 780 Td (Recibo %d) Tj ET" % number
    objects.append(b"<</Length %d>>\nstream\n%s\nendstream" % (len(text), text))
    out = bytearray(b"%PDF-1.4\n")
    out += b"%" + b"x" * max(0, size_bytes - 900) + b"\n"
    offsets = []
    for place, item in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (place, item)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def padded(document: bytes) -> bytes:
    """With line ends behind its own end, to a length whose base64 joins without padding."""
    return document + b"\n" * (-len(document) % 3)


def variant(document: bytes, ordinal: int) -> bytes:
    """A document of its own for each ordinal, by a comment at its end: equal ones would be signed only once."""
    return padded(document) + b"%%%07d\n" % ordinal


def write_body(path: Path, count: int, documents: Sequence[bytes]) -> int:
    """Everything after the request's own attributes; returns the decoded bytes. `documents` take turns, each as a
    `variant`.
    """
    encoded = [base64.b64encode(padded(document)) for document in documents]
    after = json.dumps({"signatureType": "PAdES", "location": "Oeiras", "reason": "Fatura"})
    total = 0
    with path.open("wb") as file:
        file.write(b'"documents":[')
        for ordinal in range(count):
            turn = ordinal % len(documents)
            total += len(variant(documents[turn], ordinal))
            facts = (
                f'"name":"fatura-{ordinal:05d}.pdf","contentType":"application/pdf","externalReference":"{ordinal:05d}"'
            )
            file.write(b"," * (ordinal > 0) + b'{"documentRequest":{%s,"base64Content":"' % facts.encode())
            file.write(encoded[turn] + base64.b64encode(b"%%%07d\n" % ordinal))
            file.write(b'"},"signatureInfo":%s}' % after.encode())
        file.write(b"]}")
    return total
