"""A pool of connections, each of which has one user at a time.

It replaces the pool of asyncpg, which starts a task for each connection that is given back, to reset the connection. Nobody here
needs that reset, and a small request uses the database three times and waits each time.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg

IDLE_SECONDS = 300.0


class Session(asyncpg.Connection):  # type: ignore[misc]
    """A connection that knows which client service it is limited to.

    `caller` is None if it is not limited, and `database.UNKNOWN` if a change of the limit was cut off. A connection that
    `must_write` is of no use on a server that only reads. One that was `replaced` is closed after its use.
    """

    caller: str | None = None
    must_write = False
    replaced = False

    @property
    def is_of_use(self) -> bool:
        """Whether it can be used again. A server tells its clients when it stops taking writes (PostgreSQL 14 and newer)."""
        if self.replaced or not self.must_write:
            return not self.replaced
        told = self.get_settings()
        return "on" not in (
            getattr(told, "default_transaction_read_only", ""),
            getattr(told, "in_hot_standby", ""),
        )


class Sessions:
    """At most `size` connections at a time. `connect` opens them when they are needed. The one given back last is used next.

    Beyond them there are `spare` ones for those who have none: a client service whose requests have all the others keeps neither
    another client service waiting nor the service itself, which says by them whether the database answers.
    """

    def __init__(self, connect: Callable[[], Awaitable[Session]], size: int, *, spare: int = 2) -> None:
        self._connect = connect
        self._size = size
        self._room, self._spare = asyncio.Semaphore(size), asyncio.Semaphore(spare)
        self._idle: list[tuple[float, Session]] = []  # each with the time since when it is idle
        self._in_use: dict[
            Session, tuple[asyncio.Semaphore, str | None]
        ] = {}  # what its room came from, and its caller
        self._of_caller = Counter[str | None]()  # connections that each caller has or waits for
        self._closed = False

    @property
    def at_hand(self) -> bool:
        """Whether an open connection is free, so that `acquire` would not wait."""
        return bool(self._idle) and not self._room.locked()

    async def acquire(self, caller: str | None = None) -> Session:
        """A connection. If all are in use, waits until one is given back. Raises what `connect` raises, and InterfaceError
        after `close`.

        `caller` is the client service that it is for, None if it is for the service itself.
        """
        if self._closed:
            raise asyncpg.InterfaceError("the pool of connections is closed")
        may_spare = caller not in self._of_caller and self._room.locked()
        room = self._spare if may_spare and not self._spare.locked() else self._room
        self._of_caller[caller] += 1
        try:
            await room.acquire()
            try:
                session = self._take_idle() or await self._connect()
            except BaseException:
                room.release()
                raise
        except BaseException:
            self._gone(caller)
            raise
        self._in_use[session] = room, caller
        return session

    def _gone(self, caller: str | None) -> None:
        self._of_caller[caller] -= 1
        if not self._of_caller[caller]:
            del self._of_caller[caller]

    def release(self, session: Session) -> None:
        """Gives a connection back. It is used again, unless it was closed, is of no use, or has a transaction open."""
        room, caller = self._in_use.pop(session)
        self._gone(caller)
        now = time.monotonic()
        if self._closed or (not session.is_closed() and (session.is_in_transaction() or not session.is_of_use)):
            session.terminate()
        elif not session.is_closed():
            self._idle.append((now, session))
        while self._idle and now - self._idle[0][0] > IDLE_SECONDS:
            self._idle.pop(0)[1].terminate()
        room.release()

    def replace_all(self) -> None:
        """Closes all connections: those that are in use when they are given back."""
        for session in self._in_use:
            session.replaced = True
        for _, session in self._idle:
            session.terminate()
        self._idle.clear()

    async def close(self, seconds: float) -> None:
        """Waits up to `seconds` for connections that are in use, then closes all of them."""
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
