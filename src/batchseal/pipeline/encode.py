"""Step 6, deliver: a signed document as a reply carries it, in one pass over its segments, never joined before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from batchseal._native.base64 import encode_segments
from batchseal.document import Refusal, SignedDocument
from batchseal.operation import DocumentStatus
from batchseal.store.rows import DocumentRow

Encoding = Literal["base64", "raw"]

# What is read ahead while the batch before goes out.
BATCH_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Delivered:
    """A document of a result: its row as it really ended, and the signed file in pieces (none where it is not signed).

    `media_type` is that of the file. `suffix`, such as `.p7m`, comes behind its name where it is of another type than the
    original.
    """

    row: DocumentRow
    segments: Sequence[bytes]
    media_type: str = ""
    suffix: str = ""


def encode(row: DocumentRow, signed: SignedDocument, encoding: Encoding) -> Delivered:
    segments: Sequence[bytes]
    if encoding == "base64":
        segments = (encode_segments(signed.segments),)
    else:
        segments = tuple(bytes(segment) for segment in signed.segments)
    return Delivered(row, segments, signed.media_type or row.media_type, signed.suffix)


def undelivered(row: DocumentRow, refusal: Refusal) -> Delivered:
    """A document that cannot be given back: signed but damaged in the store, or never signed."""
    if row.status is not DocumentStatus.SIGNED:
        return Delivered(row, ())
    failed = replace(row, status=DocumentStatus.ERROR_SIGNING, sign_error=refusal.sign_error, cause=refusal.cause)
    return Delivered(failed, ())


def batches(rows: Sequence[DocumentRow]) -> Iterator[list[DocumentRow]]:
    """Rows in order, about BATCH_BYTES of signed documents at a time."""
    batch: list[DocumentRow] = []
    total = 0
    for row in rows:
        signed_bytes = row.content_bytes + row.additional_bytes
        if batch and total + signed_bytes > BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(row)
        total += signed_bytes
    if batch:
        yield batch
