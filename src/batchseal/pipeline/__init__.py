"""The way of a document, in six steps. READ THIS FIRST.

    worker process, while the body arrives          1 receive   2 spill   3 digest      class Reception
    signer process, resumable from what is stored   3 digest (what was not)   4 sign    signing.py
    worker process, when the result is fetched      5 package   6 deliver               class Delivery

Each step is a folder of its own and takes the type that the one before returned; only this module and `signing` know two of
them.
Between the processes stand the spill file (payloads, prepared digests, signatures) and Postgres (states, leases).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from batchseal.audit.chain import digests_of
from batchseal.document import (
    Description,
    ReceivedDocument,
    Refusal,
    RequestFacts,
    ToSign,
    to_sign,
)
from batchseal.errors import ItemRejected, PayloadUnavailable, SpillDamaged
from batchseal.formats.cms import CmsTemplate
from batchseal.formats.pades.package import package
from batchseal.formats.pades.prepare import prepare
from batchseal.operation import DocumentStatus, SignError
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.reader import SpillReader
from batchseal.payloads.writer import SpillWriter
from batchseal.pipeline.encode import Delivered, Encoding, batches, encode, undelivered
from batchseal.store.rows import DocumentRow, NewDocument, OperationRow
from batchseal.system.crash_sites import crash_site
from batchseal.system.futures import in_pool

# A batch fills the widest kernel's lanes twice over, or is as large as memory should see at once.
BATCH_DOCUMENTS = 32
BATCH_BYTES = 4 << 20
# Dirty pages are synced as they grow, so that the acknowledgement waits for the last of them only.
SYNC_BYTES = 32 << 20
HANDED_DOCUMENTS = 100  # of an operation, up to which the signer is told all that it needs to ask the upstream
# A result that is read from memory in less time than changing threads takes.
WARM_BYTES, WARM_TIME = 256 << 10, timedelta(seconds=10)
# A result whose file is opened while it is signed: of how many documents, and how long for nobody.
OPENED_AHEAD, UNUSED_SECONDS = 1, 30.0


class Reception:
    """Steps 1 to 3 of one operation while its body arrives. Holds two batches in memory at the most."""

    def __init__(
        self, folder: Path, template: CmsTemplate | None, pool: Executor, batch_bytes: int = BATCH_BYTES
    ) -> None:
        self._batch_bytes = batch_bytes
        self.payload_id: UUID = uuid4()
        self.writer = SpillWriter.to_create(folder, self.payload_id)
        self._template = template
        self._pool = pool
        self._received_at = datetime.now(UTC)
        self._pending: list[ReceivedDocument] = []
        self._pending_bytes = 0
        self._running: asyncio.Future[None] | None = None
        self._syncing: asyncio.Future[None] | None = None
        # While the body arrives: at the end only the content is left to be synced.
        self._created: Future[None] = Future()
        self._naming = in_pool(None, self._create)
        self._synced_bytes = 0
        self._documents: dict[int, NewDocument] = {}
        self._undescribed: dict[int, int] = {}  # ordinal to content bytes: multipart may describe files at its end
        self._asked: list[records.WhatWasAsked] = []
        self.digests: dict[int, bytes] = {}  # by ordinal, for the audit trail
        self.to_sign: list[ToSign] = []  # all, of an operation of up to HANDED_DOCUMENTS

    @property
    def fingerprint(self) -> bytes:
        """Of the credential that the documents were prepared for; empty where there was none."""
        return self._template.credential.fingerprint if self._template is not None else b""

    async def take(self, documents: Sequence[ReceivedDocument]) -> None:
        """Waits while the batch before is still at work: that is the back-pressure on the socket."""
        for document in documents:
            self._pending.append(document)
            self._pending_bytes += document.content_bytes
            if len(self._pending) >= BATCH_DOCUMENTS or self._pending_bytes >= self._batch_bytes:
                await self._start_batch()

    async def finish(self, facts: RequestFacts, *, synced: bool) -> list[NewDocument]:
        """Everything is in the file when this returns, and with `synced` on the disk: the operation can be acknowledged."""
        for future in (self._running, self._syncing):
            if future is not None:
                await asyncio.shield(future)
        self._running = in_pool(self._pool, lambda: self._complete(facts, synced))
        await asyncio.shield(self._running)
        if synced:
            await asyncio.shield(self._naming)
            crash_site("spill-synced")
        return [self._documents[ordinal] for ordinal in sorted(self._documents)]

    async def named(self) -> None:
        """The file's name is on the disk when this returns."""
        await asyncio.shield(self._naming)

    def close(self) -> None:
        """Lets go of the file, once the operation is registered or nobody knows whether it is."""
        self.writer.close()

    async def abort(self) -> None:
        """Leaves no file behind."""
        await asyncio.gather(*filter(None, (self._running, self._syncing, self._naming)), return_exceptions=True)
        self.writer.abort()

    async def _start_batch(self) -> None:
        if self._running is not None:
            await asyncio.shield(self._running)
        batch, self._pending, self._pending_bytes = self._pending, [], 0
        if batch:
            self._running = in_pool(self._pool, lambda: self._process(batch))
        unsynced = self.writer.stored_bytes - self._synced_bytes
        if unsynced > SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            self._synced_bytes = self.writer.stored_bytes
            self._syncing = in_pool(None, self.writer.sync_data)

    def _create(self) -> None:
        try:
            self.writer.create()
        except BaseException as problem:
            self._created.set_exception(problem)
            raise
        self._created.set_result(None)
        self.writer.sync_name()

    def _process(self, batch: list[ReceivedDocument]) -> None:
        """2 spill and 3 digest, in a thread of the pool."""
        self._created.result()
        described = [(d.ordinal, d.description, d.content) for d in batch if d.description is not None]
        results = prepare(described, self._template, self._received_at) if self._template is not None else []
        self.digests |= digests_of(batch, results)
        refused = {ordinal: result for ordinal, result in results if isinstance(result, Refusal)}
        prepared = [result for _, result in results if not isinstance(result, Refusal)]
        if len(self.to_sign) <= HANDED_DOCUMENTS:
            self.to_sign += map(to_sign, prepared)
        for document in batch:
            if document.description is None:
                self._undescribed[document.ordinal] = document.content_bytes
            else:
                refusal = refused.get(document.ordinal)
                self._describe(document.ordinal, document.description, document.content_bytes, refusal)
        self.writer.append((FrameKind.DOCUMENT, d.ordinal, d.content) for d in batch if d.ordinal not in refused)
        self.writer.append(map(records.prepared_frame, prepared))

    def _describe(self, ordinal: int, what: Description, content_bytes: int, refusal: Refusal | None) -> None:
        refusal = refusal or what.refusal
        self._documents[ordinal] = NewDocument(
            ordinal, what.external_reference, what.name, what.content_type, content_bytes, refusal
        )
        if refusal is None:
            self._asked.append((ordinal, what.content_type, what.reason, what.location, what.apply_timestamp))

    def _complete(self, facts: RequestFacts, synced: bool) -> None:
        """The last batch, and what tells how to go on with the file: all in one go, which a small request pays for."""
        self._process(self._pending)
        self._pending = []
        for ordinal, content_bytes in self._undescribed.items():
            self._describe(ordinal, facts.descriptions[ordinal], content_bytes, None)
        frames = [records.asked_frame(self._asked)]
        if self._template is not None:
            frames.append(records.credential_frame(self._template.credential))
        self.writer.append(frames)
        if synced:
            self.writer.sync()


