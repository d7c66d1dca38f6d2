"""What there is to do for a claimed operation: looks at what is stored, and prepares what is not (step 3 of the pipeline).

What is prepared here goes into a further payload of the operation. The payload is durable, and the row names it, before anything
in it is signed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from batchseal.document import Credential, DocumentOutcome, Evidence, Level, Prepared, Refusal, storage_refusal, to_sign
from batchseal.errors import PayloadDamaged
from batchseal.formats.interface import BATCH_DOCUMENTS, Original
from batchseal.formats.registry import Formats
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import PayloadRecord, Payloads, Upload
from batchseal.payloads.operation import OperationReader, record_bytes
from batchseal.signer.work import Plan, Work, lease_lost
from batchseal.store.rows import ClaimedOperation, DocumentRow, SignatureRow
from batchseal.store.store import Store
from batchseal.system.crash_sites import crash_site


class Preparation:
    def __init__(self, store: Store, payloads: Payloads, formats: Formats) -> None:
        self._store = store
        self._payloads = payloads
        self._formats = formats

    async def find(self, work: Work, credential: Credential, rows: dict[int, DocumentRow]) -> Plan:
        """Looks at what is stored, and prepares what is not."""
        row = work.row
        kept = await self._store.evidence(row.id, row.created_at, min(rows), max(rows))
        plan, unprepared, old_tries = await work.read(partial(self._look, credential=credential, rows=rows, kept=kept))
        work.tries = {
            ordinal: kept[ordinal].tries if ordinal in kept else old_tries.get(ordinal, 0) for ordinal in rows
        }
        if unprepared:
            await self.prepare(work, credential, unprepared, plan)
        return plan

    def _look(
        self,
        reader: OperationReader,
        credential: Credential,
        rows: dict[int, DocumentRow],
        kept: dict[int, SignatureRow],
    ) -> tuple[Plan, list[DocumentRow], dict[int, int]]:
        """What to do, the documents that must be prepared first, and the tries that a payload of release 0.1 tells. Blocking."""
        plan, unprepared = Plan(), list[DocumentRow]()
        evidence = records.read_old_evidence(reader, list(rows))
        evidence |= {ordinal: one.evidence for ordinal, one in kept.items() if one.evidence is not None}
        have_prepared = reader.ordinals(FrameKind.PREPARED)
        for ordinal in sorted(rows):
            prepared = records.read_prepared(reader, ordinal) if ordinal in have_prepared else None
            if prepared is not None and ordinal in evidence:
                self._sort_signed(plan, prepared, evidence[ordinal])
            elif prepared is not None and prepared.fingerprint == credential.fingerprint:
                plan.to_sign.append(to_sign(prepared))
            else:
                unprepared.append(rows[ordinal])
        return plan, unprepared, records.read_old_tries(reader)

    def _sort_signed(self, plan: Plan, prepared: Prepared, evidence: Evidence) -> None:
        if prepared.level > Level.B and self._formats.named(prepared.format).next_need(prepared, evidence) is not None:
            plan.to_complete.append((to_sign(prepared), evidence))
        else:
            plan.ended.append(DocumentOutcome(prepared.ordinal, prepared.additional_bytes))

    async def prepare(self, work: Work, credential: Credential, rows: Sequence[DocumentRow], plan: Plan) -> None:
        """3 prepare, into a further payload that the row of the operation names before anything in it is signed."""
        upload = work.upload = self._payloads.create(uuid4())
        record = await work.read(
            partial(self._prepare_stored, upload=upload, credential=credential, rows=rows, plan=plan)
        )
        if record is None:
            await work.abandon_upload()
            return
        work.is_being_named = True
        row, ordinals = work.row, [document.ordinal for document in rows]
        if not await self._store.add_payload(
            row.id, row.created_at, work.claimed.fence, record_bytes(record), ordinals
        ):
            raise lease_lost(work.row)
        work.payload_added(record_bytes(record), self._payloads)

    def _prepare_stored(
        self,
        reader: OperationReader,
        upload: Upload,
        credential: Credential,
        rows: Sequence[DocumentRow],
        plan: Plan,
    ) -> PayloadRecord | None:
        """Blocking. None where no document could be prepared."""
        try:
            asked = records.read_asked(reader)
        except PayloadDamaged:
            asked = {}  # this costs the documents that must be prepared, not those that are
        upload.begin()
        upload.append([records.credential_frame(credential)])
        any_prepared = False
        for first in range(0, len(rows), BATCH_DOCUMENTS):
            originals = self._originals(reader, rows[first : first + BATCH_DOCUMENTS], asked, plan)
            results = self._formats.prepare(originals, credential, datetime.now(UTC))
            prepared = [result for result in results if isinstance(result, Prepared)]
            for (ordinal, _, _), result in zip(originals, results, strict=True):
                if isinstance(result, Refusal):
                    plan.ended.append(DocumentOutcome(ordinal, refusal=result))
            plan.to_sign += map(to_sign, prepared)
            upload.append(map(records.prepared_frame, prepared))
            any_prepared = any_prepared or bool(prepared)
        record = upload.commit(durable=True) if any_prepared else None
        crash_site("further-payload-committed")
        return record

    def _originals(
        self,
        reader: OperationReader,
        rows: Sequence[DocumentRow],
        asked: dict[int, records.AskedDocument],
        plan: Plan,
    ) -> list[Original]:
        """Documents that are damaged in the payload end here."""
        originals: list[Original] = []
        for row in rows:
            try:
                if row.ordinal not in asked:
                    raise PayloadDamaged(f"what was asked for document {row.ordinal} is not stored")
                content = reader.read(FrameKind.DOCUMENT, row.ordinal)
                wanted = records.description(asked[row.ordinal], row.external_reference, row.name)
                originals.append((row.ordinal, wanted, content))
            except PayloadDamaged as problem:
                plan.ended.append(DocumentOutcome(row.ordinal, refusal=storage_refusal(problem)))
        return originals


def handed_plan(claimed: ClaimedOperation, credential: Credential, rows: dict[int, DocumentRow]) -> Plan | None:
    """The plan of an operation that its worker handed over with all digests; None where they do not fit any more."""
    fits = claimed.fingerprint == credential.fingerprint
    if fits and {item.ordinal for item in claimed.to_sign} == rows.keys():
        return Plan(to_sign=list(claimed.to_sign))
    return None
