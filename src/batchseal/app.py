"""The composition root: the only place that constructs the parts of a process and connects them.

Modules that only one kind of process needs are imported where that process is built. So the signer loads no HTTP server.
"""

import asyncio
import signal
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING
from uuid import UUID

from batchseal.processes import lean  # noqa: F401  (before structlog: it keeps rich out)

# isort: split
import structlog
import uvloop

from batchseal._native import base64, cpu, digest, scanner
from batchseal.admission.ledger import NOBODY, Ledger
from batchseal.admission.working import WorkingMemory
from batchseal.errors import BatchsealError, ConfigurationError
from batchseal.formats.interface import Memory
from batchseal.formats.registry import Formats
from batchseal.payloads.interface import Payloads
from batchseal.payloads.stores import payload_store
from batchseal.processes.child_entry import begin, begin_traces, receive_settings, say_ready
from batchseal.processes.link import Link, LinkServer
from batchseal.settings.client_services import ClientServices, client_services, unreachable_levels
from batchseal.settings.load import Settings, default_for_libraries
from batchseal.settings.sizing import planned
from batchseal.signature import NO_DEFAULTS, Level, SignatureDefaults, VisibleDefaults
from batchseal.store.address import address_of
from batchseal.store.migrations import Start
from batchseal.store.store import Store
from batchseal.store.token_keys import token_keys
from batchseal.system.crash_sites import arm
from batchseal.system.shared_pool import SharedPool
from batchseal.system.telemetry.ending import end_of_process
from batchseal.system.waits import said_when_long

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from batchseal.admission.admission import Admission, MakeRoom
    from batchseal.api.guard import Guard
    from batchseal.document import Description
    from batchseal.formats.material import Materials
    from batchseal.formats.pades.placeholder.finder import Finder
    from batchseal.intake.schema import Limits
    from batchseal.notify.duty import WebhookDuty
    from batchseal.signer.call_log import CallLog
    from batchseal.signer.preparation import Locate, Reserve
    from batchseal.signer.presence import Presence
    from batchseal.signer.queue import SigningQueue
    from batchseal.signer.recording import Recording
    from batchseal.signer.stamp_room import StampRoom
    from batchseal.upstream.interface import Upstream
    from batchseal.worker.service import Service

# How long operations that are being signed may go on when the signer stops.
DRAIN_SECONDS = 10
# How long deliveries of webhooks may then go on. What is cut off is sent again.
DELIVERIES_SECONDS = 2

# The server brings a heap of its own (jemalloc), which reads this when it is loaded: a thread that sleeps otherwise returns
# memory that was free for half a second. By default the heap keeps what a flood of connections needed. A shorter time would
# return what the next request needs: page faults were 6 % of the time of requests that follow each other every 40 ms.
SERVER_HEAP = "_RJEM_MALLOC_CONF", "background_thread:true,max_background_threads:1,dirty_decay_ms:500"

log = structlog.get_logger("app")


def use_kernels(settings: Settings) -> None:
    """Chooses the instruction set of the native code. Raises ConfigurationError if it is unknown or this processor lacks it."""
    try:
        cpu.set_default_instruction_set(settings.kernel or None)  # for modules that are loaded when they are needed
        for module in (base64, digest, scanner):
            module.use_kernels(settings.kernel or None)
    except ValueError as problem:
        raise ConfigurationError(f"--kernel: {problem}") from None


def native_pool(settings: Settings) -> SharedPool:
    """The threads for native work. There are as many as cores (two if memory is short), since the work releases the GIL."""
    sizes = planned(settings)
    return SharedPool(sizes.native_threads, spare=settings.spare_threads)


def limits_of(settings: Settings) -> "Limits":
    """The limits of a request."""
    from batchseal.intake.schema import Limits

    same = {name: getattr(settings, name) for name in Limits.__struct_fields__ if name != "max_depth"}
    return Limits(max_depth=settings.max_json_depth, **same)


