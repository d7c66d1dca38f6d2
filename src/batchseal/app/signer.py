"""The signer: what signs, what looks after the database, and what ends them in order."""

import asyncio
import signal
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog

from batchseal.admission.ledger import NOBODY, Ledger
from batchseal.admission.working import WorkingMemory
from batchseal.app.parts import (
    admission_of,
    connect_store,
    finding_places,
    formats_of,
    native_pool,
    store_pool,
)
from batchseal.errors import ConfigurationError
from batchseal.formats.registry import Formats
from batchseal.payloads.interface import Payloads
from batchseal.payloads.stores import payload_store
from batchseal.processes.child_entry import at_work, say_ready
from batchseal.processes.link import LinkServer
from batchseal.settings.client_services import ClientServices, client_services, unreachable_levels
from batchseal.settings.load import Settings
from batchseal.store.address import address_of
from batchseal.store.instances import InstanceTable
from batchseal.store.migrations import Start
from batchseal.store.store import Store
from batchseal.store.token_keys import token_keys
from batchseal.system.heap import give_back_memory
from batchseal.system.shared_pool import SharedPool
from batchseal.system.waits import said_when_long

if TYPE_CHECKING:
    from batchseal.audit.known import KnownFacts
    from batchseal.formats.material import Materials
    from batchseal.notify.duty import WebhookDuty
    from batchseal.signer.call_log import CallLog
    from batchseal.signer.presence import Presence
    from batchseal.signer.queue import SigningQueue
    from batchseal.signer.recording import Recording
    from batchseal.signer.stamp_room import StampRoom
    from batchseal.signer.work import Reserve
    from batchseal.upstream.interface import Upstream


# How long operations that are being signed may go on when the signer stops.
DRAIN_SECONDS = 10
# How long deliveries of webhooks may then go on. What is cut off is sent again.
DELIVERIES_SECONDS = 2

log = structlog.get_logger("app")


async def migrate(settings: Settings, store: Store) -> str:
    """Brings the schema up to date, as the role that owns the tables, which may be another one than the role of the service.

    Returns the line that says that the signer is ready, with the token keys that only the owner can read.
    """
    instance = UUID(settings.instance)
    start = Start(UUID(settings.start), instance, settings.force_database_recreate) if settings.start else None
    role, unbound = await store.role()
    if unbound:
        log.warning("row security does not bind this role; give --database-url one without superuser rights", role=role)
    separate = bool(settings.database_owner_url or settings.database_owner_url_file)
    owner = await Store.connect(address_of(settings, owner=True), instance=instance) if separate else store
    try:
        deleted = await owner.migrate(start, role=role if separate else None)
        keys = await token_keys(owner.database) if settings.is_shared and not settings.token_key_file else []
    finally:
        if separate:
            await owner.close()
    if deleted:
        log.warning("deleted every operation, document row, external reference and audit entry, as asked")
    return " ".join(["ready", *(b64encode(key).decode() for key in keys)])


async def require_store(settings: Settings, store: Store) -> None:
    """Raises ConfigurationError where operations lie in a payload store that nobody uses any more, unless that is to be so."""
    left = await InstanceTable(store.database, UUID(settings.instance)).left_behind(store.shared)
    for one in left:
        log.warning("operations lie in a payload store that no instance uses", **asdict(one))
    if left and not settings.payload_store_changed:
        told = " and ".join(
            f"{one.operations} operations ({one.unfinished} unfinished) in {one.store!r}" for one in left
        )
        raise ConfigurationError(
            f"--payload-store: the database has {told}, a payload store that neither this instance nor another one uses. Start"
            " one with that store until they are signed, fetched and purged (at most --payload-days-unfetched), or start with"
            " --payload-store-changed, which leaves them as they are"
        )


def signing(
    settings: Settings,
    services: ClientServices,
    store: Store,
    upstream: "Upstream",
    payloads: Payloads,
    formats: Formats,
    room: "StampRoom",
    pool: SharedPool,
    reserve: "Reserve",
    materials: "Materials",
    presence: "Presence",
    webhooks: "WebhookDuty",
    known: "KnownFacts",
) -> tuple["SigningQueue", "Recording", "CallLog"]:
    """The queue of the signer process, with what signs, what makes evidence records of what was signed, and what keeps calls."""
    from batchseal.signer.call_log import CallLog
    from batchseal.signer.pace import Pace
    from batchseal.signer.queue import SigningQueue
    from batchseal.signer.recording import Recording, RecordingPace
    from batchseal.signer.run import Signing
    from batchseal.store.evidence_records import EvidenceTable
    from batchseal.store.upstream_calls import CallTable

    calls = CallLog(CallTable(store.database))
    tries = settings.upstream_tries
    run = Signing(
        store,
        upstream,
        payloads,
        formats,
        room,
        pool,
        tries=tries,
        reserve=reserve,
        materials=materials,
        check_revocation=settings.check_revocation,
        locate=finding_places(settings, reserve),
        calls=calls,
        known=known,
    )
    pace = Pace(patience_seconds=settings.upstream_patience, share_percent=settings.share_signing)
    table = EvidenceTable(store.database, UUID(settings.instance), store.shared)
    recording_pace = RecordingPace(patience_seconds=settings.upstream_patience)
    recording = Recording(table, store, payloads, formats, upstream, pool, recording_pace)
    has_one = partial(attrgetter("has_one"), services)
    queue = SigningQueue(
        store, upstream, run, pace=pace, is_alone=has_one, recording=recording, presence=presence, webhooks=webhooks
    )
    return queue, recording, calls


