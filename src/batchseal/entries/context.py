"""What the batches of one hot folder have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field

from batchseal.entries.asked import Asking
from batchseal.entries.interface import HotPlace
from batchseal.entries.published import Published
from batchseal.entries.threads import Threads
from batchseal.operation import Caller
from batchseal.system.backoff import Backoff
from batchseal.worker.service import Service

# Pauses before what has failed for a reason that may pass is tried again.
AGAIN = Backoff(0.5, 30.0)


@dataclass(slots=True)
class Counts:
    """What became of files since the process began."""

    signed: int = 0
    failed: int = 0
    stalled: set[object] = field(default_factory=set)  # batches that wait for something that is wrong


@dataclass(frozen=True, slots=True)
class Context:
    """The hot folder that batches belong to, and what they need. `threads` are for everything that touches its place.

    `is_ours` says whether the lease under which they have begun still holds.
    """

    client_service: str
    place: HotPlace
    asking: Asking
    service: Service
    threads: Threads
    failure_pattern: str
    description_characters: int
    is_ours: Callable[[], bool]
    counts: Counts
    published: Published = field(default_factory=Published)
    again: Backoff = AGAIN
    # How long the input and the output may take for a step during which something is reserved that other folders need too.
    answer_seconds: float = 60.0

    @property
    def caller(self) -> Caller:
        return Caller(self.client_service)
