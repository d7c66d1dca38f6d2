"""`batchseal webhooks`: lists webhooks and their events, sends events again, and tries a receiver."""

import asyncio
import time
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from batchseal.commands.databases import OF_DATABASE, open_store
from batchseal.commands.messages import complain
from batchseal.commands.settings_flags import parse, settings_parser
from batchseal.errors import BatchsealError, ConfigurationError
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.store.webhooks import EventRow, EventState, WebhookTable

DESCRIPTION = """
What client services are told of by their webhooks.

  list             the webhooks, and the newest events: when, for whom, of what, how often tried, and what came of it
  redeliver ID...  send these events once more, with all their tries; their ids stay the same. Without ids: the events
                   of --operation, or with --given-up all that were given up, perhaps of one --client-service
  test CLIENT      send an event of the type webhook.test to the webhook of this client service now, and say what it
                   answered. A webhook that is off, since its receiver answered 410, is on again if it takes the event

The database is that of --database-url, or that of the service which uses --temp-folder, whether it runs or not. What is
to be sent again is sent by the service, as soon as it runs. Give list and test the flags about webhooks that `serve` has,
such as --webhook-hosts: they say which webhooks are used."""

EXIT_CODES = "Exit code: 0 if it is done, 1 if no event was found or a test was not accepted, 2 for wrong use."
USAGE = """batchseal webhooks list [--client-service ID] [--state STATE] [--operation N] [--limit N] [--FLAG=VALUE]...
       batchseal webhooks redeliver [EVENT]... [--operation N] [--given-up] [--client-service ID] [--FLAG=VALUE]...
       batchseal webhooks test CLIENT [--FLAG=VALUE]..."""

OF_WEBHOOKS = (
    "webhook_hosts",
    "webhook_allow_http",
    "webhook_timeout",
    "ca_bundle",
    "proxy_hostname",
    "proxy_port",
    "no_proxy",
)
USED = ("work_folder", "client_services_file", *OF_DATABASE, *OF_WEBHOOKS)
STATES = {"waiting": EventState.TO_SEND, "delivered": EventState.DELIVERED, "given-up": EventState.GIVEN_UP}


def run(arguments: Sequence[str]) -> int:
    parser = settings_parser("webhooks", DESCRIPTION, USED)
    parser.usage = USAGE
    parser.epilog = f"{parser.epilog}\n\n{EXIT_CODES}"
    parser.add_argument("action", choices=("list", "redeliver", "test"), help="what to do, see above")
    parser.add_argument("names", nargs="*", metavar="NAME", help="events for redeliver, the client service for test")
    parser.add_argument("--client-service", metavar="ID", help="only events for this client service")
    parser.add_argument("--operation", type=int, metavar="N", help="only events of this operation")
    parser.add_argument("--state", choices=tuple(STATES), help="only events in this state, for list")
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="show at most so many events (default: %(default)s)"
    )
    parser.add_argument("--given-up", action="store_true", help="every event that was given up, for redeliver")
    settings, options = parse(parser, arguments)
    if options.limit < 1:
        parser.error("--limit must be at least 1")
    if options.action == "test":
        if len(options.names) != 1:
            parser.error("test needs the id of one client service")
        return asyncio.run(test(settings, options.names[0]))
    if options.action == "list":
        if options.names:
            parser.error("list takes no names; --client-service and --operation choose events")
        return asyncio.run(show(settings, options))
    try:
        ids = [UUID(name.removeprefix("evt_")) for name in options.names]
    except ValueError:
        parser.error("redeliver takes the ids of events, as `batchseal webhooks list` shows them")
    if sum((bool(ids), options.operation is not None, options.given_up)) != 1:
        parser.error("redeliver needs ids of events, or --operation, or --given-up")
    return asyncio.run(redeliver(settings, ids, options))


async def show(settings: Settings, options: Namespace) -> int:
    services = configured(settings)
    async with open_store(settings) as store:
        table = WebhookTable(store.database)
        endpoints = await table.endpoints()
        events = await table.events(
            client_service=options.client_service,
            state=STATES[options.state] if options.state else None,
            operation_id=options.operation,
            limit=options.limit,
        )
    for name in sorted({one.id for one in services if one.webhook is not None} | endpoints.keys()):
        print(described_webhook(name, services, endpoints, settings))
    for event in events:
        print(described(event))
    if not events:
        complain("there are no such events")
    return 0 if events or endpoints else 1


