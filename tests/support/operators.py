"""Operators in tests: their store, and operations in every state to act upon."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from batchseal.audit.chain import make_link
from batchseal.document import DocumentOutcome, Evidence, Refusal
from batchseal.operation import ContentType, Mode, SignError
from batchseal.settings.load import Settings
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.operator import Bounds, OperatorStore, Who
from batchseal.store.rows import SignatureRow
from batchseal.store.trail import AuditTrail

WHO = Who("maria", "192.0.2.7")
AWAY = Refusal(SignError.CERT_SERVICE_GLOBAL_ERROR, "the signing service is away")
NO_PDF = Refusal(SignError.NOT_SIGNABLE, "not a PDF")


# A statement may take 2 s, which are over at once on a machine that is busy.
PATIENT = Bounds(statement_seconds=120.0)


@asynccontextmanager
async def operators(database_url: str, bounds: Bounds = PATIENT) -> AsyncIterator[OperatorStore]:
    store = await OperatorStore.connect(Settings(database_url=database_url), bounds=bounds)
    try:
        yield store
    finally:
        await store.close()


async def registered(
    store: Store,
    instance: UUID,
    count: int = 4,
    *,
    client_service: str = "A",
    reference: str = "",
    refused: Sequence[int] = (),
    evidence_record: bool = False,
    token_holder: UUID | None = None,
) -> OperationRow:
    new = NewOperation(
        *(uuid4(), client_service, reference or str(uuid4()), "described", Mode.ASYNC, instance, "h", 1),
        evidence_record=evidence_record,
        token_holder=token_holder,
    )
    documents = [
        NewDocument(n, f"doc {n}", f"{n}.pdf", ContentType.PDF, 1_000 + n, NO_PDF if n in refused else None)
        for n in range(count)
    ]
    return await store.register(new, documents)


async def ended(
    store: Store, row: OperationRow, failed: Sequence[int] = (), ordinals: Sequence[int] | None = None
) -> None:
    """Ends an operation: the documents `failed` fail, the other ones of `ordinals` (default: all) are signed."""
    claimed = await store.claim_one(row.id, 30)
    assert claimed is not None
    ordinals = range(row.documents_total) if ordinals is None else ordinals
    outcomes = [
        DocumentOutcome(n, refusal=AWAY) if n in failed else DocumentOutcome(n, 9, level=None) for n in ordinals
    ]
    kept = [SignatureRow(n, Evidence(b"signature %d" % n), 1) for n in ordinals if n not in failed]
    assert await store.finish(row.id, row.created_at, claimed.fence, outcomes, kept) is not None


async def chained(trail: AuditTrail) -> None:
    """Moves what is pending into the chain, without payloads."""
    for pending in (trail.pending, trail.pending_notes):
        while waiting := await pending():
            await trail.chain([(entry, entry.digest, b"") for entry in waiting], make_link)
