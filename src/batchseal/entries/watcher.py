"""All hot folders of an instance: finds them, leases them, runs each, and follows the files of client services."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import get_args
from uuid import UUID

import structlog

from batchseal.entries.asked import Asking
from batchseal.entries.context import Context, Counts
from batchseal.entries.folder_place import FolderPlace
from batchseal.entries.folders import Place, check
from batchseal.entries.hot_folder import HotFolder, Rules
from batchseal.entries.interface import HotPlace
from batchseal.entries.leases import FolderLeases
from batchseal.entries.looks import ReadyBy
from batchseal.entries.publishing import Folder
from batchseal.entries.threads import Threads
from batchseal.errors import BatchsealError, ConfigurationError
from batchseal.intake.schema import Limits
from batchseal.settings import cron
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.signature import SignatureDefaults
from batchseal.store.database import Database
from batchseal.store.instances import RENEW_SECONDS
from batchseal.store.turns import Turns
from batchseal.worker.service import Service

# How often the files of client services are looked at, and a folder that could not be used.
RELOAD_SECONDS, CHECK_AGAIN_SECONDS = 2.0, 30.0
NUMBERS_SECONDS = 2.0

log = structlog.get_logger("hot folder")

Defaults = Callable[[str], SignatureDefaults]


def rules_of(settings: Settings) -> Rules:
    """What the settings say for all folders."""
    ready_by = next(one for one in get_args(ReadyBy) if one == settings.hot_folder_ready)
    return Rules(
        threshold=settings.hot_folder_threshold,
        cron=cron.parse(settings.hot_folder_cron),
        flush=settings.hot_folder_flush,
        flush_at_cron=settings.hot_folder_flush_at_cron,
        look=settings.hot_folder_look,
        ready_by=ready_by,
        ignored=tuple(settings.hot_folder_ignore.split()),
        unfinished=settings.hot_folder_unfinished,
        output_days=settings.hot_folder_output_days,
        backup_days=settings.hot_folder_backup_days,
    )


class Watcher:
    """Runs the hot folders. `defaults` gives what the configuration says of the signatures of a client service."""

    def __init__(
        self,
        settings: Settings,
        services: ClientServices,
        service: Service,
        leases: FolderLeases,
        limits: Limits,
        defaults: Defaults,
    ) -> None:
        self._settings = settings
        self._services = services
        self._service = service
        self._leases = leases
        self._limits = limits
        self._defaults = defaults
        self._rules = rules_of(settings)
        self._folders: dict[str, tuple[object, HotFolder, asyncio.Task[None]]] = {}  # by client service
        self._counts = Counts()
        self._check_at = 0.0
        self._is_found = False  # whether the last search for the folders came to its end
        self._said: Mapping[str, list[str]] = {}

    async def run(self) -> None:
        """Until cancelled. Then what is under way stays as it is, for the next start."""
        works = [asyncio.create_task(work) for work in (self._follow(), self._hold(), self._tell())]
        try:
            await asyncio.gather(*works)
        finally:
            for task in works:
                task.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await asyncio.gather(*(self._end(name) for name in list(self._folders)))

    # --- which folders ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Finds the folders again when a file of client services has changed, and those that could not be used now and then."""
        while True:
            now = asyncio.get_running_loop().time()
            if self._services.reload_if_changed() or (now >= self._check_at and (self._said or not self._is_found)):
                self._check_at = now + CHECK_AGAIN_SECONDS
                try:
                    self._is_found = False
                    await self._find()
                    self._is_found = True
                except Exception:
                    log.exception("the hot folders could not be found, and are looked for again")
            await asyncio.sleep(RELOAD_SECONDS)

    async def _find(self) -> None:
        checked = await asyncio.to_thread(check, self._settings, self._services)
        faults = {name: list(found) for name, found in checked.faults.items()}
        wanted = dict[str, tuple[object, Place, Asking]]()
        for place in checked.places:
            defaults = self._defaults(place.client_service)
            asking = Asking(place.hot, defaults, self._limits, self._service.largest_document_bytes)
            try:
                asking.check()
                wanted[place.client_service] = ((place, defaults), place, asking)
            except ConfigurationError as problem:
                faults[place.client_service] = [problem.cause]
        for name, (definition, *_) in list(self._folders.items()):
            if name not in wanted or wanted[name][0] != definition:
                await self._end(name)
        for name, (definition, place, asking) in wanted.items():
            if name not in self._folders:
                try:
                    await self._begin(definition, place, asking)
                except OSError as problem:
                    faults[name] = [f"{place.input}: {problem.strerror}"]
        for name, found in faults.items():
            if self._said.get(name) != found:
                log.warning("a hot folder is not worked on until this is mended", client_service=name, faults=found)
        self._said = faults

    async def _begin(self, definition: object, place: Place, asking: Asking) -> None:
        threads = Threads()
        where = opened_place(self._settings, place)
        known = await threads.run(where.identity)
        context = Context(
            client_service=place.client_service,
            place=where,
            asking=asking,
            service=self._service,
            threads=threads,
            failure_pattern=self._settings.hot_folder_failure,
            description_characters=self._limits.max_description_characters,
            is_ours=partial(self._leases.is_ours, known),
            counts=Counts(),
        )
        folder = HotFolder(context, self._rules, known)
        await self._renew(*(one.identity for _, one, _ in self._folders.values()), known)
        self._folders[place.client_service] = definition, folder, asyncio.create_task(folder.run())
        log.info("a hot folder is worked on", client_service=place.client_service, folder=str(place.input))

    async def _end(self, name: str) -> None:
        _, folder, task = self._folders.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._counts.signed += folder.context.counts.signed
        self._counts.failed += folder.context.counts.failed

    # --- leases and numbers -------------------------------------------------------------------------------------------

    async def _hold(self) -> None:
        while True:
            await self._renew(*(folder.identity for _, folder, _ in self._folders.values()))
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self, *folders: UUID) -> None:
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                await self._leases.renew(set(folders))
        except (BatchsealError, TimeoutError) as problem:
            log.info("the leases of the hot folders are not renewed now", cause=str(problem))

    async def _tell(self) -> None:
        """Tells the signer the numbers that /metrics shows."""
        while True:
            self._service.tell_numbers("hot_folders", self.numbers())
            await asyncio.sleep(NUMBERS_SECONDS)

    def numbers(self) -> dict[str, float]:
        """By the names of their metrics."""
        folders = [folder for _, folder, _ in self._folders.values()]
        counts = [self._counts, *(folder.context.counts for folder in folders)]
        return {
            "batchseal_hotfolder_files_signed_total": sum(one.signed for one in counts),
            "batchseal_hotfolder_files_failed_total": sum(one.failed for one in counts),
            "batchseal_hotfolder_files_waiting": sum(folder.waiting for folder in folders),
            "batchseal_hotfolder_oldest_seconds": max((folder.oldest_seconds for folder in folders), default=0.0),
            "batchseal_hotfolder_batches": sum(folder.batches for folder in folders),
            "batchseal_hotfolder_folders": len(folders),
            "batchseal_hotfolder_folders_stalled": sum(
                bool(folder.is_stalled or folder.context.counts.stalled) for folder in folders
            )
            + len(self._said),
        }


