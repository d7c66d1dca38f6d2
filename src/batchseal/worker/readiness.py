"""How the parts behind a worker are: for `/health/ready` and `/metrics`. Signs nothing."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

from batchseal.errors import BatchsealError, PayloadsOfAnother, PayloadUnavailable
from batchseal.payloads.interface import Payloads
from batchseal.processes.link import Link
from batchseal.store.store import Store
from batchseal.upstream.state import State


class Readiness:
    """Asks the database, the signer and, through it, the upstream. `payloads` is told of where several instances share it."""

    def __init__(self, store: Store, link: Link, payloads: Payloads | None = None) -> None:
        self._store = store
        self._link = link
        self._payloads = payloads if payloads is not None and payloads.place is not None else None
        self.is_stopping = False

    async def ready(self) -> dict[str, str]:
        """Name of a part to "ok", to "warning: " and what to look at, or to what is wrong with it."""
        if self.is_stopping:
            return {"instance": "is being stopped"}
        state = await self._upstream_state()
        remarks = "; ".join([f"down: {state.wrong}"] * bool(state.wrong) + state.remarks) if state else "not known"
        return {
            "database": await _said(self._store.ping()),
            "signer": await _said(self._link.call("ping")),
            # Requests are taken while it is down: they wait for it.
            "upstream": f"warning: {remarks}" if remarks else "ok",
            **await self._of_payloads(),
        }

    async def _of_payloads(self) -> dict[str, str]:
        """An instance stays ready while the store is away: a fleet that leaves its load balancer helps nobody.

        It is not ready while the store is another's: that is a fault of this instance's mount or settings.
        """
        if self._payloads is None:
            return {}
        try:
            self._payloads.free_bytes()
            remark = ""
        except PayloadsOfAnother as problem:
            return {"payloads": problem.cause}
        except PayloadUnavailable:
            remark = "the payload store is away"
        with suppress(BatchsealError, TimeoutError):
            remark = remark or await self._link.call("payloads", timeout_seconds=2)
        return {"payloads": f"warning: {remark}" if remark else "ok"}

    async def numbers(self) -> dict[str, float]:
        """Of the upstream, by their metric's name."""
        state = await self._upstream_state()
        return state.numbers if state else {}

    async def _upstream_state(self) -> State | None:
        try:
            return msgspec.convert(await self._link.call("upstream", timeout_seconds=2), State)
        except (BatchsealError, TimeoutError):
            return None


async def _said(check: Any) -> str:
    try:
        async with asyncio.timeout(2):
            await check
    except TimeoutError:
        return "does not answer"
    except BatchsealError as problem:
        return problem.cause
    return "ok"
