"""Documents that an operation has lost, and that a request brings again: which these are, and how they are stored again.

All but `named` blocks, and raises PayloadDamaged and PayloadUnavailable.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass

from batchseal.errors import PayloadDamaged
from batchseal.operation import DocumentStatus
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import CheckedFrame, PayloadReader, PayloadRecord, Payloads, Upload
from batchseal.payloads.operation import OperationReader, records_of
from batchseal.store.rows import DocumentRow, OperationRow
from batchseal.system.futures import in_pool

COMPARED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The documents of an operation that can be signed now. Those that are `lost` must be stored again before."""

    ordinals: list[int]
    lost: list[int]


def unsigned_documents(
    first: PayloadReader | None, second: PayloadReader, rows: Sequence[DocumentRow]
) -> Unsigned | None:
    """`first` are the payloads of a failed operation (None: they are gone), `second` is the one of the request that came again.

    None where the two hold different documents. They are compared by position and content, as far as both hold them: what was
    refused on arrival was never stored. A document that failed and is whole in `second` alone is lost in `first`. So are all that
    failed where `first` does not say any more what was asked for them.
    """
    in_first = first.ordinals(FrameKind.DOCUMENT) if first is not None else set[int]()
    in_second = second.ordinals(FrameKind.DOCUMENT)
    for ordinal in in_first & in_second:
        assert first is not None
        if not same_document(first.checked(FrameKind.DOCUMENT, ordinal), second.checked(FrameKind.DOCUMENT, ordinal)):
            return None
    failed = [row.ordinal for row in rows if row.status is DocumentStatus.ERROR_SIGNING]
    asked = asked_of(first) if first is not None else {}
    lost = [one for one in failed if one in in_second and not (one in in_first and one in asked)]
    return Unsigned([one for one in failed if one in in_first or one in in_second], lost)


def same_document(one: CheckedFrame, other: CheckedFrame) -> bool:
    """Whether two documents are the same, byte for byte. A large one is never whole in memory."""
    return one.total_bytes == other.total_bytes and all(
        one.read(at, at + COMPARED_BYTES) == other.read(at, at + COMPARED_BYTES)
        for at in range(0, one.total_bytes, COMPARED_BYTES)
    )


def asked_of(reader: PayloadReader) -> dict[int, records.AskedDocument]:
    """What was asked for each document, as far as that is still known."""
    with suppress(PayloadDamaged):
        return records.read_asked(reader)
    return {}


def store_again(
    payloads: Payloads, held: OperationRow, again: PayloadRecord, lost: Collection[int], upload: Upload
) -> PayloadRecord:
    """Writes the documents `lost` from the payload `again` into a further payload of `held`. It is durable when this returns.

    What was prepared of them is left out: the signatures of other documents must not be mixed up with it. Raises NoSpace.
    """
    with (
        closing(OperationReader(payloads, [again])) as second,
        closing(OperationReader(payloads, records_of(held.payloads))) as first,
    ):
        # This frame counts from now on, for all documents.
        asked = records.read_asked(second) | without(asked_of(first), lost)
        upload.begin()
        for ordinal in lost:
            copy_document(second, ordinal, upload, in_parts=payloads.takes_parts)
        described = ((ordinal, records.description(one, "", "")) for ordinal, one in sorted(asked.items()))
        upload.append([records.asked_frame(described)])
        return upload.commit(durable=True)


def without(asked: dict[int, records.AskedDocument], ordinals: Collection[int]) -> dict[int, records.AskedDocument]:
    return {ordinal: one for ordinal, one in asked.items() if ordinal not in ordinals}


def copy_document(reader: PayloadReader, ordinal: int, upload: Upload, *, in_parts: bool) -> None:
    """A large document is copied in parts where the store takes parts. Where it does not, the request held it whole as well."""
    content = reader.checked(FrameKind.DOCUMENT, ordinal)
    if not in_parts or content.total_bytes <= COMPARED_BYTES:
        upload.append([(FrameKind.DOCUMENT, ordinal, content.read(0, content.total_bytes))])
        return
    growing = upload.grow(FrameKind.DOCUMENT, ordinal)
    for at in range(0, content.total_bytes, COMPARED_BYTES):
        growing.write(content.read(at, min(at + COMPARED_BYTES, content.total_bytes)))
    growing.keep()


@dataclass(slots=True)
class Outcome:
    may_be_named: bool = False
    """Whether a row may name the payload."""


@asynccontextmanager
async def named(upload: Upload, writing: "asyncio.Future[PayloadRecord]") -> AsyncIterator[Outcome]:
    """While a further payload is written (by `writing`) and named in a row. What no row can name is deleted at the end.

    Where nobody knows whether a row names it, a sweep asks the rows and decides.
    """
    outcome = Outcome()
    try:
        yield outcome
    finally:
        await asyncio.wait([writing])
        if outcome.may_be_named:
            upload.release()
        else:
            await asyncio.shield(in_pool(None, upload.abandon))
