"""Tells the log what an operator should know of the upstream."""

import asyncio
import time

import structlog

from batchseal.upstream.interface import Upstream

WATCH_SECONDS, REMARK_SECONDS = 60.0, 86_400.0

log = structlog.get_logger("signer")


async def watch(upstream: Upstream) -> None:
    """What is to be said, when it changes and once a day. Until cancelled."""
    said, said_at = set[str](), 0.0
    while True:
        state = await upstream.state()
        now = {*state.remarks, *([f"the signing service: {state.wrong}"] if state.wrong else [])}
        if time.monotonic() - said_at > REMARK_SECONDS:
            said, said_at = set(), time.monotonic()
        for remark in sorted(now - said):
            log.warning("about the upstream", remark=remark)
        said = now
        await asyncio.sleep(WATCH_SECONDS)
