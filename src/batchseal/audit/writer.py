"""`AuditWriter` moves pending entries into the chain, and exports the entries of old months before they are dropped.

It runs in the signer process.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager, nullcontext, suppress
from datetime import date
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog

from batchseal.audit.chain import Event, as_line, documents_digest, make_link, name_of
from batchseal.audit.known import KnownFacts
from batchseal.audit.tokens import stamp_fields
from batchseal.errors import ConfigurationError, NoRoom, PayloadDamaged, PayloadUnavailable
from batchseal.payloads import records
from batchseal.payloads.interface import Payloads
from batchseal.payloads.operation import Memory, OperationReader, records_of
from batchseal.store.rows import AuditEntry
from batchseal.store.trail import Anchor, AuditTrail, HeadStamp, PendingEntry
from batchseal.system.crash_sites import crash_site
from batchseal.system.disk import replacing
from batchseal.system.folders import open_folder
from batchseal.system.futures import in_pool

# A pending entry, its digest, and the fingerprint of its credential.
Facts = tuple[PendingEntry, bytes, bytes]

# Entries that are not in the chain yet, after the one with this id.
Pending = Callable[[int], Awaitable[list[PendingEntry]]]

log = structlog.get_logger("audit")


class Whose(Enum):
    """What pending entries are about."""

    OWN = auto()
    """Operations whose payload lies in the folder of this instance."""
    SHARED = auto()
    """Those whose payload lies in a store that several instances read. One of them chains these for all."""
    NOTES = auto()
    """No operation. One instance chains these for all."""


class AuditWriter:
    """Writes the chain of the audit trail, and its exports into `audit_folder`.

    `pool` runs what blocks, and `memory` books what reading a payload takes. The payloads of operations that are among the
    `known` facts are not read.
    """

    def __init__(
        self,
        trail: AuditTrail,
        payloads: Payloads,
        audit_folder: Path,
        pool: Executor,
        memory: Memory = nullcontext,
        known: KnownFacts | None = None,
    ) -> None:
        self._known = known or KnownFacts()
        self._trail = trail
        self._payloads = payloads
        self._audit_folder = audit_folder
        self._pool = pool
        self._memory = memory
        self._held = dict.fromkeys(Whose, 0)  # how many operations had an entry that could not be chained

    async def chain(self, *whose: Whose) -> int:
        """Moves the pending entries into the chain, and returns how many. Without an argument, those of this instance and notes.

        An entry whose payload cannot be read just now stays pending, and so do the later entries of its operation. So it is with
        one of an event that only a later release knows: an instance of that release chains it. Entries of other operations do not
        wait for it.
        """
        chained = 0
        for one in whose or (Whose.OWN, Whose.NOTES):
            held = set[int]()
            chained += await self._chain(held, self._pending(one))
            if len(held) != self._held[one]:
                log.info("operations whose audit entries wait, for a payload or a later release", operations=len(held))
                self._held[one] = len(held)
        return chained

    def _pending(self, whose: Whose) -> Pending:
        if whose is Whose.NOTES:
            return self._trail.pending_notes
        return partial(self._trail.pending, shared=whose is Whose.SHARED)

    async def _chain(self, held: set[int], pending: Pending) -> int:
        chained = after = 0
        while waiting := await pending(after):
            facts = await in_pool(self._pool, partial(self._known_facts, waiting, held))
            chained += await self._trail.chain(facts, make_link) if facts else 0
            if len(facts) == len(waiting):
                break
            after = waiting[-1].id
        return chained

    def _known_facts(self, entries: Sequence[PendingEntry], held: set[int]) -> list[Facts]:
        """The entries that can be chained now. Adds to `held` the operations of the others. Blocks."""
        facts = []
        for entry in entries:
            if entry.operation_id in held:
                continue
            try:
                facts.append(self._facts(entry))
            except (PayloadUnavailable, NoRoom, ConfigurationError):
                held.add(entry.operation_id)
        return facts

    def _facts(self, entry: PendingEntry) -> Facts:
        """What the chain keeps of an entry. If documents were signed, their payload says which and with which credential.

        Raises PayloadUnavailable or NoRoom if that payload cannot be read just now, ConfigurationError.
        """
        name_of(entry.event)
        if entry.event != Event.FINISHED or not entry.signed:
            return entry, entry.digest, b""
        if (known := self._known.of(entry.operation_id)) is not None:
            return entry, *known
        with suppress(PayloadDamaged):
            reader = OperationReader(self._payloads, records_of(entry.payloads))
            try:
                with reader.booked(self._memory):
                    return entry, *signed_facts(reader, entry.signed_ordinals)
            finally:
                reader.close()
        return entry, b"", b""

    async def export_and_drop(self, seconds: float) -> None:
        """Exports the months that ended at least `seconds` ago, and drops them from the database.

        The file is fsynced before the month gets its anchor, and it has its anchor before it is dropped.
        """
        for month in await self._trail.months(seconds):
            anchor = await self._export(month)
            if anchor is not None:
                crash_site("month-exported")
                await self._trail.anchor(anchor)
            if await self._trail.drop(month):
                entries = anchor.entries if anchor is not None else 0
                log.info("audit entries exported and dropped", month=f"{month:%Y-%m}", entries=entries)

    async def _export(self, month: date) -> Anchor | None:
        """Writes the entries of a month into a file, in parts: a month may have more of them than fit into the memory.

        Returns the anchor of the month. None, and no file, if the month has no entries.
        """
        path = self._audit_folder / f"audit-{month:%Y-%m}.jsonl"
        file: BinaryIO | None = None
        anchor: Anchor | None = None
        async with aclosing(self._trail.read_month(month)) as parts, AsyncExitStack() as files:
            async for part in parts:
                if file is None:
                    file = await files.enter_async_context(replaced(self._pool, path))
                last = part[-1]
                stamps = await self._trail.time_stamps(part[0].position - 1, last.position)
                await in_pool(self._pool, partial(write, file, part, stamps))
                entries = len(part) + (anchor.entries if anchor is not None else 0)
                anchor = Anchor(month, last.position, entries, last.link, path.name)
        return anchor


def signed_facts(reader: OperationReader, ordinals: Sequence[int]) -> tuple[bytes, bytes]:
    """The digest of the signed documents (`documents_digest`), and the fingerprint of the credential that they were signed with.

    Raises PayloadDamaged or PayloadUnavailable.
    """
    found = set[bytes]()

    def digests() -> Iterator[bytes]:
        for ordinal in ordinals:  # one at a time: what was prepared for 2,500 documents takes 3 MB
            prepared = records.read_prepared(reader, ordinal)
            found.add(prepared.fingerprint)
            yield prepared.document_digest

    digest = documents_digest(digests())
    fingerprints = sorted(found)
    # If the certificate was renewed in between, there are two fingerprints. Then one digest stands for both.
    return digest, fingerprints[0] if len(fingerprints) == 1 else hashlib.sha256(b"".join(fingerprints)).digest()


@asynccontextmanager
async def replaced(pool: Executor, path: Path) -> AsyncIterator[BinaryIO]:
    """A file for the new content of `path`, whose folder is made if it is missing. It is fsynced together with its name.

    If the block raises, `path` stays as it was. Whatever waits for the disk is done by threads of `pool`.
    """

    def begin() -> tuple[AbstractContextManager[BinaryIO], BinaryIO]:
        open_folder(path.parent, make=0o700, strict=False).close()
        replacement = replacing(path)
        return replacement, replacement.__enter__()

    replacement, file = await in_pool(pool, begin)
    try:
        yield file
    except BaseException as problem:
        await in_pool(pool, partial(replacement.__exit__, type(problem), problem, problem.__traceback__))
        raise
    await in_pool(pool, partial(replacement.__exit__, None, None, None))


def write(file: BinaryIO, entries: Iterable[AuditEntry], stamps: Iterable[HeadStamp] = ()) -> None:
    """Writes entries into an export. Each time stamp follows the entry that it is about."""
    by_position = {stamp.position: stamp for stamp in stamps}
    file.writelines(lines_of(entry, by_position.get(entry.position)) for entry in entries)


def lines_of(entry: AuditEntry, stamp: HeadStamp | None) -> bytes:
    """An entry in an export, with the time stamp over it if it has one."""
    return as_line(entry) + (msgspec.json.encode(stamp_fields(stamp)) + b"\n" if stamp is not None else b"")