def formats_of(settings: Settings, memory: Memory) -> Formats:
    """The signature formats, with what the settings allow. Documents that need more memory than usual book it in `memory`."""
    return Formats(has_time_stamps=bool(settings.timestamp_urls), memory=memory)


def finding_places(settings: Settings, reserve: "Reserve") -> "Locate":
    """What finds the places of visible signatures in documents. Its code is loaded with the first such document."""
    finders: list[Finder] = []

    async def located(client: str, wanted: "Description", content: "Buffer") -> "Description":
        if not finders:
            from batchseal.formats.pades.placeholder.finder import Finder

            finders.append(Finder(settings.placeholder_path, reserve))
        return await finders[0].located(client, wanted, content)

    return located


async def connect_store(settings: Settings, payloads: Payloads | None = None, *, everything: bool = True) -> Store:
    """Connects to the database. Without `everything`, see `Store.connect`. `payloads` tells who else reads them."""
    shared = None if payloads is None or payloads.name.startswith("local") else payloads.name
    instance = UUID(settings.instance)
    return await Store.connect(address_of(settings), instance=instance, everything=everything, shared=shared)


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


def signature_defaults(settings: Settings, services: ClientServices, client_service: str) -> SignatureDefaults:
    """What the configuration says of the signatures of a client service. The higher of two levels holds."""
    service = services.get(client_service)
    own = service.signature if service is not None else NO_DEFAULTS
    visible = VisibleDefaults(
        settings.visible_area,
        settings.visible_template,
        settings.visible_pixels_per_point,
        service.visible if service is not None else None,
    )
    return replace(own, level=max(own.level, Level[settings.signature_level]), visible=visible)


def admission_of(
    settings: Settings,
    services: ClientServices,
    ledger: Ledger,
    payloads: Payloads,
    make_room: "MakeRoom | None" = None,
) -> "Admission":
    """What decides whether there is room, in a worker or in the signer."""
    from batchseal.admission.admission import Admission
    from batchseal.admission.limits import budgets_of

    budgets = budgets_of(settings)
    return Admission(
        *(ledger, budgets, payloads.free_bytes, make_room),
        is_alone=lambda: services.has_one,
        store_bytes=payloads.upload_bytes,
    )


async def build_service(
    settings: Settings, services: ClientServices
) -> tuple["Service", Callable[[], Awaitable[None]]]:
    """The service that a worker offers to the API, and a function that closes it."""
    from batchseal.worker.service import Service

    payloads = payload_store(settings)
    store = await connect_store(settings, payloads, everything=False)
    link, pool = Link(settings.link_path), native_pool(settings)
    link.start()
    ledger = Ledger(settings.ledger_path)

    async def make_room(needed_bytes: int, client: str) -> None:
        with suppress(BatchsealError, TimeoutError):
            await link.call("make_room", needed_bytes, client)

    admission = admission_of(settings, services, ledger, payloads, make_room)
    budgets = admission.budgets
    service = Service(
        store,
        link,
        payloads,
        formats_of(settings, WorkingMemory(ledger, budgets.memory_bytes, budgets.upload_bytes)),
        pool,
        limits=limits_of(settings),
        instance=UUID(settings.instance),
        advertised=settings.advertised,
        admission=admission,
        signature_defaults=partial(signature_defaults, settings, services),
        locate=finding_places(settings, admission.reserved),
        drain_seconds=settings.drain_seconds if settings.is_shared else 0,
    )

    async def close() -> None:
        await link.stop()
        await service.close()
        await store.close()
        pool.shutdown()
        ledger.close()

    return service, close


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
    async with long("the database and its migrations"):
        store = await connect_store(settings, payloads)
        said = await migrate(settings, store)
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
    pool = native_pool(settings)
    sampling = Sampling(SampleTable(store.database), upstream.tally)
    stamp = upstream.stamp if stamps else None
    rounds = rounds_of(settings, store, payloads, admission, pool, presence, sampling, stamp)
    webhooks = WebhookDuty(store.database, services, settings, presence.does_webhooks, upstream.certificate_ends)
    room = StampRoom(TimeStampSizes(store.database), upstream)
    memory = WorkingMemory(ledger, budgets.memory_bytes, budgets.upload_bytes, waits=False)
    formats = formats_of(settings, memory)
    queue, recording, calls = signing(
        settings, services, store, upstream, payloads, formats, room, pool, reserve, revocation, presence, webhooks
    )
    async with long("the work that the service before this one left"):
        await store.take_back_own_leases()
        await rounds.sweeping.begin()
        await webhooks.begin()
    handlers = {**queue.handlers(), **rounds.handlers(), **renewal_handlers(upstream)}
    server = LinkServer(settings.link_path, with_told_numbers(handlers))
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    works = queue.run(), recording.run(), watch(upstream), rounds.run(), calls.run(), webhooks.run()
    looking = [asyncio.create_task(work) for work in works]
    beating = [asyncio.create_task(work) for work in presence.works(queue.look)]
    ending = asyncio.create_task(stop.wait())
    say_ready(ready, said)
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
    await upstream.close()
    await presence.leave(store)
    await store.close()


