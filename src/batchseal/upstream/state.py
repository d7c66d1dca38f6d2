"""The state of the upstream, as workers get it from the signer process.

It has a module of its own so that workers need not load the rest of this package. It holds no behaviour.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class State:
    """The state of an upstream, for operators."""

    wrong: str | None
    """What is wrong now; None if nothing is."""
    remarks: list[str]
    """What an operator should look at."""
    numbers: dict[str, float]
    """By the names of their metrics."""
