"""The list of operations, its CSV file, and the question before an action."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from batchseal.errors import InvalidRequest
from batchseal.operation import Mode, OperationStatus
from batchseal.operator.csv_files import csv_reply, pieces
from batchseal.operator.pages.actions import Actions
from batchseal.operator.pages.filters import OPERATION_FIELDS, operation_filter, values_of
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.operator import OperationFilter, OperationLine

TITLES = (
    *("id", "clientService", "externalReference", "mode", "status", "received", "finished", "fetched"),
    *(
        "documents",
        "signed",
        "failed",
        "storedBytes",
        "seconds",
        "tries",
        "nextTry",
        "instance",
        "purgeAt",
        "heldSince",
    ),
)


class OperationsPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._actions = Actions(parts)

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/operations", Right.VIEW, self.show)
        routes.add("GET", "/operations.csv", Right.EXPORT, self.export)
        routes.add("POST", "/operations/confirm", Right.ACT, self._actions.ask)
        routes.add("POST", "/operations/act", Right.ACT, self._actions.act)
        routes.add("GET", "/operations/done", Right.VIEW, self._actions.done)

    async def show(self, request: Request) -> Reply:
        filter_values = values_of(request.query, OPERATION_FIELDS)
        problem, page = "", None
        try:
            wanted = operation_filter(filter_values)
        except InvalidRequest as wrong:
            wanted, problem = OperationFilter(), wrong.cause
        if not problem:
            page = await self._parts.store.operations(wanted, request.asked("cursor") or None)
        return self._parts.renderer.page(
            request,
            "operations.html",
            status=400 if problem else 200,
            page=page,
            filter=filter_values,
            problem=problem,
            is_first=not request.asked("cursor"),
            statuses=[status.name for status in OperationStatus],
            chosen_statuses={status.name for status in wanted.statuses},
            modes=[mode.name for mode in Mode],
        )

    async def export(self, request: Request) -> Reply:
        """All that the filter finds, as CSV, while it is read."""
        wanted = operation_filter(values_of(request.query, OPERATION_FIELDS))
        return csv_reply("operations.csv", pieces(TITLES, as_rows(self._parts.store.all_operations(wanted))))


async def as_rows(parts: AsyncIterator[Sequence[OperationLine]]) -> AsyncIterator[list[Sequence[Any]]]:
    async for lines in parts:
        yield [row(line) for line in lines]


def row(line: OperationLine) -> Sequence[Any]:
    """An operation in the order of TITLES."""
    return (
        *(line.id, line.client_service, line.external_reference, line.mode.name, line.status.name),
        *(line.created_at, line.finished_at, line.fetched_at),
        *(line.documents_total, line.documents_signed, line.documents_failed, line.stored_bytes, line.seconds),
        *(line.tries, line.next_try_at, line.instance, line.purge_at, line.held_at if line.is_held else None),
    )
