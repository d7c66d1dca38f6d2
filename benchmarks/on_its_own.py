"""The command line of a benchmark that `benchmarks.everything` runs too."""

import argparse
import json
from collections.abc import Callable
from typing import Any


def run(
    description: str | None,
    measure: Callable[..., dict[str, Any]],
    *,
    count: int,
    rounds: int,
    counted: str = "documents",
) -> None:
    """Prints what `measure(count, rounds, with_judges=...)` returns. `counted` says in the help what `count` is."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count, help=f"{counted} (default: {count})")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument(
        "--judge", action="store_true", help="let the judges look at what was made, and fail where one refuses ours"
    )
    options = parser.parse_args()
    print(json.dumps(measure(options.count, options.rounds, with_judges=options.judge), indent=2))
