"""The table of drills, and how one is run."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import tools

Figures = dict[str, float]
Trial = Callable[[int], Figures | None]
Opened = Callable[[Path], AbstractContextManager[Trial]]


@dataclass(frozen=True, slots=True)
class Drill:
    name: str
    quick: int  # trials in the suite; 0: not there
    short: int
    long: int
    open: Opened
    needs: tuple[str, ...] = ()  # names of tools (`harness.tools`)
    # Its trials take so long that those of the suite are a step of their own (`make test-instances`), and that they add up over
    # runs (`results.py`).
    apart: bool = False
    # Where payloads lie in a drill of several instances: "local", "shared", "s3", or several of them.
    store: str = ""
    # It is about the disk of the machine, so its folder must be there.
    on_disk: bool = False

    @property
    def adds_up(self) -> bool:
        """Whether its trials add up over runs."""
        return self.apart

    @property
    def left_out(self) -> str:
        """Why it cannot run here; empty where it can."""
        return tools.left_out({self.name: self.needs}).get(self.name, "")


DRILLS: dict[str, Drill] = {}
# Set by `--long`: for drills whose trials are longer rather than more.
LONG = False
# Set by `make drills`: for drills whose trials are smaller in the suite.
FULL = False
# So much longer may everything take in the suite, where the machine may be busy and its disk stand still.
BUSY_SECONDS = 120.0


def within(seconds: float) -> float:
    """The time that something may take at most: `seconds` where the machine does nothing else, which is when drills are run in
    full. In the suite only what does not come to an end takes longer.
    """
    return seconds if FULL else seconds + BUSY_SECONDS


def drill(
    name: str,
    *,
    quick: int,
    short: int,
    long: int,
    needs: tuple[str, ...] = (),
    apart: bool = False,
    store: str = "",
    on_disk: bool = False,
) -> Callable[[Callable[[Path], Iterator[Trial]]], Opened]:
    """Registers a generator function that takes a folder, yields the function of one trial, and tidies up."""

    def register(function: Callable[[Path], Iterator[Trial]]) -> Opened:
        opened = contextmanager(function)
        DRILLS[name] = Drill(name, quick, short, long, opened, needs, apart, store, on_disk)
        return opened

    return register


def run(
    one: Drill,
    trials: int,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
    *,
    first: int = 0,
    after_trial: Callable[[dict[str, Any]], object] | None = None,
) -> dict[str, Any]:
    """`trials`, `failures` and the worst of each figure; what failed first stands in `first_failure`.

    A drill whose tools are missing has no trials and has not failed: its result says why it was left out. `first` is the number
    of the first trial, and `after_trial` is given the result so far after each one, since the next one may be cut off.
    """
    result: dict[str, Any] = {"trials": 0, "failures": 0}
    if why := one.left_out:
        return {**result, "left_out": why}
    began = time.monotonic()

    def failed(when: str, problem: BaseException) -> None:
        result["failures"] += 1
        result.setdefault("first_failure", f"{when}: {type(problem).__name__}: {problem}"[-1500:])
        say(f"{one.name}, {when}, failed\n{traceback.format_exc()}")

    try:
        with one.open(folder) as trial:
            for number in range(first, first + trials):
                if after_trial is not None and number > first:
                    after_trial({**result, "seconds": round(time.monotonic() - began, 1)})
                result["trials"] += 1
                try:
                    figures = trial(number) or {}
                except KeyboardInterrupt:
                    say(f"{one.name}: stopped in trial {number}, {result['failures']} had failed before")
                    raise
                except (Exception, SystemExit) as problem:
                    failed(f"trial {number}", problem)
                    continue
                for name, value in figures.items():
                    result[name] = round(max(value, result.get(name, value)), 3)
    except (Exception, SystemExit) as problem:
        # What all trials share did not open, or what must hold behind the last one does not.
        failed("before or after the trials", problem)
    result["seconds"] = round(time.monotonic() - began, 1)
    return result
