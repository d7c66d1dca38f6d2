"""The audit trail: its entries, the end of its chain, its exports, and the check of the chain."""

import structlog

from batchseal.audit.chain import Verifier
from batchseal.operator.pages.parts import Parts, who
from batchseal.operator.request import Reply, Request, redirect, with_query
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes

log = structlog.get_logger("operator")


class AuditPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/audit", Right.AUDIT, self.show)
        routes.add("POST", "/audit/verify", Right.AUDIT, self.verify)

    async def show(self, request: Request) -> Reply:
        store, cursor = self._parts.store, request.asked("cursor")
        return self._parts.renderer.page(
            request,
            "audit.html",
            state=await store.audit_state(),
            page=await store.audit(cursor or None),
            is_first=not cursor,
            verified=request.asked("verified"),
            entries=request.asked("entries"),
            filter={},
        )
