"""What leaves an event: every way in which an operation ends, in the transaction of the end, and nothing else."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.webhooks import (
    end,
    keep,
    outcomes,
    register,
    webhook_at,
)

from batchseal.api.contract import load_contract
from batchseal.audit.chain import Event, make_link
from batchseal.document import CertificateEnd
from batchseal.notify.event import event_body, event_id
from batchseal.notify.expiring import days_told, tell
from batchseal.operation import OperationStatus
from batchseal.store import Store
from batchseal.store.forgetting import Forgetting
from batchseal.store.instances import InstanceTable
from batchseal.store.webhooks import EndpointRow, EventKind, EventRow, EventState, WebhookTable

Connect = Callable[..., Awaitable[Store]]
ONE = webhook_at("https://erp.example/hook")
ME = UUID(int=7)


async def opened(connect_store: Connect, *client_services: str) -> tuple[Store, WebhookTable]:
    store = await connect_store(ME)
    table = WebhookTable(store.database)
    await keep(table, dict.fromkeys(client_services, ONE))
    return store, table


async def only(table: WebhookTable) -> EventRow:
    (event,) = await table.events()
    return event


async def test_an_end_leaves_an_event_with_its_counts(connect_store: Connect) -> None:
    store, table = await opened(connect_store, "A")
    row = await end(store, ME)
    event = await only(table)
    assert (event.kind, event.operation_id, event.client_service) == (EventKind.OPERATION_FINISHED, row.id, "A")
    assert (event.documents_total, event.documents_signed, event.documents_failed) == (2, 2, 0)
    body = json.loads(event_body(event, load_contract()))
    assert body["type"] == "operation.finished"
    assert body["data"]["status"] == "EXECUTED" and body["data"]["externalReference"] == row.external_reference
    links = body["data"]["links"]
    assert links["result"].endswith(f"/operation/sign/detail/{row.id}/contentInResponse/true")
    assert set(body["data"]) == {
        *("id", "externalReference", "status", "documentsTotal", "documentsSigned", "documentsFailed", "links")
    }
    assert body["timestamp"].endswith("Z") and event_id(event) == f"evt_{event.id.hex}"


@pytest.mark.parametrize("failed", [1, 2])
async def test_a_document_that_was_given_up_makes_it_another_event(connect_store: Connect, failed: int) -> None:
    store, table = await opened(connect_store, "A")
    await end(store, ME, failed=failed)
    event = await only(table)
    assert (event.kind, event.operation_status) == (EventKind.OPERATION_FAILED, OperationStatus.EXECUTION_FAILED)
    assert event.documents_failed == failed


async def test_no_other_client_service_leaves_events(connect_store: Connect) -> None:
    store, table = await opened(connect_store, "A")
    await end(store, ME, "B")
    await register(store, ME)
    assert await table.events() == []


async def test_an_end_that_is_rolled_back_leaves_none(connect_store: Connect) -> None:
    store, table = await opened(connect_store, "A")
    row = await register(store, ME)
    late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    late.set_exception(RuntimeError("the disk is gone"))
    with pytest.raises(RuntimeError, match="the disk"):
        await store.finish(row.id, row.created_at, 1, outcomes(), commit_after=late)
    assert await table.events() == []


async def test_a_stale_writer_leaves_none(connect_store: Connect) -> None:
    store, table = await opened(connect_store, "A")
    row = await register(store, ME)
    assert await store.finish(row.id, row.created_at, 99, outcomes()) is None
    assert await table.events() == []


async def test_a_failed_operation_that_goes_on_leaves_one_at_each_end(connect_store: Connect) -> None:
    store, table = await opened(connect_store, "A")
    row = await end(store, ME, failed=1)
    failed = await store.operation("A", row.id)
    assert failed is not None
    again = await store.reopen(failed, [0])
    assert again is not None
    claimed = await store.claim_one(row.id, 60)
    assert claimed is not None
    await store.finish(row.id, row.created_at, claimed.fence, outcomes()[:1])
    newer, older = await table.events()
    assert (older.kind, newer.kind) == (EventKind.OPERATION_FAILED, EventKind.OPERATION_FINISHED)
    assert older.id != newer.id and older.operation_id == newer.operation_id == row.id


async def test_what_a_lost_instance_leaves_is_told(connect_store: Connect) -> None:
    lost = uuid4()
    gone, (store, table) = await connect_store(lost), await opened(connect_store, "A")
    await InstanceTable(gone.database, lost).arrive("h:1", "1", "local")
    await register(gone, lost)
    await Forgetting(store.database, lost, make_link, Event.RECORD_GIVEN_UP).forget()
    assert (await only(table)).documents_failed == 2


async def test_what_an_operator_cancels_is_told(connect_store: Connect, database_url: str) -> None:
    store, table = await opened(connect_store, "A")
    row = await register(store, ME)
    scope = {"batchseal.scope": "operator", "search_path": "batchseal"}
    operator = await asyncpg.connect(database_url.replace("//batchseal@", "//batchseal_owner@"), server_settings=scope)
    try:
        cancelled = await operator.fetchrow("SELECT * FROM operator_cancel($1, 'somebody', 'test')", [row.id])
        assert cancelled["result"] == "done"
    finally:
        await operator.close()
    event = await only(table)
    assert (event.kind, event.documents_failed) == (EventKind.OPERATION_FAILED, 2)


async def test_whatever_statement_ends_an_operation_is_told(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """One that a later release brings, such as a cancellation, or one of the release before."""
    store, table = await opened(connect_store, "A")
    row = await register(store, ME)
    statement = """UPDATE operations SET status = 4, documents_failed = 2, finished_at = now(), lease_holder = NULL,
        lease_until = NULL WHERE id = $1"""
    await sees_all_rows.execute("UPDATE documents SET status = 3 WHERE operation_id = $1", row.id)
    await sees_all_rows.execute(statement, row.id)
    assert (await only(table)).kind is EventKind.OPERATION_FAILED
    # What is written later, such as that its payload was purged, is no end.
    await sees_all_rows.execute("UPDATE operations SET payload_purged = true WHERE id = $1", row.id)
    assert len(await table.events()) == 1


async def test_it_is_told_of_what_it_wants(connect_store: Connect) -> None:
    store = await connect_store(ME)
    table = WebhookTable(store.database)
    await table.keep_endpoints([EndpointRow("A", b"a", finished=False), EndpointRow("B", b"b", failed=False)])
    for client_service in ("A", "B"):
        for failed in (0, 1):
            await end(store, ME, client_service, failed=failed)
    told = {(one.client_service, one.kind) for one in await table.events()}
    assert told == {("A", EventKind.OPERATION_FAILED), ("B", EventKind.OPERATION_FINISHED)}


async def test_a_connection_of_a_caller_sees_no_event_and_writes_only_its_ends(
    connect_store: Connect, database_url: str
) -> None:
    store, table = await opened(connect_store, "A", "B")
    row = await register(store, ME)
    scope = {"batchseal.client_service": "A", "search_path": "batchseal"}
    caller = await asyncpg.connect(database_url, server_settings=scope)
    try:
        await caller.execute("UPDATE documents SET status = 3 WHERE operation_id = $1", row.id)
        await caller.execute(
            "UPDATE operations SET status = 4, documents_failed = 2, finished_at = now(), lease_holder = NULL, lease_until = NULL"
            " WHERE id = $1",
            row.id,
        )
        assert await caller.fetchval("SELECT count(*) FROM webhook_events") == 0
        insert = "INSERT INTO webhook_events (client_service, kind, occurred_at) VALUES ('B', 1, now())"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await caller.execute(insert)
    finally:
        await caller.close()
    assert (await only(table)).operation_id == row.id


async def test_what_loses_its_webhook_leaves_no_more_and_what_waits_is_given_up(connect_store: Connect) -> None:
    store, table = await opened(connect_store, "A")
    await end(store, ME)
    await keep(table, {})
    await end(store, ME)
    event = await only(table)
    assert (event.state, event.problem) == (EventState.GIVEN_UP, "the client service has no webhook any more")
    await keep(table, {"A": ONE})
    assert await table.redeliver(given_up=True) == 1
    assert (await only(table)).state is EventState.TO_SEND


async def test_a_webhook_that_is_off_leaves_none_until_its_address_changes(connect_store: Connect) -> None:
    store, table = await opened(connect_store, "A")
    await end(store, ME)
    await table.switch_off(EndpointRow("A", b"another address"))
    assert (await table.endpoints())["A"] is None
    await table.switch_off(EndpointRow("A", ONE.target))
    assert (await only(table)).state is EventState.GIVEN_UP
    await end(store, ME)
    await keep(table, {"A": ONE})  # the same address
    await end(store, ME)
    assert len(await table.events()) == 1 and await table.redeliver(given_up=True) == 0
    await keep(table, {"A": webhook_at("https://erp.example/other")})
    await end(store, ME)
    assert len(await table.events()) == 2


async def test_a_certificate_near_its_end_is_told_once_at_each_of_the_days(connect_store: Connect) -> None:
    _, table = await opened(connect_store, "A", "B")
    now = datetime.now(UTC)
    ends = [CertificateEnd(name, "seal", b"\1" * 32, "CN=Seal", now + timedelta(days=20)) for name in ("A", "B", "C")]
    for _ in range(3):
        await tell(table, ends, frozenset({"A", "C"}))  # B does not want it, and C has no webhook
    event = await only(table)
    data = json.loads(event_body(event, load_contract()))["data"]
    assert (event.client_service, event.kind, data["subject"]) == ("A", EventKind.CREDENTIAL_EXPIRING, "CN=Seal")
    assert data["daysLeft"] in (19, 20) and data["credentialId"] == "seal" and data["notAfter"].endswith("Z")
    later = [CertificateEnd("A", "seal", b"\1" * 32, "CN=Seal", now + timedelta(days=6))]
    await tell(table, later, frozenset({"A"}))
    assert len(await table.events()) == 2


@pytest.mark.parametrize(("left", "told"), [(61, None), (60, 60), (31, 60), (30, 30), (6.9, 7), (0.5, 1), (-3, 1)])
def test_days_told(left: float, told: int | None) -> None:
    now = datetime.now(UTC)
    assert days_told(CertificateEnd("A", "c", b"", "", now + timedelta(days=left)), now) == told


async def test_what_could_not_be_sent_for_long_is_given_up(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    """All of it, however many events wait for a receiver that is away. What is sent just now, or once more, stays."""
    store, table = await opened(connect_store, "A")
    for _ in range(4):
        await end(store, ME)
    await sees_all_rows.execute(
        "UPDATE webhook_events SET occurred_at = now() - interval '8 days', next_try_at = now() - interval '8 days'"
    )
    (sent_now,) = await table.claim({"A": 1}, 1, 60)
    again, *_ = [one for one in await table.events() if one.id != sent_now.id]
    assert await table.redeliver(ids=[again.id]) == 1
    assert await table.give_up_old(9 * 86_400) == 0
    assert await table.give_up_old(7 * 86_400) == 2
    waiting = {one.id for one in await table.events() if one.state is EventState.TO_SEND}
    assert waiting == {sent_now.id, again.id}


async def test_what_was_told_of_a_certificate_is_not_told_again_where_events_are_kept_for_less(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    _, table = await opened(connect_store, "A")
    ended = CertificateEnd("A", "seal", b"\1" * 32, "CN=Seal", datetime.now(UTC) + timedelta(days=40))
    delivered = (
        "UPDATE webhook_events SET state = 2, ended_at = now() - interval '1 h', "
        "occurred_at = now() - $1 * interval '1 day'"
    )
    for days, events in ((20, 1), (367, 0)):
        await tell(table, [ended], frozenset({"A"}))
        await sees_all_rows.execute(delivered, days)
        await table.drop(1.0)
        assert len(await table.events()) == events


async def test_old_events_are_dropped(connect_store: Connect, sees_all_rows: asyncpg.Connection) -> None:
    store, table = await opened(connect_store, "A")
    for _ in range(3):
        await end(store, ME)
    for change in ("ended_at = now() - interval '2 days', state = 2", "ended_at = now(), state = 3"):
        await sees_all_rows.execute(
            f"UPDATE webhook_events SET {change}, occurred_at = now() - interval '3 days' WHERE number ="
            " (SELECT min(number) FROM webhook_events WHERE state = 1)"
        )
    assert await table.drop(86_400) == 1
    assert {one.state for one in await table.events()} == {EventState.GIVEN_UP, EventState.TO_SEND}


async def test_what_was_told_of_a_certificate_is_not_told_again_after_old_events_are_dropped(
    connect_store: Connect, sees_all_rows: asyncpg.Connection
) -> None:
    _, table = await opened(connect_store, "A")
    for days, left in ((30, 1), (400, 0)):
        await table.add("A", EventKind.CREDENTIAL_EXPIRING, "seal 60", "{}")
        await sees_all_rows.execute(
            "UPDATE webhook_events SET state = 2, ended_at = now() - $1 * interval '1 day',"
            " occurred_at = now() - $1 * interval '1 day'",
            days,
        )
        await table.drop(86_400)
        assert len(await table.events()) == left
        assert await table.add("A", EventKind.CREDENTIAL_EXPIRING, "seal 60", "{}") is (not left)
