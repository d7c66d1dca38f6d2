"""Credentials, time stamp services, client services, consumption and storage."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from batchseal.errors import InvalidRequest
from batchseal.operator.csv_files import csv_reply, pieces
from batchseal.operator.pages.filters import values_of
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.settings.load import Settings
from batchseal.store.operator import Consumption

FIELDS = ("first", "last", "service")
TITLES = ("clientService", "month", "documents", "signatures", "failures", "timeStamps", "contentBytes")
# Consumption is kept ten years; a page shows one year unless another range is asked for.
MONTHS_SHOWN, MOST_MONTHS = 12, 120


class FigurePages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/credentials", Right.VIEW, self.credentials)
        routes.add("GET", "/timestamps", Right.VIEW, self.time_stamps)
        routes.add("GET", "/services", Right.VIEW, self.services)
        routes.add("GET", "/consumption", Right.VIEW, self.consumption)
        routes.add("GET", "/consumption.csv", Right.EXPORT, self.consumption_file)
        routes.add("GET", "/storage", Right.VIEW, self.storage)

    async def credentials(self, request: Request) -> Reply:
        credentials = await self._parts.store.credentials()
        return self._parts.renderer.page(request, "credentials.html", credentials=credentials)

    async def time_stamps(self, request: Request) -> Reply:
        authorities = await self._parts.store.time_stamps()
        budgets = budgets_of(self._parts.settings)
        known = {one.authority for one in authorities}
        return self._parts.renderer.page(
            request,
            "timestamps.html",
            authorities=authorities,
            budgets=budgets,
            unasked=[address for address in budgets if address not in known],
            numbers={
                name: value
                for name, value in (await self._parts.worker.numbers()).items()
                if name.startswith("batchseal_timestamp")
            },
        )

    async def services(self, request: Request) -> Reply:
        return self._parts.renderer.page(request, "services.html", services=await self._parts.store.client_services())

    async def consumption(self, request: Request) -> Reply:
        values, problem, rows = values_of(request.query, FIELDS), "", list[Consumption]()
        try:
            first, last = months(values["first"], values["last"])
            rows = await self._parts.store.consumption(first, last, values["service"])
        except InvalidRequest as wrong:
            first, last, problem = *months("", ""), wrong.cause
        return self._parts.renderer.page(
            request,
            "consumption.html",
            status=400 if problem else 200,
            filter=values,
            first=first,
            last=last,
            rows=rows,
            problem=problem,
        )

    async def consumption_file(self, request: Request) -> Reply:
        """The same as CSV."""
        values = values_of(request.query, FIELDS)
        first, last = months(values["first"], values["last"])
        rows = await self._parts.store.consumption(first, last, values["service"])

        async def parts() -> AsyncIterator[list[Sequence[Any]]]:
            yield [
                (
                    *(one.client_service, f"{one.month:%Y-%m}", one.documents, one.signatures, one.failures),
                    *(one.time_stamps, one.content_bytes),
                )
                for one in rows
            ]

        return csv_reply(f"consumption-{first:%Y-%m}-{last:%Y-%m}.csv", pieces(TITLES, parts()))

    async def storage(self, request: Request) -> Reply:
        store = self._parts.store
        return self._parts.renderer.page(
            request, "storage.html", storage=await store.storage(), budgets=self._parts.worker.budgets()
        )


def months(first: str, last: str) -> tuple[date, date]:
    """The first days of the months of a range, as fields of type month send them. Raises InvalidRequest."""
    today = datetime.now(UTC).date().replace(day=1)
    end = month(last, "last") if last else today
    begin = month(first, "first") if first else back(end, MONTHS_SHOWN - 1)
    if begin > end or begin < back(end, MOST_MONTHS):
        raise InvalidRequest(f"first and last must be in this order, and {MOST_MONTHS} months apart at most")
    return begin, end


def month(text: str, name: str) -> date:
    try:
        return datetime.strptime(text[:7], "%Y-%m").date()
    except ValueError:
        raise InvalidRequest(f"{name}: {text[:20]!r} is no month such as 2026-01") from None


def back(day: date, count: int) -> date:
    """The first day of the month that is so many months before."""
    number = max(12, day.year * 12 + day.month - 1 - count)
    return date(number // 12, number % 12 + 1, 1)


def budgets_of(settings: Settings) -> dict[str, str]:
    """The configured time stamp authorities with their budgets as they are written; without one: empty."""
    authorities = {}
    for text in settings.timestamp_urls.split():
        address, _, budget = text.partition(";")
        authorities[address] = budget
    return authorities
