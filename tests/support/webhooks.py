"""What tests of webhooks share: operations that end, the tables of webhooks, and a sender with short pauses."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from harness.webhook_receiver import SECRET, WebhookReceiver

from batchseal.api.contract import load_contract
from batchseal.document import DocumentOutcome, Refusal
from batchseal.notify.receivers import Receivers
from batchseal.notify.schedule import Schedule
from batchseal.notify.sender import Sender, SenderPace
from batchseal.operation import ContentType, Mode, SignError
from batchseal.settings.webhooks import Webhook
from batchseal.store import NewDocument, NewOperation, OperationRow, Store
from batchseal.store.webhooks import EndpointRow, WebhookTable
from batchseal.system.backoff import Backoff
from batchseal.upstream.transport import Route

QUICK = SenderPace(poll_seconds=0.05, away=Backoff(0.05, 0.1), database_away=Backoff(0.05, 0.1))
# Many tries with short pauses in between, so that a receiver may fail often within the time of a test.
PATIENT = Schedule((0.05,) * 20)
HOSTS = "127.0.0.1"


def key_of(secret: str) -> bytes:
    return b64decode(secret.removeprefix("whsec_"))


def webhook_at(url: str, *secrets: str) -> Webhook:
    return Webhook(url, tuple(map(key_of, secrets or (SECRET,))))


async def register(store: Store, instance: UUID, client_service: str = "A", reference: str = "") -> OperationRow:
    new = NewOperation(uuid4(), client_service, reference or str(uuid4()), "", Mode.ASYNC, instance, "h", 1)
    return await store.register(new, [NewDocument(n, f"d{n}", "d.pdf", ContentType.PDF, 9) for n in range(2)])


def outcomes(failed: int = 0) -> list[DocumentOutcome]:
    refusal = Refusal(SignError.SIGN_OPERATION_INTERNAL_ERROR, "it cannot be")
    return [DocumentOutcome(n, refusal=refusal) if n < failed else DocumentOutcome(n, 9) for n in range(2)]


async def end(store: Store, instance: UUID, client_service: str = "A", *, failed: int = 0) -> OperationRow:
    """Registers an operation of two documents and ends it."""
    row = await register(store, instance, client_service)
    assert await store.finish(row.id, row.created_at, 1, outcomes(failed)) is not None
    return row


async def keep(table: WebhookTable, webhooks: Mapping[str, Webhook]) -> None:
    await table.keep_endpoints([EndpointRow(name, one.target) for name, one in webhooks.items()])


@asynccontextmanager
async def sending(
    table: WebhookTable,
    webhooks: Mapping[str, Webhook],
    schedule: Schedule = PATIENT,
    pace: SenderPace = QUICK,
    *,
    timeout_seconds: float = 15.0,
    hosts: str = HOSTS,
) -> AsyncIterator[Sender]:
    """A sender that works while the block runs."""
    receivers = Receivers(Route(), hosts=hosts, allow_http=True, timeout_seconds=timeout_seconds)
    sender = Sender(table, receivers, load_contract(), schedule, pace)
    sender.set_webhooks(webhooks)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sender.stop(1)


def webhooks_of(*receivers: WebhookReceiver) -> dict[str, Webhook]:
    """The webhooks of client services "A", "B" and so on."""
    return {chr(65 + number): webhook_at(one.url) for number, one in enumerate(receivers)}
