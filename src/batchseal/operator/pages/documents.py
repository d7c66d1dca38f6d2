"""The search for documents: by their exact reference, or by a part of their name within a bounded range."""

from batchseal.errors import ApiError
from batchseal.operator.pages.filters import moment, values_of
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.operator import DocumentSearch
from batchseal.store.operator_rows import MAX_NAME_DAYS

FIELDS = ("reference", "name", "service", "since", "until")


class DocumentPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/documents", Right.VIEW, self.show)

    async def show(self, request: Request) -> Reply:
        values, page, problem = values_of(request.query, FIELDS), None, ""
        if values["reference"] or values["name"]:
            try:
                wanted = DocumentSearch(
                    reference=values["reference"],
                    name="" if values["reference"] else values["name"],
                    client_service=values["service"],
                    since=moment(values, "since"),
                    until=moment(values, "until"),
                )
                page = await self._parts.store.find_documents(wanted, request.asked("cursor") or None)
            except ApiError as wrong:
                problem = wrong.cause
        return self._parts.renderer.page(
            request,
            "documents.html",
            status=400 if problem else 200,
            filter=values,
            page=page,
            problem=problem,
            is_first=not request.asked("cursor"),
            most_days=MAX_NAME_DAYS,
        )
