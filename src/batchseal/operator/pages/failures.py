"""Failed documents grouped by their cause, and the retry of a group."""

from batchseal.errors import InvalidRequest
from batchseal.operator.pages.filters import moment, values_of
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes

FIELDS = ("since", "until", "service")


class FailurePages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/failures", Right.VIEW, self.show)

    async def show(self, request: Request) -> Reply:
        values, found, problem = values_of(request.query, FIELDS), None, ""
        try:
            since, until = moment(values, "since"), moment(values, "until")
            found = await self._parts.store.failures(since, until, values["service"])
        except InvalidRequest as wrong:
            problem = wrong.cause
        return self._parts.renderer.page(
            request, "failures.html", status=400 if problem else 200, filter=values, found=found, problem=problem
        )
