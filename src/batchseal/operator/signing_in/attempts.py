"""Failed logins of operators, counted in the database for all workers and instances.

A guess is counted before it is made, and taken back if it was right or could not be made. Two counts may refuse it: that of the
name from this address, and that of the address, for whoever tries many names. Nobody is locked out from another address. Where
a proxy that is not among `--trusted-proxies` stands before the service, all browsers have the same address.
"""

import hmac
from dataclasses import dataclass

from batchseal.errors import TooManyRequests
from batchseal.store.database import Database
from batchseal.store.login_failures import Counted, LoginFailures
from batchseal.system.addresses import group_of

WINDOW_SECONDS = 900.0
MOST_OF_NAME, MOST_OF_ADDRESS = 5, 30


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess that was counted, to be taken back if it was right, or if nobody could say."""

    counted: list[tuple[LoginFailures, bytes, Counted]]

    async def take_back(self) -> None:
        for failures, pair, counted in self.counted:
            await failures.take_back(pair, counted)


class OperatorAttempts:
    """The counts. Every method raises DatabaseUnavailable: without the database nobody can sign in anyway.

    `key` is a secret that all instances have, and the database has not for those who read this table.
    """

    def __init__(self, database: Database, key: bytes) -> None:
        self._key = key
        self._of_name = LoginFailures(database, most=MOST_OF_NAME, seconds=WINDOW_SECONDS)
        self._of_address = LoginFailures(database, most=MOST_OF_ADDRESS, seconds=WINDOW_SECONDS)

    async def guess(self, name: str, address: str) -> Guess:
        """Counts a guess. Raises TooManyRequests where it is one too many."""
        group = group_of(address)
        guess = Guess([])
        for failures, pair in ((self._of_address, self._named(group)), (self._of_name, self._named(group, name))):
            counted = await failures.count(pair)
            if counted.refused:
                await guess.take_back()  # what was counted before it is not a guess, since none is made
                seconds = max(1, round(counted.seconds_until_fewer))
                raise TooManyRequests("too many failed attempts from this address", retry_after_seconds=seconds)
            guess.counted.append((failures, pair, counted))
        return guess

    def _named(self, *parts: str) -> bytes:
        """The name of a count. Who reads the table cannot find out who tried from where: names and addresses could be guessed
        if their digest had no key.
        """
        return hmac.digest(
            self._key, "\0".join(("failed login of an operator", *parts)).encode("utf-8", "replace"), "sha256"
        )
