"""The service without its HTTP front and without processes: a worker's service and the signer, joined by a real link.

The signer sees all rows, the service those of its callers only, as their processes do.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from harness.waiting import eventually

from batchseal.admission.admission import Admission
from batchseal.admission.ledger import Ledger
from batchseal.admission.limits import budgets_of
from batchseal.audit.known import KnownFacts
from batchseal.formats.material import Materials
from batchseal.formats.registry import Formats
from batchseal.intake.schema import Limits
from batchseal.payloads.interface import Payloads
from batchseal.payloads.local import LocalPayloads
from batchseal.processes.link import Link, LinkServer
from batchseal.settings.load import Settings
from batchseal.signature import NO_DEFAULTS, SignatureDefaults
from batchseal.signer.call_log import CallLog
from batchseal.signer.duties.sweeping import Sweeping
from batchseal.signer.late import PATIENCE_SECONDS
from batchseal.signer.pace import DEFAULT_PACE, Pace
from batchseal.signer.queue import SigningQueue
from batchseal.signer.recording import Recording, RecordingPace
from batchseal.signer.run import Signing
from batchseal.signer.stamp_room import StampRoom
from batchseal.signer.work import Reserve, unbounded
from batchseal.store import Store
from batchseal.store.evidence_records import EvidenceTable
from batchseal.store.time_stamp_sizes import TimeStampSizes
from batchseal.store.upstream_calls import CallTable
from batchseal.system.backoff import Backoff
from batchseal.system.shared_pool import SharedPool
from batchseal.upstream.interface import Upstream
from batchseal.worker.service import Service

Connect = Callable[..., Awaitable[Store]]
QUICK_RECORDING = RecordingPace(between_tries=Backoff(0.02, 0.1))


@dataclass
class Parts:
    service: Service
    queue: SigningQueue
    sweeping: Sweeping
    store: Store
    payloads: Payloads
    upstream: Upstream
    ledger: Ledger
    folder: Path
    recording: Recording
    offer: Callable[[UUID], Service]  # the service as an instance of this id has it
    known: KnownFacts


@asynccontextmanager
async def running_parts(
    connect_store: Connect,
    upstream: Upstream,
    folder: Path,
    *,
    instance: UUID,
    payloads: Payloads | None = None,
    formats: Formats | None = None,
    pace: Pace = DEFAULT_PACE,
    advertised: tuple[str, int] = ("127.0.0.1", 8081),
    signature_defaults: Callable[[str], SignatureDefaults] = lambda client_service: NO_DEFAULTS,
    reserve: Reserve = unbounded,
    materials: Materials | None = None,
    check_revocation: bool = False,
    recording_pace: RecordingPace = QUICK_RECORDING,
    shared: str | None = None,
    store_seconds: float = PATIENCE_SECONDS,
    store_pool: SharedPool | None = None,
) -> AsyncIterator[Parts]:
    """`folder` is that of the payloads, unless there are `payloads`, and of the link.

    `shared` names the payload store if others read it too; `store_seconds` is how long a run waits for it.
    """
    store = await connect_store(instance, shared=shared)
    of_callers = await connect_store(instance, everything=False, shared=shared)
    payloads = payloads or LocalPayloads(folder)
    formats = formats or Formats(has_time_stamps=upstream.stamps)
    pool, room = SharedPool(2), StampRoom(TimeStampSizes(store.database), upstream)
    parts = store, upstream, payloads, formats, room, pool
    calls, known = CallLog(CallTable(store.database)), KnownFacts()
    told: dict[str, Any] = {"calls": calls, "known": known, "store_seconds": store_seconds}
    signing = Signing(*parts, tries=5, reserve=reserve, materials=materials, check_revocation=check_revocation, **told)
    table = EvidenceTable(store.database, instance)
    recording = Recording(table, store, payloads, formats, upstream, pool, recording_pace)
    queue = SigningQueue(store, upstream, signing, pace=pace, recording=recording)
    server, link = LinkServer(folder / "link", queue.handlers()), Link(folder / "link")
    await server.start()
    link.start()
    await connected(link)
    looking = [asyncio.create_task(work) for work in (queue.run(), recording.run(), calls.run())]
    admission = Admission(ledger := Ledger(folder / "ledger"), budgets_of(Settings()), payloads.free_bytes)

    asked: dict[str, Any] = {"signature_defaults": signature_defaults, "store_pool": store_pool}

    def offer(identity: UUID) -> Service:
        same = of_callers, link, payloads, formats, pool
        return Service(*same, limits=Limits(), instance=identity, advertised=advertised, admission=admission, **asked)

    service = offer(instance)
    try:
        sweeping = Sweeping(store, payloads, instance)
        yield Parts(service, queue, sweeping, store, payloads, upstream, ledger, folder, recording, offer, known)
    finally:
        for task in looking:
            task.cancel()
        await service.close()
        await link.stop()
        await server.stop()
        await queue.stop(1)
        await recording.stop(1)
        pool.shutdown()
        ledger.close()


async def connected(link: Link) -> None:
    """Waits until calls go through."""
    await eventually(lambda: link.is_connected)
    assert await link.call("ping") == "ok"