async def run_signer(settings: Settings, ready: int) -> None:
    """Runs the signer process until SIGTERM."""
    from batchseal.audit.known import KnownFacts
    from batchseal.notify.duty import WebhookDuty
    from batchseal.payloads.measured import Measured
    from batchseal.signer.duties.rounds import rounds_of
    from batchseal.signer.duties.sampling import Sampling
    from batchseal.signer.presence import Presence
    from batchseal.signer.renewing import renewal_handlers
    from batchseal.signer.stamp_room import StampRoom
    from batchseal.signer.told import with_told_numbers
    from batchseal.store.credentials import CredentialTable
    from batchseal.store.revocation_answers import RevocationAnswers
    from batchseal.store.samples import SampleTable
    from batchseal.store.time_stamp_budgets import TimeStampBudgets
    from batchseal.store.time_stamp_sizes import TimeStampSizes
    from batchseal.upstream.named import check_credentials
    from batchseal.upstream.remote import RemoteUpstream
    from batchseal.upstream.revocation import Revocation
    from batchseal.upstream.watch import watch

    long = partial(said_when_long, report=log.warning)
    payloads = Measured(payload_store(settings))
    async with long("the database and its migrations"), at_work(ready):
        store = await connect_store(settings, payloads)
        said = await migrate(settings, store)
        await require_store(settings, store)
        presence = await Presence.begin(settings, store, payloads.name)
    services = client_services(settings, remarks=False)
    stamps = bool(settings.timestamp_urls)
    for problem in unreachable_levels(settings.signature_level, services, has_time_stamps=stamps):
        log.warning("documents will be refused for what the configuration asks", cause=problem)
    ledger = Ledger(settings.ledger_path)
    admission = admission_of(settings, services, ledger, payloads)
    reserve, budgets = admission.reserved, admission.budgets
    revocation = Revocation.of(settings, RevocationAnswers(store.database), partial(reserve, NOBODY))
    counted = TimeStampBudgets(store.database, presence.others)
    notes = CredentialTable(store.database)
    upstream = RemoteUpstream(
        settings, services, revocation=revocation, gate_of=presence.gate_of, budgets=counted, notes=notes
    )
    async with long("the credentials of the signing service"):
        await check_credentials(upstream, services)
    pool = store_pool(payloads, native_pool(settings), settings)
    sampling = Sampling(SampleTable(store.database), upstream.tally)
    stamp = upstream.stamp if stamps else None
    memory = WorkingMemory(ledger, budgets.memory_bytes, budgets.upload_bytes, waits=False)
    known = KnownFacts()
    rounds = rounds_of(settings, store, payloads, admission, presence, sampling, stamp, memory, known)
    webhooks = WebhookDuty(store.database, services, settings, presence.does_webhooks, upstream.certificate_ends)
    room = StampRoom(TimeStampSizes(store.database), upstream)
    formats = formats_of(settings, memory)
    queue, recording, calls = signing(
        *(settings, services, store, upstream, payloads, formats, room, pool, reserve, revocation, presence),
        *(webhooks, known),
    )
    async with long("the work that the service before this one left"):
        await store.take_back_own_leases()
        await rounds.sweeping.begin()
        await webhooks.begin()
    handlers = {**queue.handlers(), **rounds.handlers(), **renewal_handlers(upstream)}
    server = LinkServer(settings.link_path, with_told_numbers(handlers))
    await server.start()
    works = queue.run(), recording.run(), watch(upstream), rounds.run(), calls.run(), webhooks.run()
    await run_until_stopped(queue, recording, webhooks, presence, server, works, ready=partial(say_ready, ready, said))
    await upstream.close()
    await presence.leave(store)
    await store.close()


async def run_until_stopped(
    queue: "SigningQueue",
    recording: "Recording",
    webhooks: "WebhookDuty",
    presence: "Presence",
    server: LinkServer,
    works: "Iterable[Coroutine[Any, Any, None]]",
    *,
    ready: Callable[[], None],
) -> None:
    """Runs the works of the signer until SIGTERM, and ends them in order. Calls `ready` once they run."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    looking = [asyncio.create_task(work) for work in works]
    beating = [asyncio.create_task(work) for work in presence.works(queue.look)]
    ending = asyncio.create_task(stop.wait())
    ready()
    give_back_memory()  # what the start has left
    await asyncio.wait((*looking, *beating, ending), return_when=asyncio.FIRST_COMPLETED)
    end_if_one_ended((*looking, *beating))
    for task in looking:
        task.cancel()
    await server.stop()
    await asyncio.gather(*(one.stop(DRAIN_SECONDS) for one in (queue, recording)))
    await webhooks.stop(DELIVERIES_SECONDS)  # the ends of what was under way have left their events by now
    for task in beating:  # until here, what was under way went on in this instance's turn
        task.cancel()
    # The tasks must have ended before what they use is closed below. Errors while they are cancelled do not matter any more.
    await asyncio.gather(*looking, *beating, return_exceptions=True)


def end_if_one_ended(tasks: "Iterable[asyncio.Task[None]]") -> None:
    """Ends the process, which would go on with half of its work, if one of these tasks has ended. None does so by itself."""
    for ended in filter(asyncio.Task.done, tasks):
        log.error("the signer cannot go on", exc_info=ended.exception())
        raise SystemExit(1)
