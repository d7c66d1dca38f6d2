"""One operation: its time line, upstream calls, documents and failures, and a support bundle without any content."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import msgspec

from batchseal import __version__
from batchseal.errors import NotFound
from batchseal.operator.pages.parts import Parts
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.operator.without_names import WithoutNames
from batchseal.processes.child_entry import mask_key
from batchseal.store.operator import OperationDetail

# A bundle names so many documents: those that failed.
MOST_IN_BUNDLE = 1000


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
        settings = self._parts.settings
        without_names = WithoutNames(mask_key(settings), masks_quotes=settings.log_masked)
        of_operation = frozenset({found.line.external_reference, found.description} - {""})
        bundle = {
            "batchseal": __version__,
            "made_at": datetime.now(UTC),
            "operation": without_names.of(asdict(found), of_operation),
            "failed_documents": without_names.of(documents[:MOST_IN_BUNDLE], of_operation),
        }
        body = msgspec.json.format(msgspec.json.encode(bundle, enc_hook=plain), indent=2)
        name = f'attachment; filename="batchseal-operation-{found.line.id}.json"'
        return Reply(body, media_type="application/json", headers=[("content-disposition", name)])


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID | date) else repr(value)
