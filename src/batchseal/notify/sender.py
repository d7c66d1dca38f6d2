"""Claims events and sends them: `Sender`, one for the instance that has the duty."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from batchseal.api.contract import Contract
from batchseal.errors import BatchsealError
from batchseal.notify.event import event_body, event_id
from batchseal.notify.receivers import Answer, Receivers
from batchseal.notify.schedule import Schedule
from batchseal.notify.signing import signed_headers
from batchseal.settings.webhooks import Webhook
from batchseal.store.webhooks import EndpointRow, EventRow, EventState, Tried, WebhookTable
from batchseal.system.backoff import LONGEST_ASKED_SECONDS, Backoff
from batchseal.system.crash_sites import crash_site
from batchseal.system.futures import end_tasks

# How long a sender that stops tries to write how the last tries ended.
STOP_SECONDS = 2.0

log = structlog.get_logger("webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderPace:
    """How much is sent at once, and how long is waited."""

    poll_seconds: float = 1.0  # between two looks, where nobody says that there is work
    claim_seconds: float = 120.0  # nobody else claims an event for so long; longer than a delivery can take
    at_once: int = 128  # deliveries under way
    slow_at_once: int = 64  # of these, to receivers that fail
    of_one: int = 8  # of one client service, while its receiver answers
    slow_after: int = 3  # failures in a row, after which a receiver gets one delivery at a time
    paused_after: int = 8  # failures in a row, after which a receiver is left alone for a while between two of them
    away: Backoff = Backoff(1.0, 60.0)
    database_away: Backoff = Backoff(0.5, 10.0)


DEFAULT_PACE = SenderPace()


@dataclass(slots=True)
class Receiver:
    """What is known of the receiver of one client service. Times are those of the monotonic clock."""

    webhook: Webhook
    under_way: int = 0
    failures: int = 0  # in a row
    free_at: float = 0.0  # nothing is sent to it before
    said: str = ""  # what the log said of it last

    def is_slow(self, pace: SenderPace) -> bool:
        return self.failures >= pace.slow_after

    def room(self, pace: SenderPace, now: float) -> int:
        """How many more deliveries may begin."""
        if now < self.free_at:
            return 0
        return max(0, (1 if self.is_slow(pace) else pace.of_one) - self.under_way)


@dataclass(slots=True)
class Counts:
    """Since the start of the process, for the metrics."""

    delivered: int = 0
    failed_tries: int = 0
    given_up: int = 0
    seconds: float = 0.0
    problems: dict[str, str] = field(default_factory=dict)  # what is wrong with a receiver, by client service


class Sender:
    """Sends what is due to the receivers of `webhooks`, which `set_webhooks` replaces."""

    def __init__(
        self,
        table: WebhookTable,
        receivers: Receivers,
        contract: Contract,
        schedule: Schedule,
        pace: SenderPace = DEFAULT_PACE,
        *,
        counts: Counts | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._receivers = receivers
        self._contract = contract
        self._schedule = schedule
        self._pace = pace
        self._now = now
        self.counts = counts or Counts()
        self._known: dict[str, Receiver] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tried: list[Tried] = []
        self._unsent: list[EventRow] = []  # whose delivery was cut off
        self._gone: set[EndpointRow] = set()  # receivers that have answered 410
        self._look = asyncio.Event()

    def set_webhooks(self, webhooks: Mapping[str, Webhook]) -> None:
        """Where events go from now on, by client service. What is under way ends where it goes."""
        for name in self._known.keys() - webhooks.keys():
            del self._known[name]
            self.counts.problems.pop(name, None)
        for name, webhook in webhooks.items():
            if (known := self._known.get(name)) is None:
                self._known[name] = Receiver(webhook)
            elif known.webhook != webhook:  # what is under way to the one before still counts
                known.webhook, known.failures, known.free_at, known.said = webhook, 0, 0.0, ""
                self.counts.problems.pop(name, None)

    def wake(self) -> None:
        """There may be an event."""
        self._look.set()

    async def run(self) -> None:
        """Until cancelled. What is under way then goes on until `stop`."""
        failures, taken_back = 0, False
        while True:
            self._look.clear()
            try:
                if not taken_back:
                    await self._table.take_back()
                    taken_back = True
                await self._note()
                await self._begin()
                failures = 0
            except BatchsealError as problem:
                failures += 1
                log.info("events are sent later", cause=problem.cause)
                await asyncio.sleep(self._pace.database_away.pause_seconds(failures))
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.poll_seconds):
                    await self._look.wait()

    async def stop(self, seconds: float) -> None:
        """Lets what is under way go on for `seconds`, and notes how it ended."""
        await end_tasks(self._tasks, seconds)
        with suppress(BatchsealError, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._note()
                if self._unsent:
                    await self._table.give_back(self._unsent)
        await self._receivers.close()

    async def _begin(self) -> None:
        """Claims what there is room for, and begins to send it. Receivers that fail have a part of the room alone."""
        now, rooms = time.monotonic(), (dict[str, int](), dict[str, int]())
        slow_under_way = 0
        for name, known in self._known.items():
            is_slow = known.is_slow(self._pace)
            slow_under_way += known.under_way if is_slow else 0
            if room := known.room(self._pace, now):
                rooms[is_slow][name] = room
        for room_of, left in zip(rooms, (self._pace.at_once, self._pace.slow_at_once - slow_under_way), strict=True):
            left = min(left, self._pace.at_once - len(self._tasks))
            if room_of and left > 0:
                for event in await self._table.claim(room_of, left, self._pace.claim_seconds):
                    self._start(event)

    def _start(self, event: EventRow) -> None:
        known = self._known.get(event.client_service)
        if known is None:  # it has lost its webhook in this moment
            return
        known.under_way += 1
        task = asyncio.create_task(self._send(event, known))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._look.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("an event could not be sent", exc_info=problem)

    async def _send(self, event: EventRow, known: Receiver) -> None:
        webhook = known.webhook
        try:
            body = event_body(event, self._contract)
            headers = signed_headers(event_id(event), body, webhook.keys, self._now())
            crash_site("webhook-unsent")
            answer = await self._receivers.post(webhook, body, headers)
            crash_site("webhook-sent")
            if answer.is_gone:
                self._gone.add(EndpointRow(event.client_service, webhook.target))
            self._tried.append(self._judged(event, known, answer))
        except asyncio.CancelledError:
            self._unsent.append(event)
            raise
        finally:
            known.under_way -= 1

    def _judged(self, event: EventRow, known: Receiver, answer: Answer) -> Tried:
        """How a try ended, and what that says of the receiver."""
        self.counts.seconds += answer.seconds
        if answer.is_accepted:
            if known.failures >= self._pace.slow_after:
                log.info("a receiver answers again", client_service=event.client_service)
            known.failures, known.free_at, known.said = 0, 0.0, ""
            self.counts.delivered += 1
            self.counts.problems.pop(event.client_service, None)
            return Tried(event, EventState.DELIVERED, http_status=answer.status)
        known.failures += 1
        self.counts.failed_tries += 1
        if self._known.get(event.client_service) is known:
            self.counts.problems[event.client_service] = answer.problem
        if answer.problem != known.said:
            known.said = answer.problem
            log.warning("an event was not delivered", client_service=event.client_service, cause=answer.problem)
        asked = answer.retry_after_seconds if answer.asks_for_a_pause else 0.0
        pause = self._schedule.pause_seconds(event.tries + 1, event.age_seconds, asked)
        self._leave_alone(known, min(asked, LONGEST_ASKED_SECONDS))
        if answer.is_gone or pause is None:
            self.counts.given_up += 1
            log.info("an event was given up", client_service=event.client_service, event_id=event_id(event))
            return Tried(event, EventState.GIVEN_UP, http_status=answer.status, problem=answer.problem)
        return Tried(event, EventState.TO_SEND, pause, answer.status, answer.problem)

    def _leave_alone(self, known: Receiver, asked_seconds: float) -> None:
        """Nothing is sent to a receiver while it has asked for a pause, nor at once after it has failed for long."""
        beyond = known.failures - self._pace.paused_after
        own = self._pace.away.pause_seconds(beyond) if beyond > 0 else 0.0
        if pause := max(asked_seconds, own):
            known.free_at = max(known.free_at, time.monotonic() + pause)

    async def _note(self) -> None:
        """Writes how tries ended. What cannot be written now is written later, or is sent again after its claim."""
        if not self._tried:
            return
        noted, self._tried = self._tried, []
        try:
            await self._table.note(noted)
        except BaseException:  # this may be cancelled as well; what was written already is not written a second time
            self._tried = noted + self._tried
            raise
        for one in list(self._gone):
            log.warning("a receiver is gone for good (410): its webhook is off", client_service=one.client_service)
            await self._table.switch_off(one)
            self._gone.discard(one)
        crash_site("webhooks-noted")
