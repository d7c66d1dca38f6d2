"""One hot folder: looks into it, decides when its files are signed, and runs its batches.

At the times of the cron expression, all ready files are taken if there are as many as the threshold. After the flush time,
counted from when the oldest file was seen first, they are taken however few they are.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import structlog

from batchseal.entries.batch import BatchRun
from batchseal.entries.context import Context
from batchseal.entries.looks import Looks, Ready, ReadyBy
from batchseal.errors import LeaseLost
from batchseal.settings.cron import Cron
from batchseal.system.backoff import Backoff

# So many batches of a folder are under way: one is signed while another one is read or written.
BATCHES_AT_ONCE = 3
# A batch also ends with the file that makes it so large.
MOST_BATCH_BYTES = 512 << 20
PRUNE_SECONDS = 3600.0
# A batch that cannot go on here, since another instance has its documents, is tried again after this.
REST_SECONDS = 30.0
AGAIN = Backoff(1.0, 60.0)
NAMED_IN_WARNING = 10

log = structlog.get_logger("hot folder")


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that are the same for all folders. Times are in seconds; a `flush` of 0 is none.

    `flush_at_cron`: the flush waits for a time of the cron expression too.
    """

    threshold: int
    cron: Cron
    flush: float
    flush_at_cron: bool
    look: float
    ready_by: ReadyBy
    ignored: tuple[str, ...]
    unfinished: float
    output_days: int
    backup_days: int


class Due:
    """Whether the files of a folder are to be taken now. `clock` is the time of day, in seconds since the epoch."""

    def __init__(self, rules: Rules, clock: Callable[[], float] = time.time) -> None:
        self._rules = rules
        self._clock = clock
        self._next = rules.cron.next_after(clock())

    def is_due(self, ready: int, oldest_seconds: float) -> bool:
        """`oldest_seconds` is how long ago the oldest of the `ready` files was seen first."""
        rules, at_cron = self._rules, self._has_come()
        if not ready:
            return False
        if at_cron and ready >= rules.threshold:
            return True
        return 0 < rules.flush <= oldest_seconds and (at_cron or not rules.flush_at_cron)

    def _has_come(self) -> bool:
        """Whether a time of the cron expression has come since the call before."""
        now = self._clock()
        if self._next is None or now < self._next:
            return False
        self._next = self._rules.cron.next_after(now)
        return True


