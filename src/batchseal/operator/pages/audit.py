"""The audit trail: its entries, the end of its chain, its exports, and the check of the chain."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from batchseal.audit.verification import MOST_PROBLEMS, checked, tell, verified
from batchseal.errors import NoRoom
from batchseal.operator.pages.parts import Parts, who
from batchseal.operator.request import Reply, Request, redirect
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.trail import AuditTrail


@dataclass(frozen=True, slots=True)
class Result:
    """What a check of the chain has found."""

    entries: int
    problems: tuple[str, ...]
    acknowledged: tuple[str, ...] = ()


class AuditPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._checking = asyncio.Lock()

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/audit", Right.AUDIT, self.show)
        routes.add("POST", "/audit/verify", Right.AUDIT, self.verify)
        routes.add("POST", "/audit/accept", Right.AUDIT, self.accept)

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
            path="/audit",  # the result of a check has another address, which takes no GET
        )

    async def verify(self, request: Request) -> Reply:
        """Checks the chain in the database from the last export on. The check and its result become an entry."""
        if self._checking.locked():
            raise NoRoom("the chain is being checked already", retry_after_seconds=5)
        async with self._checking:
            store = self._parts.store
            trail = AuditTrail(store.database, UUID(int=0))
            verifier, problems = await checked(trail)
            await store.note_verified(who(request), verified(verifier, problems), len(problems))
        tell(problems, verifier.entries)
        found = Result(verifier.entries, tuple(problems[:MOST_PROBLEMS]), tuple(verifier.acknowledged[:MOST_PROBLEMS]))
        return await self.show(request, found)

    async def accept(self, request: Request) -> Reply:
        """Acknowledges that the chain is broken as it was found, which ends the alarm and becomes an entry."""
        await self._parts.store.accept_chain(who(request))
        return redirect("/audit")