async def run_entries(settings: Settings, ready: int) -> None:
    """Runs the process of the hot folders until SIGTERM."""
    from batchseal.entries.watcher import watch_folders

    services = client_services(settings, remarks=False)
    service, close = await build_service(settings, services)
    turns = await Store.connect(address_of(settings), instance=UUID(settings.instance), pool_size=1)
    defaults, limits = partial(signature_defaults, settings, services), limits_of(settings)
    try:
        parts = services, service, turns.database, limits, defaults
        await watch_folders(settings, *parts, ready=partial(say_ready, ready))
    finally:
        await turns.close()
        await close()


def end_if_one_ended(tasks: "Iterable[asyncio.Task[None]]") -> None:
    """Ends the process, which would go on with half of its work, if one of these tasks has ended. None does so by itself."""
    for ended in filter(asyncio.Task.done, tasks):
        log.error("the signer cannot go on", exc_info=ended.exception())
        raise SystemExit(1)


@asynccontextmanager
async def open_application(settings: Settings) -> AsyncIterator["Guard"]:
    """The application of a worker, with everything that it needs. Closes all of it after the block."""
    from batchseal.api.application import create_application
    from batchseal.worker import callers

    making_keys = asyncio.create_task(callers.token_keys(settings))  # the database is connected meanwhile
    services = client_services(settings, remarks=settings.worker <= 1)
    service, close = await build_service(settings, services)
    keys = await making_keys
    authenticator, attempts = callers.open_authenticator(settings, services, keys, service.database, service.probe)
    try:
        guard = await create_application(service, authenticator, settings)
        guard.book_headers, guard.service = service.book_headers, service
        service.count_received(guard.metrics.received)
        if settings.management_port:
            from batchseal.worker.management import managed

            async with managed(service, guard.metrics.exposition, settings):
                yield guard
        else:
            yield guard
    finally:
        await close()
        attempts.close()


def main() -> None:
    """`python -m batchseal.app worker|signer|entries`. Loads its code first, while the supervisor finds out the settings."""
    process, ready = begin(("worker", "signer", "entries"))
    if process == "worker":
        default_for_libraries(*SERVER_HEAP)
        from batchseal.api import application  # noqa: F401
        from batchseal.worker import server as worker
        from batchseal.worker import service  # noqa: F401
    elif process == "entries":
        from batchseal.entries import watcher  # noqa: F401
    else:
        from batchseal.signer import queue, run  # noqa: F401
        from batchseal.signer.duties import rounds  # noqa: F401
        from batchseal.upstream import remote  # noqa: F401
    settings = receive_settings(process)
    try:
        begin_traces(settings, process)
        use_kernels(settings)
        arm(settings.crash_at)
        if process == "worker":
            worker.run(settings, open_application, ready_fd=ready)
        uvloop.run(run_entries(settings, ready) if process == "entries" else run_signer(settings, ready))
        end_of_process()
    except BatchsealError as problem:
        raise SystemExit(f"batchseal: the {process} process cannot start: {problem.cause}") from None


if __name__ == "__main__":
    main()
