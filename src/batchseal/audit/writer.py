"""`AuditWriter`: chains what waits, and exports months before they are dropped. Runs in the signer process."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog

from batchseal.audit.chain import Event, as_line, documents_digest, make_link
from batchseal.errors import PayloadUnavailable, SpillDamaged
from batchseal.payloads import records
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.reader import SpillReader
from batchseal.store.rows import AuditEntry
from batchseal.store.trail import Anchor, AuditTrail, Waiting
from batchseal.system.crash_sites import crash_site
from batchseal.system.disk import replacing
from batchseal.system.futures import in_pool

Facts = tuple[Waiting, bytes, bytes]  # an entry, its digest, its credential

log = structlog.get_logger("audit")


class AuditWriter:
    def __init__(self, trail: AuditTrail, spill_folder: Path, audit_folder: Path, pool: Executor) -> None:
        self._trail = trail
        self._spill_folder = spill_folder
        self._audit_folder = audit_folder
        self._pool = pool
        self._held = 0  # operations whose payload could not be read the last time

    async def chain(self) -> int:
        """Appends what waits; how many. An entry whose payload cannot be read just now goes on waiting, and so do the later
        entries of its operation; those of other operations are not held up by it.
        """
        chained, after, held = 0, 0, set[int]()
        while waiting := await self._trail.waiting(after):
            facts = await in_pool(self._pool, partial(self._known_facts, waiting, held))
            chained += await self._trail.chain(facts, make_link) if facts else 0
            if len(facts) == len(waiting):
                break
            after = waiting[-1].id
        if len(held) != self._held:
            log.info("operations whose audit entries wait for their payloads", operations=len(held))
            self._held = len(held)
        return chained

    def _known_facts(self, entries: Sequence[Waiting], held: set[int]) -> list[Facts]:
        """Of the entries that can be chained now. Adds to `held` the operations whose payload cannot be read."""
        facts = []
        for entry in entries:
            if entry.operation_id in held:
                continue
            try:
                facts.append(self._facts(entry))
            except PayloadUnavailable:
                held.add(entry.operation_id)
        return facts

    def _facts(self, waiting: Waiting) -> Facts:
        """A finished operation's payload says what was signed, and with which credential. Raises PayloadUnavailable."""
        if waiting.event != Event.FINISHED or not waiting.signed:
            return waiting, waiting.digest, b""
        with suppress(SpillDamaged):
            return waiting, *signed_facts(self._spill_folder, waiting.payload_id)
        return waiting, b"", b""

    async def export_and_drop(self, seconds: float) -> None:
        """Months that ended that long ago: into a file that is synced, then anchored, then dropped."""
        for month in await self._trail.months(seconds):
            entries = await self._trail.read_month(month)
            if entries:
                path = self._audit_folder / f"audit-{month:%Y-%m}.jsonl"
                await in_pool(self._pool, partial(write, path, entries))
                crash_site("month-exported")
                last = entries[-1]
                await self._trail.anchor(Anchor(month, last.position, len(entries), last.link, path.name))
            if await self._trail.drop(month):
                log.info("audit entries exported and dropped", month=f"{month:%Y-%m}", entries=len(entries))


def signed_facts(folder: Path, payload_id: UUID) -> tuple[bytes, bytes]:
    """The digest over the signed documents' digests, and the fingerprint of the credential. Raises SpillDamaged,
    PayloadUnavailable.
    """
    with SpillReader(folder, payload_id) as reader:
        ordinals = sorted(reader.ordinals(FrameKind.SIGNATURE))
        prepared = [records.read_prepared(reader, ordinal) for ordinal in ordinals]
    digest = documents_digest(p.message_digest for p in prepared)
    fingerprints = sorted({p.fingerprint for p in prepared})
    # A chain that changed half-way leaves two: then both stand behind one digest.
    return digest, fingerprints[0] if len(fingerprints) == 1 else hashlib.sha256(b"".join(fingerprints)).digest()


def write(path: Path, entries: Iterable[AuditEntry]) -> None:
    """The file and its name are on the disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path) as file:
        file.writelines(as_line(entry) for entry in entries)
