"""Sending events: to a real receiver, which fails, hangs, redirects, asks for a pause or has gone."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest
from harness.service import free_port
from harness.waiting import eventually
from harness.webhook_receiver import BUSY, FAIL, GONE, HANG, LONG, OLD_SECRET, REDIRECT, SECRET, TAKE, WebhookReceiver
from tests.support.operators import WHO, operators
from tests.support.webhooks import QUICK, end, keep, sending, webhook_at, webhooks_of

from batchseal.notify.schedule import Schedule
from batchseal.notify.sender import SenderPace
from batchseal.store import Store
from batchseal.store.webhooks import EventState, Tried, WebhookTable
from batchseal.system.backoff import Backoff

Connect = Callable[..., Awaitable[Store]]
ME = UUID(int=7)


async def opened(connect_store: Connect, *receivers: WebhookReceiver, events: int = 1) -> tuple[Store, WebhookTable]:
    """A store with so many events for each receiver's client service."""
    store = await connect_store(ME)
    table = WebhookTable(store.database)
    await keep(table, webhooks_of(*receivers))
    for name in webhooks_of(*receivers):
        for _ in range(events):
            await end(store, ME, name)
    return store, table


async def states(table: WebhookTable) -> Counter[EventState]:
    return Counter(one.state for one in await table.events(limit=10_000))


async def test_each_event_is_delivered_although_a_third_of_the_tries_fails(connect_store: Connect) -> None:
    chance = random.Random(5)
    with WebhookReceiver(lambda number: FAIL if chance.random() < 0.3 else TAKE) as receiver:
        _, table = await opened(connect_store, receiver, events=200)
        wanted = {one.operation_id for one in await table.events(limit=1000)}
        async with sending(table, webhooks_of(receiver)) as sender:
            await eventually(lambda: receiver.operations() == wanted)
            await eventually(lambda: sender.counts.delivered == 200)
        assert await states(table) == {EventState.DELIVERED: 200}
        assert sender.counts.failed_tries > 20
        ids = Counter(one.id for one in receiver.deliveries)
        assert len(ids) == 200, "the id of an event stays the same at each try"


async def test_two_signatures_let_a_receiver_know_either_secret(connect_store: Connect) -> None:
    for known in (SECRET, OLD_SECRET):
        with WebhookReceiver(secret=known) as receiver:
            _, table = await opened(connect_store, receiver)
            async with sending(table, {"A": webhook_at(receiver.url, SECRET, OLD_SECRET)}):
                await eventually(lambda: receiver.taken)
            one = next(iter(receiver.taken.values()))
            assert len(one.headers["webhook-signature"].split(" ")) == 2
            assert one.headers["content-type"] == "application/json"


async def test_a_receiver_that_does_not_know_the_secret_takes_nothing(connect_store: Connect) -> None:
    with WebhookReceiver(secret=OLD_SECRET) as receiver:
        _, table = await opened(connect_store, receiver)
        async with sending(table, webhooks_of(receiver), Schedule((0.01, 0.01))):
            await eventually(lambda: len(receiver.deliveries) == 3)
        assert not receiver.taken
        assert await states(table) == {EventState.GIVEN_UP: 1}


async def test_a_receiver_that_hangs_takes_no_time_from_others(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: HANG) as hanging, WebhookReceiver() as quick:
        _, table = await opened(connect_store, hanging, quick, events=30)
        # There is not room for the events of one that hangs and for those of the other at the same time.
        pace = SenderPace(poll_seconds=0.05, at_once=9, slow_at_once=4, of_one=8, away=Backoff(0.05, 0.1))
        async with sending(table, webhooks_of(hanging, quick), pace=pace, timeout_seconds=0.5):
            await eventually(lambda: len(quick.taken) == 30)
            assert hanging.most_under_way <= 8 and not hanging.taken
            await eventually(lambda: len(hanging.deliveries) >= 10)
        told = {one.problem for one in await table.events(client_service="A") if one.tries}
        assert told == {"no answer within 0.5 s"}


