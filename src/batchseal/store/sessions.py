"""Connections that stay open between statements, handed out one user at a time.

In place of asyncpg's pool, whose every release takes a task of its own for a reset that nobody here needs: a small request
uses the database three times, and waits for each.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg  # type: ignore[import-untyped]

IDLE_SECONDS = 300.0


class Session(asyncpg.Connection):  # type: ignore[misc]
    """A connection that knows to which client service it is limited: None is none; `database.UNKNOWN`, a change cut off."""

    caller: str | None = None


class Sessions:
    """At most `size` at once, made by `connect` when they are needed; the one used last is used next."""

    def __init__(self, connect: Callable[[], Awaitable[Session]], size: int) -> None:
        self._connect = connect
        self._size = size
        self._room = asyncio.Semaphore(size)
        self._idle: list[tuple[float, Session]] = []  # since when
        self._in_use: set[Session] = set()
        self._closed = False

    @property
    def at_hand(self) -> bool:
        """Whether `acquire` has nothing to wait for."""
        return bool(self._idle) and not self._room.locked()

    async def acquire(self) -> Session:
        """Waits for one to come back where all are in use. Raises what `connect` raises."""
        await self._room.acquire()
        try:
            session = self._take_idle() or await self._connect()
        except BaseException:
            self._room.release()
            raise
        self._in_use.add(session)
        return session

    def release(self, session: Session) -> None:
        """To be used again, unless it is closed or its user has left something open."""
        self._in_use.discard(session)
        now = time.monotonic()
        if self._closed or (not session.is_closed() and session.is_in_transaction()):
            session.terminate()
        elif not session.is_closed():
            self._idle.append((now, session))
        while self._idle and now - self._idle[0][0] > IDLE_SECONDS:
            self._idle.pop(0)[1].terminate()
        self._room.release()

    async def close(self, seconds: float) -> None:
        """Lets statements under way end for `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for _ in range(self._size):
                    await self._room.acquire()
        self._closed = True
        for session in (*self._in_use, *(session for _, session in self._idle)):
            session.terminate()
        self._idle.clear()

    def _take_idle(self) -> Session | None:
        while self._idle:
            _, session = self._idle.pop()
            if not session.is_closed():
                return session
        return None
