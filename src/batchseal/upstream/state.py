"""How an upstream is, as workers read it over the link: without anything that a worker need not load."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class State:
    """How an upstream is: what is wrong now, what should be looked at, and numbers by their metric's name."""

    wrong: str | None
    remarks: list[str]
    numbers: dict[str, float]
