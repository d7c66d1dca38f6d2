"""`batchseal webhooks`, and the duty that sends, over a real database."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from harness.waiting import eventually
from harness.webhook_receiver import GONE, OLD_SECRET, SECRET, TAKE, WebhookReceiver
from tests.support.webhooks import end

from batchseal.commands import webhooks
from batchseal.errors import ConfigurationError
from batchseal.notify.duty import WebhookDuty, receivers_of
from batchseal.notify.receivers import Receivers
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings, load_settings
from batchseal.store import Store
from batchseal.store.webhooks import EventState, WebhookTable

Connect = Callable[..., Awaitable[Store]]
ME = UUID(int=7)


def write(folder: Path, url: str, **more: Any) -> Path:
    """A services file whose client service "A" has a webhook at this address, unless it is empty."""
    path = folder / "client-services-config.json"
    entry = {"secret": "a secret of some length"} | ({"webhook": {"url": url, "secret": SECRET, **more}} if url else {})
    path.with_suffix(".new").write_text(json.dumps({"A": entry}))
    path.with_suffix(".new").replace(path)
    return path


class House:
    """The duty of one instance, and the command over the same database."""

    def __init__(self, store: Store, folder: Path, database_url: str) -> None:
        self.folder, self.is_ours = folder, True
        self.flags = [f"--database-url={database_url}", f"--work-folder={folder}", "--webhook-hosts=127.0.0.1"]
        self.store, self.table = store, WebhookTable(store.database)

    @property
    def settings(self) -> Settings:
        flags = {"work_folder": str(self.folder), "webhook_hosts": "127.0.0.1", "webhook_retries": "0 0 0"}
        return load_settings(flags, {})

    def duty(self) -> WebhookDuty:
        services = ClientServices.load(self.settings.services_file, remarks=False)
        return WebhookDuty(self.store.database, services, self.settings, lambda: self.is_ours, look_seconds=0.05)

    async def command(self, *arguments: str) -> int:
        return await asyncio.to_thread(webhooks.run, [*arguments, *self.flags])


@pytest.fixture
async def house(connect_store: Connect, tmp_path: Path, database_url: str) -> House:
    return House(await connect_store(ME), tmp_path, database_url)


async def run_while(house: House, duty: WebhookDuty, condition: Callable[[], Any]) -> None:
    """The duty works until the condition holds."""
    await duty.begin()
    running = asyncio.create_task(duty.run())
    try:
        await eventually(condition)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await duty.stop(1)


async def test_the_duty_sends_and_says_what_it_did(house: House) -> None:
    with WebhookReceiver() as receiver:
        write(house.folder, receiver.url)
        duty = house.duty()
        await duty.begin()
        rows = [await end(house.store, ME) for _ in range(3)]
        duty.wake()

        def is_done() -> bool:
            return duty.numbers().get("batchseal_webhooks_delivered_total") == 3

        await run_while(house, duty, is_done)
        assert receiver.operations() == {row.id for row in rows}
        assert duty.numbers() == {} and duty.remarks() == []  # it has stopped


async def test_what_could_not_begin_begins_at_a_later_look(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    is_away = iter([True, True])

    def receivers_later(settings: Settings) -> Receivers:
        if next(is_away, False):
            raise ConfigurationError("--ca-bundle: it cannot be read now")
        return receivers_of(settings)

    monkeypatch.setattr("batchseal.notify.duty.receivers_of", receivers_later)
    with WebhookReceiver() as receiver:
        write(house.folder, receiver.url)
        duty = house.duty()
        await duty.begin()
        await end(house.store, ME)
        await run_while(house, duty, lambda: len(receiver.taken) == 1)


async def test_without_webhooks_it_does_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    write(house.folder, "")
    duty = house.duty()
    await run_while(house, duty, lambda: True)
    assert duty.numbers() == {}


async def test_events_go_after_their_time_where_the_last_webhook_was_removed(
    house: House, sees_all_rows: asyncpg.Connection
) -> None:
    with WebhookReceiver() as receiver:
        write(house.folder, receiver.url)
        duty = house.duty()
        await duty.begin()
        await end(house.store, ME)
        await duty.stop(1)
    write(house.folder, "")
    await sees_all_rows.execute(
        "UPDATE webhook_events SET state = 2, occurred_at = now() - interval '60 days', ended_at = now() - interval '50 days'"
    )

    async def are_gone() -> bool:
        return not await house.table.events()

    assert not await are_gone()
    await run_while(house, house.duty(), are_gone)


async def test_it_leaves_the_work_to_the_instance_whose_turn_it_is(house: House) -> None:
    with WebhookReceiver() as receiver:
        write(house.folder, receiver.url)
        duty, other = house.duty(), House(house.store, house.folder, "")
        await duty.begin()
        running = asyncio.create_task(duty.run())
        await eventually(lambda: duty.numbers() != {})
        house.is_ours = False
        await eventually(lambda: duty.numbers() == {})
        await end(house.store, ME)
        assert not receiver.deliveries
        await run_while(other, other.duty(), lambda: len(receiver.taken) == 1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await duty.stop(0)


async def test_a_change_of_the_file_takes_effect_while_it_runs(house: House) -> None:
    with WebhookReceiver() as first, WebhookReceiver(secret=OLD_SECRET) as second:
        write(house.folder, first.url)
        duty = house.duty()
        await duty.begin()
        running = asyncio.create_task(duty.run())
        await end(house.store, ME)
        await eventually(lambda: len(first.taken) == 1)
        write(house.folder, second.url, previousSecret=OLD_SECRET)
        await eventually(lambda: _sends_to(house, second), pause=0.1)
        write(house.folder, "")
        await eventually(lambda: duty.numbers() == {})
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await duty.stop(0)
        assert await house.table.endpoints() == {}


async def _sends_to(house: House, receiver: WebhookReceiver) -> bool:
    if not receiver.taken:
        await end(house.store, ME)
    return bool(receiver.taken)


async def test_a_host_that_is_not_allowed_is_said(house: House) -> None:
    write(house.folder, "https://erp.example/hook")
    duty = house.duty()
    await run_while(house, duty, lambda: duty.remarks())
    assert duty.remarks() == ["the webhook of A is not used: --webhook-hosts does not name the host erp.example"]
    assert await house.table.endpoints() == {}


async def test_list_shows_webhooks_and_events_without_secrets(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    with WebhookReceiver() as receiver:
        write(house.folder, receiver.url)
        assert await house.command("list") == 1
        assert "not known to the service yet" in capsys.readouterr().out
        duty = house.duty()
        await duty.begin()
        row = await end(house.store, ME)
        await run_while(house, duty, lambda: duty.numbers()["batchseal_webhooks_delivered_total"] == 1)
        assert await house.command("list") == 0
        said = capsys.readouterr().out
        assert "webhook of A: 127.0.0.1, 1 secret, on" in said
        assert f"operation.finished  operation {row.id} {row.external_reference!r}  delivered (1 tries)" in said
        assert "whsec" not in said and "hidden" not in said
        assert await house.command("list", "--state=waiting") == 0
        assert "evt_" not in capsys.readouterr().out


@pytest.mark.parametrize("chosen", ["id", "operation", "given-up"])
async def test_redeliver_sends_events_again_under_their_ids(house: House, chosen: str) -> None:
    with WebhookReceiver() as receiver:
        write(house.folder, receiver.url)
        duty = house.duty()
        await duty.begin()
        row = await end(house.store, ME)
        await run_while(house, duty, lambda: duty.numbers()["batchseal_webhooks_delivered_total"] == 1)
        ((first, _),) = receiver.taken.items()
        arguments = {"id": [first], "operation": [f"--operation={row.id}"], "given-up": ["--given-up"]}[chosen]
        if chosen == "given-up":
            assert await house.command("redeliver", *arguments) == 1
            return
        assert await house.command("redeliver", *arguments) == 0
        await run_while(house, house.duty(), lambda: len(receiver.deliveries) == 2)
        assert [one.id for one in receiver.deliveries] == [first, first]


async def test_a_test_event_is_sent_at_once_and_switches_on(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    with WebhookReceiver(lambda number: GONE) as receiver:
        write(house.folder, receiver.url)
        duty = house.duty()
        await duty.begin()
        await end(house.store, ME)
        await run_while(house, duty, lambda: _is_off(house))
        assert await house.command("test", "A") == 1
        assert "it answered 410" in capsys.readouterr().err
        receiver.behave = lambda number: TAKE
        assert await house.command("test", "A") == 0
        said = capsys.readouterr().out
        assert "took the event: it answered 204" in said and "on again" in said
        assert receiver.deliveries[-1].kind == "webhook.test"
        assert (await house.table.endpoints())["A"] is None
        (event,) = await house.table.events()
        assert event.state is EventState.GIVEN_UP
    with pytest.raises(ConfigurationError, match="'B' has no webhook"):
        await house.command("test", "B")


async def test_a_test_that_its_flags_do_not_allow_sends_nothing(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.flags.remove("--webhook-hosts=127.0.0.1")
    with WebhookReceiver() as receiver:
        write(house.folder, receiver.url)
        assert await house.command("test", "A") == 1
        said = capsys.readouterr().err
        assert "nothing was sent" in said and "--webhook-hosts" in said and "serve" in said
        assert not receiver.deliveries
        await house.command("list")
        assert "not used by a service with the flags of this command" in capsys.readouterr().out


async def _is_off(house: House) -> bool:
    return (await house.table.endpoints()).get("A") is not None


@pytest.mark.parametrize(
    "arguments",
    [
        *(("redeliver",), ("redeliver", "x"), ("redeliver", "--given-up", "--operation=1"), ("test",), ("list", "A")),
        ("list", "--limit=0"),
    ],
)
def test_wrong_use(arguments: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        webhooks.run(arguments)
    assert ended.value.code == 2