class HotFolder:
    """The hot folder of one client service. `identity` is that of its input folder, under which it is leased.

    `lease` gives what says whether the lease of now still holds. What has begun under an earlier one ends, although the folder
    may be ours again.
    """

    def __init__(
        self,
        context: Context,
        rules: Rules,
        identity: UUID,
        *,
        due: Due | None = None,
        lease: "Callable[[], Callable[[], bool]] | None" = None,
    ) -> None:
        self.context = context
        self.identity = identity
        self._lease = lease or (lambda: context.is_ours)
        self._rules = rules
        self._due = due or Due(rules)
        self._looks = Looks(rules.ready_by, rules.ignored, rules.unfinished)
        self._running: dict[UUID, asyncio.Task[bool]] = {}
        self._resting: dict[UUID, float] = {}  # batches that cannot go on here, until when (monotonic)
        self._slots = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._prune_at = 0.0
        self._loaded_for: Callable[[], bool] | None = None  # the lease for which it is known what was published
        self._said: frozenset[str] = frozenset()
        self.waiting = 0  # ready files that are not claimed
        self.is_stalled = False

    @property
    def batches(self) -> int:
        """How many batches are under way."""
        return len(self._running)

    @property
    def oldest_seconds(self) -> float:
        """How long ago the oldest file that waits was seen first; 0 without one."""
        came = self._looks.oldest_came_at
        return 0.0 if came is None else time.monotonic() - came

    async def run(self) -> None:
        """Until cancelled, or until the input has another identity. Then what is under way stays as it is, for the next start."""
        failures = 0
        try:
            while True:
                pause = self._rules.look
                try:
                    held = self._lease()
                    if held():
                        self.context = replace(self.context, is_ours=held)
                        if held != self._loaded_for:  # another instance may have published something meanwhile
                            await self.context.threads.run(self._load_published)
                            self._loaded_for = held  # not before: until then nothing is looked at
                        await self._look()
                    else:
                        self._loaded_for = None
                    failures, self.is_stalled = 0, False
                except LeaseLost as problem:
                    self._say("a hot folder is begun anew", cause=problem.cause)
                    return
                except OSError as problem:
                    failures += 1
                    self.is_stalled = True
                    if failures == 1:
                        self._say(
                            "a hot folder cannot be read now", cause=f"{self.context.place.said}: {problem.strerror}"
                        )
                    pause = max(pause, AGAIN.pause_seconds(failures))
                except Exception:
                    log.exception("a look into a hot folder failed", client_service=self.context.client_service)
                await asyncio.sleep(pause)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            self.context.threads.close()
            self.context.place.close()

    async def _look(self) -> None:
        for batch in await self.context.threads.run(self.context.place.left):
            if batch not in self._running and self._resting.get(batch, 0.0) <= time.monotonic():
                self._resting.pop(batch, None)
                await self._begin(batch)
        ready = await self.context.threads.run(partial(self.context.place.ready, self._looks))
        self.waiting = len(ready)
        self._say_unreadable()
        oldest = max((time.monotonic() - one.came_at for one in ready), default=0.0)
        # While results cannot be put down, the files stay where whoever has brought them sees them. A time of the cron expression
        # that comes meanwhile counts afterwards.
        if not self.context.counts.stalled and self._due.is_due(len(ready), oldest):
            most_bytes = min(MOST_BATCH_BYTES, self.context.service.largest_batch_bytes)
            for part in parts(ready, self._rules.threshold, most_bytes):
                await self._claim(part)
        await self._prune()

    def _load_published(self) -> None:
        self.context.place.load_published(self.context.published)

    async def _claim(self, ready: Sequence[Ready]) -> None:
        """Claims files once there is room for a batch, and starts it."""
        await self._slots.acquire()
        try:
            if not self.context.is_ours():
                self._slots.release()
                return
            batch = await self.context.threads.run(partial(self.context.place.claim, ready))
        except BaseException:
            self._slots.release()
            raise
        self._looks.forget(one.file.path for one in ready)
        self._start(batch)

    async def _begin(self, batch: UUID) -> None:
        """Goes on with a batch that was left."""
        await self._slots.acquire()
        self._start(batch)

    def _start(self, batch: UUID) -> None:
        task = asyncio.create_task(BatchRun(self.context, batch).run())
        self._running[batch] = task

        def ended(task: asyncio.Task[bool]) -> None:
            del self._running[batch]
            self._slots.release()
            if task.cancelled():
                return
            if (problem := task.exception()) is not None:
                log.error("a batch of a hot folder failed and is taken up again", batch=str(batch), exc_info=problem)
            if problem is not None or not task.result():
                self._resting[batch] = time.monotonic() + REST_SECONDS

        task.add_done_callback(ended)

    async def _prune(self) -> None:
        if (now := time.monotonic()) < self._prune_at:
            return
        self._prune_at = now + PRUNE_SECONDS
        for place, removed in await self.context.threads.run(self._pruned):
            self._say("old files were removed", folder=place, files=removed)

    def _pruned(self) -> list[tuple[str, int]]:
        return list(self.context.place.prune(self._rules.output_days, self._rules.backup_days))

    def _say_unreadable(self) -> None:
        new = self._looks.unreadable - self._said
        self._said = frozenset(self._looks.unreadable)
        if new:
            names = sorted(ascii(name) for name in new)
            self._say("files cannot be read and are left alone", files=names[:NAMED_IN_WARNING], number=len(names))

    def _say(self, text: str, **facts: object) -> None:
        log.warning(text, client_service=self.context.client_service, **facts)


def parts(ready: Sequence[Ready], most_files: int, most_bytes: int = MOST_BATCH_BYTES) -> list[list[Ready]]:
    """Files in batches, in their order."""
    found, size = list[list[Ready]](), 0
    for one in ready:
        if not found or len(found[-1]) >= most_files or size + one.file.size > most_bytes:
            found.append([])
            size = 0
        found[-1].append(one)
        size += one.file.size
    return found
