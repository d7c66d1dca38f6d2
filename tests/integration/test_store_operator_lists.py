"""Lists of operators: what filters find, how pages follow each other, and that no list reads a whole table."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.operator_scale import fill, lists
from tests.support.operators import PATIENT, ended, operators, registered

from batchseal.errors import DatabaseUnavailable, ValueNotAllowed
from batchseal.operation import Mode, OperationStatus
from batchseal.store import Store
from batchseal.store.operator import DocumentSearch, OperationFilter, OperatorStore, Page
from batchseal.store.operator_connection import DEFAULT_BOUNDS
from batchseal.store.operator_cursors import MAX_ID, after_prefix, decode_cursor, encode_cursor
from batchseal.store.queries import QUERIES
from batchseal.store.sessions import Session

Connect = Callable[..., Awaitable[Store]]
OPERATIONS, DOCUMENTS = 20_000, 60_000


async def all_pages(list_of: Callable[[str | None], Awaitable[Page[Any]]]) -> list[Any]:
    rows, cursor = list[Any](), None
    for _ in range(1_000):
        page = await list_of(cursor)
        rows += page.rows
        if (cursor := page.next) is None:
            return rows
    raise AssertionError("the list does not end")


@pytest.fixture
async def store(connect_store: Connect) -> Store:
    return await connect_store(UUID(int=5))


@pytest.fixture
async def operator(database_url: str) -> AsyncIterator[OperatorStore]:
    async with operators(database_url) as operator:
        yield operator


async def test_each_filter_finds_what_it_says(
    store: Store, operator: OperatorStore, database_url: str, sees_all_rows: asyncpg.Connection
) -> None:
    """Against a filter in Python over all rows, in pages of one to seven, with walks that end early and ones that do not."""
    me = UUID(int=5)
    for number in range(40):
        reference = f"{('FT', 'FTX', 'G%_')[number % 3]} {number // 2}/{number}"
        row = await registered(
            store, me, 2, client_service=f"S{number % 4}", reference=reference, refused=[0] if number % 5 == 0 else []
        )
        if number % 3:
            await ended(store, row, failed=[1] if number % 4 == 0 else [], ordinals=[1] if number % 5 == 0 else None)
        at = datetime.now(UTC) - timedelta(hours=40 - number)
        mode = list(Mode)[number % 3]
        update = "UPDATE operations SET created_at = $2, mode = $3, entry = $4 WHERE id = $1"
        await sees_all_rows.execute(update, row.id, at, mode.stored, mode.entry)
    everything = await all_pages(lambda cursor: operator.operations(OperationFilter(), cursor))
    assert [line.id for line in everything] == sorted((line.id for line in everything), reverse=True)
    assert len(everything) == 40
    hours = [datetime.now(UTC) - timedelta(hours=h) for h in (30, 10)]
    wanted = [
        *(OperationFilter(client_service="S1"), OperationFilter(client_service="nobody")),
        *(OperationFilter(statuses=frozenset({status})) for status in OperationStatus),
        OperationFilter(statuses=frozenset({OperationStatus.EXECUTED, OperationStatus.EXECUTION_FAILED})),
        *(OperationFilter(mode=mode) for mode in Mode),
        *(
            OperationFilter(since=hours[0]),
            OperationFilter(until=hours[1]),
            OperationFilter(since=hours[0], until=hours[1]),
        ),
        *(OperationFilter(has_failures=True), OperationFilter(has_failures=True, client_service="S0", mode=Mode.ASYNC)),
        *(OperationFilter(older_seconds=20 * 3600.0), OperationFilter(older_seconds=0.0)),
        *(OperationFilter(reference="FT"), OperationFilter(reference="FT "), OperationFilter(reference="G%_ 1")),
        *(OperationFilter(reference="%"), OperationFilter(reference="FT", client_service="S2", has_failures=True)),
        OperationFilter(reference="\0"),
    ]

    def meant(line: Any, one: OperationFilter) -> bool:
        now = datetime.now(UTC)
        return (
            line.external_reference.startswith(one.reference)
            and one.client_service in ("", line.client_service)
            and (not one.statuses or line.status in one.statuses)
            and one.mode in (None, line.mode)
            and (one.since is None or line.created_at >= one.since)
            and (one.until is None or line.created_at <= one.until)
            and (not one.has_failures or line.documents_failed > 0)
            and (one.older_seconds is None or (now - line.created_at).total_seconds() >= one.older_seconds)
        )

    async with operators(database_url, replace(PATIENT, operations=3)) as hasty:
        for looking in (operator, hasty):
            for number, one in enumerate(wanted):
                limit = 1 + number % 7

                async def page(
                    cursor: str | None, looking: OperatorStore = looking, one: OperationFilter = one, limit: int = limit
                ) -> Page[Any]:
                    return await looking.operations(one, cursor, limit)

                found = await all_pages(page)
                expected = [line for line in everything if meant(line, one)]
                if one.reference:
                    expected.sort(key=lambda line: (line.external_reference.encode(), line.id))
                assert [line.id for line in found] == [line.id for line in expected], one
                count = await looking.count(one)
                assert (count.operations, count.is_cut) == (len(expected), False)


async def test_documents_are_found_by_reference_and_by_name(
    store: Store, operator: OperatorStore, database_url: str
) -> None:
    me = UUID(int=5)
    for number in range(6):
        await registered(store, me, 5, client_service="AB"[number % 2])
    found = await all_pages(lambda cursor: operator.find_documents(DocumentSearch(reference="doc 3"), cursor, 4))
    assert [one.document.operation_id for one in found] == [6, 5, 4, 3, 2, 1]
    only = await operator.find_documents(DocumentSearch(reference="doc 3", client_service="B"))
    assert {one.client_service for one in only.rows} == {"B"} and len(only.rows) == 3
    assert (await operator.find_documents(DocumentSearch(reference="doc 33"))).rows == ()
    async with operators(database_url, replace(PATIENT, documents=2)) as hasty:
        for looking in (operator, hasty):

            async def by_name(
                name: str, cursor: str | None, *, limit: int, looking: OperatorStore = looking
            ) -> Page[Any]:
                return await looking.find_documents(DocumentSearch(name=name), cursor, limit)

            named = await all_pages(partial(by_name, "4.PD", limit=4))
            assert [one.document.operation_id for one in named] == [6, 5, 4, 3, 2, 1]
            assert await all_pages(partial(by_name, "%", limit=100)) == []
        page = await hasty.find_documents(DocumentSearch(name="zzz"))
        assert page.next is not None and page.looked_back_to is not None
    now = datetime.now(UTC)
    for wrong in (
        DocumentSearch(),
        DocumentSearch(reference="a", name="b"),
        DocumentSearch(name="a", since=now - timedelta(days=91), until=now),
    ):
        with pytest.raises(ValueNotAllowed):
            await operator.find_documents(wrong)


async def test_one_operation_and_its_documents(store: Store, operator: OperatorStore) -> None:
    me = UUID(int=5)
    row = await registered(store, me, 7, refused=[6], evidence_record=True)
    await ended(store, row, failed=[1, 2], ordinals=range(6))
    detail = await operator.operation(row.id)
    assert detail is not None
    assert (detail.description, detail.evidence_record, detail.address) == ("described", "to be made", "h:1")
    assert detail.line.purge_at is not None
    assert [event.name for event in detail.events] == ["REGISTERED", "FINISHED", "PURGE_DUE"]
    assert sorted((group.documents, group.cause) for group in detail.failures) == [
        (1, "not a PDF"),
        (2, "the signing service is away"),
    ]
    failed = await all_pages(lambda cursor: operator.documents(row.id, failed=True, cursor=cursor, limit=2))
    assert [(one.ordinal, one.sign_error) for one in failed] == [
        (1, "CERT_SERVICE_GLOBAL_ERROR"),
        (2, "CERT_SERVICE_GLOBAL_ERROR"),
        (6, "SIGN_OPERATION_INTERNAL_ERROR"),
    ]
    whole = await all_pages(lambda cursor: operator.documents(row.id, cursor=cursor, limit=3))
    assert [one.ordinal for one in whole] == list(range(7))
    assert whole[0].tries == 1
    for unknown in (0, -1, row.id + 1, 1 << 63):
        assert await operator.operation(unknown) is None
    groups = await operator.failures()
    assert [group.documents for group in groups.groups] == [2, 1] and not groups.is_cut
    assert (await operator.failures(client_service="nobody")).groups == ()


async def test_what_else_pages_show(store: Store, operator: OperatorStore, sees_all_rows: asyncpg.Connection) -> None:
    me = UUID(int=5)
    row = await registered(store, me, 3)
    await sees_all_rows.execute("UPDATE operations SET stored_bytes = 77")
    await sees_all_rows.execute("INSERT INTO time_stamp_sizes (authority, token_bytes) VALUES ('https://tsa', 5000)")
    await sees_all_rows.execute(
        "INSERT INTO time_stamp_requests (authority, sent_at) VALUES ('https://tsa', ARRAY[now(), now()])"
    )
    await sees_all_rows.execute(
        "INSERT INTO instances (instance, address, version, store, seen_at)"
        " VALUES ($1, 'h:1', '1', 'local', now() - interval '1 h')",
        me,
    )
    (service,) = await operator.client_services()
    assert (service.id, service.queue_documents, service.stored_bytes) == ("A", 3, 77)
    assert service.last_seen == row.created_at
    (authority,) = await operator.time_stamps()
    assert (authority.token_bytes, authority.asked) == (5000, 2)
    (instance,) = await operator.instances()
    assert (instance.is_alive, instance.unfinished, instance.own) == (False, 1, 1)
    assert [alarm.kind for alarm in await operator.alarms()] == ["instance gone"]
    storage = await operator.storage()
    assert [(share.state, share.operations, share.stored_bytes) for share in storage.shares] == [("unfinished", 1, 77)]
    assert storage.largest[0].id == row.id
    assert storage.tables["operations"] > 0 and "documents" in storage.tables and storage.database_bytes > 0


@pytest.mark.parametrize(
    "cursor", ["", "x", "====", encode_cursor("a"), encode_cursor(-1), encode_cursor(1, 2), "W10", "\x00"]
)
async def test_a_cursor_that_no_list_has_given_is_refused(operator: OperatorStore, cursor: str) -> None:
    with pytest.raises(ValueNotAllowed):
        await operator.operations(OperationFilter(), cursor)


async def test_a_cursor_beyond_what_a_column_holds_finds_nothing(operator: OperatorStore) -> None:
    assert (await operator.documents(1, cursor=encode_cursor(MAX_ID))).rows == ()
    for search in (DocumentSearch(reference="F"), DocumentSearch(name="F")):
        assert (await operator.find_documents(search, encode_cursor(1, MAX_ID))).rows == ()
    with pytest.raises(ValueNotAllowed):
        await operator.operations(OperationFilter(reference="F"), encode_cursor("half a pair \ud800", 1))


def test_cursors_and_prefixes() -> None:
    assert decode_cursor(encode_cursor("ç/ü", 7), (str, int)) == ("ç/ü", 7)
    for prefix, after in (("a", "b"), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000"), ("\U0010ffff", None), ("", None)):
        assert after_prefix(prefix) == after


# --- plans ------------------------------------------------------------------------------------------------------------


async def test_no_list_reads_a_whole_table(
    database_url: str, sees_all_rows: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every statement of every list, on its first page and on a deep one, is explained: it walks along indexes, looks at a
    bounded number of rows, and sorts no more than these.
    """
    await fill(sees_all_rows, OPERATIONS, DOCUMENTS)
    explained = list[tuple[str, dict[str, Any]]]()
    fetch, fetchrow = Session.fetch, Session.fetchrow

    async def explain(self: Any, query: str, values: tuple[Any, ...]) -> None:
        # A named query begins with its comment.
        if re.match(r"(--.*\n|\s)*(SELECT|WITH)\b", query) and "operation_id_at" not in query:
            (record,) = await fetch(self, f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
            explained.append((query, json.loads(record[0])[0]["Plan"]))

    async def explaining_fetch(self: Any, query: str, *values: Any, **more: Any) -> Any:
        await explain(self, query, values)
        return await fetch(self, query, *values, **more)

    async def explaining_fetchrow(self: Any, query: str, *values: Any, **more: Any) -> Any:
        await explain(self, query, values)
        return await fetchrow(self, query, *values, **more)

    monkeypatch.setattr(Session, "fetch", explaining_fetch)
    monkeypatch.setattr(Session, "fetchrow", explaining_fetchrow)
    async with operators(database_url, replace(PATIENT, operations=1_000, documents=1_000)) as operator:
        for name, page_of in lists(OPERATIONS).items():
            cursor: str | None = None
            for _ in range(3):
                explained.clear()
                page = await page_of(operator, cursor)
                assert explained, name
                for query, plan in explained:
                    for node in nodes(plan):
                        table = node.get("Relation Name", "")
                        if re.match("operations|documents|audit_2|signatures", table):
                            assert node["Node Type"] != "Seq Scan", f"{name}: {query}"
                        looked_at = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                        assert looked_at <= 4_000, (
                            f"{name}: {node['Node Type']} {table} looks at {looked_at} rows: {query}"
                        )
                if (cursor := page.next) is None:
                    break


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", []) for node in nodes(below))]


async def test_a_statement_that_takes_too_long_is_an_answer_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(QUERIES, "operator_services", "SELECT pg_sleep(9)::text AS client_service")
    async with operators(database_url, DEFAULT_BOUNDS) as operator:
        with pytest.raises(DatabaseUnavailable, match="within 2 s"):
            await operator.client_services()


async def test_an_unlimited_filter_is_counted_up_to_a_bound(store: Store, operator: OperatorStore) -> None:
    for _ in range(5):
        await registered(store, uuid4(), 2)
    count = await operator.count(OperationFilter(), at_most=3)
    assert (count.operations, count.is_cut) == (3, True)
    assert replace(count, is_cut=False) == count or count.documents >= 6


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, 0, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)])
async def test_a_range_of_time_may_begin_or_end_anywhere(
    store: Store, operator: OperatorStore, moment: datetime
) -> None:
    row = await registered(store, UUID(int=5), 1)
    found = [
        [line.id for line in (await operator.operations(wanted)).rows]
        for wanted in (OperationFilter(since=moment), OperationFilter(until=moment))
    ]
    assert found == ([[row.id], []] if moment.year == 1 else [[], [row.id]])
    assert (await operator.failures(since=moment)).groups == (await operator.failures(until=moment)).groups == ()
    assert (await operator.find_documents(DocumentSearch(name="invoice", until=moment))).next is None
