"""Retry, cancel, purge, and resume of what is held after a restore: of a selection, or of all that a filter finds.

Each is asked about first, and told of afterwards.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote

import structlog

from batchseal.errors import DatabaseUnavailable, InvalidRequest
from batchseal.operator.pages.filters import OPERATION_FIELDS, operation_filter, values_of
from batchseal.operator.pages.parts import Parts, who
from batchseal.operator.request import Reply, Request, own_address, redirect, with_query
from batchseal.store.operator import Count, Done, OperationFilter, Who
from batchseal.store.operator_actions import OPERATIONS_AT_ONCE

log = structlog.get_logger("operator")

Name = Literal["retry", "cancel", "purge", "resume"]
NAMES: tuple[Name, ...] = get_args(Name)
# So many operations are named one by one; for more there is the filter.
MOST_SELECTED = 1000
# What `Done.result` may say (store/operator_rows.py).
RESULTS = (
    *("done", "unknown", "unfinished", "finished", "signed", "purged", "fetched", "callers token"),
    *("nothing to retry", "ending", "not held"),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to be done. `ids` is None for all that the filter finds. `group` limits a retry to one cause."""

    name: Name
    ids: tuple[int, ...] | None
    filter: Mapping[str, str]
    also_fetched: bool
    everything: bool
    group: tuple[int, str] | None

    @property
    def wanted(self) -> OperationFilter:
        """Raises InvalidRequest."""
        return operation_filter(self.filter)


class Actions:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def ask(self, request: Request) -> Reply:
        """The question before an action. Changes nothing."""
        wish = await read_wish(request)
        back = own_address(await request.field("back"))
        if wish.ids == ():
            return redirect(with_query("/operations/done", {"action": wish.name, "nothing": "yes", "back": back}))
        count = await self._parts.store.count(wish.wanted) if wish.ids is None else Count(len(wish.ids), 0, False)
        return self._parts.renderer.page(request, "confirm.html", wish=wish, count=count, back=back)

    async def act(self, request: Request) -> Reply:
        """Does it, and sends the browser to the page that tells what was done, so that a reload does not do it again."""
        wish = await read_wish(request)
        back = own_address(await request.field("back"))
        results, documents, broken_off = Counter[str](), 0, ""
        try:
            async for done in self._run(who(request), wish):
                for one in done:
                    results[one.result] += 1
                    documents += one.documents
        except DatabaseUnavailable as problem:
            if not results:
                raise  # nothing was changed
            broken_off = "yes"
            log.warning("action broken off", action=wish.name, operator=who(request).name, cause=problem.cause)
        told = {"action": wish.name, "documents": str(documents), "back": back, "broken_off": broken_off}
        counts = {name.replace(" ", "_"): str(number) for name, number in results.items()}
        return redirect(with_query("/operations/done", told | counts))

    async def _run(self, who: Who, wish: Wish) -> AsyncIterator[list[Done]]:
        """In parts, each of which is a transaction of its own."""
        store, ids = self._parts.store, wish.ids
        if ids is None:
            match wish.name:
                case "retry":
                    running = store.retry_all(
                        who,
                        wish.wanted,
                        also_fetched=wish.also_fetched,
                        everything=wish.everything,
                        group=wish.group,
                    )
                case "cancel":
                    running = store.cancel_all(who, wish.wanted)
                case "purge":
                    running = store.purge_all(who, wish.wanted)
                case "resume":
                    running = store.resume_all(who, wish.wanted)
            async for done in running:
                yield done
            return
        for first in range(0, len(ids), OPERATIONS_AT_ONCE):
            yield await self._part(who, wish, ids[first : first + OPERATIONS_AT_ONCE])

    async def _part(self, who: Who, wish: Wish, ids: tuple[int, ...]) -> list[Done]:
        store = self._parts.store
        match wish.name:
            case "retry":
                return await store.retry(
                    who, ids, also_fetched=wish.also_fetched, everything=wish.everything, group=wish.group
                )
            case "cancel":
                return await store.cancel(who, ids)
            case "purge":
                return await store.purge(who, ids)
            case "resume":
                return await store.resume(who, ids)

    async def done(self, request: Request) -> Reply:
        """What was done, by the figures in the address."""
        action = request.asked("action")
        if action not in NAMES:
            raise InvalidRequest("there is no such action")
        results = {name: number(request.asked(name.replace(" ", "_"))) for name in RESULTS}
        return self._parts.renderer.page(
            request,
            "done.html",
            action=action,
            results={name: count for name, count in results.items() if count},
            documents=number(request.asked("documents")),
            is_broken_off=request.asked("broken_off") == "yes",
            back=own_address(request.asked("back")),
        )


async def read_wish(request: Request) -> Wish:
    """What the form asks for. Raises InvalidRequest."""
    form = await request.form()
    name = next((one for one in NAMES if one == form.get("action", [""])[0]), None)
    if name is None:
        raise InvalidRequest("there is no such action")
    ids: tuple[int, ...] | None = None
    if form.get("scope", ["selection"])[0] != "filter":
        texts = [text for value in form.get("id", []) for text in value.split()]
        if len(texts) > MOST_SELECTED:
            raise InvalidRequest(f"more than {MOST_SELECTED} operations are selected; use the filter")
        if not all(text.isascii() and text.isdecimal() and len(text) <= 18 for text in texts):
            raise InvalidRequest("an id is no number")
        ids = tuple(dict.fromkeys(int(text) for text in texts))
    sign_error = form.get("sign_error", [""])[0]
    group = None
    if sign_error:
        if not (sign_error.isascii() and sign_error.isdecimal() and len(sign_error) <= 4):
            raise InvalidRequest("sign_error is no number")
        # Browsers change the ends of lines in a field, so that a cause is percent-encoded there.
        group = int(sign_error), unquote(form.get("cause", [""])[0]).replace("\0", "")
    return Wish(
        name=name,
        ids=ids,
        filter=values_of(form, OPERATION_FIELDS),
        also_fetched=form.get("also_fetched", [""])[0] == "yes",
        everything=form.get("everything", [""])[0] == "yes",
        group=group,
    )


def number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0
