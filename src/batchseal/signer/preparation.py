"""What there is to do for a claimed operation: looks at what is stored, and prepares what is not (step 3 of the pipeline).

What is prepared here goes into a further payload of the operation. The payload is durable, and the row names it, before anything
in it is signed.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from batchseal.document import (
    Credential,
    Description,
    DocumentOutcome,
    Evidence,
    Prepared,
    Refusal,
    storage_refusal,
    to_sign,
)
from batchseal.errors import NoRoom, PayloadDamaged, PayloadUnavailable
from batchseal.formats.interface import BATCH_DOCUMENTS, Original
from batchseal.formats.registry import Formats
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Payloads, Upload
from batchseal.payloads.operation import OperationReader, record_bytes
from batchseal.signature import Level
from batchseal.signer.stamp_room import StampRoom
from batchseal.signer.work import Plan, Work, lease_lost
from batchseal.store.rows import ClaimedOperation, DocumentRow, SignatureRow
from batchseal.store.store import Store
from batchseal.system.crash_sites import crash_site

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What the signer reads of originals at once.
BATCH_BYTES = 4 << 20
# A large document that release 0.1 stored is in memory twice: as it is stored, and unpacked.
COPIES = 2


# Finds the place of a visible signature in a document of a client service: see `placeholder/finder.py`.
Locate = Callable[[str, Description, "Buffer"], Awaitable[Description]]


class Preparation:
    """`locate` is asked for places that must be found."""

    def __init__(
        self,
        store: Store,
        payloads: Payloads,
        formats: Formats,
        stamp_room: StampRoom,
        locate: Locate | None = None,
    ) -> None:
        self._locate = locate
        self._store = store
        self._payloads = payloads
        self._formats = formats
        self._stamp_room = stamp_room

    async def find(self, work: Work, credential: Credential, rows: dict[int, DocumentRow]) -> Plan:
        """Looks at what is stored, and prepares what is not."""
        row = work.row
        kept = await self._store.evidence(row.id, row.created_at, list(rows))
        plan, unprepared, old_tries, needs_credential = await work.read(
            partial(self._look, credential=credential, rows=rows, kept=kept, checks=work.claimed.may_be_torn)
        )
        work.tries = {
            ordinal: kept[ordinal].tries if ordinal in kept else old_tries.get(ordinal, 0) for ordinal in rows
        }
        if unprepared or needs_credential:
            await self.prepare(work, credential, unprepared, plan)
        return plan

    def _look(
        self,
        reader: OperationReader,
        credential: Credential,
        rows: dict[int, DocumentRow],
        kept: dict[int, SignatureRow],
        checks: bool,
    ) -> tuple[Plan, list[DocumentRow], dict[int, int], bool]:
        """What to do, the documents that must be prepared first, the tries that a payload of release 0.1 tells, and whether the
        credential is not stored that prepared documents name. Blocking.

        With `checks` each original is read: one that is damaged could be signed, and never be given back.
        """
        stored = reader.ordinals(FrameKind.DOCUMENT) if checks else set(rows)
        plan, unprepared, named = Plan(), list[DocumentRow](), set[bytes]()
        evidence = records.read_old_evidence(reader, list(rows))
        evidence |= {ordinal: one.evidence for ordinal, one in kept.items() if one.evidence is not None}
        have_prepared, shared = reader.ordinals(FrameKind.PREPARED), records.SharedContents(reader)
        for ordinal in sorted(rows):
            is_prepared = ordinal in have_prepared and ordinal in stored
            prepared = records.read_prepared(reader, ordinal, shared) if is_prepared else None
            if prepared is not None:
                self._formats.named(prepared.format)  # a document is not signed where nobody here can finish it
                named.add(prepared.fingerprint)
            if prepared is not None and ordinal in evidence:
                self._sort_signed(plan, prepared, evidence[ordinal], credential, reader)
            elif (
                prepared is not None
                and prepared.fingerprint == credential.fingerprint
                and self._stamp_room.fits(prepared)
            ):
                plan.to_sign.append(to_sign(prepared))
            else:
                unprepared.append(rows[ordinal])
        # A power cut may take the end of a synchronous operation's payload, which is where its credential stands.
        needs_credential = credential.fingerprint in named and not records.has_credential(
            reader, credential.fingerprint
        )
        return plan, unprepared, records.read_old_tries(reader), needs_credential

    def _sort_signed(
        self, plan: Plan, prepared: Prepared, evidence: Evidence, credential: Credential, reader: OperationReader
    ) -> None:
        used = self._formats.named(prepared.format)
        if prepared.level > Level.T and prepared.fingerprint != credential.fingerprint:
            credential = records.read_credential(reader, prepared.fingerprint)
        if prepared.level > Level.B and used.next_need(prepared, evidence, credential) is not None:
            plan.to_complete.append((to_sign(prepared), evidence))
        else:
            added_bytes = used.added_bytes(prepared, evidence, credential)
            plan.ended.append(DocumentOutcome(prepared.ordinal, added_bytes, level=prepared.level))

    async def prepare(self, work: Work, credential: Credential, rows: Sequence[DocumentRow], plan: Plan) -> None:
        """3 prepare, into a further payload that the row of the operation names before anything in it is signed.

        Without `rows` it holds the credential alone.
        """
        asked = await self._located(work, rows, await work.read(read_asked) if rows else {})
        stamped = any(row.ordinal in asked and asked[row.ordinal].level > Level.B for row in rows)
        room = await self._stamp_room.find() if stamped else 0
        upload = work.upload = self._payloads.create(uuid4())
        prepare = partial(
            self._prepare_stored,
            upload=upload,
            credential=credential,
            rows=rows,
            asked=asked,
            plan=plan,
            time_stamp_bytes=room,
        )
        async with work.memory(memory_bytes(rows)):
            record = await work.read(prepare)
        if record is None:
            await work.drop_upload()
            return
        work.upload_may_be_named = True
        row, ordinals = work.row, [document.ordinal for document in rows]
        if not await self._store.add_payload(
            row.id, row.created_at, work.claimed.fence, record_bytes(record), ordinals
        ):
            work.upload_may_be_named = False
            raise lease_lost(work.row)
        work.payload_added(record_bytes(record), self._payloads)

    async def _located(
        self, work: Work, rows: Sequence[DocumentRow], asked: dict[int, records.AskedDocument]
    ) -> dict[int, records.AskedDocument]:
        """What was asked, with the places that must be found in the documents. One document at a time is in memory for it.

        Raises PayloadUnavailable where nobody can look just now: the operation is tried again later.
        """
        located = dict(asked)
        for row in rows:
            one = asked.get(row.ordinal)
            if one is None or self._locate is None:
                continue
            wanted = records.description(one, row.external_reference, row.name)
            if not wanted.seeks_place or self._formats.refusal(wanted) is not None:
                continue
            try:
                async with work.memory(memory_bytes([row])):
                    content = await work.read(
                        partial(OperationReader.read, kind=FrameKind.DOCUMENT, ordinal=row.ordinal)
                    )
                    found = await self._locate(work.row.client_service, wanted, content)
                    del content
            except PayloadDamaged:
                continue  # the preparation meets it again, and ends the document
            except NoRoom as problem:
                raise PayloadUnavailable(f"a visible signature cannot be placed just now: {problem.cause}") from None
            located[row.ordinal] = msgspec.structs.replace(one, visible_signature=found.visible_signature)
        return located

    def _prepare_stored(
        self,
        reader: OperationReader,
        upload: Upload,
        credential: Credential,
        rows: Sequence[DocumentRow],
        asked: dict[int, records.AskedDocument],
        plan: Plan,
        time_stamp_bytes: int,
    ) -> PayloadRecord | None:
        """Blocking. None where no document could be prepared."""
        upload.begin()
        upload.append([records.credential_frame(credential)])
        worth_keeping, frames, signing_time = not rows, records.PreparedFrames(), datetime.now(UTC)
        for batch in batches(rows):
            originals = self._originals(reader, batch, asked, plan)
            results = self._formats.prepare(originals, credential, signing_time, time_stamp_bytes)
            prepared = [result for result in results if isinstance(result, Prepared)]
            for (ordinal, _, _), result in zip(originals, results, strict=True):
                if isinstance(result, Refusal):
                    plan.ended.append(DocumentOutcome(ordinal, refusal=result))
            plan.to_sign += map(to_sign, prepared)
            upload.append(frames.frames(prepared))
            worth_keeping = worth_keeping or bool(prepared)
        record = upload.commit(durable=True) if worth_keeping else None
        crash_site("further-payload-committed")
        return record

    def _originals(
        self,
        reader: OperationReader,
        rows: Sequence[DocumentRow],
        asked: dict[int, records.AskedDocument],
        plan: Plan,
    ) -> list[Original]:
        """Documents that are damaged in the payload end here. So does one that was refused on arrival, and that an operator wants
        tried again: it was never stored, and its row still says why.
        """
        originals = list[Original]()
        for row in rows:
            # `has` looks at headers alone: `ordinals` would read every document of the payload, once for each batch.
            if row.sign_error is not None and row.cause and not reader.has(FrameKind.DOCUMENT, row.ordinal):
                refusal = Refusal(row.sign_error, row.cause)
                plan.ended.append(DocumentOutcome(row.ordinal, refusal=refusal))
                continue
            try:
                if row.ordinal not in asked:
                    raise PayloadDamaged(f"what was asked for document {row.ordinal} is not stored")
                content = reader.read(FrameKind.DOCUMENT, row.ordinal)
                wanted = records.description(asked[row.ordinal], row.external_reference, row.name)
                originals.append((row.ordinal, wanted, content))
            except PayloadDamaged as problem:
                plan.ended.append(DocumentOutcome(row.ordinal, refusal=storage_refusal(problem)))
        return originals


def read_asked(reader: OperationReader) -> dict[int, records.AskedDocument]:
    """What was asked for each document, by ordinal. Blocking."""
    try:
        return records.read_asked(reader)
    except PayloadDamaged:
        return {}  # this costs the documents that must be prepared, not those that are


def memory_bytes(rows: Sequence[DocumentRow]) -> int:
    """What of these documents is in memory at once while they are read by `batches`."""
    largest = max((row.content_bytes for row in rows), default=0)
    if largest > BATCH_BYTES:
        return COPIES * largest
    return min(BATCH_BYTES, sum(row.content_bytes for row in rows))


def batches(rows: Sequence[DocumentRow]) -> Iterator[list[DocumentRow]]:
    """Rows in order, as many as a format prepares at once, and of about BATCH_BYTES at most. A larger document is alone."""
    batch: list[DocumentRow] = []
    for row in rows:
        full = sum(other.content_bytes for other in batch) + row.content_bytes > BATCH_BYTES
        if batch and (full or len(batch) == BATCH_DOCUMENTS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def handed_plan(
    claimed: ClaimedOperation, credential: Credential, rows: dict[int, DocumentRow], stamp_room: StampRoom
) -> Plan | None:
    """The plan of an operation that its worker handed over with all digests; None where they do not fit any more."""
    fits = claimed.fingerprint == credential.fingerprint and all(map(stamp_room.fits, claimed.to_sign))
    if fits and {item.ordinal for item in claimed.to_sign} == rows.keys():
        return Plan(to_sign=list(claimed.to_sign))
    return None
