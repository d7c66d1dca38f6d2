"""Logs what an operator should know about the upstream.

Owns the decision when to log a remark again. Leaves the remarks themselves to `Upstream.state`.
"""

import asyncio
import time

import structlog

from batchseal.upstream.interface import Upstream

WATCH_SECONDS, REMARK_SECONDS = 60.0, 86_400.0  # between two looks; until a remark is logged again

log = structlog.get_logger("signer")


async def watch(upstream: Upstream) -> None:
    """Logs each remark when it is new, and then once a day. Runs until it is cancelled."""
    said, said_at = set[str](), 0.0
    while True:
        state = await upstream.state()
        now = {*state.remarks, *([f"the signing service: {state.wrong}"] if state.wrong else [])}
        if time.monotonic() - said_at > REMARK_SECONDS:
            said, said_at = set(), time.monotonic()
        for remark in sorted(now - said):
            log.warning("about the signing service", remark=remark)
        said = now
        await asyncio.sleep(WATCH_SECONDS)
