"""Runs the sender on the instance whose turn it is, while any client service has a webhook: `WebhookDuty`.

Where no client service has one, this looks at the files of client services every few seconds, drops events that have had their
time, and does and loads nothing else.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from batchseal.document import CertificateEnd
from batchseal.errors import BatchsealError
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.store.database import Database
from batchseal.store.webhooks import EndpointRow, EventCounts, WebhookTable

if TYPE_CHECKING:
    from batchseal.notify.receivers import Receivers
    from batchseal.notify.sender import Sender
    from batchseal.settings.webhooks import Webhook

LOOK_SECONDS = 2.0
COUNT_SECONDS, EXPIRY_SECONDS, DROP_SECONDS = 10.0, 3600.0, 600.0
# The first look at certificates: by then the signing service has been asked for those in use.
FIRST_EXPIRY_SECONDS = 20.0
DAY_SECONDS = 86_400.0

log = structlog.get_logger("webhooks")


class WebhookDuty:
    """One for each signer process. `is_ours` says whether it is on this instance to send.

    `certificate_ends` gives the certificates that are known, for the event that one of them will end.
    """

    def __init__(
        self,
        database: Database,
        services: ClientServices,
        settings: Settings,
        is_ours: Callable[[], bool],
        certificate_ends: Callable[[], Iterable[CertificateEnd]] = tuple,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._table = WebhookTable(database)
        self._services = services
        self._settings = settings
        self._is_ours = is_ours
        self._certificate_ends = certificate_ends
        self._look_seconds = look_seconds
        self._webhooks: dict[str, Webhook] | None = None  # what the table says; None: that is not known
        self._refused: dict[str, str] = {}  # why nothing is sent for a client service
        self._sender: Sender | None = None
        self._sending: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None  # of a sender that stops
        self._counted = EventCounts(0, 0.0, 0)
        self._next: dict[str, float] = {"count": 0.0, "drop": 0.0, "expiry": time.monotonic() + FIRST_EXPIRY_SECONDS}

    def wake(self) -> None:
        """An operation has ended."""
        if self._sender is not None:
            self._sender.wake()

    async def begin(self) -> None:
        """At the start: from here on, ends leave events. What cannot be done now is done at the next look."""
        with suppress(BatchsealError):
            if self._configured():
                await self._look()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                self._services.reload_if_changed()
                await self._look()
            except BatchsealError as problem:
                log.info("webhooks are looked after later", cause=problem.cause)
            if self._sending is not None and self._sending.done():
                log.error("sending webhooks stopped, and begins anew", exc_info=self._sending.exception())
                await self._end()

    async def stop(self, seconds: float) -> None:
        """Lets deliveries that are under way go on for `seconds`."""
        await self._end(seconds)

    def numbers(self) -> dict[str, float]:
        """By the names of their metrics; nothing where no client service has a webhook."""
        if self._sender is None:
            return {}
        counts = self._sender.counts
        return {
            "batchseal_webhooks_delivered_total": counts.delivered,
            "batchseal_webhooks_failed_tries_total": counts.failed_tries,
            "batchseal_webhooks_given_up_total": counts.given_up,
            "batchseal_webhooks_seconds_total": round(counts.seconds, 3),
            "batchseal_webhooks_waiting": self._counted.waiting,
            "batchseal_webhooks_oldest_seconds": round(self._counted.oldest_seconds, 1),
            "batchseal_webhooks_off": self._counted.off,
        }

    def remarks(self) -> list[str]:
        """What an operator should look at."""
        wrong = [f"the webhook of {name} is not used: {why}" for name, why in sorted(self._refused.items())]
        if self._sender is not None:
            problems = sorted(self._sender.counts.problems.items())
            wrong += [f"the webhook of {name} does not take events: {why}" for name, why in problems]
        if self._counted.off:
            wrong.append(f"{self._counted.off} webhooks are off, since their receivers answered 410")
        return wrong

    async def _look(self) -> None:
        configured = self._configured()
        # Each instance knows the certificates that it has used; an event is left once, whoever comes first.
        if configured and self._is_due("expiry", EXPIRY_SECONDS):
            await self._tell_of_ends(configured)
        if not self._is_ours():
            self._webhooks = None  # whoever sends now keeps the table
            await self._end()
            return
        if configured != self._webhooks:
            await self._table.keep_endpoints([endpoint_row(name, one) for name, one in configured.items()])
            if configured:
                self._begin_sending().set_webhooks(configured)
            self._webhooks = configured  # not before: what could not begin is begun at the next look
        if self._is_due("drop", DROP_SECONDS):  # also of client services that had one
            await self._give_up_old()
            while await self._table.drop(self._settings.webhook_days * DAY_SECONDS):
                pass
        if not configured:
            await self._end()
            return
        if self._is_due("count", COUNT_SECONDS):
            self._counted = await self._table.counts()

    async def _give_up_old(self) -> None:
        """A receiver that is away gets one delivery a minute, so most of many events for it would wait for ever."""
        from batchseal.notify.schedule import MOST_SECONDS

        while given_up := await self._table.give_up_old(MOST_SECONDS):
            log.warning("events were given up, since they could not be sent for a week", events=given_up)
            if self._sender is not None:
                self._sender.counts.given_up += given_up

    def _configured(self) -> "dict[str, Webhook]":
        """The webhooks that may be used, by client service. Says of the others why not."""
        found = {one.id: one.webhook for one in self._services if one.webhook is not None}
        if not found:
            self._refused = {}
            return {}
        from batchseal.settings.webhooks import refusal_of

        hosts, allow_http = self._settings.webhook_hosts, self._settings.webhook_allow_http
        refused = {name: refusal_of(one, hosts, allow_http=allow_http) for name, one in found.items()}
        refused = {name: why for name, why in refused.items() if why}
        for name, why in refused.items():
            if self._refused.get(name) != why:
                log.warning("a webhook is not used", client_service=name, cause=why)
        self._refused = refused
        return {name: one for name, one in found.items() if name not in refused}

    def _is_due(self, what: str, seconds: float) -> bool:
        if time.monotonic() < self._next[what]:
            return False
        self._next[what] = time.monotonic() + seconds
        return True

    async def _tell_of_ends(self, configured: "dict[str, Webhook]") -> None:
        from batchseal.notify.expiring import tell
        from batchseal.settings.webhooks import CREDENTIAL_EXPIRING

        told = frozenset(name for name, one in configured.items() if CREDENTIAL_EXPIRING in one.events)
        if told:
            await tell(self._table, self._certificate_ends(), told)

    def _begin_sending(self) -> "Sender":
        """What sends is loaded here, so that a service without webhooks does without it."""
        if self._sender is None:
            from batchseal.api.contract import load_contract
            from batchseal.notify.schedule import Schedule
            from batchseal.notify.sender import Sender

            contract = load_contract(self._settings.compat_contract)
            schedule = Schedule.read(self._settings.webhook_retries)
            self._sender = Sender(self._table, receivers_of(self._settings), contract, schedule)
            self._sending = asyncio.create_task(self._sender.run())
        return self._sender

    async def _end(self, seconds: float = 0.0) -> None:
        """Returns once the sender has stopped, if there is one. It stops in any case, also if this is cancelled meanwhile."""
        if self._sending is not None and self._sender is not None:
            self._ending = asyncio.create_task(end_sending(self._sending, self._sender, seconds))
            self._sending = self._sender = self._webhooks = None
        if self._ending is not None:
            await asyncio.shield(self._ending)
            self._ending = None


async def end_sending(sending: asyncio.Task[None], sender: "Sender", seconds: float) -> None:
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await sender.stop(seconds)


def endpoint_row(name: str, webhook: "Webhook") -> EndpointRow:
    """The row of a client service that has this webhook."""
    from batchseal.settings.webhooks import OPERATION_FAILED, OPERATION_FINISHED

    return EndpointRow(name, webhook.target, OPERATION_FINISHED in webhook.events, OPERATION_FAILED in webhook.events)


def receivers_of(settings: Settings) -> "Receivers":
    """What calls receivers, as the settings say. Raises ConfigurationError."""
    from batchseal.notify.receivers import Receivers
    from batchseal.upstream.transport import route_of

    return Receivers(
        route_of(settings),
        hosts=settings.webhook_hosts,
        allow_http=settings.webhook_allow_http,
        timeout_seconds=settings.webhook_timeout,
    )