async def test_one_that_fails_gets_one_delivery_at_a_time_until_it_answers(connect_store: Connect) -> None:
    fails = True
    with WebhookReceiver(lambda number: FAIL if fails else TAKE) as receiver:
        _, table = await opened(connect_store, receiver, events=40)
        async with sending(table, webhooks_of(receiver)):
            await eventually(lambda: len(receiver.deliveries) > 20)
            receiver.most_under_way = 0
            seen = len(receiver.deliveries)
            await eventually(lambda: len(receiver.deliveries) > seen + 5)
            assert receiver.most_under_way <= 1
            fails = False
            await eventually(lambda: _are_delivered(table, 40))


async def test_another_address_has_room_although_the_one_before_hangs(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: HANG) as hanging, WebhookReceiver() as other:
        _, table = await opened(connect_store, hanging, events=10)
        async with sending(table, webhooks_of(hanging), timeout_seconds=3.0) as sender:
            await eventually(lambda: hanging.under_way == QUICK.of_one)
            await keep(table, webhooks_of(other))
            sender.set_webhooks(webhooks_of(other))
            await eventually(lambda: len(other.taken) == 10)


async def test_a_webhook_that_was_taken_away_is_no_problem_any_more(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: FAIL) as receiver:
        _, table = await opened(connect_store, receiver)
        async with sending(table, webhooks_of(receiver)) as sender:
            await eventually(lambda: sender.counts.problems)
            sender.set_webhooks({})
            assert sender.counts.problems == {}
        assert sender.counts.problems == {}, "a delivery that was under way says nothing of it either"


async def test_a_redirect_is_not_followed(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: REDIRECT) as receiver:
        _, table = await opened(connect_store, receiver)
        async with sending(table, webhooks_of(receiver), Schedule((0.01,))):
            await eventually(lambda: len(receiver.deliveries) == 2)
        (event,) = await table.events()
        assert (event.state, event.http_status) == (EventState.GIVEN_UP, 307)
        assert event.problem == "it answered 307, a redirect, which is not followed"
        assert receiver.redirected == 0


async def test_one_that_is_gone_gets_nothing_more(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: GONE) as receiver:
        store, table = await opened(connect_store, receiver, events=20)
        pace = SenderPace(poll_seconds=0.05, of_one=1)
        async with sending(table, webhooks_of(receiver), pace=pace):
            await eventually(lambda: _is_off(table))
            asked = len(receiver.deliveries)
            await end(store, ME)
            assert await states(table) == {EventState.GIVEN_UP: 20}
        assert len(receiver.deliveries) == asked <= 3
        assert await table.switch_on("A") and await table.redeliver(given_up=True) == 20
        receiver.behave = lambda number: TAKE
        async with sending(table, webhooks_of(receiver)):
            await eventually(lambda: len(receiver.taken) == 20)


@pytest.mark.parametrize("by_operator", [False, True])
async def test_one_that_is_sent_again_has_all_its_tries_however_old_it_is(
    connect_store: Connect, database_url: str, sees_all_rows: asyncpg.Connection, by_operator: bool
) -> None:
    with WebhookReceiver(lambda number: FAIL) as receiver:
        _, table = await opened(connect_store, receiver)
        await sees_all_rows.execute("UPDATE webhook_events SET state = 3, occurred_at = now() - interval '8 days'")
        if by_operator:
            async with operators(database_url) as operator:
                assert await operator.redeliver(WHO, None, "A") == 1
        else:
            assert await table.redeliver(given_up=True) == 1
        async with sending(table, webhooks_of(receiver), Schedule((0.01, 0.01))):
            await eventually(lambda: len(receiver.deliveries) == 3)
        assert await states(table) == {EventState.GIVEN_UP: 1}


async def _is_off(table: WebhookTable) -> bool:
    return (await table.endpoints())["A"] is not None


async def test_a_pause_that_it_asks_for_is_kept_for_all_events(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: BUSY if number == 0 else TAKE, retry_after="1") as receiver:
        _, table = await opened(connect_store, receiver, events=5)
        async with sending(table, webhooks_of(receiver), pace=SenderPace(poll_seconds=0.05, of_one=1)):
            await eventually(lambda: len(receiver.taken) == 5)
        first, second = receiver.deliveries[:2]
        assert second.at - first.at >= 1.0


