"""The fuzz harnesses as drills: three minutes each, or a billion runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.adversity.drills import registry
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.fuzz.harnesses import HARNESSES, fuzz, needs

SECONDS, RUNS = 180, 1_000_000_000


def harness(name: str) -> Callable[[Path], Iterator[Trial]]:
    def opened(folder: Path) -> Iterator[Trial]:
        def trial(number: int) -> Figures:
            place = folder / str(number)
            place.mkdir()
            return fuzz(name, place, runs=RUNS) if registry.LONG else fuzz(name, place, seconds=SECONDS)

        yield trial

    return opened


for _name in HARNESSES:
    drill(f"fuzz-{_name}", quick=0, short=1, long=1, needs=needs(_name))(harness(_name))
