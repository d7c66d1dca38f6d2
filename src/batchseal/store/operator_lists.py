"""Lists of operations and documents, in pages by a key: see `operator.py`.

A page is found by walking along one index from where the page before it has ended. The filters decide which index it is. What
the index does not say is looked at in the rows, and a walk ends after so many rows (`Bounds`), whatever it has found. So a filter
that finds nothing in a million operations costs no more than one that finds a page at once, and the page says how far it came.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from batchseal.errors import ValueNotAllowed
from batchseal.operation import ContentType, DocumentStatus, Mode, OperationStatus, SignError
from batchseal.store.columns import is_storable, month_of, reference_key
from batchseal.store.database import Connection
from batchseal.store.operator_connection import DAY, HOUR, OperatorConnection
from batchseal.store.operator_cursors import MAX_ID, MAX_ORDINAL, after_prefix, decode_cursor, encode_cursor
from batchseal.store.operator_rows import (
    DOCUMENTS_A_PAGE,
    MAX_NAME_DAYS,
    OPERATIONS_A_PAGE,
    Count,
    DocumentLine,
    DocumentSearch,
    FoundDocument,
    OperationFilter,
    OperationLine,
    Page,
)
from batchseal.store.queries import QUERIES

# Ids grow with the time of registration, but for a few seconds.
ID_MARGIN = timedelta(minutes=5)
# For a whole list.
STREAMED = 1_000
COUNTING_SECONDS = 5.0

COLUMNS = """o.id, o.client_service, o.external_reference, o.mode, o.entry, o.status, o.created_at, o.finished_at, o.fetched_at,
o.documents_total, o.documents_signed, o.documents_failed, o.stored_bytes, o.tries, o.next_try_at, o.instance, o.lease_holder,
o.lease_until, o.payload_purged, o.purge_asked_at, o.reopened_at, o.held_at"""

WAITING = {OperationStatus.PENDING_EXECUTION, OperationStatus.EXECUTION_ERROR}
UNEXECUTED = {OperationStatus.PENDING_EXECUTION, OperationStatus.EXECUTION_ERROR, OperationStatus.EXECUTION_FAILED}


@dataclass(slots=True)
class Conditions:
    """SQL conditions with their values, which are numbered in the order in which they come."""

    values: list[Any] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, text: str, *values: Any) -> None:
        """`text` has `{}` where a value belongs."""
        self.texts.append(text.format(*(self.number(value) for value in values)))

    def number(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def joined(self) -> str:
        return " AND ".join(self.texts) or "true"


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk along an index: `index` conditions are those that it knows, `rows` those that are looked at in the rows."""

    index: str
    rows: str
    order: str
    values: list[Any]

    def page(self, limit: int, scanned: int) -> str:
        """The statement for a page of so many rows and one more."""
        return QUERIES["operator_operations"].format(
            columns=COLUMNS,
            index=self.index,
            rows=self.rows.replace("o.", "looked."),
            order=self.order,
            outer_order=self.order.replace("o.", "looked."),
            scanned=max(scanned, limit + 1),
            limit=limit + 1,
        )

    def edge(self, limit: int, scanned: int) -> str:
        """The statement for the last row that such a page looks at; none if it comes to the end of the index before."""
        return QUERIES["operator_operations_edge"].format(
            index=self.index, order=self.order, before=max(scanned, limit + 1) - 1
        )


def walk_of(wanted: OperationFilter, cursor: str | None, bounds: tuple[int, int]) -> Walk:
    """How to find a page. `bounds`: what may be meant by its time has ids above the first one, up to the second."""
    conditions = Conditions()
    if wanted.reference:
        order = 'o.external_reference COLLATE "C", o.id'
        conditions.add('o.external_reference COLLATE "C" >= {}', wanted.reference)
        if (end := after_prefix(wanted.reference)) is not None:
            conditions.add('o.external_reference COLLATE "C" < {}', end)
        if cursor is not None:
            conditions.add('(o.external_reference COLLATE "C", o.id) > ({}, {})', *decode_cursor(cursor, (str, int)))
    else:
        order = "o.id DESC"
        before = decode_cursor(cursor, (int,))[0] if cursor is not None else MAX_ID
        conditions.add("o.id < {} AND o.id > {}", min(before, bounds[1] + 1), bounds[0])
    is_unexecuted = wanted.has_failures or (wanted.statuses and wanted.statuses <= UNEXECUTED)
    by_service = bool(wanted.client_service)
    if wanted.is_held and not wanted.reference:
        conditions.add("o.held_at IS NOT NULL")  # an index of few rows
    elif wanted.statuses and wanted.statuses <= WAITING and not wanted.reference:
        conditions.add("o.status IN (1, 3)")  # an index of what is not finished, which mostly is little
    elif is_unexecuted and not wanted.reference:
        conditions.add("o.status <> 2")
    elif by_service and not wanted.reference:
        conditions.add("o.client_service = {}", wanted.client_service)
        by_service = False
    rows = Conditions(conditions.values)
    if by_service:
        rows.add("o.client_service = {}", wanted.client_service)
    if wanted.statuses:
        rows.add("o.status = ANY ({}::smallint[])", [int(status) for status in wanted.statuses])
    if wanted.is_held:
        rows.add("o.held_at IS NOT NULL AND o.status IN (1, 3)")
    if wanted.has_failures:
        rows.add("o.documents_failed > 0")
    if wanted.mode is not None:
        rows.add("o.mode = {} AND o.entry = {}", int(wanted.mode.stored), wanted.mode.entry)
    if wanted.since is not None:
        rows.add("o.created_at >= {}", wanted.since)
    if (until := until_of(wanted)) is not None:
        rows.add("o.created_at <= {}", until)
    return Walk(conditions.joined(), rows.joined(), order, conditions.values)