def described_webhook(
    name: str, services: ClientServices, endpoints: dict[str, datetime | None], settings: Settings
) -> str:
    """One line about the webhook of a client service. Of its address only the host is shown: the rest may hold a secret."""
    from batchseal.settings.webhooks import refusal_of

    service = services.get(name)
    webhook = service.webhook if service is not None else None
    if webhook is None:
        return f"webhook of {name}: not in the configuration that this command reads"
    state = "on"
    if refusal := refusal_of(webhook, settings.webhook_hosts, allow_http=settings.webhook_allow_http):
        state = f"not used by a service with the flags of this command: {refusal}"
    elif name not in endpoints:
        state = "not known to the service yet"
    elif off_since := endpoints[name]:
        state = f"off since {off_since:%Y-%m-%d %H:%M} UTC, when its receiver answered 410"
    keys = f"{len(webhook.keys)} secrets" if len(webhook.keys) > 1 else "1 secret"
    return f"webhook of {name}: {webhook.host}, {keys}, {state}"


def described(event: EventRow) -> str:
    from batchseal.notify.event import TYPES, event_id

    about = f"operation {event.operation_id} {event.external_reference!r}" if event.operation_id else event.details
    state = {
        EventState.TO_SEND: f"waiting, next try {event.next_try_at:%Y-%m-%d %H:%M:%S} UTC",
        EventState.DELIVERED: "delivered",
        EventState.GIVEN_UP: "given up",
    }[event.state]
    tries = f"{event.tries} tries" + (f", {event.problem}" if event.problem else "")
    when = f"{event.occurred_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{event_id(event)}  {when}  {event.client_service}  {TYPES[event.kind]}  {about}  {state} ({tries})"


async def redeliver(settings: Settings, ids: Sequence[UUID], options: Namespace) -> int:
    async with open_store(settings) as store:
        done = await WebhookTable(store.database).redeliver(
            ids=ids,
            operation_id=options.operation,
            given_up=options.given_up,
            client_service=options.client_service,
        )
    if not done:
        complain("no such event is there, or the webhook of its client service is off or gone")
        return 1
    print(f"{done} events are sent again")
    return 0


async def test(settings: Settings, name: str) -> int:
    """Sends a test event from here, as the service would. Returns the exit code."""
    from batchseal.notify.duty import receivers_of
    from batchseal.notify.event import TEST, as_id, encoded
    from batchseal.notify.signing import signed_headers
    from batchseal.settings.webhooks import refusal_of

    service = configured(settings).get(name)
    if service is None or service.webhook is None:
        raise ConfigurationError(f"client service {name!r} has no webhook in {settings.services_file}")
    webhook = service.webhook
    if refusal := refusal_of(webhook, settings.webhook_hosts, allow_http=settings.webhook_allow_http):
        complain(f"nothing was sent: {refusal}; give this command the flags that `serve` has")
        return 1
    body = encoded(TEST, datetime.now(UTC), {"clientService": name})
    headers = signed_headers(as_id(uuid4()), body, webhook.keys, time.time())
    receivers = receivers_of(settings)
    try:
        answer = await receivers.post(webhook, body, headers)
    finally:
        await receivers.close()
    if not answer.is_accepted:
        complain(f"the webhook of {name} did not take the event: {answer.problem}")
        return 1
    print(
        f"The webhook of {name} at {webhook.host} took the event: it answered {answer.status} in {answer.seconds:.3f} s."
    )
    try:
        async with open_store(settings) as store:
            if await WebhookTable(store.database).switch_on(name):
                print("It was off, and is on again.")
    except BatchsealError as problem:
        complain(f"whether it is off is not known: {problem.cause}")
    return 0


def configured(settings: Settings) -> ClientServices:
    """The client services, whoever signs for them. Raises ConfigurationError."""
    return ClientServices.load(settings.services_file, settings.own_services_file, remarks=False)
