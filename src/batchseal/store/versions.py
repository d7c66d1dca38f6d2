"""`Versions` says what may be written while instances of two releases run side by side.

An instance of the release before reads what this one writes: rows, records, frames. A column, or a field of a record that has a
default, is no problem: whoever does not know it leaves it alone. Whatever the release before cannot read (a frame of a new kind,
a new number of an enumeration, another encoding) is written only once no instance of it is left:

    if await versions.all_have("0.3.0"):  # the release that reads it, not the one that writes it, if they differ
        ...

Until then what was written before is written still. An instance counts from its start until it has stopped in good order, or was
not seen for an hour, since one that has crashed may come back as it was. One of an older release that starts after that is for a
migration to refuse (`-- needs NNNN`, see `migrations.py`).
"""

import re
import time
from collections.abc import Callable

from batchseal.store.database import Database
from batchseal.store.instances import GONE_SECONDS
from batchseal.store.queries import QUERIES

LOOK_SECONDS = 10.0


class Versions:
    """Of one process. It looks at the instances at most every `look_seconds`."""

    def __init__(
        self,
        database: Database,
        *,
        look_seconds: float = LOOK_SECONDS,
        gone_seconds: float = GONE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._look_seconds = look_seconds
        self._gone_seconds = gone_seconds
        self._clock = clock
        self._next_look = -float("inf")
        self._oldest: tuple[int, ...] = ()

    async def all_have(self, version: str) -> bool:
        """Whether every instance on the database is of this release or a later one. Raises DatabaseUnavailable.

        False also where no instance has shown itself yet.
        """
        if (now := self._clock()) >= self._next_look:
            async with self._database.connection() as connection:
                records = await connection.fetch(QUERIES["versions_present"], self._gone_seconds)
            self._oldest = min((numbers(record["version"]) for record in records), default=())
            self._next_look = now + self._look_seconds
        return bool(self._oldest) and self._oldest >= numbers(version)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with, without zeros at the end: 0.3.0rc1 is (0, 3), as 0.3 is. () for anything else."""
    match = re.match(r"\d+(\.\d+)*", version)
    found = [int(number) for number in match[0].split(".")] if match else []
    while found and not found[-1]:
        found.pop()
    return tuple(found)
