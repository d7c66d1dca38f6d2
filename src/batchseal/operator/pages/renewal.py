"""The renewal of a grant that needs a person: a one-time password and a PIN go to the signer once, and are kept nowhere."""

from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from batchseal.errors import BatchsealError
from batchseal.operator.pages.parts import Parts, who
from batchseal.operator.request import Reply, Request, redirect, with_query
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes

log = structlog.get_logger("operator")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a renewal needs (upstream/renewal.py)."""

    credential_id: str
    sends_otp: bool
    needs_pin: bool


class RenewalPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/credentials/renew", Right.ACT, self.show)
        routes.add("POST", "/credentials/otp", Right.ACT, self.send)
        routes.add("POST", "/credentials/renew", Right.ACT, self.renew)

    async def show(self, request: Request) -> Reply:
        return await self._form(request, request.asked("service"), is_sent=request.asked("sent") == "yes")

    async def _form(self, request: Request, service: str, *, is_sent: bool = False, problem: str = "") -> Reply:
        needs = None
        try:
            needs = msgspec.convert(await self._ask("renewal_needs", service), Needs)
        except (BatchsealError, TimeoutError) as wrong:
            problem = problem or cause_of(wrong)
        return self._parts.renderer.page(
            request,
            "renewal.html",
            status=400 if problem else 200,
            service=service,
            needs=needs,
            is_sent=is_sent,
            problem=problem,
        )

    async def send(self, request: Request) -> Reply:
        """Has the signing service send a one-time password."""
        service = await request.field("service")
        try:
            await self._ask("send_otp", service)
        except (BatchsealError, TimeoutError) as wrong:
            return await self._form(request, service, problem=cause_of(wrong))
        await self._parts.store.note(who(request), f"had a one-time password sent for {service!r}")
        return redirect(with_query("/credentials/renew", {"service": service, "sent": "yes"}))

    async def renew(self, request: Request) -> Reply:
        service, otp, pin = [await request.field(name) for name in ("service", "otp", "pin")]
        try:
            renewed = await self._ask("renew_grant", service, otp.strip(), pin)
        except (BatchsealError, TimeoutError) as wrong:
            log.warning("grant not renewed", client_service=service, operator=who(request).name)
            await self._parts.store.note(who(request), f"tried to renew the grant of {service!r} in vain")
            return await self._form(request, service, problem=cause_of(wrong))
        await self._parts.store.note(who(request), f"renewed the grant of {renewed['credential_id']!r} for {service!r}")
        return redirect("/credentials?renewed=yes")

    async def _ask(self, name: str, *arguments: str) -> Any:
        return await self._parts.worker.ask_signer(name, *arguments)


def cause_of(problem: Exception) -> str:
    return problem.cause if isinstance(problem, BatchsealError) else "the signing service did not answer in time"
