"""`BriefWork`: work that is done in the event loop itself, since it takes less time than to give it to a thread and take it back.

Nobody can know beforehand how long the work for a client takes: its documents may need far more than others of their size. So the
first work of a client runs in a thread and is measured, and the next runs in the loop if the last was brief.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from batchseal.system.expiring import ExpiringCache

T = TypeVar("T")
Client = tuple[str, bytes]

# What brief work takes of the processor at most, and with all its waiting, for instance for a disk.
BRIEF_PROCESSOR_SECONDS, BRIEF_SECONDS = 0.003, 0.1
# How long a measurement counts.
KNOWN_SECONDS, KNOWN_CLIENTS = 60.0, 1024


class BriefWork:
    """What is known of the work of each client. Any thread may use it.

    After work that has taken more than `seconds`, nobody's is brief for `known_seconds`. It has waited for the disk, which all
    share, and in the loop everybody would wait with it. A measurement counts for as long.
    """

    def __init__(self, seconds: float = BRIEF_SECONDS, known_seconds: float = KNOWN_SECONDS) -> None:
        self.seconds = seconds
        self.known_seconds = known_seconds
        self.slow_until = 0.0  # (monotonic)
        self.brief = ExpiringCache[Client, None](KNOWN_CLIENTS)

    def of(self, client: str, credential: bytes = b"") -> "ClientsWork":
        """The work of one client with one credential, of which something may be computed once."""
        return ClientsWork(self, (client, credential))


class ClientsWork:
    """The work of one client, which is told apart by what `BriefWork.of` was given."""

    def __init__(self, all_work: BriefWork, client: Client) -> None:
        self._all = all_work
        self._client = client

    @property
    def is_brief(self) -> bool:
        """Whether the last work was, and none has waited for long of late."""
        return self._all.brief.find(self._client) is not None and time.monotonic() >= self._all.slow_until

    def run(self, work: Callable[[], T]) -> T:
        """Runs `work` and measures it. Raises what it raises."""
        began, used = time.monotonic(), time.thread_time()
        try:
            return work()
        finally:
            now, used = time.monotonic(), time.thread_time() - used
            if now - began > self._all.seconds:
                self._all.slow_until = now + self._all.known_seconds
            if used <= BRIEF_PROCESSOR_SECONDS:
                self._all.brief.keep(self._client, None, self._all.known_seconds)
            else:
                self._all.brief.forget(self._client)
