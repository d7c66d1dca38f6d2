"""How long to wait before the next try after one that failed: `Backoff`."""

import math
from dataclasses import dataclass

# The longest pause that another service may ask for (Retry-After), and that of one whose answers nobody vouches for, since they
# come over plain HTTP: whoever is on the way may have written them. Signing services may ask for more because each further call
# costs a document one of its tries.
LONGEST_ASKED_SECONDS, LONGEST_UNPROVEN_SECONDS = 3600.0, 600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that begin at `first_seconds`, grow by `growth` with each failure in a row, and end at `longest_seconds`.

    It holds no state: the caller counts the failures, and sets the count back to 0 after a success.
    """

    first_seconds: float
    longest_seconds: float
    growth: float = 2.0

    def __post_init__(self) -> None:
        if not (0 < self.first_seconds <= self.longest_seconds and self.growth > 1):
            raise ValueError(f"these pauses do not grow from a first to a longest one: {self}")

    def pause_seconds(self, failures: int) -> float:
        """The pause after `failures` in a row. The first pause is for one failure, or for none."""
        steps = max(0, failures - 1)
        if steps >= math.log(self.longest_seconds / self.first_seconds, self.growth):
            return self.longest_seconds  # without the power, which overflows after a thousand failures
        return min(self.first_seconds * self.growth**steps, self.longest_seconds)
