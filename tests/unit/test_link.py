"""The link between worker and signer: what is told needs no answer, and nothing that is long breaks it for others."""

import asyncio
from pathlib import Path

from batchseal.link import MAX_TOLD_BYTES, Link, LinkServer


async def test_what_is_told_arrives_in_order_and_long_messages_are_not_sent(tmp_path: Path) -> None:
    told: list[object] = []

    async def wake(what: object) -> None:
        told.append(what if not isinstance(what, str) else len(what))

    async def heard() -> list[object]:
        return told

    server = LinkServer(tmp_path / "link", {"wake": wake, "heard": heard})
    await server.start()
    link = Link(tmp_path / "link")
    link.start()
    try:
        for _ in range(500):
            if link._writer is not None:
                break
            await asyncio.sleep(0.01)
        assert link.tell("wake", 1)
        assert not link.tell("wake", "x" * MAX_TOLD_BYTES)
        assert link.tell("wake", 2)
        assert await link.call("heard") == [1, 2]
    finally:
        await link.stop()
        await server.stop()