async def test_a_long_answer_is_not_read(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: LONG) as receiver:
        _, table = await opened(connect_store, receiver, events=3)
        async with sending(table, webhooks_of(receiver)):
            await eventually(lambda: _are_delivered(table, 3))


async def _are_delivered(table: WebhookTable, count: int) -> bool:
    return await states(table) == {EventState.DELIVERED: count}


async def test_nothing_is_sent_to_a_host_that_is_not_allowed(connect_store: Connect) -> None:
    with WebhookReceiver() as receiver:
        _, table = await opened(connect_store, receiver)
        async with sending(table, webhooks_of(receiver), Schedule(()), hosts="erp.example"):
            await eventually(lambda: _is_given_up(table))
        assert not receiver.deliveries


async def _is_given_up(table: WebhookTable) -> bool:
    return await states(table) == {EventState.GIVEN_UP: 1}


async def test_nobody_listens_and_then_somebody_does(connect_store: Connect) -> None:
    receiver = WebhookReceiver()
    receiver.port = free_port()
    _, table = await opened(connect_store, receiver)
    async with sending(table, webhooks_of(receiver)):
        await eventually(lambda: _has_tried(table))
        (event,) = await table.events()
        assert event.problem == "no connection: ECONNREFUSED" and event.http_status == 0
        with receiver:
            await eventually(lambda: len(receiver.taken) == 1)


async def _has_tried(table: WebhookTable) -> bool:
    return (await table.events())[0].tries > 0


async def test_what_a_sender_had_claimed_is_sent_by_the_next(connect_store: Connect) -> None:
    with WebhookReceiver() as receiver:
        _, table = await opened(connect_store, receiver, events=4)
        claimed = await table.claim({"A": 3}, 10, 3600)
        assert len(claimed) == 3 and len(await table.claim({"A": 8}, 10, 3600)) == 1
        assert await table.claim({"A": 8}, 10, 3600) == []
        async with sending(table, webhooks_of(receiver)):
            await eventually(lambda: len(receiver.taken) == 4)


async def test_a_sender_that_stops_gives_back_what_it_was_sending(connect_store: Connect) -> None:
    with WebhookReceiver(lambda number: HANG) as receiver:
        _, table = await opened(connect_store, receiver, events=3)
        async with sending(table, webhooks_of(receiver)):
            await eventually(lambda: receiver.under_way == 3)
        assert len(await table.claim({"A": 8}, 10, 3600)) == 3


async def test_a_try_that_is_noted_twice_counts_once(connect_store: Connect) -> None:
    """Whoever was cancelled while it wrote does not know whether that was committed, and writes it again."""
    with WebhookReceiver() as receiver:
        _, table = await opened(connect_store, receiver)
        (event,) = await table.claim({"A": 1}, 1, 60)
        for _ in range(2):
            await table.note([Tried(event, EventState.TO_SEND, 60.0, 500, "it answered 500")])
        assert (await table.events())[0].tries == 1


async def test_two_senders_do_not_send_the_same_event_at_once(connect_store: Connect) -> None:
    with WebhookReceiver() as receiver:
        _, table = await opened(connect_store, receiver, events=100)
        taken = await asyncio.gather(*(table.claim({"A": 10}, 10, 60) for _ in range(10)))
        numbers = [one.number for part in taken for one in part]
        assert len(numbers) == len(set(numbers)) == 100


@pytest.mark.parametrize("room", [{"A": 2, "B": 5}])
async def test_a_claim_keeps_to_the_room_of_each(connect_store: Connect, room: dict[str, int]) -> None:
    with WebhookReceiver() as one, WebhookReceiver() as other:
        _, table = await opened(connect_store, one, other, events=10)
        claimed = await table.claim(room, 100, 60)
        assert Counter(event.client_service for event in claimed) == room
        assert len(await table.claim({"A": 8, "B": 8}, 6, 60)) == 6