def until_of(wanted: OperationFilter) -> datetime | None:
    """The latest time of registration."""
    old = None if wanted.older_seconds is None else datetime.now(UTC) - timedelta(seconds=wanted.older_seconds)
    return min((time for time in (wanted.until, old) if time is not None), default=None)


def shifted(moment: datetime, by: timedelta) -> datetime:
    """The moment so much later; itself where that is beyond the times that there are, as behind 9999-12-31."""
    try:
        return moment + by
    except OverflowError:
        return moment


class OperatorLists(OperatorConnection):
    """The lists."""

    async def operations(
        self, wanted: OperationFilter, cursor: str | None = None, limit: int = OPERATIONS_A_PAGE
    ) -> Page[OperationLine]:
        """A page of the list, the newest first; with a prefix of the reference, by reference."""
        if not is_storable(wanted.reference + wanted.client_service):
            return Page()
        async with self._reading() as connection:
            walk = walk_of(wanted, cursor, await self._ids_of(connection, wanted.since, until_of(wanted)))
            records = await connection.fetch(walk.page(limit, self._bounds.operations), *walk.values)
            last = records[limit - 1] if len(records) > limit else None
            edge = None
            if last is None and walk.rows != "true":
                index_values = walk.values[: walk.index.count("$")]
                edge = last = await connection.fetchrow(walk.edge(limit, self._bounds.operations), *index_values)
        following = None
        if last is not None:
            following = encode_cursor(*([last["external_reference"]] if wanted.reference else []), last["id"])
        lines = tuple(self._line(record) for record in records[:limit])
        return Page(lines, following, edge["created_at"] if edge else None)

    async def all_operations(
        self, wanted: OperationFilter, at_once: int = STREAMED
    ) -> AsyncIterator[Sequence[OperationLine]]:
        """The whole list in parts, for CSV. Each part is a statement of its own."""
        cursor: str | None = None
        while True:
            page = await self.operations(wanted, cursor, at_once)
            if page.rows:
                yield page.rows
            if (cursor := page.next) is None:
                return

    async def count(self, wanted: OperationFilter, at_most: int = 10_000) -> Count:
        """How many operations the filter finds, for the question before an action.

        Counts `at_most`, for COUNTING_SECONDS, and says if there may be more.
        """
        operations = documents = 0
        ends = asyncio.get_running_loop().time() + COUNTING_SECONDS
        async for lines in self.all_operations(wanted):
            operations += len(lines)
            documents += sum(line.documents_total for line in lines)
            if operations > at_most or asyncio.get_running_loop().time() > ends:
                return Count(min(operations, at_most), documents, is_cut=True)
        return Count(operations, documents, is_cut=False)

    async def documents(
        self, operation_id: int, *, failed: bool = False, cursor: str | None = None, limit: int = DOCUMENTS_A_PAGE
    ) -> Page[DocumentLine]:
        """Documents of an operation in the order of the request; with `failed` only those that failed."""
        after = decode_cursor(cursor, (int,))[0] if cursor is not None else -1
        async with self._reading() as connection:
            records = await connection.fetch(QUERIES["operator_documents"], operation_id, after, failed, limit + 1)
        following = encode_cursor(records[limit - 1]["ordinal"]) if len(records) > limit else None
        return Page(tuple(document_line(record) for record in records[:limit]), following)

    async def find_documents(
        self, wanted: DocumentSearch, cursor: str | None = None, limit: int = DOCUMENTS_A_PAGE
    ) -> Page[FoundDocument]:
        """Documents by their reference, or by a part of their name, the newest first.

        A search by name looks at a bounded number of documents for each page, see `Page`. Raises ValueNotAllowed for a search
        that is empty, or whose range is too long.
        """
        if bool(wanted.reference) == bool(wanted.name):
            raise ValueNotAllowed("a search needs either the reference of a document or a part of its name")
        place = decode_cursor(cursor, (int, int)) if cursor is not None else (MAX_ID, MAX_ORDINAL)
        if not is_storable(wanted.reference + wanted.name + wanted.client_service):
            return Page()
        async with self._reading() as connection:
            if wanted.reference:
                return await self._by_reference(connection, wanted, place, limit)
            return await self._by_name(connection, wanted, place, limit)

    async def _by_reference(
        self, connection: Connection, wanted: DocumentSearch, place: tuple[int, int], limit: int
    ) -> Page[FoundDocument]:
        services = [wanted.client_service] if wanted.client_service else await self._services(connection)
        keys = [reference_key(service, wanted.reference) for service in services]
        records = await connection.fetch(
            QUERIES["operator_documents_by_reference"], keys, services, wanted.reference, *place, limit + 1
        )
        return _found(records, limit)

    async def _by_name(
        self, connection: Connection, wanted: DocumentSearch, place: tuple[int, int], limit: int
    ) -> Page[FoundDocument]:
        until = wanted.until or datetime.now(UTC)
        since = wanted.since or shifted(until, -timedelta(days=MAX_NAME_DAYS))
        if until - since > timedelta(days=MAX_NAME_DAYS):
            raise ValueNotAllowed(f"a search by name covers at most {MAX_NAME_DAYS} days")
        low, high = await self._ids_of(connection, since, until)
        months = month_of(shifted(since, -ID_MARGIN)), month_of(shifted(until, ID_MARGIN))
        walked = low, min(place, (high, MAX_ORDINAL))[0], min(place, (high, MAX_ORDINAL))[1], *months
        asked = wanted.name, wanted.client_service, since, until
        records = await connection.fetch(
            QUERIES["operator_documents_by_name"], *walked, self._bounds.documents, *asked, limit + 1
        )
        page = _found(records, limit)
        if page.next is not None:
            return page
        edge = await connection.fetchrow(QUERIES["operator_documents_edge"], *walked, self._bounds.documents)
        if edge is None:
            return page
        return replace(
            page, next=encode_cursor(edge["operation_id"], edge["ordinal"]), looked_back_to=edge["created_at"]
        )

    async def _services(self, connection: Connection) -> list[str]:
        """All client services that have registered an operation, by name."""
        return [record["client_service"] for record in await connection.fetch(QUERIES["operator_services"])]

    async def _ids_of(self, connection: Connection, since: datetime | None, until: datetime | None) -> tuple[int, int]:
        """Ids between which all operations are that were registered in this time, with others; above the first one."""
        low, high = 0, MAX_ID - 1
        if since is not None:
            low = await connection.fetchval("SELECT operation_id_at($1)", shifted(since, -ID_MARGIN))
        if until is not None:
            high = await connection.fetchval("SELECT operation_id_at($1)", shifted(until, ID_MARGIN))
        return low, high

    def _line(self, record: Mapping[str, Any]) -> OperationLine:
        names = OperationLine.__slots__
        line = OperationLine(
            **{name: record[name] for name in names if name not in ("mode", "status", "purge_at")},
            mode=Mode.read(record["mode"], record["entry"]),
            status=OperationStatus(record["status"]),
        )
        return replace(line, purge_at=self._purge_at(line))

    def _purge_at(self, line: OperationLine) -> datetime | None:
        if line.payload_purged or line.finished_at is None:
            return None
        if line.purge_asked_at is not None:
            return line.purge_asked_at
        unfetched = line.finished_at + timedelta(seconds=self._settings.payload_days_unfetched * DAY)
        if line.fetched_at is None:
            return unfetched
        return min(unfetched, line.fetched_at + timedelta(seconds=self._settings.payload_hours_fetched * HOUR))


def document_line(record: Mapping[str, Any]) -> DocumentLine:
    """The document in a record of a query for documents."""
    error = SignError.read(record["sign_error"], record["cause"]) if record["status"] == 3 else None
    content_type = ContentType.read(record["content_type"], record["media_type"])
    return DocumentLine(
        operation_id=record["operation_id"],
        ordinal=record["ordinal"],
        external_reference=record["external_reference"],
        name=record["name"],
        media_type=record["media_type"] or content_type.media_type,
        status=DocumentStatus(record["status"]),
        sign_error=error.label if error is not None else "",
        cause=record["cause"] if error is not None else "",
        content_bytes=record["content_bytes"],
        additional_bytes=record["additional_bytes"],
        tries=record["tries"],
        level=record["level"],
    )


def _found(records: Sequence[Mapping[str, Any]], limit: int) -> Page[FoundDocument]:
    rows = tuple(
        FoundDocument(
            document_line(record),
            record["client_service"],
            record["operation_reference"],
            OperationStatus(record["operation_status"]),
            record["created_at"],
            record["payload_purged"],
        )
        for record in records[:limit]
    )
    last = rows[-1].document if len(records) > limit else None
    return Page(rows, encode_cursor(last.operation_id, last.ordinal) if last else None)
