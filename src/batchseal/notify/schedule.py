"""When a try that failed is repeated, and when an event is given up."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from batchseal.system.backoff import LONGEST_ASKED_SECONDS

JITTER = 0.2
# An event that is older than this is not tried again, whatever tries it has left: its receiver was away for too long. One that an
# operator has sent again counts as new.
MOST_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """`pauses_seconds` are those after the first try, the second and so on; after the last of them an event is given up.

    Each is lengthened by up to JITTER at random, so that what failed together is not repeated together.
    """

    pauses_seconds: tuple[float, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
    chance: Callable[[], float] = random.random

    @classmethod
    def read(cls, text: str) -> "Schedule":
        """That of --webhook-retries: whole numbers of seconds, separated by spaces."""
        return cls(tuple(float(one) for one in text.split()))

    def pause_seconds(self, tries: int, age_seconds: float, asked_seconds: float = 0.0) -> float | None:
        """The pause after so many tries have failed; None: the event is given up.

        `asked_seconds` is what the receiver asked for (Retry-After); it counts up to LONGEST_ASKED_SECONDS.
        """
        if tries > len(self.pauses_seconds) or age_seconds > MOST_SECONDS:
            return None
        pause = self.pauses_seconds[tries - 1] * (1 + JITTER * self.chance())
        return max(pause, min(asked_seconds, LONGEST_ASKED_SECONDS))
