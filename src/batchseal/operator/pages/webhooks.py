"""Events of webhooks that wait or were given up, and sending them again."""

from uuid import UUID

from batchseal.errors import InvalidRequest
from batchseal.operator.pages.actions import number
from batchseal.operator.pages.filters import values_of
from batchseal.operator.pages.parts import Parts, who
from batchseal.operator.request import Reply, Request, redirect, with_query
from batchseal.operator.roles import Right
from batchseal.operator.routing import Routes
from batchseal.store.operator_webhooks import EventFilter
from batchseal.store.webhooks import EventState

FIELDS = ("service", "state")
STATES = {"waiting": EventState.TO_SEND, "given-up": EventState.GIVEN_UP}
MOST_SELECTED = 100


class WebhookPages:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/webhooks", Right.VIEW, self.show)
        routes.add("POST", "/webhooks/confirm", Right.ACT, self.ask)
        routes.add("POST", "/webhooks/redeliver", Right.ACT, self.redeliver)

    async def show(self, request: Request) -> Reply:
        values, store = values_of(request.query, FIELDS), self._parts.store
        problem, page, cursor = "", None, request.asked("cursor")
        try:
            page = await store.events(event_filter(values["service"], values["state"]), cursor or None)
        except InvalidRequest as wrong:
            problem = wrong.cause
        return self._parts.renderer.page(
            request,
            "webhooks.html",
            status=400 if problem else 200,
            webhooks=await store.webhooks(),
            page=page,
            filter=values,
            states=list(STATES),
            problem=problem,
            sent=number(request.asked("sent")) if request.asked("sent") else None,
            is_first=not cursor,
        )

    async def ask(self, request: Request) -> Reply:
        """The question before all events of a client service are sent again that were given up. Changes nothing."""
        name = await request.field("service")
        found = next((one for one in await self._parts.store.webhooks() if one.client_service == name), None)
        if found is None:
            raise InvalidRequest("this client service has no webhook")
        return self._parts.renderer.page(request, "webhooks_confirm.html", webhook=found)

    async def redeliver(self, request: Request) -> Reply:
        """Sends the events again that the form names, or all of a client service that were given up."""
        form = await request.form()
        service = (await request.field("service"))[:255]
        ids: list[UUID] | None = None
        if form.get("scope", ["selection"])[0] != "given-up":
            ids = event_ids(form.get("id", []))
        elif not service:
            raise InvalidRequest("no client service is named")
        sent = await self._parts.store.redeliver(who(request), ids, service) if ids is None or ids else 0
        kept = {name: await request.field(f"filter_{name}") for name in FIELDS}
        return redirect(with_query("/webhooks", kept | {"sent": str(sent)}))


def event_filter(service: str, state: str) -> EventFilter:
    """Raises InvalidRequest, which names the field."""
    if state and state not in STATES:
        raise InvalidRequest(f"state: {state[:40]!r} is no state")
    return EventFilter(service, STATES[state] if state else None)


def event_ids(texts: list[str]) -> list[UUID]:
    """Raises InvalidRequest."""
    if len(texts) > MOST_SELECTED:
        raise InvalidRequest(f"more than {MOST_SELECTED} events are selected")
    try:
        return [UUID(text) for text in texts]
    except ValueError:
        raise InvalidRequest("an id is that of no event") from None
