"""PDFs that are made to cost the planner memory or time: whatever they are, it stays within its bounds."""

import random
from collections.abc import Iterator
from pathlib import Path

from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.pdf_bombs import BOMBS, LARGEST_BYTES, MEMORY_BASE, MEMORY_FACTOR, check, cost

SIZES = (LARGEST_BYTES - (64 << 10), 64 << 10)


def bomb(number: int) -> bytes:
    """Every bomb in its sizes first. Then bombs of any size, a part of which is overwritten by a part of another."""
    names = sorted(BOMBS)
    if number < len(names) * len(SIZES):
        return BOMBS[names[number % len(names)]](SIZES[number // len(names)])
    chance = random.Random(number)
    whole = bytearray(BOMBS[chance.choice(names)](chance.randrange(1 << 12, LARGEST_BYTES - (64 << 10))))
    other = BOMBS[chance.choice(names)](chance.randrange(1 << 10, 1 << 16))
    at = chance.randrange(len(whole))
    whole[at : at + len(other)] = other
    return bytes(whole[:LARGEST_BYTES])


@drill("planner-bombs", quick=4, short=3 * len(BOMBS), long=2_000)
def planner_bombs(folder: Path) -> Iterator[Trial]:
    def trial(number: int) -> Figures:
        original = bomb(number)
        found = cost(original, folder)
        check(original, found)
        allowed = MEMORY_FACTOR * len(original) + MEMORY_BASE
        return {
            "seconds_max": found.seconds,
            "memory_of_bound_max": found.memory / allowed,
            "memory_mb_max": found.memory / (1 << 20),
        }

    yield trial
