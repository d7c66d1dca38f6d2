"""The way of a document, in six steps. READ THIS FIRST.

    worker process, while the body arrives          1 receive   2 spill   3 digest      class Reception
    signer process, resumable from what is stored   3 digest (what was not)   4 sign    class Signing
    worker process, when the result is fetched      5 package   6 deliver               class Delivery

Each step is a folder of its own and takes the type that the one before returned; only this module knows two of them.
Between the processes stand the spill file (payloads, prepared digests, signatures) and Postgres (states, leases).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

from batchseal.cms import CmsTemplate
from batchseal.delivery.encode import Delivered, Encoding, batches, encode, undelivered
from batchseal.digest.prepare import prepare
from batchseal.document import (
    Description,
    DocumentOutcome,
    ReceivedDocument,
    Refusal,
    RequestFacts,
    SignatureValue,
)
from batchseal.errors import ItemRejected, LeaseLost, SpillDamaged, UpstreamError
from batchseal.operation import Caller, DocumentStatus, SignError
from batchseal.packaging.package import package
from batchseal.spill import records
from batchseal.spill.frames import FrameKind
from batchseal.spill.reader import SpillReader
from batchseal.spill.writer import SpillWriter
from batchseal.store.rows import ClaimedOperation, DocumentRow, NewDocument, OperationRow
from batchseal.store.store import Store
from batchseal.upstream.interface import Upstream

# A batch fills the widest kernel's lanes twice over, or is as large as memory should see at once.
BATCH_DOCUMENTS = 32
BATCH_BYTES = 8 << 20
# Dirty pages are synced as they grow, so that the acknowledgement waits for the last of them only.
SYNC_BYTES = 32 << 20

T = TypeVar("T")


def in_pool(pool: Executor, work: Callable[[], T]) -> asyncio.Future[T]:
    return asyncio.get_running_loop().run_in_executor(pool, work)


class Reception:
    """Steps 1 to 3 of one operation while its body arrives. Holds two batches in memory at the most."""

    def __init__(self, folder: Path, template: CmsTemplate | None, pool: Executor) -> None:
        self.payload_id: UUID = uuid4()
        self.writer = SpillWriter.create(folder, self.payload_id)
        self._template = template
        self._pool = pool
        self._received_at = datetime.now(UTC)
        self._pending: list[ReceivedDocument] = []
        self._pending_bytes = 0
        self._running: asyncio.Future[None] | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._synced_bytes = 0
        self._documents: dict[int, NewDocument] = {}
        self._undescribed: dict[int, int] = {}  # ordinal to content bytes: multipart may describe files at its end
        self._asked: list[records.WhatWasAsked] = []

    async def take(self, documents: Sequence[ReceivedDocument]) -> None:
        """Waits while the batch before is still at work: that is the back-pressure on the socket."""
        for document in documents:
            self._pending.append(document)
            self._pending_bytes += document.content_bytes
            if len(self._pending) >= BATCH_DOCUMENTS or self._pending_bytes >= BATCH_BYTES:
                await self._start_batch()

    async def finish(self, facts: RequestFacts) -> list[NewDocument]:
        """Everything is on the disk when this returns: the operation can be acknowledged."""
        await self._start_batch()
        for future in (self._running, self._syncing):
            if future is not None:
                await future
        for ordinal, content_bytes in self._undescribed.items():
            self._describe(ordinal, facts.descriptions[ordinal], content_bytes, None)
        await in_pool(self._pool, self._seal)
        return [self._documents[ordinal] for ordinal in sorted(self._documents)]

    def close(self) -> None:
        """Lets go of the file, once the operation is registered or nobody knows whether it is."""
        self.writer.close()

    async def abort(self) -> None:
        """Leaves no file behind."""
        await asyncio.gather(*filter(None, (self._running, self._syncing)), return_exceptions=True)
        self.writer.abort()

    async def _start_batch(self) -> None:
        if self._running is not None:
            await self._running
        batch, self._pending, self._pending_bytes = self._pending, [], 0
        if batch:
            self._running = in_pool(self._pool, lambda: self._process(batch))
        unsynced = self.writer.stored_bytes - self._synced_bytes
        if unsynced > SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            self._synced_bytes = self.writer.stored_bytes
            self._syncing = asyncio.get_running_loop().run_in_executor(None, self.writer.sync_data)

    def _process(self, batch: list[ReceivedDocument]) -> None:
        """2 spill and 3 digest, in a thread of the pool."""
        described = [(d.ordinal, d.description, d.content) for d in batch if d.description is not None]
        results = prepare(described, self._template, self._received_at) if self._template is not None else []
        refused = {ordinal: result for ordinal, result in results if isinstance(result, Refusal)}
        for document in batch:
            if document.description is None:
                self._undescribed[document.ordinal] = document.content_bytes
            else:
                refusal = refused.get(document.ordinal)
                self._describe(document.ordinal, document.description, document.content_bytes, refusal)
        self.writer.append((FrameKind.DOCUMENT, d.ordinal, d.content) for d in batch if d.ordinal not in refused)
        self.writer.append(records.prepared_frame(r) for _, r in results if not isinstance(r, Refusal))

    def _describe(self, ordinal: int, what: Description, content_bytes: int, refusal: Refusal | None) -> None:
        refusal = refusal or what.refusal
        self._documents[ordinal] = NewDocument(
            ordinal, what.external_reference, what.name, what.content_type, content_bytes, refusal
        )
        if refusal is None:
            self._asked.append((ordinal, what.content_type, what.reason, what.location))

    def _seal(self) -> None:
        frames = [records.asked_frame(self._asked)]
        if self._template is not None:
            frames.append(records.credential_frame(self._template.credential))
        self.writer.append(frames)
        self.writer.sync()


class ToSign(NamedTuple):
    ordinal: int
    attributes_digest: bytes
    additional_bytes: int


class Signing:
    """Steps 3 (what reception left) and 4 of one claimed operation; goes on wherever an earlier run stopped."""

    def __init__(self, store: Store, upstream: Upstream, folder: Path, pool: Executor) -> None:
        self._store = store
        self._upstream = upstream
        self._folder = folder
        self._pool = pool

    async def run(self, claimed: ClaimedOperation, caller: Caller) -> int:
        """Signs what is open; returns how many documents are given up. Raises UpstreamError, SpillDamaged, LeaseLost."""
        operation = claimed.row
        rows = await self._store.documents(operation.id, operation.created_at)
        open_rows = {row.ordinal: row for row in rows if row.status is DocumentStatus.RECEIVED}
        failed = sum(row.status is DocumentStatus.ERROR_SIGNING for row in rows)
        if not open_rows:
            return failed
        template = CmsTemplate.cached(await self._upstream.credential(caller))
        reader = await in_pool(self._pool, lambda: SpillReader(self._folder, operation.payload_id))
        try:
            writer = SpillWriter.reopen(reader)
            try:
                ended, to_sign = await in_pool(self._pool, lambda: self._digest(reader, writer, template, open_rows))
                failed += await self._record(claimed, ended)
                async for outcomes in self._sign(caller, claimed, template, writer, to_sign):
                    failed += await self._record(claimed, outcomes)
            finally:
                writer.close()
        finally:
            reader.close()
        return failed

    def _digest(
        self, reader: SpillReader, writer: SpillWriter, template: CmsTemplate, rows: dict[int, DocumentRow]
    ) -> tuple[list[DocumentOutcome], list[ToSign]]:
        """What has ended already (signed before a crash, or refused), and what is to be signed."""
        ended: list[DocumentOutcome] = []
        to_sign: list[ToSign] = []
        unprepared: list[DocumentRow] = []
        have_signature, have_digest = (
            reader.ordinals(FrameKind.SIGNATURE),
            reader.ordinals(FrameKind.PREPARED),
        )
        for ordinal in sorted(rows):
            prepared = records.read_prepared(reader, ordinal) if ordinal in have_digest else None
            if prepared is not None and ordinal in have_signature:
                ended.append(DocumentOutcome(ordinal, prepared.additional_bytes))
            elif prepared is not None and prepared.fingerprint == template.credential.fingerprint:
                to_sign.append(ToSign(ordinal, prepared.attributes_digest, prepared.additional_bytes))
            else:
                unprepared.append(rows[ordinal])
        asked = records.read_asked(reader) if unprepared else {}
        for first in range(0, len(unprepared), BATCH_DOCUMENTS):
            originals = []
            for row in unprepared[first : first + BATCH_DOCUMENTS]:
                try:
                    content = reader.read(FrameKind.DOCUMENT, row.ordinal)
                    originals.append((row.ordinal, records.description(row, asked), content))
                except SpillDamaged as problem:
                    ended.append(DocumentOutcome(row.ordinal, refusal=_storage_refusal(problem)))
            results = prepare(originals, template, datetime.now(UTC))
            ended += [DocumentOutcome(n, refusal=r) for n, r in results if isinstance(r, Refusal)]
            prepared_now = [r for _, r in results if not isinstance(r, Refusal)]
            to_sign += [ToSign(p.ordinal, p.attributes_digest, p.additional_bytes) for p in prepared_now]
            writer.append(records.prepared_frame(p) for p in prepared_now)
        if unprepared:
            writer.append([records.credential_frame(template.credential)])
            writer.sync_data()
        return ended, to_sign

    async def _sign(
        self,
        caller: Caller,
        claimed: ClaimedOperation,
        template: CmsTemplate,
        writer: SpillWriter,
        to_sign: list[ToSign],
    ) -> AsyncIterator[list[DocumentOutcome]]:
        """4 sign. Signatures are on the disk before their rows say so."""
        digests = [item.attributes_digest for item in to_sign]
        key = str(claimed.row.payload_id)
        async for answers in self._upstream.sign(caller, template.credential, digests, request_key=key):
            outcomes, frames = [], []
            for index, answer in answers:
                item = to_sign[index]
                if isinstance(answer, UpstreamError):
                    refusal = Refusal(answer.sign_error, answer.cause)
                    outcomes.append(DocumentOutcome(item.ordinal, refusal=refusal))
                else:
                    frames.append(records.signature_frame(SignatureValue(item.ordinal, answer)))
                    outcomes.append(DocumentOutcome(item.ordinal, item.additional_bytes))
            if frames:
                await in_pool(self._pool, partial(writer.append_synced, frames))
            yield outcomes

    async def _record(self, claimed: ClaimedOperation, outcomes: Sequence[DocumentOutcome]) -> int:
        """Returns how many of them are refusals."""
        row = claimed.row
        if outcomes and not await self._store.record_outcomes(row.id, row.created_at, claimed.fence, outcomes):
            raise LeaseLost(f"operation {row.id} is worked on by somebody else")
        return sum(outcome.refusal is not None for outcome in outcomes)


def _storage_refusal(problem: SpillDamaged) -> Refusal:
    return Refusal(SignError.STORAGE_SERVICE_GLOBAL_ERROR, problem.cause)


class Delivery:
    """Steps 5 and 6 of one finished operation, a few documents at a time."""

    def __init__(self, folder: Path, pool: Executor) -> None:
        self._folder = folder
        self._pool = pool

    async def documents(
        self, operation: OperationRow, rows: Sequence[DocumentRow], encoding: Encoding
    ) -> AsyncIterator[Delivered]:
        """In the order of `rows`. What does not match its checksum comes back as refused, never as it is."""
        try:
            reader = await in_pool(self._pool, lambda: SpillReader(self._folder, operation.payload_id))
        except SpillDamaged as problem:
            refusal = _storage_refusal(problem)
            for row in rows:
                yield undelivered(row, refusal)
            return
        ahead: asyncio.Future[list[Delivered]] | None = None
        try:
            for batch in batches(rows):
                # One at a time: the reader is not for two threads. The next is read while this one goes out.
                current = await ahead if ahead is not None else []
                ahead = in_pool(self._pool, lambda b=batch: [self._read(reader, r, encoding) for r in b])  # type: ignore[misc]
                for delivered in current:
                    yield delivered
            for delivered in await ahead if ahead is not None else []:
                yield delivered
        finally:
            if ahead is not None:
                await asyncio.gather(ahead, return_exceptions=True)
            reader.close()

    def _read(self, reader: SpillReader, row: DocumentRow, encoding: Encoding) -> Delivered:
        """5 package, and the encoding that 6 deliver sends."""
        if row.status is not DocumentStatus.SIGNED:
            return Delivered(row, ())
        try:
            original = reader.read(FrameKind.DOCUMENT, row.ordinal)
            prepared = records.read_prepared(reader, row.ordinal)
            signature = records.read_signature(reader, row.ordinal)
            template = CmsTemplate.cached(records.read_credential(reader, prepared.fingerprint))
            return encode(row, package(original, prepared, signature, template), encoding)
        except (SpillDamaged, ItemRejected) as problem:
            return undelivered(row, _storage_refusal(SpillDamaged(problem.cause)))
