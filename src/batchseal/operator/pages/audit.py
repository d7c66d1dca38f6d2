"""The audit trail: its entries, the end of its chain, its exports, and the check of the chain."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog

from batchseal.audit.chain import Verifier
from batchseal.errors import NoRoom
from batchseal.operator.pages.parts import Parts, who
from batchseal.operator.request import Reply, Request
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.trail import AuditTrail

log = structlog.get_logger("operator")

MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Result:
    """What a check of the chain has found."""

    entries: int
    problems: tuple[str, ...]


class AuditPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._checking = asyncio.Lock()

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/audit", Right.AUDIT, self.show)
        routes.add("POST", "/audit/verify", Right.AUDIT, self.verify)

    async def show(self, request: Request, result: Result | None = None) -> Reply:
        store, cursor = self._parts.store, request.asked("cursor")
        return self._parts.renderer.page(
            request,
            "audit.html",
            state=await store.audit_state(),
            page=await store.audit(cursor or None),
            is_first=not cursor,
            filter={},
            result=result,
        )

    async def verify(self, request: Request) -> Reply:
        """Checks the chain in the database from the last export on. The check and its result become an entry."""
        if self._checking.locked():
            raise NoRoom("the chain is being checked already", retry_after_seconds=5)
        async with self._checking:
            store = self._parts.store
            trail = AuditTrail(store.database, UUID(int=0))
            anchors = await trail.anchors()
            verifier = Verifier(anchors[-1].last_position, anchors[-1].last_link) if anchors else Verifier()
            await verifier.take_all(trail.read(verifier.position))
            found = f"{len(verifier.problems)} problems" if verifier.problems else "intact"
            await store.note(who(request), f"checked {verifier.entries} entries of the audit trail: {found}")
        if verifier.problems:
            log.error("the audit trail is broken", problems=verifier.problems[:MOST_PROBLEMS])
        return await self.show(request, Result(verifier.entries, tuple(verifier.problems[:MOST_PROBLEMS])))
