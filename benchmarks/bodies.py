"""Request bodies in files, made before a benchmark's clock runs: all but the part that must differ between requests."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.filled_pdf import filled_pdf
from harness.invoices import invoice
from harness.xml_invoices import xml_invoice

API = "/signstash/einvoice-integration-client-ws/api/v0"

# So many different documents take turns in a body.
DIFFERENT = 100


def make_documents(count: int, size_bytes: int) -> list[bytes]:
    """Different invoices of about that size (12 KB to 20 MB), or else PDFs with a comment that fills them up."""
    if 12_000 <= size_bytes <= 20_000_000:
        return [invoice(number, 0, size_bytes) for number in range(1, min(count, DIFFERENT) + 1)]
    return [filled_pdf(number, size_bytes) for number in range(min(count, DIFFERENT))]


def padded(document: bytes) -> bytes:
    """With line ends behind its own end, to a length whose base64 joins without padding."""
    return document + b"\n" * (-len(document) % 3)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document, and what a request asks for it.

    Equal documents would be signed only once, so each ordinal gets a document of its own, by nine bytes that `number` writes.
    `around` gives what stands before and behind these, the first as long as base64 joins without padding. `make` takes how many
    documents there are, and their size in bytes.
    """

    suffix: str
    media_type: str
    signature: Mapping[str, Any]
    make: Callable[[int, int], list[bytes]]
    around: Callable[[bytes], tuple[bytes, bytes]]
    number: bytes

    def variant(self, document: bytes, ordinal: int) -> bytes:
        """The document of this ordinal that is made of `document`."""
        before, after = self.around(document)
        return before + self.number % ordinal + after


# The number is a comment at the end of the file.
PDF = Kind(
    ".pdf",
    "application/pdf",
    {"signatureType": "PAdES", "location": "Oeiras", "reason": "Fatura"},
    make_documents,
    lambda document: (padded(document), b""),
    b"%%%07d\n",
)


def make_xml_documents(count: int, size_bytes: int) -> list[bytes]:
    """Different invoices in UBL of about that size."""
    return [xml_invoice(number, size_bytes=size_bytes) for number in range(1, min(count, DIFFERENT) + 1)]


def around_invoice_number(document: bytes) -> tuple[bytes, bytes]:
    """What a signature covers must differ, and a comment at the end is not covered: so it is the number of the invoice."""
    before, mark, rest = document.partition(b"<cbc:ID>FT 2026/")
    before += mark
    return before + b"0" * (-len(before) % 3), rest[rest.index(b"<") :]


XML = Kind(
    ".xml",
    "text/xml",
    {
        **{"signatureType": "XAdES", "location": "Oeiras", "reason": "Fatura"},
        "advancedSignatureInfo": {"signatureLocation": "ext:ExtensionContent"},
    },
    make_xml_documents,
    around_invoice_number,
    b"%09d",
)


def write_body(path: Path, count: int, documents: Sequence[bytes], kind: Kind = PDF) -> int:
    """Everything after the request's own attributes; returns the decoded bytes. `documents` take turns, each as a `variant`."""
    parts = [kind.around(document) for document in documents]
    encoded = [(base64.b64encode(before), base64.b64encode(after)) for before, after in parts]
    signature = json.dumps(kind.signature).encode()
    total = 0
    with path.open("wb") as file:
        file.write(b'"documents":[')
        for ordinal in range(count):
            turn = ordinal % len(documents)
            number = kind.number % ordinal
            total += sum(map(len, parts[turn])) + len(number)
            facts = (
                f'"name":"fatura-{ordinal:05d}{kind.suffix}","contentType":"{kind.media_type}",'
                f'"externalReference":"{ordinal:05d}"'
            )
            file.write(b"," * (ordinal > 0) + b'{"documentRequest":{%s,"base64Content":"' % facts.encode())
            file.write(base64.b64encode(number).join(encoded[turn]))
            file.write(b'"},"signatureInfo":%s}' % signature)
        file.write(b"]}")
    return total
