"""Runs drills and keeps their results (see the package)."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import tools
from harness.provenance import provenance
from tests.adversity.drills import catalogue, registry  # noqa: F401
from tests.adversity.drills.registry import DRILLS, Drill, run
from tests.adversity.drills.results import (
    LONG_FORMS,
    RUNS,
    SHORT_FORMS,
    SOURCES,
    STORE,
    merge,
    sources_digest,
    standing,
    together,
)

RESULTS = Path("benchmarks/results/drills.json")
# What of an entry is no figure of its trials, and is not printed after each drill.
BESIDE = (RUNS, SOURCES, STORE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="DRILL", help=f"one of {', '.join(DRILLS)}; none: all")
    parser.add_argument("--long", action="store_true")
    parser.add_argument(
        "--trials", type=int, help="in place of the form's own number; of a drill whose trials add up, so many more"
    )
    parser.add_argument(
        "--anew", action="store_true", help="begin at the first trial also where trials of earlier runs still count"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(DRILLS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(DRILLS)}")
    registry.LONG, registry.FULL = arguments.long, True
    names = arguments.names or list(DRILLS)
    left_out = {name: DRILLS[name].left_out for name in names if DRILLS[name].left_out}
    tools.say(left_out)
    run_of = RunOf(
        arguments.out, LONG_FORMS if arguments.long else SHORT_FORMS, arguments.anew, provenance(), sources_digest()
    )
    failures = 0
    for name in names:
        one = DRILLS[name]
        wanted = one.long if arguments.long else one.short
        failures += run_of.one(one, arguments.trials, wanted)
    tools.say(left_out)
    # A run in which nothing could be tried has shown nothing.
    return 1 if failures or len(left_out) == len(names) else 0


@dataclass(frozen=True, slots=True)
class RunOf:
    """Where results are kept, and what they are from."""

    out: Path
    forms: str
    anew: bool
    taken: Mapping[str, str]
    sources: str

    def one(self, one: Drill, asked: int | None, wanted: int) -> int:
        """Runs a drill and keeps its entry. Returns the failures that are in the entry."""
        before = {} if self.anew or not one.adds_up else standing(self.out, self.forms, one.name, self.sources)
        first = int(before.get("trials", 0))
        trials = asked if asked is not None else max(0, wanted - first)
        if before and (one.left_out or not trials):
            say(f"{one.name}: {first} trials of earlier runs count, {before['failures']} of them failed")
            return int(before["failures"])
        if not one.left_out:
            say(f"{one.name}: {trials} trials" + (f" after {first} of earlier runs" if first else ""))

        def keep(result: dict[str, Any]) -> dict[str, Any]:
            if one.adds_up and not one.left_out:
                result = together(before, result, taken=self.taken, sources=self.sources, store=one.store)
            merge(self.out, self.forms, one.name, result, self.taken)
            return result

        with tempfile.TemporaryDirectory(prefix="batchseal-drill-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o711)
            result = run(one, trials, Path(folder), say, first=first, after_trial=keep if one.adds_up else None)
        entry = keep(result)
        say(f"{one.name}: {json.dumps({name: value for name, value in entry.items() if name not in BESIDE})}")
        return int(entry["failures"])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
