"""Steps 2 and 3 of the pipeline, for one request while its body arrives."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import structlog

from batchseal.document import (
    Credential,
    Description,
    DocumentPart,
    Prepared,
    ReceivedDocument,
    Refusal,
    RequestFacts,
    ToSign,
    to_sign,
)
from batchseal.errors import CredentialUnusable
from batchseal.formats.interface import BATCH_DOCUMENTS
from batchseal.formats.registry import Formats
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import GrowingFrame, PayloadRecord, Payloads
from batchseal.signature import Level
from batchseal.store.rows import NewDocument
from batchseal.system.futures import in_pool

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A batch also ends where it is as large as memory should see at once.
BATCH_BYTES = 4 << 20
# Dirty pages are flushed while the body still arrives, so that the acknowledgement waits for the last of them only.
FLUSH_BYTES = 32 << 20
# Operations with at most this many documents are sent to the signer whole, so that it need not read them from the database first.
HANDED_DOCUMENTS = 100

log = structlog.get_logger("reception")

# Finds the place of a visible signature in a document: see `placeholder/finder.py`.
Locate = Callable[[Description, "Buffer"], Awaitable[Description]]


@dataclass(frozen=True, slots=True)
class Received:
    """A whole request whose documents are stored: what is needed to register it and to begin signing.

    `document_digests` are for the audit trail, in the order of the request. `to_sign` holds what was prepared for the credential
    with this `fingerprint`; it is incomplete for operations of more than HANDED_DOCUMENTS documents. `syncing` ends when the
    payload is durable, if that was begun here.
    """

    facts: RequestFacts
    payload: PayloadRecord
    documents: list[NewDocument]
    document_digests: list[bytes]
    to_sign: list[ToSign]
    fingerprint: bytes
    syncing: "Future[None] | None" = None

    @property
    def is_synced(self) -> bool:
        """Whether the payload has become durable since it was committed."""
        syncing = self.syncing
        return syncing is not None and syncing.done() and syncing.exception() is None

    @property
    def is_handed_whole(self) -> bool:
        """Whether the signer can begin with this alone."""
        return len(self.documents) <= HANDED_DOCUMENTS


class Reception:
    """Stores and prepares the documents of one request. Holds at most two batches of documents in memory. A document that comes
    in parts is stored as it comes, and planned and digested from a mapping of the file.

    Without a `credential` nothing is prepared here, and the signer does it later. The same holds for documents that want a time
    stamp, unless `time_stamp_bytes` says how much room it needs. With `durable` the payload has survived a power cut when
    `finish` returns. `expected_bytes` is about what the documents will have, None where nobody knows. `when_stored` is called
    with the sizes of documents that are no longer in memory. What is not to be durable yet may become so in threads of `syncs`.
    `when_prepared` is called with what is to be signed, and the fingerprint of the credential, once all documents of a small
    request are prepared, while they are stored. `locate` looks for the place of a visible signature in a document that is
    prepared here. The commit waits for the store in a thread of `commits`; None: in the one that has stored the last document.
    """

    def __init__(
        self,
        payloads: Payloads,
        formats: Formats,
        credential: Credential | None,
        pool: Executor,
        *,
        durable: bool,
        time_stamp_bytes: int | None = None,
        expected_bytes: int | None = None,
        batch_bytes: int = BATCH_BYTES,
        when_stored: Callable[[Sequence[int]], None] = lambda sizes: None,
        locate: "Locate | None" = None,
        syncs: Executor | None = None,
        when_prepared: Callable[[list[ToSign], bytes], None] | None = None,
        commits: Executor | None = None,
    ) -> None:
        self._commits = commits
        self.upload = payloads.create(uuid4(), expected_bytes)
        self._formats = formats
        self._credential = credential
        self._pool = pool
        self._durable = durable
        self._syncs = syncs
        self._when_prepared = when_prepared
        self._loop = asyncio.get_running_loop()
        self._syncing: Future[None] | None = None
        self._time_stamp_bytes = time_stamp_bytes
        self._batch_bytes = batch_bytes
        self._when_stored = when_stored
        self._locate = locate
        self._received_at = datetime.now(UTC)
        self._batch: list[ReceivedDocument] = []
        self._bytes_in_batch = 0
        self._working: asyncio.Future[Any] | None = None
        self._flushing: asyncio.Future[None] | None = None
        self._flushed_bytes = 0
        self._growing: GrowingFrame | None = None  # of the document that comes in parts
        self._grown: GrowingFrame | None = None  # of the only document of the batch, which came in parts
        # The place of the payload is made while the body arrives, so that nothing of it is left for the end.
        self._begun: Future[None] = Future()
        self._making_place: asyncio.Future[None] | None = None
        if self.upload.begins_at_once:
            self._make_place()
        else:
            self._making_place = in_pool(None, self._make_place)
        self._documents: dict[int, NewDocument] = {}
        self._digests: dict[int, bytes] = {}
        self._to_sign: list[ToSign] = []
        self._asked: list[tuple[int, Description]] = []
        self._frames = records.PreparedFrames()
        # Documents of a multipart body that come before their description: ordinal to the bytes of the content.
        self._undescribed: dict[int, int] = {}

    @property
    def is_announced_early(self) -> bool:
        """Whether `when_prepared` is called. The payload need not be there for that, only be small and quickly stored."""
        return self.upload.begins_at_once and self._when_prepared is not None

    @property
    def _fingerprint(self) -> bytes:
        return self._credential.fingerprint if self._credential is not None else b""

    @property
    def payload_id(self) -> UUID:
        return self.upload.payload_id

    async def take(self, documents: Sequence[ReceivedDocument]) -> None:
        """Waits while the batch before is still being stored, which slows the sender of the body down."""
        for document in documents:
            if self._growing is not None:
                document = await self._grow_up(self._growing, document)
            self._batch.append(document)
            self._bytes_in_batch += document.content_bytes
            if self._grown or len(self._batch) >= BATCH_DOCUMENTS or self._bytes_in_batch >= self._batch_bytes:
                await self._start_batch()

    async def take_part(self, part: DocumentPart) -> None:
        """Stores a part of a document. Waits until what came before is stored, since the parts stand behind it. Raises NoSpace.

        Only for a store that takes parts (`Payloads.takes_parts`).
        """
        if self._growing is None:
            await self._start_batch()
            if self._working is not None:
                await asyncio.shield(self._working)
        self._working = in_pool(self._pool, partial(self._grow, part))
        await asyncio.shield(self._working)
        self._flush_ahead()

    async def _grow_up(self, growing: GrowingFrame, document: ReceivedDocument) -> ReceivedDocument:
        """The document with all its content, of which the last part has come."""

        def complete() -> "Buffer":
            growing.write(document.content)
            return growing.content()

        completing = self._working = in_pool(self._pool, complete)
        content = await asyncio.shield(completing)
        self._growing, self._grown = None, growing
        return msgspec.structs.replace(document, content=content)

    async def finish(self, facts: RequestFacts) -> Received:
        """Ends the payload. Raises NoSpace."""
        for future in (self._working, self._flushing):
            if future is not None:
                await asyncio.shield(future)
        self._batch = await self._located(self._batch)
        ending = self._working = in_pool(self._pool, lambda: self._end(facts))
        if (record := await asyncio.shield(ending)) is None:
            committing = self._working = in_pool(self._commits, self._commit)
            record = await asyncio.shield(committing)
        if self._making_place is not None:
            await asyncio.shield(self._making_place)
        ordinals = sorted(self._documents)
        return Received(
            facts=facts,
            payload=record,
            documents=[self._documents[ordinal] for ordinal in ordinals],
            document_digests=[self._digests[ordinal] for ordinal in ordinals],
            to_sign=self._to_sign,
            fingerprint=self._fingerprint,
            syncing=self._syncing,
        )

    def release(self) -> None:
        """The operation is registered, or nobody knows whether it is."""
        self.upload.release()

    async def abandon(self) -> None:
        """Leaves no payload behind."""
        await asyncio.gather(*filter(None, (self._working, self._flushing, self._making_place)), return_exceptions=True)
        await in_pool(None, self.upload.abandon)

    async def _start_batch(self) -> None:
        if self._working is not None:
            await asyncio.shield(self._working)
        batch, self._batch, self._bytes_in_batch = await self._located(self._batch), [], 0
        grown, self._grown = self._grown, None
        if batch:
            self._working = in_pool(self._pool, partial(self._store, batch, grown))
            # The sizes alone: whoever waits for the end of this must not keep the documents.
            sizes = [document.content_bytes for document in batch]
            self._working.add_done_callback(lambda _: self._when_stored(sizes))
        self._flush_ahead()

    def _flush_ahead(self) -> None:
        unflushed = self.upload.stored_bytes - self._flushed_bytes
        if unflushed > FLUSH_BYTES and (self._flushing is None or self._flushing.done()):
            self._flushed_bytes = self.upload.stored_bytes
            self._flushing = in_pool(None, self.upload.flush)

    async def _located(self, batch: list[ReceivedDocument]) -> list[ReceivedDocument]:
        """The documents, those with a place that has to be found with that place. Raises NoRoom."""
        located = list[ReceivedDocument]()
        for document in batch:
            wanted = document.description
            if (
                self._locate is not None
                and wanted is not None
                and wanted.seeks_place
                and self._is_prepared_here(wanted)
            ):
                wanted = await self._locate(wanted, document.content)
                document = msgspec.structs.replace(document, description=wanted)
            located.append(document)
        return located

    def _is_prepared_here(self, wanted: Description) -> bool:
        has_room = self._time_stamp_bytes is not None or wanted.level is Level.B
        return self._credential is not None and has_room and self._formats.refusal(wanted) is None

    # --- in threads ---------------------------------------------------------------------------------------------------

    def _make_place(self) -> None:
        try:
            self.upload.begin()
        except BaseException as problem:
            self._begun.set_exception(problem)
            raise
        self._begun.set_result(None)
        if self._durable:
            self.upload.publish()

    def _grow(self, part: DocumentPart) -> None:
        if self._growing is None:
            self._begun.result()
            self._growing = self.upload.grow(FrameKind.DOCUMENT, part.ordinal)
        self._growing.write(part.content)

    def _store(
        self, batch: list[ReceivedDocument], grown: GrowingFrame | None = None, *, is_last: bool = False
    ) -> None:
        """2 store and 3 prepare. `grown` is the frame of the only document, where it is in the payload already."""
        results = self._prepare(batch)
        prepared = [result for result in results.values() if isinstance(result, Prepared)]
        refused = {ordinal: result for ordinal, result in results.items() if isinstance(result, Refusal)}
        if len(self._to_sign) <= HANDED_DOCUMENTS:
            self._to_sign += map(to_sign, prepared)
        if is_last and self.is_announced_early:
            assert self._when_prepared is not None
            self._loop.call_soon_threadsafe(self._when_prepared, list(self._to_sign), self._fingerprint)
        self._digests |= _document_digests(batch, prepared)
        for document in batch:
            if document.description is None:
                self._undescribed[document.ordinal] = document.content_bytes
            else:
                refusal = refused.get(document.ordinal)
                self._note(document.ordinal, document.description, document.content_bytes, refusal)
        # Making the place takes the file system about as long as preparing a document takes, so it is needed only now.
        self._begun.result()
        if grown is None:
            self.upload.append((FrameKind.DOCUMENT, d.ordinal, d.content) for d in batch if d.ordinal not in refused)
        elif refused:
            grown.drop()
        else:
            grown.keep()
        self.upload.append(self._frames.frames(prepared))

    def _prepare(self, batch: list[ReceivedDocument]) -> dict[int, Prepared | Refusal]:
        """By ordinal, for the documents of which the description is known."""
        described = [(d.ordinal, d.description, d.content) for d in batch if d.description is not None]
        found: dict[int, Prepared | Refusal] = {}
        if self._credential is not None:
            room = self._time_stamp_bytes
            ready = described if room is not None else [one for one in described if one[1].level is Level.B]
            try:
                results = self._formats.prepare(ready, self._credential, self._received_at, room or 0)
                found = {original[0]: result for original, result in zip(ready, results, strict=True)}
            except CredentialUnusable as problem:
                log.info("the credential cannot be used, documents are prepared later", cause=problem.cause)
                self._credential = None
        if len(found) < len(described):
            later = [(ordinal, wanted) for ordinal, wanted, _ in described if ordinal not in found]
            refusals = {ordinal: self._formats.refusal(wanted) for ordinal, wanted in later}
            found |= {ordinal: refusal for ordinal, refusal in refusals.items() if refusal is not None}
        return found

    def _note(self, ordinal: int, what: Description, content_bytes: int, refusal: Refusal | None) -> None:
        self._documents[ordinal] = NewDocument(
            ordinal, what.external_reference, what.name, what.content_type, content_bytes, refusal, what.other_type
        )
        if refusal is None:
            self._asked.append((ordinal, what))

    def _end(self, facts: RequestFacts) -> PayloadRecord | None:
        """Stores the last batch and what a later preparation needs, all in one call, since a small request pays for each.

        Commits the payload too, unless threads of their own do that.
        """
        batch, self._batch = self._batch, []
        self._store(batch, is_last=True)
        for ordinal, content_bytes in self._undescribed.items():
            wanted = facts.descriptions[ordinal]
            refusal = self._formats.refusal(wanted)
            self._note(ordinal, wanted, content_bytes, refusal)
            if refusal is not None:
                # The document is stored, so it is tried again if the operation is handed in again.
                self._asked.append((ordinal, wanted))
        frames = [records.asked_frame(self._asked)]
        if self._credential is not None:
            frames.append(records.credential_frame(self._credential))
        self.upload.append(frames)
        return self._commit() if self._commits is None else None

    def _commit(self) -> PayloadRecord:
        record = self.upload.commit(durable=self._durable)
        if not self._durable and self._syncs is not None and (sync := self.upload.sync_ahead()) is not None:
            # The disk works while the operation is registered, and nobody has to be woken for its end.
            self._syncing = self._syncs.submit(sync)
        return record


def _document_digests(batch: Sequence[ReceivedDocument], prepared: Sequence[Prepared]) -> dict[int, bytes]:
    """By ordinal: the digest that the signed document will name, where it is known, else that of the document as it came.

    The first one costs nothing here: for PAdES it is the `messageDigest` of the CMS (RFC 5652 11.2).
    """
    found = {one.ordinal: one.document_digest for one in prepared}
    return found | {d.ordinal: hashlib.sha256(d.content).digest() for d in batch if d.ordinal not in found}
