"""All hot folders of an instance: finds them, leases them, runs each, and follows the files of client services.

Each hot folder has a task and threads of its own from the first question to its mount on, and nobody waits for them without a
limit: a mount that hangs holds up its own folder alone.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args
from uuid import UUID

import structlog

from batchseal.entries.answers import Answers
from batchseal.entries.asked import Asking
from batchseal.entries.context import Context, Counts
from batchseal.entries.folder_place import FolderPlace
from batchseal.entries.folders import Found, Place, check
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
# How long one that is to end is waited for, and after which time one that does not answer counts as stalled.
END_SECONDS, SILENT_SECONDS = 5.0, 60.0

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


@dataclass(slots=True)
class Watched:
    """The hot folder of a client service. `folder` is None until its input has answered."""

    definition: object
    place: HotPlace
    threads: Threads
    counts: Counts
    task: asyncio.Task[None] | None = None
    folder: HotFolder | None = None
    is_silent: bool = False


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
        self._answers = Answers[Found]()
        self._folders: dict[str, Watched] = {}  # by client service
        self._ending: dict[str, asyncio.Task[None]] = {}  # those whose threads have not come back yet
        self._renewing = asyncio.Lock()
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
        checked = await asyncio.to_thread(check, self._settings, self._services, self._answers)
        faults = {name: list(found) for name, found in checked.faults.items()}
        wanted = dict[str, tuple[object, Place, Asking]]()
        silent = checked.away.keys() - {place.client_service for place in checked.places}
        for place in checked.places:
            defaults = self._defaults(place.client_service)
            asking = Asking(place.hot, defaults, self._limits, self._service.largest_document_bytes)
            try:
                asking.check()
                wanted[place.client_service] = ((place, defaults), place, asking)
            except ConfigurationError as problem:
                faults[place.client_service] = [problem.cause]
        over = [
            name
            for name, watched in self._folders.items()
            # What does not answer now is worked on again once it does.
            if (wanted[name][0] != watched.definition if name in wanted else name not in silent)
        ]
        await asyncio.gather(*map(self._end, over))
        for name, (definition, place, asking) in wanted.items():
            if name in self._ending:
                faults[name] = [f"{place.input} does not answer, and what was under way there has not ended yet"]
            elif name not in self._folders:
                try:
                    where = opened_place(self._settings, place)
                except ConfigurationError as problem:
                    faults[name] = [problem.cause]
                    continue
                self._folders[name] = watched = Watched(definition, where, Threads(), Counts())
                watched.task = asyncio.create_task(self._work(watched, place, asking))
        faults |= {name: checked.away[name] for name in silent}
        for name, found in faults.items():
            if self._said.get(name) != found:
                log.warning("a hot folder is not worked on until this is mended", client_service=name, faults=found)
        self._said = faults

    async def _work(self, watched: Watched, place: Place, asking: Asking) -> None:
        """Works on a hot folder until cancelled; anew where its input has got another identity."""
        while True:
            try:
                await self._work_once(watched, place, asking)
            except Exception:
                log.exception("the work on a hot folder failed, and is begun anew", client_service=place.client_service)
                await asyncio.sleep(CHECK_AGAIN_SECONDS)
            finally:
                watched.threads.close()
                watched.place.close()
            watched.folder, watched.threads = None, Threads()
            watched.place = opened_place(self._settings, place)

    async def _work_once(self, watched: Watched, place: Place, asking: Asking) -> None:
        known = await self._identity(watched, place)
        context = Context(
            client_service=place.client_service,
            place=watched.place,
            asking=asking,
            service=self._service,
            threads=watched.threads,
            failure_pattern=self._settings.hot_folder_failure,
            description_characters=self._limits.max_description_characters,
            is_ours=self._leases.lease(known).is_held,
            counts=watched.counts,
        )
        watched.folder = HotFolder(context, self._rules, known, lease=lambda: self._leases.lease(known).is_held)
        await self._renew()
        log.info("a hot folder is worked on", client_service=place.client_service, folder=str(place.input))
        await watched.folder.run()

    async def _identity(self, watched: Watched, place: Place) -> UUID:
        """The identity of the input, once it can be had."""
        failures = 0
        while True:
            try:
                return await watched.threads.run(watched.place.identity)
            except OSError as problem:
                failures += 1
                if failures == 1:
                    cause = f"{place.input}: {problem.strerror}"
                    log.warning("a hot folder cannot be used now", client_service=place.client_service, cause=cause)
                await asyncio.sleep(CHECK_AGAIN_SECONDS)

    async def _end(self, name: str) -> None:
        """Ends the work on a hot folder. Where its threads do not come back, it ends once they do."""
        watched = self._folders.pop(name)
        assert watched.task is not None
        watched.task.cancel()
        self._ending[name] = watched.task
        watched.task.add_done_callback(lambda _: self._ending.pop(name))
        await asyncio.wait((watched.task,), timeout=END_SECONDS)
        self._counts.signed += watched.counts.signed
        self._counts.failed += watched.counts.failed

    # --- leases and numbers -------------------------------------------------------------------------------------------

    @property
    def _working(self) -> list[HotFolder]:
        return [watched.folder for watched in self._folders.values() if watched.folder is not None]

    async def _hold(self) -> None:
        while True:
            await self._renew()
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        """Renews all leases at once: an answer that lacks one of them says that somebody else has it."""
        try:
            async with asyncio.timeout(RENEW_SECONDS), self._renewing:
                await self._leases.renew({folder.identity for folder in self._working})
        except (BatchsealError, TimeoutError) as problem:
            log.info("the leases of the hot folders are not renewed now", cause=str(problem))

    async def _tell(self) -> None:
        """Tells the signer the numbers that /metrics shows."""
        while True:
            self._say_silent()
            self._service.tell_numbers("hot_folders", self.numbers())
            await asyncio.sleep(NUMBERS_SECONDS)

    def _say_silent(self) -> None:
        for name, watched in self._folders.items():
            was, watched.is_silent = watched.is_silent, watched.threads.oldest_seconds > SILENT_SECONDS
            if watched.is_silent and not was:
                log.warning("a hot folder does not answer, and waits for its mount", client_service=name)

    def numbers(self) -> dict[str, float]:
        """By the names of their metrics."""
        folders = self._working
        counts = [self._counts, *(watched.counts for watched in self._folders.values())]
        stalled = {name for name, watched in self._folders.items() if watched.is_silent or is_stalled(watched.folder)}
        return {
            "batchseal_hotfolder_files_signed_total": sum(one.signed for one in counts),
            "batchseal_hotfolder_files_failed_total": sum(one.failed for one in counts),
            "batchseal_hotfolder_files_waiting": sum(folder.waiting for folder in folders),
            "batchseal_hotfolder_oldest_seconds": max((folder.oldest_seconds for folder in folders), default=0.0),
            "batchseal_hotfolder_batches": sum(folder.batches for folder in folders),
            "batchseal_hotfolder_folders": len(folders),
            "batchseal_hotfolder_folders_stalled": len(stalled | self._said.keys()),
        }


def is_stalled(folder: HotFolder | None) -> bool:
    return folder is None or bool(folder.is_stalled or folder.context.counts.stalled)


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
