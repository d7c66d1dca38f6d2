"""Failed logins of all instances together. Without this, a guesser would have as many guesses a minute at each instance.

A guess is counted in the database before it is made, and taken back if it was right. So of any number of simultaneous guesses, at
whatever instances, only MAX_FAILURES a minute are answered. A login costs no statement for a pair that proved itself within a day
and has not failed here within a minute (`Attempts.never_fails`): then only a wrong secret is counted, afterwards. Such a pair
therefore has one guess more at each instance after the first.

What is locked is kept in the process too, so that whoever goes on guessing costs no statement. While the database is away, each
instance counts alone.
"""

import hmac
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from batchseal.api.attempts import Attempts, Pair
from batchseal.api.tokens import Tokens
from batchseal.errors import DatabaseUnavailable, TooManyRequests, UnknownClientService

T = TypeVar("T")


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

    async def around(self, pairs: Sequence[Pair], compare: Callable[[], T]) -> T:
        """Returns what `compare` returns, which raises UnknownClientService or TooManyRequests if none of the guesses is right.

        Each of `pairs` is a guess, which is counted if all are wrong. A pair that is one too many is locked before.
        """
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

    async def count(self, pair: Pair) -> Counted | None:
        """Counts a failure before its guess is made, or locks the pair in this process if it is one too many.

        Returns what was counted, for `take_back`.
        """
        try:
            counted = await self._counter.count(self._name(pair))
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