def storage_refusal(problem: SpillDamaged | PayloadUnavailable) -> Refusal:
    return Refusal(SignError.STORAGE_SERVICE_GLOBAL_ERROR, problem.cause)


def require_own(operation: OperationRow, instance: UUID) -> None:
    """Raises PayloadUnavailable where another instance keeps the payload of this operation."""
    if operation.instance != instance:
        host = f"[{operation.host}]" if ":" in operation.host else operation.host
        raise PayloadUnavailable(
            f"the documents of operation {operation.id} are kept by another instance, ask {host}:{operation.port}"
        )


class Delivery:
    """Steps 5 and 6 of one finished operation, a few documents at a time."""

    def __init__(self, folder: Path, pool: Executor) -> None:
        self._folder = folder
        self._pool = pool
        self._ahead: dict[UUID, SpillReader] = {}

    def open_ahead(self, operation: OperationRow) -> None:
        """Of a small operation that is being signed: its result is likely to be asked for as soon as it is there."""
        payload_id = operation.payload_id
        if operation.documents_total <= OPENED_AHEAD and payload_id not in self._ahead:
            with suppress(SpillDamaged, PayloadUnavailable):
                self._ahead[payload_id] = SpillReader(self._folder, payload_id)
                asyncio.get_running_loop().call_later(UNUSED_SECONDS, self._close_unused, payload_id)

    def _close_unused(self, payload_id: UUID) -> None:
        if reader := self._ahead.pop(payload_id, None):
            reader.close()

    async def documents(
        self, operation: OperationRow, rows: Sequence[DocumentRow], encoding: Encoding
    ) -> AsyncIterator[Delivered]:
        """In the order of `rows`. What does not match its checksum comes back as refused, never as it is. Raises
        PayloadUnavailable, before the first document where the payload cannot be opened.
        """
        stored = Stored(self._folder, operation.payload_id, encoding, self._ahead.pop(operation.payload_id, None))
        if is_warm(operation, rows):
            try:
                for delivered in stored.documents(rows):
                    yield delivered
            finally:
                stored.close()
            return
        ahead: asyncio.Future[list[Delivered]] | None = None
        try:
            for batch in batches(rows):
                # One at a time: the reader is not for two threads. The next is read while this one goes out.
                current = await asyncio.shield(ahead) if ahead is not None else []
                ahead = in_pool(self._pool, lambda b=batch: stored.documents(b))  # type: ignore[misc]
                for delivered in current:
                    yield delivered
            for delivered in await asyncio.shield(ahead) if ahead is not None else []:
                yield delivered
        finally:
            if ahead is not None:
                await asyncio.gather(ahead, return_exceptions=True)
            stored.close()