def opened_place(settings: Settings, place: Place) -> HotPlace:
    """What works on the folders or the prefixes of a client service."""
    if prefixes := place.prefixes():
        from batchseal.entries.buckets.opening import bucket_place

        return bucket_place(settings, *(prefixes[key] for key in ("inputFolder", "outputFolder", "backupFolder")))
    mode, folders = int(settings.hot_folder_mode, 8), place.folders()
    output, backup = Folder(folders["outputFolder"], mode), Folder(folders["backupFolder"], mode)
    return FolderPlace(str(place.input), output, backup)


async def watch_folders(
    settings: Settings,
    services: ClientServices,
    service: Service,
    database: Database,
    limits: Limits,
    defaults: Defaults,
    ready: Callable[[], None],
) -> None:
    """Runs the hot folders until SIGTERM. `database` sees all rows. `ready` is called once everything is connected."""
    # Asking whether somebody has a file open may race with one who opens it, and the kernel then sends this signal.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    leases = FolderLeases(Turns(database, UUID(settings.instance)))
    watching = asyncio.create_task(Watcher(settings, services, service, leases, limits, defaults).run())
    stopping = asyncio.create_task(stop.wait())
    ready()
    await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        # It never ends by itself. The supervisor starts the process again.
        log.error("the hot folders cannot go on", exc_info=watching.exception())
        raise SystemExit(1)
    watching.cancel()
    stopping.cancel()
    await asyncio.gather(watching, stopping, return_exceptions=True)
