"""One operation: its time line, upstream calls, documents and failures, and a support bundle without any content."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from batchseal import __version__
from batchseal.errors import NotFound
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.operator import OperationDetail

# A bundle names so many documents: those that failed.
MOST_IN_BUNDLE = 1000
# What a bundle leaves out, since it may go to somebody who does not run the service.
PERSONAL = ("description", "external_reference", "name", "actor", "origin")


class OperationPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/operations/{id:int}", Right.VIEW, self.show)
        routes.add("GET", "/operations/{id:int}/bundle.json", Right.EXPORT, self.bundle)

    async def _found(self, request: Request) -> OperationDetail:
        found = await self._parts.store.operation(int(request.values["id"]))
        if found is None:
            raise NotFound("there is no operation with this id")
        return found

    async def show(self, request: Request) -> Reply:
        found = await self._found(request)
        only_failed, cursor = request.asked("failed") == "yes", request.asked("cursor")
        documents = await self._parts.store.documents(found.line.id, failed=only_failed, cursor=cursor or None)
        return self._parts.renderer.page(
            request,
            "operation.html",
            found=found,
            one=found.line,
            documents=documents,
            only_failed=only_failed,
            is_first=not cursor,
            filter={"failed": "yes"} if only_failed else {},
        )

    async def bundle(self, request: Request) -> Reply:
        """All that support needs of an operation, as JSON: no content, no names and no references."""
        found = await self._found(request)
        documents: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(documents) < MOST_IN_BUNDLE:
            page = await self._parts.store.documents(found.line.id, failed=True, cursor=cursor)
            documents += [asdict(document) for document in page.rows]
            if (cursor := page.next) is None:
                break
        bundle = {
            "batchseal": __version__,
            "made_at": datetime.now(UTC),
            "operation": without_names(asdict(found)),
            "failed_documents": without_names(documents[:MOST_IN_BUNDLE]),
        }
        body = msgspec.json.format(msgspec.json.encode(bundle, enc_hook=plain), indent=2)
        name = f'attachment; filename="batchseal-operation-{found.line.id}.json"'
        return Reply(body, media_type="application/json", headers=[("content-disposition", name)])


def without_names(value: Any) -> Any:
    """The value without the fields that could name a person or a document."""
    if isinstance(value, dict):
        return {
            name: without_names(one) for name, one in value.items() if name not in PERSONAL or is_event(value, name)
        }
    if isinstance(value, list | tuple):
        return [without_names(one) for one in value]
    return value.name if isinstance(value, Enum) else value


def is_event(value: dict[str, Any], name: str) -> bool:
    """Whether this is the name of an event, which names no document."""
    return name == "name" and "position" in value


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID | date) else repr(value)