def is_warm(operation: OperationRow, rows: Sequence[DocumentRow]) -> bool:
    """Small, and written so lately that no disk is waited for."""
    ended = operation.finished_at
    small = sum(row.content_bytes for row in rows) <= WARM_BYTES
    return small and ended is not None and timedelta() <= datetime.now(UTC) - ended < WARM_TIME


class Stored:
    """The signed documents of one payload, read and packaged as they are asked for. Blocking; one thread at a time."""

    def __init__(self, folder: Path, payload_id: UUID, encoding: Encoding, reader: SpillReader | None = None) -> None:
        self._folder = folder
        self._payload_id = payload_id
        self._encoding = encoding
        self._reader = reader
        if reader is not None:
            try:
                reader.refresh()  # it was opened before the signatures came
            except PayloadUnavailable:
                reader.close()
                raise
        self._templates: dict[bytes, CmsTemplate] = {}  # by fingerprint, filled as they are needed

    def documents(self, rows: Sequence[DocumentRow]) -> list[Delivered]:
        try:
            reader = self._reader = self._reader or SpillReader(self._folder, self._payload_id)
        except SpillDamaged as problem:
            refusal = storage_refusal(problem)
            return [undelivered(row, refusal) for row in rows]
        return [self._document(reader, row) for row in rows]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _document(self, reader: SpillReader, row: DocumentRow) -> Delivered:
        """5 package, and the encoding that 6 deliver sends."""
        if row.status is not DocumentStatus.SIGNED:
            return Delivered(row, ())
        try:
            original = reader.read(FrameKind.DOCUMENT, row.ordinal)
            prepared = records.read_prepared(reader, row.ordinal)
            signature = records.read_signature(reader, row.ordinal)
            template = self._templates.get(prepared.fingerprint)
            if template is None:
                template = CmsTemplate.cached(records.read_credential(reader, prepared.fingerprint))
                self._templates[prepared.fingerprint] = template
            timestamp = records.read_timestamp(reader, prepared)
            return encode(row, package(original, prepared, signature, template, timestamp), self._encoding)
        except (SpillDamaged, ItemRejected) as problem:
            return undelivered(row, storage_refusal(SpillDamaged(problem.cause)))
