"""Failed logins of all instances together. Without this, a guesser would have as many guesses a minute at each instance.

A guess is counted in the database before it is made, and taken back if it was right. So of any number of simultaneous guesses, at
whatever instances, only MAX_FAILURES a minute are answered. A login costs no statement for a pair that proved itself within a day
and has not failed here within a minute (`Attempts.never_fails`): then only a wrong secret is counted, afterwards. Such a pair
therefore has one guess more at each instance after the first.

Many right logins may come at once, before their pair has proved itself here, and must not refuse each other. So a process counts
one guess of a pair at a time, and the others find the pair proved. What is counted for a right guess is taken back within
milliseconds: a guess is one too many only if it still is after PATIENCE_SECONDS.

What is locked is kept in the process too, so that whoever goes on guessing costs no statement. While the database is away, each
instance counts alone.
"""

import asyncio
import hmac
from collections import Counter as Counts
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from batchseal.api.attempts import Attempts, Pair
from batchseal.api.tokens import Tokens
from batchseal.errors import DatabaseUnavailable, TooManyRequests, UnknownClientService

T = TypeVar("T")

PATIENCE_SECONDS, AGAIN_SECONDS = 0.5, 0.05


class Counted(Protocol):
    """A failure that was counted, or was refused as one too many. Then it counts again after `seconds_until_fewer`."""

    @property
    def refused(self) -> bool: ...
    @property
    def seconds_until_fewer(self) -> float: ...


class Counter(Protocol):
    """Counts failures for all instances: `store/login_failures.py`. Raises DatabaseUnavailable."""

    async def count(self, pair: bytes) -> Counted: ...

    async def take_back(self, pair: bytes, counted: Any) -> None: ...


class SharedFailures:
    """Of one worker. The digest that names a pair is keyed with the key of the tokens, which all instances have."""

    def __init__(self, counter: Counter, attempts: Attempts, tokens: Tokens) -> None:
        self._counter = counter
        self._attempts = attempts
        self._tokens = tokens
        self._turns: dict[int, asyncio.Lock] = {}  # by the key of a pair
        self._waiting = Counts[int]()

    async def around(self, pairs: Sequence[Pair], compare: Callable[[], T]) -> T:
        """Returns what `compare` returns, which raises UnknownClientService or TooManyRequests if none of the guesses is right.

        Each of `pairs` is a guess, which is counted if all are wrong. A pair that is one too many is locked before.
        """
        if all(map(self._attempts.never_fails, pairs)):
            return await self._compare(pairs, compare)
        async with AsyncExitStack() as turns:
            for key in sorted({pair.key for pair in pairs}):
                await turns.enter_async_context(self._turn(key))
            return await self._compare(pairs, compare)

    @asynccontextmanager
    async def _turn(self, key: int) -> AsyncIterator[None]:
        """Lets one guess of a pair at a time through, of this process."""
        turn = self._turns.setdefault(key, asyncio.Lock())
        self._waiting[key] += 1
        try:
            async with turn:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._turns[key], self._waiting[key]

    async def _compare(self, pairs: Sequence[Pair], compare: Callable[[], T]) -> T:
        open_pairs = [pair for pair in pairs if not self._attempts.is_locked(pair)]
        counted = {pair: await self.count(pair) for pair in open_pairs if not self._attempts.never_fails(pair)}
        try:
            result = compare()
        except (UnknownClientService, TooManyRequests):
            for pair in open_pairs:
                if pair not in counted:
                    await self.count(pair)
            raise
        except Exception:
            await self._take_all_back(counted)
            raise
        await self._take_all_back(counted)
        return result

    async def count(self, pair: Pair, patience_seconds: float = PATIENCE_SECONDS) -> Counted | None:
        """Counts a failure before its guess is made, or locks the pair in this process if it is one too many.

        Returns what was counted, for `take_back`. `patience_seconds`: so long it may be one too many, since others are counted
        that will turn out to be right.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + patience_seconds
        try:
            while True:
                counted = await self._counter.count(self._name(pair))
                if not counted.refused or loop.time() >= ends:
                    break
                await asyncio.sleep(AGAIN_SECONDS)
        except DatabaseUnavailable:
            return None
        if counted.refused:
            self._attempts.lock(pair, counted.seconds_until_fewer)
            return None
        return counted

    async def take_back(self, pair: Pair, counted: Counted | None) -> None:
        """The guess was right, or nobody could say."""
        if counted is not None:
            with suppress(DatabaseUnavailable):
                await self._counter.take_back(self._name(pair), counted)

    async def _take_all_back(self, counted: dict[Pair, Counted | None]) -> None:
        for pair, one in counted.items():
            await self.take_back(pair, one)

    def _name(self, pair: Pair) -> bytes:
        return hmac.digest(self._tokens.key, b"failed login:" + pair.text.encode("utf-8", "replace"), "sha256")
